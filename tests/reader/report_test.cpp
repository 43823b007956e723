#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "caiexport/core/memory.h"
#include "caiexport/reader/score_report.h"
#include "caiexport/reader/table.h"
#include "support/temp_directory.h"

namespace caiexport::test {
namespace {

namespace fs = std::filesystem;
using reader::displayWidth;
using reader::fitTo;
using reader::htmlReport;
using reader::jsonReport;
using reader::renderTable;
using reader::ScoreSummary;
using reader::Table;
using reader::textReport;
using ::testing::HasSubstr;
using ::testing::Not;

ScoreSummary summary() {
  ScoreSummary made{
      .field = "_acme.propensity.score", .records = 1'234'567, .scored = 1'234'000, .unscored = 567, .outside = 3};
  made.min = 0.5;
  made.max = 99;
  made.mean = 31.25;
  made.stddev = 12;
  made.p05 = made.p25 = made.p50 = made.p75 = made.p95 = 20;
  made.low = 1'000'000;
  made.medium = 200'000;
  made.high = 34'000;
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) made.histogram[bin] = (20 - bin) * 1000;
  made.scoreDateFrom = core::TimePoint(std::chrono::milliseconds(1748747825123));
  made.scoreDateTo = *made.scoreDateFrom + std::chrono::hours(2);
  made.factors = {{.name = "<script>alert(\"x\")</script>\x1B[31m", .count = 12, .meanImportance = 0.25},
                  {.name = "a name that is longer than any table of eighty columns has room for, by far", .count = 1}};
  return made;
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

TEST(TextReport, FitsEightyColumnsAndSaysWhatAScoreIs) {
  const std::string text = textReport(summary());
  for (const std::string& line : lines(text)) EXPECT_LE(displayWidth(line), 80U) << line;
  EXPECT_THAT(text, HasSubstr("1,234,567 customers"));
  EXPECT_THAT(text, HasSubstr("not a probability"));
  EXPECT_THAT(text, HasSubstr("2025-06-01 03:17 to 2025-06-01 05:17 UTC"));
  EXPECT_THAT(text, HasSubstr("outside of 0 to 100: 3"));
  EXPECT_THAT(text, Not(HasSubstr("\x1B")));
  ScoreSummary huge = summary();
  huge.records = huge.scored = huge.low = huge.histogram[3] = 999'999'999'999;
  for (const std::string& line : lines(textReport(huge))) EXPECT_LE(displayWidth(line), 80U) << line;
}

TEST(TextReport, NothingScored) {
  const std::string text = textReport({.field = "score", .records = 4, .unscored = 4});
  EXPECT_THAT(text, HasSubstr("4 customers, 0 scored"));
}

TEST(JsonReport, HasTheDocumentedKeys) {
  const std::string json = jsonReport(summary());
  for (const char* key : {"records", "scored", "unscored", "outside", "field", "min", "max", "mean", "stddev", "p05",
                          "p25", "p50", "p75", "p95", "buckets", "histogram", "score_date", "factors"}) {
    EXPECT_THAT(json, HasSubstr(std::string("\"") + key + "\": "));
  }
  EXPECT_THAT(json, HasSubstr("\"buckets\": {\"low\": 1000000, \"medium\": 200000, \"high\": 34000}"));
  EXPECT_THAT(json, HasSubstr("[{\"from\": 0, \"to\": 5, \"count\": 20000}, "));
  EXPECT_THAT(json, HasSubstr("{\"from\": 95, \"to\": 100, \"count\": 1000}]"));
  EXPECT_THAT(json, HasSubstr("\\u001b[31m"));
  EXPECT_EQ(lines(json).size(), 1U);
  EXPECT_THAT(jsonReport({}), HasSubstr("\"mean\": null"));
}

TEST(Reports, OfSeveralBatchesNameThemAndCountRows) {
  const reader::SourceFacts facts{.source = "job 3", .batches = {"b<1>", "b2", "b3"}};
  const std::string text = textReport(summary(), facts);
  EXPECT_THAT(text, HasSubstr("3 batches as one set; a customer may be in several:\n  b<1>, b2 and 1 more\n"));
  EXPECT_THAT(text, HasSubstr("\n1,234,567 rows, "));
  for (const std::string& line : lines(text)) EXPECT_LE(displayWidth(line), 80U) << line;
  const std::string html = htmlReport(summary(), facts);
  EXPECT_THAT(html, HasSubstr("3 batches as one set: b&lt;1&gt;, b2, b3."));
  EXPECT_THAT(html, Not(HasSubstr("Customers")));
  EXPECT_THAT(htmlReport(summary(), {.batches = {"b1"}}), Not(HasSubstr("Rows")));
  EXPECT_THAT(jsonReport(summary(), facts), HasSubstr("\"batch_ids\": [\"b<1>\", \"b2\", \"b3\"]"));
}

TEST(HtmlReport, IsSelfContainedAndEscaped) {
  const std::string html = htmlReport(summary(), {.title = "Scores <of> \"job\" & 'more'", .source = "a/b<c"});
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("http:")));
  EXPECT_THAT(html, Not(HasSubstr("https:")));
  EXPECT_THAT(html, Not(HasSubstr("\x1B")));
  EXPECT_THAT(html, HasSubstr("Scores &lt;of&gt; &quot;job&quot; &amp; &#39;more&#39;"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert"));
  EXPECT_THAT(html, HasSubstr("a/b&lt;c"));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(html, HasSubstr("name=\"viewport\""));
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(htmlReport({.field = "x", .records = 2}, {}), Not(HasSubstr("<svg")));
}

reader::PageFacts pageOf(const std::string& propensity) {
  reader::PageFacts page;
  page.story.propensity = {propensity};
  page.story.factors[2] = {{.name = "visits", .count = 10, .high = 5, .low = 5}};
  return page;
}

TEST(HtmlReport, ColoursAndWordsFollowTheMeaning) {
  const std::string churn = htmlReport(summary(), {}, pageOf("churn"));
  EXPECT_THAT(churn, HasSubstr("<html lang=\"en\" class=\"risk\">"));
  EXPECT_THAT(churn, HasSubstr("stand high: most likely to leave"));
  EXPECT_THAT(churn, HasSubstr("High: most likely to leave</h3>"));
  const std::string conversion = htmlReport(summary(), {}, pageOf("conversion"));
  EXPECT_THAT(conversion, HasSubstr("class=\"chance\""));
  EXPECT_THAT(conversion, HasSubstr("most likely to convert"));
  EXPECT_THAT(htmlReport(summary(), {}), HasSubstr("class=\"plain\""));
}

TEST(HtmlReport, FactorsAreSharesOfTheirBucketAndLongNamesMayBreak) {
  reader::PageFacts page = pageOf("churn");
  page.story.factors[2] = {{.name = "daysSince.last_visit", .count = 17'000, .high = 1'700, .low = 15'300}};
  const std::string html = htmlReport(summary(), {}, page);
  EXPECT_THAT(html, HasSubstr("days<wbr>Since.<wbr>last_<wbr>visit</th><td class=\"number\">50.0%</td><td "
                              "class=\"number\">10.0%</td>"));
  EXPECT_THAT(html, HasSubstr("Share of customers"));
  EXPECT_THAT(htmlReport(summary(), {.batches = {"b1", "b2"}}, page), HasSubstr("Share of rows"));
  page.story.factors[2].assign(10, {.name = "one of ten", .count = 1});
  const std::string ten = htmlReport(summary(), {}, page);
  std::size_t shown = 0;
  for (std::size_t at = ten.find("one of ten"); at != ten.npos; at = ten.find("one of ten", at + 1)) ++shown;
  EXPECT_EQ(shown, 10U);
}

TEST(HtmlReport, SaysWhatItIsAboutAndWhatChanged) {
  reader::PageFacts page = pageOf("churn");
  page.dataset = "5f01";
  page.batchCreated = core::TimePoint(std::chrono::milliseconds(1748747825123));
  page.earlier = {
      {.created = *page.batchCreated - std::chrono::hours(24), .scored = 100, .low = 90, .high = 10, .mean = 30.0}};
  reader::Comparison moved;
  moved.moved[0][2] = 42;
  moved.drift = 0.3;
  page.since = reader::Since{.scores = moved, .before = "job <1>"};
  const std::string html = htmlReport(summary(), {.batches = {"b1"}}, page);
  for (const char* text :
       {"<dd>propensity</dd>", "<dd>5f01</dd>", "<dd>b1</dd>", "2025-06-01 03:17 UTC", "1,234,567",
        "Mean score +1.25 since the batch of 2025-05-31", "42 changed bucket", "since job &lt;1&gt;", "0.300, much"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
}

TEST(HtmlReport, EveryPictureHasATableAndPaperIsThoughtOf) {
  reader::PageFacts page = pageOf("churn");
  page.earlier = {{.scored = 1, .mean = 1.0}};
  const std::string html = htmlReport(summary(), {}, page);
  std::size_t pictures = 0;
  for (std::size_t at = html.find("<svg"); at != html.npos; at = html.find("<svg", at + 1)) {
    ++pictures;
    EXPECT_THAT(html.substr(at, 200), HasSubstr("role=\"img\" aria-label="));
    EXPECT_LT(html.find("<table", at), html.find("</section>", at));
  }
  EXPECT_EQ(pictures, 2U);
  EXPECT_THAT(html, HasSubstr("size: A4"));
  EXPECT_THAT(html, HasSubstr("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Mean score"));
  EXPECT_THAT(html, HasSubstr(">25</text>"));
}

TEST(TextReport, IsAsNarrowAsTheTerminalAndEndsInItsTotals) {
  const std::string text = textReport(summary(), {}, 40);
  for (const std::string& line : lines(text)) EXPECT_LE(displayWidth(line), 40U) << line;
  EXPECT_LT(text.find("influential"), text.find("1,234,567 customers"));
  EXPECT_LT(text.find("p95"), text.find("1,234,567 customers"));
}

TEST(Signs, AreAsciiWhereTheLocaleIs) {
  reader::drawWith(reader::Signs::ascii);
  const std::string text = textReport(summary());
  const std::string table = renderTable({.columns = {{"näme", "", false}}, .rows = {{"é and a long text"}}}, 12);
  const std::string cut = fitTo("abcdefgh", 5);
  reader::drawWith(reader::Signs::unicode);
  for (const std::string& each : {text, table}) {
    EXPECT_TRUE(std::all_of(each.begin(), each.end(), [](char letter) {
      return static_cast<unsigned char>(letter) < 0x80;
    })) << each;
  }
  EXPECT_THAT(text, HasSubstr("####"));
  EXPECT_EQ(cut, "ab...");
  EXPECT_THAT(table, HasSubstr("\\xC3\\xA9"));
}

TEST(DisplayWidth, WideCombiningAndPlain) {
  EXPECT_EQ(displayWidth("abc"), 3U);
  EXPECT_EQ(displayWidth("äöü"), 3U);
  EXPECT_EQ(displayWidth("日本語"), 6U);
  EXPECT_EQ(displayWidth("한글"), 4U);
  EXPECT_EQ(displayWidth("🙂"), 2U);
  EXPECT_EQ(displayWidth("e\u0301"), 1U);
  EXPECT_EQ(displayWidth("a\u200Db"), 2U);
  EXPECT_EQ(displayWidth("…─█"), 3U);
}

TEST(FitTo, CutsWithAnEllipsis) {
  EXPECT_EQ(fitTo("abcdef", 6), "abcdef");
  EXPECT_EQ(fitTo("abcdef", 4), "abc…");
  EXPECT_EQ(fitTo("日本語", 5), "日本…");
  EXPECT_EQ(fitTo("日本語", 4), "日…");
  EXPECT_EQ(fitTo("abc", 1), "…");
  EXPECT_EQ(fitTo("abc", 0), "");
}

TEST(RenderTable, AlignsAndShortensNames) {
  const Table table{.columns = {{"_id", "VARCHAR", false}, {"_t.cai.score", "DOUBLE", true}},
                    .rows = {{"日本", "1.5"}, {"b", "100.25"}}};
  EXPECT_EQ(renderTable(table, 80), "_id    score\n────  ──────\n日本     1.5\nb     100.25\n");
  const Table alike{.columns = {{"a.x.score", "DOUBLE", true}, {"b.x.score", "DOUBLE", true}}, .rows = {{"1", "2"}}};
  EXPECT_THAT(renderTable(alike, 80), HasSubstr("a.x.score  b.x.score\n"));
  EXPECT_EQ(renderTable({}, 80), "");
}

TEST(RenderTable, NeverWiderThanTheTerminal) {
  Table table;
  for (int column = 0; column < 30; ++column) {
    table.columns.push_back({"group.column_" + std::to_string(column), "VARCHAR", column % 3 == 0});
  }
  table.rows.emplace_back(30, std::string("a cell that is long enough to be cut, 日本"));
  for (const std::size_t width : {1U, 8U, 20U, 40U, 80U, 81U, 120U, 200U}) {
    for (const std::string& line : lines(renderTable(table, width))) EXPECT_LE(displayWidth(line), width) << line;
  }
  EXPECT_THAT(renderTable(table, 80), HasSubstr("more columns: group.column_"));
  EXPECT_THAT(renderTable(table, 0), Not(HasSubstr("…")));
}

class MachineTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const fs::path path = root_.path() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  support::TempDirectory root_;
};

TEST_F(MachineTest, MemoryOfTheMachineAndItsControlGroups) {
  write("proc/meminfo", "MemTotal:       8000 kB\nMemFree: 5 kB\n");
  EXPECT_EQ(core::usableMemoryBytes(root_.path()), 8000U * 1024);
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  EXPECT_EQ(core::usableMemoryBytes(root_.path()), 8000U * 1024);
  write("sys/fs/cgroup/a/memory.max", "5000000\n");
  EXPECT_EQ(core::usableMemoryBytes(root_.path()), 5'000'000U);
  write("proc/self/cgroup", "4:cpu,memory:/x\n0::/\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3000000\n");
  EXPECT_EQ(core::usableMemoryBytes(root_.path()), 3'000'000U);
  EXPECT_GE(core::usableProcessors(), 1U);
}

}  // namespace
}  // namespace caiexport::test
