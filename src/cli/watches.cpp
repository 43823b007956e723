#include "watches.h"

#include <unistd.h>

#include <chrono>
#include <exception>
#include <fstream>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"

namespace caiexport::cli {

namespace {

// Obeyed within two seconds is what `cancel` promises.
constexpr core::Duration kLookEvery = std::chrono::seconds(1);

void watch(const std::filesystem::path& file, model::JobId job, const std::stop_source& run, core::Clock& clock,
           core::Log& log, const std::stop_token& ended) {
  try {
    store::Database database(file, store::Database::Mode::readOnly);
    store::JobStore store(database, clock);
    while (clock.sleep(kLookEvery, ended)) {
      if (!store.isCancelRequested(job)) continue;
      run.request_stop();
      return;
    }
  } catch (const std::exception& error) {
    // The run itself asks between its steps, too; only the promptness is lost.
    log.write(core::LogLevel::warning, "cancel_watch", {{"error", error.what()}});
  }
}

}  // namespace

CancelWatch::CancelWatch(std::filesystem::path database, model::JobId job, std::stop_source run, core::Clock& clock,
                         core::Log& log)
    : thread_([file = std::move(database), job, run = std::move(run), &clock, &log](const std::stop_token& ended) {
        watch(file, job, run, clock, log, ended);
      }) {}

StopLimit::StopLimit(std::stop_token stop) : stop_(std::move(stop)), thread_([this] { watch(); }) {}

StopLimit::~StopLimit() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StopLimit::watch() {
  constexpr std::chrono::milliseconds kGrace{1500};
  std::unique_lock lock(mutex_);
  if (changed_.wait(lock, stop_, [this] { return ended_; })) return;
  if (changed_.wait_for(lock, kGrace, [this] { return ended_; })) return;
  constexpr std::string_view kLast = "caiexport: interrupted\n";
  static_cast<void>(!::write(2, kLast.data(), kLast.size()));
  ::_exit(core::exitCodeOf(core::Category::interrupted));
}

namespace {

// What is written between two looks must still fit, so the work is stopped a little before all is taken.
constexpr std::chrono::milliseconds kMeasureEvery{5};
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
          "it needs more memory than it is allowed to use, " + core::formatBytes(mostBytes_),
          {.hint = "allow more with --memory, e.g. --memory 4G, or choose fewer columns or rows"}};
}

void ReadWatch::watch(const std::stop_token& ended) {
  core::Clock& clock = core::systemClock();
  std::optional<core::SteadyTime> stopped;
  // Not past the end of the work: what it waits for then is nothing of DuckDB's.
  while (clock.sleep(kMeasureEvery, ended)) {
    std::uint64_t bytes = 0;
    try {
      bytes = residentBytes();
    } catch (const std::bad_alloc&) {
      // Not even this much is to be had: what asks for more will hear so itself.
      continue;
    }
    if (!stopped && stop_.stop_requested()) {
      stopped = clock.steadyNow();
      work_.request_stop();
    } else if (!stopped && bytes > mostBytes_ - mostBytes_ / 16) {
      stopped = clock.steadyNow();
      usedUp_ = true;
      work_.request_stop();
    }
    if (!stopped) continue;
    const auto since = clock.steadyNow() - *stopped;
    const bool grows = bytes > mostBytes_ - mostBytes_ / 32;
    if (usedUp_ ? since > kForTheMemory || grows : since > kForAnInterrupt) {
      giveUp_(usedUp_ ? memoryError() : core::Interrupted());
    }
  }
}

}  // namespace caiexport::cli
