#include "caiexport/reader/score_report.h"

namespace caiexport::reader {
namespace {

SheetCell cellOf(const std::optional<double>& value) {
  if (!value) return std::monostate();
  return *value;
}

SheetCell cellOf(const std::optional<core::TimePoint>& time) {
  if (!time) return std::monostate();
  return *time;
}

SheetCell cellOf(std::uint64_t count) {
  return static_cast<double>(count);
}

SheetCell cellOf(const char* text) {
  return std::string(text);
}

SheetCell shareOf(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::vector<Sheet> sheetReport(const ScoreSummary& summary, const SourceFacts& facts) {
  Sheet figures{.name = "Figures", .header = {"figure", "value"}};
  figures.rows = {{cellOf("source"), facts.source},
                  {cellOf("field"), summary.field},
                  {cellOf("rows"), cellOf(summary.records)},
                  {cellOf("scored"), cellOf(summary.scored)},
                  {cellOf("unscored"), cellOf(summary.unscored)},
                  {cellOf("outside of 0 to 100"), cellOf(summary.outside)},
                  {cellOf("min"), cellOf(summary.min)},
                  {cellOf("max"), cellOf(summary.max)},
                  {cellOf("mean"), cellOf(summary.mean)},
                  {cellOf("stddev"), cellOf(summary.stddev)},
                  {cellOf("p05"), cellOf(summary.p05)},
                  {cellOf("p25"), cellOf(summary.p25)},
                  {cellOf("p50"), cellOf(summary.p50)},
                  {cellOf("p75"), cellOf(summary.p75)},
                  {cellOf("p95"), cellOf(summary.p95)},
                  {cellOf("scored from"), cellOf(summary.scoreDateFrom)},
                  {cellOf("scored to"), cellOf(summary.scoreDateTo)}};
  for (const std::string& batch : facts.batches) figures.rows.push_back({cellOf("batch"), batch});

  Sheet buckets{.name = "Buckets", .header = {"bucket", "from", "to", "count", "share"}};
  buckets.rows = {{cellOf("low"), 0.0, 25.0, cellOf(summary.low), shareOf(summary.low, summary.scored)},
                  {cellOf("medium"), 25.0, 75.0, cellOf(summary.medium), shareOf(summary.medium, summary.scored)},
                  {cellOf("high"), 75.0, 100.0, cellOf(summary.high), shareOf(summary.high, summary.scored)}};

  Sheet histogram{.name = "Histogram", .header = {"from", "to", "count", "share"}};
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    const double from = static_cast<double>(bin) * ScoreSummary::kBinWidth;
    histogram.rows.push_back({from, from + ScoreSummary::kBinWidth, cellOf(summary.histogram[bin]),
                              shareOf(summary.histogram[bin], summary.scored)});
  }

  Sheet factors{.name = "Factors", .header = {"factor", "count", "mean importance", "high", "medium", "low"}};
  for (const InfluentialFactor& factor : summary.factors) {
    factors.rows.push_back({factor.name, cellOf(factor.count), cellOf(factor.meanImportance), cellOf(factor.high),
                            cellOf(factor.medium), cellOf(factor.low)});
  }
  return {figures, buckets, histogram, factors};
}

}  // namespace caiexport::reader
