#pragma once
/// What is done to files on disk, apart from writing what arrives: they are begun, hashed, synced, given their final
/// names, given up.

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "run_state.h"

namespace caiexport::transfer {

/// Something due for a file.
struct Chore {
  enum class Kind { attend, record };
  Kind kind = Kind::attend;
  Schedule::File file = {};
};

/// Owns the queue of chores, the threads that do them (workers with nothing else to do help), the files that wait for
/// the sync of their folder, and what is known of folders. The run's lock guards all but the latter, which has a lock
/// of its own.
class FileKeeper {
 public:
  explicit FileKeeper(RunState& run) : run_(run) {}
  FileKeeper(const FileKeeper&) = delete;
  FileKeeper& operator=(const FileKeeper&) = delete;

  // With the lock held.

  /// Whatever is due for the file by its state.
  void request(const Schedule::File& file);
  /// The same for a worker that is here anyway: what costs less than to wake another thread is its own to do.
  Chore requestOrTake(const Schedule::File& file);
  /// A sync of a large file that is still arriving, for the observer to record.
  void requestRecord(const Schedule::File& file);
  /// None: there is none.
  Chore takeChore();
  /// Whether renamed files wait for announce().
  bool hasRenamed() const { return !renamed_.empty() && !announcing_; }
  std::vector<std::jthread>& threads() { return threads_; }

  // Without the lock.

  /// Looks at what is on disk of a new file and decides what is to be done for it.
  void begin(const Schedule::File& file);
  void doChore(const Chore& chore);
  enum class Announce { whenDue, now };
  /// Syncs the folders of renamed files and tells the observer of these.
  void announce(Announce when);

 private:
  using File = Schedule::File;

  void keep();
  void queue(Chore chore);

  void beginFresh(const File& file);
  void resume(const File& file, const std::vector<model::ByteRange>& missing);
  void beginFromPieces(const File& file);
  std::string whyUseless(const FileTask& file, bool allIsThere) const;
  bool keepsExisting(const File& file);
  bool finishRenamed(const File& file);
  void makeFolder(std::string_view folder);

  void attend(const File& file);
  void record(const File& file);
  void finish(const File& file);
  void publish(const File& file);
  void giveUp(const File& file);
  void giveUpAdopted(const File& file);

  RunState& run_;
  std::atomic<bool> syncsQuickly_ = true;  ///< The disk, the last time.

  std::mutex folderMutex_;
  std::set<std::string, std::less<>> folders_;  ///< Known to exist; guarded by folderMutex_.

  // Guarded by the run's lock.
  std::deque<Chore> chores_;
  std::vector<File> renamed_;  ///< Their folders are still to be synced.
  bool announcing_ = false;    ///< A thread syncs folders.
  unsigned idle_ = 0;          ///< Of the threads.
  std::vector<std::jthread> threads_;
};

}  // namespace caiexport::transfer
