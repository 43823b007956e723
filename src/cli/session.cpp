#include "session.h"

#include <Poco/NumberParser.h>
#include <Poco/String.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/job.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/prune_store.h"
#include "cli/output/job_output.h"

namespace caiexport::cli {
namespace {

/// A limit on the rate is exact to 5 % over ten seconds, so what all connections have taken from the network but not
/// read yet must stay below half a second's worth.
std::uint64_t mostUnreadBytes(const transfer::DownloadSettings& download) {
  if (download.mostBytesPerSecond == 0) return 0;
  constexpr std::uint64_t kLeast = 16U << 10U;
  return std::max(kLeast, download.mostBytesPerSecond / 4 / transfer::mostConnections(download));
}

net::TransportSettings transportSettings(const PlatformSettings& settings, const transfer::DownloadSettings& download) {
  return {.caFile = settings.caFile,
          .connectTimeout = settings.connectTimeout,
          .readTimeout = settings.readTimeout,
          .mostUnreadBytes = mostUnreadBytes(download),
          .proxy = net::proxyFromEnvironment(),
          .userAgent = "caiexport/" + std::string(core::programVersion())};
}

std::unique_ptr<platform::TokenSource> makeTokens(const PlatformSettings& settings,
                                                  const std::optional<std::filesystem::path>& cache,
                                                  net::PocoTransport& transport, core::Log& log) {
  // Both, whichever is used: no server may show either.
  for (const core::Secret* secret : {&settings.accessToken, &settings.clientSecret}) {
    transport.keepSecret(secret->reveal());
  }
  if (!settings.accessToken.empty()) return std::make_unique<platform::FixedTokenSource>(settings.accessToken);
  platform::ImsSettings ims{.imsUrl = settings.imsUrl,
                            .clientId = settings.clientId,
                            .clientSecret = settings.clientSecret,
                            .scopes = settings.scopes,
                            .orgId = settings.orgId,
                            .cacheDirectory = cache.value_or(std::filesystem::path()),
                            .retry = settings.retry};
  // Of one origin, the connection that the token comes by stays open for the rest.
  if (net::parseUrl(settings.imsUrl).origin != net::parseUrl(settings.baseUrl).origin) {
    ims.whileAsked = [&transport, url = settings.baseUrl] { transport.expect(url); };
  }
  return std::make_unique<platform::ImsTokenSource>(std::move(ims), transport, core::systemClock(),
                                                    core::systemRandom(), log);
}

platform::ClientSettings clientSettings(const PlatformSettings& settings) {
  return {.baseUrl = settings.baseUrl,
          .apiKey = settings.clientId,
          .orgId = settings.orgId,
          .sandbox = settings.sandbox,
          .retry = settings.retry};
}

std::string wayOnOf(core::Category category, const std::string& job) {
  return Poco::replace(std::string(core::factsOf(category).wayOn), std::string("JOB"), job);
}

/// The error with a hint how to go on, unless it has one already.
CommandEnd withWayOn(CommandEnd error, model::JobId job) {
  if (!error) return error;
  const std::string number = std::to_string(model::numberOf(job));
  std::string hint = error->hint();
  if (hint.empty()) {
    hint = wayOnOf(error->category(), number);
  } else if (error->category() == core::Category::io && hint.find("caiexport resume") == std::string::npos) {
    // What the machine refused says how to mend it, not what of the job is left.
    hint += "; what was downloaded is kept: caiexport resume " + number + " continues from there";
  } else {
    return error;
  }
  return core::Error(error->category(), error->what(), {.requestId = error->requestId(), .hint = hint});
}

constexpr std::array<Option, 3> kGuards{{
    {"max-age", "DURATION",
     R"(fail with exit code 12 if the newest batch, or the segment's evaluation, is older than this,
e.g. 24h)"},
    {"min-records", "N", R"(fail with exit code 8 if the result has fewer records than this; the files are kept, but
`latest` stays where it is)"},
    {"max-change", "PERCENT",
     R"(fail likewise if the number of records differs by more than this from the last success, e.g. 30%)"},
}};

std::optional<double> percentOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  std::string number(core::trim(*text));
  if (number.ends_with('%')) number.pop_back();
  double percent = 0;
  const bool digits = !number.empty() && number.find_first_not_of("0123456789.") == number.npos;
  if (digits && Poco::NumberParser::tryParseFloat(number, percent) && std::isfinite(percent)) return percent;
  throwUsage("--" + std::string(name) + ": '" + core::printable(*text, 40) +
             "' is not a percentage; write it as 30% or 12.5");
}

CommandEnd print(Session& session, model::JobId job, CommandEnd error, TextOrJson format, Context& context) {
  error = withWayOn(std::move(error), job);
  if (format == TextOrJson::json) {
    printJobDocument(session, job, error, context);
    context.out.write("\n");
  } else if (!error) {
    printResultText(resultText(session.history().job(job), session.takeArrived(), session.ran()), context);
  }
  return error;
}

std::optional<store::ShareStore> shareStoreOf(Record& record) {
  if (record.leases() == nullptr) return std::nullopt;
  return store::ShareStore(record.database(), *record.leases());
}

}  // namespace

PlatformAccess::PlatformAccess(const PlatformSettings& settings, const std::optional<std::filesystem::path>& tokenCache,
                               core::Log& log, const transfer::DownloadSettings& download)
    : transport_(transportSettings(settings, download), log),
      tokens_(makeTokens(settings, tokenCache, transport_, log)),
      client_(clientSettings(settings), transport_, *tokens_, core::systemClock(), core::systemRandom(), log) {}

std::unique_ptr<objects::ObjectStore> openTarget(const std::string& target, const PlatformSettings& settings,
                                                 const transfer::DownloadSettings& download) {
  return objects::openRclone(objects::Target::parse(target), {.connectTimeout = settings.connectTimeout,
                                                              .readTimeout = settings.readTimeout,
                                                              .mostBytesPerSecond = download.mostBytesPerSecond});
}

Session::Session(Configuration& configuration, Context& context)
    : context_(context),
      settings_(configuration.platform()),
      download_(configuration.download()),
      access_(settings_, configuration.tokenCache(), context.log, download_),
      record_(configuration.database(), Record::Mode::readWrite),
      store_(record_.database(), core::systemClock()),
      syncStore_(record_.database(), core::systemClock()),
      runStore_(record_.database(), core::systemClock()),
      shareStore_(shareStoreOf(record_)),
      deliveryStore_(record_.database(), core::systemClock()),
      progress_(context.console, core::systemClock()),
      delivery_{.records = deliveryStore_,
                .clock = core::systemClock(),
                .random = core::systemRandom(),
                .open = [this](const std::string& target) { return openTarget(target, settings_, download_); },
                .tell = [this](std::string_view text) { progress_.notice(text); },
                .retry = settings_.retry},
      runner_(tools()) {}

engine::Tools Session::tools() {
  return {.store = store_,
          .jobLocks = record_.locks(),
          .client = access_.client(),
          .files = core::diskFileSystem(),
          .clock = core::systemClock(),
          .random = core::systemRandom(),
          .log = context_.log,
          .observer = progress_,
          .openReader = [] { return reader::openReader({}); },
          .download = download_,
          .retry = settings_.retry,
          .share = shareStore_ ? &*shareStore_ : nullptr,
          .lookUp = settings_.lookUp,
          .delivery = &delivery_};
}

void Session::requireTarget(const model::ExportRequest& request) {
  if (request.deliver.empty()) return;
  engine::Delivery(delivery_, request.deliver, context_.stop).requireReady(request.output);
}

void Session::requireSame(const model::Job& job) const {
  engine::Runner::requireSame(job,
                              {.orgId = settings_.orgId, .sandbox = settings_.sandbox, .baseUrl = settings_.baseUrl});
}

engine::Outcome Session::run(model::JobId job, const engine::RunOptions& options) {
  std::stop_source run;
  const std::stop_callback signalled(context_.stop, [&run] { run.request_stop(); });
  // What others may take over is not gone on with.
  const std::stop_callback lost(record_.lost(), [&run] { run.request_stop(); });
  const CancelWatch watch(record_.database().location(), job, run, core::systemClock(), context_.log);
  struct Finish {
    Progress& progress;
    ~Finish() { progress.finish(); }
  } const finish{progress_};
  context_.facts.job = model::numberOf(job);
  context_.log.setJob(context_.facts.job);
  const core::SteadyTime begun = core::systemClock().steadyNow();
  engine::Outcome outcome = [&] {
    try {
      return runner_.advance(job, options, run.get_token());
    } catch (const core::Error&) {
      record_.requireHeld(true);
      throw;
    }
  }();
  ran_ = std::chrono::duration_cast<core::Duration>(core::systemClock().steadyNow() - begun);
  record_.requireHeld(outcome.error.has_value());
  addFacts(outcome.job);
  return outcome;
}

bool Session::forget(const model::Job& job) {
  // An intent is a trace of something that may be there by now.
  const bool intended =
      std::ranges::any_of(job.steps, [](const model::Step& step) { return step.intendedAt.has_value(); });
  const bool begun =
      intended || job.datasetCreated || !job.segmentJobId.empty() || !job.exportJobId.empty() || job.fileCount > 0;
  // That an id is gone which earlier runs exported is news; that of a single batch is typed by hand.
  bool known = false;
  history().forEachJob({.kind = job.request.kind,
                        .sourceId = job.request.sourceId,
                        .orgId = job.request.orgId,
                        .sandbox = job.request.sandbox,
                        .limit = 2},
                       [&](const store::JobView& other) {
                         known = other.job.id != job.id;
                         return !known;
                       });
  if (begun || (known && job.request.batches.batch.empty())) return false;
  const std::int64_t number = model::numberOf(job.id);
  if (record_.locks().tryLock(number)) return false;
  store::PruneStore(record_.database()).forget(job.id);
  record_.locks().unlock(number);
  context_.facts = {};
  context_.log.setJob(std::nullopt);
  return true;
}

/// Sizes are those of what is here, not of what was promised.
void Session::addFacts(const model::Job& job) {
  RunFacts& facts = context_.facts;
  const store::JobStore::Fetched fetched = store_.fetched(job.id);
  facts.status = model::nameOf(model::statusOf(job, false));
  facts.files += fetched.files;
  facts.bytes += fetched.bytes;
  if (job.records && facts.status == model::nameOf(model::JobStatus::succeeded)) {
    facts.records = facts.records.value_or(0) + *job.records;
  }
}

model::VerifyLevel verifyOption(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 3> kLevels{"footer", "size", "full"};
  return *model::verifyLevelFrom(wordOption(options, "verify", kLevels));
}

void printResultText(const std::string& text, Context& context) {
  if (context.console.level() != Console::Level::quiet) context.out.write(text);
}

void printJobDocument(Session& session, model::JobId job, const CommandEnd& error, Context& context) {
  const store::JobView view = session.history().job(job);
  json::Writer json([&](std::string_view text) { context.out.write(text); });
  std::optional<model::JobError> shown;
  if (error) shown = recordOf(*error);
  writeJob(json, view, JobDetail::result, session.history(), shown);
}

CommandEnd makeAndRun(Session& session, const model::ExportRequest& request, engine::RunOptions options,
                      TextOrJson format, Context& context, const std::optional<std::string>& share) {
  if (share) {
    options.joins = true;
    return runAndPrint(session, session.runner().join(request, *share).id, options, format, context);
  }
  const model::Job job = session.runner().create(request);
  const engine::Outcome outcome = session.run(job.id, options);
  if (outcome.unknownId && session.forget(outcome.job)) throw *outcome.error;
  return print(session, job.id, outcome.error, format, context);
}

CommandEnd runAndPrint(Session& session, model::JobId job, const engine::RunOptions& options, TextOrJson format,
                       Context& context) {
  return print(session, job, session.run(job, options).error, format, context);
}

std::vector<OptionGroup> jobGroups(std::vector<OptionGroup> own, std::span<const Option> how) {
  const OptionGroup shared[] = {{"Guards", kGuards}, {"How", how},    transferGroup(), workersGroup(),
                                runGroup(),          platformGroup(), globalGroup()};
  own.insert(own.end(), std::begin(shared), std::end(shared));
  return own;
}

model::Guards guardOptions(const ParsedOptions& options) {
  model::Guards guards;
  guards.maxAge = durationOption(options, "max-age");
  guards.minRecords = numberOption(options, "min-records", 1, std::numeric_limits<std::int64_t>::max());
  guards.maxChangePercent = percentOption(options, "max-change");
  return guards;
}

}  // namespace caiexport::cli
