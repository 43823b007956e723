/// The page: what a set of scores is, for people who read it once.

#include <Poco/String.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "caiexport/core/text.h"
#include "caiexport/reader/score_report.h"
#include "report_text.h"

namespace caiexport::reader {
namespace {

std::string escaped(std::string_view text) {
  std::string out = core::printable(text);
  for (const auto& [letter, html] :
       {std::pair{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}}) {
    Poco::replaceInPlace(out, letter, html);
  }
  return out;
}

/// Names as programs write them (`daysSinceLastPurchase`, `visits_30d`) with the places where a line may end.
std::string breakable(std::string_view text) {
  const auto isSmall = [](char letter) { return letter >= 'a' && letter <= 'z'; };
  const auto isLarge = [](char letter) { return letter >= 'A' && letter <= 'Z'; };
  const std::string html = escaped(text);
  std::string out;
  for (std::size_t at = 0; at < html.size(); ++at) {
    const char before = at > 0 ? html[at - 1] : ' ';
    if (before == '_' || before == '.' || before == '/' || (isSmall(before) && isLarge(html[at]))) out += "<wbr>";
    out += html[at];
  }
  return out;
}

/// What a high score stands for decides the colours and the words.
enum class Meaning { unknown, risk, chance };

struct Words {
  std::string_view style;
  std::string_view subject;              ///< What the score ranks people by.
  std::array<std::string_view, 3> says;  ///< Of low, medium and high.
};

Meaning meaningOf(const ScoreSummary& summary, const PageFacts& page) {
  std::string text = summary.field;
  if (!page.story.propensity.empty()) {
    text.clear();
    for (const std::string& each : page.story.propensity) text += " " + each;
  }
  text = core::toLower(text);
  const bool risk = text.find("churn") != text.npos;
  const bool chance = text.find("conver") != text.npos || text.find("purchase") != text.npos;
  if (risk == chance) return Meaning::unknown;
  return risk ? Meaning::risk : Meaning::chance;
}

const Words& wordsOf(Meaning meaning) {
  static constexpr Words kRisk{
      "risk", "churn: a high score is a risk", {"least likely to leave", "in between", "most likely to leave"}};
  static constexpr Words kChance{"chance",
                                 "conversion: a high score is a chance",
                                 {"least likely to convert", "in between", "most likely to convert"}};
  static constexpr Words kUnknown{"plain", "", {"low scores", "in between", "high scores"}};
  return meaning == Meaning::risk ? kRisk : meaning == Meaning::chance ? kChance : kUnknown;
}

constexpr std::array<std::string_view, 3> kBuckets{"low", "medium", "high"};
constexpr std::array<std::string_view, 3> kBucketNames{"Low", "Medium", "High"};
constexpr std::array<std::string_view, 3> kRanges{"below 25", "25 to 75", "from 75"};

// Every colour of text and of a bar has a contrast of at least 4.5 (text) or 3 (bars) to what is behind it.
constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --page: #f4f6f8; --card: #ffffff; --text: #1b2330; --soft: #4f5a68; --line: #cfd6de;
  --low: #6b7a8c; --medium: #2f6fc4; --high: #0b7a60; --mark: #1b2330; }
.risk { --low: #0b7a60; --medium: #a86400; --high: #b3261e; } .chance { --low: #6b7a8c; --medium: #2f6fc4; --high: #0b7a60; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --text: #e8edf3; --soft: #a9b5c3;
  --line: #3a4553; --low: #8492a4; --medium: #6aa5f2; --high: #3fc29d; --mark: #e8edf3; }
  .risk { --low: #3fc29d; --medium: #e0a040; --high: #f2766d; } .chance { --low: #8492a4; --medium: #6aa5f2; --high: #3fc29d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .75rem; overflow-wrap: anywhere; } h3 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: .35rem 0; } .soft { color: var(--soft); } code { font-size: .9em; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem; margin-top: 1rem; }
dl { margin: 0; } dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem 1rem; }
.figures dd { font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.about { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: .4rem 1rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--text); font-size: 13px; }
svg .soft { fill: var(--soft); } svg .wide { font-size: 12px; }
.axis { stroke: var(--soft); stroke-width: 1; } .grid { stroke: var(--line); stroke-width: 1; }
.low { fill: var(--low); background: var(--low); } .medium { fill: var(--medium); background: var(--medium); }
.high { fill: var(--high); background: var(--high); } .line { fill: none; stroke: var(--mark); stroke-width: 2; }
.point { fill: var(--mark); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .3rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .85rem; } tbody th { color: var(--text); }
th, td { padding: .4rem .5rem .4rem 0; border-bottom: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; } .scroll { overflow-x: auto; } .scroll th { white-space: nowrap; }
details { margin-top: .75rem; } summary { cursor: pointer; }
.dot { display: inline-block; width: .75em; height: .75em; margin-right: .5em; } .dot.high { border-radius: 50%; }
.dot.medium { border-radius: 2px; } .dot.low { transform: rotate(45deg) scale(.8); }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16.5rem, 100%), 1fr)); gap: 1.25rem;
  margin-top: .75rem; }
.three > div { min-width: 0; break-inside: avoid; }
.factors { table-layout: fixed; } .factors th, .factors td { font-size: .8rem; vertical-align: top; }
.factors tbody th { font-weight: 400; overflow-wrap: break-word; }
.factors th.number { width: 5rem; white-space: normal; } .factors th:last-child { width: 4rem; }
@media (max-width: 32rem) { svg text { font-size: 22px; } .wide { display: none; }
  th, td { font-size: .8rem; padding-right: .35rem; } }
@media print { @page { size: A4; margin: 14mm; }
  :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --soft: #444; --line: #bbb; --mark: #000; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } section { break-inside: avoid; border-radius: 0; padding: .7rem; }
  section.long { break-inside: auto; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
  details:not([open]) { display: none; } th, td { padding-top: .2rem; padding-bottom: .2rem; }
  .figures { grid-template-columns: repeat(6, 1fr); gap: .4rem .6rem; } .figures dt { font-size: .7rem; } .figures dd { font-size: 1rem; }
  .three { display: block; } .three > div + div { margin-top: 1rem; }
  .low, .medium, .high { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

std::string style(std::string_view name) {
  return " class=\"" + std::string(name) + "\"";
}

std::string number(const std::string& text, std::string_view more = {}) {
  return "<td class=\"number" + (more.empty() ? std::string() : " " + std::string(more)) + "\">" + text + "</td>";
}

std::string heading(const std::string& text, bool right, std::string_view more = {}) {
  const std::string names = (right ? "number " : "") + std::string(more);
  return "<th scope=\"col\"" + (names.empty() ? names : style(core::trim(names))) + ">" + text + "</th>";
}

/// A table's first cell.
std::string rowName(const std::string& html) {
  return "<tr><th scope=\"row\">" + html + "</th>";
}

/// Begins a table that may be wider than its section: then it scrolls, by the keyboard too.
std::string scrolling(std::string_view caption) {
  return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + std::string(caption) +
         "\"><table><caption>" + std::string(caption) + "</caption>";
}

std::string dot(std::size_t bucket) {
  return "<span class=\"dot " + std::string(kBuckets[bucket]) + "\" aria-hidden=\"true\"></span>";
}

/// 1234567 as 1.2M, for the narrow places.
std::string brief(std::uint64_t count) {
  if (count < 10'000) return grouped(count);
  const bool millions = count >= 1'000'000;
  const double value = static_cast<double>(count) / (millions ? 1e6 : 1e3);
  return fixed(value, value < 100 ? 1 : 0) + (millions ? "M" : "k");
}

std::size_t bucketOfBin(std::size_t bin) {
  return bin < 5 ? 0 : bin < 15 ? 1 : 2;
}

std::array<std::uint64_t, 3> bucketsOf(const ScoreSummary& summary) {
  return {summary.low, summary.medium, summary.high};
}

// --- the histogram

constexpr double kChartWidth = 800;
constexpr double kTopOfBars = 48;
constexpr double kBaseline = 250;
constexpr double kLeft = 78;  // Room for five digits in a phone's larger letters.

double barX(double bin) {
  return kLeft + bin * (kChartWidth - kLeft) / static_cast<double>(ScoreSummary::kBins);
}

std::string chartText(double x, double y, std::string_view anchor, const std::string& text,
                      std::string_view more = {}) {
  return "<text x=\"" + fixed(x, 1) + "\" y=\"" + fixed(y, 1) + "\" text-anchor=\"" + std::string(anchor) + "\"" +
         (more.empty() ? std::string() : style(more)) + ">" + text + "</text>\n";
}

std::string chartBar(const ScoreSummary& summary, std::size_t bin, std::uint64_t largest) {
  const std::uint64_t count = summary.histogram[bin];
  const double height = shareOf(count, largest) * (kBaseline - kTopOfBars);
  const double x = barX(static_cast<double>(bin));
  const double width = barX(1) - barX(0);
  std::string svg = "<rect" + style(kBuckets[bucketOfBin(bin)]) + " x=\"" + fixed(x + 2, 1) + "\" y=\"" +
                    fixed(kBaseline - height, 1) + "\" width=\"" + fixed(width - 4, 1) + "\" height=\"" +
                    fixed(height, 1) + "\"><title>" + std::to_string(bin * 5) + " to " + std::to_string(bin * 5 + 5) +
                    ": " + grouped(count) + " (" + percent(count, summary.scored) + ")</title></rect>\n";
  if (count > 0) {
    const double share = 100 * shareOf(count, summary.scored);
    svg += chartText(x + width / 2, kBaseline - height - 5, "middle", fixed(share, share < 9.95 ? 1 : 0) + "%",
                     "soft wide");
  }
  return svg;
}

std::string chart(const ScoreSummary& summary, const std::string& unit) {
  const std::uint64_t largest = largestBin(summary);
  std::string svg = "<svg viewBox=\"0 0 800 318\" role=\"img\" aria-label=\"Histogram of " + grouped(summary.scored) +
                    " scores from 0 to 100; the table below has its numbers\">\n";
  for (const double part : {0.0, 0.5, 1.0}) {
    const double y = kBaseline - part * (kBaseline - kTopOfBars);
    svg += "<line class=\"grid\" x1=\"" + fixed(kLeft, 0) + "\" x2=\"800\" y1=\"" + fixed(y, 1) + "\" y2=\"" +
           fixed(y, 1) + "\"/>\n";
    svg += chartText(kLeft - 6, y + 4, "end", brief(static_cast<std::uint64_t>(part * static_cast<double>(largest))),
                     "soft");
  }
  svg += chartText(2, 20, "start", unit, "soft");
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) svg += chartBar(summary, bin, largest);
  svg += "<line class=\"axis\" x1=\"" + fixed(kLeft, 0) + "\" x2=\"800\" y1=\"250\" y2=\"250\"/>\n";
  for (int score = 0; score <= 100; score += 25) {
    const double x = barX(score / 5.0);
    svg += "<line class=\"axis\" x1=\"" + fixed(x, 1) + "\" x2=\"" + fixed(x, 1) + "\" y1=\"250\" y2=\"256\"/>\n";
    svg += chartText(x, 272, score == 100 ? "end" : "middle", std::to_string(score));
  }
  // The buckets by name, so that no colour has to be told apart.
  const std::array<std::pair<double, double>, 3> spans{{{0, 5}, {5, 15}, {15, 20}}};
  for (std::size_t bucket = 0; bucket < 3; ++bucket) {
    const auto [from, to] = spans[bucket];
    svg += "<rect" + style(kBuckets[bucket]) + " x=\"" + fixed(barX(from) + 1, 1) + "\" y=\"282\" width=\"" +
           fixed(barX(to) - barX(from) - 2, 1) + "\" height=\"4\"/>\n";
    svg += chartText((barX(from) + barX(to)) / 2, 306, "middle", std::string(kBucketNames[bucket]));
  }
  return svg + "</svg>\n";
}

std::string histogramTable(const ScoreSummary& summary, const std::string& unit) {
  std::string html = "<details><summary>The numbers of this picture</summary><table><thead><tr>" +
                     heading("Score", false) + heading(unit, true) + heading("Share", true) + "</tr></thead><tbody>\n";
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    html += rowName(std::to_string(bin * 5) + " to " + std::to_string(bin * 5 + 5)) +
            number(grouped(summary.histogram[bin])) + number(percent(summary.histogram[bin], summary.scored)) +
            "</tr>\n";
  }
  return html + "</tbody></table></details>\n";
}

std::string histogramSection(const ScoreSummary& summary, const std::string& unit) {
  std::string html =
      "<section><h2>How the scores are distributed</h2>\n" + chart(summary, unit) + histogramTable(summary, unit);
  if (summary.outside > 0) {
    html +=
        "<p class=\"soft\">" + grouped(summary.outside) + " scores lie outside of 0 to 100 and are not drawn.</p>\n";
  }
  return html + "</section>\n";
}

// --- buckets, figures, factors

std::string bucketsSection(const ScoreSummary& summary, const std::string& unit, const Words& words) {
  std::string html = "<section><h2>Low, medium, high</h2>\n<table><thead><tr>" + heading("Bucket", false) +
                     heading("Who", false, "wide") + heading("Score", false) + heading(unit, true) +
                     heading("Share", true) + "</tr></thead><tbody>\n";
  const auto counts = bucketsOf(summary);
  for (std::size_t at = 3; at-- > 0;) {
    html += rowName(dot(at) + std::string(kBucketNames[at])) + "<td class=\"wide\">" + std::string(words.says[at]) +
            "</td><td>" + std::string(kRanges[at]) + "</td>" + number(grouped(counts[at])) +
            number(percent(counts[at], summary.scored)) + "</tr>\n";
  }
  return html + "</tbody></table></section>\n";
}

std::string figure(std::string_view name, const std::string& value) {
  return "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>\n";
}

std::string figuresSection(const ScoreSummary& summary, const std::string& unit) {
  return "<section><h2>In numbers</h2><dl class=\"figures\">\n" + figure(unit, grouped(summary.records)) +
         figure("Scored", grouped(summary.scored)) + figure("Without a score", grouped(summary.unscored)) +
         figure("Mean", shown(summary.mean)) + figure("Standard deviation", shown(summary.stddev)) +
         figure("Lowest", shown(summary.min)) + figure("5% are below", shown(summary.p05)) +
         figure("25% are below", shown(summary.p25)) + figure("Half are below", shown(summary.p50)) +
         figure("75% are below", shown(summary.p75)) + figure("95% are below", shown(summary.p95)) +
         figure("Highest", shown(summary.max)) + "</dl></section>\n";
}

std::string factorTable(const std::vector<InfluentialFactor>& factors, std::uint64_t people, const std::string& unit) {
  const InfluentialFactor& first = factors.front();
  const bool inWords = !first.meanImportance && first.high + first.medium + first.low > 0;
  std::string html = "<table class=\"factors\"><thead><tr>" + heading("Factor", false) +
                     heading("Share of " + core::toLower(unit), true) +
                     heading(inWords ? "Of high weight" : "Mean weight", true) + "</tr></thead><tbody>\n";
  for (const InfluentialFactor& factor : factors) {
    html += rowName(breakable(factor.name)) + number(percent(factor.count, people)) +
            number(inWords ? percent(factor.high, factor.count) : shown(factor.meanImportance, 3)) + "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

std::string factorsSection(const ScoreSummary& summary, const PageFacts& page, const std::string& unit,
                           const Words& words) {
  const auto& byBucket = page.story.factors;
  const bool any = std::any_of(byBucket.begin(), byBucket.end(), [](const auto& each) { return !each.empty(); });
  if (!any && summary.factors.empty()) return {};
  std::string html = "<section class=\"long\"><h2>What the scores rest on most</h2>\n";
  if (!any) return html + factorTable(summary.factors, summary.scored, unit) + "</section>\n";
  const auto people = bucketsOf(summary);
  html += "<p class=\"soft\">Of the " + core::toLower(unit) +
          " in each bucket: how many have this factor named among theirs, and how much it weighs.</p>\n"
          "<div class=\"three\">\n";
  for (std::size_t at = 3; at-- > 0;) {
    if (byBucket[at].empty()) continue;
    html += "<div><h3>" + dot(at) + std::string(kBucketNames[at]) + ": " + std::string(words.says[at]) + "</h3>" +
            factorTable(byBucket[at], people[at], unit) + "</div>\n";
  }
  return html + "</div></section>\n";
}

// --- earlier batches

std::string day(core::TimePoint time) {
  return core::formatTime(time).substr(0, 10);
}

std::string signedNumber(double value, int places) {
  return (value < 0 ? "" : "+") + fixed(value, places);
}

/// Lines of the mean score; each point bears its number.
std::string trendChart(const std::vector<TrendPoint>& points) {
  double least = 100;
  double most = 0;
  for (const TrendPoint& point : points) {
    if (!point.mean) continue;
    least = std::min(least, *point.mean);
    most = std::max(most, *point.mean);
  }
  const double span = std::max(most - least, 1.0);
  std::string line;
  std::string marks;
  for (std::size_t at = 0; at < points.size(); ++at) {
    if (!points[at].mean) continue;
    const double x =
        60 + 680 * (points.size() == 1 ? 0.5 : static_cast<double>(at) / static_cast<double>(points.size() - 1));
    const double y = 120 - 80 * (*points[at].mean - least) / span;
    line += (line.empty() ? "" : " ") + fixed(x, 1) + "," + fixed(y, 1);
    marks += "<circle class=\"point\" cx=\"" + fixed(x, 1) + "\" cy=\"" + fixed(y, 1) + "\" r=\"4\"/>\n" +
             chartText(x, y - 12, "middle", fixed(*points[at].mean, 1)) +
             chartText(x, 150, "middle", day(points[at].created), "soft wide");
  }
  return "<svg viewBox=\"0 0 800 160\" role=\"img\" aria-label=\"Mean score of each batch; the table below has its "
         "numbers\">\n"
         "<polyline class=\"line\" points=\"" +
         line + "\"/>\n" + marks + "</svg>\n";
}

std::string trendSection(const ScoreSummary& summary, const PageFacts& page) {
  if (page.earlier.empty()) return {};
  std::vector<TrendPoint> points = page.earlier;
  points.push_back(trendPointOf(page.batchCreated.value_or(core::TimePoint()), summary));
  const TrendPoint& last = points[points.size() - 2];
  std::string html = "<section><h2>Since last time, and before</h2>\n";
  if (last.mean && summary.mean) {
    html += "<p class=\"lead\">Mean score " + signedNumber(*summary.mean - *last.mean, 2) + " since the batch of " +
            day(last.created) + ", high scores " +
            signedNumber(100 * (shareOf(summary.high, summary.scored) - shareOf(last.high, last.scored)), 1) +
            " percentage points.</p>\n";
  }
  html += trendChart(points) + scrolling("Mean score and shares of each batch") + "<thead><tr>" +
          heading("Batch of", false) + heading("Scored", true, "wide") + heading("Mean", true) + heading("Low", true) +
          heading("Medium", true) + heading("High", true) + "</tr></thead><tbody>\n";
  for (std::size_t at = points.size(); at-- > 0;) {
    const TrendPoint& point = points[at];
    html += rowName(day(point.created)) + number(grouped(point.scored), "wide") + number(shown(point.mean)) +
            number(percent(point.low, point.scored)) + number(percent(point.medium, point.scored)) +
            number(percent(point.high, point.scored)) + "</tr>\n";
  }
  return html + "</tbody></table></div></section>\n";
}

std::string sinceSection(const PageFacts& page) {
  if (!page.since) return {};
  const Comparison& found = page.since->scores;
  std::string html = "<section><h2>Who moved since " + escaped(page.since->before) + "</h2>\n<p class=\"lead\">" +
                     grouped(found.changed()) + " changed bucket, " + grouped(found.appeared()) + " are new, " +
                     grouped(found.disappeared()) + " are gone.</p>\n";
  if (found.meanChange) {
    html += "<p>Of " + grouped(found.both) + " customers scored both times, " + grouped(found.rose) + " rose and " +
            grouped(found.fell) + " fell, by " + signedNumber(*found.meanChange, 2) + " in the mean.</p>\n";
  }
  html +=
      scrolling("Where they stood (rows) and where they stand (columns)") + "<thead><tr>" + heading("Before", false);
  for (std::size_t now = 0; now < kStandings; ++now)
    html += heading(now + 1 == kStandings ? "gone" : kStandingNames[now], true);
  html += "</tr></thead><tbody>\n";
  for (std::size_t before = 0; before < kStandings; ++before) {
    html += rowName(before + 1 == kStandings ? "new" : kStandingNames[before]);
    for (std::size_t now = 0; now < kStandings; ++now) {
      const bool none = before + 1 == kStandings && now + 1 == kStandings;
      html += number(none ? "" : grouped(found.moved[before][now]));
    }
    html += "</tr>\n";
  }
  html += "</tbody></table></div>\n<p class=\"soft\">Matched by " + escaped(found.identity) + ".";
  if (found.drift) {
    html += " Drift (population stability index): " + fixed(*found.drift, 3) + ", " + driftWord(*found.drift) + ".";
  }
  if (found.before.repeated + found.now.repeated > 0)
    html += " If several rows have the same identity, the highest score counts.";
  const std::uint64_t without = found.before.withoutIdentity + found.now.withoutIdentity;
  if (without > 0) html += " " + grouped(without) + " rows without an identity cannot be compared.";
  return html + "</p></section>\n";
}

// --- the top

/// The group that the score stands in bears the model's name.
std::string modelOf(const ScoreSummary& summary) {
  const std::size_t end = summary.field.rfind('.');
  if (end == std::string::npos) return {};
  const std::string group = summary.field.substr(0, end);
  return group.substr(group.rfind('.') + 1);
}

std::string about(const ScoreSummary& summary, const SourceFacts& facts, const PageFacts& page,
                  const std::string& unit) {
  std::string html = "<section><h2>What this is about</h2><dl class=\"about\">\n";
  const auto line = [&html](std::string_view name, const std::string& value) {
    if (!value.empty()) html += "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>\n";
  };
  line("Model", escaped(modelOf(summary)));
  line("Kind", escaped(core::joined(page.story.propensity, ", ")));
  line("Version", escaped(core::joined(page.story.modelVersions, ", ")));
  line("Dataset", escaped(page.dataset));
  constexpr std::size_t kNamed = 20;
  line(facts.batches.size() > 1 ? "Batches" : "Batch", escaped(batchNames(facts, kNamed)));
  line("Batch made", page.batchCreated ? minutes(*page.batchCreated) + " UTC" : "");
  line("Scored", dateSpan(summary));
  line(unit, grouped(summary.records));
  if (page.since && page.since->scores.now.identities != summary.records)
    line("People", grouped(page.since->scores.now.identities));
  line("Source", escaped(facts.source));
  line("Field", "<code>" + escaped(summary.field) + "</code>");
  return html + "</dl></section>\n";
}

}  // namespace

TrendPoint trendPointOf(core::TimePoint created, const ScoreSummary& summary) {
  return {.created = created,
          .scored = summary.scored,
          .low = summary.low,
          .medium = summary.medium,
          .high = summary.high,
          .mean = summary.mean};
}

std::string htmlReport(const ScoreSummary& summary, const SourceFacts& facts, const PageFacts& page) {
  const std::string unit = facts.batches.size() > 1 ? "Rows" : "Customers";
  const Words& words = wordsOf(meaningOf(summary, page));
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\" class=\"" + std::string(words.style) +
                     "\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                     "'unsafe-inline'\">\n<title>" +
                     escaped(facts.title) + "</title>\n<style>" + std::string(kStyle) +
                     "</style>\n</head>\n<body>\n<main>\n<h1>" + escaped(facts.title) +
                     (modelOf(summary).empty() ? "" : ": " + escaped(modelOf(summary))) + "</h1>\n";
  if (!words.subject.empty()) html += "<p class=\"lead\">About " + std::string(words.subject) + ".</p>\n";
  if (summary.scored > 0) {
    html += "<p class=\"lead\">" + grouped(summary.high) + " of " + grouped(summary.scored) + " scored (" +
            percent(summary.high, summary.scored) + ") stand high: " + std::string(words.says[2]) + ".</p>\n";
  }
  html += about(summary, facts, page, unit);
  if (facts.batches.size() > 1) {
    constexpr std::size_t kNamed = 20;
    html += "<p class=\"soft\">" + grouped(facts.batches.size()) +
            " batches as one set: " + escaped(batchNames(facts, kNamed)) +
            ". A customer may be in several of them, so there may be fewer customers than rows.</p>\n";
  }
  if (summary.scored > 0) {
    html += bucketsSection(summary, unit, words) + histogramSection(summary, unit) + trendSection(summary, page) +
            sinceSection(page);
  }
  html += figuresSection(summary, unit);
  if (summary.scored > 0) html += factorsSection(summary, page, unit, words);
  return html + "<p class=\"soft\">" + std::string(kRelative) + "</p>\n</main>\n</body>\n</html>\n";
}

}  // namespace caiexport::reader
