#pragma once
/// What `read` and `scores` share: the reader over what was named, what it may take, and threads that end what does not
/// obey.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "caiexport/cli/application.h"
#include "caiexport/core/error.h"
#include "caiexport/reader/parquet_reader.h"
#include "cli/config/config.h"
#include "cli/output/output_file.h"
#include "input_files.h"

namespace caiexport::cli {

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

/// The named set, open. For one thread.
class Reading {
 public:
  /// Error(usage) if the output is one of the files that are read.
  Reading(const ParsedOptions& options, Context& context);
  reader::Profiles& profiles() { return *profiles_; }
  /// The same set beside what `what` names; see InputFinder::findAgainst.
  struct Pair {
    InputSet before;
    std::unique_ptr<reader::ScorePair> scores;
  };
  Pair openAgainst(const std::string& what);
  /// The same set's earlier batches, newest first; see InputFinder::findEarlier.
  std::vector<InputSet> earlier(std::size_t most);
  /// Another set, in the reader of this one.
  std::unique_ptr<reader::Profiles> open(const InputSet& other) { return reader_->open(other.files); }
  const InputSet& input() const { return input_; }
  const OutputTarget& output() const { return output_; }
  Delivery delivery() { return {output_, scratch_.path(), context_, watch_.token()}; }
  /// For all work on the profiles.
  std::stop_token stop() const { return watch_.token(); }
  /// Runs the work. What the memory did not suffice for is Error(io).
  void run(const std::function<void()>& work);

 private:
  void refuseAsOutput(const InputSet& set) const;

  Context& context_;
  Configuration configuration_;
  std::uint64_t memoryBytes_;
  OutputTarget output_;
  InputSet input_;
  ScratchFolder scratch_;
  ReadWatch watch_;
  std::unique_ptr<reader::ParquetReader> reader_;
  std::unique_ptr<reader::Profiles> profiles_;
};

}  // namespace caiexport::cli
