#include "caiexport/core/clock.h"

#include <condition_variable>
#include <mutex>
#include <random>

namespace caiexport::core {
namespace {

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

}  // namespace caiexport::core
