#include "file_feed.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/store/job_store.h"
#include "folders.h"
#include "select_step.h"

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

/// By path and length, of a manifest that is this batch's.
std::map<std::pair<std::string, std::uint64_t>, std::string> hashesInManifest(const model::Job& job,
                                                                              const model::BatchId& batch) {
  const std::filesystem::path folder = folderOf(job, batch);
  const std::optional<std::filesystem::path> there = manifestIn(folder);
  if (!there || typeOf(*there) != std::filesystem::file_type::regular) return {};
  try {
    const Manifest manifest = readManifest(folder);
    if (manifest.datasetId != job.datasetId.value() || manifest.batchId != batch.value()) return {};
    std::map<std::pair<std::string, std::uint64_t>, std::string> hashes;
    for (const ManifestFile& file : manifest.files) {
      if (!file.sha256.empty()) hashes.emplace(std::pair(file.path, file.bytes), file.sha256);
    }
    return hashes;
  } catch (const Error&) {
    // One that can't be read says nothing about any file.
    return {};
  }
}

// Bounds memory; whoever takes pages has nothing slower to do than recording them.
constexpr std::size_t kMostPages = 16;
// Of so many files at once, more are likely to follow.
constexpr std::size_t kFullPage = 50;

}  // namespace

FileFeed::FileFeed(StepContext& context, transfer::DownloadProgress& progress, bool lists)
    : context_(context), progress_(progress), lists_(lists) {
  if (lists_) return;
  progress_.totalFiles = context.job.fileCount;
  progress_.totalBytes = context.job.totalBytes;
}

FileFeed::FileFeed(StepContext& context, transfer::DownloadProgress& progress, Portion& portion)
    : FileFeed(context, progress, false) {
  portion_ = &portion;
}

void FileFeed::end() {
  lister_.reset();
  if (portion_ != nullptr) portion_->end();
}

void FileFeed::begin(std::function<void()> wake) {
  if (portion_ != nullptr) portion_->begin(std::move(wake));
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
  if (portion_ != nullptr) portion_->attend(progress_);
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
  if (unsettled_.empty() && lister_->ended()) listed();
}

/// Gives the files of a batch that is listed their final paths; false while one that would have to move is under way.
bool FileFeed::settleBatch(const model::BatchId& batch) {
  settleNames(context_, batch);
  const auto displaced = context_.tools.store.displacedFiles(context_.job.id, batch);
  if (std::ranges::any_of(displaced, [this](const auto& file) { return underWay_.contains(file.file); })) return false;
  settleListing(context_, batch, displaced);
  return true;
}

void FileFeed::listed() {
  lists_ = false;
  // Once more from the start: the path of some could not be relied on before.
  lastId_ = 0;
  const model::Job job = endListing(context_);
  progress_.totalFiles = job.fileCount;
  progress_.totalBytes = job.totalBytes;
}

std::optional<std::chrono::nanoseconds> FileFeed::latency() const {
  return context_.tools.client.shortestAnswer();
}

std::optional<unsigned> FileFeed::mostConnections() const {
  if (portion_ == nullptr) return std::nullopt;
  return portion_->connections();
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
  done(file);
}

void FileFeed::onFailed(std::int64_t file) {
  // Of a portion, it may come back: from another worker.
  if (portion_ != nullptr) handedOut_.erase(file);
  done(file);
}

void FileFeed::done(std::int64_t file) {
  underWay_.erase(file);
  if (portion_ != nullptr) portion_->drop(file);
  if (portion_ != nullptr) portion_->wake();
  if (lists_ && !unsettled_.empty()) wake_();
}

bool FileFeed::loadPage() {
  const std::vector<FileRecord> records = nextRecords();
  if (records.empty()) return false;
  holdFolders(context_);
  // Where names are taken for others, no path can be relied on before all of them are known.
  if (lists_ && folderFolds(context_)) return false;
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
    handedOut_.insert(record.id);
    underWay_.emplace(record.id, transfer::partPathFor(item.target, item.partTag));
    page_.push_back(prepared(record, std::move(item), started));
    if (page_.back().existingSha256.empty() || record.state == FileState::failed) unmark(record.remote.batchId);
  }
  context_.tools.store.markStarted(started);
  return true;
}

/// Something of the batch is about to be fetched; once is enough, since only this run says that all is whole again.
void FileFeed::unmark(const model::BatchId& batch) {
  if (unmarked_.insert(batch).second) unmarkWhole(folderOf(context_.job, batch), context_.tools.files);
}

std::vector<FileRecord> FileFeed::nextRecords() {
  if (portion_ != nullptr) return portion_->take(underWay_.size(), progress_.connections);
  store::JobStore& store = context_.tools.store;
  return lists_ ? store.filesOnceListed(context_.job.id, lastId_, kPage, kUnfinished)
                : store.files(context_.job.id, lastId_, kPage, kUnfinished);
}

transfer::DownloadItem FileFeed::prepared(const FileRecord& record, transfer::DownloadItem item,
                                          std::vector<std::int64_t>& started) {
  const std::filesystem::file_type type = typeOf(item.target);
  const bool nothing = type == std::filesystem::file_type::not_found;
  const auto there = nothing ? std::nullopt : context_.tools.files.sizeOf(item.target);
  item.replaces = !nothing;
  if (there) {
    useExisting(record, item, *there);
    return item;
  }
  // A link is somebody's too: completing the file would put it in the link's place.
  if (type == std::filesystem::file_type::symlink) requireReplaceable(record, item.target);
  if (record.state == FileState::pending) started.push_back(record.id);
  return item;
}

transfer::DownloadItem FileFeed::itemFor(const FileRecord& record) {
  std::string tag = transfer::partTagOf(context_.job.uuid);
  if (portion_ != nullptr) tag += "." + std::to_string(portion_->fenceOf(record.id));
  return {.key = record.id,
          .remote = record.remote,
          .target = folders_.of(record.remote.batchId) / record.path,
          // Without a sum, from an older version of the program, nothing tells our bytes from others.
          .done = record.part.sum ? record.done : std::vector<model::ByteRange>(),
          .part = record.part,
          .partTag = std::move(tag)};
}

/// What lies there is kept if a record, or the manifest beside it, knows its hash; what a record knows, by whatever
/// hash, may be replaced. Error(io) for a file that none of our jobs made.
void FileFeed::useExisting(const FileRecord& record, transfer::DownloadItem& item, std::uint64_t sizeBytes) {
  Tools& tools = context_.tools;
  if (sizeBytes == record.remote.lengthBytes) {
    const auto known = tools.store.knownFile(context_.job, record.remote.batchId, record.path, sizeBytes);
    if (known) {
      item.existingSha256 = known->sha256;
      return;
    }
    item.existingSha256 = hashInManifest(record);
    item.replaces = item.existingSha256.empty() || isReplaceable(record);
    if (!item.existingSha256.empty()) return;
    // Of a file that was begun: what a run left that ended before it could record it, or something foreign that has
    // turned up since. Which of them, the downloader finds out.
    if (record.state == FileState::partial) {
      item.replaces = isReplaceable(record);
      return;
    }
  }
  requireReplaceable(record, item.target);
}

/// By the manifest of a job whose database is lost; nothing if it does not name the file with this length.
std::string FileFeed::hashInManifest(const FileRecord& record) {
  if (manifestOf_ != record.remote.batchId) {
    manifestOf_ = record.remote.batchId;
    hashes_ = hashesInManifest(context_.job, record.remote.batchId);
  }
  const auto found = hashes_.find({record.path, record.remote.lengthBytes});
  return found == hashes_.end() ? std::string() : found->second;
}

bool FileFeed::isReplaceable(const FileRecord& record) const {
  store::JobStore& jobs = context_.tools.store;
  return context_.job.request.force || jobs.isRecordedPath(context_.job, record.remote.batchId, record.path);
}

void FileFeed::requireReplaceable(const FileRecord& record, const std::filesystem::path& target) const {
  if (isReplaceable(record)) return;
  throw Error(Category::io, "'" + target.string() + "' is there already and no job of this database made it",
              {.hint = "move it away, choose another --output, or overwrite it with --force"});
}

// --- a shared job

namespace {

constexpr core::Duration kTick = std::chrono::milliseconds(500);
constexpr core::Duration kLook = std::chrono::seconds(1);
/// Beyond those that are being fetched: what the next ones need to be begun at once.
constexpr std::size_t kSpareFiles = 4;

}  // namespace

Portion::Portion(StepContext& context, const transfer::DownloadProgress& progress)
    : context_(context),
      share_(*context.tools.share),
      looked_(context.tools.clock.steadyNow() - kLook),
      throttled_(progress.throttled) {
  attend(progress);
}

std::vector<std::int64_t> Portion::held() const {
  std::vector<std::int64_t> files;
  for (const auto& [file, fence] : fences_) files.push_back(file);
  return files;
}

void Portion::begin(std::function<void()> wake) {
  wake_ = std::move(wake);
  ticker_ = std::jthread([this](const std::stop_token& stop) {
    while (context_.tools.clock.sleep(kTick, stop)) wake_();
  });
}

void Portion::attend(const transfer::DownloadProgress& progress) {
  if (progress.throttled > throttled_) {
    throttled_ = progress.throttled;
    share_.recordThrottled(context_.job.id);
  }
  const core::SteadyTime now = context_.tools.clock.steadyNow();
  if (now - looked_ < kLook) return;
  looked_ = now;
  crew_ = share_.crew(context_.job.id);
  const unsigned all = transfer::mostConnections(context_.tools.download) / (crew_.throttled ? 2 : 1);
  connections_ = std::max(1U, all / crew_.workers);
}

std::vector<FileRecord> Portion::take(std::size_t held, unsigned busyConnections) {
  // No connection is idle for want of a file, and few files wait here that another worker could fetch.
  if (held > 0 && held >= busyConnections + std::min(kSpareFiles, atOnce_)) return {};
  // Anew each time: near the end every file too many makes the others wait.
  atOnce_ = share_.portion(context_.job.id, crew_.workers);
  std::vector<FileRecord> records;
  for (store::ShareStore::Taken& taken : share_.take(context_.job.id, atOnce_)) {
    fences_[taken.file.id] = taken.fence;
    records.push_back(std::move(taken.file));
  }
  return records;
}

// --- the list

BatchLister::BatchLister(platform::Client& client, std::vector<model::BatchId> batches, std::function<void()> arrived,
                         std::stop_token stop)
    : client_(client),
      batches_(std::move(batches)),
      arrived_(std::move(arrived)),
      thread_([this](const std::stop_token& ending) { list(ending); }),
      onStop_(std::move(stop), [this] { thread_.request_stop(); }) {}

BatchLister::~BatchLister() = default;

std::optional<BatchLister::Page> BatchLister::take() {
  const std::lock_guard lock(mutex_);
  if (pages_.empty()) {
    if (problem_) std::rethrow_exception(problem_);
    return std::nullopt;
  }
  Page page = std::move(pages_.front());
  pages_.pop_front();
  taken_.notify_one();
  return page;
}

bool BatchLister::ended() const {
  const std::lock_guard lock(mutex_);
  return finished_ && pages_.empty();
}

void BatchLister::list(const std::stop_token& stop) {
  std::exception_ptr problem;
  try {
    for (const model::BatchId& batch : batches_) listBatch(batch, stop);
  } catch (...) {
    problem = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    problem_ = problem;
    finished_ = !problem;
  }
  arrived_();
}

/// The last files are handed on together with the news that they are the last: so a short list is known as a whole
/// before anything of it is fetched.
void BatchLister::listBatch(const model::BatchId& batch, const std::stop_token& stop) {
  Page page{.batch = batch};
  const auto onFiles = [&](std::vector<model::RemoteFile>&& files) {
    if (!page.files.empty()) push(std::exchange(page, Page{.batch = batch}), stop);
    page.files = std::move(files);
    if (page.files.size() >= kFullPage) push(std::exchange(page, Page{.batch = batch}), stop);
  };
  engine::listBatch(client_, batch, onFiles, stop);
  page.last = true;
  push(std::move(page), stop);
}

void BatchLister::push(Page page, const std::stop_token& stop) {
  {
    std::unique_lock lock(mutex_);
    if (!taken_.wait(lock, stop, [this] { return pages_.size() < kMostPages; })) throw core::Interrupted();
    pages_.push_back(std::move(page));
  }
  arrived_();
}

}  // namespace caiexport::engine
