#include "transfer/schedule.h"

#include <gtest/gtest.h>

#include <memory>

#include "caiexport/core/file_system.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr unsigned kConnections = 4;

class ScheduleTest : public ::testing::Test {
 protected:
  Schedule::File begun(std::int64_t key, std::uint64_t lengthBytes) {
    schedule_.add(std::make_shared<FileTask>(core::diskFileSystem(), testing::itemOf(key, lengthBytes, "unused")));
    Schedule::File file = schedule_.begin();
    schedule_.open(file, {{0, lengthBytes}});
    return file;
  }

  ByteRange take(unsigned connections = kConnections) {
    const auto piece = schedule_.takeAny(now_, connections);
    return piece ? piece->asked() : ByteRange{};
  }

  Schedule schedule_{{.rangeBytes = 8 * kMiB, .longestResponse = seconds(20)}};
  core::SteadyTime now_{seconds(1000)};
};

TEST_F(ScheduleTest, ASmallFileGoesWhole) {
  begun(1, 12 * kMiB);
  EXPECT_EQ(take(), (ByteRange{0, 12 * kMiB}));
  EXPECT_EQ(take(), ByteRange{});
}

TEST_F(ScheduleTest, ALargeFileGoesInRanges) {
  const auto file = begun(1, 30 * kMiB);
  EXPECT_EQ(take(), (ByteRange{0, 8 * kMiB}));
  EXPECT_TRUE(file->recorded);
  EXPECT_EQ(take(), (ByteRange{8 * kMiB, 16 * kMiB}));
  EXPECT_EQ(take(), (ByteRange{16 * kMiB, 24 * kMiB}));
  EXPECT_EQ(take(), (ByteRange{24 * kMiB, 30 * kMiB}));
  EXPECT_EQ(take(), ByteRange{});
}

TEST_F(ScheduleTest, KeepsToTheLimitOfConnectionsOnOneFile) {
  const auto large = begun(1, 100 * kMiB);
  schedule_.limitPerFile(2);
  const auto first = schedule_.takeAny(now_, kConnections);
  EXPECT_NE(schedule_.takeAny(now_, kConnections), nullptr);
  EXPECT_FALSE(schedule_.hasGap(now_));
  EXPECT_EQ(take(), ByteRange{});
  EXPECT_EQ(schedule_.splitTail(now_ + seconds(60)), nullptr);
  // Another file has its own two.
  begun(2, 50 * kMiB);
  EXPECT_EQ(take(), (ByteRange{0, 8 * kMiB}));
  schedule_.ended(first, 0);
  EXPECT_EQ(take(), (ByteRange{16 * kMiB, 24 * kMiB}));
  schedule_.limitPerFile(kConnections);
  EXPECT_EQ(take(), (ByteRange{24 * kMiB, 32 * kMiB}));
}

TEST_F(ScheduleTest, AWorkerGoesOnWithItsFile) {
  const auto small = begun(1, 20 * kMiB);
  begun(2, 100 * kMiB);
  EXPECT_EQ(schedule_.continueFile(small, now_, kConnections)->asked(), (ByteRange{0, 8 * kMiB}));
  EXPECT_EQ(schedule_.continueFile(small, now_, kConnections)->asked(), (ByteRange{8 * kMiB, 20 * kMiB}));
  EXPECT_EQ(schedule_.continueFile(small, now_, kConnections), nullptr);
}

TEST_F(ScheduleTest, ARangeThatWaitsDoesNotHoldUpOthers) {
  const auto file = begun(1, 30 * kMiB);
  const auto first = schedule_.takeAny(now_, kConnections);
  schedule_.ended(first, first->rest().sizeBytes());
  schedule_.giveBack(*file, {first->rest(), 1, now_ + seconds(1)});
  EXPECT_EQ(take(), (ByteRange{8 * kMiB, 16 * kMiB}));
  EXPECT_EQ(take(), (ByteRange{16 * kMiB, 24 * kMiB}));
  EXPECT_EQ(take(), (ByteRange{24 * kMiB, 30 * kMiB}));
  EXPECT_EQ(take(), ByteRange{});
  EXPECT_EQ(schedule_.earliestRetry(now_), now_ + seconds(1));
  now_ += seconds(1);
  const auto again = schedule_.takeAny(now_, kConnections);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->asked(), (ByteRange{0, 8 * kMiB}));
  EXPECT_EQ(again->failedTries(), 1);
}

TEST_F(ScheduleTest, RangesFollowTheMeasuredRate) {
  // 100 kB/s: a range must not take longer than half of the longest response.
  schedule_.measured(2'000'000, milliseconds(50), seconds(20));
  EXPECT_EQ(schedule_.rangeBytes(), kMiB);

  Schedule fast{{.rangeBytes = 8 * kMiB, .longestResponse = seconds(20)}};
  fast.measured(20'000'000, milliseconds(50), seconds(1));
  EXPECT_EQ(fast.rangeBytes(), 20'000'000U);

  Schedule near{{.rangeBytes = 8 * kMiB, .longestResponse = seconds(20)}};
  near.measured(200'000'000, milliseconds(1), seconds(1));
  EXPECT_EQ(near.rangeBytes(), 8 * kMiB);

  Schedule wide{{.rangeBytes = 8 * kMiB, .longestResponse = seconds(20)}};
  wide.measured(4'000'000'000, milliseconds(500), seconds(1));
  EXPECT_EQ(wide.rangeBytes(), 256 * kMiB);
}

TEST_F(ScheduleTest, RangesFinishInHalfTheLongestResponseAtAnyRate) {
  for (const double rate : {3e5, 1e6, 1e7, 1e8}) {
    Schedule schedule{{.rangeBytes = 8 * kMiB, .longestResponse = seconds(20)}};
    schedule.measured(static_cast<std::uint64_t>(rate * 2), milliseconds(100), seconds(2));
    EXPECT_LE(static_cast<double>(schedule.rangeBytes()) / rate, 10.0) << rate;
  }
}

TEST_F(ScheduleTest, SmallQuickAnswersSayNothingAboutTheRate) {
  schedule_.measured(1000, milliseconds(50), milliseconds(1));
  EXPECT_EQ(schedule_.rangeBytes(), 8 * kMiB);
  // But a slow one does.
  schedule_.measured(200'000, milliseconds(50), seconds(2));
  EXPECT_EQ(schedule_.rangeBytes(), kMiB);
}

TEST_F(ScheduleTest, RangesGetSmallerNearTheEnd) {
  begun(1, 64 * kMiB);
  schedule_.setExhausted();
  std::uint64_t last = 64 * kMiB;
  std::uint64_t covered = 0;
  while (true) {
    const ByteRange range = take();
    if (range.sizeBytes() == 0) break;
    EXPECT_EQ(range.first, covered);
    EXPECT_LE(range.sizeBytes(), std::max(last, 3 * kMiB));
    last = range.sizeBytes();
    covered = range.end;
  }
  EXPECT_EQ(covered, 64 * kMiB);
  EXPECT_LE(last, 3 * kMiB);
}

TEST_F(ScheduleTest, ASingleConnectionKeepsItsRangesToTheEnd) {
  begun(1, 64 * kMiB);
  schedule_.setExhausted();
  for (std::uint64_t first = 0; first < 56 * kMiB; first += 8 * kMiB) {
    EXPECT_EQ(take(1), (ByteRange{first, first + 8 * kMiB}));
  }
  EXPECT_EQ(take(1), (ByteRange{56 * kMiB, 64 * kMiB}));
}

TEST_F(ScheduleTest, SplitsTheTailOfASlowRange) {
  const auto file = begun(1, 12 * kMiB);
  const auto piece = schedule_.takeAny(now_, kConnections);
  EXPECT_FALSE(schedule_.canSplit(now_));
  piece->claim(2 * kMiB);
  now_ += seconds(2);
  // 10 MiB are left, at 1 MiB/s.
  ASSERT_TRUE(schedule_.canSplit(now_));
  const auto tail = schedule_.splitTail(now_);
  ASSERT_TRUE(tail);
  EXPECT_EQ(tail->asked(), (ByteRange{7 * kMiB, 12 * kMiB}));
  EXPECT_EQ(piece->rest(), (ByteRange{2 * kMiB, 7 * kMiB}));
  EXPECT_EQ(file->active.size(), 2U);
  EXPECT_TRUE(file->recorded);
}

TEST_F(ScheduleTest, DoesNotSplitWhatWillBeHereSoonOrIsSmall) {
  begun(1, 12 * kMiB);
  const auto piece = schedule_.takeAny(now_, kConnections);
  piece->claim(6 * kMiB);
  now_ += milliseconds(100);
  EXPECT_EQ(schedule_.splitTail(now_), nullptr);
  piece->claim(5 * kMiB);
  now_ += seconds(100);
  EXPECT_EQ(schedule_.splitTail(now_), nullptr);
}

TEST_F(ScheduleTest, ASourceThatIgnoresRangesGetsOneConnectionAFile) {
  const auto file = begun(1, 30 * kMiB);
  file->ignoresRanges = true;
  const auto piece = schedule_.takeAny(now_, kConnections);
  EXPECT_EQ(piece->asked(), (ByteRange{0, 30 * kMiB}));
  schedule_.giveBack(*file, {.range = {0, 1}});
  EXPECT_EQ(take(), ByteRange{});
  now_ += seconds(100);
  EXPECT_EQ(schedule_.splitTail(now_), nullptr);
}

TEST_F(ScheduleTest, AnAbandonedFileGivesNothingOut) {
  const auto file = begun(1, 30 * kMiB);
  const auto piece = schedule_.takeAny(now_, kConnections);
  schedule_.abandon(*file);
  EXPECT_EQ(piece->claim(100).sizeBytes(), 0U);
  EXPECT_EQ(take(), ByteRange{});
}

TEST_F(ScheduleTest, CountsWhatACrashWouldLose) {
  const auto file = begun(1, 30 * kMiB);
  const auto first = schedule_.takeAny(now_, kConnections);
  EXPECT_EQ(schedule_.unrecordedBytes(), 8 * kMiB);
  first->claim(2 * kMiB);
  schedule_.ended(first, first->rest().sizeBytes());
  schedule_.giveBack(*file, {.range = first->rest()});
  EXPECT_EQ(schedule_.unrecordedBytes(), 2 * kMiB);
  const auto second = schedule_.takeAny(now_, kConnections);
  second->claim(kMiB);
  now_ += seconds(3);
  const auto tail = schedule_.splitTail(now_);
  ASSERT_TRUE(tail);
  EXPECT_EQ(schedule_.unrecordedBytes(), 2 * kMiB + second->asked().sizeBytes());
  schedule_.recorded(2 * kMiB);
  schedule_.abandon(*file);
  EXPECT_EQ(schedule_.unrecordedBytes(), kMiB);
}

TEST_F(ScheduleTest, CountsTheBytesOfBegunFiles) {
  const auto file = begun(1, 30 * kMiB);
  begun(2, kMiB);
  EXPECT_EQ(schedule_.begunBytes(), 31 * kMiB);
  schedule_.retire(file);
  EXPECT_EQ(schedule_.begunBytes(), kMiB);
}

}  // namespace
}  // namespace caiexport::transfer
