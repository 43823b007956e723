#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/json/writer.h"
#include "cli/output/job_output.h"
#include "cli/record.h"
#include "cli/session.h"
#include "commands.h"
#include "input_files.h"
#include "verify.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 8> kWhat{{
    {"last", "", "the newest job"},
    {"all", "", "all waiting and interrupted jobs, oldest first"},
    {"resubmit", "", "for a blocked job: what it asked for did not happen; ask again"},
    {"adopt", "ID", "for a blocked job: what it asked for did happen, and has this id on the platform"},
    {"accept-rows", "", "accept the number of rows that was counted, although the platform promised another"},
    {"output", "DIR", "from now on the job's files are in DIR; move them there first if there are any"},
    {"hashes", "", "for a job that is done: compare the contents of its files even if they are larger than 1 GiB"},
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

struct ResumeOptions {
  bool all = false;
  std::optional<model::JobId> job = {};  ///< Nothing: the newest.
  std::optional<engine::Decision> decision = {};
  bool moves = false;  ///< To the folder that --output names.
  bool hashes = false;
  engine::RunOptions run = {};
  TextOrJson format = TextOrJson::text;
};

ResumeOptions parse(const ParsedOptions& options) {
  refuseTogether(options, {"last", "all"});
  refuseTogether(options, {"resubmit", "adopt"});
  for (const std::string_view other : {"resubmit", "adopt", "accept-rows", "output", "hashes"}) {
    refuseTogether(options, {"all", other});
  }
  ResumeOptions parsed;
  parsed.all = options.has("all");
  parsed.moves = options.has("output");
  parsed.hashes = options.has("hashes");
  parsed.format = formatOption(options);
  if (parsed.all && !options.arguments().empty()) {
    throwUsage("--all and a job number contradict each other");
  }
  if (!parsed.all) parsed.job = jobOrLast(options);
  if (options.has("resubmit")) parsed.decision = engine::Decision{.resubmit = true};
  parsed.run.acceptRows = options.has("accept-rows");
  if (const auto id = idOption(options, "adopt", "id to adopt")) parsed.decision = engine::Decision{.adopt = *id};
  return parsed;
}

/// The job, found before any setting is needed.
store::JobView findJob(const store::Location& database, const std::optional<model::JobId>& wanted) {
  const std::unique_ptr<Record> record = Record::open(database);
  if (record && wanted) return record->history().job(*wanted);
  std::optional<store::JobView> newest;
  if (record) newest = record->history().newest();
  if (newest) return *newest;
  if (wanted) {
    throw core::Error(core::Category::notFound,
                      "there is no job " + std::to_string(model::numberOf(*wanted)) + ": no job has been made yet");
  }
  throw core::Error(core::Category::notFound, "there is nothing to resume: no job has been made yet",
                    {.hint = "caiexport dataset --id ID, or caiexport segment --id ID, makes one"});
}

// --- a job that is done

CommandEnd sayDone(const store::Location& database, model::JobId job, const std::string& files, TextOrJson format,
                   Context& context) {
  const std::unique_ptr<Record> record = Record::open(database);
  const store::JobView view = record->history().job(job);
  context.console.notice("caiexport: job " + std::to_string(model::numberOf(job)) + " is done already" + files);
  if (format == TextOrJson::text) {
    printResultText(resultText(view), context);
    return {};
  }
  json::Writer json([&](std::string_view piece) { context.out.write(piece); });
  writeJob(json, view, JobDetail::result, record->history());
  context.out.write("\n");
  return {};
}

/// What is not on disk as it was recorded.
struct Damage {
  std::vector<store::JobStore::Wrong> files = {};
  std::optional<std::filesystem::path> manifest = {};  ///< The first that is gone or can't be read.

  bool any() const { return !files.empty() || manifest; }
  std::string text() const {
    if (files.empty())
      return "'" + core::printable(manifest->string()) + "' is written again, because it cannot be read";
    if (files.size() == 1) return "1 file is downloaded again: " + files.front().why;
    return std::to_string(files.size()) + " files are downloaded again; the first: " + files.front().why;
  }
};

Damage damageOf(const Expectation& expectation, const VerifyReport& report) {
  Damage damage;
  for (const Problem& problem : report.problems) {
    if (problem.file == 0) continue;
    const std::string path = "'" + core::printable(problem.path.string()) + "'";
    damage.files.push_back({.file = problem.file,
                            .why = problem.difference == Difference::missing
                                       ? path + " is gone"
                                       : path + " was changed: " + core::printable(problem.detail)});
  }
  for (const ExpectedBatch& batch : expectation.batches) {
    if (damage.manifest || engine::manifestHead(batch.folder)) continue;
    damage.manifest = engine::manifestIn(batch.folder).value_or(batch.folder / engine::kManifestName);
  }
  return damage;
}

/// Batches that `sync` put away on purpose: they are not fetched again, so neither is anything else of their job, whose
/// files are fetched and verified as a whole.
CommandEnd refuseToRepair(const store::JobView& view, const std::vector<model::Replacement>& putAway,
                          const Damage& damage) {
  const std::string job = "job " + std::to_string(model::numberOf(view.job.id));
  std::string wrong = damage.files.empty() ? "a manifest" : damage.files.front().why;
  if (damage.files.size() > 1) wrong = std::to_string(damage.files.size()) + " files, the first: " + wrong;
  return core::Error(
      core::Category::verification,
      job + " is not repaired (" + wrong + "), because batch " + core::printable(putAway.front().batch.value(), 80) +
          " was removed from its place on purpose: " + replacementText(putAway.front()),
      {.hint = "caiexport dataset --id " + view.job.datasetId.value() + " --batch ID downloads one batch"});
}

CommandEnd resumeDone(const ResumeOptions& parsed, const store::JobView& view, Configuration& configuration,
                      Context& context) {
  // Of larger jobs, reading everything takes its time.
  constexpr std::uint64_t kCheapBytes = std::uint64_t{1} << 30U;
  const model::JobId id = view.job.id;
  if (!view.job.request.download) return sayDone(configuration.database(), id, "", parsed.format, context);
  const std::string number = std::to_string(model::numberOf(id));
  std::vector<model::Replacement> putAway;
  Damage damage;
  std::string looked = ", and its files are as recorded";
  {
    InputFinder finder(configuration);
    const Expectation expectation = expectedOfJob(finder, number);
    const bool reads = parsed.hashes || expectation.bytes <= kCheapBytes;
    const VerifyReport report =
        checkAll(expectation, reads ? VerifyCheck::Look::contents : VerifyCheck::Look::sizes, context);
    damage = damageOf(expectation, report);
    for (const model::Replacement& one : expectation.replaced) {
      if (isPutAway(view.job, one)) putAway.push_back(one);
    }
    if (!reads) looked = ", and its files have the sizes that were recorded (--hashes also compares contents)";
    for (const Problem& problem : report.problems) {
      if (problem.file != 0) continue;
      const std::string detail = problem.detail.empty() ? "" : ": " + core::printable(problem.detail);
      context.console.notice("caiexport: " + std::string(nameOf(problem.difference)) + "  " +
                             core::printable(problem.path.string()) + detail);
      looked.clear();
    }
  }
  for (const model::Replacement& one : putAway) {
    context.console.notice("caiexport: batch " + core::printable(one.batch.value(), 80) +
                           " is not downloaded again: " + replacementText(one));
  }
  if (!damage.any()) return sayDone(configuration.database(), id, looked, parsed.format, context);
  if (!putAway.empty()) return refuseToRepair(view, putAway, damage);

  Session session(configuration, context);
  session.requireSame(view.job);
  session.requireTarget(view.job.request);
  session.runner().reopen(id, damage.files);
  context.console.notice("caiexport: job " + number + " was done, but " + damage.text());
  return runAndPrint(session, id, parsed.run, parsed.format, context);
}

CommandEnd resumeOne(const ResumeOptions& parsed, Configuration& configuration, Context& context) {
  const store::Location database = configuration.database();
  store::JobView view = findJob(database, parsed.job);
  if (view.status == model::JobStatus::succeeded && !parsed.decision) {
    if (parsed.moves) {
      Session session(configuration, context);
      session.requireSame(view.job);
      session.runner().moveTo(view.job.id, configuration.output());
      view.job.request.output = configuration.output();
    }
    return resumeDone(parsed, view, configuration, context);
  }
  Session session(configuration, context);
  session.requireSame(view.job);
  if (parsed.moves) session.runner().moveTo(view.job.id, configuration.output());
  if (view.status != model::JobStatus::cancelled) session.requireTarget(view.job.request);
  if (parsed.decision) session.runner().decide(view.job.id, *parsed.decision, context.stop);
  return runAndPrint(session, view.job.id, parsed.run, parsed.format, context);
}

/// Runs one of several; what is thrown is this job's failure and does not end the others'.
CommandEnd resumeOneOfAll(Session& session, model::JobId job, TextOrJson format, Context& context) {
  CommandEnd error;
  std::optional<Arrived> arrived;
  try {
    session.requireSame(session.store().load(job));
    error = session.run(job, {}).error;
    arrived = session.takeArrived();
  } catch (const core::Error& thrown) {
    error = thrown;
  }
  if (format == TextOrJson::json) {
    printJobDocument(session, job, error, context);
  } else if (!error) {
    printResultText(resultText(session.history().job(job), arrived, session.ran()), context);
  }
  if (error) context.console.failure(failureText(*error, context.console.level() == Console::Level::verbose));
  return error;
}

CommandEnd resumeAll(const ResumeOptions& parsed, Configuration& configuration, Context& context) {
  const bool json = parsed.format == TextOrJson::json;
  if (!Record::open(configuration.database())) {
    if (json) context.out.write("[]\n");
    if (!json) printResultText("there is nothing to resume\n", context);
    return {};
  }
  Session session(configuration, context);
  CommandEnd first;
  bool any = false;
  if (json) context.out.write("[");
  for (const model::JobId job : session.store().unfinishedJobs()) {
    if (session.isHeld(job)) continue;
    if (context.stop.stop_requested()) break;
    if (json && any) context.out.write(",\n");
    any = true;
    const CommandEnd error = resumeOneOfAll(session, job, parsed.format, context);
    if (error && !first) first = error;
  }
  if (json) context.out.write("]\n");
  if (!json && !any) printResultText("there is nothing to resume\n", context);
  if (!first && context.stop.stop_requested()) return core::Interrupted();
  return first;
}

}  // namespace

const CommandPage& resumePage() {
  static const CommandPage page{
      .name = "resume",
      .summary = "continue a job that stopped",
      .arguments = "JOB|--last|--all",
      .description =
          R"(Continues a job where it stopped: after an interruption, a crash, a network failure, a wait that
timed out, or when you have decided about a blocked job. What is on disk already is not downloaded
again. If the job is done, files that are gone or were changed since are downloaded again, but not
batches that sync moved aside or history prune deleted. With --all only unfinished jobs are
continued.)",
      .groups = {{"What", kWhat}, connectionGroup(), runGroup(), platformGroup(), globalGroup()},
      .examples = {{"caiexport resume 12", "continue job 12"},
                   {"caiexport resume --last", "continue the newest job"},
                   {"caiexport resume --all --format json",
                    "continue everything that is unfinished; the result is one array"},
                   {"caiexport resume 12 --output /mnt/exports", "continue job 12, whose folder was moved there"},
                   {"caiexport resume 12 --accept-rows", "continue job 12 with the number of rows that was counted"},
                   {"caiexport resume 12 --adopt 701", "job 12 is blocked; it had started export job 701"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130}};
  return page;
}

CommandEnd runResume(const ParsedOptions& options, Context& context) {
  const ResumeOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  return parsed.all ? resumeAll(parsed, configuration, context) : resumeOne(parsed, configuration, context);
}

}  // namespace caiexport::cli
