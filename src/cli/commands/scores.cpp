#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/reader/score_report.h"
#include "cli/option_values.h"
#include "cli/output/job_text.h"
#include "cli/output/output_file.h"
#include "commands.h"
#include "reading.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 6> kHow{{
    {"last", "", "the newest job that brought files"},
    {"field", "PATH", "the column of scores, e.g. _tenant.churn.score [found in the schema]"},
    {"all-batches", "", "every batch of a dataset's folder, not the newest alone"},
    {"format", "text|json|html|xlsx", "html is one self-contained page [as --output ends, else text]"},
    {"output", "FILE", "write there instead of standard output"},
    {"memory", "SIZE", "the most memory to use, e.g. 2G [half of it]"},
}};

reader::SourceFacts factsOf(const InputSet& input) {
  reader::SourceFacts facts{.source = input.description};
  for (const model::Batch& batch : input.batches) facts.batches.push_back(batch.id.value());
  return facts;
}

std::string report(const reader::ScoreSummary& summary, const std::string& format, const reader::SourceFacts& facts) {
  if (format == "json") return reader::jsonReport(summary, facts);
  if (format == "html") return reader::htmlReport(summary, facts);
  return reader::textReport(summary, facts);
}

}  // namespace

const CommandPage& scoresPage() {
  static const CommandPage page{
      .name = "scores",
      .summary = "how the scores are distributed",
      .arguments = "JOB|PATH...|--last",
      .description =
          "Counts the scores of jobs, folders or files: histogram, buckets low (below 25), medium and high (75 "
          "and more), mean and percentiles. A score is relative to the other profiles, not a probability.",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport scores 12", "for people"},
                   {"caiexport scores 12 --format json", "for programs"},
                   {"caiexport scores 12 --format html --output scores.html", "a page to send around"}},
      .exitCodes = {0, 1, 2, 4, 8, 9, 130}};
  return page;
}

CommandEnd runScores(const ParsedOptions& options, Context& context) {
  constexpr std::array<std::string_view, 4> kFormats{"text", "json", "html", "xlsx"};
  const std::string format = formatFor(options, "format", kFormats);
  const std::string field = textOption(options, "field").value_or("");
  if (format == "xlsx" && !options.has("output") && context.out.terminal()) {
    throw core::Error(core::Category::usage, "xlsx is not for a terminal", {.hint = "name a file with --output"});
  }
  Reading reading(options, context);
  reading.run([&] {
    const reader::ScoreSummary summary = reading.profiles().scores(field, reading.stop());
    const reader::SourceFacts facts = factsOf(reading.input());
    if (format == "xlsx") {
      deliverFile(reading.output(), reading.scratch(), context, reading.stop(), [&](const std::filesystem::path& file) {
        reader::writeWorkbook(file, reader::sheetReport(summary, facts));
      });
    } else {
      deliverText(reading.output(), reading.scratch(), context, reading.stop(), report(summary, format, facts));
    }
    tellWritten(reading.output(), grouped(summary.records) + " records, " + grouped(summary.scored) + " scored",
                context);
  });
  return {};
}

}  // namespace caiexport::cli
