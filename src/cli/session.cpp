#include "session.h"

#include <algorithm>

#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/model/plan.h"
#include "caiexport/reader/parquet_reader.h"
#include "watches.h"

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
          .userAgent = "caiexport/" + std::string(programVersion())};
}

std::unique_ptr<platform::TokenSource> makeTokens(const PlatformSettings& settings,
                                                  const std::optional<std::filesystem::path>& cache,
                                                  net::HttpTransport& transport, core::Log& log) {
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

}  // namespace

Connection::Connection(const PlatformSettings& settings, const std::optional<std::filesystem::path>& tokenCache,
                       core::Log& log, const transfer::DownloadSettings& download)
    : transport_(transportSettings(settings, download), log),
      tokens_(makeTokens(settings, tokenCache, transport_, log)),
      client_(clientSettings(settings), transport_, *tokens_, core::systemClock(), core::systemRandom(), log) {}

Session::Session(Configuration& configuration, Context& context)
    : context_(context),
      settings_(configuration.platform()),
      download_(configuration.download()),
      connection_(settings_, configuration.tokenCache(), context.log, download_),
      record_(configuration.database(), Record::Mode::readWrite),
      store_(record_.database(), core::systemClock()),
      syncStore_(record_.database(), core::systemClock()),
      runStore_(record_.database(), core::systemClock()),
      progress_(context.console, core::systemClock()),
      runner_(tools()) {}

engine::Tools Session::tools() {
  return {.store = store_,
          .jobLocks = record_.locks(),
          .client = connection_.client(),
          .files = core::diskFileSystem(),
          .clock = core::systemClock(),
          .random = core::systemRandom(),
          .log = context_.log,
          .observer = progress_,
          .openReader = [] { return reader::openReader({}); },
          .download = download_,
          .retry = settings_.retry,
          .lookUp = settings_.lookUp};
}

void Session::requireSame(const model::Job& job) const {
  engine::Runner::requireSame(job,
                              {.orgId = settings_.orgId, .sandbox = settings_.sandbox, .baseUrl = settings_.baseUrl});
}

engine::Outcome Session::run(model::JobId job, const engine::RunOptions& options) {
  std::stop_source run;
  const std::stop_callback signalled(context_.stop, [&run] { run.request_stop(); });
  const CancelWatch watch(record_.database().file(), job, run, core::systemClock(), context_.log);
  struct Finish {
    Progress& progress;
    ~Finish() { progress.finish(); }
  } const finish{progress_};
  context_.facts.job = model::numberOf(job);
  context_.log.setJob(context_.facts.job);
  const core::SteadyTime begun = core::systemClock().steadyNow();
  engine::Outcome outcome = runner_.advance(job, options, run.get_token());
  ran_ = std::chrono::duration_cast<core::Duration>(core::systemClock().steadyNow() - begun);
  addFacts(outcome.job);
  return outcome;
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

}  // namespace caiexport::cli
