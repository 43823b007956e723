#include <algorithm>
#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/store/source_status.h"
#include "cli/config/config.h"
#include "cli/option_values.h"
#include "cli/output/status_output.h"
#include "cli/record.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 4> kHow{{
    {"id", "ID", "only this dataset or segment"},
    {"max-age", "DURATION", "fail with exit code 12 if the newest batch is older than this, e.g. 8d"},
    {"format", "text|json|prometheus", "how the result is printed on standard output [text]"},
    {"output", "FILE",
     R"(write to FILE instead, replacing it in one step, as node_exporter's textfile collector needs it)"},
}};

enum class Format { text, json, prometheus };

std::vector<store::SourceStatus> sourcesOf(Configuration& configuration, const std::optional<std::string>& id) {
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  std::vector<store::SourceStatus> sources;
  if (record) sources = record->sources();
  if (!id) return sources;
  std::erase_if(sources, [&](const store::SourceStatus& source) { return source.sourceId != *id; });
  if (!sources.empty()) return sources;
  throw core::Error(core::Category::notFound, "nothing is on record about '" + core::printable(*id, 80) + "'",
                    {.hint = "caiexport history lists the jobs; is --database the right file?"});
}

/// The failure of the first that is not as it should be, with the count of all.
CommandEnd endOf(const std::vector<StatusLine>& lines) {
  const auto bad = [](const StatusLine& line) { return !line.ok(); };
  const auto first = std::ranges::find_if(lines, bad);
  if (first == lines.end()) return {};
  const auto count = std::ranges::count_if(lines, bad);
  std::string message = first->name() + ": " + first->problem;
  if (count > 1) message += " (and " + std::to_string(count - 1) + " more of " + std::to_string(lines.size()) + ")";
  return core::Error(first->category, message, {.hint = first->next});
}

}  // namespace

const CommandPage& statusPage() {
  static const CommandPage page{
      .name = "status",
      .summary = "show how each dataset and segment on record is doing",
      .arguments = "",
      .description =
          R"(Shows for each dataset and segment on record its last run and how that ended, its last success, its
newest batch and the age of that, what went wrong, and what to do next. The exit code is 0 if all
are well. Otherwise it is that of the last run of the first that is not: 12 if its newest batch is
older than --max-age, 130 if its run was killed. With --format prometheus it is always 0, since the
values say it. Needs neither settings nor the network.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport status --max-age 8d", "for a monitoring system, which looks at the exit code"},
                   {"caiexport status --format prometheus --output /var/lib/node_exporter/caiexport.prom",
                    "for node_exporter's textfile collector"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130}};
  return page;
}

CommandEnd runStatus(const ParsedOptions& options, Context& context) {
  refuseArguments(options);
  constexpr std::array<std::string_view, 3> kFormats{"text", "json", "prometheus"};
  const std::string format = wordOption(options, "format", kFormats);
  const std::optional<core::Duration> maxAge = durationOption(options, "max-age");
  const std::optional<std::string> id = idOption(options, "id", "dataset or segment id");
  const std::optional<std::string> output = textOption(options, "output");
  Configuration configuration(options, context.environment);
  const core::TimePoint now = core::systemClock().now();
  std::vector<StatusLine> lines;
  for (store::SourceStatus& source : sourcesOf(configuration, id)) lines.emplace_back(std::move(source), now, maxAge);

  std::string text = format == "json"         ? statusJson(lines, now)
                     : format == "prometheus" ? statusMetrics(lines)
                                              : statusText(lines, now);
  if (lines.empty() && format == "text") context.console.notice("caiexport: no jobs yet");
  if (output) {
    core::writeFileAtomically(core::diskFileSystem(), *output, text);
  } else {
    context.out.write(text);
  }
  return format == "prometheus" ? CommandEnd() : endOf(lines);
}

}  // namespace caiexport::cli
