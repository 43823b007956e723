#include "caiexport/core/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/sysmacros.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::core {
namespace {

namespace fs = std::filesystem;

struct flock recordLock(short type, std::int64_t number) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = number;
  lock.l_len = 1;
  return lock;
}

struct FlockLine {
  std::string device;  ///< "08:01", hexadecimal.
  std::uint64_t inode = 0;
  int process = 0;
};

/// proc_locks(5): "1: FLOCK ADVISORY WRITE 1234 08:01:56789 0 EOF". Waiters have "->" after the number.
std::optional<FlockLine> parseFlockLine(const std::string& line) {
  std::istringstream words(line);
  std::string number;
  std::string kind;
  std::string advisory;
  std::string access;
  std::string place;
  FlockLine result;
  if (!(words >> number >> kind >> advisory >> access >> result.process >> place) || kind != "FLOCK") {
    return std::nullopt;
  }
  const std::size_t colon = place.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto inode = parseUnsigned(std::string_view(place).substr(colon + 1));
  if (!inode) return std::nullopt;
  result.device = place.substr(0, colon);
  result.inode = *inode;
  return result;
}

#ifdef __linux__
std::string deviceName(dev_t device) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%02x:%02x", major(device), minor(device));
  return text.data();
}

/// The process that holds the lock on this folder, where the system tells it.
std::optional<int> flockHolder(int descriptor) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return std::nullopt;
  std::vector<FlockLine> sameInode;
  std::ifstream table("/proc/locks");
  for (std::string line; std::getline(table, line);) {
    const auto lock = parseFlockLine(line);
    // A process in another container shows as 0.
    if (!lock || lock->process <= 0 || lock->inode != facts.st_ino) continue;
    if (lock->device == deviceName(facts.st_dev)) return lock->process;
    sameInode.push_back(*lock);
  }
  // stat(2) and this table number the devices of btrfs and overlay file systems differently.
  if (sameInode.size() == 1) return sameInode.front().process;
  return std::nullopt;
}
#else
std::optional<int> flockHolder(int) {
  return std::nullopt;
}
#endif

[[noreturn]] void throwBusy(const fs::path& directory, std::optional<int> process) {
  const std::string who = process ? "process " + std::to_string(*process) : "another process";
  throw Error(Category::busy, "the folder " + printable(directory.string()) + " is in use by " + who,
              {.hint = "wait until it ends, or choose another folder"});
}

[[noreturn]] void throwCannotLock(const fs::path& directory, int errorNumber) {
  // flock(2): network file systems turn it into a record lock, which a folder can't have.
  const bool unsupported = errorNumber == EBADF || errorNumber == ENOLCK || errorNumber == EOPNOTSUPP;
  if (!unsupported) throwIoError("lock the folder", directory, errorNumber);
  throw Error(Category::io,
              "cannot lock the folder " + printable(directory.string()) + ": its file system has no folder locks",
              {.hint = "choose a folder on a local file system"});
}

/// A new file that bears no name, or soon none; -1 if there can be none.
int openUnnamed(const fs::path& folder) {
#ifdef O_TMPFILE
  const int unnamed = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) return unnamed;
#endif
  // open(2): not every file system has O_TMPFILE, network file systems least of all.
  std::string name = (folder / ".caiexport-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

/// Up to the hard limit, if that is of use.
void raiseLimit() {
  // Enough for every list of batches, and no more than what programs that close everything can stand.
  constexpr rlim_t kPlenty = 1U << 20U;
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= std::min(limit.rlim_max, kPlenty)) return;
  limit.rlim_cur = std::min(limit.rlim_max, kPlenty);
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace

struct LockTable::State {
  fs::path file;
  Descriptor descriptor;
  /// F_GETLK does not report the caller's own locks.
  std::set<std::int64_t> held;

  int set(short type, std::int64_t number) const {
    struct flock lock = recordLock(type, number);
    return untilDone([&] { return ::fcntl(descriptor.number(), F_SETLK, &lock); });
  }

  /// The other process that holds it; nothing if none does.
  std::optional<int> otherHolder(std::int64_t number) const {
    struct flock lock = recordLock(F_WRLCK, number);
    if (untilDone([&] { return ::fcntl(descriptor.number(), F_GETLK, &lock); }) != 0) {
      throwIoError("look at a lock in", file, errno);
    }
    if (lock.l_type == F_UNLCK) return std::nullopt;
    return lock.l_pid > 0 ? static_cast<int>(lock.l_pid) : 0;
  }
};

LockTable::LockTable(const fs::path& file) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
  Descriptor descriptor(untilDone([&] { return ::open(file.c_str(), kFlags, 0600); }));
  if (!descriptor.valid()) throwIoError("open the lock file", file, errno);
  state_ = std::make_unique<State>(State{file, std::move(descriptor), {}});
}

LockTable::~LockTable() = default;

std::optional<int> LockTable::tryLock(std::int64_t number) {
  // A holder may let go between the two calls: then ask again. After a few rounds it is busy anyway.
  for (int round = 0; round < 10; ++round) {
    if (state_->set(F_WRLCK, number) == 0) {
      state_->held.insert(number);
      return std::nullopt;
    }
    if (errno != EACCES && errno != EAGAIN) throwIoError("take a lock in", state_->file, errno);
    if (const auto other = state_->otherHolder(number)) return other;
  }
  return 0;
}

void LockTable::unlock(std::int64_t number) {
  if (state_->set(F_UNLCK, number) != 0) throwIoError("release a lock in", state_->file, errno);
  state_->held.erase(number);
}

std::optional<int> LockTable::holder(std::int64_t number) const {
  if (state_->held.contains(number)) return static_cast<int>(::getpid());
  return state_->otherHolder(number);
}

std::string Locks::nameOfHolder(std::int64_t number) const {
  const std::optional<int> process = holder(number);
  return process && *process > 0 ? "process " + std::to_string(*process) : "another process";
}

bool hasRecordLocks(const fs::path& folder) {
  const Descriptor descriptor(openUnnamed(folder));
  if (!descriptor.valid()) return true;
  struct flock lock = recordLock(F_WRLCK, 0);
  if (untilDone([&] { return ::fcntl(descriptor.number(), F_SETLK, &lock); }) == 0) return true;
  return errno == EACCES || errno == EAGAIN;
}

DirectoryLock::DirectoryLock(const fs::path& directory) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  Descriptor descriptor(untilDone([&] { return ::open(directory.c_str(), kFlags); }));
  if (!descriptor.valid()) throwIoError("open the folder", directory, errno);
  if (untilDone([&] { return ::flock(descriptor.number(), LOCK_EX | LOCK_NB); }) != 0) {
    const int error = errno;
    if (error == EWOULDBLOCK) throwBusy(directory, flockHolder(descriptor.number()));
    throwCannotLock(directory, error);
  }
  descriptor_ = descriptor.release();
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::size_t DirectoryLocks::most() {
  struct rlimit limit {};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<std::size_t>(limit.rlim_cur / 2) : 0;
}

void DirectoryLocks::add(const fs::path& directory) {
  auto lock = std::make_unique<DirectoryLock>(directory);
  if (held_.size() >= most()) raiseLimit();
  if (held_.size() < most()) {
    held_.push_back(std::move(lock));
  } else {
    ++notHeld_;
  }
}

void DirectoryLocks::clear() {
  held_.clear();
  notHeld_ = 0;
}

}  // namespace caiexport::core
