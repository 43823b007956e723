#include "concurrency.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "caiexport/core/error.h"

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;

constexpr double kWorthwhileGrowth = 1.1;
constexpr unsigned kGrowthWhereAllWait = 4;
// Of the usual start.
constexpr unsigned kStartFromFarAway = 8;
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
// Refusals within this time are of requests that were under way together.
constexpr milliseconds kOneBurst{1'000};
constexpr unsigned kLeastOfABurst = 4;  // A fourth part.
// A server busy on the same machine makes requests wait too, but not as long as a network does.
constexpr milliseconds kNetworkLatency{10};

// Time that went by unused may be made up for, but only this much: it covers sleeps that last too long, and stays far
// below the 5 % that the limit may be missed by within ten seconds.
constexpr std::chrono::milliseconds kMostCatchingUp{200};
constexpr std::uint64_t kPortionsPerSecond = 64;

}  // namespace

ConcurrencyController::ConcurrencyController(Limits limits)
    : limits_(limits),
      ceiling_(limits.adapts ? std::max(limits.most, 1U) : std::max(1U, std::min(limits.start, limits.most))),
      limit_(std::max(1U, std::min(limits.start, limits.most))),
      phase_(limits.adapts ? Phase::settling : Phase::holding),
      before_(limit_),
      recoverTo_(limit_),
      holdFor_(kFirstHold) {
  limits_.most = ceiling_;
}

bool ConcurrencyController::isFar(std::chrono::nanoseconds latency) {
  return latency >= kNetworkLatency;
}

void ConcurrencyController::expectLatency(std::chrono::nanoseconds latency) {
  if (!limits_.adapts || phaseSince_ || beginsFar_ || !isFar(latency)) return;
  beginsFar_ = true;
  limit_ = std::min(limits_.most, limit_ * kStartFromFarAway);
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

bool ConcurrencyController::throttled(core::SteadyTime at, unsigned othersUnderWay) {
  // Those that the server let through before the limit was lowered take up all of it: this one came too early.
  if (othersUnderWay >= limit_) return false;
  if (!throttledAt_ || at - *throttledAt_ >= kOneBurst) {
    wentOnRefusing_ = throttledAt_ && at - *throttledAt_ < kRecoveryStep;
    throttledAt_ = at;
    throttledFrom_ = limit_;
    if (phase_ != Phase::recovering) recoverTo_ = limit_;
    base_.reset();
  }
  // As many as were let through, where the server counts those that are under way. Where it counts those of a minute,
  // it refuses the others too, and goes on refusing.
  const unsigned least = throttledFrom_ / (wentOnRefusing_ ? 2 : kLeastOfABurst);
  return change(std::max({1U, least, othersUnderWay}), Phase::recovering, at);
}

bool ConcurrencyController::neverMoreThan(unsigned most) {
  ceiling_ = std::min(ceiling_, most);
  return lower(most);
}

bool ConcurrencyController::atMost(unsigned most) {
  const unsigned wanted = std::clamp(most, 1U, ceiling_);
  if (wanted <= limits_.most) return lower(wanted);
  limits_.most = wanted;
  // Whether more of them pay is found out at once, not when the last finding has grown old.
  holdFor_ = core::Duration::zero();
  if (limits_.adapts || phase_ == Phase::recovering) return false;
  return std::exchange(limit_, wanted) != wanted;
}

bool ConcurrencyController::lower(unsigned most) {
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
  holdFor_ = std::clamp<core::Duration>(holdFor_ * 2, kFirstHold, kLongestHold);
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
