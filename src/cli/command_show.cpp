#include <array>

#include "caiexport/cli/terminal.h"
#include "commands.h"
#include "config.h"
#include "job_json.h"
#include "job_text.h"
#include "json.h"
#include "option_values.h"
#include "record.h"
#include "run_job.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 2> kHow{{
    {"last", "", "the newest job"},
    {"format", "text|json", "of the result on standard output [text]"},
}};

store::JobView find(Record* record, const std::optional<model::JobId>& wanted) {
  if (record != nullptr && wanted) return record->history().job(*wanted);
  std::optional<store::JobView> newest;
  if (record != nullptr) newest = record->history().newest();
  if (newest) return *newest;
  throw core::Error(core::Category::notFound, "there is no such job: no job was ever made",
                    {.hint = "is --database the right file?"});
}

}  // namespace

const CommandPage& showPage() {
  static const CommandPage page{
      .name = "show",
      .summary = "one job: steps, files, events",
      .arguments = "JOB|--last",
      .description = "Tells all that is recorded about one job. Needs neither settings nor the network.",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport show 12", "for people"},
                   {"caiexport show --last --format json", "for programs, with every file and event"}},
      .exitCodes = {0, 1, 2, 4, 9}};
  return page;
}

CommandEnd runShow(const ParsedOptions& options, Context& context) {
  const std::optional<model::JobId> wanted = jobOrLast(options);
  const TextOrJson format = formatOption(options);
  Configuration configuration(options, context.environment);
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  const store::JobView view = find(record.get(), wanted);
  if (format == TextOrJson::json) {
    JsonWriter json([&](std::string_view text) { context.out.write(text); });
    writeJob(json, view, JobDetail::everything, record->history());
    context.out.write("\n");
  } else {
    context.out.write(showText(view, record->history(), context.out.width()));
  }
  return {};
}

}  // namespace caiexport::cli
