#pragma once
/// A clock that only moves when told to, or by sleeping.

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stop_token>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::support {

/// Sleeping advances the time at once and is recorded. Thread safe.
class FakeClock final : public core::Clock {
 public:
  explicit FakeClock(core::TimePoint start = core::TimePoint(std::chrono::sys_days(std::chrono::year(2026) / 11 / 24)))
      : now_(start) {}

  core::TimePoint now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  core::SteadyTime steadyNow() const override {
    const std::lock_guard lock(mutex_);
    return steady_;
  }

  /// A stop that was requested before, or falls on this sleep, ends it before any time passes.
  bool sleep(core::Duration duration, std::stop_token stop) override {
    std::stop_source toStop(std::nostopstate);
    {
      const std::lock_guard lock(mutex_);
      sleeps_.push_back(duration);
      if (sleeps_.size() == stopAtSleep_) toStop = stopSource_;
    }
    // Outside the lock: stop callbacks run here and may ask this clock.
    toStop.request_stop();
    if (stop.stop_requested()) return false;
    advance(std::max(duration, core::Duration::zero()));
    return true;
  }

  void advance(core::Duration duration) {
    const std::lock_guard lock(mutex_);
    now_ += duration;
    steady_ += duration;
  }

  /// Sets the wall clock alone, as a correction of the system's time does.
  void jumpTo(core::TimePoint time) {
    const std::lock_guard lock(mutex_);
    now_ = time;
  }

  /// Requests a stop on `source` when the n-th sleep (the first is 1) begins.
  void stopAtSleep(std::size_t n, std::stop_source source) {
    const std::lock_guard lock(mutex_);
    stopAtSleep_ = n;
    stopSource_ = std::move(source);
  }

  /// The length of each sleep that was asked for, in order.
  std::vector<core::Duration> sleeps() const {
    const std::lock_guard lock(mutex_);
    return sleeps_;
  }

 private:
  mutable std::mutex mutex_;
  core::TimePoint now_;
  // Away from the epoch, so that subtracting from it stays meaningful.
  core::SteadyTime steady_{std::chrono::hours(24)};
  std::vector<core::Duration> sleeps_;
  std::size_t stopAtSleep_ = 0;
  std::stop_source stopSource_{std::nostopstate};
};

}  // namespace caiexport::support
