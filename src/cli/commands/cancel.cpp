#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/json/writer.h"
#include "cli/output/job_output.h"
#include "cli/record.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 1> kHow{{
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

model::JobId parseJob(const ParsedOptions& options) {
  if (options.arguments().size() != 1) throwUsage("give the number of one job", "caiexport history lists the jobs");
  return jobNumber(options.arguments().front());
}

std::string sentence(const store::JobView& view) {
  const std::string job = "job " + std::to_string(model::numberOf(view.job.id));
  if (view.status == model::JobStatus::cancelled) return job + " is cancelled";
  return job + " was asked to stop; the process that runs it stops within two seconds, unless the job is done by then";
}

}  // namespace

const CommandPage& cancelPage() {
  static const CommandPage page{
      .name = "cancel",
      .summary = "stop a job, and the platform's export or segment job",
      .arguments = "JOB",
      .description =
          R"(Records that the job is to be cancelled. A process that runs the job stops within two seconds, with
exit code 5. If the platform is at work on an export or segment job for it, the platform is asked to
cancel that too; only then are settings needed.)",
      .groups = {{"How", kHow}, platformGroup(), globalGroup()},
      .examples = {{"caiexport cancel 12", "stop job 12"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 130}};
  return page;
}

CommandEnd runCancel(const ParsedOptions& options, Context& context) {
  const model::JobId job = parseJob(options);
  const TextOrJson format = formatOption(options);
  Configuration configuration(options, context.environment);
  const std::unique_ptr<Record> record = Record::open(configuration.database(), Record::Mode::readWrite);
  if (!record) {
    throw core::Error(core::Category::notFound,
                      "there is no job " + std::to_string(model::numberOf(job)) + ": no job has been made yet");
  }
  store::JobStore store(record->database(), core::systemClock());
  std::optional<PlatformAccess> access;
  const auto connect = [&](const model::Job& of) -> platform::Client& {
    if (!access) {
      const PlatformSettings settings = configuration.platform();
      engine::Runner::requireSame(of,
                                  {.orgId = settings.orgId, .sandbox = settings.sandbox, .baseUrl = settings.baseUrl});
      access.emplace(settings, configuration.tokenCache(), context.log);
    }
    return access->client();
  };
  engine::cancelJob({.store = store, .jobLocks = record->locks(), .connect = connect}, job, context.stop);

  const store::JobView view = record->history().job(job);
  if (format == TextOrJson::json) {
    json::Writer json([&](std::string_view text) { context.out.write(text); });
    writeJob(json, view, JobDetail::summary, record->history());
    context.out.write("\n");
  } else {
    context.out.write(sentence(view) + "\n");
  }
  return {};
}

}  // namespace caiexport::cli
