#include "run.h"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/model/plan.h"
#include "piece_sink.h"

namespace caiexport::transfer {
namespace {

namespace fs = std::filesystem;

using core::Category;
using model::ByteRange;

// They mostly wait for the disk, which serves several at about the cost of one.
constexpr unsigned kMostKeepers = 8;
// Less behind the writers is left until more is there.
constexpr std::uint64_t kWorthHashingBytes = 1U << 20U;
constexpr std::chrono::milliseconds kLookEvery{20};
constexpr std::uint64_t kRunRetriesPerTry = 10;
constexpr std::size_t kLeastLookAhead = 16;

fs::path folderOf(const fs::path& target) {
  const fs::path folder = target.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

ConcurrencyController::Limits limitsOf(const DownloadSettings& settings) {
  if (settings.connections) return {.start = *settings.connections, .most = *settings.connections, .adapts = false};
  return {.start = settings.connectionsStart, .most = settings.connectionsMax, .adapts = true};
}

std::string describe(ByteRange range) {
  return std::to_string(range.first) + "-" + std::to_string(range.end);
}

/// Failures that every other file would meet as well.
bool concernsAllFiles(Category category) {
  switch (category) {
    case Category::usage:
    case Category::config:
    case Category::auth:
    case Category::permission:
    case Category::interrupted:
    case Category::internal:
      return true;
    case Category::notFound:
    case Category::remoteFailed:
    case Category::timedOut:
    case Category::unavailable:
    case Category::protocol:
    case Category::verification:
    case Category::io:
    case Category::busy:
    case Category::blocked:
      return false;
  }
  return true;
}

/// What came is worth nothing then.
bool isOfAnotherFile(const core::Error& error) {
  return error.category() == Category::verification;
}

/// Where the system gives no more threads, those there are do the work.
template <class Body>
void startThread(std::vector<std::jthread>& threads, Body body) {
  try {
    threads.emplace_back(std::move(body));
  } catch (const std::system_error& error) {
    if (!threads.empty()) return;
    throw core::Error(Category::io, std::string("cannot start a thread for the download: ") + error.what(),
                      {.hint = "raise the limit on processes and threads (ulimit -u)"});
  }
}

core::Error afterTries(const core::Error& error, int tries) {
  if (tries <= 1) return error;
  return {error.category(),
          std::string(error.what()) + " (given up after " + std::to_string(tries) + " tries)",
          {.requestId = error.requestId(), .hint = error.hint()}};
}

}  // namespace

/// One fetch of a worker, seen from its sink.
class Run::Attempt final : public Arrivals {
 public:
  Attempt(Run& run, Worker& worker, Piece& piece)
      : run_(run), worker_(worker), piece_(piece), begun_(run.at_.clock.steadyNow()) {}

  void onFirstByte() override {
    firstByte_ = run_.at_.clock.steadyNow();
    run_.noteFirstByte(worker_, *firstByte_ - begun_);
  }

  void onBytes(std::uint64_t received, std::uint64_t kept) override {
    received_ += received;
    run_.noteBytes(piece_.file(), received, kept);
  }

  void measure(Schedule& schedule) const {
    if (!firstByte_) return;
    schedule.measured(received_, *firstByte_ - begun_, run_.at_.clock.steadyNow() - *firstByte_);
  }

 private:
  Run& run_;
  Worker& worker_;
  Piece& piece_;
  core::SteadyTime begun_;
  std::optional<core::SteadyTime> firstByte_;
  std::uint64_t received_ = 0;
};

Run::Run(const Surroundings& surroundings, Observer& observer, DownloadProgress& progress)
    : at_(surroundings),
      observer_(observer),
      progress_(progress),
      rateLimit_(surroundings.clock, surroundings.settings.mostBytesPerSecond),
      schedule_({.rangeBytes = std::max<std::uint64_t>(1, surroundings.settings.rangeBytes),
                 .longestResponse = surroundings.settings.longestResponse}),
      controller_(limitsOf(surroundings.settings)) {}

Run::~Run() {
  end();
  joinAll();
}

DownloadSummary Run::toTheEnd(const Downloader::NextItem& next, const std::stop_token& stop) {
  {
    const std::stop_callback onStop(stop, [this] { end(); });
    try {
      serve(next);
    } catch (...) {
      endWith(std::current_exception());
    }
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
      wakeAll();
    }
    joinAll();
  }
  if (ending()) {
    saveWhatArrived();
    rethrowProblem(stop);
  }
  summary_.bytes = keptBytes_;
  summary_.gaveUp = gaveUp_ && !(exhausted_ && schedule_.empty());
  return std::move(summary_);
}

// The thread that called run.

void Run::serve(const Downloader::NextItem& next) {
  while (true) {
    std::vector<Result> results;
    bool wants = false;
    {
      std::unique_lock lock(mutex_);
      served_.wait(lock, [this] { return ending() || !results_.empty() || wantsItem() || isDone(); });
      if (ending() || isDone()) return;
      results.swap(results_);
      wants = wantsItem();
    }
    deliver(std::move(results));
    if (wants) takeItems(next);
  }
}

void Run::takeItems(const Downloader::NextItem& next) {
  bool more = true;
  while (more) {
    std::optional<DownloadItem> item = next();
    const std::lock_guard lock(mutex_);
    if (!item) {
      exhausted_ = true;
      schedule_.setExhausted();
      return;
    }
    ++items_;
    schedule_.add(std::make_shared<FileTask>(at_.files, std::move(*item)));
    wakeForWork();
    more = !ending() && schedule_.freshCount() < 2 * lookAhead();
  }
}

bool Run::isDone() const {
  if (!results_.empty()) return false;
  return (exhausted_ && schedule_.empty()) || (gaveUp_ && schedule_.begun().empty());
}

bool Run::wantsItem() const {
  return !exhausted_ && !gaveUp_ && schedule_.freshCount() < lookAhead();
}

std::size_t Run::lookAhead() const {
  return std::max<std::size_t>(kLeastLookAhead, controller_.limit());
}

void Run::deliver(std::vector<Result> results) {
  if (results.empty()) return;
  std::vector<Completion> completions;
  try {
    for (const Result& result : results) {
      if (result.kind == Result::Kind::completed) {
        completions.push_back(result.completion);
      } else {
        deliverOne(result);
      }
    }
    if (!completions.empty()) observer_.completed(completions);
  } catch (...) {
    observerThrew_ = true;
    throw;
  }
  summary_.completed += completions.size();
  progress_.filesCompleted += completions.size();
  afterDelivery(results);
}

void Run::deliverOne(const Result& result) {
  const std::int64_t key = result.file->item.key;
  switch (result.kind) {
    case Result::Kind::restarted:
      observer_.restarted(key);
      break;
    case Result::Kind::onDisk:
      observer_.rangesOnDisk(key, result.ranges);
      break;
    case Result::Kind::failed:
      observer_.failed(key, *result.file->failure);
      ++summary_.failed;
      ++progress_.filesFailed;
      if (!summary_.firstError) summary_.firstError = *result.file->failure;
      break;
    case Result::Kind::completed:
      break;
  }
}

void Run::afterDelivery(const std::vector<Result>& results) {
  const std::lock_guard lock(mutex_);
  for (const Result& result : results) {
    const File& file = result.file;
    switch (result.kind) {
      case Result::Kind::restarted:
        file->item.done.clear();
        schedule_.addFirst(file);
        break;
      case Result::Kind::onDisk:
        if (!result.whole) break;
        file->stage = FileStage::publishing;
        requestChore(file);
        break;
      case Result::Kind::completed:
      case Result::Kind::failed:
        schedule_.retire(file);
        break;
    }
    schedule_.recorded(result.newBytes);
    // A file more may be begun, or a range more be fetched.
    wakeForWork();
  }
}

void Run::joinAll() {
  std::vector<std::jthread> threads;
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    threads.swap(workers_);
    std::move(keepers_.begin(), keepers_.end(), std::back_inserter(threads));
    keepers_.clear();
    wakeAll();
  }
  threads.clear();
}

/// After an early end, when no other thread is left. A failure that is not ours to handle (a crash in a test, no
/// memory) and one of the observer leave everything as it is.
void Run::saveWhatArrived() {
  if (observerThrew_) return;
  try {
    if (problem_) std::rethrow_exception(problem_);
  } catch (const core::Error&) {
  } catch (...) {
    return;
  }
  try {
    std::vector<Result> results;
    results.swap(results_);
    deliver(std::move(results));
    for (const File& file : schedule_.begun()) saveWhatArrived(*file);
  } catch (...) {
    if (!problem_) problem_ = std::current_exception();
  }
}

void Run::saveWhatArrived(FileTask& file) {
  if (file.failure && isOfAnotherFile(*file.failure)) return;
  if (file.part.unsyncedBytes() == 0) return;
  std::vector<ByteRange> ranges;
  try {
    ranges = file.part.sync().ranges;
  } catch (const core::Error&) {
    // The other files may lie on another disk.
    if (!problem_) problem_ = std::current_exception();
    return;
  }
  observer_.rangesOnDisk(file.item.key, ranges);
}

void Run::rethrowProblem(const std::stop_token& stop) {
  if (problem_) std::rethrow_exception(problem_);
  if (stop.stop_requested() && !(exhausted_ && schedule_.empty())) throw core::Interrupted();
}

// Workers.

void Run::work(Worker worker) {
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

Run::Assignment Run::nextAssignment(Worker& worker) {
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
std::shared_ptr<Piece> Run::nextPiece(const Worker& worker, core::SteadyTime now, File& toPrepare) {
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
bool Run::keepsUpRecord() {
  const std::uint64_t underWay =
      std::uint64_t{controller_.limit()} * (schedule_.rangeBytes() + schedule_.rangeBytes() / 2);
  const std::uint64_t due = at_.settings.recordEveryBytes + underWay;
  const std::uint64_t bytes = schedule_.unrecordedBytes();
  if (bytes < due) return true;
  const bool late = bytes >= 2 * due;
  for (const File& file : schedule_.begun()) {
    if (file->stage != FileStage::fetching || hasEnded(*file)) continue;
    const std::uint64_t unsynced = file->part.unsyncedBytes();
    if (late && unsynced > 0) file->recorded = true;
    if (late || unsynced >= at_.settings.rangeBytes) requestRecord(file);
  }
  return !late;
}

/// Bounds the open files, and what a crash would lose of files that are finished but not recorded yet: two a
/// connection, more if they are small. A server that no longer answers gets no more of them.
bool Run::mayBegin() const {
  if (!schedule_.hasFresh() || gaveUp_) return false;
  const std::size_t connections = controller_.limit();
  const std::size_t begun = schedule_.begun().size();
  if (begun < 2 * connections) return true;
  return begun < 4 * connections && schedule_.begunBytes() < connections * (at_.settings.rangeBytes / 4);
}

void Run::waitForWork(std::unique_lock<std::mutex>& lock) {
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

/// Looks at what is on disk and decides what is to be done for the file.
void Run::prepare(const File& file) {
  if (keepsExisting(file)) return;
  DownloadItem& item = file->item;
  const std::uint64_t length = item.remote.lengthBytes;
  item.done = model::normalized(std::move(item.done), length);
  const std::vector<ByteRange> missing = model::missing(item.done, length);
  if (!item.done.empty()) {
    const auto size = at_.files.sizeOf(PartFile::pathFor(item.target));
    if (!size && missing.empty() && finishRenamed(file)) return;
    if (!size || *size < item.done.back().end) {
      // The record must be gone before the file is there again: it would vouch for bytes that never came.
      const std::lock_guard lock(mutex_);
      push({.kind = Result::Kind::restarted, .file = file});
      return;
    }
  }
  makeFolder(folderOf(item.target));
  if (item.done.empty() && length > 0) {
    const std::lock_guard lock(mutex_);
    if (length > schedule_.rangeBytes()) file->part.preallocate();
    schedule_.open(file, missing);
    return;
  }
  file->part.adopt(item.done);
  file->part.preallocate();
  const std::lock_guard lock(mutex_);
  file->recorded = !item.done.empty();
  schedule_.open(file, missing);
  requestChore(file);
}

bool Run::keepsExisting(const File& file) {
  const DownloadItem& item = file->item;
  if (item.existingSha256.empty() || at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  if (sha256OfFile(item.target, inner_.get_token()) != item.existingSha256) return false;
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed,
        .file = file,
        .completion = {.key = item.key, .sha256 = item.existingSha256, .transferred = false}});
  return true;
}

/// All bytes were recorded and the file has its final name already: the last run ended between renaming and recording.
bool Run::finishRenamed(const File& file) {
  const DownloadItem& item = file->item;
  if (at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  Completion completion{.key = item.key, .sha256 = sha256OfFile(item.target, inner_.get_token())};
  at_.files.syncDirectory(folderOf(item.target));
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed, .file = file, .completion = std::move(completion)});
  return true;
}

void Run::makeFolder(const fs::path& folder) {
  const std::lock_guard lock(folderMutex_);
  if (folders_.contains(folder)) return;
  at_.files.createDirectories(folder);
  // A bound for memory only.
  if (folders_.size() > 1000) folders_.clear();
  folders_.insert(folder);
}

void Run::fetch(Worker& worker, const std::shared_ptr<Piece>& piece) {
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
  schedule_.ended(piece, missingBytes);
  // A failure of the disk, or a listed length that is wrong, counts more than what the source made of it.
  settle(piece, sink, sink.failure() ? sink.failure() : problem);
  observeThroughput(at_.clock.steadyNow());
}

/// With the lock held, like all that follows up to the chores.
void Run::settle(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem) {
  const File& file = piece->file();
  if (sink.wholeFileComes()) file->ignoresRanges = true;
  if (sink.keptBytes() > 0 && gaveUp_) {
    gaveUp_ = false;
    served_.notify_one();
  }
  if (piece->rest().sizeBytes() == 0 && sink.leftOut().empty() && !sink.failure()) {
    // All is here: what happened afterwards does not matter.
    ++piecesCompleted_;
  } else {
    judge(piece, sink, problem);
  }
  if (hasEnded(*file) || file->part.bytesBehind() >= kWorthHashingBytes) requestChore(file);
}

void Run::judge(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const std::exception_ptr& problem) {
  FileTask& file = *piece->file();
  if (file.failure) return;
  try {
    if (problem) std::rethrow_exception(problem);
    if (sink.keptBytes() == 0) {
      throw core::TransientError("cannot download " + core::printable(file.item.remote.name) +
                                     ": the answer holds none of the bytes " + describe(piece->asked()),
                                 {});
    }
    giveBackRest(piece, sink, 0, {});
  } catch (const core::TransientError& error) {
    if (!ending()) tryAgain(piece, sink, error);
  } catch (const core::Error& error) {
    const bool ofDisk = sink.failure() && error.category() != Category::verification;
    if (ofDisk || concernsAllFiles(error.category())) throw;
    if (!ending()) failFile(file, error);
  }
}

void Run::tryAgain(const std::shared_ptr<Piece>& piece, const PieceSink& sink, const core::TransientError& error) {
  const auto now = at_.clock.steadyNow();
  if (error.cause().throttled && controller_.throttled(now)) limitChanged("throttled");
  const int tries = (sink.keptBytes() > 0 ? 0 : piece->failedTries()) + 1;
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
                   {"waitMs", std::to_string(wait->count())},
                   {"reason", error.what()}});
  }
  giveBackRest(piece, sink, tries, now + *wait);
}

void Run::failFile(FileTask& file, const core::Error& error) {
  file.failure = error;
  schedule_.abandon(file);
}

void Run::giveBackRest(const std::shared_ptr<Piece>& piece, const PieceSink& sink, int failedTries,
                       core::SteadyTime notBefore) {
  for (const ByteRange& range : sink.leftOut()) schedule_.giveBack(*piece->file(), {range, failedTries, notBefore});
  schedule_.giveBack(*piece->file(), {piece->rest(), failedTries, notBefore});
  wakeForWork();
}

// Chores.

void Run::keep() {
  try {
    while (true) {
      Chore chore;
      {
        std::unique_lock lock(mutex_);
        ++idleKeepers_;
        choreWanted_.wait(lock, [this] { return ending() || finished_ || !chores_.empty(); });
        --idleKeepers_;
        if (ending() || finished_) return;
        chore = takeChore();
      }
      doChore(chore);
    }
  } catch (...) {
    endWith(std::current_exception());
  }
}

Run::Chore Run::takeChore() {
  if (chores_.empty()) return {};
  Chore chore = std::move(chores_.front());
  chores_.pop_front();
  if (chore.kind == Chore::Kind::attend) {
    chore.file->choreQueued = false;
    chore.file->choreRunning = true;
  }
  return chore;
}

void Run::doChore(const Chore& chore) {
  switch (chore.kind) {
    case Chore::Kind::attend:
      attend(chore.file);
      break;
    case Chore::Kind::record:
      record(chore.file);
      break;
  }
}

/// Whatever is due for the file by its state.
void Run::attend(const File& file) {
  bool complete = false;
  bool failed = false;
  bool publishes = false;
  {
    const std::lock_guard lock(mutex_);
    const bool ended = hasEnded(*file) && file->stage == FileStage::fetching && !file->recordPending;
    failed = ended && file->failure;
    complete = ended && !file->failure;
    publishes = file->stage == FileStage::publishing;
    if (failed) file->stage = FileStage::failed;
    if (complete) file->stage = FileStage::recording;
  }
  if (ending()) return;
  if (failed) {
    giveUp(file);
  } else if (complete) {
    finish(file);
  } else if (publishes) {
    publish(file);
  } else {
    file->part.hash(true, inner_.get_token());
  }
  const std::lock_guard lock(mutex_);
  file->choreRunning = false;
  if (std::exchange(file->choreAgain, false)) requestChore(file);
}

/// Of a large file that is still arriving: syncs what is there, for the observer to record.
void Run::record(const File& file) {
  PartFile::Synced synced = file->part.sync();
  const std::lock_guard lock(mutex_);
  file->recordPending = false;
  push({.kind = Result::Kind::onDisk, .file = file, .ranges = std::move(synced.ranges), .newBytes = synced.newBytes});
  if (hasEnded(*file)) requestChore(file);
}

void Run::finish(const File& file) {
  PartFile& part = file->part;
  if (file->item.remote.lengthBytes == 0) part.createEmpty();
  part.hash(false, inner_.get_token());
  file->sha256 = part.sha256();
  PartFile::Synced synced = part.sync();
  part.close();
  if (!file->recorded) {
    file->syncedBytes = synced.newBytes;
    return publish(file);
  }
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::onDisk,
        .file = file,
        .ranges = std::move(synced.ranges),
        .whole = true,
        .newBytes = synced.newBytes});
}

/// Syncing the folder takes a while; the files that are renamed meanwhile share the next sync.
void Run::publish(const File& file) {
  file->part.publish();
  std::unique_lock lock(mutex_);
  renamed_.push_back(file);
  if (announcing_) return;
  announcing_ = true;
  while (!renamed_.empty()) {
    const std::vector<File> files = std::exchange(renamed_, {});
    lock.unlock();
    std::set<fs::path> folders;
    for (const File& each : files) folders.insert(folderOf(each->item.target));
    for (const fs::path& folder : folders) at_.files.syncDirectory(folder);
    lock.lock();
    for (const File& each : files) {
      push({.kind = Result::Kind::completed,
            .file = each,
            .completion = {.key = each->item.key, .sha256 = each->sha256},
            .newBytes = each->syncedBytes});
    }
  }
  announcing_ = false;
}

/// Of a file that can't be had: what came stays for the next run, unless it is of another file.
void Run::giveUp(const File& file) {
  PartFile::Synced synced;
  if (isOfAnotherFile(*file->failure)) {
    synced.newBytes = file->part.unsyncedBytes();
    file->part.discard();
  } else {
    synced = file->part.sync();
    file->part.close();
  }
  const std::lock_guard lock(mutex_);
  if (synced.newBytes > 0 && !synced.ranges.empty()) {
    push({.kind = Result::Kind::onDisk, .file = file, .ranges = std::move(synced.ranges)});
  }
  push({.kind = Result::Kind::failed, .file = file, .newBytes = synced.newBytes});
}

// With the lock held.

/// Nothing of it is wanted, or on its way, any more.
bool Run::hasEnded(const FileTask& file) {
  return file.active.empty() && (file.failure || file.gaps.empty());
}

void Run::requestChore(const File& file) {
  if (file->choreQueued) return;
  if (file->choreRunning) {
    file->choreAgain = true;
    return;
  }
  file->choreQueued = true;
  queueChore({.kind = Chore::Kind::attend, .file = file});
}

void Run::requestRecord(const File& file) {
  if (!file->recorded || file->recordPending || file->stage != FileStage::fetching || hasEnded(*file)) return;
  file->recordPending = true;
  queueChore({.kind = Chore::Kind::record, .file = file});
}

void Run::queueChore(Chore chore) {
  chores_.push_back(std::move(chore));
  if (idleKeepers_ > 0) {
    choreWanted_.notify_one();
  } else if (keepers_.size() < kMostKeepers && !ending() && !finished_) {
    startThread(keepers_, [this] { keep(); });
  } else if (idleWorkers_ > 0) {
    workWanted_.notify_one();
  }
}

/// One worker more, if there is one: it wakes the next when it finds more than it takes.
void Run::wakeForWork() {
  if (sleeping_) wake_.request_stop();
  if (idleWorkers_ > 0) {
    workWanted_.notify_one();
  } else if (!sleeping_ && workers_.size() < controller_.limit() && !ending() && !finished_) {
    const auto index = static_cast<unsigned>(workers_.size());
    startThread(workers_, [this, index] { work({.index = index}); });
  }
}

void Run::wakeAll() {
  if (sleeping_) wake_.request_stop();
  workWanted_.notify_all();
  limitRaised_.notify_all();
  choreWanted_.notify_all();
  served_.notify_all();
}

void Run::push(Result result) {
  results_.push_back(std::move(result));
  served_.notify_one();
}

void Run::observeThroughput(core::SteadyTime now) {
  nextLook_ = (now + kLookEvery).time_since_epoch().count();
  const ThroughputSample sample{.at = now,
                                .bytes = keptBytes_,
                                .responses = responses_,
                                .waited = waited_,
                                .delivering = delivering_,
                                .starved = starved_};
  starved_ = idleWorkers_ > 0 || sleeping_;
  if (controller_.observe(sample)) limitChanged("throughput");
}

void Run::limitChanged(std::string_view reason) {
  ++epoch_;
  delivering_ = 0;
  if (at_.log.wants(core::LogLevel::debug)) {
    at_.log.write(core::LogLevel::debug, "connections",
                  {{"limit", std::to_string(controller_.limit())}, {"reason", std::string(reason)}});
  }
  limitRaised_.notify_all();
  wakeForWork();
}

// From the sinks, without the lock.

void Run::noteFirstByte(Worker& worker, std::chrono::nanoseconds waited) {
  const std::lock_guard lock(mutex_);
  waited_ += waited;
  if (worker.epoch == epoch_) return;
  worker.epoch = epoch_;
  ++delivering_;
}

void Run::noteBytes(const File& file, std::uint64_t received, std::uint64_t kept) {
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
  if (!rateLimit_.pay(received, inner_.get_token())) throw core::Interrupted();
}

void Run::end() {
  inner_.request_stop();
  // A thread that is about to wait has the lock, or sees the stop.
  const std::lock_guard lock(mutex_);
  wakeAll();
}

void Run::endWith(std::exception_ptr problem) {
  {
    const std::lock_guard lock(mutex_);
    if (!problem_) problem_ = std::move(problem);
  }
  end();
}

}  // namespace caiexport::transfer
