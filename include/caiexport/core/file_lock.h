#pragma once
/// Locks between processes. Those of files and folders are released by the kernel when their process dies, however it
/// dies: nothing stale is ever left.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace caiexport::core {

/// Many locks, by number.
class Locks {
 public:
  Locks() = default;
  virtual ~Locks() = default;
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  /// Takes lock N; the process id of the holder if another process has it (0 where it can't be told).
  virtual std::optional<int> tryLock(std::int64_t number) = 0;
  virtual void unlock(std::int64_t number) = 0;
  /// Who holds lock N, this process included; nothing if it is free.
  virtual std::optional<int> holder(std::int64_t number) const = 0;
  /// For people, of a lock that another process has: "process 7".
  virtual std::string nameOfHolder(std::int64_t number) const;
};

/// Many locks in one file: lock number N is its byte N (POSIX record lock). One object per file and process, since the
/// kernel drops all of a process's record locks when it closes any descriptor of the file. Not for use by two threads.
class LockTable : public Locks {
 public:
  /// Opens (creates, 0600) the file. Error(io) if it can't.
  explicit LockTable(const std::filesystem::path& file);
  ~LockTable() override;

  std::optional<int> tryLock(std::int64_t number) override;
  void unlock(std::int64_t number) override;
  std::optional<int> holder(std::int64_t number) const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether files in the folder can be locked; true where no file can be made there, which others report better. Some
/// network file systems have no locks, and SQLite waits for them as if another process held them.
bool hasRecordLocks(const std::filesystem::path& folder);

/// A lock on a folder itself (flock): no file is left in it.
class DirectoryLock {
 public:
  /// Error(busy) that names the holder's process where the system tells it; Error(io) if the folder can't be opened.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// Locks on many folders, held until the end. Not for use by two threads.
class DirectoryLocks {
 public:
  /// As DirectoryLock. Each lock takes a descriptor: where this process may open so few files that half of them are
  /// taken by locks (its soft limit is raised first), it is only made sure that nobody holds the folder now.
  void add(const std::filesystem::path& directory);
  bool empty() const { return held_.empty(); }
  void clear();
  std::size_t held() const { return held_.size(); }
  /// How many can be held as the soft limit stands.
  static std::size_t most();
  /// How many of those added are not held.
  std::size_t notHeld() const { return notHeld_; }

 private:
  std::vector<std::unique_ptr<DirectoryLock>> held_;
  std::size_t notHeld_ = 0;
};

}  // namespace caiexport::core
