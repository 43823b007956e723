/// Brings the files of the job's batches to disk: adapts the platform client and the job store to the downloader.

#include <array>
#include <deque>

#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::FileRecord;
using model::FileState;

class PlatformSource final : public transfer::ByteSource {
 public:
  explicit PlatformSource(platform::Client& client) : client_(client) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, transfer::RangeSink& sink,
             std::stop_token stop) override {
    Adapter adapter(sink);
    client_.fetchFile(file, range, adapter, stop);
  }

 private:
  class Adapter final : public platform::FileSink {
   public:
    explicit Adapter(transfer::RangeSink& sink) : sink_(sink) {}
    void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) override {
      sink_.begin(offset, fileBytes);
    }
    void write(std::span<const std::byte> data) override { sink_.write(data); }

   private:
    transfer::RangeSink& sink_;
  };

  platform::Client& client_;
};

/// Hands out the files that are not here yet, a page at a time, so that memory does not grow with their number.
class PendingFiles {
 public:
  explicit PendingFiles(StepContext& context) : context_(context) {}

  std::optional<transfer::DownloadItem> next() {
    while (page_.empty()) {
      if (!loadPage()) return std::nullopt;
    }
    transfer::DownloadItem item = std::move(page_.front());
    page_.pop_front();
    return item;
  }

 private:
  static constexpr std::size_t kPage = 256;
  static constexpr std::array kUnfinished{FileState::pending, FileState::partial, FileState::failed};

  bool loadPage() {
    const std::vector<FileRecord> records = context_.tools.store.files(context_.job.id, lastId_, kPage, kUnfinished);
    if (records.empty()) return false;
    lastId_ = records.back().id;
    std::vector<std::int64_t> started;
    for (const FileRecord& record : records) {
      transfer::DownloadItem item = itemFor(record);
      const std::optional<std::uint64_t> there = context_.tools.files.sizeOf(item.target);
      if (record.state == FileState::pending) {
        if (there) {
          item.existingSha256 = hashOfExisting(record, item.target, *there);
        } else {
          // A link is somebody's too: completing the file would put it in the link's place.
          if (isLink(item.target)) requireReplaceable(record, item.target);
          started.push_back(record.id);
        }
      } else if (isOursAndWhole(record, item.target, there)) {
        item.done = {{0, record.remote.lengthBytes}};
      }
      page_.push_back(std::move(item));
    }
    if (!started.empty()) context_.tools.store.markStarted(started);
    return true;
  }

  transfer::DownloadItem itemFor(const FileRecord& record) const {
    return {.key = record.id,
            .remote = record.remote,
            .target = folderOf(context_.job, record.remote.batchId) / record.path,
            .done = record.done};
  }

  /// A file is marked as started only while nothing lies at its path, and gets its final name only when it is whole
  /// and synced. So what lies there after a crash is whole, only its hash was not recorded.
  bool isOursAndWhole(const FileRecord& record, const std::filesystem::path& target,
                      std::optional<std::uint64_t> there) const {
    if (record.state != FileState::partial || !record.done.empty() || there != record.remote.lengthBytes) return false;
    return !context_.tools.files.sizeOf(target.string() + ".part");
  }

  /// The recorded hash of what lies there, if a record knows it. Error(io) for a file that none of our jobs made.
  std::string hashOfExisting(const FileRecord& record, const std::filesystem::path& target, std::uint64_t sizeBytes) {
    Tools& tools = context_.tools;
    if (sizeBytes == record.remote.lengthBytes) {
      const auto known = tools.store.knownFile(context_.job, record.remote.batchId, record.path, sizeBytes);
      if (known) return known->sha256;
    }
    requireReplaceable(record, target);
    return {};
  }

  static bool isLink(const std::filesystem::path& target) {
    std::error_code ignored;
    return std::filesystem::is_symlink(std::filesystem::symlink_status(target, ignored));
  }

  void requireReplaceable(const FileRecord& record, const std::filesystem::path& target) const {
    store::JobStore& jobs = context_.tools.store;
    if (context_.job.request.force || jobs.isRecordedPath(context_.job, record.remote.batchId, record.path)) return;
    throw Error(Category::io, "'" + target.string() + "' is there already and no job of this database made it",
                {.hint = "move it away, choose another --output, or overwrite it with --force"});
  }

  StepContext& context_;
  std::int64_t lastId_ = 0;
  std::deque<transfer::DownloadItem> page_;
};

class Recorder final : public transfer::Observer {
 public:
  explicit Recorder(StepContext& context) : context_(context) {}

  void rangesOnDisk(std::int64_t key, std::span<const model::ByteRange> done) override {
    context_.tools.store.recordRanges(key, done);
  }

  void completed(std::span<const transfer::Completion> files) override {
    std::vector<store::JobStore::Downloaded> rows;
    rows.reserve(files.size());
    for (const transfer::Completion& file : files) {
      rows.push_back({.file = file.key, .sha256 = file.sha256});
      if (!file.transferred) ++kept_;
    }
    context_.tools.store.recordDownloaded(rows);
  }

  void failed(std::int64_t key, const Error& error) override {
    context_.tools.store.addEvent(context_.job.id, context_.step.name, "file_failed", error.what());
    // What arrived of a file that is out of reach for now is kept; a wrong one starts again.
    if (error.category() != Category::unavailable) context_.tools.store.recordFileFailed(key);
  }

  void restarted(std::int64_t key) override { context_.tools.store.forgetRanges(key); }

  std::uint64_t kept() const { return kept_; }

 private:
  StepContext& context_;
  std::uint64_t kept_ = 0;
};

/// Ends the observer's display however the download ends.
class ShownProgress {
 public:
  explicit ShownProgress(StepContext& context) : observer_(context.tools.observer) {
    observer_.downloadStarted(context.job, progress);
  }
  ~ShownProgress() { observer_.downloadEnded(); }
  ShownProgress(const ShownProgress&) = delete;
  ShownProgress& operator=(const ShownProgress&) = delete;

  transfer::DownloadProgress progress;

 private:
  RunObserver& observer_;
};

[[noreturn]] void throwSomeFailed(const StepContext& context, const transfer::DownloadSummary& summary) {
  const std::string job = std::to_string(model::numberOf(context.job.id));
  const Error& first = *summary.firstError;
  throw Error(
      first.category() == Category::verification || first.category() == Category::protocol ? first.category()
                                                                                           : Category::unavailable,
      std::to_string(summary.failed) + " of " + std::to_string(context.job.fileCount) +
          " files could not be downloaded; the first: " + first.what(),
      {.requestId = first.requestId(), .hint = "what arrived is kept; caiexport resume " + job + " fetches the rest"});
}

}  // namespace

void fetchMissing(StepContext& context) {
  Tools& tools = context.tools;
  holdFolders(context);
  // Time has passed since the list was made: files may have changed, the batch may have been withdrawn.
  if (!context.run.listedHere) refreshListing(context);

  PlatformSource source(tools.client);
  PendingFiles pending(context);
  Recorder recorder(context);
  transfer::Downloader downloader(source, tools.files, tools.clock, tools.random, tools.log, tools.download);
  const transfer::DownloadSummary summary = [&] {
    ShownProgress shown(context);
    return downloader.run([&] { return pending.next(); }, recorder, shown.progress, context.stop);
  }();
  if (summary.failed > 0) throwSomeFailed(context, summary);
  if (recorder.kept() > 0) {
    const std::string text = recorder.kept() == context.job.fileCount
                                 ? "all files are here already"
                                 : std::to_string(recorder.kept()) + " files were here already";
    tools.observer.notice(text);
    tools.store.addEvent(context.job.id, context.step.name, "files_kept", text);
  }
}

Turn downloadFiles(StepContext& context) {
  fetchMissing(context);
  context.tools.store.finishStep(context.job.id, context.step.name, {});
  return {};
}

}  // namespace caiexport::engine
