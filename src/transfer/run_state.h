#pragma once
/// What the threads of one run of the downloader share.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/transfer/downloader.h"
#include "schedule.h"

namespace caiexport::transfer {

struct DownloadTools {
  ByteSource& source;
  core::FileSystem& files;
  core::Clock& clock;
  core::Random& random;
  core::Log& log;
  DownloadSettings settings;
};

/// What happened to a file, for the observer.
struct Result {
  enum class Kind { restarted, onDisk, completed, failed };
  Kind kind = Kind::completed;
  Schedule::File file = {};
  std::vector<model::ByteRange> ranges = {};
  Completion completion = {};
  model::PartFacts facts = {};
  std::string why = {};        ///< restarted.
  bool whole = false;          ///< onDisk: the file only lacks its final name.
  std::uint64_t newBytes = 0;  ///< Recorded by this.
};

/// Owns the one lock of a run, what is to be fetched, what the observer is still to be told, and the end of the run.
/// Three kinds of threads meet here: workers, keepers, and the thread that called Downloader::run.
struct RunState {
  RunState(const DownloadTools& tools, DownloadProgress& live, double expectedBytesPerSecond);

  // Any thread, without the lock.

  /// The caller asked for a stop, or a failure ends the run.
  bool ending() const { return inner.stop_requested(); }
  std::stop_token stop() const { return inner.get_token(); }
  /// Both take the lock themselves.
  void end();
  void endWith(std::exception_ptr why);

  // With the lock held.

  /// Neither new work nor new threads.
  bool isOver() const { return finished || ending(); }
  void wakeAll();
  void tell(Result&& result);
  void failFile(FileTask& file, const core::Error& error);
  /// What is here of the file goes, and all of it is fetched again: so that its end is known before the rest.
  void beginAgain(const Schedule::File& file, const core::Error& why, core::SteadyTime notBefore);

  const DownloadTools at;
  DownloadProgress& progress;
  std::stop_source inner;  ///< The caller's stop, or an end by a failure.

  /// Guards all that follows, the files of the schedule (but for what FileTask says), and members of Workers and
  /// FileKeeper.
  std::mutex mutex;
  std::condition_variable workWanted;   ///< Workers with nothing to do.
  std::condition_variable limitRaised;  ///< Workers beyond the number that may work.
  std::condition_variable choreWanted;  ///< Keepers.
  std::condition_variable served;       ///< The thread that called run.

  Schedule schedule;
  std::vector<Result> results;  ///< Bounded: items are asked for only when it is empty.
  std::exception_ptr problem;
  bool finished = false;
  std::uint64_t items = 0;     ///< That the feed has given.
  bool exhausted = false;      ///< It has no more.
  bool dry = false;            ///< It had nothing, but may have after a wake.
  bool gaveUp = false;         ///< See DownloadSummary.
  bool namesVersions = false;  ///< The source has named the version of a file.

  unsigned idleWorkers = 0;
  bool sleeping = false;  ///< A worker waits, by the clock, for the next retry...
  std::stop_source wake;  ///< ...and this ends its wait.
};

/// Where the system gives no more threads, those there are do the work.
template <class Body>
void startThread(std::vector<std::jthread>& threads, Body body) {
  try {
    threads.emplace_back(std::move(body));
  } catch (const std::system_error& error) {
    if (!threads.empty()) return;
    throw core::Error(
        core::Category::io, std::string("cannot start a thread for the download: ") + error.what(),
        {.hint = "raise the limits on threads and memory (ulimit -u, ulimit -v), or close other programs"});
  }
}

}  // namespace caiexport::transfer
