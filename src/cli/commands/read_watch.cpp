#include "read_watch.h"

#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <utility>

#include "caiexport/core/clock.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

constexpr std::chrono::milliseconds kLookEvery{5};
/// A signal is obeyed within 2 s.
constexpr std::chrono::milliseconds kForAnInterrupt{1500};
constexpr std::chrono::milliseconds kForTheMemory{500};

}  // namespace

std::uint64_t residentBytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  file >> all >> resident;
  return file ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

ReadWatch::ReadWatch(std::uint64_t mostBytes, std::stop_token stop, GiveUp giveUp)
    : mostBytes_(mostBytes),
      stop_(std::move(stop)),
      giveUp_(std::move(giveUp)),
      thread_([this](const std::stop_token& ended) { watch(ended); }) {}

core::Error ReadWatch::memoryError() const {
  return {core::Category::io,
          "it takes more memory than it may use, " + core::formatBytes(mostBytes_),
          {.hint = "allow more with --memory, e.g. --memory 4G, or choose fewer columns or rows"}};
}

void ReadWatch::watch(const std::stop_token& ended) {
  core::Clock& clock = core::systemClock();
  std::optional<core::SteadyTime> stopped;
  // Not past the end of the work: what it waits for then is nothing of DuckDB's.
  while (clock.sleep(kLookEvery, ended)) {
    const std::uint64_t bytes = residentBytes();
    if (!stopped && stop_.stop_requested()) {
      stopped = clock.steadyNow();
      work_.request_stop();
    } else if (!stopped && bytes > mostBytes_) {
      stopped = clock.steadyNow();
      usedUp_ = true;
      work_.request_stop();
    }
    if (!stopped) continue;
    const auto since = clock.steadyNow() - *stopped;
    const bool grows = bytes > mostBytes_ + mostBytes_ / 8;
    if (usedUp_ ? since > kForTheMemory || grows : since > kForAnInterrupt) {
      giveUp_(usedUp_ ? memoryError() : core::Interrupted());
    }
  }
}

}  // namespace caiexport::cli
