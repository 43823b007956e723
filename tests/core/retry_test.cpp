#include "caiexport/core/clock.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/fixed_random.h"

namespace caiexport::core {
namespace {

using namespace std::chrono_literals;
using support::FixedRandom;

constexpr RetryPolicy kPolicy{.furtherTries = 5, .firstWait = 1s, .longestRetryAfter = 5min};

std::optional<Duration> waitFor(int triesMade, double chance, std::optional<Duration> retryAfter = {}) {
  FixedRandom random(chance);
  return waitBeforeNextTry(kPolicy, triesMade, retryAfter, random);
}

TEST(Retry, UpperEndDoublesWithEachTry) {
  const double almostOne = 0.999'999;
  EXPECT_EQ(waitFor(1, almostOne), 999ms);
  EXPECT_EQ(waitFor(2, almostOne), 1'999ms);
  EXPECT_EQ(waitFor(3, almostOne), 3'999ms);
  EXPECT_EQ(waitFor(4, almostOne), 7'999ms);
  EXPECT_EQ(waitFor(5, almostOne), 15'999ms);
}

TEST(Retry, JitterIsFull) {
  EXPECT_EQ(waitFor(3, 0.0), 0ms);
  EXPECT_EQ(waitFor(3, 0.25), 1s);
  EXPECT_EQ(waitFor(3, 0.5), 2s);
}

TEST(Retry, EndsWhenTheTriesAreUsedUp) {
  EXPECT_TRUE(waitFor(5, 0.5));
  EXPECT_FALSE(waitFor(6, 0.5));
  EXPECT_FALSE(waitFor(6, 0.5, 1s)) << "whatever the server asks for";
  FixedRandom random;
  EXPECT_FALSE(waitBeforeNextTry({.furtherTries = 0}, 1, std::nullopt, random));
}

TEST(Retry, TheServersWishWinsWithoutJitter) {
  FixedRandom random;
  EXPECT_EQ(waitBeforeNextTry(kPolicy, 1, 42s, random), 42s);
  EXPECT_EQ(random.used(), 0U);
}

TEST(Retry, TheServersWishIsCutAtBothEnds) {
  EXPECT_EQ(waitFor(1, 0.5, 24h), 5min);
  EXPECT_EQ(waitFor(1, 0.5, Duration::max()), 5min);
  EXPECT_EQ(waitFor(1, 0.5, 0ms), 500ms) << "asked for no wait, it is waited all the same";
  EXPECT_EQ(waitFor(2, 0.5, 700ms), 1s);
  EXPECT_EQ(waitFor(1, 0.5, 700ms), 700ms);
  EXPECT_EQ(waitFor(1, 0.5, -10s), 500ms) << "a date in the past";
}

TEST(Retry, ManyTriesDoNotOverflow) {
  FixedRandom random(0.999'999);
  const RetryPolicy patient{.furtherTries = std::numeric_limits<int>::max(), .firstWait = 1s};
  const auto wait = waitBeforeNextTry(patient, std::numeric_limits<int>::max(), std::nullopt, random);
  ASSERT_TRUE(wait);
  EXPECT_GT(*wait, 18h);
  EXPECT_LE(*wait, 65'536s);
}

}  // namespace
}  // namespace caiexport::core
