#include "caiexport/store/waiting.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "patience.h"

namespace caiexport::store {
namespace {

using std::chrono::milliseconds;

/// A hundred processes that begin together, each with commits that wait for the disk, take their turns well within it.
constexpr milliseconds kBusyTimeout{60000};
/// Once the process is to stop: some commits of others.
constexpr milliseconds kOnceStopped{500};

std::stop_token& stopOfTheProcess() {
  static std::stop_token stop;
  return stop;
}

/// Who stops does not wait for each of its last words.
std::atomic<bool> waitedInVain = false;

}  // namespace

void waitForLocksUntil(std::stop_token stop) {
  stopOfTheProcess() = std::move(stop);
  waitedInVain = false;
}

bool isToStop() noexcept {
  return stopOfTheProcess().stop_requested();
}

Patience::Patience() : since_(core::systemClock().steadyNow()) {}

bool Patience::lasts() noexcept {
  const core::SteadyTime now = core::systemClock().steadyNow();
  if (!isToStop()) return now - since_ < kBusyTimeout;
  if (waitedInVain) return false;
  if (!stoppedAt_) stoppedAt_ = now;
  if (now - *stoppedAt_ < kOnceStopped) return true;
  waitedInVain = true;
  return false;
}

}  // namespace caiexport::store
