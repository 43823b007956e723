#pragma once
/// A limit on the bytes per second of all connections together.

#include <cstdint>
#include <mutex>
#include <stop_token>

#include "caiexport/core/clock.h"

namespace caiexport::transfer {

/// A token bucket that may go into debt: bytes that are already here are paid for by waiting afterwards. Thread safe.
class RateLimit {
 public:
  /// 0: no limit.
  RateLimit(core::Clock& clock, std::uint64_t bytesPerSecond);

  /// Waits until `bytes` more fit the limit. False when a stop ended the wait.
  bool pay(std::uint64_t bytes, std::stop_token stop);

 private:
  core::SteadyTime reserve(std::uint64_t bytes);

  core::Clock& clock_;
  const std::uint64_t bytesPerSecond_;
  std::mutex mutex_;
  core::SteadyTime paidUntil_;
};

}  // namespace caiexport::transfer
