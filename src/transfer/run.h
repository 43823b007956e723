#pragma once
/// One run of the downloader: workers that fetch, keepers that hash, sync and rename, and the thread that called run,
/// which alone talks to the caller.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/transfer/downloader.h"
#include "concurrency.h"
#include "schedule.h"

namespace caiexport::core {
class TooFewDescriptors;
}

namespace caiexport::transfer {

class PieceSink;

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

struct DownloadTools {
  ByteSource& source;
  core::FileSystem& files;
  core::Clock& clock;
  core::Random& random;
  core::Log& log;
  DownloadSettings settings;
};

class DownloadRun {
 public:
  DownloadRun(const DownloadTools& tools, Observer& observer, DownloadProgress& progress);
  ~DownloadRun();
  DownloadRun(const DownloadRun&) = delete;
  DownloadRun& operator=(const DownloadRun&) = delete;

  DownloadSummary toTheEnd(ItemFeed& feed, const std::stop_token& stop);

 private:
  using File = Schedule::File;

  struct Result {
    enum class Kind { restarted, onDisk, completed, failed };
    Kind kind = Kind::completed;
    File file = {};
    std::vector<model::ByteRange> ranges = {};
    Completion completion = {};
    model::PartFacts facts = {};
    std::string why = {};        ///< restarted.
    bool whole = false;          ///< onDisk: the file only lacks its final name.
    std::uint64_t newBytes = 0;  ///< Recorded by this.
  };

  struct Worker {
    unsigned index = 0;
    std::uint64_t epoch = 0;  ///< Of the limit in which it last delivered.
    File lastFile = {};
  };

  struct Chore {
    enum class Kind { attend, record };
    Kind kind = Kind::attend;
    File file = {};
  };

  /// One of the three; none: leave.
  struct Assignment {
    std::shared_ptr<Piece> piece = {};
    File toPrepare = {};
    Chore chore = {};
  };

  class Attempt;

  // The thread that called run.
  void serve(ItemFeed& feed);
  void takeItems(ItemFeed& feed);
  bool isDone() const;
  bool wantsItem() const;
  std::size_t lookAhead() const;
  void deliver(const std::vector<Result>& results);
  void deliverOne(const Result& result);
  void afterDelivery(const std::vector<Result>& results);
  void joinAll();
  void saveWhatArrived();
  void saveWhatArrived(FileTask& file);
  void rethrowProblem(const std::stop_token& stop);

  // Workers.
  void work(Worker worker);
  Assignment nextAssignment(Worker& worker);
  std::shared_ptr<Piece> nextPiece(const Worker& worker, core::SteadyTime now, File& toPrepare);
  void waitForWork(std::unique_lock<std::mutex>& lock);
  void prepare(const File& file);
  void prepareFresh(const File& file);
  void prepareResumed(const File& file, const std::vector<model::ByteRange>& missing);
  std::string whyUseless(const FileTask& file, bool allIsThere) const;
  bool keepsExisting(const File& file);
  bool finishRenamed(const File& file);
  void makeFolder(const std::filesystem::path& folder);
  void fetch(Worker& worker, const std::shared_ptr<Piece>& piece);
  void settle(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem);
  void judge(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem);
  void goOnWithFewer(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TooFewDescriptors& error);
  void tryAgain(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TransientError& error);
  void failFile(FileTask& file, const core::Error& error);
  void goOn(const File& file);
  void beginAgain(const File& file, const core::Error& why, core::SteadyTime notBefore);
  bool wouldMix(const FileTask& file) const;
  void giveBackRest(const std::shared_ptr<Piece>& piece, const PieceSink& sink, int failedTries,
                    core::SteadyTime notBefore);

  // Chores: by keepers, and by workers with nothing else to do.
  void keep();
  void doChore(const Chore& chore);
  void attend(const File& file);
  void record(const File& file);
  void finish(const File& file);
  void publish(const File& file);
  enum class Announce { whenDue, now };
  void announce(Announce when);
  void giveUp(const File& file);
  void giveUpAdopted(const File& file);
  static model::PartFacts factsOf(const FileTask& file, const PartFile::Synced& synced);

  // With the lock held.
  static bool hasEnded(const FileTask& file);
  Chore takeChore();
  void requestChore(const File& file);
  void requestRecord(const File& file);
  void queueChore(Chore chore);
  void wakeForWork();
  void wakeAll();
  void push(Result result);
  void observeThroughput(core::SteadyTime now);
  void limitChanged(std::string_view reason);
  bool mayBegin() const;
  bool keepsUpRecord();

  void noteFirstByte(Worker& worker, std::chrono::nanoseconds waited);
  void noteBytes(const File& file, std::uint64_t kept);
  void end();
  void endWith(std::exception_ptr problem);
  bool ending() const { return inner_.stop_requested(); }

  const DownloadTools at_;
  Observer& observer_;
  DownloadProgress& progress_;
  RateLimit rateLimit_;
  std::stop_source inner_;  ///< The caller's stop, or an end by a failure.

  // Of the thread that called run alone.
  DownloadSummary summary_;
  bool observerThrew_ = false;

  std::atomic<std::uint64_t> keptBytes_ = 0;
  std::atomic<std::uint64_t> failuresSinceByte_ = 0;
  std::atomic<core::SteadyTime::rep> nextLook_ = 0;

  std::mutex folderMutex_;
  std::set<std::filesystem::path> folders_;  ///< Known to exist.

  std::mutex mutex_;
  std::condition_variable workWanted_;   ///< Workers with nothing to do.
  std::condition_variable limitRaised_;  ///< Workers beyond the limit.
  std::condition_variable choreWanted_;  ///< Keepers.
  std::condition_variable served_;       ///< The thread that called run.
  // What follows is guarded by mutex_.
  Schedule schedule_;
  ConcurrencyController controller_;
  std::deque<Chore> chores_;
  std::vector<File> renamed_;    ///< Their folders are still to be synced.
  bool announcing_ = false;      ///< A thread syncs folders.
  std::vector<Result> results_;  ///< Bounded: items are asked for only when it is empty.
  std::vector<std::jthread> workers_;
  std::vector<std::jthread> keepers_;
  std::exception_ptr problem_;
  bool namesVersions_ = false;  ///< The source has named the version of a file.
  bool exhausted_ = false;
  bool dry_ = false;    ///< The feed had nothing, but may have after a wake.
  bool woken_ = false;  ///< By the feed.
  bool finished_ = false;
  bool gaveUp_ = false;
  unsigned idleWorkers_ = 0;
  unsigned idleKeepers_ = 0;
  bool sleeping_ = false;  ///< A worker waits, by the clock, for the next retry.
  std::stop_source wake_;
  std::uint64_t items_ = 0;
  std::uint64_t piecesCompleted_ = 0;
  std::uint64_t retries_ = 0;
  std::uint64_t responses_ = 0;
  std::chrono::nanoseconds waited_{0};
  std::uint64_t epoch_ = 1;
  unsigned delivering_ = 0;
  bool starved_ = false;
};

}  // namespace caiexport::transfer
