#pragma once
/// Many files to disk at once, each whole and hashed. Knows neither HTTP nor the database: bytes come from a
/// ByteSource, what happened goes to an Observer.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/model/byte_sink.h"
#include "caiexport/model/job.h"

namespace caiexport::core {
class FileSystem;
class Log;
}  // namespace caiexport::core

namespace caiexport::transfer {

/// Where bytes come from. Thread safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// One attempt at `range` of `file`. The bytes that come may begin elsewhere and be fewer or more: the sink decides
  /// what it keeps. Returns when the answer is complete. core::TransientError: what is missing may be asked for again;
  /// auth, permission, config, usage, interrupted, internal: the whole run ends with it; any other core::Error: this
  /// file can't be had.
  virtual void fetch(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
                     std::stop_token stop) = 0;
  /// Many small files are about to be fetched over so many connections: they may be opened meanwhile. Does not wait.
  virtual void prepareForMany(unsigned connections) { static_cast<void>(connections); }
  /// As fetch(), the whole of a small file. The same thread will fetch each of `next` like this, right after it and in
  /// that order, unless the run ends: who asks for them now saves their way there and back.
  virtual void fetchOneOfMany(const model::RemoteFile& file, std::span<const model::RemoteFile* const> next,
                              model::ByteSink& sink, std::stop_token stop) {
    static_cast<void>(next);
    fetch(file, {0, file.lengthBytes}, sink, std::move(stop));
  }
};

/// Bytes of a file, in a file of their own.
struct PieceOnDisk {
  std::filesystem::path path = {};
  model::ByteRange range = {};
  std::string sha256 = {};
  model::FileVersion version = {};  ///< Of which they are, where the source named one.
};

struct DownloadItem {
  std::int64_t key = 0;  ///< The caller's name for it, e.g. the row id.
  model::RemoteFile remote = {};
  /// The final name; `.part` is appended while incomplete. Its folder is made if needed.
  std::filesystem::path target = {};
  std::vector<model::ByteRange> done = {};  ///< Of the `.part` file: normalized, synced by an earlier run.
  model::PartFacts part = {};               ///< Of those bytes.
  std::string partTag = {};                 ///< Part of the name of the `.part` file: whose it is.
  /// Whether something at `target` may be replaced. If not, and something is there in the end, it is kept if it holds
  /// what came, and Error(io) otherwise.
  bool replaces = true;
  std::string existingSha256 = {};  ///< If not empty: a file at `target` with this hash and the right length is kept.
  /// Where the bytes come from, if not from the run's source. It is no file then, but a piece of one, and not counted.
  std::shared_ptr<ByteSource> source = {};
  /// If not empty, and nothing is `done`: all bytes of the file, in order. Those that come twice must be the same.
  /// Error(verification), for this file, if they are not what they should be, or not of one version.
  std::vector<PieceOnDisk> pieces = {};
};

struct Completion {
  std::int64_t key = 0;
  std::string sha256 = {};          ///< Lower-case hex of the whole file.
  bool transferred = true;          ///< False: it was already there.
  bool unproven = false;            ///< It came in several runs, and the source named no version of it.
  model::FileVersion version = {};  ///< Of which all of it is; empty if that is not known.
};

/// Told what happened; every call comes from the thread that called Downloader::run. What it throws ends the run.
class Observer {
 public:
  virtual ~Observer() = default;
  /// These bytes of the `.part` file are written and synced, all of them with each call. For files of more than one
  /// range (the complete set before the file gets its final name), and for what a failed file or a run that ends early
  /// leaves.
  virtual void rangesOnDisk(std::int64_t key, std::span<const model::ByteRange> done,
                            const model::PartFacts& facts) = 0;
  /// The files bear their final names, and that is synced. Several at once, so that they can be recorded at once.
  virtual void completed(std::vector<Completion> files) = 0;
  /// This file can't be had (retries used up, or the source said so). The others go on.
  virtual void failed(std::int64_t key, const core::Error& error) = 0;
  /// The `.part` file does not hold what was recorded (gone, shorter, other bytes), or the source has another version
  /// of the file by now: the record must go, the file starts again. `why` is empty where
  /// only the connection broke, and what had come could not be gone on with.
  virtual void restarted(std::int64_t key, const std::string& why) = 0;
};

struct DownloadSettings {
  /// Fixes the number, but for a server that asks for fewer (throttled). Nothing: adapts, from `connectionsStart`.
  std::optional<unsigned> connections = {};
  unsigned connectionsStart = 8;
  unsigned connectionsMax = 64;
  /// Of files under way at a time; the connections have their own bound.
  std::size_t mostOpenFiles = std::numeric_limits<std::size_t>::max();
  std::uint64_t mostBytesPerSecond = 0;  ///< Of all connections together; 0: no limit.
  std::uint64_t rangeBytes = 8U << 20U;  ///< First size of a range; then sized from the measured rate.
  /// A range is sized to take half of it (Data Access cuts a response at 60 s).
  core::Duration longestResponse = std::chrono::seconds(20);
  /// Sync and report a large file's ranges at least this often. A crash loses at the most about twice this and twice
  /// one range a connection, of all files together: when recording falls behind by that much, fetching waits for it.
  std::uint64_t recordEveryBytes = 64U << 20U;
  core::RetryPolicy retry = {};  ///< Of each range, counted from its last byte.
  /// Where the source names no version, so much of a large file's end is read before the rest of it and again when all
  /// is there: a file that was rewritten meanwhile shows by it. A small file comes in one answer, or from its start
  /// again. 0: files are taken to stay what they are.
  std::uint64_t tailBytes = 256U << 10U;
};

/// The same settings for a process that may open so many files and connections more: fewer of both at a time, though
/// never less than one.
DownloadSettings within(std::uint64_t descriptors, DownloadSettings settings);

/// The most connections that a download with these settings opens: a low limit on the rate needs few.
unsigned mostConnections(const DownloadSettings& settings);

/// Live figures for a progress display; any thread may read them.
struct DownloadProgress {
  std::atomic<std::uint64_t> bytes = 0;  ///< Arrived in this run.
  /// On disk without having arrived in this run: files that are kept, and what earlier runs left of others. The caller
  /// may add files that it does not hand over at all.
  std::atomic<std::uint64_t> bytesKept = 0;
  std::atomic<std::uint64_t> totalBytes = 0;  ///< Of the files known so far; the feed's to set, like the next.
  std::atomic<std::uint64_t> totalFiles = 0;
  std::atomic<std::uint64_t> filesCompleted = 0;
  std::atomic<std::uint64_t> filesFailed = 0;
  std::atomic<unsigned> connections = 0;     ///< Busy now.
  std::atomic<std::uint64_t> throttled = 0;  ///< Answers of a server that asked for fewer requests.
  std::atomic<std::uint64_t> retries = 0;
};

struct DownloadSummary {
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::uint64_t bytes = 0;  ///< Arrived in this run.
  std::optional<core::Error> firstError = {};
  /// Too many tries brought no byte at all, so no further file was begun: items may be left that were not tried.
  bool gaveUp = false;
};

/// Hands out items, perhaps while more of them are still being found. Every call comes from the thread that called
/// Downloader::run; what it throws ends the run.
class ItemFeed {
 public:
  virtual ~ItemFeed() = default;
  /// First of all. `wake` may be called by any thread until end(): it lets attend() be called soon.
  virtual void begin(std::function<void()> /*wake*/) {}  // NOLINT(performance-unnecessary-value-param): kept by heirs
  /// After a wake, whether or not items are wanted.
  virtual void attend() {}
  /// The next item, or nothing for now. Called only as fast as items are needed, so that memory does not grow with
  /// their number.
  virtual std::optional<DownloadItem> next() = 0;
  /// Whether there may be more items after a wake, when there was none.
  virtual bool mayGrow() const { return false; }
  /// How long the source takes to answer a small request, if that is known when the first item is. Where this is long,
  /// the run begins with more connections, unless their number is fixed.
  virtual std::optional<std::chrono::nanoseconds> latency() const { return std::nullopt; }
  /// About how large each file is, if that is known before the first item is and all of them must be fetched.
  virtual std::optional<std::uint64_t> bytesAFile() const { return std::nullopt; }
  /// How many connections may be open from now on, where others share them with this process; asked first of all, and
  /// after each attend(). Nothing: as many as the settings allow.
  virtual std::optional<unsigned> mostConnections() const { return std::nullopt; }
  /// Last of all, however the run ends. Must not throw.
  virtual void end() {}
};

class Downloader {
 public:
  Downloader(ByteSource& source, core::FileSystem& files, core::Clock& clock, core::Random& random, core::Log& log,
             const DownloadSettings& settings);

  /// Downloads all items. Returns when each is completed or failed (or see `gaveUp`). After a stop request: what has
  /// arrived is synced and reported, then core::Interrupted. Error(io) of the disk, an error of the feed and one of the
  /// source that concerns all files are thrown after the same; what the observer throws, at once.
  DownloadSummary run(ItemFeed& feed, Observer& observer, DownloadProgress& progress, std::stop_token stop);

 private:
  ByteSource& source_;
  core::FileSystem& files_;
  core::Clock& clock_;
  core::Random& random_;
  core::Log& log_;
  DownloadSettings settings_;
};

/// Where an incomplete file lies: `TARGET.TAG.part`, with a shorter name where that would be too long for a file
/// system; `TARGET.part` without a tag. A target that ends so already is its own: it never gets another name.
std::filesystem::path partPathFor(const std::filesystem::path& target, const std::string& tag);
/// The tag of a job's files.
std::string partTagOf(const std::string& jobUuid);
/// What may follow that, with a dot between, where several processes do the job: whose the file is, as a number; and of
/// which piece it is, as `-` and another.
bool isFence(std::string_view text);

/// SHA-256 of a file's content, lower-case hex. Error(io) if it can't be read. Ends early with Interrupted.
std::string sha256OfFile(const std::filesystem::path& path, std::stop_token stop);

}  // namespace caiexport::transfer
