#include "concurrency.h"

#include <algorithm>

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;

constexpr double kWorthwhileGrowth = 1.1;
constexpr unsigned kGrowthWhereAllWait = 4;
// An answer costs about as much as this many bytes do; so many small files and few large ones share one measure.
constexpr double kBytesWorthOfResponse = 64.0 * 1024;
// New connections need a handshake before they deliver; measuring starts when all do, or after this time.
constexpr milliseconds kLongestSettling{2000};
constexpr milliseconds kShortestWindow{100};
constexpr milliseconds kLongestWindow{250};
// So many bytes of each connection make a rate, even if no range has ended.
constexpr std::uint64_t kSteadyBytes = 1U << 20U;
constexpr milliseconds kFirstHold{15'000};
constexpr milliseconds kLongestHold{240'000};
constexpr milliseconds kRecoveryStep{5'000};
// Answers that were under way when the limit was halved say nothing about the halved one.
constexpr milliseconds kOneThrottle{1'000};
// A server busy on the same machine makes requests wait too, but not as long as a network does.
constexpr milliseconds kNetworkLatency{10};

}  // namespace

ConcurrencyController::ConcurrencyController(Limits limits)
    : limits_(limits),
      limit_(std::max(1U, std::min(limits.start, limits.most))),
      phase_(limits.adapts ? Phase::settling : Phase::holding),
      before_(limit_),
      recoverTo_(limit_),
      holdFor_(kFirstHold) {
  limits_.most = limits.adapts ? std::max(limits.most, 1U) : limit_;
}

void ConcurrencyController::expectLatency(std::chrono::nanoseconds latency) {
  if (!limits_.adapts || phaseSince_ || latency < kNetworkLatency) return;
  limit_ = std::min(limits_.most, limit_ * kGrowthWhereAllWait);
  before_ = limit_;
  recoverTo_ = limit_;
}

bool ConcurrencyController::observe(const ThroughputSample& sample) {
  if (!phaseSince_) phaseSince_ = sample.at;
  watchProcessors(sample);
  switch (phase_) {
    case Phase::settling:
      return settle(sample);
    case Phase::measuring:
      return measure(sample);
    case Phase::holding:
      return hold(sample);
    case Phase::recovering:
      return recover(sample);
  }
  return false;
}

bool ConcurrencyController::throttled(core::SteadyTime at) {
  if (throttledAt_ && at - *throttledAt_ < kOneThrottle) return false;
  throttledAt_ = at;
  if (phase_ != Phase::recovering) recoverTo_ = limit_;
  base_.reset();
  return change(std::max(1U, limit_ / 2), Phase::recovering, at);
}

bool ConcurrencyController::neverMoreThan(unsigned most) {
  limits_.most = std::min(limits_.most, most);
  recoverTo_ = std::min(recoverTo_, most);
  before_ = std::min(before_, most);
  base_.reset();
  const bool lowered = limit_ > most;
  limit_ = std::min(limit_, most);
  return lowered;
}

bool ConcurrencyController::settle(const ThroughputSample& sample) {
  if (sample.delivering < limit_ && sample.at - *phaseSince_ < kLongestSettling) return false;
  phase_ = Phase::measuring;
  beginWindow(sample);
  return false;
}

bool ConcurrencyController::measure(const ThroughputSample& sample) {
  // What was measured without enough to fetch says nothing about the connections.
  if (sample.starved) beginWindow(sample);
  if (!windowIsOver(sample)) return false;
  const double throughput = throughputOf(sample);
  if (base_ && throughput <= *base_ * kWorthwhileGrowth) {
    base_.reset();
    const unsigned back = before_;
    return change(back, Phase::holding, sample.at);
  }
  if (limit_ >= limits_.most || processorBound_) return change(limit_, Phase::holding, sample.at);
  base_ = throughput;
  before_ = limit_;
  const unsigned factor = mostlyWaits(sample) ? kGrowthWhereAllWait : 2;
  return change(std::min(limits_.most, limit_ * factor), Phase::settling, sample.at);
}

bool ConcurrencyController::hold(const ThroughputSample& sample) {
  if (!limits_.adapts || limit_ >= limits_.most || sample.at - *phaseSince_ < holdFor_) return false;
  holdFor_ = std::min<core::Duration>(holdFor_ * 2, kLongestHold);
  phase_ = Phase::measuring;
  beginWindow(sample);
  return false;
}

bool ConcurrencyController::recover(const ThroughputSample& sample) {
  if (sample.at - *phaseSince_ < kRecoveryStep) return false;
  const unsigned raised = std::min(recoverTo_, limit_ + std::max(1U, limit_ / 4));
  return change(raised, raised < recoverTo_ ? Phase::recovering : Phase::holding, sample.at);
}

bool ConcurrencyController::windowIsOver(const ThroughputSample& sample) const {
  const auto elapsed = sample.at - window_.at;
  if (elapsed >= kLongestWindow) return true;
  const bool allAnswered = sample.responses - window_.responses >= limit_;
  // A network's latency is as good a measure of time as any: one answer of each connection shows it.
  if (elapsed < kShortestWindow) return allAnswered && mostlyWaits(sample);
  return allAnswered || sample.bytes - window_.bytes >= limit_ * kSteadyBytes;
}

double ConcurrencyController::throughputOf(const ThroughputSample& sample) const {
  const std::chrono::duration<double> elapsed = sample.at - window_.at;
  const auto bytes = static_cast<double>(sample.bytes - window_.bytes);
  const auto responses = static_cast<double>(sample.responses - window_.responses);
  return (bytes + responses * kBytesWorthOfResponse) / elapsed.count();
}

/// Connections that do nothing but wait for answers cost nothing, so more can be added at once.
bool ConcurrencyController::mostlyWaits(const ThroughputSample& sample) const {
  const auto waited = sample.waited - window_.waited;
  const auto responses = static_cast<std::int64_t>(sample.responses - window_.responses);
  if (responses == 0 || waited < kNetworkLatency * responses) return false;
  return waited * 2 >= (sample.at - window_.at) * limit_;
}

/// More than half of what the processors can do goes into this process: hashing and decrypting (and perhaps a server or
/// a proxy on the same machine) are the limit, and more connections only get into each other's way.
void ConcurrencyController::watchProcessors(const ThroughputSample& sample) {
  if (!limits_.adapts || limits_.processors == 0) return;
  if (!watchedFrom_) watchedFrom_ = sample;
  const auto elapsed = sample.at - watchedFrom_->at;
  if (elapsed < kShortestWindow) return;
  processorBound_ = (sample.worked - watchedFrom_->worked) * 2 >= elapsed * limits_.processors;
  watchedFrom_ = sample;
}

bool ConcurrencyController::change(unsigned limit, Phase phase, core::SteadyTime at) {
  const bool changed = limit != limit_;
  limit_ = limit;
  phase_ = phase;
  phaseSince_ = at;
  return changed;
}

void ConcurrencyController::beginWindow(const ThroughputSample& sample) {
  window_ = sample;
}

}  // namespace caiexport::transfer
