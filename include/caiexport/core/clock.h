#pragma once
/// Time and chance as arguments, so that tests decide both; and how long to wait before a request is repeated.

#include <chrono>
#include <optional>
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

/// Whether a request may be repeated at all is the caller's decision.
struct RetryPolicy {
  int furtherTries = 5;                          ///< Tries after the first; 0 for none.
  Duration firstWait = std::chrono::seconds(1);  ///< Upper end of the first wait; doubles with each further one.
  Duration longestRetryAfter = std::chrono::minutes(5);  ///< A longer wish of the server is cut to this.
};

/// The wait before the next try: what the server asked for (cut to the policy's limit), else, or if it asked for less
/// than a second and that is longer, full jitter, that is, uniform between 0 and firstWait * 2^(triesMade - 1). Nothing
/// when the tries are used up. `triesMade` counts the tries so far and is at least 1.
std::optional<Duration> waitBeforeNextTry(const RetryPolicy& policy, int triesMade, std::optional<Duration> retryAfter,
                                          Random& random);

}  // namespace caiexport::core
