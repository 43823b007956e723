#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/job.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "cli/record.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 3> kHow{{
    {"last", "", "the newest job"},
    {"follow", "", "show how far the job is until it stops running, then the job"},
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

store::JobView find(Record* record, const std::optional<model::JobId>& wanted) {
  if (record != nullptr && wanted) return record->history().job(*wanted);
  std::optional<store::JobView> newest;
  if (record != nullptr) newest = record->history().newest();
  if (newest) return *newest;
  throw core::Error(core::Category::notFound, "there is no such job: no job has been made yet",
                    {.hint = "is --database the right file?"});
}

/// `job 12: running, download_files; 3 of 9 files here, 48.0 MB of 120 MB`.
std::string followLine(const store::JobView& view, store::History& history) {
  const model::Job& job = view.job;
  const auto step = model::currentStep(job.steps);
  std::string line = "job " + std::to_string(model::numberOf(job.id)) + ": " + std::string(model::nameOf(view.status));
  if (step) line += ", " + std::string(model::nameOf(*step));
  if (!job.share.empty()) line += ", " + counted(history.workers(job.id).size(), "worker", "workers");
  if (job.fileCount == 0) return line;
  const store::History::Arrived arrived = history.arrived(job.id);
  return line + "; " + grouped(arrived.files) + " of " + counted(job.fileCount, "file", "files") + " here, " +
         core::formatBytes(arrived.bytes) + " of " + core::formatBytes(job.totalBytes);
}

/// Ends with the job's run, or is interrupted.
void follow(model::JobId job, store::History& history, Context& context) {
  constexpr core::Duration kLookEvery = std::chrono::milliseconds(500);
  std::string said;
  while (true) {
    const store::JobView view = history.job(job);
    const std::string line = followLine(view, history);
    if (!view.held) break;
    if (context.console.canRedraw()) {
      context.console.live(line);
    } else if (line != said) {
      context.console.notice(line);
    }
    said = line;
    if (!core::systemClock().sleep(kLookEvery, context.stop)) {
      context.console.live({});
      throw core::Error(core::Category::interrupted, "interrupted", {.hint = "the job itself goes on"});
    }
  }
  context.console.live({});
}

}  // namespace

const CommandPage& showPage() {
  static const CommandPage page{
      .name = "show",
      .summary = "show one job: steps, files, events",
      .arguments = "JOB|--last",
      .description = "Shows everything that is recorded about one job. Needs neither settings nor the network.",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport show 12", "for people"},
                   {"caiexport show --last --format json", "for programs, with every file and event"},
                   {"caiexport show --last --follow", "follow a running job until it ends"}},
      .exitCodes = {0, 1, 2, 4, 7, 9, 130}};
  return page;
}

CommandEnd runShow(const ParsedOptions& options, Context& context) {
  const std::optional<model::JobId> wanted = jobOrLast(options);
  const TextOrJson format = formatOption(options);
  Configuration configuration(options, context.environment);
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  store::JobView view = find(record.get(), wanted);
  if (options.has("follow")) {
    follow(view.job.id, record->history(), context);
    view = record->history().job(view.job.id);
  }
  if (format == TextOrJson::json) {
    json::Writer json([&](std::string_view text) { context.out.write(text); });
    writeJob(json, view, JobDetail::everything, record->history());
    context.out.write("\n");
  } else {
    context.out.write(showText(view, record->history(), context.out.terminal() ? context.out.width() : 0));
  }
  return {};
}

}  // namespace caiexport::cli
