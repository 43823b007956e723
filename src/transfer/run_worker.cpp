/// What the workers of a run do: find something to fetch, fetch it, judge what came.
#include <algorithm>
#include <ctime>
#include <string_view>
#include <utility>

#include "caiexport/core/category.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "piece_sink.h"
#include "run.h"

namespace caiexport::transfer {
namespace {

using core::Category;
using model::ByteRange;

// Less behind the writers is left until more is there.
constexpr std::uint64_t kWorthHashingBytes = 1U << 20U;
constexpr std::chrono::milliseconds kLookEvery{20};
constexpr std::uint64_t kRunRetriesPerTry = 10;
constexpr std::size_t kMostSmallBegun = 128;
// Of one range: what others had open when the number of connections was lowered is closed soon.
constexpr unsigned kMostWithoutDescriptors = 10;

// An answer that brings less is no success, however often it comes: a file is not fetched byte by byte.
constexpr std::uint64_t kLeastProgressBytes = 4U << 10U;

bool isProgress(ByteRange asked, std::uint64_t keptBytes) {
  return keptBytes > 0 && keptBytes >= std::min(kLeastProgressBytes, asked.sizeBytes() / 8);
}

/// No news: it is the way of servers that name no versions and break off.
core::Error unprovable(const model::RemoteFile& remote) {
  return {Category::unavailable, "cannot put together " + core::printable(remote.name) +
                                     ": it came in several answers, and nothing shows that they were of one version"};
}

std::string describe(ByteRange range) {
  return std::to_string(range.first) + "-" + std::to_string(range.end);
}

/// Of all threads of this process.
std::chrono::nanoseconds processorTime() {
  return std::chrono::nanoseconds(std::chrono::seconds(1)) / CLOCKS_PER_SEC * std::clock();
}

core::Error afterTries(const core::Error& error, int tries) {
  if (tries <= 1) return error;
  return {error.category(),
          std::string(error.what()) + " (given up after " + std::to_string(tries) + " tries)",
          {.requestId = error.requestId(), .hint = error.hint()}};
}

}  // namespace

/// One fetch of a worker, seen from its sink.
class DownloadRun::Attempt final : public Arrivals {
 public:
  Attempt(DownloadRun& run, Worker& worker, Piece& piece)
      : run_(run),
        worker_(worker),
        piece_(piece),
        allowance_(run.rateLimit_, run.inner_.get_token()),
        begun_(run.at_.clock.steadyNow()) {}

  void onFirstByte() override {
    firstByte_ = run_.at_.clock.steadyNow();
    run_.noteFirstByte(worker_, *firstByte_ - begun_);
  }

  std::size_t room(std::size_t bytes) override { return allowance_.room(bytes); }

  void onBytes(std::uint64_t received, std::uint64_t kept) override {
    received_ += received;
    run_.noteBytes(piece_.file(), kept);
    allowance_.came(received);
  }

  void measure(Schedule& schedule) const {
    if (!firstByte_) return;
    schedule.measured(received_, *firstByte_ - begun_, run_.at_.clock.steadyNow() - *firstByte_);
  }

 private:
  DownloadRun& run_;
  Worker& worker_;
  Piece& piece_;
  Allowance allowance_;
  core::SteadyTime begun_;
  std::optional<core::SteadyTime> firstByte_;
  std::uint64_t received_ = 0;
};

void DownloadRun::work(Worker worker) {
  try {
    while (true) {
      const Assignment assignment = nextAssignment(worker);
      if (assignment.piece) {
        fetch(worker, assignment.piece);
      } else if (assignment.toPrepare) {
        prepare(assignment.toPrepare);
        worker.lastFile = assignment.toPrepare;
      } else if (assignment.chore.file) {
        doChore(assignment.chore);
      } else {
        return;
      }
    }
  } catch (...) {
    endWith(std::current_exception());
  }
}

DownloadRun::Assignment DownloadRun::nextAssignment(Worker& worker) {
  std::unique_lock lock(mutex_);
  while (!ending() && !finished_) {
    if (worker.index >= controller_.limit()) {
      // The call that woke this worker was meant for one that may work.
      workWanted_.notify_one();
      limitRaised_.wait(lock);
      continue;
    }
    Assignment assignment;
    assignment.piece = nextPiece(worker, at_.clock.steadyNow(), assignment.toPrepare);
    if (assignment.piece) worker.lastFile = assignment.piece->file();
    if (assignment.piece || assignment.toPrepare) {
      // One who finds work wakes the next, so that no more threads start than there is work for.
      if (mayBegin() || schedule_.hasGap(at_.clock.steadyNow())) wakeForWork();
      return assignment;
    }
    worker.lastFile.reset();
    assignment.chore = takeChore();
    if (assignment.chore.file) return assignment;
    waitForWork(lock);
  }
  return {};
}

/// Its own file first (hashed in order), then a new one, then a share of another's.
std::shared_ptr<Piece> DownloadRun::nextPiece(const Worker& worker, core::SteadyTime now, File& toPrepare) {
  if (!keepsUpRecord()) return nullptr;
  const unsigned connections = controller_.limit();
  std::shared_ptr<Piece> piece;
  if (worker.lastFile) piece = schedule_.continueFile(worker.lastFile, now, connections);
  if (piece) return piece;
  if (mayBegin()) {
    toPrepare = schedule_.begin();
    if (wantsItem()) served_.notify_one();
    return nullptr;
  }
  piece = schedule_.takeAny(now, connections);
  return piece ? piece : schedule_.splitTail(now);
}

/// Sees to it that a crash never loses more than DownloadSettings::recordEveryBytes says; false while that needs all
/// connections to wait.
bool DownloadRun::keepsUpRecord() {
  const std::uint64_t underWay =
      std::uint64_t{controller_.limit()} * (schedule_.rangeBytes() + schedule_.rangeBytes() / 2);
  const std::uint64_t due = at_.settings.recordEveryBytes + underWay;
  const std::uint64_t bytes = schedule_.unrecordedBytes();
  if (bytes < due) return true;
  const bool late = bytes >= 2 * due;
  for (const File& file : schedule_.begun()) {
    if (file->stage != FileStage::fetching || hasEnded(*file)) continue;
    const std::uint64_t unsynced = file->part.unsyncedBytes();
    // Without anything new to record, a worker would go round: ask, record nothing, ask again.
    if (unsynced == 0) continue;
    if (late) file->recorded = true;
    if (late || unsynced >= at_.settings.rangeBytes) requestRecord(file);
  }
  return !late;
}

/// Bounds the open files, and what a crash would lose of files that are finished but not recorded yet: two a
/// connection, more if they are small, so that they can be recorded many at once. A server that no longer answers gets
/// no more of them.
bool DownloadRun::mayBegin() const {
  if (!schedule_.hasFresh() || gaveUp_) return false;
  const std::size_t connections = controller_.limit();
  const std::size_t begun = schedule_.begun().size();
  if (begun >= at_.settings.mostOpenFiles) return false;
  if (begun < 2 * connections) return true;
  const std::size_t most = std::min(8 * connections, std::max(4 * connections, kMostSmallBegun));
  return begun < most && schedule_.begunBytes() < connections * (at_.settings.rangeBytes / 4);
}

void DownloadRun::waitForWork(std::unique_lock<std::mutex>& lock) {
  starved_ = true;
  const auto retry = schedule_.earliestRetry(at_.clock.steadyNow());
  if (!retry || sleeping_) {
    ++idleWorkers_;
    workWanted_.wait(lock);
    --idleWorkers_;
    return;
  }
  sleeping_ = true;
  wake_ = std::stop_source();
  const std::stop_token woken = wake_.get_token();
  lock.unlock();
  const auto wait = std::chrono::ceil<core::Duration>(*retry - at_.clock.steadyNow());
  if (wait > core::Duration::zero()) at_.clock.sleep(wait, woken);
  lock.lock();
  sleeping_ = false;
}

void DownloadRun::fetch(Worker& worker, const std::shared_ptr<Piece>& piece) {
  Attempt attempt(*this, worker, *piece);
  PieceSink sink(*piece, attempt);
  std::exception_ptr problem;
  ++progress_.connections;
  try {
    at_.source.fetch(piece->file()->item.remote, piece->asked(), sink, inner_.get_token());
  } catch (...) {
    problem = std::current_exception();
  }
  --progress_.connections;
  if (sink.enough()) problem = nullptr;

  const std::lock_guard lock(mutex_);
  attempt.measure(schedule_);
  ++responses_;
  std::uint64_t missingBytes = piece->rest().sizeBytes();
  for (const ByteRange& range : sink.leftOut()) missingBytes += range.sizeBytes();
  // What is only compared is not on its way to the record.
  if (piece->purpose() == Purpose::check) missingBytes += sink.keptBytes();
  schedule_.ended(piece, missingBytes);
  // A failure of the disk, or a listed length that is wrong, counts more than what the source made of it.
  try {
    settle(piece, sink, sink.failure() ? sink.failure() : problem);
  } catch (...) {
    // Before others get the lock: to them the file seems to have ended.
    if (!problem_) problem_ = std::current_exception();
    throw;
  }
  observeThroughput(at_.clock.steadyNow());
}

/// With the lock held, like all that follows up to the chores.
void DownloadRun::settle(const std::shared_ptr<Piece>& piece, const PieceSink& sink,
                         const std::exception_ptr& problem) {
  const File& file = piece->file();
  if (sink.wholeFileComes()) file->ignoresRanges = true;
  if (sink.keptBytes() > 0 && gaveUp_) {
    gaveUp_ = false;
    served_.notify_one();
  }
  if (!file->versions.known().empty()) namesVersions_ = true;
  if (piece->rest().sizeBytes() == 0 && sink.leftOut().empty() && !sink.failure()) {
    // All is here: what happened afterwards does not matter.
    ++piecesCompleted_;
    // The answer was compared with all that was here before it.
    if (sink.fromTheFront() && !file->tailFirst && piece->asked().end == file->item.remote.lengthBytes) {
      file->versions.startOver();
    }
  } else if (piece->purpose() == Purpose::tail && sink.wholeFileComes() && !sink.failure()) {
    file->tailFirst = false;
    file->later = {{0, file->item.remote.lengthBytes}};
  } else {
    judge(piece, sink, problem);
  }
  goOn(file);
  if (hasEnded(*file) || file->part.bytesBehind() >= kWorthHashingBytes) requestChore(file);
}

/// Of a file of which nothing is on its way: what is to be fetched next.
void DownloadRun::goOn(const File& file) {
  if (file->failure || !file->active.empty() || !file->gaps.empty() || ending()) return;
  if (!file->later.empty()) {
    schedule_.open(file, std::exchange(file->later, {}));
    return wakeForWork();
  }
  if (at_.settings.tailBytes == 0 || file->versions.agree() || file->checked) return;
  if (!file->tailFirst) return beginAgain(file, unprovable(file->item.remote), {});
  file->checked = true;
  file->seams.push_back(tailOf(file->item.remote.lengthBytes, at_.settings.tailBytes));
  for (const ByteRange& range : std::exchange(file->seams, {})) {
    schedule_.giveBack(*file, {.range = range, .purpose = Purpose::check});
  }
  wakeForWork();
}

/// What is here of the file goes, and all of it is fetched again: so that its end is known before the rest.
void DownloadRun::beginAgain(const File& file, const core::Error& why, core::SteadyTime notBefore) {
  if (file->restarts >= static_cast<unsigned>(std::max(1, at_.settings.retry.furtherTries))) {
    return failFile(*file, why);
  }
  auto again = std::make_shared<FileTask>(at_.files, file->item);
  again->item.done.clear();
  again->item.part = {};
  again->restarts = file->restarts + 1;
  again->ignoresRanges = file->ignoresRanges;
  again->tailFirst = !file->ignoresRanges;
  again->notBefore = notBefore;
  file->isToBegin = true;
  file->again = std::move(again);
  ++progress_.retries;
  at_.log.write(core::LogLevel::info, "restart",
                {{"file", core::printable(file->item.remote.name)}, {"reason", why.what()}});
  failFile(*file, why);
}

/// Whether more of the file, in another answer, could be of another version without anybody noticing.
bool DownloadRun::wouldMix(const FileTask& file) const {
  return at_.settings.tailBytes > 0 && !file.tailFirst && !file.ignoresRanges && file.versions.known().empty() &&
         !file.part.written().empty();
}

void DownloadRun::judge(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem) {
  FileTask& file = *piece->file();
  if (file.failure) return;
  try {
    if (problem) std::rethrow_exception(problem);
    if (sink.keptBytes() == 0) {
      throw core::TransientError("cannot download " + core::printable(file.item.remote.name) +
                                     ": the answer holds none of the bytes " + describe(piece->asked()),
                                 {});
    }
    if (!isProgress(piece->asked(), sink.keptBytes())) {
      throw core::TransientError("cannot download " + core::printable(file.item.remote.name) + ": the answer holds " +
                                     std::to_string(sink.keptBytes()) + " of the bytes " + describe(piece->asked()),
                                 {});
    }
    if (wouldMix(file)) return beginAgain(piece->file(), unprovable(file.item.remote), {});
    giveBackRest(piece, sink, 0, {});
  } catch (const FileChanged& error) {
    if (!ending()) beginAgain(piece->file(), error, {});
  } catch (const core::TransientError& error) {
    if (!ending()) tryAgain(piece, sink, error);
  } catch (const core::TooFewDescriptors& error) {
    // What its file could not take is lost with the answer: nothing tells how much of it counts.
    if (sink.failure()) throw;
    if (!ending()) goOnWithFewer(piece, sink, error);
  } catch (const core::Error& error) {
    const bool ofDisk = sink.failure() && error.category() != Category::verification;
    if (ofDisk || core::factsOf(error.category()).concernsAllFiles) throw;
    if (!ending()) failFile(file, error);
  }
}

/// Half the connections, for good; a single one that finds no descriptor ends the run.
void DownloadRun::goOnWithFewer(const std::shared_ptr<Piece>& piece, const PieceSink& sink,
                                const core::TooFewDescriptors& error) {
  constexpr std::chrono::milliseconds kUntilOthersClose{100};
  const auto now = at_.clock.steadyNow();
  const unsigned tries = static_cast<unsigned>(piece->failedTries()) + 1;
  if (controller_.limit() == 1 && tries > kMostWithoutDescriptors) throw error;
  if (controller_.neverMoreThan(std::max(1U, controller_.limit() / 2))) limitChanged("descriptors");
  at_.log.write(core::LogLevel::warning, "too_few_descriptors",
                {{"connections", controller_.limit()}, {"reason", error.what()}});
  giveBackRest(piece, sink, static_cast<int>(tries), now + kUntilOthersClose);
}

void DownloadRun::tryAgain(const std::shared_ptr<Piece>& piece, const PieceSink& sink,
                           const core::TransientError& error) {
  const auto now = at_.clock.steadyNow();
  if (error.cause().throttled && controller_.throttled(now)) limitChanged("throttled");
  const int tries = (isProgress(piece->asked(), sink.keptBytes()) ? 0 : piece->failedTries()) + 1;
  const std::uint64_t failures = ++failuresSinceByte_;
  const std::uint64_t allowance = kRunRetriesPerTry * std::max(1, at_.settings.retry.furtherTries);
  auto wait = core::waitBeforeNextTry(at_.settings.retry, tries, error.cause().retryAfter, at_.random);
  if (retries_ >= allowance + items_ + piecesCompleted_) wait.reset();
  if (!wait) {
    // When nothing came from anywhere for so long, other files would fare no better.
    if (failures >= allowance) gaveUp_ = true;
    return failFile(*piece->file(), afterTries(error, tries));
  }
  ++retries_;
  ++progress_.retries;
  if (at_.log.wants(core::LogLevel::info)) {
    at_.log.write(core::LogLevel::info, "retry",
                  {{"file", core::printable(piece->file()->item.remote.name)},
                   {"range", describe(piece->asked())},
                   {"wait_ms", wait->count()},
                   {"reason", error.what()}});
  }
  if (wouldMix(*piece->file())) return beginAgain(piece->file(), error, now + *wait);
  if (piece->file()->part.written().empty() && piece->file()->active.empty()) piece->file()->versions.forget();
  giveBackRest(piece, sink, tries, now + *wait);
}

void DownloadRun::failFile(FileTask& file, const core::Error& error) {
  file.failure = error;
  schedule_.abandon(file);
}

void DownloadRun::giveBackRest(const std::shared_ptr<Piece>& piece, const PieceSink& sink, int failedTries,
                               core::SteadyTime notBefore) {
  const Purpose purpose = piece->purpose();
  for (const ByteRange& range : sink.leftOut()) {
    schedule_.giveBack(*piece->file(), {range, failedTries, notBefore, purpose});
  }
  schedule_.giveBack(*piece->file(), {piece->rest(), failedTries, notBefore, purpose});
  wakeForWork();
}

/// One worker more, if there is one: it wakes the next when it finds more than it takes.
void DownloadRun::wakeForWork() {
  if (sleeping_) wake_.request_stop();
  if (idleWorkers_ > 0) {
    workWanted_.notify_one();
  } else if (!sleeping_ && workers_.size() < controller_.limit() && !ending() && !finished_) {
    const auto index = static_cast<unsigned>(workers_.size());
    startThread(workers_, [this, index] { work({.index = index}); });
  }
}

void DownloadRun::observeThroughput(core::SteadyTime now) {
  nextLook_ = (now + kLookEvery).time_since_epoch().count();
  const ThroughputSample sample{.at = now,
                                .bytes = keptBytes_,
                                .responses = responses_,
                                .waited = waited_,
                                .worked = processorTime(),
                                .delivering = delivering_,
                                .starved = starved_};
  starved_ = idleWorkers_ > 0 || sleeping_;
  if (controller_.observe(sample)) limitChanged("throughput");
  schedule_.limitPerFile(controller_.limitPerFile());
}

void DownloadRun::limitChanged(std::string_view reason) {
  ++epoch_;
  delivering_ = 0;
  if (at_.log.wants(core::LogLevel::debug)) {
    at_.log.write(core::LogLevel::debug, "connections",
                  {{"limit", controller_.limit()}, {"reason", std::string(reason)}});
  }
  limitRaised_.notify_all();
  wakeForWork();
}

void DownloadRun::noteFirstByte(Worker& worker, std::chrono::nanoseconds waited) {
  const std::lock_guard lock(mutex_);
  waited_ += waited;
  if (worker.epoch == epoch_) return;
  worker.epoch = epoch_;
  ++delivering_;
}

void DownloadRun::noteBytes(const File& file, std::uint64_t kept) {
  keptBytes_ += kept;
  progress_.bytes += kept;
  if (kept > 0 && failuresSinceByte_ > 0) failuresSinceByte_ = 0;
  if (file->part.unsyncedBytes() >= at_.settings.recordEveryBytes) {
    const std::lock_guard lock(mutex_);
    // Another connection may have seen the same and the sync be done already.
    // cppcheck-suppress identicalInnerCondition
    if (file->part.unsyncedBytes() >= at_.settings.recordEveryBytes) requestRecord(file);
  }
  const core::SteadyTime now = at_.clock.steadyNow();
  if (now.time_since_epoch().count() >= nextLook_) {
    const std::lock_guard lock(mutex_);
    observeThroughput(now);
    if (!schedule_.hasFresh() && schedule_.canSplit(now)) wakeForWork();
  }
}

}  // namespace caiexport::transfer
