#pragma once
/// Threads that watch a run and end it: when `cancel` asks for it, when it does not obey, when memory is used up.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

#include "caiexport/core/error.h"
#include "caiexport/model/ids.h"

namespace caiexport::core {
class Clock;
class Log;
}  // namespace caiexport::core

namespace caiexport::cli {

/// While it lives, a thread with a connection of its own looks once a second and requests a stop on `run`.
class CancelWatch {
 public:
  CancelWatch(std::filesystem::path database, model::JobId job, std::stop_source run, core::Clock& clock,
              core::Log& log);

 private:
  std::jthread thread_;
};

// For commands that change nothing: they end soon after a stop request, even if something hangs.

/// Ends the process with exit code 130 if this still exists a second and a half after a stop was asked for: a function
/// of SQL that runs for minutes never looks at it, and a write to a full pipe waits in the kernel. Only where
/// nothing is lost by it.
class StopLimit {
 public:
  explicit StopLimit(std::stop_token stop);
  ~StopLimit();
  StopLimit(const StopLimit&) = delete;
  StopLimit& operator=(const StopLimit&) = delete;

 private:
  void watch();

  std::stop_token stop_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool ended_ = false;
  std::thread thread_;
};

/// Keeps `read` and `scores` within --memory, and makes them stop. DuckDB limits only the memory that it counts,
/// and some of its functions check neither the memory nor an interrupt until they are done.
class ReadWatch {
 public:
  /// Ends the process; called on a thread of the watch, with the error to print.
  using GiveUp = std::function<void(const core::Error& error)>;

  /// `mostBytes`: of memory, for the whole process. `stop`: what the user asks for.
  ReadWatch(std::uint64_t mostBytes, std::stop_token stop, GiveUp giveUp);
  ~ReadWatch() { thread_.request_stop(); }

  /// For the work: also stops when the memory is used up.
  std::stop_token token() const { return work_.get_token(); }
  bool isMemoryUsedUp() const { return usedUp_; }
  /// Error(io) with the remedy.
  core::Error memoryError() const;

 private:
  void watch(const std::stop_token& ended);

  std::uint64_t mostBytes_;
  std::stop_token stop_;
  GiveUp giveUp_;
  std::stop_source work_;
  std::atomic<bool> usedUp_ = false;
  std::jthread thread_;  ///< Last: it uses the others.
};

/// Bytes of memory that the process has now; 0 where the system does not tell.
std::uint64_t residentBytes();

}  // namespace caiexport::cli
