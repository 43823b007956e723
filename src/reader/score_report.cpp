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
  return facts.batches.size() > 1 ? "records" : "profiles";
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

std::string bucketLine(std::string_view name, std::string_view range, std::uint64_t count, std::uint64_t scored) {
  return "  " + left(std::string(name), 8) + left(std::string(range), 11) + right(grouped(count), 14) +
         right(percent(count, scored), 8) + "  " + bar(shareOf(count, scored), 34) + "\n";
}

std::string importanceOf(const InfluentialFactor& factor) {
  if (factor.meanImportance) return "mean importance " + fixed(*factor.meanImportance, 3);
  if (factor.high + factor.medium + factor.low == 0) return {};
  return "high " + grouped(factor.high) + ", medium " + grouped(factor.medium) + ", low " + grouped(factor.low);
}

std::string factorLines(const ScoreSummary& summary) {
  if (summary.factors.empty()) return {};
  std::size_t widest = 0;
  for (const InfluentialFactor& factor : summary.factors) {
    widest = std::max(widest, displayWidth(core::printable(factor.name)));
  }
  widest = std::min<std::size_t>(widest, 32);
  std::string text = "\nTop influential factors\n";
  for (const InfluentialFactor& factor : summary.factors) {
    const std::string line = "  " + left(core::printable(factor.name), widest) + right(grouped(factor.count), 13) +
                             "  " + importanceOf(factor);
    text += fitTo(line, 80) + "\n";
  }
  return text;
}

std::string histogramLines(const ScoreSummary& summary) {
  const std::uint64_t largest = largestBin(summary);
  std::string text = "\n";
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    const std::uint64_t count = summary.histogram[bin];
    const std::string length = bar(shareOf(count, largest), 44);
    text += "  " + binName(bin) + right(grouped(count), 14) + right(percent(count, summary.scored), 8) +
            (length.empty() ? "" : "  " + length) + "\n";
  }
  if (summary.outside > 0) text += "  outside of 0 to 100: " + grouped(summary.outside) + "\n";
  return text;
}

std::string figureLines(const ScoreSummary& summary) {
  return "\n  mean " + shown(summary.mean) + "   stddev " + shown(summary.stddev) + "   min " + shown(summary.min) +
         "   max " + shown(summary.max) + "\n  p05 " + shown(summary.p05) + "   p25 " + shown(summary.p25) + "   p50 " +
         shown(summary.p50) + "   p75 " + shown(summary.p75) + "   p95 " + shown(summary.p95) + "\n";
}

// JSON

void writeHistogram(json::Writer& json, const ScoreSummary& summary) {
  json.key("histogram").beginArray();
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    json.beginObject();
    json.key("from").value(std::uint64_t{bin * 5});
    json.key("to").value(std::uint64_t{bin * 5 + 5});
    json.key("count").value(summary.histogram[bin]);
    json.endObject();
  }
  json.endArray();
}

void writeFactors(json::Writer& json, const ScoreSummary& summary) {
  json.key("factors").beginArray();
  for (const InfluentialFactor& factor : summary.factors) {
    json.beginObject();
    json.key("name").value(factor.name);
    json.key("count").value(factor.count);
    json.key("mean_importance").value(factor.meanImportance);
    json.key("high").value(factor.high).key("medium").value(factor.medium).key("low").value(factor.low);
    json.endObject();
  }
  json.endArray();
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

std::string textReport(const ScoreSummary& summary, const SourceFacts& facts) {
  std::string text = fitTo("Scores in " + core::printable(summary.field), 80) + "\n";
  if (facts.batches.size() > 1) {
    text += grouped(facts.batches.size()) + " batches as one set; a profile may be in several:\n";
    text += fitTo("  " + batchNames(facts, 2), 80) + "\n";
  }
  text += grouped(summary.records) + " " + std::string(unitOf(facts)) + ", " + grouped(summary.scored) + " scored, " +
          grouped(summary.unscored) + " without a score\n";
  if (const std::string span = dateSpan(summary); !span.empty()) text += "scored " + span + "\n";
  if (summary.scored == 0) return text;
  text += histogramLines(summary) + "\n";
  text += bucketLine("low", "below 25", summary.low, summary.scored);
  text += bucketLine("medium", "25 to 75", summary.medium, summary.scored);
  text += bucketLine("high", "from 75", summary.high, summary.scored);
  text += figureLines(summary) + factorLines(summary);
  return text + "\n" + std::string(kRelative.substr(0, kRelative.find(". ") + 1)) + "\n" +
         std::string(kRelative.substr(kRelative.find(". ") + 2)) + "\n";
}

std::string jsonReport(const ScoreSummary& summary, const SourceFacts& facts) {
  std::string text;
  json::Writer json(text);
  json.beginObject();
  json.key("field").value(summary.field);
  json.key("batch_ids").beginArray();
  for (const std::string& batch : facts.batches) json.value(batch);
  json.endArray();
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
  writeHistogram(json, summary);
  writeDate(json, summary);
  writeFactors(json, summary);
  json.endObject();
  return text + "\n";
}

}  // namespace caiexport::reader
