/// Printers: tables at widths, CSV, progress lines.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <variant>

#include "caiexport/cli/terminal.h"
#include "caiexport/reader/table.h"
#include "cli/output/job_output.h"
#include "cli/output/progress.h"
#include "job_fixture.h"

namespace caiexport::cli {
namespace {

using testing::HasSubstr;

std::size_t widest(const std::string& text) {
  std::size_t most = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    most = std::max(most, reader::displayWidth(line));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return most;
}

store::JobView failedView() {
  store::JobView view;
  view.job.id = model::JobId(12);
  view.job.request.sourceId = "5f0000000000000000000001";
  view.job.fileCount = 1234567;
  view.job.totalBytes = 48'000'000;
  view.job.steps = {{.name = model::StepName::downloadFiles, .state = model::StepState::failed}};
  view.job.createdAt = support::FakeClock().now();
  view.job.error =
      model::JobError{core::Category::io, "line one\nquote \" and, comma " + std::string(300, 'x'), "r", "h"};
  view.status = model::JobStatus::failed;
  return view;
}

std::string historyAt(std::size_t width, const store::JobView& view) {
  const core::TimePoint now = support::FakeClock().now() + std::chrono::hours(3);
  HistoryTable table(now, width);
  table.measure(view);
  const std::string head = table.head();
  return head + table.line(view) + table.end();
}

TEST(HistoryTable, FitsAnyTerminal) {
  for (const std::size_t width : {40U, 80U, 120U, 200U}) EXPECT_LE(widest(historyAt(width, failedView())), width);
  EXPECT_THAT(historyAt(120, failedView()), HasSubstr("line one\\x0a"));
}

TEST(HistoryTable, EightyColumnsShowEverythingOfASuccess) {
  store::JobView view = failedView();
  view.job.error.reset();
  view.job.request.sourceId = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";
  view.job.records = 1'234'567;
  const std::string text = historyAt(80, view);
  for (const char* part : {"job", "failed", "7c5f7f05-5a50-4", "1,234,567", "48.0 MB", "3h", "records", "age"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, testing::Not(HasSubstr("more column")));
}

TEST(HistoryTable, AFailuresReasonComesBeforeItsSizeAndIdsAreWholeWithoutABound) {
  store::JobView view = failedView();
  view.job.request.sourceId = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";
  EXPECT_THAT(historyAt(80, view), HasSubstr("line one"));
  const std::string whole = historyAt(0, view);
  for (const char* part : {"7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a", "line one", "48.0 MB"}) {
    EXPECT_THAT(whole, HasSubstr(part));
  }
}

TEST(HistorySheet, AListThatNoCellHoldsIsCutAndSaysSo) {
  store::JobView view = failedView();
  view.job.batches.assign(100'000, {.id = model::BatchId("01JXSC00000000000000000001")});
  const auto header = historySheetHeader();
  const auto column = std::ranges::find(header, "batch_ids") - header.begin();
  const std::string cell = std::get<std::string>(historySheetRow(view).at(static_cast<std::size_t>(column)));
  EXPECT_LT(cell.size(), 32'767U);
  EXPECT_TRUE(cell.ends_with("01 and 98,815 more")) << cell.substr(cell.size() - 40);
  view.job.batches.resize(1000);
  EXPECT_THAT(std::get<std::string>(historySheetRow(view).at(static_cast<std::size_t>(column))),
              testing::EndsWith("01JXSC00000000000000000001"));
}

TEST(HistoryCsv, HasAsManyFieldsAsHeadingsAndQuotes) {
  const std::string header = historyCsvHeader();
  const std::string row = historyCsvRow(failedView());
  EXPECT_TRUE(header.ends_with("error_hint,evaluated_at,version\r\n"));
  EXPECT_TRUE(row.ends_with("\r\n"));
  std::size_t fields = 1;
  bool quoted = false;
  for (const char c : row) {
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) ++fields;
  }
  EXPECT_EQ(fields, static_cast<std::size_t>(std::ranges::count(header, ',')) + 1);
  EXPECT_THAT(row, HasSubstr("\"line one\\x0aquote \"\" and, comma "));
  EXPECT_EQ(csvField("plain"), "plain");
  EXPECT_EQ(csvField("a\rb"), "a\\x0db");
  EXPECT_EQ(csvField(""), "");
}

TEST(HistoryCsv, HasNothingThatATerminalOrASpreadsheetWouldRun) {
  EXPECT_EQ(csvField("\x1b]0;x\a\u202etxt\ufeff"), R"(\x1b]0;x\x07\xe2\x80\xaetxt\xef\xbb\xbf)");
  EXPECT_EQ(csvField("=LINK(\"x\",1)"), "\"'=LINK(\"\"x\"\",1)\"");
  for (const char* formula : {"=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1+1", "\uFF1D1+1", "-", "-inf"}) {
    EXPECT_EQ(csvField(formula), "'" + std::string(formula)) << formula;
  }
  for (const char* value : {"-1", "+1.5", "-2.5e-3", "a=b", "2026-11-27T10:00:00Z", "'=1"}) {
    EXPECT_EQ(csvField(value), value);
  }
  // Escaped, they begin no cell.
  EXPECT_EQ(csvField("\t=1"), "\\x09=1");
  EXPECT_EQ(csvField("\r=1"), "\\x0d=1");
}

TEST(Show, TellsStepsFilesEventsAndTheNextCommand) {
  JobFixture fixture;
  const model::JobId job = fixture.finishedJob();
  store::History history = fixture.history();
  const std::string text = showText(history.job(job), history, 100);
  for (const char* part : {"Job 1: dataset ds1", "select_batches", "part-1.parquet", "files_kept", "7 customers",
                           "Next: caiexport scores 1"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(Show, DoesNotLetThePlatformSteerTheTerminal) {
  JobFixture fixture;
  const model::JobId job = fixture.freshSegmentJob();
  fixture.store().addEvent(job, std::nullopt, "error", "evil \x1b[2J text");
  store::History history = fixture.history();
  const std::string text = showText(history.job(job), history, 100);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("\\x1b[2J"));
}

TEST(Result, TellsWhatWhereHowMuchAndTheNextCommand) {
  JobFixture fixture;
  const model::JobId job = fixture.finishedJob();
  const std::string text = resultText(fixture.history().job(job));
  EXPECT_THAT(text, HasSubstr("Dataset ds1 (sandbox prod): 1 batch, 2 files, 30 B, 7 customers\n"));
  EXPECT_THAT(text, HasSubstr("In /out/ds1/b1\n"));
  EXPECT_THAT(text, HasSubstr("Next: caiexport scores 1\n"));
}

TEST(Grouped, PutsCommas) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Progress, DownloadLineTellsWhatIsKnown) {
  EXPECT_EQ(downloadLine({.bytes = 48'000'000,
                          .totalBytes = 120'000'000,
                          .bytesPerSecond = 12e6,
                          .files = 3,
                          .totalFiles = 9,
                          .connections = 8,
                          .retries = 1,
                          .failed = 2}),
            "48.0 MB of 120 MB (40 %), 12.0 MB/s, 7.0 s left, 3 of 9 files, 8 connections, 1 retry, 2 failed");
  EXPECT_EQ(downloadLine({}), "0 B, 0 files");
  EXPECT_EQ(downloadLine({.bytes = 5, .totalBytes = 4, .bytesPerSecond = 1, .totalFiles = 1}),
            "5 B of 4 B (100 %), 1 B/s, 0 of 1 file");
}

TEST(Progress, WaitLineTellsStatusAndTimes) {
  EXPECT_EQ(waitLine({.status = "PROCESSING", .elapsed = std::chrono::seconds(83), .nextIn = std::chrono::seconds(10)}),
            "PROCESSING, 1m 23s, asked again in 10.0 s");
  EXPECT_THAT(waitLine({.status = "\x1b[31m", .elapsed = {}, .nextIn = {}}), HasSubstr("\\x1b"));
}

}  // namespace
}  // namespace caiexport::cli
