#pragma once
/// A limit on the bytes per second of all connections together.

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <utility>

#include "caiexport/core/clock.h"

namespace caiexport::transfer {

/// A token bucket that may go into debt: bytes that are already here are paid for by waiting afterwards (see Allowance
/// for paying before). Thread safe.
class RateLimit {
 public:
  /// 0: no limit.
  RateLimit(core::Clock& clock, std::uint64_t bytesPerSecond);

  /// Waits until `bytes` more fit the limit. False when a stop ended the wait.
  bool pay(std::uint64_t bytes, std::stop_token stop);
  /// They were paid for, but did not come.
  void refund(std::uint64_t bytes);
  /// How much should be read at once: little enough for many connections to take turns within a second.
  std::uint64_t portionBytes() const;

 private:
  core::SteadyTime::duration costOf(std::uint64_t bytes) const;
  core::SteadyTime reserve(std::uint64_t bytes);

  core::Clock& clock_;
  const std::uint64_t bytesPerSecond_;
  std::mutex mutex_;
  core::SteadyTime paidUntil_;
};

/// What one reader has paid for before reading it: paying afterwards would let each connection run ahead of the limit
/// by a buffer. For one thread. A stop throws core::Interrupted.
class Allowance {
 public:
  Allowance(RateLimit& limit, std::stop_token stop) : limit_(limit), stop_(std::move(stop)) {}
  ~Allowance() { limit_.refund(paidBytes_); }
  Allowance(const Allowance&) = delete;
  Allowance& operator=(const Allowance&) = delete;

  /// How many of `bytes` bytes are paid for, at least one. Waits.
  std::size_t room(std::size_t bytes);
  /// These came; pays for what was not paid for.
  void came(std::uint64_t bytes);

 private:
  void pay(std::uint64_t bytes);

  RateLimit& limit_;
  std::stop_token stop_;
  std::uint64_t paidBytes_ = 0;
};

}  // namespace caiexport::transfer
