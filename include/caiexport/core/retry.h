#pragma once
/// How long to wait before a request is repeated. Whether it may be repeated at all is the caller's decision.

#include <optional>

#include "caiexport/core/clock.h"

namespace caiexport::core {

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
