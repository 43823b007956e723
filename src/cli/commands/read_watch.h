#pragma once
/// Keeps `read` and `scores` inside --memory, and obedient. DuckDB bounds what it counts, which is not all it takes,
/// and some of its functions look up neither at the memory nor at an interrupt until they are done.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <thread>

#include "caiexport/core/error.h"

namespace caiexport::cli {

class ReadWatch {
 public:
  /// Ends the process itself; called on a thread of the watch, with what there is to say.
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
