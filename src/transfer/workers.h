#pragma once
/// The connections of a run: how many there are, and what each does: find something to fetch, fetch it, judge what
/// came.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "concurrency.h"
#include "keeper.h"
#include "run_state.h"

namespace caiexport::core {
class TooFewDescriptors;
}

namespace caiexport::transfer {

class PieceSink;

/// Owns the threads of the workers, the number of them that may work, and what is measured to find it. The run's lock
/// guards all but the atomic counters.
class Connections {
 public:
  /// `work` is what the worker with that index does until the run is over.
  Connections(RunState& run, std::function<void(unsigned index)> work);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  /// What a limit on the rate leaves to each connection; 0 without one.
  static double expectedBytesPerSecond(const DownloadSettings& settings);

  // Any thread, without the lock.

  /// Bytes that were kept arrived.
  void count(std::uint64_t keptBytes);
  std::uint64_t keptBytes() const { return keptBytes_; }
  /// Returns how many failures there were since the last byte from anywhere.
  std::uint64_t countFailure() { return ++failuresSinceByte_; }
  /// A worker waited that long for a first byte; `epoch` is that of the limit in which it last delivered.
  void firstByteCame(std::uint64_t& epoch, std::chrono::nanoseconds waited);
  bool isTimeToLook(core::SteadyTime now) const { return now.time_since_epoch().count() >= nextLook_; }

  // With the lock held.

  unsigned limit() const { return controller_.limit(); }
  void expectLatency(std::chrono::nanoseconds latency);
  /// Whether answers take so long that it pays to ask for the next before one is here.
  /// Any thread, without the lock.
  bool isFarAway() const { return farAway_; }
  bool askAhead() const { return farAway_ && run_.progress.throttled == 0; }
  void answerEnded() { ++responses_; }
  void workerStarves() { starved_ = true; }
  /// Looks at the throughput.
  void observe(core::SteadyTime now);
  void throttled(core::SteadyTime now, unsigned othersUnderWay);
  /// Half of them, for good.
  void halve();
  /// Until the next such call.
  void allow(unsigned most);
  /// One worker more, if there is one: it wakes the next when it finds more than it takes.
  void wakeForWork();
  std::vector<std::jthread>& threads() { return threads_; }

 private:
  void changed(std::string_view reason);

  RunState& run_;
  const std::function<void(unsigned index)> work_;
  std::atomic<std::uint64_t> keptBytes_ = 0;
  std::atomic<std::uint64_t> failuresSinceByte_ = 0;
  std::atomic<core::SteadyTime::rep> nextLook_ = 0;
  std::atomic<std::chrono::nanoseconds::rep> waitedNanoseconds_ = 0;
  std::atomic<std::uint64_t> epoch_ = 1;  ///< Changed with the lock held.

  // Guarded by the run's lock.
  ConcurrencyController controller_;
  std::vector<std::jthread> threads_;
  std::uint64_t responses_ = 0;
  std::chrono::nanoseconds worked_{0};
  unsigned delivering_ = 0;
  bool starved_ = false;
  std::atomic<bool> farAway_ = false;
};

/// What workers do. Owns the connections, the limit on the rate, and the counts that bound retries; the run's lock
/// guards the latter.
class Workers {
 public:
  Workers(RunState& run, FileKeeper& keeper);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  Connections& connections() { return connections_; }
  /// Before the first file is known: they will be about so large, and so far away. Without the lock.
  void prepare(std::uint64_t bytesAFile, std::chrono::nanoseconds latency);

  // With the lock held.

  /// Files that should wait to be begun, at least.
  std::size_t lookAhead() const;
  bool wantsItem() const;

 private:
  using File = Schedule::File;

  struct Worker {
    unsigned index = 0;
    std::uint64_t epoch = 0;  ///< See Connections::firstByteCame.
    File lastFile = {};
    std::deque<std::shared_ptr<Piece>> ahead = {};  ///< To be fetched next, and perhaps asked for already.
  };

  /// One of the four; none: leave.
  struct Assignment {
    std::shared_ptr<Piece> piece = {};
    File toBegin = {};
    Chore chore = {};
    bool announces = false;
  };

  class Attempt;

  void work(unsigned index);
  /// What the worker is to do next, if anything, before it fetches more.
  Chore fetch(Worker& worker, const std::shared_ptr<Piece>& piece, bool isOneOfMany);
  void noteBytes(const File& file, std::uint64_t kept);

  // Finding work.
  Assignment nextAssignment(Worker& worker);
  bool asksAhead(Worker& worker, const Piece& piece);
  bool isWorthAskingAhead(std::uint64_t lengthBytes) const;
  File beginAhead();
  std::shared_ptr<Piece> nextPiece(const Worker& worker, core::SteadyTime now, File& toBegin);
  bool keepsUpRecord();
  bool mayBegin() const;
  void waitForWork(std::unique_lock<std::mutex>& lock);

  // Judging what came, with the lock held.
  Chore settle(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem);
  void judge(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem);
  void tryAgain(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TransientError& error);
  void goOnWithFewer(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TooFewDescriptors& error);
  void giveBackRest(const std::shared_ptr<Piece>& piece, const PieceSink& sink, int failedTries,
                    core::SteadyTime notBefore);
  void goOn(const File& file);
  bool wouldMix(const FileTask& file) const;

  RunState& run_;
  FileKeeper& keeper_;
  RateLimit rateLimit_;  ///< Has a lock of its own.
  Connections connections_;
  unsigned underWay_ = 0;  ///< Pieces that workers have.
  std::uint64_t piecesCompleted_ = 0;
  std::uint64_t retries_ = 0;
};

}  // namespace caiexport::transfer
