#include "transfer/concurrency.h"

#include <gtest/gtest.h>

#include <stop_token>
#include <thread>
#include <vector>

#include "caiexport/core/error.h"
#include "support/fake_clock.h"

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double secondsBetween(core::SteadyTime first, core::SteadyTime last) {
  return std::chrono::duration<double>(last - first).count();
}

TEST(RateLimit, IsExactToFivePercentOverTenSeconds) {
  for (const std::uint64_t chunkBytes : {1'000U, 16'384U, 262'144U, 1'000'000U}) {
    support::FakeClock clock;
    RateLimit limit(clock, 5'000'000);
    const auto begun = clock.steadyNow();
    std::uint64_t bytes = 0;
    while (clock.steadyNow() - begun < seconds(10)) {
      ASSERT_TRUE(limit.pay(chunkBytes, {}));
      bytes += chunkBytes;
    }
    const double rate = static_cast<double>(bytes) / secondsBetween(begun, clock.steadyNow());
    EXPECT_NEAR(rate, 5e6, 5e6 * 0.05) << "chunks of " << chunkBytes;
  }
}

TEST(RateLimit, HoldsForSeveralThreadsTogether) {
  support::FakeClock clock;
  RateLimit limit(clock, 1'000'000);
  const auto begun = clock.steadyNow();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 250; ++n) limit.pay(10'000, {});
      });
    }
  }
  // Each sleep of the fake clock moves the time for all, so it may be more, but never less.
  EXPECT_GE(secondsBetween(begun, clock.steadyNow()), 10 * 0.95);
}

TEST(RateLimit, MakesUpForShortPausesOnly) {
  support::FakeClock clock;
  RateLimit limit(clock, 1'000'000);
  clock.advance(seconds(60));
  limit.pay(1'000'000, {});
  ASSERT_EQ(clock.sleeps().size(), 1U);
  EXPECT_EQ(clock.sleeps().front(), milliseconds(800));
}

TEST(RateLimit, AReaderPaysBeforeItReads) {
  support::FakeClock clock;
  RateLimit limit(clock, 640'000);
  const auto begun = clock.steadyNow();
  Allowance allowance(limit, {});
  std::uint64_t bytes = 0;
  while (bytes < 6'400'000) {
    const std::size_t room = allowance.room(262'144);
    ASSERT_EQ(room, 10'000U);
    bytes += room;
    // Nothing may have come before its time.
    ASSERT_LE(static_cast<double>(bytes), secondsBetween(begun, clock.steadyNow()) * 640'000 + 1'000);
    allowance.came(room);
  }
  EXPECT_NEAR(secondsBetween(begun, clock.steadyNow()), 10, 0.5);
}

TEST(RateLimit, WhatDidNotComeIsNotPaidFor) {
  support::FakeClock clock;
  RateLimit limit(clock, 64'000);
  const auto begun = clock.steadyNow();
  for (int piece = 0; piece < 100; ++piece) {
    Allowance allowance(limit, {});
    ASSERT_EQ(allowance.room(262'144), 1'000U);
    allowance.came(640);
  }
  EXPECT_NEAR(secondsBetween(begun, clock.steadyNow()), 1, 0.05);
}

TEST(RateLimit, WhatCameUnaskedIsPaidForAfterwards) {
  support::FakeClock clock;
  RateLimit limit(clock, 64'000);
  const auto begun = clock.steadyNow();
  Allowance allowance(limit, {});
  allowance.came(64'000);
  EXPECT_NEAR(secondsBetween(begun, clock.steadyNow()), 1, 0.01);
}

TEST(RateLimit, AStopEndsThePaying) {
  support::FakeClock clock;
  std::stop_source stop;
  stop.request_stop();
  RateLimit limit(clock, 1'000);
  Allowance allowance(limit, stop.get_token());
  EXPECT_THROW(allowance.room(1'000'000), core::Interrupted);
}

TEST(RateLimit, ZeroIsNoLimit) {
  support::FakeClock clock;
  RateLimit limit(clock, 0);
  EXPECT_TRUE(limit.pay(1'000'000'000, {}));
  EXPECT_EQ(Allowance(limit, {}).room(262'144), 262'144U);
  EXPECT_TRUE(clock.sleeps().empty());
}

TEST(RateLimit, EndsOnAStop) {
  support::FakeClock clock;
  std::stop_source stop;
  clock.stopAtSleep(1, stop);
  RateLimit limit(clock, 1'000);
  EXPECT_FALSE(limit.pay(1'000'000, stop.get_token()));
}

}  // namespace
}  // namespace caiexport::transfer
