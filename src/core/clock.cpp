#include "caiexport/core/clock.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>

namespace caiexport::core {
namespace {

constexpr Duration kLeastWish = std::chrono::seconds(1);

class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

  SteadyTime steadyNow() const override { return std::chrono::steady_clock::now(); }

  bool sleep(Duration duration, std::stop_token stop) override {
    std::mutex mutex;
    std::condition_variable_any wake;
    // The wait needs a lock, although nothing is shared.
    // cppcheck-suppress localMutex
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, duration, [] { return false; });
    return !stop.stop_requested();
  }
};

class SystemRandom final : public Random {
 public:
  double uniform() override {
    thread_local std::mt19937_64 generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
  }
};

}  // namespace

Clock& systemClock() {
  static SystemClock clock;
  return clock;
}

Random& systemRandom() {
  static SystemRandom random;
  return random;
}

std::optional<Duration> waitBeforeNextTry(const RetryPolicy& policy, int triesMade, std::optional<Duration> retryAfter,
                                          Random& random) {
  if (triesMade > policy.furtherTries) return std::nullopt;
  const Duration asked = std::clamp(retryAfter.value_or(Duration::zero()), Duration::zero(), policy.longestRetryAfter);
  // A wish for no wait worth the name is none: what just failed would be asked at once, again and again.
  if (asked >= kLeastWish) return asked;
  // 2^16 first waits is longer than any run; the bound keeps the shift defined for large --retries.
  const int doublings = std::clamp(triesMade - 1, 0, 16);
  const double longest = static_cast<double>(policy.firstWait.count()) * static_cast<double>(1U << doublings);
  return std::max(asked, Duration(static_cast<Duration::rep>(longest * random.uniform())));
}

}  // namespace caiexport::core
