#pragma once
/// What is to be fetched next, and in how large pieces. Not thread safe (the run's lock guards it), knows no
/// clock.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"
#include "caiexport/transfer/downloader.h"
#include "part_file.h"

namespace caiexport::transfer {

struct FileTask;

/// What is done with the bytes of a range.
enum class Purpose {
  data,
  tail,   ///< Kept like others, but nothing else of the file is fetched before.
  check,  ///< Compared with what is on disk.
};

/// A range that one worker is fetching. The worker claims bytes from its front while another may take its tail away.
class Piece {
 public:
  Piece(std::shared_ptr<FileTask> file, model::ByteRange range, int failedTries, core::SteadyTime now,
        Purpose purpose = Purpose::data)
      : file_(std::move(file)),
        asked_(range),
        failedTries_(failedTries),
        begun_(now),
        purpose_(purpose),
        rest_(range) {}

  const std::shared_ptr<FileTask>& file() const { return file_; }
  const model::ByteRange& asked() const { return asked_; }
  /// Failed tries of this range since its last byte.
  int failedTries() const { return failedTries_; }
  core::SteadyTime begun() const { return begun_; }
  Purpose purpose() const { return purpose_; }

  // Any thread may call these.

  /// What nobody has claimed yet.
  model::ByteRange rest() const;
  /// Takes up to `most` bytes from the front of the rest.
  model::ByteRange claim(std::uint64_t most);
  /// Gives up what lies before `offset`; returns it.
  model::ByteRange skipTo(std::uint64_t offset);
  /// Takes away the tail from `offset` on, or what is left of it.
  model::ByteRange cutAt(std::uint64_t offset);

 private:
  const std::shared_ptr<FileTask> file_;
  const model::ByteRange asked_;
  const int failedTries_;
  const core::SteadyTime begun_;
  const Purpose purpose_;
  mutable std::mutex mutex_;
  model::ByteRange rest_;
};

/// Bytes that no worker is fetching yet.
struct Gap {
  model::ByteRange range = {};
  int failedTries = 0;
  core::SteadyTime notBefore = {};
  Purpose purpose = Purpose::data;
};

enum class FileStage {
  fetching,
  recording,   ///< All is here, and on its way to the record; only then the file gets its final name.
  publishing,  ///< It is in the record.
  published,   ///< Somebody gives it its final name, or has.
  failed,
};

/// The folder of a path, as part of its text.
inline std::string_view folderOf(const std::filesystem::path& target) {
  const std::string_view whole = target.native();
  const std::size_t slash = whole.rfind('/');
  if (slash == whole.npos) return ".";
  return whole.substr(0, std::max<std::size_t>(slash, 1));
}

struct FileTask {
  FileTask(core::FileSystem& files, DownloadItem&& what)
      : item(std::move(what)), part(files, partPathFor(item.target, item.partTag), item.remote.lengthBytes) {}

  /// Of several runs, and no validator shows that all of it is of one version.
  bool isUnproven() const { return severalRuns && (!versions.isKnown() || !versions.agree()); }
  /// Its failure, if any, says that what came is worth nothing. With the lock held, or by its only chore.
  bool isOfAnotherFile() const { return failure && failure->category() == core::Category::verification; }

  /// Nothing of it is wanted, or on its way, any more. With the lock held.
  bool hasEnded() const { return active.empty() && (failure || (gaps.empty() && later.empty())); }
  /// With the lock held.
  model::PartFacts factsOf(const PartFile::Synced& synced) const {
    return {.sum = synced.sum, .version = versions.known(), .tailFirst = tailFirst, .severalRuns = severalRuns};
  }

  DownloadItem item;
  const std::string_view folder = folderOf(item.target);  ///< Part of that.
  PartFile part;
  Versions versions = {};

  // The rest is guarded by the run's lock.
  std::vector<Gap> gaps = {};  ///< In order.
  std::vector<std::shared_ptr<Piece>> active = {};
  FileStage stage = FileStage::fetching;
  std::optional<core::Error> failure = {};
  std::string sha256 = {};                   ///< Once all is there. Like the next, set and read by chores.
  std::uint64_t syncedBytes = 0;             ///< Not recorded yet.
  bool recorded = false;                     ///< The observer is told of ranges.
  bool ignoresRanges = false;                ///< The source answers with the whole file.
  std::vector<model::ByteRange> later = {};  ///< To be fetched once the tail is here.
  bool tailFirst = false;                    ///< The tail was, or is, read before all else.
  bool severalRuns = false;                  ///< As PartFacts::severalRuns.
  std::vector<model::ByteRange> seams = {};  ///< Of an earlier run, right before what was missing.
  bool checked = false;                      ///< Tail and seams are, or were, read again.
  bool isToBegin = false;                    ///< The failure is none: the file starts again, as `again` if that is set.
  std::shared_ptr<FileTask> again = {};
  unsigned restarts = 0;  ///< Because of another version.
  core::SteadyTime notBefore = {};
  bool recordPending = false;  ///< A sync for the record is queued or at work.
  bool choreQueued = false;
  bool choreRunning = false;
  bool choreAgain = false;
};

/// What is read first of a file, and again at its end.
inline model::ByteRange tailOf(std::uint64_t lengthBytes, std::uint64_t tailBytes) {
  return {lengthBytes - std::min(tailBytes, lengthBytes / 2), lengthBytes};
}

class Schedule {
 public:
  using File = std::shared_ptr<FileTask>;
  struct Settings {
    std::uint64_t rangeBytes = 0;
    core::Duration longestResponse = {};
    double expectedBytesPerSecond = 0;  ///< Of one connection, before any is measured; 0: not known.
    std::uint64_t tailBytes = 0;        ///< As DownloadSettings::tailBytes.
  };

  explicit Schedule(Settings settings);
  /// Lets go of the pieces that were under way: they and their files hold each other.
  ~Schedule();
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  // Files go through: add, begin, open, retire.

  void add(File file);
  /// One that must be begun anew.
  void addFirst(File file);
  /// In place of one that is begun.
  void replace(const File& file, File by);
  bool hasFresh() const { return !fresh_.empty(); }
  std::size_t freshCount() const { return fresh_.size(); }
  /// Of the file that is begun next; there is one.
  std::uint64_t nextLengthBytes() const { return fresh_.front()->item.remote.lengthBytes; }
  const std::vector<File>& begun() const { return begun_; }
  std::uint64_t begunBytes() const { return begunBytes_; }
  bool empty() const { return fresh_.empty() && begun_.empty(); }
  File begin();
  /// Its missing ranges are for the workers now.
  void open(const File& file, const std::vector<model::ByteRange>& missing);
  void open(const File& file, model::ByteRange missing, Purpose purpose = Purpose::data);
  void retire(const File& file);
  /// No more of its ranges are given out, and those under way end soon.
  void abandon(FileTask& file);
  /// There are no more files than those added.
  void setExhausted() { exhausted_ = true; }
  /// From now on at most so many ranges of one file are under way at once; at least 1.
  void limitPerFile(unsigned connections) { mostOnOneFile_ = connections; }

  // Ranges.

  /// The next range of a file that the worker has just worked on: so its bytes are hashed in order, from the cache.
  std::shared_ptr<Piece> continueFile(const File& file, core::SteadyTime now, unsigned connections);
  /// A range of the file that has most left.
  std::shared_ptr<Piece> takeAny(core::SteadyTime now, unsigned connections);
  /// Half of the largest range under way, if that saves time.
  std::shared_ptr<Piece> splitTail(core::SteadyTime now);
  bool canSplit(core::SteadyTime now) const { return splittable(now) != nullptr; }
  bool hasGap(core::SteadyTime now) const;
  /// When the next range that waits may be asked for again.
  std::optional<core::SteadyTime> earliestRetry(core::SteadyTime now) const;
  void giveBack(FileTask& file, Gap gap);
  /// The piece is no longer being fetched; `missingBytes` of it did not come.
  void ended(const std::shared_ptr<Piece>& piece, std::uint64_t missingBytes);

  /// What a crash would lose: bytes under way, or here but not recorded yet.
  std::uint64_t unrecordedBytes() const { return unrecordedBytes_; }
  void recorded(std::uint64_t bytes) { unrecordedBytes_ -= bytes; }

  // Measured rates.

  void measured(std::uint64_t bytes, std::chrono::nanoseconds firstByteWait, std::chrono::nanoseconds transfer);
  /// What a range should hold by the rate of a connection.
  std::uint64_t rangeBytes() const;

 private:
  std::uint64_t rangeBytesNow(unsigned connections) const;
  std::shared_ptr<Piece> cut(const File& file, Gap& gap, core::SteadyTime now, unsigned connections);
  std::shared_ptr<Piece> start(const File& file, model::ByteRange range, int failedTries, core::SteadyTime now,
                               Purpose purpose = Purpose::data);
  bool comesInOne(const FileTask& file) const;
  std::vector<Gap>::iterator readyGap(FileTask& file, core::SteadyTime now) const;
  std::shared_ptr<Piece> splittable(core::SteadyTime now) const;
  double secondsLeft(const Piece& piece, core::SteadyTime now) const;

  const Settings settings_;
  std::deque<File> fresh_;
  std::vector<File> begun_;
  std::uint64_t begunBytes_ = 0;  ///< Lengths of the begun files.
  std::uint64_t unrecordedBytes_ = 0;
  std::uint64_t waitingBytes_ = 0;  ///< In the gaps of all files.
  std::size_t mostOnOneFile_ = std::numeric_limits<std::size_t>::max();
  bool exhausted_ = false;
  double bytesPerSecond_ = 0;  ///< Of one connection while bytes come; 0: not known.
  double firstByteSeconds_ = 0;
};

}  // namespace caiexport::transfer
