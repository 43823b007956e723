#pragma once
/// How fast a run goes: how many connections pay, and what a limit on the rate lets them read.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "caiexport/core/clock.h"

namespace caiexport::transfer {

/// What was measured so far. Counts only grow.
struct ThroughputSample {
  core::SteadyTime at = {};
  std::uint64_t bytes = 0;
  std::uint64_t responses = 0;
  std::chrono::nanoseconds waited{0};  ///< For first bytes, all connections together.
  std::chrono::nanoseconds worked{0};  ///< Processor time of this process.
  unsigned delivering = 0;             ///< Connections that had a byte since the number last changed.
  bool starved = false;                ///< Since the last sample a connection had nothing to fetch.
};

/// How many connections pay. Pure: fed with what was measured, knows no thread and no clock.
/// Raises the number while throughput grows with it by more than a tenth, takes the last step back when it does not,
/// lowers it to what the server lets through where it refuses requests as too many, and halves it where it goes on
/// refusing. Where the processors are the limit it does not even try; where the latency is, it begins with more. For
/// one thread.
class ConcurrencyController {
 public:
  struct Limits {
    unsigned start = 8;
    unsigned most = 64;
    bool adapts = true;       ///< False: stays at `start`, unless throttled.
    unsigned processors = 0;  ///< That this process may use; 0: not known.
  };

  explicit ConcurrencyController(Limits limits);

  /// Connections that may be busy at once; at least 1.
  unsigned limit() const { return limit_; }
  /// Connections that may be busy with one file: as many as there are processors, where these are the limit. More of
  /// them wait for each other at the file, and what they write has left the cache when it is hashed.
  unsigned limitPerFile() const { return processorBound_ ? std::min(limit_, limits_.processors) : limit_; }
  /// Whether a server that takes so long to answer small requests is far away.
  static bool isFar(std::chrono::nanoseconds latency);
  /// Before the first sample: how long the server takes to answer small requests.
  void expectLatency(std::chrono::nanoseconds latency);
  /// Both return whether the limit changed.
  bool observe(const ThroughputSample& sample);
  /// A request was refused as one too many, while so many others were under way.
  bool throttled(core::SteadyTime at, unsigned othersUnderWay);
  /// From now on; returns whether the limit changed.
  bool neverMoreThan(unsigned most);
  /// Until the next such call, also where the number is fixed; returns whether the limit changed.
  bool atMost(unsigned most);

 private:
  enum class Phase { settling, measuring, holding, recovering };

  bool lower(unsigned most);
  bool settle(const ThroughputSample& sample);
  bool measure(const ThroughputSample& sample);
  bool hold(const ThroughputSample& sample);
  bool recover(const ThroughputSample& sample);
  bool windowIsOver(const ThroughputSample& sample) const;
  double throughputOf(const ThroughputSample& sample) const;
  bool mostlyWaits(const ThroughputSample& sample) const;
  void watchProcessors(const ThroughputSample& sample);
  bool change(unsigned limit, Phase phase, core::SteadyTime at);
  void beginWindow(const ThroughputSample& sample);

  Limits limits_;
  unsigned ceiling_;  ///< What atMost() can't raise it above.
  unsigned limit_;
  Phase phase_;
  unsigned before_;                  ///< The limit that `base_` was measured at.
  std::optional<double> base_ = {};  ///< Throughput before the last raise.
  unsigned recoverTo_;
  std::optional<core::SteadyTime> phaseSince_ = {};
  std::optional<core::SteadyTime> throttledAt_ = {};  ///< The first refusal of the last burst.
  unsigned throttledFrom_ = 0;                        ///< The limit then.
  bool wentOnRefusing_ = false;                       ///< It followed another one closely.
  core::Duration holdFor_;
  ThroughputSample window_ = {};
  std::optional<ThroughputSample> watchedFrom_ = {};
  bool processorBound_ = false;
  bool beginsFar_ = false;
};

/// A limit on the bytes per second of all connections together: a token bucket that may go into debt: bytes that are
/// already here are paid for by waiting afterwards (see Allowance for paying before). Thread safe.
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
