#include "keeper.h"

#include <algorithm>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "part_file.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;

// They mostly wait for the disk, which serves several at about the cost of one.
constexpr unsigned kMostKeepers = 8;
constexpr std::uint64_t kQuickBytes = 1U << 20U;
constexpr std::size_t kQuickChoresPerKeeper = 4;
// Renamed files that wait for the sync of their folder, while more are on their way: they share it, and the record.
constexpr std::size_t kMostRenamed = 16;
// A sync that takes longer is worth a thread of its own.
constexpr std::chrono::microseconds kQuickSync{500};

bool isQuick(const FileTask& file) {
  return file.item.remote.lengthBytes <= kQuickBytes;
}

std::uint64_t sizeOf(const std::vector<ByteRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const ByteRange& range : ranges) bytes += range.sizeBytes();
  return bytes;
}

/// The end of what is here in front of each missing range: a file that was rewritten mostly shows by it.
std::vector<ByteRange> seamsBefore(const std::vector<ByteRange>& missing, const std::vector<ByteRange>& done,
                                   std::uint64_t mostBytes) {
  std::vector<ByteRange> seams;
  for (const ByteRange& gap : missing) {
    const auto before = std::ranges::find(done, gap.first, &ByteRange::end);
    if (before == done.end()) continue;
    seams.push_back({gap.first - std::min(mostBytes, before->sizeBytes()), gap.first});
  }
  return seams;
}

Result onDisk(const Schedule::File& file, PartFile::Synced synced) {
  Result result{.kind = Result::Kind::onDisk, .file = file};
  result.facts = file->factsOf(synced);
  result.newBytes = synced.newBytes;
  result.ranges = std::move(synced.ranges);
  return result;
}

}  // namespace

// --- how a file is begun

/// Looks at what is on disk and decides what is to be done for the file.
void FileKeeper::begin(const File& file) {
  if (keepsExisting(file)) return;
  DownloadItem& item = file->item;
  const std::uint64_t length = item.remote.lengthBytes;
  item.done = model::normalized(std::move(item.done), length);
  if (item.done.empty()) return item.pieces.empty() ? beginFresh(file) : beginFromPieces(file);
  const std::vector<ByteRange> missing = model::missing(item.done, length);
  const bool isThere = run_.at.files.sizeOf(file->part.path()).has_value();
  if (!isThere && missing.empty() && finishRenamed(file)) return;
  if (std::string why = whyUseless(*file, missing.empty()); !why.empty()) {
    // The record must be gone before the file is there again: it would vouch for bytes that never came.
    const std::lock_guard lock(run_.mutex);
    run_.tell({.kind = Result::Kind::restarted, .file = file, .why = std::move(why)});
    return;
  }
  resume(file, missing);
}

void FileKeeper::beginFresh(const File& file) {
  const std::uint64_t length = file->item.remote.lengthBytes;
  makeFolder(file->folder);
  const std::lock_guard lock(run_.mutex);
  if (length == 0) {
    file->part.preallocate();
    return request(file);
  }
  const std::uint64_t rangeBytes = run_.schedule.rangeBytes();
  if (length > rangeBytes) file->part.preallocate();
  const bool large = length > std::min(run_.at.settings.rangeBytes, rangeBytes + rangeBytes / 2);
  file->tailFirst = file->tailFirst || (large && !run_.namesVersions && !file->ignoresRanges);
  if (run_.at.settings.tailBytes == 0 || length == 1) file->tailFirst = false;
  if (!file->tailFirst) return run_.schedule.open(file, ByteRange{0, length});
  const ByteRange tail = tailOf(length, run_.at.settings.tailBytes);
  file->later = {{0, tail.first}};
  run_.schedule.open(file, tail, Purpose::tail);
}

/// The record is asked before it gets its final name: this may take a while, and somebody else may do it by then.
void FileKeeper::beginFromPieces(const File& file) {
  const DownloadItem& item = file->item;
  makeFolder(file->folder);
  file->part.preallocate();
  std::optional<core::Error> failure;
  try {
    putTogether(file->part, file->versions, item, run_.at.files, run_.stop());
  } catch (const core::Error& error) {
    if (error.category() != core::Category::verification) throw;
    failure = error;
  }
  // What did not come over a connection is not counted among what is on its way to the record.
  file->part.sync();
  const std::lock_guard lock(run_.mutex);
  file->severalRuns = item.part.severalRuns;
  file->recorded = true;
  if (failure) run_.failFile(*file, *failure);
  request(file);
}

void FileKeeper::resume(const File& file, const std::vector<ByteRange>& missing) {
  const DownloadItem& item = file->item;
  makeFolder(file->folder);
  file->part.adopt(item.done, item.part.sum);
  file->versions.resume(item.part.version);
  for (const ByteRange& range : item.done) run_.progress.bytesKept += range.sizeBytes();
  file->part.preallocate();
  const std::lock_guard lock(run_.mutex);
  file->tailFirst = item.part.tailFirst;
  file->severalRuns = item.part.severalRuns || !missing.empty();
  file->seams = seamsBefore(missing, item.done, run_.at.settings.tailBytes);
  file->recorded = true;
  run_.schedule.open(file, missing);
  request(file);
}

/// Why what an earlier run left of the file can't be used; nothing if it can.
std::string FileKeeper::whyUseless(const FileTask& file, bool allIsThere) const {
  const DownloadItem& item = file.item;
  const std::string name = core::printable(file.part.path().string());
  const auto size = run_.at.files.sizeOf(file.part.path());
  if (!size) return "'" + name + "' is gone";
  if (*size < item.done.back().end) return "'" + name + "' is shorter than it was";
  const auto identity = run_.at.files.identityOf(file.part.path());
  if (identity && identity->links > 1) return "'" + name + "' has other names as well (hard links)";
  if (run_.at.settings.tailBytes == 0 || allIsThere || item.part.tailFirst || !item.part.version.empty()) return {};
  return "nothing shows whether the file is still what it was when '" + name + "' was begun";
}

bool FileKeeper::keepsExisting(const File& file) {
  const DownloadItem& item = file->item;
  if (item.existingSha256.empty() || run_.at.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  if (sha256OfFile(item.target, run_.stop()) != item.existingSha256) {
    if (item.replaces) return false;
    throw core::Error(core::Category::io,
                      "'" + core::printable(item.target.string()) +
                          "' is there already, is not what its manifest says, and no job of this database made it",
                      {.hint = "move it away, choose another --output, or overwrite it with --force"});
  }
  // Begun by a run that did not find the file there.
  if (!item.done.empty()) file->part.discard();
  run_.progress.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(run_.mutex);
  run_.tell({.kind = Result::Kind::completed,
             .file = file,
             .completion = {.key = item.key, .sha256 = item.existingSha256, .transferred = false}});
  return true;
}

/// All bytes were recorded and the file has its final name already: the last run ended between renaming and recording.
bool FileKeeper::finishRenamed(const File& file) {
  const DownloadItem& item = file->item;
  if (run_.at.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  // Something else may have taken the name since.
  const ReadBack there = readBack(item.target, run_.stop());
  if (there.sum != item.part.sum) return false;
  Completion completion{
      .key = item.key, .sha256 = there.sha256, .unproven = item.part.severalRuns && item.part.version.empty()};
  run_.at.files.syncDirectory(file->folder);
  run_.progress.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(run_.mutex);
  run_.tell({.kind = Result::Kind::completed, .file = file, .completion = std::move(completion)});
  return true;
}

void FileKeeper::makeFolder(std::string_view folder) {
  const std::lock_guard lock(folderMutex_);
  if (folders_.contains(folder)) return;
  run_.at.files.createDirectories(folder);
  // A bound for memory only.
  if (folders_.size() > 1000) folders_.clear();
  folders_.emplace(folder);
}

// --- chores

void FileKeeper::keep() {
  try {
    while (true) {
      Chore chore;
      {
        std::unique_lock lock(run_.mutex);
        ++idle_;
        run_.choreWanted.wait(lock, [this] { return run_.isOver() || !chores_.empty(); });
        --idle_;
        if (run_.isOver()) return;
        chore = takeChore();
      }
      doChore(chore);
    }
  } catch (...) {
    run_.endWith(std::current_exception());
  }
}

Chore FileKeeper::takeChore() {
  if (chores_.empty()) return {};
  Chore chore = std::move(chores_.front());
  chores_.pop_front();
  if (chore.kind == Chore::Kind::attend) {
    chore.file->choreQueued = false;
    chore.file->choreRunning = true;
  }
  return chore;
}

void FileKeeper::doChore(const Chore& chore) {
  switch (chore.kind) {
    case Chore::Kind::attend:
      attend(chore.file);
      break;
    case Chore::Kind::record:
      record(chore.file);
      break;
  }
  announce(Announce::whenDue);
}

/// Whatever is due for the file by its state.
void FileKeeper::attend(const File& file) {
  bool complete = false;
  bool failed = false;
  bool publishes = false;
  {
    const std::lock_guard lock(run_.mutex);
    // What its last answer lacks may have gone nowhere.
    if (run_.problem) return;
    const bool ended = file->hasEnded() && file->stage == FileStage::fetching && !file->recordPending;
    failed = ended && file->failure;
    complete = ended && !file->failure;
    publishes = file->stage == FileStage::publishing;
    if (failed) file->stage = FileStage::failed;
    if (complete) file->stage = FileStage::recording;
    if (publishes) file->stage = FileStage::published;
  }
  if (run_.ending()) return;
  if (failed) {
    giveUp(file);
  } else if (complete) {
    finish(file);
  } else if (publishes) {
    publish(file);
  } else {
    file->part.hash(true, run_.stop());
  }
  const std::lock_guard lock(run_.mutex);
  file->choreRunning = false;
  if (std::exchange(file->choreAgain, false)) request(file);
}

/// Of a large file that is still arriving: syncs what is there, for the observer to record.
void FileKeeper::record(const File& file) {
  PartFile::Synced synced = file->part.sync();
  const std::lock_guard lock(run_.mutex);
  file->recordPending = false;
  run_.tell(onDisk(file, std::move(synced)));
  if (file->hasEnded()) request(file);
}

void FileKeeper::finish(const File& file) {
  PartFile& part = file->part;
  if (file->item.remote.lengthBytes == 0) part.createEmpty();
  part.hash(false, run_.stop());
  if (!part.adoptedWereIntact()) return giveUpAdopted(file);
  file->sha256 = part.sha256();
  const core::SteadyTime began = run_.at.clock.steadyNow();
  PartFile::Synced synced = part.sync();
  syncsQuickly_ = run_.at.clock.steadyNow() - began < kQuickSync;
  part.close();
  if (!file->recorded) {
    file->syncedBytes = synced.newBytes;
    return publish(file);
  }
  const std::lock_guard lock(run_.mutex);
  Result result = onDisk(file, std::move(synced));
  result.whole = true;
  run_.tell(std::move(result));
}

void FileKeeper::publish(const File& file) {
  file->part.publish(file->item.target, file->item.replaces, file->sha256, run_.stop());
  const std::lock_guard lock(run_.mutex);
  renamed_.push_back(file);
  // It comes back in a while for those whose turn does not come by itself.
  if (renamed_.size() == 1) run_.served.notify_one();
}

/// Syncing a folder takes a while, and so does recording: files share both with those that are renamed meanwhile, or
/// soon, unless somebody has nothing else to do.
void FileKeeper::announce(Announce when) {
  std::unique_lock lock(run_.mutex);
  if (renamed_.empty() || announcing_) return;
  const bool isDue = renamed_.size() >= kMostRenamed || run_.idleWorkers > 0;
  if (when == Announce::whenDue && !isDue) return;
  announcing_ = true;
  while (!renamed_.empty()) {
    const std::vector<File> files = std::exchange(renamed_, {});
    lock.unlock();
    std::set<std::string_view> folders;
    for (const File& each : files) folders.insert(each->folder);
    for (const std::string_view folder : folders) run_.at.files.syncDirectory(folder);
    lock.lock();
    for (const File& each : files) {
      run_.tell({.kind = Result::Kind::completed,
                 .file = each,
                 .completion = {.key = each->item.key,
                                .sha256 = std::move(each->sha256),
                                .unproven = each->isUnproven(),
                                .version = each->versions.agree() ? each->versions.known() : model::FileVersion()},
                 .newBytes = each->syncedBytes});
    }
  }
  announcing_ = false;
}

/// Of a file that can't be had, or starts again: what came stays for the next run, unless it is of another file.
void FileKeeper::giveUp(const File& file) {
  PartFile::Synced synced;
  const bool discards = file->isToBegin || file->isOfAnotherFile();
  if (discards) {
    synced.newBytes = file->part.unsyncedBytes();
    file->part.discard();
  } else {
    synced = file->part.sync();
    file->part.close();
  }
  const std::lock_guard lock(run_.mutex);
  const std::uint64_t newBytes = synced.newBytes;
  if (newBytes > 0 && !discards) {
    Result result = onDisk(file, std::move(synced));
    result.newBytes = 0;  // They count with what follows.
    run_.tell(std::move(result));
  }
  if (!file->isToBegin) return run_.tell({.kind = Result::Kind::failed, .file = file, .newBytes = newBytes});
  const std::uint64_t keptBytes = sizeOf(file->item.done);
  run_.progress.bytes -= sizeOf(file->part.written()) - keptBytes;
  run_.progress.bytesKept -= keptBytes;
  run_.tell({.kind = Result::Kind::restarted,
             .file = file,
             .why = file->isOfAnotherFile() ? file->failure->what() : "",
             .newBytes = newBytes});
}

/// Somebody else wrote to the file between two runs.
void FileKeeper::giveUpAdopted(const File& file) {
  {
    const std::lock_guard lock(run_.mutex);
    file->stage = FileStage::failed;
    run_.beginAgain(
        file,
        core::Error(core::Category::verification, "cannot continue " + core::printable(file->part.path().string()) +
                                                      ": it no longer holds what an earlier run wrote there"),
        {});
  }
  giveUp(file);
}

void FileKeeper::request(const File& file) {
  if (file->choreQueued) return;
  if (file->choreRunning) {
    file->choreAgain = true;
    return;
  }
  file->choreQueued = true;
  queue({.kind = Chore::Kind::attend, .file = file});
}

Chore FileKeeper::requestOrTake(const File& file) {
  const bool takes = syncsQuickly_ && isQuick(*file) && !file->choreQueued && !file->choreRunning;
  if (!takes) {
    request(file);
    return {};
  }
  file->choreRunning = true;
  return {.kind = Chore::Kind::attend, .file = file};
}

void FileKeeper::requestRecord(const File& file) {
  if (!file->recorded || file->recordPending || file->stage != FileStage::fetching || file->hasEnded()) return;
  file->recordPending = true;
  queue({.kind = Chore::Kind::record, .file = file});
}

void FileKeeper::queue(Chore chore) {
  const bool quick = chore.kind == Chore::Kind::attend && isQuick(*chore.file);
  chores_.push_back(std::move(chore));
  // Waking a thread costs more than a small file does: one that is at work takes it next.
  const std::size_t busyKeepers = threads_.size() - idle_;
  if (quick && chores_.size() <= kQuickChoresPerKeeper * busyKeepers) return;
  if (idle_ > 0) {
    run_.choreWanted.notify_one();
  } else if (threads_.size() < kMostKeepers && !run_.isOver()) {
    startThread(threads_, [this] { keep(); });
  } else if (run_.idleWorkers > 0) {
    run_.workWanted.notify_one();
  }
}

}  // namespace caiexport::transfer
