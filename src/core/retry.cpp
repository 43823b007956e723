#include "caiexport/core/retry.h"

#include <algorithm>

namespace caiexport::core {

namespace {

constexpr Duration kLeastWish = std::chrono::seconds(1);

}  // namespace

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
