#include <array>

#include "caiexport/cli/terminal.h"
#include "commands.h"
#include "job_json.h"
#include "json.h"
#include "option_values.h"
#include "record.h"
#include "run_job.h"
#include "session.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 1> kHow{{
    {"format", "text|json", "of the result on standard output [text]"},
}};

model::JobId parseJob(const ParsedOptions& options) {
  if (options.arguments().size() != 1)
    throw core::Error(core::Category::usage, "give the number of one job",
                      {.hint = "caiexport history lists the jobs"});
  return jobNumber(options.arguments().front());
}

void requireDatabase(const std::filesystem::path& database, model::JobId job) {
  if (Record::open(database)) return;
  throw core::Error(core::Category::notFound,
                    "there is no job " + std::to_string(model::numberOf(job)) + ": no job was ever made");
}

std::string sentence(const store::JobView& view) {
  const std::string job = "job " + std::to_string(model::numberOf(view.job.id));
  if (view.status == model::JobStatus::cancelled) return job + " is cancelled";
  return job + " is asked to stop; the process that runs it obeys within two seconds";
}

}  // namespace

const CommandPage& cancelPage() {
  static const CommandPage page{
      .name = "cancel",
      .summary = "stop a job, and the platform's export job",
      .arguments = "JOB",
      .description =
          "Records the request, which a process that runs the job obeys within two seconds (its run ends with "
          "exit code 5), and asks the platform to cancel the export job.",
      .groups = {{"How", kHow}, platformGroup(), globalGroup()},
      .examples = {{"caiexport cancel 12", "give up job 12"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 130}};
  return page;
}

CommandEnd runCancel(const ParsedOptions& options, Context& context) {
  const model::JobId job = parseJob(options);
  const TextOrJson format = formatOption(options);
  Configuration configuration(options, context.environment);
  requireDatabase(configuration.database(), job);

  Session session(configuration, context);
  session.requireSame(session.store().load(job));
  session.runner().cancel(job, context.stop);
  const store::JobView view = session.history().job(job);
  if (format == TextOrJson::json) {
    JsonWriter json([&](std::string_view text) { context.out.write(text); });
    writeJob(json, view, JobDetail::summary, session.history());
    context.out.write("\n");
  } else {
    context.out.write(sentence(view) + "\n");
  }
  return {};
}

}  // namespace caiexport::cli
