/// What is done to files behind the connections: hashing, syncing, renaming, by threads of their own and by workers
/// with nothing else to do.
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "run.h"

namespace caiexport::transfer {
namespace {

// They mostly wait for the disk, which serves several at about the cost of one.
constexpr unsigned kMostKeepers = 8;
constexpr std::uint64_t kQuickBytes = 1U << 20U;
constexpr std::size_t kQuickChoresPerKeeper = 4;
// Renamed files that wait for the sync of their folder.
constexpr std::size_t kMostRenamed = 32;

std::uint64_t sizeOf(const std::vector<model::ByteRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const model::ByteRange& range : ranges) bytes += range.sizeBytes();
  return bytes;
}

}  // namespace

void DownloadRun::keep() {
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

DownloadRun::Chore DownloadRun::takeChore() {
  if (chores_.empty()) return {};
  Chore chore = std::move(chores_.front());
  chores_.pop_front();
  if (chore.kind == Chore::Kind::attend) {
    chore.file->choreQueued = false;
    chore.file->choreRunning = true;
  }
  return chore;
}

void DownloadRun::doChore(const Chore& chore) {
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
void DownloadRun::attend(const File& file) {
  bool complete = false;
  bool failed = false;
  bool publishes = false;
  {
    const std::lock_guard lock(mutex_);
    // What its last answer lacks may have gone nowhere.
    if (problem_) return;
    const bool ended = hasEnded(*file) && file->stage == FileStage::fetching && !file->recordPending;
    failed = ended && file->failure;
    complete = ended && !file->failure;
    publishes = file->stage == FileStage::publishing;
    if (failed) file->stage = FileStage::failed;
    if (complete) file->stage = FileStage::recording;
    if (publishes) file->stage = FileStage::published;
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
void DownloadRun::record(const File& file) {
  PartFile::Synced synced = file->part.sync();
  const std::lock_guard lock(mutex_);
  file->recordPending = false;
  push({.kind = Result::Kind::onDisk,
        .file = file,
        .ranges = std::move(synced.ranges),
        .facts = factsOf(*file, synced),
        .newBytes = synced.newBytes});
  if (hasEnded(*file)) requestChore(file);
}

void DownloadRun::finish(const File& file) {
  PartFile& part = file->part;
  if (file->item.remote.lengthBytes == 0) part.createEmpty();
  part.hash(false, inner_.get_token());
  if (!part.adoptedWereIntact()) return giveUpAdopted(file);
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
        .facts = factsOf(*file, synced),
        .whole = true,
        .newBytes = synced.newBytes});
}

void DownloadRun::publish(const File& file) {
  file->part.publish(file->item.replaces, file->sha256, inner_.get_token());
  const std::lock_guard lock(mutex_);
  renamed_.push_back(file);
}

/// Syncing a folder takes a while, and so does recording: files that are renamed meanwhile, or whose turn comes soon,
/// share both. While there are chores, whoever does the last one comes here.
void DownloadRun::announce(Announce when) {
  std::unique_lock lock(mutex_);
  if (renamed_.empty() || announcing_) return;
  if (when == Announce::whenDue && !chores_.empty() && renamed_.size() < kMostRenamed) return;
  announcing_ = true;
  while (!renamed_.empty()) {
    const std::vector<File> files = std::exchange(renamed_, {});
    lock.unlock();
    std::set<std::filesystem::path> folders;
    for (const File& each : files) folders.insert(PartFile::folderOf(each->item.target));
    for (const std::filesystem::path& folder : folders) at_.files.syncDirectory(folder);
    lock.lock();
    for (const File& each : files) {
      push({.kind = Result::Kind::completed,
            .file = each,
            .completion = {.key = each->item.key, .sha256 = each->sha256, .unproven = each->isUnproven()},
            .newBytes = each->syncedBytes});
    }
  }
  announcing_ = false;
}

/// Of a file that can't be had, or starts again: what came stays for the next run, unless it is of another file.
void DownloadRun::giveUp(const File& file) {
  PartFile::Synced synced;
  const bool discards = file->isToBegin || file->isOfAnotherFile();
  if (discards) {
    synced.newBytes = file->part.unsyncedBytes();
    file->part.discard();
  } else {
    synced = file->part.sync();
    file->part.close();
  }
  const std::lock_guard lock(mutex_);
  if (synced.newBytes > 0 && !discards) {
    push({.kind = Result::Kind::onDisk,
          .file = file,
          .ranges = std::move(synced.ranges),
          .facts = factsOf(*file, synced)});
  }
  if (!file->isToBegin) return push({.kind = Result::Kind::failed, .file = file, .newBytes = synced.newBytes});
  const std::uint64_t keptBytes = sizeOf(file->item.done);
  progress_.bytes -= sizeOf(file->part.written()) - keptBytes;
  progress_.bytesKept -= keptBytes;
  push({.kind = Result::Kind::restarted,
        .file = file,
        .why = file->isOfAnotherFile() ? file->failure->what() : "",
        .newBytes = synced.newBytes});
}

/// Somebody else wrote to the file between two runs.
void DownloadRun::giveUpAdopted(const File& file) {
  {
    const std::lock_guard lock(mutex_);
    file->stage = FileStage::failed;
    beginAgain(
        file,
        core::Error(core::Category::verification, "cannot continue " + core::printable(file->part.path().string()) +
                                                      ": it no longer holds what an earlier run wrote there"),
        {});
  }
  giveUp(file);
}

/// With the lock held.
model::PartFacts DownloadRun::factsOf(const FileTask& file, const PartFile::Synced& synced) {
  return {.sum = synced.sum,
          .version = file.versions.known(),
          .tailFirst = file.tailFirst,
          .severalRuns = file.severalRuns};
}

/// Nothing of it is wanted, or on its way, any more.
bool DownloadRun::hasEnded(const FileTask& file) {
  return file.active.empty() && (file.failure || (file.gaps.empty() && file.later.empty()));
}

void DownloadRun::requestChore(const File& file) {
  if (file->choreQueued) return;
  if (file->choreRunning) {
    file->choreAgain = true;
    return;
  }
  file->choreQueued = true;
  queueChore({.kind = Chore::Kind::attend, .file = file});
}

void DownloadRun::requestRecord(const File& file) {
  if (!file->recorded || file->recordPending || file->stage != FileStage::fetching || hasEnded(*file)) return;
  file->recordPending = true;
  queueChore({.kind = Chore::Kind::record, .file = file});
}

void DownloadRun::queueChore(Chore chore) {
  const bool quick = chore.kind == Chore::Kind::attend && chore.file->item.remote.lengthBytes <= kQuickBytes;
  chores_.push_back(std::move(chore));
  // Waking a thread costs more than a small file does: one that is at work takes it next.
  const std::size_t busyKeepers = keepers_.size() - idleKeepers_;
  if (quick && chores_.size() <= kQuickChoresPerKeeper * busyKeepers) return;
  if (idleKeepers_ > 0) {
    choreWanted_.notify_one();
  } else if (keepers_.size() < kMostKeepers && !ending() && !finished_) {
    startThread(keepers_, [this] { keep(); });
  } else if (idleWorkers_ > 0) {
    workWanted_.notify_one();
  }
}

}  // namespace caiexport::transfer
