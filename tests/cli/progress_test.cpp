#include "cli/output/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/cli/terminal.h"
#include "caiexport/reader/table.h"
#include "support/fake_clock.h"

namespace caiexport::cli {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

DownloadFigures halfWay() {
  DownloadFigures figures;
  figures.bytes = 48'000'000;
  figures.totalBytes = 96'000'000;
  figures.bytesPerSecond = 12'000'000;
  figures.files = 3;
  figures.totalFiles = 9;
  figures.connections = 8;
  figures.retries = 1;
  figures.failed = 2;
  return figures;
}

std::vector<std::string> linesOf(const std::string& block) {
  std::vector<std::string> lines;
  std::string_view rest = block;
  while (true) {
    const std::size_t end = rest.find('\n');
    lines.emplace_back(rest.substr(0, end));
    if (end == std::string_view::npos) return lines;
    rest.remove_prefix(end + 1);
  }
}

TEST(DownloadBlock, ShowsEverythingAtAnyWidth) {
  for (const std::size_t width : {20U, 40U, 80U, 200U}) {
    const std::string block = downloadBlock("job 1: working", halfWay(), {.width = width});
    for (const std::string& line : linesOf(block)) {
      EXPECT_LT(reader::displayWidth(line), width) << "one column stays free: " << line;
    }
    for (const char* part :
         {"48.0 MB of 96.0 MB", "12.0 MB/s", "left", "3 of 9 files", "8 connections", "1 retry", "2 failed", " 50 %"}) {
      EXPECT_THAT(block, HasSubstr(part)) << width;
    }
  }
  EXPECT_EQ(linesOf(downloadBlock("job 1: working", halfWay(), {.width = 200})).size(), 3U);
}

TEST(DownloadBlock, BarFollowsThePart) {
  DownloadFigures figures = halfWay();
  const BlockShape plain{.width = 28, .utf8 = false};
  EXPECT_THAT(downloadBlock("h", figures, plain), StartsWith("h\n##########..........   50 %\n"));
  figures.bytes = 0;
  EXPECT_THAT(downloadBlock("h", figures, plain), StartsWith("h\n....................    0 %\n"));
  figures.bytes = 200'000'000;
  EXPECT_THAT(downloadBlock("h", figures, plain), StartsWith("h\n####################  100 %\n"));
  EXPECT_THAT(downloadBlock("h", figures, {.width = 28}), HasSubstr("█"));
  EXPECT_THAT(downloadBlock("h", figures, plain), Not(HasSubstr("left"))) << "nothing is left";
}

TEST(DownloadBlock, WithoutATotalThereIsNoBar) {
  DownloadFigures figures;
  figures.bytes = 5000;
  EXPECT_EQ(downloadBlock("h", figures, {.width = 60}), "h\n5.00 kB, 0 files");
}

TEST(WaitBlock, TellsStatusElapsedAndNextPoll) {
  WaitFigures figures{
      .status = "PROCESSING\x1b[2J", .elapsed = std::chrono::seconds(83), .nextIn = std::chrono::seconds(12)};
  EXPECT_EQ(waitBlock("h", figures, {.width = 80}), "h\nPROCESSING\\x1b[2J, 1m 23s so far, asked again in 12.0 s");
  figures.nextIn = core::Duration::zero();
  EXPECT_THAT(waitBlock("h", figures, {.width = 80}), EndsWith("asking now"));
}

class KeptBytes : public testing::Test {
 protected:
  ~KeptBytes() override { std::fclose(file_); }
  std::FILE* file_ = std::tmpfile();
  Console console_{::fileno(file_)};
  support::FakeClock clock_;
};

TEST_F(KeptBytes, WhatWasHereIsNoPartOfTheRate) {
  Progress progress(console_, clock_);
  model::Job job;
  job.id = model::JobId(1);
  transfer::DownloadProgress figures;
  figures.bytesKept = 70;
  progress.downloadStarted(job, figures);
  figures.bytes = 30;
  clock_.advance(std::chrono::seconds(2));
  progress.downloadEnded();
  const auto arrived = progress.takeArrived();
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->bytes, 30U);
  EXPECT_EQ(arrived->time, std::chrono::seconds(2));
  EXPECT_FALSE(progress.takeArrived()) << "once";
}

}  // namespace
}  // namespace caiexport::cli
