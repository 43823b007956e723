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

constexpr std::string_view kRelative =
    "A score is relative: it ranks people against each other. It is not a probability.";

std::string_view unitOf(const SourceFacts& facts) {
  return facts.batches.size() > 1 ? "records" : "profiles";
}

/// The first few by name.
std::string batchNames(const SourceFacts& facts, std::size_t most) {
  std::string names;
  for (std::size_t index = 0; index < std::min(most, facts.batches.size()); ++index) {
    names += (index == 0 ? "" : ", ") + core::printable(facts.batches[index], 80);
  }
  if (facts.batches.size() > most) names += " and " + grouped(facts.batches.size() - most) + " more";
  return names;
}

double shareOf(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return fixed(100 * shareOf(part, whole), 1) + "%";
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

std::uint64_t largestBin(const ScoreSummary& summary) {
  return *std::max_element(summary.histogram.begin(), summary.histogram.end());
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

// HTML

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : core::printable(text)) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
        break;
    }
  }
  return out;
}

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1b2330; --soft: #5b6675; --line: #dfe4ea;
  --low: #8a97a8; --medium: #3b7dd8; --high: #0f8a6d; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --text: #e8edf3; --soft: #9aa7b6;
  --line: #2d3642; --low: #7d8a9b; --medium: #6aa5f2; --high: #3fc29d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { margin: .35rem 0; } .soft { color: var(--soft); } code { font-size: .9em; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem; margin-top: 1rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem 1rem; margin: 0; }
.figures div { min-width: 0; } .figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; overflow: visible; } svg text { fill: var(--soft); font-size: 15px; }
.axis { stroke: var(--line); stroke-width: 1; }
.low { fill: var(--low); background: var(--low); } .medium { fill: var(--medium); background: var(--medium); }
.high { fill: var(--high); background: var(--high); }
.split { display: flex; height: 1.1rem; border-radius: 6px; overflow: hidden; gap: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .85rem; }
th, td { padding: .4rem .5rem .4rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; } .number { text-align: right; white-space: nowrap; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
.percentiles { grid-template-columns: repeat(auto-fit, minmax(4.2rem, 1fr)); } .name { white-space: nowrap; }
main > p:last-child { margin-top: 1rem; }
@media (max-width: 32rem) { svg text { font-size: 26px; } .wide { display: none; } th.number { white-space: normal; }
  th, td { padding-right: .35rem; } .factors td:first-child { font-size: .9rem; } }
)css";

std::string_view bucketOfBin(std::size_t bin) {
  return bin < 5 ? "low" : bin < 15 ? "medium" : "high";
}

constexpr double kChartWidth = 800;
constexpr double kChartHeight = 260;
constexpr double kBaseline = 225;

std::string chartBar(const ScoreSummary& summary, std::size_t bin, std::uint64_t largest) {
  const std::uint64_t count = summary.histogram[bin];
  const double height = shareOf(count, largest) * (kBaseline - 10);
  const double slot = kChartWidth / static_cast<double>(ScoreSummary::kBins);
  return "<rect class=\"" + std::string(bucketOfBin(bin)) + "\" x=\"" + fixed(slot * static_cast<double>(bin) + 2, 1) +
         "\" y=\"" + fixed(kBaseline - height, 1) + "\" width=\"" + fixed(slot - 4, 1) + "\" height=\"" +
         fixed(height, 1) + "\" rx=\"3\"><title>" + std::to_string(bin * 5) + " to " + std::to_string(bin * 5 + 5) +
         ": " + grouped(count) + " (" + percent(count, summary.scored) + ")</title></rect>\n";
}

std::string chartLabels() {
  std::string text;
  for (int score = 0; score <= 100; score += 25) {
    const char* anchor = score == 0 ? "start" : score == 100 ? "end" : "middle";
    text += "<text x=\"" + std::to_string(score * 8) + "\" y=\"252\" text-anchor=\"" + anchor + "\">" +
            std::to_string(score) + "</text>\n";
  }
  return text;
}

std::string chart(const ScoreSummary& summary) {
  std::string svg = "<svg viewBox=\"0 0 " + fixed(kChartWidth, 0) + " " + fixed(kChartHeight, 0) +
                    "\" role=\"img\" aria-label=\"Histogram of " + grouped(summary.scored) +
                    " scores from 0 to 100\">\n";
  const std::uint64_t largest = largestBin(summary);
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) svg += chartBar(summary, bin, largest);
  svg += "<line class=\"axis\" x1=\"0\" x2=\"800\" y1=\"225.5\" y2=\"225.5\"/>\n";
  return svg + chartLabels() + "</svg>\n";
}

std::string figure(std::string_view name, const std::string& value) {
  return "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>\n";
}

std::string figuresSection(const ScoreSummary& summary, const std::string& unit) {
  std::string html = "<section><dl class=\"figures\">\n";
  html += figure(unit, grouped(summary.records)) + figure("Scored", grouped(summary.scored)) +
          figure("Without a score", grouped(summary.unscored)) + figure("Mean", shown(summary.mean)) +
          figure("Median", shown(summary.p50)) + figure("Standard deviation", shown(summary.stddev)) +
          figure("Lowest", shown(summary.min)) + figure("Highest", shown(summary.max));
  return html + "</dl></section>\n";
}

std::string chartSection(const ScoreSummary& summary) {
  std::string html = "<section><h2>How the scores are distributed</h2>\n" + chart(summary);
  if (summary.outside > 0) {
    html +=
        "<p class=\"soft\">" + grouped(summary.outside) + " scores lie outside of 0 to 100 and are not drawn.</p>\n";
  }
  return html + "</section>\n";
}

std::string splitPart(std::string_view name, std::uint64_t count) {
  if (count == 0) return {};
  return "<span class=\"" + std::string(name) + "\" style=\"flex:" + std::to_string(count) + "\"></span>";
}

std::string bucketRow(std::string_view style, std::string_view name, std::string_view range, std::uint64_t count,
                      std::uint64_t scored) {
  return "<tr><td class=\"name\"><span class=\"dot " + std::string(style) + "\"></span>" + std::string(name) +
         "</td><td>" + std::string(range) + "</td><td class=\"number\">" + grouped(count) +
         "</td><td class=\"number\">" + percent(count, scored) + "</td></tr>\n";
}

std::string bucketsSection(const ScoreSummary& summary, const std::string& unit) {
  return "<section><h2>Low, medium, high</h2>\n<div class=\"split\" aria-hidden=\"true\">" +
         splitPart("low", summary.low) + splitPart("medium", summary.medium) + splitPart("high", summary.high) +
         "</div>\n<table><thead><tr><th>Bucket</th><th>Score</th><th class=\"number\">" + unit +
         "</th><th class=\"number\">Share</th></tr></thead><tbody>\n" +
         bucketRow("low", "Low", "below 25", summary.low, summary.scored) +
         bucketRow("medium", "Medium", "25 to 75", summary.medium, summary.scored) +
         bucketRow("high", "High", "from 75", summary.high, summary.scored) + "</tbody></table></section>\n";
}

std::string percentilesSection(const ScoreSummary& summary) {
  return "<section><h2>Percentiles</h2>\n<dl class=\"figures percentiles\">\n" + figure("5%", shown(summary.p05)) +
         figure("25%", shown(summary.p25)) + figure("50%", shown(summary.p50)) + figure("75%", shown(summary.p75)) +
         figure("95%", shown(summary.p95)) + "</dl></section>\n";
}

std::string factorsSection(const ScoreSummary& summary, const std::string& unit) {
  if (summary.factors.empty()) return {};
  const bool inWords = !summary.factors.front().meanImportance &&
                       summary.factors.front().high + summary.factors.front().medium + summary.factors.front().low > 0;
  std::string html =
      "<section><h2>Top influential factors</h2>\n<table class=\"factors\"><thead><tr><th>Factor</th><th "
      "class=\"number\">" +
      unit + "</th>";
  html += inWords
              ? "<th class=\"number\">High</th><th class=\"number wide\">Medium</th><th class=\"number wide\">Low</th>"
              : "<th class=\"number\">Mean importance</th>";
  html += "</tr></thead><tbody>\n";
  const auto cell = [](const std::string& value, std::string_view style) {
    return "<td class=\"" + std::string(style) + "\">" + value + "</td>";
  };
  for (const InfluentialFactor& factor : summary.factors) {
    html += "<tr><td>" + escaped(factor.name) + "</td>" + cell(grouped(factor.count), "number");
    html += inWords ? cell(grouped(factor.high), "number") + cell(grouped(factor.medium), "number wide") +
                          cell(grouped(factor.low), "number wide")
                    : cell(shown(factor.meanImportance, 3), "number");
    html += "</tr>\n";
  }
  return html + "</tbody></table></section>\n";
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

std::string htmlReport(const ScoreSummary& summary, const SourceFacts& facts) {
  const std::string unit = facts.batches.size() > 1 ? "Records" : "Profiles";
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>" +
      escaped(facts.title) + "</title>\n<style>" + std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n<h1>" +
      escaped(facts.title) + "</h1>\n";
  if (!facts.source.empty()) html += "<p class=\"soft\">" + escaped(facts.source) + "</p>\n";
  if (facts.batches.size() > 1) {
    constexpr std::size_t kNamed = 20;
    html += "<p class=\"soft\">" + grouped(facts.batches.size()) +
            " batches as one set: " + escaped(batchNames(facts, kNamed)) +
            ". A profile may be in several of them: records are not people.</p>\n";
  }
  html += "<p class=\"soft\">Field <code>" + escaped(summary.field) + "</code></p>\n";
  if (const std::string span = dateSpan(summary); !span.empty()) html += "<p class=\"soft\">Scored " + span + "</p>\n";
  html += figuresSection(summary, unit);
  if (summary.scored > 0) {
    html += chartSection(summary) + bucketsSection(summary, unit) + percentilesSection(summary) +
            factorsSection(summary, unit);
  }
  return html + "<p class=\"soft\">" + std::string(kRelative) + "</p>\n</main>\n</body>\n</html>\n";
}

}  // namespace caiexport::reader
