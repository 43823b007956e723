#pragma once
/// How many connections pay. Pure: fed with what was measured, knows no thread and no clock.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

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

/// Raises the number while throughput grows with it by more than a tenth, takes the last step back when it does not,
/// halves it when the server says "too many requests". Where the processors are the limit it does not even try; where
/// the latency is, it begins with more. For one thread.
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
  /// Before the first sample: how long the server takes to answer small requests.
  void expectLatency(std::chrono::nanoseconds latency);
  /// Both return whether the limit changed.
  bool observe(const ThroughputSample& sample);
  bool throttled(core::SteadyTime at);
  /// From now on; returns whether the limit changed.
  bool neverMoreThan(unsigned most);

 private:
  enum class Phase { settling, measuring, holding, recovering };

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
  unsigned limit_;
  Phase phase_;
  unsigned before_;                  ///< The limit that `base_` was measured at.
  std::optional<double> base_ = {};  ///< Throughput before the last raise.
  unsigned recoverTo_;
  std::optional<core::SteadyTime> phaseSince_ = {};
  std::optional<core::SteadyTime> throttledAt_ = {};
  core::Duration holdFor_;
  ThroughputSample window_ = {};
  std::optional<ThroughputSample> watchedFrom_ = {};
  bool processorBound_ = false;
};

}  // namespace caiexport::transfer
