#include "caiexport/core/clock.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/fake_clock.h"

namespace caiexport::core {
namespace {

using namespace std::chrono_literals;
using support::FakeClock;

TEST(SystemClock, SleepsThroughAtLeastTheAskedTime) {
  const SteadyTime before = systemClock().steadyNow();
  EXPECT_TRUE(systemClock().sleep(20ms, {}));
  EXPECT_GE(systemClock().steadyNow() - before, 20ms);
}

TEST(SystemClock, SleepEndsAtOnceWhenAStopCameBefore) {
  std::stop_source source;
  source.request_stop();
  EXPECT_FALSE(systemClock().sleep(24h, source.get_token()));
}

TEST(SystemClock, AStopEndsASleepUnderWay) {
  std::stop_source source;
  std::jthread stopper([source]() mutable { source.request_stop(); });
  EXPECT_FALSE(systemClock().sleep(24h, source.get_token()));
}

TEST(SystemClock, DoesNotWaitForTimesPast) {
  EXPECT_TRUE(systemClock().sleep(0ms, {}));
  EXPECT_TRUE(systemClock().sleep(-5s, {}));
}

TEST(SystemRandom, StaysInRangeAndVaries) {
  double least = 1.0;
  double most = 0.0;
  for (int i = 0; i < 1000; ++i) {
    const double value = systemRandom().uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    least = std::min(least, value);
    most = std::max(most, value);
  }
  EXPECT_LT(least, most);
}

TEST(FakeClock, SleepMovesTimeAndIsRecorded) {
  FakeClock clock;
  const TimePoint start = clock.now();
  const SteadyTime steadyStart = clock.steadyNow();
  EXPECT_TRUE(clock.sleep(10s, {}));
  EXPECT_TRUE(clock.sleep(5min, {}));
  EXPECT_EQ(clock.now() - start, 310s);
  EXPECT_EQ(clock.steadyNow() - steadyStart, 310s);
  EXPECT_EQ(clock.sleeps(), (std::vector<Duration>{10s, 5min}));
}

TEST(FakeClock, StopsAtTheSleepItWasToldTo) {
  FakeClock clock;
  std::stop_source source;
  clock.stopAtSleep(2, source);
  const TimePoint start = clock.now();
  EXPECT_TRUE(clock.sleep(1s, source.get_token()));
  EXPECT_FALSE(clock.sleep(1h, source.get_token()));
  EXPECT_TRUE(source.stop_requested());
  EXPECT_EQ(clock.now() - start, 1s);
}

TEST(FakeClock, AWallClockJumpLeavesTheSteadyClock) {
  FakeClock clock;
  const SteadyTime steady = clock.steadyNow();
  clock.jumpTo(clock.now() - 1h);
  EXPECT_EQ(clock.steadyNow(), steady);
}

}  // namespace
}  // namespace caiexport::core
