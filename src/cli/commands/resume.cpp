#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/log.h"
#include "caiexport/json/writer.h"
#include "cli/option_values.h"
#include "cli/output/job_json.h"
#include "cli/output/job_text.h"
#include "cli/record.h"
#include "cli/run_job.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 7> kWhat{{
    {"last", "", "the newest job"},
    {"all", "", "all waiting and interrupted jobs, oldest first"},
    {"resubmit", "", "of a blocked job: it did not happen, do it again"},
    {"adopt", "ID", "of a blocked job: it did happen, and this is its id on the platform"},
    {"accept-rows", "", "take the rows that were counted, though others were promised"},
    {"output", "DIR", "the job's files lie, or are to lie, below DIR from now on"},
    {"format", "text|json", "of the result on standard output [text]"},
}};

constexpr std::array<Option, 3> kTransfer{{
    {"connections", "N", "exactly N connections, 1 to 64 [CAIEXPORT_CONNECTIONS, connections; adapts]"},
    {"connections-max", "N", "at most N connections, 1 to 64 [CAIEXPORT_CONNECTIONS_MAX, connections_max; 64]"},
    {"max-rate", "RATE", "bytes per second of all connections together, e.g. 50M"},
}};

struct ResumeOptions {
  bool all = false;
  std::optional<model::JobId> job = {};  ///< Nothing: the newest.
  std::optional<engine::Decision> decision = {};
  bool moves = false;  ///< To the folder that --output names.
  engine::RunOptions run = {};
  TextOrJson format = TextOrJson::text;
};

ResumeOptions parse(const ParsedOptions& options) {
  refuseTogether(options, {"last", "all"});
  refuseTogether(options, {"resubmit", "adopt"});
  refuseTogether(options, {"all", "resubmit"});
  refuseTogether(options, {"all", "adopt"});
  refuseTogether(options, {"all", "accept-rows"});
  refuseTogether(options, {"all", "output"});
  ResumeOptions parsed;
  parsed.all = options.has("all");
  parsed.moves = options.has("output");
  parsed.format = formatOption(options);
  if (parsed.all && !options.arguments().empty()) {
    throw core::Error(core::Category::usage, "--all and a job number contradict each other");
  }
  if (!parsed.all) parsed.job = jobOrLast(options);
  if (options.has("resubmit")) parsed.decision = engine::Decision{.resubmit = true};
  parsed.run.acceptRows = options.has("accept-rows");
  if (const auto id = idOption(options, "adopt", "id to adopt")) parsed.decision = engine::Decision{.adopt = *id};
  return parsed;
}

/// The job, found before any setting is needed.
store::JobView findJob(const std::filesystem::path& database, const std::optional<model::JobId>& wanted) {
  const std::unique_ptr<Record> record = Record::open(database);
  if (record && wanted) return record->history().job(*wanted);
  std::optional<store::JobView> newest;
  if (record) newest = record->history().newest();
  if (newest) return *newest;
  if (wanted) {
    throw core::Error(core::Category::notFound,
                      "there is no job " + std::to_string(model::numberOf(*wanted)) + ": no job was ever made");
  }
  throw core::Error(core::Category::notFound, "there is nothing to resume: no job was ever made",
                    {.hint = "caiexport dataset --id ID, or caiexport segment --id ID, makes one"});
}

CommandEnd sayDone(const std::filesystem::path& database, model::JobId job, TextOrJson format, Context& context) {
  const std::unique_ptr<Record> record = Record::open(database);
  const store::JobView view = record->history().job(job);
  context.console.notice("caiexport: job " + std::to_string(model::numberOf(job)) + " is done already");
  if (format == TextOrJson::text) {
    printResultText(resultText(view), context);
    return {};
  }
  json::Writer json([&](std::string_view piece) { context.out.write(piece); });
  writeJob(json, view, JobDetail::result, record->history());
  context.out.write("\n");
  return {};
}

CommandEnd resumeOne(const ResumeOptions& parsed, Configuration& configuration, Context& context) {
  const std::filesystem::path database = configuration.database();
  const store::JobView view = findJob(database, parsed.job);
  if (view.status == model::JobStatus::succeeded && !parsed.decision && !parsed.moves) {
    return sayDone(database, view.job.id, parsed.format, context);
  }
  Session session(configuration, context);
  session.requireSame(view.job);
  if (parsed.moves) session.runner().moveTo(view.job.id, configuration.output());
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
      .summary = "go on with a job that stopped",
      .arguments = "JOB|--last|--all",
      .description =
          "Continues a job from exactly where it stopped: after an interruption, a crash, a lost network, a "
          "wait that timed out, or a decision about a blocked job. What is on disk is not fetched again.",
      .groups = {{"What", kWhat}, {"Transfer", kTransfer}, runGroup(), platformGroup(), globalGroup()},
      .examples = {{"caiexport resume 12", "go on with job 12"},
                   {"caiexport resume --last", "go on with the newest job"},
                   {"caiexport resume --all --format json", "everything that is unfinished, as one array"},
                   {"caiexport resume 12 --output /mnt/exports", "its folder was moved there"},
                   {"caiexport resume 12 --accept-rows", "what was counted is right, the promised number is not"},
                   {"caiexport resume 12 --adopt 701", "job 12 is blocked, and export job 701 is the one it started"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130}};
  return page;
}

CommandEnd runResume(const ParsedOptions& options, Context& context) {
  const ResumeOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  return parsed.all ? resumeAll(parsed, configuration, context) : resumeOne(parsed, configuration, context);
}

}  // namespace caiexport::cli
