#include "rate_limit.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "caiexport/core/error.h"

namespace caiexport::transfer {
namespace {

// Time that went by unused may be made up for, but only this much: it covers sleeps that last too long, and stays far
// below the 5 % that the limit may be missed by within ten seconds.
constexpr std::chrono::milliseconds kMostCatchingUp{200};
constexpr std::uint64_t kPortionsPerSecond = 64;

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

void RateLimit::refund(std::uint64_t bytes) {
  if (bytesPerSecond_ == 0 || bytes == 0) return;
  const std::lock_guard lock(mutex_);
  paidUntil_ -= costOf(bytes);
}

std::uint64_t RateLimit::portionBytes() const {
  if (bytesPerSecond_ == 0) return std::numeric_limits<std::uint64_t>::max();
  return std::max<std::uint64_t>(1, bytesPerSecond_ / kPortionsPerSecond);
}

core::SteadyTime::duration RateLimit::costOf(std::uint64_t bytes) const {
  const std::chrono::duration<double> cost(static_cast<double>(bytes) / static_cast<double>(bytesPerSecond_));
  return std::chrono::duration_cast<core::SteadyTime::duration>(cost);
}

core::SteadyTime RateLimit::reserve(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  paidUntil_ = std::max<core::SteadyTime>(paidUntil_, clock_.steadyNow() - kMostCatchingUp);
  paidUntil_ += costOf(bytes);
  return paidUntil_;
}

std::size_t Allowance::room(std::size_t bytes) {
  if (paidBytes_ == 0) {
    const std::uint64_t portion = std::min<std::uint64_t>(bytes, limit_.portionBytes());
    pay(portion);
    paidBytes_ = portion;
  }
  return static_cast<std::size_t>(std::min<std::uint64_t>(bytes, paidBytes_));
}

void Allowance::came(std::uint64_t bytes) {
  const std::uint64_t paid = std::min(bytes, paidBytes_);
  paidBytes_ -= paid;
  if (bytes > paid) pay(bytes - paid);
}

void Allowance::pay(std::uint64_t bytes) {
  if (!limit_.pay(bytes, stop_)) throw core::Interrupted();
}

}  // namespace caiexport::transfer
