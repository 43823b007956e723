#include "workers.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <string>
#include <utility>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "part_file.h"

namespace caiexport::transfer {
namespace {

using core::Category;
using model::ByteRange;

// Less behind the writers is left until more is there.
constexpr std::uint64_t kWorthHashingBytes = 1U << 20U;
constexpr std::size_t kLeastLookAhead = 16;
constexpr std::uint64_t kRunRetriesPerTry = 10;
constexpr std::size_t kMostSmallBegun = 128;
// What a connection asks for before an answer is here, of small files. What comes too early waits in memory.
constexpr std::size_t kMostAhead = 5;
constexpr std::uint64_t kMostBytesAhead = 128U << 10U;
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

bool isWhole(const Piece& piece) {
  return piece.purpose() == Purpose::data && piece.asked().sizeBytes() == piece.file()->item.remote.lengthBytes;
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

ConcurrencyController::Limits limitsOf(const DownloadSettings& settings) {
  if (settings.connections) return {.start = *settings.connections, .most = *settings.connections, .adapts = false};
  const unsigned most = mostConnections(settings);
  return {.start = std::min(settings.connectionsStart, most),
          .most = most,
          .adapts = true,
          .processors = std::thread::hardware_concurrency()};
}

}  // namespace

// --- connections

Connections::Connections(RunState& run, std::function<void(unsigned index)> work)
    : run_(run), work_(std::move(work)), controller_(limitsOf(run.at.settings)) {}

double Connections::expectedBytesPerSecond(const DownloadSettings& settings) {
  return static_cast<double>(settings.mostBytesPerSecond) / limitsOf(settings).start;
}

void Connections::count(std::uint64_t keptBytes) {
  keptBytes_ += keptBytes;
  if (keptBytes > 0 && failuresSinceByte_ > 0) failuresSinceByte_ = 0;
}

void Connections::expectLatency(std::chrono::nanoseconds latency) {
  farAway_ = ConcurrencyController::isFar(latency);
  controller_.expectLatency(latency);
}

void Connections::firstByteCame(std::uint64_t& epoch, std::chrono::nanoseconds waited) {
  waitedNanoseconds_ += waited.count();
  if (epoch == epoch_) return;
  const std::lock_guard lock(run_.mutex);
  epoch = epoch_;
  ++delivering_;
}

void Connections::observe(core::SteadyTime now) {
  constexpr std::chrono::milliseconds kLookEvery{20};
  // A call of the system, with the lock held: not for each small file.
  if (isTimeToLook(now)) worked_ = processorTime();
  nextLook_ = (now + kLookEvery).time_since_epoch().count();
  const ThroughputSample sample{.at = now,
                                .bytes = keptBytes_,
                                .responses = responses_,
                                .waited = std::chrono::nanoseconds(waitedNanoseconds_),
                                .worked = worked_,
                                .delivering = delivering_,
                                .starved = starved_};
  starved_ = run_.idleWorkers > 0 || run_.sleeping;
  if (controller_.observe(sample)) changed("throughput");
  run_.schedule.limitPerFile(controller_.limitPerFile());
}

void Connections::throttled(core::SteadyTime now, unsigned othersUnderWay) {
  ++run_.progress.throttled;
  if (controller_.throttled(now, othersUnderWay)) changed("throttled");
}

void Connections::halve() {
  if (controller_.neverMoreThan(std::max(1U, limit() / 2))) changed("descriptors");
}

void Connections::allow(unsigned most) {
  if (controller_.atMost(most)) changed("share");
}

void Connections::changed(std::string_view reason) {
  ++epoch_;
  delivering_ = 0;
  if (run_.at.log.wants(core::LogLevel::debug)) {
    run_.at.log.write(core::LogLevel::debug, "connections", {{"limit", limit()}, {"reason", std::string(reason)}});
  }
  run_.limitRaised.notify_all();
  wakeForWork();
}

void Connections::wakeForWork() {
  if (run_.sleeping) run_.wake.request_stop();
  if (run_.idleWorkers > 0) {
    run_.workWanted.notify_one();
  } else if (!run_.sleeping && threads_.size() < limit() && !run_.isOver()) {
    const auto index = static_cast<unsigned>(threads_.size());
    startThread(threads_, [this, index] { work_(index); });
  }
}

// --- workers

/// One fetch of a worker, seen from its sink.
class Workers::Attempt final : public Arrivals {
 public:
  Attempt(Workers& workers, Worker& worker, Piece& piece)
      : workers_(workers),
        worker_(worker),
        piece_(piece),
        allowance_(workers.rateLimit_, workers.run_.stop()),
        begun_(workers.run_.at.clock.steadyNow()) {}

  void onFirstByte() override {
    firstByte_ = workers_.run_.at.clock.steadyNow();
    workers_.connections_.firstByteCame(worker_.epoch, *firstByte_ - begun_);
  }

  std::size_t room(std::size_t bytes) override { return allowance_.room(bytes); }

  void onBytes(std::uint64_t received, std::uint64_t kept) override {
    received_ += received;
    workers_.noteBytes(piece_.file(), kept);
    allowance_.came(received);
  }

  void measure(Schedule& schedule) const {
    if (!firstByte_) return;
    schedule.measured(received_, *firstByte_ - begun_, workers_.run_.at.clock.steadyNow() - *firstByte_);
  }

 private:
  Workers& workers_;
  Worker& worker_;
  Piece& piece_;
  Allowance allowance_;
  core::SteadyTime begun_;
  std::optional<core::SteadyTime> firstByte_;
  std::uint64_t received_ = 0;
};

Workers::Workers(RunState& run, FileKeeper& keeper)
    : run_(run),
      keeper_(keeper),
      rateLimit_(run.at.clock, run.at.settings.mostBytesPerSecond),
      connections_(run, [this](unsigned index) { work(index); }) {}

/// As many as a run from far away begins with.
void Workers::prepare(std::uint64_t bytesAFile, std::chrono::nanoseconds latency) {
  constexpr unsigned kMostPrepared = 32;
  unsigned most = 0;
  {
    const std::lock_guard lock(run_.mutex);
    connections_.expectLatency(latency);
    most = connections_.limit();
  }
  if (isWorthAskingAhead(bytesAFile)) run_.at.source.prepareForMany(std::min(most, kMostPrepared));
}

std::size_t Workers::lookAhead() const {
  return std::max<std::size_t>(kLeastLookAhead, connections_.limit());
}

bool Workers::wantsItem() const {
  return !run_.exhausted && !run_.dry && !run_.gaveUp && run_.schedule.freshCount() < lookAhead();
}

void Workers::work(unsigned index) {
  Worker worker{.index = index};
  try {
    while (true) {
      const Assignment assignment = nextAssignment(worker);
      if (assignment.piece) {
        const Chore own = fetch(worker, assignment.piece, asksAhead(worker, *assignment.piece));
        if (own.file) keeper_.doChore(own);
      } else if (assignment.toBegin) {
        keeper_.begin(assignment.toBegin);
        worker.lastFile = assignment.toBegin;
      } else if (assignment.chore.file) {
        keeper_.doChore(assignment.chore);
      } else if (assignment.announces) {
        keeper_.announce(FileKeeper::Announce::now);
      } else {
        return;
      }
    }
  } catch (...) {
    run_.endWith(std::current_exception());
  }
}

void Workers::noteBytes(const File& file, std::uint64_t kept) {
  connections_.count(kept);
  run_.progress.bytes += kept;
  if (file->part.unsyncedBytes() >= run_.at.settings.recordEveryBytes) {
    const std::lock_guard lock(run_.mutex);
    // Another connection may have seen the same and the sync be done already.
    // cppcheck-suppress identicalInnerCondition
    if (file->part.unsyncedBytes() >= run_.at.settings.recordEveryBytes) keeper_.requestRecord(file);
  }
  const core::SteadyTime now = run_.at.clock.steadyNow();
  if (connections_.isTimeToLook(now)) {
    const std::lock_guard lock(run_.mutex);
    connections_.observe(now);
    if (!run_.schedule.hasFresh() && run_.schedule.canSplit(now)) connections_.wakeForWork();
  }
}

Chore Workers::fetch(Worker& worker, const std::shared_ptr<Piece>& piece, bool isOneOfMany) {
  Attempt attempt(*this, worker, *piece);
  PieceSink sink(*piece, attempt);
  std::exception_ptr problem;
  ++run_.progress.connections;
  try {
    const DownloadItem& item = piece->file()->item;
    ByteSource& source = item.source ? *item.source : run_.at.source;
    if (isOneOfMany) {
      std::vector<const model::RemoteFile*> next;
      for (const std::shared_ptr<Piece>& one : worker.ahead) {
        if (isWhole(*one)) next.push_back(&one->file()->item.remote);
      }
      source.fetchOneOfMany(item.remote, next, sink, run_.stop());
    } else {
      source.fetch(item.remote, piece->asked(), sink, run_.stop());
    }
  } catch (...) {
    problem = std::current_exception();
  }
  --run_.progress.connections;
  if (sink.enough()) problem = nullptr;

  const std::lock_guard lock(run_.mutex);
  --underWay_;
  attempt.measure(run_.schedule);
  connections_.answerEnded();
  std::uint64_t missingBytes = piece->rest().sizeBytes();
  for (const ByteRange& range : sink.leftOut()) missingBytes += range.sizeBytes();
  // What is only compared is not on its way to the record.
  if (piece->purpose() == Purpose::check) missingBytes += sink.keptBytes();
  run_.schedule.ended(piece, missingBytes);
  Chore own;
  // A failure of the disk, or a listed length that is wrong, counts more than what the source made of it.
  try {
    own = settle(piece, sink, sink.failure() ? sink.failure() : problem);
  } catch (...) {
    // Before others get the lock: to them the file seems to have ended.
    if (!run_.problem) run_.problem = std::current_exception();
    throw;
  }
  connections_.observe(run_.at.clock.steadyNow());
  return own;
}

// --- finding work

Workers::Assignment Workers::nextAssignment(Worker& worker) {
  std::unique_lock lock(run_.mutex);
  while (!run_.isOver()) {
    if (!worker.ahead.empty()) {
      ++underWay_;
      worker.lastFile = worker.ahead.front()->file();
      Assignment assignment{.piece = std::move(worker.ahead.front())};
      worker.ahead.pop_front();
      return assignment;
    }
    if (worker.index >= connections_.limit()) {
      // The call that woke this worker was meant for one that may work.
      run_.workWanted.notify_one();
      run_.limitRaised.wait(lock);
      continue;
    }
    Assignment assignment;
    assignment.piece = nextPiece(worker, run_.at.clock.steadyNow(), assignment.toBegin);
    if (assignment.piece) {
      ++underWay_;
      worker.lastFile = assignment.piece->file();
    }
    if (assignment.piece || assignment.toBegin) {
      // One who finds work wakes the next, so that no more threads start than there is work for.
      if (mayBegin() || run_.schedule.hasGap(run_.at.clock.steadyNow())) connections_.wakeForWork();
      return assignment;
    }
    worker.lastFile.reset();
    assignment.chore = keeper_.takeChore();
    assignment.announces = !assignment.chore.file && keeper_.hasRenamed();
    if (assignment.chore.file || assignment.announces) return assignment;
    waitForWork(lock);
  }
  return {};
}

/// Whether the piece is one of many small files from far away; the next of them become the worker's then, while there
/// are enough for all connections.
bool Workers::asksAhead(Worker& worker, const Piece& piece) {
  const DownloadItem& item = piece.file()->item;
  if (!isWhole(piece) || item.source || !isWorthAskingAhead(item.remote.lengthBytes)) return false;
  while (worker.ahead.size() < kMostAhead) {
    const File file = beginAhead();
    if (!file) break;
    keeper_.begin(file);
    const std::lock_guard lock(run_.mutex);
    // It may have been here already, in part or whole, or be fetched by another by now.
    auto next = run_.schedule.continueFile(file, run_.at.clock.steadyNow(), connections_.limit());
    if (next) worker.ahead.push_back(std::move(next));
  }
  return true;
}

bool Workers::isWorthAskingAhead(std::uint64_t lengthBytes) const {
  return connections_.askAhead() && run_.at.settings.mostBytesPerSecond == 0 && lengthBytes > 0 &&
         lengthBytes <= kMostBytesAhead;
}

Workers::File Workers::beginAhead() {
  const std::lock_guard lock(run_.mutex);
  if (run_.isOver() || !mayBegin() || run_.schedule.freshCount() < connections_.limit()) return nullptr;
  if (!isWorthAskingAhead(run_.schedule.nextLengthBytes())) return nullptr;
  File file = run_.schedule.begin();
  if (wantsItem()) run_.served.notify_one();
  return file;
}

/// Its own file first (hashed in order), then a new one, then a share of another's.
std::shared_ptr<Piece> Workers::nextPiece(const Worker& worker, core::SteadyTime now, File& toBegin) {
  if (!keepsUpRecord()) return nullptr;
  const unsigned connections = connections_.limit();
  // Where the limit was lowered, others may still be busy with what they began before.
  if (underWay_ >= connections) return nullptr;
  std::shared_ptr<Piece> piece;
  if (worker.lastFile) piece = run_.schedule.continueFile(worker.lastFile, now, connections);
  if (piece) return piece;
  if (mayBegin()) {
    toBegin = run_.schedule.begin();
    if (wantsItem()) run_.served.notify_one();
    return nullptr;
  }
  piece = run_.schedule.takeAny(now, connections);
  return piece ? piece : run_.schedule.splitTail(now);
}

/// Sees to it that a crash never loses more than DownloadSettings::recordEveryBytes says; false while that needs all
/// connections to wait.
bool Workers::keepsUpRecord() {
  const std::uint64_t underWay =
      std::uint64_t{connections_.limit()} * (run_.schedule.rangeBytes() + run_.schedule.rangeBytes() / 2);
  const std::uint64_t due = run_.at.settings.recordEveryBytes + underWay;
  const std::uint64_t bytes = run_.schedule.unrecordedBytes();
  if (bytes < due) return true;
  const bool late = bytes >= 2 * due;
  for (const File& file : run_.schedule.begun()) {
    if (file->stage != FileStage::fetching || file->hasEnded()) continue;
    const std::uint64_t unsynced = file->part.unsyncedBytes();
    // Without anything new to record, a worker would go round: ask, record nothing, ask again.
    if (unsynced == 0) continue;
    if (late) file->recorded = true;
    if (late || unsynced >= run_.at.settings.rangeBytes) keeper_.requestRecord(file);
  }
  return !late;
}

/// Bounds the open files, and what a crash would lose of files that are finished but not recorded yet: two a
/// connection, more if they are small, so that they can be recorded many at once. A server that no longer answers gets
/// no more of them.
bool Workers::mayBegin() const {
  if (!run_.schedule.hasFresh() || run_.gaveUp) return false;
  const std::size_t connections = connections_.limit();
  const std::size_t begun = run_.schedule.begun().size();
  if (begun >= run_.at.settings.mostOpenFiles) return false;
  if (begun < 2 * connections) return true;
  const std::size_t most = std::min(8 * connections, std::max(4 * connections, kMostSmallBegun));
  return begun < most && run_.schedule.begunBytes() < connections * (run_.at.settings.rangeBytes / 4);
}

void Workers::waitForWork(std::unique_lock<std::mutex>& lock) {
  connections_.workerStarves();
  const auto retry = run_.schedule.earliestRetry(run_.at.clock.steadyNow());
  if (!retry || run_.sleeping) {
    ++run_.idleWorkers;
    run_.workWanted.wait(lock);
    --run_.idleWorkers;
    return;
  }
  run_.sleeping = true;
  run_.wake = std::stop_source();
  const std::stop_token woken = run_.wake.get_token();
  lock.unlock();
  const auto wait = std::chrono::ceil<core::Duration>(*retry - run_.at.clock.steadyNow());
  if (wait > core::Duration::zero()) run_.at.clock.sleep(wait, woken);
  lock.lock();
  run_.sleeping = false;
}

// --- judging what came

Chore Workers::settle(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem) {
  const File& file = piece->file();
  if (sink.wholeFileComes()) file->ignoresRanges = true;
  if (sink.keptBytes() > 0 && run_.gaveUp) {
    run_.gaveUp = false;
    run_.served.notify_one();
  }
  if (file->versions.isKnown()) run_.namesVersions = true;
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
  // From far away the connection had better ask for the next.
  if (file->hasEnded() && !connections_.isFarAway()) return keeper_.requestOrTake(file);
  if (file->hasEnded() || file->part.bytesBehind() >= kWorthHashingBytes) keeper_.request(file);
  return {};
}

void Workers::judge(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem) {
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
    if (wouldMix(file)) return run_.beginAgain(piece->file(), unprovable(file.item.remote), {});
    giveBackRest(piece, sink, 0, {});
  } catch (const FileChanged& error) {
    if (!run_.ending()) run_.beginAgain(piece->file(), error, {});
  } catch (const core::TransientError& error) {
    if (!run_.ending()) tryAgain(piece, sink, error);
  } catch (const core::TooFewDescriptors& error) {
    // What its file could not take is lost with the answer: nothing tells how much of it counts.
    if (sink.failure()) throw;
    if (!run_.ending()) goOnWithFewer(piece, sink, error);
  } catch (const core::Error& error) {
    const bool ofDisk = sink.failure() && error.category() != Category::verification;
    if (ofDisk || core::factsOf(error.category()).concernsAllFiles) throw;
    if (!run_.ending()) run_.failFile(file, error);
  }
}

/// A single connection that finds no descriptor ends the run.
void Workers::goOnWithFewer(const std::shared_ptr<Piece>& piece, const PieceSink& sink,
                            const core::TooFewDescriptors& error) {
  constexpr std::chrono::milliseconds kUntilOthersClose{100};
  const auto now = run_.at.clock.steadyNow();
  const unsigned tries = static_cast<unsigned>(piece->failedTries()) + 1;
  if (connections_.limit() == 1 && tries > kMostWithoutDescriptors) throw error;
  connections_.halve();
  run_.at.log.write(core::LogLevel::warning, "too_few_descriptors",
                    {{"connections", connections_.limit()}, {"reason", error.what()}});
  giveBackRest(piece, sink, static_cast<int>(tries), now + kUntilOthersClose);
}

void Workers::tryAgain(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TransientError& error) {
  const auto now = run_.at.clock.steadyNow();
  if (error.cause().throttled) connections_.throttled(now, underWay_);
  const int tries = (isProgress(piece->asked(), sink.keptBytes()) ? 0 : piece->failedTries()) + 1;
  const std::uint64_t failures = connections_.countFailure();
  const std::uint64_t allowance = kRunRetriesPerTry * std::max(1, run_.at.settings.retry.furtherTries);
  auto wait = core::waitBeforeNextTry(run_.at.settings.retry, tries, error.cause().retryAfter, run_.at.random);
  if (retries_ >= allowance + run_.items + piecesCompleted_) wait.reset();
  if (!wait) {
    // When nothing came from anywhere for so long, other files would fare no better.
    if (failures >= allowance) run_.gaveUp = true;
    return run_.failFile(*piece->file(), afterTries(error, tries));
  }
  ++retries_;
  ++run_.progress.retries;
  if (run_.at.log.wants(core::LogLevel::info)) {
    run_.at.log.write(core::LogLevel::info, "retry",
                      {{"file", core::printable(piece->file()->item.remote.name)},
                       {"range", describe(piece->asked())},
                       {"wait_ms", wait->count()},
                       {"reason", error.what()}});
  }
  if (wouldMix(*piece->file())) return run_.beginAgain(piece->file(), error, now + *wait);
  if (piece->file()->part.written().empty() && piece->file()->active.empty()) piece->file()->versions.forget();
  giveBackRest(piece, sink, tries, now + *wait);
}

void Workers::giveBackRest(const std::shared_ptr<Piece>& piece, const PieceSink& sink, int failedTries,
                           core::SteadyTime notBefore) {
  const Purpose purpose = piece->purpose();
  for (const ByteRange& range : sink.leftOut()) {
    run_.schedule.giveBack(*piece->file(), {range, failedTries, notBefore, purpose});
  }
  run_.schedule.giveBack(*piece->file(), {piece->rest(), failedTries, notBefore, purpose});
  connections_.wakeForWork();
}

/// Of a file of which nothing is on its way: what is to be fetched next.
void Workers::goOn(const File& file) {
  if (file->failure || !file->active.empty() || !file->gaps.empty() || run_.ending()) return;
  if (!file->later.empty()) {
    run_.schedule.open(file, std::exchange(file->later, {}));
    return connections_.wakeForWork();
  }
  if (run_.at.settings.tailBytes == 0 || file->versions.agree() || file->checked) return;
  if (!file->tailFirst) return run_.beginAgain(file, unprovable(file->item.remote), {});
  file->checked = true;
  file->seams.push_back(tailOf(file->item.remote.lengthBytes, run_.at.settings.tailBytes));
  for (const ByteRange& range : std::exchange(file->seams, {})) {
    run_.schedule.giveBack(*file, {.range = range, .purpose = Purpose::check});
  }
  connections_.wakeForWork();
}

/// Whether more of the file, in another answer, could be of another version without anybody noticing.
bool Workers::wouldMix(const FileTask& file) const {
  return run_.at.settings.tailBytes > 0 && !file.tailFirst && !file.ignoresRanges && !file.versions.isKnown() &&
         !file.part.written().empty();
}

}  // namespace caiexport::transfer
