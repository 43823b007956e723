#pragma once
/// Time and chance as arguments, so that tests decide both.

#include <chrono>
#include <stop_token>

namespace caiexport::core {

using Duration = std::chrono::milliseconds;
/// Wall-clock time, UTC, to the millisecond: the precision that the platform and the database use.
using TimePoint = std::chrono::sys_time<Duration>;
/// Time that never jumps; for deadlines and rates.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual SteadyTime steadyNow() const = 0;
  /// Sleeps for `duration` or until a stop is requested, whichever is first. True when it slept through.
  virtual bool sleep(Duration duration, std::stop_token stop) = 0;
};

/// The machine's clock.
Clock& systemClock();

/// Thread safe.
class Random {
 public:
  virtual ~Random() = default;
  /// Uniform in [0, 1).
  virtual double uniform() = 0;
};

/// Seeded by the system, one generator a thread.
Random& systemRandom();

}  // namespace caiexport::core
