#include "caiexport/core/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::core {
namespace {

namespace fs = std::filesystem;

static_assert(sizeof(off_t) == 8, "files larger than 2 GiB need a 64-bit off_t");

fs::path folderOf(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

std::optional<std::uint64_t> roomAt(const fs::path& path) {
  struct statvfs facts {};
  if (untilDone([&] { return ::statvfs(path.c_str(), &facts); }) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(facts.f_bavail) * static_cast<std::uint64_t>(facts.f_frsize);
}

std::string roomLeftNear(const fs::path& path) {
  auto room = roomAt(path);
  if (!room) room = roomAt(folderOf(path));
  return room ? " (" + formatBytes(*room) + " free)" : "";
}

bool outOfRoom(int errorNumber) {
  return errorNumber == ENOSPC || errorNumber == EDQUOT;
}

std::string reasonFor(int errorNumber, const fs::path& path) {
  if (outOfRoom(errorNumber)) return std::generic_category().message(errorNumber) + roomLeftNear(path);
  if (errorNumber == EFBIG) {
    return "larger than the file system or the limit on file sizes (ulimit -f) allows" + roomLeftNear(path);
  }
  return std::generic_category().message(errorNumber);
}

std::string hintFor(int errorNumber) {
  switch (errorNumber) {
    case ENOSPC:
      return "free some disk space or choose another folder, then run it again";
    case EDQUOT:
      return "your disk quota is used up: remove files or choose another folder, then run it again";
    case EFBIG:
      return "raise the limit on file sizes (ulimit -f) or choose another file system, then run it again";
    case EACCES:
    case EPERM:
      return "check the permissions and the owner of the file and of the folders above it";
    case EROFS:
      return "choose a folder on a file system that is mounted for writing";
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    default:
      return "";
  }
}

/// Several calls take a signed offset; a larger one would otherwise come back as "invalid argument".
off_t fileOffset(std::string_view what, const std::string& path, std::uint64_t offset, std::uint64_t length) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  if (offset > kMost || length > kMost - offset) throwIoError(what, path, EFBIG);
  return static_cast<off_t>(offset);
}

int syncToDevice(int descriptor) {
#if defined(F_FULLFSYNC)
  // fsync(2) of macOS: plain fsync leaves the data in the drive's cache.
  return untilDone([&] { return ::fcntl(descriptor, F_FULLFSYNC); });
#elif defined(__linux__)
  // fdatasync(2): writes a changed size too; only the times may lag behind.
  return untilDone([&] { return ::fdatasync(descriptor); });
#else
  return untilDone([&] { return ::fsync(descriptor); });
#endif
}

[[noreturn]] void throwFailed(const std::string& action, const fs::path& path, int errorNumber) {
  const std::string message = "cannot " + action + ": " + reasonFor(errorNumber, path);
  if (errorNumber == EMFILE || errorNumber == ENFILE) throw TooFewDescriptors(message);
  throw Error(Category::io, message, {.hint = hintFor(errorNumber)});
}

std::string shown(const fs::path& path) {
  return path.empty() ? "(an empty path)" : printable(path.string());
}

FileIdentity identityFrom(const struct stat& facts) {
  return {.device = facts.st_dev, .inode = facts.st_ino, .links = facts.st_nlink};
}

class DiskFile final : public WritableFile {
 public:
  DiskFile(const fs::path& path, Descriptor descriptor) : path_(path.native()), descriptor_(std::move(descriptor)) {}

  void writeAt(std::uint64_t offset, std::span<const std::byte> data) override {
    off_t position = fileOffset("write", path_, offset, data.size());
    while (!data.empty()) {
      const ssize_t count =
          untilDone([&] { return ::pwrite(descriptor_.number(), data.data(), data.size(), position); });
      if (count < 0) throwIoError("write", path_, errno);
      if (count == 0) throwIoError("write", path_, EIO);
      data = data.subspan(static_cast<std::size_t>(count));
      position += count;
    }
  }

  std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override {
    off_t position = fileOffset("read", path_, offset, into.size());
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t count =
          untilDone([&] { return ::pread(descriptor_.number(), into.data() + done, into.size() - done, position); });
      if (count < 0) throwIoError("read", path_, errno);
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
      position += count;
    }
    return done;
  }

  void resize(std::uint64_t bytes) override {
    const off_t size = fileOffset("resize", path_, bytes, 0);
    if (untilDone([&] { return ::ftruncate(descriptor_.number(), size); }) != 0) throwIoError("resize", path_, errno);
  }

  void sync() override {
    if (syncToDevice(descriptor_.number()) != 0) throwIoError("sync", path_, errno);
  }

  std::optional<FileIdentity> identity() const override {
    struct stat facts {};
    if (::fstat(descriptor_.number(), &facts) != 0) return std::nullopt;
    return identityFrom(facts);
  }

 private:
  const std::string path_;  ///< For messages; a path would be taken apart for each file.
  const Descriptor descriptor_;
};

// O_NONBLOCK: a named pipe or a device in the way is refused, not waited for.
constexpr int kOpenFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

class DiskFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> open(const fs::path& path, unsigned mode) override {
    Descriptor descriptor(untilDone([&] { return ::open(path.c_str(), kOpenFlags, static_cast<mode_t>(mode)); }));
    if (!descriptor.valid()) refuseToOpen(path, errno);
    struct stat facts {};
    if (::fstat(descriptor.number(), &facts) != 0) throwIoError("open", path, errno);
    if (!S_ISREG(facts.st_mode)) refuseSpecial(path, "it is not a regular file");
    return std::make_unique<DiskFile>(path, std::move(descriptor));
  }

  std::unique_ptr<WritableFile> create(const fs::path& path) override {
    Descriptor descriptor(untilDone([&] { return ::open(path.c_str(), kOpenFlags | O_EXCL, 0666); }));
    if (!descriptor.valid() && errno == EEXIST) return nullptr;
    if (!descriptor.valid()) refuseToOpen(path, errno);
    return std::make_unique<DiskFile>(path, std::move(descriptor));
  }

  void rename(const fs::path& from, const fs::path& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return;
    throwFailed("rename " + shown(from) + " to " + shown(to), to, errno);
  }

  bool renameNew(const fs::path& from, const fs::path& to) override {
#if defined(__linux__) && defined(RENAME_NOREPLACE)
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
    if (errno == EEXIST) return false;
    // renameat2(2): EINVAL is what a file system without the flag says.
    if (errno != EINVAL && errno != ENOSYS) throwFailed("rename " + shown(from) + " to " + shown(to), to, errno);
#endif
    // link(2) never replaces anything either. What is between the two calls at a crash has both names.
    if (::link(from.c_str(), to.c_str()) == 0) {
      remove(from);
      return true;
    }
    if (errno == EEXIST) return false;
    // A file system without links, or any other failure: renaming says what is wrong, if anything is.
    return FileSystem::renameNew(from, to);
  }

  void syncDirectory(const fs::path& path) override {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    const Descriptor descriptor(untilDone([&] { return ::open(path.c_str(), kFlags); }));
    if (!descriptor.valid()) return syncWithoutOpening(path, errno);
    // fsync(2): EINVAL where the file system can't sync a folder; then there is nothing to wait for.
    // Not fdatasync: a changed name need not count as data of the folder.
    const int result = untilDone([&] { return ::fsync(descriptor.number()); });
    if (result != 0 && errno != EINVAL) throwIoError("sync the folder", path, errno);
  }

  void remove(const fs::path& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) throwIoError("remove", path, errno);
  }

  /// A new folder's name is synced too: files in it are worth nothing if the folder is gone after a crash.
  void createDirectories(const fs::path& path) override {
    if (path.empty()) throwIoError("create the folder", path, ENOENT);
    std::vector<fs::path> missing;
    for (fs::path current = path; !current.empty(); current = current.parent_path()) {
      if (isDirectory(current)) break;
      if (current.has_filename()) missing.push_back(current);
      if (current == current.parent_path()) break;
    }
    for (auto folder = missing.rbegin(); folder != missing.rend(); ++folder) createDirectory(*folder);
  }

  std::optional<std::uint64_t> sizeOf(const fs::path& path) override {
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) == 0) {
      if (!S_ISREG(facts.st_mode)) return std::nullopt;
      return static_cast<std::uint64_t>(facts.st_size);
    }
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throwIoError("look at", path, errno);
  }

  std::uint64_t freeBytes(const fs::path& directory) override {
    const auto room = roomAt(directory);
    if (!room) throwIoError("ask for the free space of", directory, errno);
    return *room;
  }

 private:
  static bool isDirectory(const fs::path& path) {
    struct stat facts {};
    return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
  }

  /// A folder that this user may write but not list can't be opened; then everything is synced.
  static void syncWithoutOpening(const fs::path& path, int errorNumber) {
    if (errorNumber != EACCES || ::access(path.c_str(), W_OK | X_OK) != 0) {
      throwIoError("open the folder", path, errorNumber);
    }
    ::sync();
  }

  void createDirectory(const fs::path& path) {
    if (::mkdir(path.c_str(), 0777) == 0) {
      syncDirectory(folderOf(path));
      return;
    }
    const int error = errno;
    // Another process may have made it just now.
    if (error == EEXIST && isDirectory(path)) return;
    throwIoError("create the folder", path, error);
  }

  [[noreturn]] static void refuseSpecial(const fs::path& path, const std::string& reason) {
    throw Error(Category::io, "cannot open " + printable(path.string()) + ": " + reason,
                {.hint = "move it away or choose another folder"});
  }

  [[noreturn]] static void refuseToOpen(const fs::path& path, int errorNumber) {
    // open(2): ELOOP is what O_NOFOLLOW says to a link, but also a circle of links above it.
    std::error_code ignored;
    if (errorNumber == ELOOP && fs::is_symlink(path, ignored)) refuseSpecial(path, "it is a symbolic link");
    if (errorNumber == EISDIR) refuseSpecial(path, "it is a folder");
    // Windows' file systems refuse some letters in names, each driver with a word of its own.
    const bool badName = errorNumber == EINVAL || errorNumber == EILSEQ || errorNumber == ENAMETOOLONG ||
                         (errorNumber == ENOENT && isDirectory(folderOf(path)));
    if (!badName) throwIoError("open", path, errorNumber);
    throw Error(Category::io, "cannot open " + shown(path) + ": " + reasonFor(errorNumber, path),
                {.hint = "the file system there does not take this name: choose an --output on another file system"});
  }
};

/// setrlimit(2): a write beyond the limit on file sizes sends SIGXFSZ, which kills. Ignored, the write fails with
/// EFBIG.
void ignoreFileSizeSignal() {
  struct sigaction current {};
  if (::sigaction(SIGXFSZ, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) return;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, nullptr);
}

/// Another process that writes the same file (a token cache) has its own; what a killed one left is used again by the
/// next process with its number, or is in nobody's way.
fs::path partBeside(const fs::path& path) {
  fs::path part = path;
  part += "." + std::to_string(::getpid()) + ".part";
  return part;
}

/// How much more came into `content`, of which `used` bytes are there; 0 at the end of the file, or of the room.
std::size_t readOn(const Descriptor& descriptor, const fs::path& path, std::string& content, std::size_t used) {
  const ssize_t count =
      untilDone([&] { return ::read(descriptor.number(), content.data() + used, content.size() - used); });
  if (count < 0) throwIoError("read", path, errno);
  return static_cast<std::size_t>(count);
}

}  // namespace

std::unique_ptr<WritableFile> FileSystem::create(const fs::path& path) {
  return identityOf(path) ? nullptr : open(path);
}

bool FileSystem::renameNew(const fs::path& from, const fs::path& to) {
  if (identityOf(to)) return false;
  rename(from, to);
  return true;
}

std::optional<FileIdentity> FileSystem::identityOf(const fs::path& path) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) return identityFrom(facts);
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throwIoError("look at", path, errno);
}

bool FileSystem::createLink(const fs::path& target, const fs::path& path) {
  if (::symlink(target.c_str(), path.c_str()) == 0) return true;
  // symlink(2): EPERM is what a file system without links says; network file systems have other words.
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) return false;
  throwIoError("create the link", path, errno);
}

bool FileSystem::removeEmptyDirectory(const fs::path& path) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
  // rmdir(2) allows either word.
  if (errno == ENOTEMPTY || errno == EEXIST) return false;
  throwIoError("remove the folder", path, errno);
}

FileSystem& diskFileSystem() {
  static DiskFileSystem* const files = [] {
    ignoreFileSizeSignal();
    return new DiskFileSystem;
  }();
  return *files;
}

void writeFileAtomically(FileSystem& files, const fs::path& path, std::string_view content, unsigned mode) {
  const fs::path part = partBeside(path);
  // A leftover could have another mode.
  files.remove(part);
  try {
    {
      const std::unique_ptr<WritableFile> file = files.open(part, mode);
      file->writeAt(0, std::as_bytes(std::span(content)));
      file->sync();
    }
    files.rename(part, path);
  } catch (...) {
    try {
      files.remove(part);
    } catch (const std::exception&) {
      // The first failure is the one to report.
    }
    throw;
  }
  files.syncDirectory(folderOf(path));
}

std::string readFile(const fs::path& path, std::uint64_t mostBytes) {
  const Descriptor descriptor(untilDone([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!descriptor.valid()) throwIoError("read", path, errno);
  struct stat facts {};
  if (::fstat(descriptor.number(), &facts) != 0) throwIoError("read", path, errno);

  // One byte more than the size, so that the end is seen without growing; pipes and /proc tell no size.
  std::string content(std::min(static_cast<std::uint64_t>(facts.st_size), mostBytes) + 1, '\0');
  std::size_t used = 0;
  while (const std::size_t count = readOn(descriptor, path, content, used)) {
    used += count;
    if (used > mostBytes) {
      throw Error(Category::io, "cannot read " + printable(path.string()) + ": it is larger than " +
                                    formatBytes(mostBytes) + ", the most that is expected there");
    }
    if (used == content.size())
      content.resize(std::min<std::uint64_t>(used + std::max(used, std::size_t{4096}), mostBytes + 1));
  }
  content.resize(used);
  return content;
}

std::string readRegularFile(const fs::path& path, std::uint64_t mostBytes) {
  // A pipe that nobody writes to must not hold the program up; for a regular file this changes nothing.
  const Descriptor descriptor(untilDone([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  if (!descriptor.valid()) throwIoError("read", path, errno);
  struct stat facts {};
  if (::fstat(descriptor.number(), &facts) != 0) throwIoError("read", path, errno);
  if (!S_ISREG(facts.st_mode)) throw Error(Category::io, "cannot read " + shown(path) + ": it is no regular file");
  std::string content(std::min(static_cast<std::uint64_t>(facts.st_size), mostBytes), '\0');
  std::size_t used = 0;
  while (const std::size_t count = readOn(descriptor, path, content, used)) used += count;
  content.resize(used);
  return content;
}

void throwIoError(std::string_view what, const fs::path& path, int errorNumber) {
  throwFailed(std::string(what) + " " + shown(path), path, errorNumber);
}

namespace {

namespace fs = std::filesystem;

bool isOurs(uid_t owner) {
  return owner == ::geteuid();
}

bool isTrusted(uid_t owner) {
  return isOurs(owner) || owner == 0;
}

/// What stands at the path, behind links; nothing where there is nothing.
std::optional<struct stat> factsOf(const fs::path& path, std::string_view what) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0) return facts;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throwIoError("use " + std::string(what), path, errno);
}

/// A link that somebody else put there leads where that one wants, now or later.
bool isForeignLink(const fs::path& path) {
  struct stat facts {};
  return ::lstat(path.c_str(), &facts) == 0 && S_ISLNK(facts.st_mode) && !isTrusted(facts.st_uid);
}

[[noreturn]] void refuse(Category category, std::string_view doing, std::string_view what, const fs::path& path,
                         const std::string& reason, const std::string& hint) {
  throw Error(category,
              "cannot " + std::string(doing) + " " + std::string(what) + " " + printable(path.string()) + ": " + reason,
              {.hint = hint});
}

constexpr const char* kForeign = "it belongs to another user";
constexpr const char* kForeignHint = "name a file of your own, or run the command as its owner";

}  // namespace

void requireOwnFile(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason) { refuse(Category::io, "use", what, path, reason, kForeignHint); };
  if (isForeignLink(path)) no("it is a link that another user made");
  const auto facts = factsOf(path, what);
  if (!facts) return;
  if (!S_ISREG(facts->st_mode)) no(S_ISDIR(facts->st_mode) ? "it is a folder" : "it is no regular file");
  if (!isOurs(facts->st_uid)) no(kForeign);
}

void requireTrusted(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason, const std::string& hint) {
    refuse(Category::config, "use", what, path, reason, hint);
  };
  if (isForeignLink(path)) no("it is a link that another user made", kForeignHint);
  const auto facts = factsOf(path, what);
  if (!facts) return;
  if (!isTrusted(facts->st_uid)) no(kForeign, kForeignHint);
  if (S_ISREG(facts->st_mode) && (facts->st_mode & S_IWOTH) != 0) {
    no("everybody may write to it", "chmod 600 " + printable(path.string()));
  }
}

void makePrivate(const fs::path& path, unsigned kept) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0 || !isOurs(facts.st_uid)) return;
  const mode_t wanted = facts.st_mode & 07777U & ~(mode_t{0077} & ~mode_t{kept});
  if (wanted != (facts.st_mode & 07777U)) static_cast<void>(::chmod(path.c_str(), wanted));
}

int openToAppend(const fs::path& path, std::string_view what) {
  const auto no = [&](const std::string& reason) {
    refuse(Category::io, "open", what, path, reason, "name another file, in a folder that is yours");
  };
  // O_NONBLOCK: opening a pipe that nobody reads would wait for ever.
  Descriptor descriptor(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
  if (!descriptor.valid()) {
    const int error = errno;
    std::error_code ignored;
    if (error == ELOOP && fs::is_symlink(path, ignored)) no("it is a link");
    // open(2): a pipe without a reader, a socket.
    if (error == ENXIO) no("it is no regular file");
    throwIoError("open " + std::string(what), path, error);
  }
  struct stat facts {};
  if (::fstat(descriptor.number(), &facts) != 0) throwIoError("open " + std::string(what), path, errno);
  if (!S_ISREG(facts.st_mode)) no("it is no regular file");
  if (!isOurs(facts.st_uid)) no(kForeign);
  if (facts.st_nlink > 1) no("it is known by another name too (a hard link)");
  return descriptor.release();
}

}  // namespace caiexport::core
