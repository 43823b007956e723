/// What happens around a run: the watch for `cancel`, and what people are told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/log.h"
#include "cli/output/progress.h"
#include "cli/record.h"
#include "job_fixture.h"

namespace caiexport::cli {
namespace {

/// Blocks until a stop is requested on a source.
class StopEvent {
 public:
  explicit StopEvent(const std::stop_source& source)
      : callback_(source.get_token(), [this] {
          const std::lock_guard lock(mutex_);
          stopped_ = true;
          changed_.notify_all();
        }) {}

  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return stopped_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::stop_callback<std::function<void()>> callback_;
};

TEST(CancelWatch, StopsTheRunWhenCancelIsRecorded) {
  JobFixture fixture;
  const model::JobId job = fixture.freshSegmentJob();
  std::stop_source run;
  StopEvent stopped(run);
  const CancelWatch watch(fixture.file(), job, run, core::systemClock(), core::nullLog());
  EXPECT_FALSE(run.stop_requested());
  fixture.store().requestCancel(job);
  EXPECT_TRUE(stopped.wait());
}

/// Sleeps take no time; tells when the watch has looked a few times.
class LookingClock final : public core::Clock {
 public:
  core::TimePoint now() const override { return {}; }
  core::SteadyTime steadyNow() const override { return {}; }

  bool sleep(core::Duration, std::stop_token stop) override {
    const std::lock_guard lock(mutex_);
    ++sleeps_;
    changed_.notify_all();
    return !stop.stop_requested();
  }

  bool waitForSleeps(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return sleeps_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int sleeps_ = 0;
};

TEST(CancelWatch, LeavesTheRunAloneOtherwise) {
  JobFixture fixture;
  const model::JobId job = fixture.freshSegmentJob();
  const model::JobId other = fixture.freshSegmentJob();
  fixture.store().requestCancel(other);
  std::stop_source run;
  LookingClock clock;
  const CancelWatch watch(fixture.file(), job, run, clock, core::nullLog());
  // The third sleep begins after two looks.
  ASSERT_TRUE(clock.waitForSleeps(3));
  EXPECT_FALSE(run.stop_requested());
}

TEST(Record, IsNothingWithoutAFileAndMakesNone) {
  const support::TempDirectory folder;
  EXPECT_EQ(Record::open(folder / "jobs.db"), nullptr);
  EXPECT_EQ(Record::open(folder / "no/jobs.db"), nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Record, WithoutALockFileNothingIsHeld) {
  JobFixture fixture;
  const model::JobId job = fixture.freshSegmentJob();
  EXPECT_FALSE(Record::open(fixture.file())->history().job(job).held);
  EXPECT_FALSE(std::filesystem::exists(fixture.file().string() + ".lock"));
}

class ProgressTest : public testing::Test {
 protected:
  ~ProgressTest() override { std::fclose(file_); }

  std::string said() {
    std::string all;
    char buffer[4096];
    std::rewind(file_);
    for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file_)) > 0;) all.append(buffer, got);
    return all;
  }

  void runThrough() {
    Progress progress(console_, clock_);
    model::Job job;
    job.id = model::JobId(7);
    const auto wait = [&](std::string_view status) {
      progress.waiting(model::StepName::awaitExport, status, std::chrono::seconds(5), std::chrono::seconds(10));
    };
    progress.stepStarted(job, model::StepName::awaitExport);
    wait("NEW");
    wait("PROCESSING");
    wait("PROCESSING");
    progress.notice("batch b1 is left out \x1b[0m");
    progress.stepStarted(job, model::StepName::downloadFiles);
    const transfer::DownloadProgress figures;
    progress.downloadStarted(job, figures);
    progress.downloadEnded();
    progress.finish();
  }

  std::FILE* file_ = std::tmpfile();
  Console console_{::fileno(file_)};
  support::FakeClock clock_;
};

TEST_F(ProgressTest, SaysPlainLinesWhereSomethingChanges) {
  runThrough();
  EXPECT_EQ(said(),
            "job 7: waiting for the export\n"
            "job 7: waiting for the export: NEW, 5.0 s, asked again in 10.0 s\n"
            "job 7: waiting for the export: PROCESSING, 5.0 s, asked again in 10.0 s\n"
            "caiexport: batch b1 is left out \\x1b[0m\n"
            "job 7: downloading\n");
}

TEST_F(ProgressTest, SaysNothingWhenQuiet) {
  console_.setLevel(Console::Level::quiet);
  runThrough();
  EXPECT_EQ(said(), "");
}

}  // namespace
}  // namespace caiexport::cli
