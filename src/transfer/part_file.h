#pragma once
/// A file on its way: `NAME.part`, which of its bytes are there, and its hash as far as they are in order.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/model/job.h"
#include "hash.h"

namespace caiexport::core {
class FileSystem;
class WritableFile;
}  // namespace caiexport::core

namespace caiexport::transfer {

/// `write` may be called by several threads on ranges that do not overlap, `hash`, `sync` and what follows by one
/// thread at a time, which may be another than the writers. Errors are those of core::FileSystem.
class PartFile {
 public:
  PartFile(core::FileSystem& files, std::filesystem::path target, std::uint64_t lengthBytes);
  ~PartFile();

  static std::filesystem::path pathFor(const std::filesystem::path& target);
  static std::filesystem::path folderOf(const std::filesystem::path& target);

  /// Bytes that an earlier run wrote and synced. Before anything is written.
  void adopt(std::vector<model::ByteRange> done);
  /// Give the file its full length when it is opened. Before anything is written.
  void preallocate() { preallocates_ = true; }

  /// Opens the file at the first call.
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// Bytes written since the last sync.
  std::uint64_t unsyncedBytes() const;
  /// Bytes on disk that follow what is hashed without a gap.
  std::uint64_t bytesBehind() const;
  /// Hashes from the disk what the writers left behind; all there is, or (`leaveToWriters`) up to a short distance
  /// behind a writer, who goes on in order with data still in the cache. Ends early with Interrupted.
  void hash(bool leaveToWriters, const std::stop_token& stop);

  struct Synced {
    std::vector<model::ByteRange> ranges = {};  ///< All that is written, now surely on the device.
    std::uint64_t newBytes = 0;                 ///< Of these, written since the last sync.
  };
  Synced sync();
  std::vector<model::ByteRange> written() const;
  /// Lower-case hex of the whole file, once all of it is hashed.
  std::string sha256();

  /// Makes an empty file. For files of no bytes.
  void createEmpty();
  void close();
  /// Closes, and gives the file its final name. Syncing the folder is the caller's.
  void publish();
  /// Closes and deletes.
  void discard();

 private:
  core::WritableFile& opened();
  bool takeHashFor(std::uint64_t offset);
  void hashFromDisk(std::uint64_t from, std::uint64_t end, const std::stop_token& stop);
  std::uint64_t contiguousEnd(std::uint64_t from) const;

  core::FileSystem& files_;
  const std::filesystem::path target_;
  const std::uint64_t lengthBytes_;
  bool preallocates_ = false;

  mutable std::mutex mutex_;
  std::unique_ptr<core::WritableFile> file_;
  std::vector<model::ByteRange> written_;  ///< Sorted, merged.
  std::uint64_t unsyncedBytes_ = 0;
  std::uint64_t hashedBytes_ = 0;
  bool hashing_ = false;  ///< A thread is at work on `sha256_`.
  Sha256 sha256_;
};

}  // namespace caiexport::transfer
