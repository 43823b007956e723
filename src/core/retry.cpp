#include "caiexport/core/retry.h"

#include <algorithm>

namespace caiexport::core {

std::optional<Duration> waitBeforeNextTry(const RetryPolicy& policy, int triesMade, std::optional<Duration> retryAfter,
                                          Random& random) {
  if (triesMade > policy.furtherTries) return std::nullopt;
  if (retryAfter) return std::clamp(*retryAfter, Duration::zero(), policy.longestRetryAfter);
  // 2^16 first waits is longer than any run; the bound keeps the shift defined for large --retries.
  const int doublings = std::clamp(triesMade - 1, 0, 16);
  const double longest = static_cast<double>(policy.firstWait.count()) * static_cast<double>(1U << doublings);
  return Duration(static_cast<Duration::rep>(longest * random.uniform()));
}

}  // namespace caiexport::core
