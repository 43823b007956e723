#pragma once
/// A file on its way: its `.part` file, which of its bytes are there, its hash as far as they are in order, which
/// version of it the answers were of, and what tells its content from others.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/model/job.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::transfer {

/// `write` may be called by several threads on ranges that do not overlap, `hash`, `sync` and what follows by one
/// thread at a time, which may be another than the writers. Errors are those of core::FileSystem.
class PartFile {
 public:
  /// `path`: of the `.part` file.
  PartFile(core::FileSystem& files, std::filesystem::path path, std::uint64_t lengthBytes);
  ~PartFile();

  const std::filesystem::path& path() const { return path_; }

  /// Bytes that an earlier run wrote and synced, and their sum if it is known. Before anything is written. Without it,
  /// what an earlier run left goes when the file is opened.
  void adopt(std::vector<model::ByteRange> done, std::optional<std::uint64_t> sum);
  /// Whether the adopted bytes were still those that were written, once all of the file is hashed.
  bool adoptedWereIntact() const { return !adoptedSum_ || *adoptedSum_ == readSum_; }
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
    std::optional<std::uint64_t> sum = {};      ///< Of them all, if it is known.
  };
  Synced sync();
  std::vector<model::ByteRange> written() const;
  /// Whether bytes that are there already differ from these. Where none are, they don't.
  bool differs(std::uint64_t offset, std::span<const std::byte> data);
  /// Lower-case hex of the whole file, once all of it is hashed.
  std::string sha256();

  /// Makes an empty file. For files of no bytes.
  void createEmpty();
  void close();
  /// Closes, and gives the file, whose hash is given, its final name. Syncing the folder is the caller's. Error(io) if
  /// another file bears the name of the `.part` file by now, or if something bears the final name that may not be
  /// replaced and is not the same.
  void publish(const std::filesystem::path& target, bool replaces, const std::string& sha256,
               const std::stop_token& stop);
  /// Closes and deletes.
  void discard();

 private:
  core::WritableFile& opened();
  bool takeHashFor(std::uint64_t offset);
  void addRead(std::uint64_t offset, std::span<const std::byte> data);
  void openNew();
  void hashFromDisk(std::uint64_t from, std::uint64_t end, const std::stop_token& stop);
  std::uint64_t contiguousEnd(std::uint64_t from) const;

  core::FileSystem& files_;
  const std::filesystem::path path_;
  const std::uint64_t lengthBytes_;
  bool preallocates_ = false;

  mutable std::mutex mutex_;
  std::unique_ptr<core::WritableFile> file_;
  std::optional<core::FileIdentity> identity_ = {};
  std::vector<model::ByteRange> adopted_;  ///< Sorted, merged, like the next.
  std::vector<model::ByteRange> written_;
  std::optional<std::uint64_t> sum_ = 0;          ///< Of what is written and adopted.
  std::optional<std::uint64_t> adoptedSum_ = {};  ///< As recorded.
  std::uint64_t readSum_ = 0;                     ///< Of what was adopted, as it was read for the hash.
  std::uint64_t unsyncedBytes_ = 0;
  std::uint64_t hashedBytes_ = 0;
  bool hashing_ = false;  ///< A thread is at work on `sha256_`.
  core::Sha256 sha256_;
};

/// The source has another version of the file than the one of which bytes are here already: they are worth nothing, the
/// file starts again.
class FileChanged final : public core::Error {
 public:
  explicit FileChanged(const std::string& message)
      : Error(core::Category::verification, message, {.hint = "run it again when nothing rewrites the file"}) {}
};

/// Whether all answers for one file were of one version of it. Thread safe.
class Versions {
 public:
  /// Bytes of this version are here from an earlier run.
  void resume(const model::FileVersion& version);
  /// An answer is of this version. FileChanged if that is another one.
  void answered(const model::FileVersion& version, const std::string& name);
  /// Nothing is here of any answer so far.
  void forget();
  /// All bytes are known to be those of the newest answer: it was compared with what came before.
  void startOver();

  model::FileVersion known() const;
  /// Whether that is not empty.
  bool isKnown() const;
  /// There was one answer, or all named the same version.
  bool agree() const;

 private:
  mutable std::mutex mutex_;
  model::FileVersion known_;
  unsigned answers_ = 0;
  bool named_ = true;
};

/// A number that tells bytes from others, whatever the order and the pieces in which they are added up. Of the bytes
/// that lie in a file from `offset` on: the sum of its 8-byte words, each times an odd number that depends on its
/// place. The sums of two parts, added modulo 2^64, are the sum of both. Stored: must never change.
std::uint64_t contentSum(std::uint64_t offset, std::span<const std::byte> data);

struct ReadBack {
  std::string sha256;     ///< As Sha256::finish().
  std::uint64_t sum = 0;  ///< As contentSum().
};
/// Of a file's content. Error(io) if it can't be read. Ends early with Interrupted.
ReadBack readBack(const std::filesystem::path& path, const std::stop_token& stop);

/// Writes the item's pieces. Error(verification) as DownloadItem::pieces says.
void putTogether(PartFile& part, Versions& versions, const DownloadItem& item, core::FileSystem& files,
                 const std::stop_token& stop);

// --- What a source sends in answer to a request for one range, sorted out.

class Piece;

/// Ends a transfer whose further bytes are of no use. Passed on by everything that passes on a stop.
struct EnoughReceived final : core::Interrupted {};

/// Told of what arrives. In the fetching thread; what it throws ends the transfer.
class Arrivals {
 public:
  virtual ~Arrivals() = default;
  virtual void onFirstByte() = 0;
  /// As model::ByteSink::room.
  virtual std::size_t room(std::size_t bytes) { return bytes; }
  virtual void onBytes(std::uint64_t received, std::uint64_t kept) = 0;
};

/// Keeps the bytes that the piece still needs, wherever the answer begins and ends, and drops all others.
class PieceSink final : public model::ByteSink {
 public:
  PieceSink(Piece& piece, Arrivals& arrivals) : piece_(piece), arrivals_(arrivals) {}

  model::FileVersion wanted() const override;
  void isOf(const model::FileVersion& version) override { version_ = version; }
  void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) override;
  std::size_t room(std::size_t bytes) override { return arrivals_.room(bytes); }
  void write(std::span<const std::byte> data) override;

  std::uint64_t keptBytes() const { return keptBytes_; }
  /// Asked for, but the answer began behind it.
  const std::vector<model::ByteRange>& leftOut() const { return leftOut_; }
  /// The source does not heed ranges: it began at the front of the file, or went on behind the range.
  bool wholeFileComes() const { return wholeFileComes_; }
  /// The answer began at the front of the file.
  bool fromTheFront() const { return fromTheFront_; }
  /// The sink ended the transfer because nothing useful would have followed.
  bool enough() const { return enough_; }
  /// What the sink threw for another reason, whatever the source made of it.
  const std::exception_ptr& failure() const { return failure_; }

 private:
  void checkLength(std::optional<std::uint64_t> fileBytes) const;
  void checkVersion() const;
  void beginAt(std::uint64_t offset);
  void use(std::uint64_t offset, std::span<const std::byte> data) const;
  void compare(std::uint64_t offset, std::span<const std::byte> data) const;
  void take(std::span<const std::byte> data);
  void endIfUseless();
  std::uint64_t uselessBytesAhead() const;
  [[noreturn]] void end();

  Piece& piece_;
  Arrivals& arrivals_;
  bool begun_ = false;
  bool receiving_ = false;
  std::uint64_t position_ = 0;     ///< In the file, of the next byte that comes.
  std::uint64_t expectedEnd_ = 0;  ///< Where the answer should end.
  std::uint64_t keptBytes_ = 0;
  std::vector<model::ByteRange> leftOut_;
  bool wholeFileComes_ = false;
  bool fromTheFront_ = false;
  model::FileVersion version_;
  bool enough_ = false;
  std::exception_ptr failure_;
};

}  // namespace caiexport::transfer
