#include <algorithm>
#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/reader/score_report.h"
#include "cli/output/output_file.h"
#include "commands.h"
#include "reading.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 9> kHow{{
    {"last", "", "the newest job that has files"},
    {"field", "PATH", "the column that holds the scores, e.g. _tenant.churn.score [found in the schema]"},
    {"against", "JOB|PATH|BATCH|previous",
     "compare with an earlier job, folder, file or batch; previous is the batch before this one"},
    {"identity", "NAMESPACE", "match customers by this identity [the primary one, else _id]"},
    {"customers", "",
     "with --against: list the customers that are new, gone or in another bucket (csv, jsonl or xlsx)"},
    {"all-batches", "", "read all batches in a dataset's folder, not only the newest"},
    {"format", "text|json|html|xlsx|csv|jsonl",
     "how the result is printed; html is a web page in a single file [by the ending of --output, else text]"},
    {"output", "FILE", "write to FILE instead of standard output"},
    {"memory", "SIZE", "use at most this much memory, e.g. 2G [half of the machine's]"},
}};

reader::SourceFacts factsOf(const InputSet& input) {
  reader::SourceFacts facts{.source = input.description};
  for (const model::Batch& batch : input.batches) facts.batches.push_back(batch.id.value());
  return facts;
}

/// A terminal that is narrower than a text of ours gets a narrower one.
std::size_t widthFor(const Reading& reading, const Context& context) {
  constexpr std::size_t kUsual = 80;
  constexpr std::size_t kNarrowest = 40;
  if (reading.output().given() || !context.out.terminal()) return kUsual;
  return std::clamp(context.out.width(), kNarrowest, kUsual);
}

/// What only the page tells. Earlier batches that can't be read, or have other columns, are left out with a word.
reader::PageFacts pageFacts(Reading& reading, const std::string& field, Context& context) {
  constexpr std::size_t kMostEarlier = 6;
  reader::PageFacts page{.story = reading.profiles().story(field, reading.stop()),
                         .dataset = InputFinder::datasetOf(reading.input())};
  const std::vector<model::Batch>& batches = reading.input().batches;
  if (batches.size() == 1 && batches.front().created != core::TimePoint()) page.batchCreated = batches.front().created;
  for (const InputSet& set : reading.earlier(kMostEarlier)) {
    try {
      const reader::ScoreSummary summary = reading.open(set)->scores(field, reading.stop());
      page.earlier.insert(page.earlier.begin(), reader::trendPointOf(set.batches.front().created, summary));
    } catch (const core::Error& error) {
      if (error.category() == core::Category::interrupted) throw;
      context.console.notice("caiexport: left out of the trend: " + core::printable(error.what(), 300));
    }
  }
  return page;
}

/// A batch by its day, anything else by what was named.
std::string nameOf(const InputSet& set) {
  if (set.batches.size() != 1 || set.batches.front().created == core::TimePoint()) return set.description;
  const model::Batch& batch = set.batches.front();
  return "the batch of " + core::formatTime(batch.created).substr(0, 10) + " (" + batch.id.value() + ")";
}

void deliverSheets(Reading& reading, const std::vector<reader::Sheet>& sheets) {
  deliverFile(reading.delivery(), [&](const std::filesystem::path& file) { reader::writeWorkbook(file, sheets); });
}

/// Those who moved.
void listCustomers(Reading& reading, reader::ScorePair& pair, const reader::PairQuery& query, const std::string& format,
                   Context& context) {
  std::uint64_t rows = 0;
  if (format == "xlsx") {
    deliverFile(reading.delivery(),
                [&](const std::filesystem::path& file) { rows = pair.writeSheet(query, file, reading.stop()).rows; });
  } else {
    const reader::RowFormat form = format == "csv" ? reader::RowFormat::csv : reader::RowFormat::jsonl;
    deliverRows(reading.delivery(), [&](reader::Output& out) { rows = pair.rows(query, form, out, reading.stop()); });
  }
  tellWritten(reading.output(), grouped(rows) + " customers that are new, gone or in another bucket", context);
}

CommandEnd compareScores(const ParsedOptions& options, Context& context) {
  constexpr std::array<std::string_view, 4> kReports{"text", "json", "html", "xlsx"};
  constexpr std::array<std::string_view, 3> kLists{"csv", "jsonl", "xlsx"};
  const bool list = options.has("customers");
  const std::string format = list ? formatFor(options, "format", kLists) : formatFor(options, "format", kReports);
  refuseBinaryAtTerminal(format, OutputTarget(options), context);
  const reader::PairQuery query{.field = textOption(options, "field").value_or(""),
                                .identity = textOption(options, "identity").value_or("")};
  Reading reading(options, context);
  reading.run([&] {
    const Reading::Pair pair = reading.openAgainst(*textOption(options, "against"));
    if (list) return listCustomers(reading, *pair.scores, query, format, context);
    const reader::Comparison comparison = pair.scores->compare(query, reading.stop());
    const reader::SourceFacts now = factsOf(reading.input());
    const reader::SourceFacts before = factsOf(pair.before);
    if (format == "xlsx") {
      deliverSheets(reading, reader::sheetReport(comparison, now, before));
    } else if (format == "html") {
      const reader::ScoreSummary summary = reading.profiles().scores(query.field, reading.stop());
      reader::PageFacts page = pageFacts(reading, query.field, context);
      page.since = reader::Since{.scores = comparison, .before = nameOf(pair.before)};
      deliverText(reading.delivery(), reader::htmlReport(summary, now, page));
    } else {
      deliverText(reading.delivery(), format == "json"
                                          ? reader::jsonReport(comparison, now, before)
                                          : reader::textReport(comparison, now, before, widthFor(reading, context)));
    }
    tellWritten(reading.output(), "the comparison of " + grouped(comparison.now.identities) + " identities", context);
  });
  return {};
}

}  // namespace

const CommandPage& scoresPage() {
  static const CommandPage page{
      .name = "scores",
      .summary = "show how the scores are distributed",
      .arguments = "JOB|PATH...|--last",
      .description =
          R"(Counts the scores in the given jobs, folders or files and shows a histogram, three buckets (low:
below 25, medium, high: 75 and more), the mean and percentiles. A score ranks customers against each
other; it is not a probability. With --against it shows how many customers changed bucket
since an earlier batch, and how far the scores drifted.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport scores 12", "for people"},
                   {"caiexport scores 12 --format json", "for programs"},
                   {"caiexport scores 12 --against previous", "how the scores moved since the previous batch"},
                   {"caiexport scores 12 --against 11 --customers --output moved.xlsx",
                    "a list of the customers that are new, gone or in another bucket"},
                   {"caiexport scores 12 --format html --output scores.html", "a web page to share"}},
      .exitCodes = {0, 1, 2, 4, 7, 8, 9, 130}};
  return page;
}

CommandEnd runScores(const ParsedOptions& options, Context& context) {
  requireWith(options, "identity", "against");
  requireWith(options, "customers", "against");
  if (options.has("against")) return compareScores(options, context);
  constexpr std::array<std::string_view, 4> kFormats{"text", "json", "html", "xlsx"};
  const std::string format = formatFor(options, "format", kFormats);
  const std::string field = textOption(options, "field").value_or("");
  refuseBinaryAtTerminal(format, OutputTarget(options), context);
  Reading reading(options, context);
  reading.run([&] {
    const reader::ScoreSummary summary = reading.profiles().scores(field, reading.stop());
    const reader::SourceFacts facts = factsOf(reading.input());
    if (format == "xlsx") {
      deliverSheets(reading, reader::sheetReport(summary, facts));
    } else if (format == "html") {
      deliverText(reading.delivery(), reader::htmlReport(summary, facts, pageFacts(reading, field, context)));
    } else {
      deliverText(reading.delivery(), format == "json"
                                          ? reader::jsonReport(summary, facts)
                                          : reader::textReport(summary, facts, widthFor(reading, context)));
    }
    tellWritten(reading.output(), grouped(summary.records) + " rows, " + grouped(summary.scored) + " scored", context);
  });
  return {};
}

}  // namespace caiexport::cli
