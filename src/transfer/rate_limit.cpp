#include "rate_limit.h"

#include <algorithm>
#include <utility>

namespace caiexport::transfer {
namespace {

// Time that went by unused may be made up for, but only this much: it covers sleeps that last too long, and stays far
// below the 5 % that the limit may be missed by within ten seconds.
constexpr std::chrono::milliseconds kMostCatchingUp{200};

}  // namespace

RateLimit::RateLimit(core::Clock& clock, std::uint64_t bytesPerSecond)
    : clock_(clock), bytesPerSecond_(bytesPerSecond), paidUntil_(clock.steadyNow()) {}

bool RateLimit::pay(std::uint64_t bytes, std::stop_token stop) {
  if (bytesPerSecond_ == 0) return true;
  const core::SteadyTime until = reserve(bytes);
  const auto wait = std::chrono::ceil<core::Duration>(until - clock_.steadyNow());
  if (wait <= core::Duration::zero()) return true;
  return clock_.sleep(wait, std::move(stop));
}

core::SteadyTime RateLimit::reserve(std::uint64_t bytes) {
  const std::chrono::duration<double> cost(static_cast<double>(bytes) / static_cast<double>(bytesPerSecond_));
  const std::lock_guard lock(mutex_);
  paidUntil_ = std::max<core::SteadyTime>(paidUntil_, clock_.steadyNow() - kMostCatchingUp);
  paidUntil_ += std::chrono::duration_cast<core::SteadyTime::duration>(cost);
  return paidUntil_;
}

}  // namespace caiexport::transfer
