#include "file_feed.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::FileRecord;
using model::FileState;

constexpr std::size_t kPage = 256;
constexpr std::array kUnfinished{FileState::pending, FileState::partial, FileState::failed};

/// Of a link itself, not of what it leads to.
std::filesystem::file_type typeOf(const std::filesystem::path& target) {
  std::error_code ignored;
  return std::filesystem::symlink_status(target, ignored).type();
}

}  // namespace

FileFeed::FileFeed(StepContext& context, transfer::DownloadProgress& progress, const FetchOptions& options)
    : context_(context), progress_(progress), lists_(options.lists), onListed_(options.onListed) {
  if (lists_) return;
  progress_.totalFiles = context.job.fileCount;
  progress_.totalBytes = context.job.totalBytes;
}

void FileFeed::begin(std::function<void()> wake) {
  if (!lists_) return;
  wake_ = std::move(wake);
  std::vector<model::BatchId> batches;
  for (const model::Batch& batch : context_.job.batches) {
    folderOf(context_.job, batch.id);  // refuses ids that can't be folders before anything is listed under them
    // Now, not with its first page: what an earlier listing said of a file may be wrong by now.
    context_.tools.store.beginListing(context_.job.id, batch.id);
    batches.push_back(batch.id);
  }
  lister_ = std::make_unique<BatchLister>(context_.tools.client, std::move(batches), wake_, context_.stop);
}

void FileFeed::attend() {
  if (!lists_) return;
  while (std::optional<BatchLister::Page> page = lister_->take()) record(*std::move(page));
  settle();
}

void FileFeed::record(BatchLister::Page page) {
  store::JobStore& store = context_.tools.store;
  store.addFiles(context_.job.id, page.files);
  progress_.totalFiles += page.files.size();
  for (const model::RemoteFile& file : page.files) progress_.totalBytes += file.lengthBytes;
  if (page.last) unsettled_.push_back(page.batch);
}

void FileFeed::settle() {
  std::erase_if(unsettled_, [this](const model::BatchId& batch) { return settleBatch(batch); });
  if (unsettled_.empty() && lister_->ended()) endListing();
}

/// Gives the files of a batch that is listed their final paths; false while one that would have to move is under way.
bool FileFeed::settleBatch(const model::BatchId& batch) {
  const auto displaced = context_.tools.store.displacedFiles(context_.job.id, batch);
  if (std::ranges::any_of(displaced, [this](const auto& file) { return underWay_.contains(file.file); })) return false;
  settleListing(context_, batch, displaced);
  return true;
}

void FileFeed::endListing() {
  lists_ = false;
  // Once more from the start: the path of some could not be relied on before.
  lastId_ = 0;
  const model::Job job = context_.tools.store.load(context_.job.id);
  progress_.totalFiles = job.fileCount;
  progress_.totalBytes = job.totalBytes;
  if (onListed_) onListed_();
}

std::optional<std::chrono::nanoseconds> FileFeed::latency() const {
  return context_.tools.client.shortestAnswer();
}

std::optional<transfer::DownloadItem> FileFeed::next() {
  while (page_.empty()) {
    if (!loadPage()) return std::nullopt;
  }
  transfer::DownloadItem item = std::move(page_.front());
  page_.pop_front();
  return item;
}

void FileFeed::onCompleted(std::int64_t file) {
  handedOut_.erase(file);
  underWay_.erase(file);
  if (lists_ && !unsettled_.empty()) wake_();
}

void FileFeed::onFailed(std::int64_t file) {
  underWay_.erase(file);
  if (lists_ && !unsettled_.empty()) wake_();
}

bool FileFeed::loadPage() {
  const std::vector<FileRecord> records = nextRecords();
  if (records.empty()) return false;
  holdFolders(context_);
  std::vector<std::int64_t> started;
  std::filesystem::path checkedFolder;
  for (const FileRecord& record : records) {
    lastId_ = record.id;
    if (handedOut_.contains(record.id)) continue;
    transfer::DownloadItem item = itemFor(record);
    // Most share the folder of their batch; files that share a name lie in folders of their own.
    if (std::filesystem::path folder = item.target.parent_path(); folder != checkedFolder) {
      refuseLink(folder);
      checkedFolder = std::move(folder);
    }
    page_.push_back(prepared(record, std::move(item), started));
    handedOut_.insert(record.id);
    underWay_.insert(record.id);
  }
  context_.tools.store.markStarted(started);
  return true;
}

std::vector<FileRecord> FileFeed::nextRecords() {
  store::JobStore& store = context_.tools.store;
  return lists_ ? store.filesOnceListed(context_.job.id, lastId_, kPage, kUnfinished)
                : store.files(context_.job.id, lastId_, kPage, kUnfinished);
}

transfer::DownloadItem FileFeed::prepared(const FileRecord& record, transfer::DownloadItem item,
                                          std::vector<std::int64_t>& started) {
  core::FileSystem& files = context_.tools.files;
  if (record.state != FileState::pending) {
    const bool whole = isOursAndWhole(record, item.target, files.sizeOf(item.target));
    if (whole) item.done = {{0, record.remote.lengthBytes}};
    return item;
  }
  const std::filesystem::file_type type = typeOf(item.target);
  const bool nothing = type == std::filesystem::file_type::not_found;
  if (const auto there = nothing ? std::nullopt : files.sizeOf(item.target)) {
    item.existingSha256 = hashOfExisting(record, item.target, *there);
    return item;
  }
  // A link is somebody's too: completing the file would put it in the link's place.
  if (type == std::filesystem::file_type::symlink) requireReplaceable(record, item.target);
  started.push_back(record.id);
  return item;
}

transfer::DownloadItem FileFeed::itemFor(const FileRecord& record) const {
  return {.key = record.id,
          .remote = record.remote,
          .target = folderOf(context_.job, record.remote.batchId) / record.path,
          .done = record.done};
}

/// A file is marked as started only while nothing lies at its path, and gets its final name only when it is whole
/// and synced. So what lies there after a crash is whole, only its hash was not recorded.
bool FileFeed::isOursAndWhole(const FileRecord& record, const std::filesystem::path& target,
                              std::optional<std::uint64_t> there) const {
  if (record.state != FileState::partial || !record.done.empty() || there != record.remote.lengthBytes) return false;
  return !context_.tools.files.sizeOf(target.string() + ".part");
}

/// The recorded hash of what lies there, if a record knows it. Error(io) for a file that none of our jobs made.
std::string FileFeed::hashOfExisting(const FileRecord& record, const std::filesystem::path& target,
                                     std::uint64_t sizeBytes) {
  Tools& tools = context_.tools;
  if (sizeBytes == record.remote.lengthBytes) {
    const auto known = tools.store.knownFile(context_.job, record.remote.batchId, record.path, sizeBytes);
    if (known) return known->sha256;
  }
  requireReplaceable(record, target);
  return {};
}

void FileFeed::requireReplaceable(const FileRecord& record, const std::filesystem::path& target) const {
  store::JobStore& jobs = context_.tools.store;
  if (context_.job.request.force || jobs.isRecordedPath(context_.job, record.remote.batchId, record.path)) return;
  throw Error(Category::io, "'" + target.string() + "' is there already and no job of this database made it",
              {.hint = "move it away, choose another --output, or overwrite it with --force"});
}

}  // namespace caiexport::engine
