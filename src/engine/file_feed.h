#pragma once
/// What a job fetches: its files that are not here yet, also while the platform still lists them, and where their bytes
/// come from.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/engine/layout.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/share_store.h"
#include "caiexport/transfer/downloader.h"
#include "steps.h"

namespace caiexport::engine {

/// The platform's files as what the downloader fetches.
class PlatformSource final : public transfer::ByteSource {
 public:
  explicit PlatformSource(platform::Client& client) : client_(client) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
             std::stop_token stop) override {
    client_.fetchFile(file, range, sink, std::move(stop));
  }
  void prepareForMany(unsigned connections) override { client_.prepareForMany(connections); }
  void fetchOneOfMany(const model::RemoteFile& file, std::span<const model::RemoteFile* const> next,
                      model::ByteSink& sink, std::stop_token stop) override {
    client_.fetchOneOfMany(file, next, sink, std::move(stop));
  }

 private:
  platform::Client& client_;
};

/// A piece of a file as if it were a file.
class PieceSource final : public transfer::ByteSource {
 public:
  PieceSource(platform::Client& client, model::RemoteFile whole, std::uint64_t first)
      : client_(client), whole_(std::move(whole)), first_(first) {}

  /// Error(protocol), of this file, if the platform does not heed ranges.
  void fetch(const model::RemoteFile& piece, model::ByteRange range, model::ByteSink& sink,
             std::stop_token stop) override;

 private:
  platform::Client& client_;
  const model::RemoteFile whole_;
  const std::uint64_t first_;
};

/// Lists files on a thread of its own, so that the first ones can be fetched while the platform still names others.
class BatchLister {
 public:
  /// Files of one batch, in the order of the listing.
  struct Page {
    model::BatchId batch = {};
    std::vector<model::RemoteFile> files = {};
    bool last = false;  ///< Of this batch; each batch has one such page, perhaps an empty one.
  };

  /// `arrived` is called on the lister's thread after each page, and at the end.
  BatchLister(platform::Client& client, std::vector<model::BatchId> batches, std::function<void()> arrived,
              std::stop_token stop);
  /// Stops listing.
  ~BatchLister();
  BatchLister(const BatchLister&) = delete;
  BatchLister& operator=(const BatchLister&) = delete;

  /// The next page, or nothing for now. What ended the listing early is thrown after the pages before it.
  std::optional<Page> take();
  /// Whether all pages were taken.
  bool ended() const;

 private:
  void list(const std::stop_token& stop);
  void listBatch(const model::BatchId& batch, const std::stop_token& stop);
  void push(Page page, const std::stop_token& stop);

  platform::Client& client_;
  const std::vector<model::BatchId> batches_;
  const std::function<void()> arrived_;
  mutable std::mutex mutex_;
  std::condition_variable_any taken_;
  std::deque<Page> pages_;
  std::exception_ptr problem_;
  bool finished_ = false;
  std::jthread thread_;
  std::stop_callback<std::function<void()>> onStop_;
};

/// Of a shared job: which of its files this worker fetches, and over how many connections. Files are taken a few at a
/// time, only when those before are under way, and fewer near the end: so that all workers end at the same time.
class Portion {
 public:
  /// `progress`: of this worker, from portions before.
  Portion(StepContext& context, const transfer::DownloadProgress& progress);
  /// `wake` is called twice a second, and when somebody calls wake().
  void begin(std::function<void()> wake);
  void end() { ticker_ = {}; }
  void wake() const { wake_(); }
  /// Tells the others if the platform asked for fewer requests; looks, now and then, how many they are.
  void attend(const transfer::DownloadProgress& progress);
  unsigned connections() const { return connections_; }

  /// More files, or pieces, or none for now. `held`: that this worker has and that are not done.
  std::vector<store::ShareStore::Taken> take(std::size_t held, unsigned busyConnections);
  /// Whether the file, which nobody has begun, is for all workers now; this one does not hold it any more then.
  bool split(const model::FileRecord& file);
  /// What comes of what was taken lies there.
  void begun(std::int64_t key, std::filesystem::path part) { held_[key] = std::move(part); }
  /// Taken, and not dropped, with where what came of it lies; empty where it is not begun.
  const std::map<std::int64_t, std::filesystem::path>& held() const { return held_; }
  /// This worker is done with it, one way or the other.
  void drop(std::int64_t key) { held_.erase(key); }

 private:
  StepContext& context_;
  store::ShareStore& share_;
  std::function<void()> wake_;
  std::map<std::int64_t, std::filesystem::path> held_;  ///< Files, and pieces, which are below zero.
  store::ShareStore::Crew crew_;
  core::SteadyTime looked_;
  std::size_t atOnce_ = 1;
  std::uint64_t throttled_ = 0;  ///< Of the progress, as far as it was recorded.
  unsigned connections_ = 1;
  std::jthread ticker_;
};

/// Hands out the files that are not here yet, a page at a time, so that memory does not grow with their number; while
/// they are still being listed, too. For the thread that runs the job.
class FileFeed final : public transfer::ItemFeed {
 public:
  /// `lists`: asks the platform for the files first; each is handed out as soon as it is recorded and its path can be
  /// relied on.
  FileFeed(StepContext& context, transfer::DownloadProgress& progress, bool lists);
  /// Of a shared job whose files are listed: those that this worker takes, until none is free.
  FileFeed(StepContext& context, transfer::DownloadProgress& progress, Portion& portion);

  void begin(std::function<void()> wake) override;
  void end() override;
  void attend() override;
  std::optional<transfer::DownloadItem> next() override;
  /// Of a portion: while a file is under way, since another worker may die meanwhile.
  bool mayGrow() const override { return portion_ != nullptr ? !underWay_.empty() : lists_; }
  std::optional<std::chrono::nanoseconds> latency() const override;
  std::optional<unsigned> mostConnections() const override;
  std::optional<std::uint64_t> bytesAFile() const override;

  /// The downloader is done with the file: it is complete, or could not be downloaded.
  void onCompleted(std::int64_t file);
  void onFailed(std::int64_t file);
  /// The same of a piece, of which nobody has any use.
  void onUseless(std::int64_t piece);
  bool handedOutAny() const { return handedOutAny_; }

 private:
  void done(std::int64_t file);
  void record(BatchLister::Page page);
  void settle();
  bool settleBatch(const model::BatchId& batch);
  void listed();
  bool loadPage();
  void unmark(const model::BatchId& batch);
  std::vector<store::ShareStore::Taken> nextFiles();
  void add(store::ShareStore::Taken& taken, std::vector<std::int64_t>& started);
  void addPiece(const store::ShareStore::Taken& taken);
  void handOut(transfer::DownloadItem&& item);
  void lookAtTarget(const model::FileRecord& record, transfer::DownloadItem& item, std::vector<std::int64_t>& started);
  transfer::DownloadItem itemFor(const store::ShareStore::Taken& taken);
  std::filesystem::path targetOf(const model::FileRecord& record);
  std::string tagOfPiece(const store::ShareStore::Piece& piece) const;
  void useExisting(const model::FileRecord& record, transfer::DownloadItem& item, std::uint64_t sizeBytes);
  std::string hashInManifest(const model::FileRecord& record);
  bool isReplaceable(const model::FileRecord& record) const;
  void requireReplaceable(const model::FileRecord& record, const std::filesystem::path& target) const;

  StepContext& context_;
  BatchFolders folders_{context_.job};
  transfer::DownloadProgress& progress_;
  bool lists_;
  Portion* portion_ = nullptr;
  std::function<void()> wake_;
  std::deque<model::BatchId> unsettled_;  ///< All their pages are in.
  std::int64_t lastId_ = 0;
  bool handedOutAny_ = false;
  std::string checkedFolder_;
  std::vector<transfer::DownloadItem> page_;
  std::size_t givenOfPage_ = 0;
  std::set<std::int64_t> underWay_;    ///< Handed out, or about to be, and not done; files and pieces.
  std::set<std::int64_t> failed_;      ///< Not to be handed out again.
  std::set<model::BatchId> unmarked_;  ///< Not said to be whole, since files of theirs are fetched.
  std::optional<model::BatchId> manifestOf_;
  std::map<std::pair<std::string, std::uint64_t>, std::string> hashes_;  ///< By path and length, in that manifest.
  std::unique_ptr<BatchLister> lister_;                                  // last: its thread calls wake_
};

}  // namespace caiexport::engine
