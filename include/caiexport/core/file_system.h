#pragma once
/// Everything that changes files goes through this seam, so that tests can record the order of calls, crash between
/// them, and fill the disk. Failures are Error(io) that name the path, the reason, and for a full disk the room left.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace caiexport::core {

/// Which file it is, whatever it is called.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t links = 1;  ///< Names that it has.
  bool isSameFile(const FileIdentity& other) const { return device == other.device && inode == other.inode; }
};

/// An open file. Several threads may call writeAt on ranges that do not overlap; the rest is for one thread.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual void writeAt(std::uint64_t offset, std::span<const std::byte> data) = 0;
  /// The bytes at `offset`; fewer than asked only at the end of the file.
  virtual std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void resize(std::uint64_t bytes) = 0;
  /// Returns when the data is on the device.
  virtual void sync() = 0;
  /// Nothing where it can't be told.
  virtual std::optional<FileIdentity> identity() const { return std::nullopt; }
};

/// Thread safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  /// Opens for reading and writing, creates it if needed (mode 0666 less the umask, or `mode`), keeps what is there.
  /// A symbolic link is refused.
  virtual std::unique_ptr<WritableFile> open(const std::filesystem::path& path, unsigned mode) = 0;
  std::unique_ptr<WritableFile> open(const std::filesystem::path& path) { return open(path, 0666); }
  /// As open, but of a new file: null if anything is there, whatever it is.
  virtual std::unique_ptr<WritableFile> create(const std::filesystem::path& path);
  /// Replaces `to` in one step.
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// The same where nothing may be at `to` yet; false, and nothing happened, if something is.
  virtual bool renameNew(const std::filesystem::path& from, const std::filesystem::path& to);
  virtual void syncDirectory(const std::filesystem::path& path) = 0;
  /// No error if it is not there.
  virtual void remove(const std::filesystem::path& path) = 0;
  virtual void createDirectories(const std::filesystem::path& path) = 0;
  /// Size of a regular file (links are not followed); nothing if there is none.
  virtual std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) = 0;
  /// Of whatever lies there (links are not followed); nothing if there is nothing.
  virtual std::optional<FileIdentity> identityOf(const std::filesystem::path& path);
  /// A symbolic link at `path`, where nothing may be yet, to the text `target`. False where the file system has none.
  virtual bool createLink(const std::filesystem::path& target, const std::filesystem::path& path);
  /// False if it is not empty; no error if it is not there.
  virtual bool removeEmptyDirectory(const std::filesystem::path& path);
  /// Bytes that this user may still write there.
  virtual std::uint64_t freeBytes(const std::filesystem::path& directory) = 0;
};

/// The real one. From the first use on the process ignores SIGXFSZ, unless it handles it.
FileSystem& diskFileSystem();

/// Writes a whole small file so that a reader sees the old or the new content, never half: `NAME.PID.part` beside it,
/// sync, rename, sync of the folder. Several processes may do so at once: the last one wins. Within a process it is for
/// one thread. A failure before the rename removes the part and leaves `path` as it was.
void writeFileAtomically(FileSystem& files, const std::filesystem::path& path, std::string_view content,
                         unsigned mode = 0666);

/// The whole content of a small file. Error(io) if it can't be read or is larger than `mostBytes`.
std::string readFile(const std::filesystem::path& path, std::uint64_t mostBytes = 16U << 20U);

/// The first `mostBytes` of it. Error(io) if it can't be read or is no regular file: a pipe or a device never holds
/// this up.
std::string readRegularFile(const std::filesystem::path& path, std::uint64_t mostBytes);

/// Error(io) for a failed call: "cannot WHAT PATH: REASON", with a hint for a full disk or a missing permission.
[[noreturn]] void throwIoError(std::string_view what, const std::filesystem::path& path, int errorNumber);

// --- What other users of the machine may have put where this one is about to read or write.

/// Error(io) "cannot use WHAT PATH: REASON" unless the file is a regular one of this user. No error if nothing is
/// there. A link counts only if this user or root made it. Nothing is opened, so the process keeps its locks on the
/// file.
void requireOwnFile(const std::filesystem::path& path, std::string_view what);

/// As requireOwnFile(), but root's files are as good, as are pipes and devices: what may be read for settings.
/// Error(config); also if everybody may write to it.
void requireTrusted(const std::filesystem::path& path, std::string_view what);

/// Takes from others what they may do with a file or folder of this user, unless `kept` (of 0077) has it. Does nothing
/// to what is not this user's, and where it does not work.
void makePrivate(const std::filesystem::path& path, unsigned kept = 0);

/// A file to append to, made with mode 0600 if it is not there. Error(io) "cannot open WHAT PATH: REASON" for a link,
/// for what is no regular file or has a second name, and for a file of another user. Never waits for the other end of a
/// pipe. The caller closes the descriptor.
int openToAppend(const std::filesystem::path& path, std::string_view what);

}  // namespace caiexport::core
