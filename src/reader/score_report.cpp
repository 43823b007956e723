/// What a set of scores is, as text, JSON and sheets, and what all reports share.
#include "caiexport/reader/score_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/table.h"
#include "report_text.h"

namespace caiexport::reader {
namespace {

std::string_view unitOf(const SourceFacts& facts) {
  return facts.batches.size() > 1 ? "rows" : "customers";
}

std::string right(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string left(const std::string& text, std::size_t width) {
  const std::string cut = fitTo(text, width);
  return cut + std::string(width - displayWidth(cut), ' ');
}

/// A bar of eighths of a column, so that small differences show.
std::string bar(double share, std::size_t columns) {
  if (signs() == Signs::ascii) {
    const double whole = std::clamp(share, 0.0, 1.0) * static_cast<double>(columns);
    return std::string(static_cast<std::size_t>(std::lround(whole)), '#');
  }
  static constexpr std::array<std::string_view, 8> kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths =
      static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(columns) * 8));
  std::string text;
  for (std::size_t count = 0; count < eighths / 8; ++count) text += "█";
  return text + std::string(kEighths[eighths % 8]);
}

std::string binName(std::size_t bin) {
  const std::size_t from = bin * 5;
  return right(std::to_string(from), 3) + "-" + left(std::to_string(from + 5), 3);
}

/// Counts stand in a column of that width.
std::size_t countWidth(const ScoreSummary& summary, std::size_t width) {
  constexpr std::size_t kWide = 14;
  return width >= 80 ? kWide : grouped(summary.scored).size() + 1;
}

std::string withBar(const std::string& line, double share, std::size_t width) {
  const std::size_t used = displayWidth(line) + 2;
  constexpr std::size_t kLongestBar = 44;
  const std::string drawn = used < width ? bar(share, std::min(width - used, kLongestBar)) : "";
  return fitTo(drawn.empty() ? line : line + "  " + drawn, width) + "\n";
}

std::string bucketLine(std::string_view name, std::string_view range, std::uint64_t count, const ScoreSummary& summary,
                       std::size_t width) {
  const std::string line = "  " + left(std::string(name), 8) + left(std::string(range), width >= 60 ? 11 : 9) +
                           right(grouped(count), countWidth(summary, width)) + right(percent(count, summary.scored), 8);
  return withBar(line, shareOf(count, summary.scored), width);
}

/// Pieces in lines of at most that width, each after two blanks.
std::string flowed(const std::vector<std::string>& pieces, std::string_view gap, std::string_view indent,
                   std::size_t width) {
  std::string text;
  std::string line;
  for (const std::string& piece : pieces) {
    if (!line.empty() && displayWidth(line) + gap.size() + displayWidth(piece) > width) {
      text += line + "\n";
      line.clear();
    }
    line += (line.empty() ? std::string(indent) : std::string(gap)) + piece;
  }
  return text + line + "\n";
}

std::string importanceOf(const InfluentialFactor& factor) {
  if (factor.meanImportance) return "mean importance " + fixed(*factor.meanImportance, 3);
  if (factor.high + factor.medium + factor.low == 0) return {};
  return "high " + grouped(factor.high) + ", medium " + grouped(factor.medium) + ", low " + grouped(factor.low);
}

std::string factorLines(const ScoreSummary& summary, std::size_t width) {
  if (summary.factors.empty()) return {};
  std::size_t widest = 0;
  for (const InfluentialFactor& factor : summary.factors) {
    widest = std::max(widest, displayWidth(core::printable(factor.name)));
  }
  widest = std::min<std::size_t>(widest, width >= 80 ? 32 : width / 2);
  std::string text = "\nTop influential factors\n";
  for (const InfluentialFactor& factor : summary.factors) {
    const std::string line = "  " + left(core::printable(factor.name), widest) +
                             right(grouped(factor.count), width >= 80 ? 13 : countWidth(summary, width)) + "  " +
                             importanceOf(factor);
    text += fitTo(line, width) + "\n";
  }
  return text;
}

std::string histogramLines(const ScoreSummary& summary, std::size_t width) {
  const std::uint64_t largest = largestBin(summary);
  std::string text = "\n";
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    const std::uint64_t count = summary.histogram[bin];
    const std::string line = "  " + binName(bin) + right(grouped(count), countWidth(summary, width)) +
                             right(percent(count, summary.scored), 8);
    text += withBar(line, shareOf(count, largest), width);
  }
  if (summary.outside > 0) text += fitTo("  outside of 0 to 100: " + grouped(summary.outside), width) + "\n";
  return text;
}

std::string figureLines(const ScoreSummary& summary, std::size_t width) {
  const auto named = [](const char* name, const std::optional<double>& value) { return name + (" " + shown(value)); };
  return "\n" +
         flowed({named("mean", summary.mean), named("stddev", summary.stddev), named("min", summary.min),
                 named("max", summary.max)},
                "   ", "  ", width) +
         flowed({named("p05", summary.p05), named("p25", summary.p25), named("p50", summary.p50),
                 named("p75", summary.p75), named("p95", summary.p95)},
                "   ", "  ", width);
}

// JSON

void writeFactors(json::Writer& json, const ScoreSummary& summary) {
  json.key("factors").objects(summary.factors, [&](const InfluentialFactor& factor) {
    json.key("name").value(factor.name);
    json.key("count").value(factor.count);
    json.key("mean_importance").value(factor.meanImportance);
    json.key("high").value(factor.high).key("medium").value(factor.medium).key("low").value(factor.low);
  });
}

void writeDate(json::Writer& json, const ScoreSummary& summary) {
  json.key("score_date");
  if (!summary.scoreDateFrom || !summary.scoreDateTo) {
    json.null();
    return;
  }
  json.beginObject();
  json.key("from").value(core::formatTime(*summary.scoreDateFrom));
  json.key("to").value(core::formatTime(*summary.scoreDateTo));
  json.endObject();
}

}  // namespace

std::string shown(const std::optional<double>& value, int places) {
  return value ? fixed(*value, places) : "-";
}

double shareOf(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return fixed(100 * shareOf(part, whole), 1) + "%";
}

std::string batchNames(const SourceFacts& facts, std::size_t most) {
  std::string names;
  for (std::size_t index = 0; index < std::min(most, facts.batches.size()); ++index) {
    names += (index == 0 ? "" : ", ") + core::printable(facts.batches[index], 80);
  }
  if (facts.batches.size() > most) names += " and " + grouped(facts.batches.size() - most) + " more";
  return names;
}

std::string minutes(core::TimePoint time) {
  std::string text = core::formatTime(time).substr(0, 16);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string dateSpan(const ScoreSummary& summary) {
  if (!summary.scoreDateFrom || !summary.scoreDateTo) return {};
  const std::string from = minutes(*summary.scoreDateFrom);
  const std::string to = minutes(*summary.scoreDateTo);
  return from == to ? from + " UTC" : from + " to " + to + " UTC";
}

std::uint64_t largestBin(const ScoreSummary& summary) {
  return *std::max_element(summary.histogram.begin(), summary.histogram.end());
}

void writeBatches(json::Writer& json, const SourceFacts& facts) {
  json.key("batch_ids").array(facts.batches);
}

void writeHistogram(json::Writer& json, const Histogram& histogram) {
  json.key("histogram").beginArray();
  for (std::uint64_t bin = 0; bin < histogram.size(); ++bin) {
    json.beginObject();
    json.key("from").value(bin * 5).key("to").value(bin * 5 + 5).key("count").value(histogram[bin]);
    json.endObject();
  }
  json.endArray();
}

SheetCell cellOf(std::uint64_t count) {
  return static_cast<double>(count);
}

std::string textReport(const ScoreSummary& summary, const SourceFacts& facts, std::size_t width) {
  std::string text = fitTo("Scores in " + core::printable(summary.field), width) + "\n";
  if (facts.batches.size() > 1) {
    text += fitTo(grouped(facts.batches.size()) + " batches as one set; a customer may be in several:", width) + "\n";
    text += fitTo("  " + batchNames(facts, 2), width) + "\n";
  }
  // Last, where they stay in sight.
  std::string totals = flowed({grouped(summary.records) + " " + std::string(unitOf(facts)) + ",",
                               grouped(summary.scored) + " scored,", grouped(summary.unscored) + " without a score"},
                              " ", "", width);
  if (const std::string span = dateSpan(summary); !span.empty()) totals += fitTo("scored " + span, width) + "\n";
  if (summary.scored == 0) return text + totals;
  text += histogramLines(summary, width) + factorLines(summary, width) + "\n";
  text += bucketLine("low", "below 25", summary.low, summary, width);
  text += bucketLine("medium", "25 to 75", summary.medium, summary, width);
  text += bucketLine("high", "from 75", summary.high, summary, width);
  text += figureLines(summary, width) + "\n";
  std::string note;
  std::vector<std::string> words;
  for (std::string_view rest = kRelative; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!words.back().ends_with('.')) continue;
    note += flowed(words, " ", "", width);
    words.clear();
  }
  return text + note + totals;
}

std::string jsonReport(const ScoreSummary& summary, const SourceFacts& facts) {
  std::string text;
  json::Writer json(text);
  json.beginObject();
  json.key("field").value(summary.field);
  writeBatches(json, facts);
  json.key("records").value(summary.records);
  json.key("scored").value(summary.scored);
  json.key("unscored").value(summary.unscored);
  json.key("outside").value(summary.outside);
  json.key("min").value(summary.min).key("max").value(summary.max);
  json.key("mean").value(summary.mean).key("stddev").value(summary.stddev);
  json.key("p05").value(summary.p05).key("p25").value(summary.p25).key("p50").value(summary.p50);
  json.key("p75").value(summary.p75).key("p95").value(summary.p95);
  json.key("buckets").beginObject();
  json.key("low").value(summary.low).key("medium").value(summary.medium).key("high").value(summary.high);
  json.endObject();
  writeHistogram(json, summary.histogram);
  writeDate(json, summary);
  writeFactors(json, summary);
  json.endObject();
  return text + "\n";
}

std::vector<Sheet> sheetReport(const ScoreSummary& summary, const SourceFacts& facts) {
  Sheet figures{.name = "Figures", .header = {"figure", "value"}};
  figures.rows = {{"source", facts.source},
                  {"field", summary.field},
                  {"rows", cellOf(summary.records)},
                  {"scored", cellOf(summary.scored)},
                  {"unscored", cellOf(summary.unscored)},
                  {"outside of 0 to 100", cellOf(summary.outside)},
                  {"min", cellOf(summary.min)},
                  {"max", cellOf(summary.max)},
                  {"mean", cellOf(summary.mean)},
                  {"stddev", cellOf(summary.stddev)},
                  {"p05", cellOf(summary.p05)},
                  {"p25", cellOf(summary.p25)},
                  {"p50", cellOf(summary.p50)},
                  {"p75", cellOf(summary.p75)},
                  {"p95", cellOf(summary.p95)},
                  {"scored from", cellOf(summary.scoreDateFrom)},
                  {"scored to", cellOf(summary.scoreDateTo)}};
  for (const std::string& batch : facts.batches) figures.rows.push_back({"batch", batch});

  Sheet buckets{.name = "Buckets", .header = {"bucket", "from", "to", "count", "share"}};
  buckets.rows = {{"low", 0.0, 25.0, cellOf(summary.low), shareOf(summary.low, summary.scored)},
                  {"medium", 25.0, 75.0, cellOf(summary.medium), shareOf(summary.medium, summary.scored)},
                  {"high", 75.0, 100.0, cellOf(summary.high), shareOf(summary.high, summary.scored)}};

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
