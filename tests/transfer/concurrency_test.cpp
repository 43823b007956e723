#include "transfer/concurrency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// A link in numbers: what it gives with so many connections.
struct Link {
  std::function<double(unsigned)> bytesPerSecond;
  double responsesPerConnectionAndSecond = 2;
  milliseconds firstByteWait{1};
  milliseconds handshake{3};
  double processorsBusy = 0.1;
};

class Simulation {
 public:
  Simulation(ConcurrencyController::Limits limits, Link link) : controller_(limits), link_(std::move(link)) {
    limits_.push_back(controller_.limit());
  }

  void runFor(milliseconds duration, bool starved = false) {
    constexpr milliseconds kStep{10};
    for (milliseconds passed{0}; passed < duration; passed += kStep) {
      now_ += kStep;
      const unsigned connections = std::min(controller_.limit(), 1000U);
      const double part = std::chrono::duration<double>(kStep).count();
      bytes_ += link_.bytesPerSecond(connections) * part;
      const double responses = link_.responsesPerConnectionAndSecond * connections * part;
      responses_ += responses;
      sample_.waited += nanoseconds(
          static_cast<nanoseconds::rep>(responses * static_cast<double>(nanoseconds(link_.firstByteWait).count())));
      sample_.worked += nanoseconds(
          static_cast<nanoseconds::rep>(link_.processorsBusy * static_cast<double>(nanoseconds(kStep).count())));
      sample_.at = now_;
      sample_.bytes = static_cast<std::uint64_t>(bytes_);
      sample_.responses = static_cast<std::uint64_t>(responses_);
      sample_.delivering = now_ - changedAt_ >= link_.handshake ? connections : 0;
      sample_.starved = starved;
      note(controller_.observe(sample_));
    }
  }

  /// A request is refused while so many others are under way.
  void throttle(unsigned others) { note(controller_.throttled(now_, others)); }

  unsigned limit() const { return controller_.limit(); }
  unsigned limitPerFile() const { return controller_.limitPerFile(); }
  const std::vector<unsigned>& limits() const { return limits_; }
  milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(now_ - core::SteadyTime(seconds(1000)));
  }
  void setLink(Link link) { link_ = std::move(link); }

 private:
  void note(bool changed) {
    EXPECT_EQ(changed, controller_.limit() != limits_.back());
    if (!changed) return;
    changedAt_ = now_;
    limits_.push_back(controller_.limit());
  }

  ConcurrencyController controller_;
  Link link_;
  core::SteadyTime now_{seconds(1000)};
  core::SteadyTime changedAt_{seconds(1000)};
  ThroughputSample sample_;
  double bytes_ = 0;
  double responses_ = 0;
  std::vector<unsigned> limits_;
};

/// Every connection adds 20 MB/s, up to a line of so many.
Link perConnection(double mostBytesPerSecond) {
  return {.bytesPerSecond = [=](unsigned n) { return std::min(20e6 * n, mostBytesPerSecond); }};
}

/// 64 KiB files over 50 ms: each connection gives 19 files a second, whatever their number.
Link allLatency(milliseconds handshake) {
  return {.bytesPerSecond = [](unsigned n) { return 19.0 * 65536 * n; },
          .responsesPerConnectionAndSecond = 19,
          .firstByteWait = milliseconds(50),
          .handshake = handshake};
}

using Limits = std::vector<unsigned>;

TEST(Concurrency, DoublesUpToTheMostWhileItPays) {
  Simulation run({.start = 8, .most = 64}, perConnection(1e12));
  run.runFor(seconds(2));
  EXPECT_EQ(run.limits(), (Limits{8, 16, 32, 64}));
}

TEST(Concurrency, TakesBackTheStepThatDidNotPay) {
  Simulation run({.start = 8, .most = 64}, perConnection(320e6));
  run.runFor(seconds(5));
  EXPECT_EQ(run.limits(), (Limits{8, 16, 32, 16}));
}

TEST(Concurrency, SettlesWithinASecondWhereGrowingDoesNotPay) {
  Simulation run({.start = 8, .most = 64}, perConnection(100e6));
  run.runFor(seconds(1));
  EXPECT_EQ(run.limits(), (Limits{8, 16, 8}));
}

TEST(Concurrency, GrowsFasterWhereConnectionsOnlyWait) {
  Simulation run({.start = 8, .most = 64}, allLatency(milliseconds(150)));
  run.runFor(milliseconds(700));
  EXPECT_EQ(run.limits(), (Limits{8, 32, 64}));
}

TEST(Concurrency, GrowsAsSoonAsEachConnectionHasShownThatItOnlyWaits) {
  Simulation run({.start = 8, .most = 64}, allLatency(milliseconds(50)));
  run.runFor(milliseconds(120));
  EXPECT_EQ(run.limits(), (Limits{8, 32}));
  run.runFor(milliseconds(120));
  EXPECT_EQ(run.limits(), (Limits{8, 32, 64}));
}

TEST(Concurrency, DoesNotTryMoreWhereTheProcessorsAreTheLimit) {
  Link link = perConnection(1e12);
  link.processorsBusy = 1.2;
  Simulation run({.start = 8, .most = 64, .processors = 2}, link);
  run.runFor(seconds(5));
  EXPECT_EQ(run.limits(), (Limits{8}));
  // The same work is little on a larger machine.
  Simulation larger({.start = 8, .most = 64, .processors = 16}, link);
  larger.runFor(seconds(5));
  EXPECT_EQ(larger.limit(), 64U);
}

TEST(Concurrency, AllowsAFileAsManyConnectionsAsProcessorsWhereTheseAreTheLimit) {
  Link link = perConnection(1e12);
  link.processorsBusy = 1.2;
  Simulation run({.start = 8, .most = 64, .processors = 2}, link);
  EXPECT_EQ(run.limitPerFile(), 8U);
  run.runFor(milliseconds(200));
  EXPECT_EQ(run.limitPerFile(), 2U);
  link.processorsBusy = 0.5;
  run.setLink(link);
  run.runFor(milliseconds(200));
  EXPECT_EQ(run.limitPerFile(), 8U);
  // A number that the user chose is his.
  link.processorsBusy = 2;
  Simulation fixed({.start = 8, .most = 8, .adapts = false, .processors = 2}, link);
  fixed.runFor(milliseconds(500));
  EXPECT_EQ(fixed.limitPerFile(), 8U);
}

TEST(Concurrency, BeginsWithMoreWhereAnswersTakeLong) {
  ConcurrencyController far({.start = 8, .most = 64});
  far.expectLatency(milliseconds(50));
  far.expectLatency(milliseconds(50));  // Said twice, it is no farther.
  EXPECT_EQ(far.limit(), 64U);
  ConcurrencyController bounded({.start = 8, .most = 12});
  bounded.expectLatency(milliseconds(50));
  EXPECT_EQ(bounded.limit(), 12U);
  ConcurrencyController near({.start = 8, .most = 64});
  near.expectLatency(milliseconds(1));
  EXPECT_EQ(near.limit(), 8U);
  ConcurrencyController fixed({.start = 8, .most = 8, .adapts = false});
  fixed.expectLatency(milliseconds(50));
  EXPECT_EQ(fixed.limit(), 8U);
}

TEST(Concurrency, CountsSmallAnswersToo) {
  // Nearly no bytes: only the number of answers grows.
  const Link link{.bytesPerSecond = [](unsigned) { return 1000.0; }, .responsesPerConnectionAndSecond = 100};
  Simulation run({.start = 4, .most = 16}, link);
  run.runFor(seconds(2));
  EXPECT_EQ(run.limit(), 16U);
}

TEST(Concurrency, WaitsForNewConnectionsToDeliverBeforeItJudges) {
  Link link = perConnection(1e12);
  link.handshake = milliseconds(1500);
  Simulation run({.start = 8, .most = 16}, link);
  run.runFor(milliseconds(1500));
  EXPECT_EQ(run.limit(), 8U);
  run.runFor(milliseconds(2500));
  EXPECT_EQ(run.limit(), 16U);
}

TEST(Concurrency, DoesNotJudgeWithoutEnoughToFetch) {
  Simulation run({.start = 8, .most = 64}, perConnection(1e12));
  run.runFor(seconds(10), true);
  EXPECT_EQ(run.limits(), (Limits{8}));
}

TEST(Concurrency, TriesAgainAfterAWhile) {
  Simulation run({.start = 8, .most = 64}, perConnection(100e6));
  run.runFor(seconds(5));
  EXPECT_EQ(run.limit(), 8U);
  run.setLink(perConnection(1e12));
  run.runFor(seconds(20));
  EXPECT_EQ(run.limit(), 64U);
}

TEST(Concurrency, KeepsAsManyAsWereLetThroughAndTriesMoreLater) {
  Simulation run({.start = 32, .most = 32}, perConnection(1e12));
  run.runFor(seconds(2));
  // A server that answers 12 requests at a time.
  for (unsigned others = 31; others >= 12; --others) run.throttle(others);
  EXPECT_EQ(run.limit(), 12U);
  run.runFor(seconds(6));
  EXPECT_EQ(run.limit(), 15U);
  for (unsigned others = 14; others >= 12; --others) run.throttle(others);
  EXPECT_EQ(run.limit(), 12U);
}

TEST(Concurrency, ARefusalWhileThoseLetThroughTakeUpTheLimitSaysNothing) {
  Simulation run({.start = 32, .most = 32}, perConnection(1e12));
  run.runFor(seconds(2));
  for (unsigned others = 31; others >= 12; --others) run.throttle(others);
  // Tried again at once, and more than a burst later.
  for (int again = 0; again < 40; ++again) run.throttle(12 + again % 3);
  EXPECT_EQ(run.limit(), 12U);
  run.runFor(seconds(2));
  for (int again = 0; again < 40; ++again) run.throttle(12);
  EXPECT_EQ(run.limit(), 12U);
}

TEST(Concurrency, FindsInTwoBurstsWhatIsLessThanAFourth) {
  Simulation run({.start = 64, .most = 64}, perConnection(1e12));
  run.runFor(seconds(2));
  for (unsigned others = 63; others >= 12; --others) run.throttle(others);
  EXPECT_EQ(run.limit(), 16U);
  run.runFor(milliseconds(1100));
  for (unsigned others = 15; others >= 12; --others) run.throttle(others);
  EXPECT_EQ(run.limit(), 12U);
}

TEST(Concurrency, HalvesWhereTheServerGoesOnRefusingAndRecoversLater) {
  Simulation run({.start = 8, .most = 32}, perConnection(1e12));
  run.runFor(seconds(2));
  ASSERT_EQ(run.limit(), 32U);
  // All of a burst, and never less than a fourth.
  for (unsigned others = 32; others-- > 0;) run.throttle(others);
  EXPECT_EQ(run.limit(), 8U);
  run.runFor(seconds(2));
  for (unsigned others = 8; others-- > 0;) run.throttle(others);
  EXPECT_EQ(run.limit(), 4U);
  // Answers to requests that were already under way.
  run.throttle(3);
  run.throttle(2);
  EXPECT_EQ(run.limit(), 4U);
  run.runFor(seconds(4));
  EXPECT_EQ(run.limit(), 4U);
  run.runFor(seconds(2));
  EXPECT_EQ(run.limit(), 5U);
  run.runFor(seconds(60));
  EXPECT_EQ(run.limit(), 32U);
}

TEST(Concurrency, NeverGoesBelowOne) {
  Simulation run({.start = 4, .most = 4}, perConnection(1e12));
  for (int i = 0; i < 10; ++i) {
    run.throttle(0);
    run.runFor(milliseconds(1100));
  }
  EXPECT_EQ(run.limit(), 1U);
}

TEST(Concurrency, AFixedNumberOnlyGivesWayToThrottling) {
  Simulation run({.start = 12, .most = 12, .adapts = false}, perConnection(1e12));
  run.runFor(seconds(60));
  EXPECT_EQ(run.limits(), (Limits{12}));
  run.throttle(11);
  run.throttle(10);
  EXPECT_EQ(run.limit(), 10U);
  run.runFor(seconds(60));
  EXPECT_EQ(run.limit(), 12U);
}

TEST(Concurrency, StartsWithinTheLimits) {
  EXPECT_EQ(ConcurrencyController({.start = 8, .most = 4}).limit(), 4U);
  EXPECT_EQ(ConcurrencyController({.start = 0, .most = 0}).limit(), 1U);
}

}  // namespace
}  // namespace caiexport::transfer
