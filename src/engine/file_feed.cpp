#include "file_feed.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
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
  if (portion_ != nullptr) return portion_->begin(std::move(wake));
  if (!lists_) return;
  wake_ = std::move(wake);
  std::vector<model::BatchId> batches;
  for (const model::Batch& batch : context_.job.batches) {
    requireFolderNames(context_.job.datasetId, batch.id);  // before anything is listed under them
    batches.push_back(batch.id);
  }
  // Now, not with their first pages: what an earlier listing said of a file may be wrong by now.
  context_.tools.store.beginListing(context_.job.id);
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
  // Once more from the start where the path of some could not be relied on before.
  const std::uint64_t unfinished = context_.tools.store.countFiles(context_.job.id, lastId_, kUnfinished);
  if (unfinished != underWay_.size() + failed_.size()) lastId_ = 0;
  const model::Job job = endListing(context_);
  progress_.totalFiles = job.fileCount;
  progress_.totalBytes = job.totalBytes;
}

std::optional<std::chrono::nanoseconds> FileFeed::latency() const {
  return context_.tools.client.shortestAnswer();
}

/// Where the batch was whole once, nothing may be to fetch.
std::optional<std::uint64_t> FileFeed::bytesAFile() const {
  if (!lists_ || context_.job.batches.empty()) return std::nullopt;
  const std::filesystem::path folder = folderOf(context_.job, context_.job.batches.front().id);
  return context_.tools.files.sizeOf(folder / kManifestName) ? std::nullopt : context_.run.bytesAFile;
}

std::optional<unsigned> FileFeed::mostConnections() const {
  if (portion_ == nullptr) return std::nullopt;
  return portion_->connections();
}

std::optional<transfer::DownloadItem> FileFeed::next() {
  while (givenOfPage_ == page_.size()) {
    page_.clear();
    givenOfPage_ = 0;
    if (!loadPage()) return std::nullopt;
  }
  return std::move(page_[givenOfPage_++]);
}

void FileFeed::onCompleted(std::int64_t file) {
  done(file);
}

void FileFeed::onUseless(std::int64_t piece) {
  context_.tools.files.remove(portion_->held().at(piece));
  done(piece);
}

void FileFeed::onFailed(std::int64_t file) {
  // Of a portion, it may come back from another worker.
  if (portion_ == nullptr) failed_.insert(file);
  done(file);
}

void FileFeed::done(std::int64_t file) {
  underWay_.erase(file);
  if (portion_ != nullptr) portion_->drop(file);
  if (portion_ != nullptr) portion_->wake();
  if (lists_ && !unsettled_.empty()) wake_();
}

bool FileFeed::loadPage() {
  std::vector<store::ShareStore::Taken> files = nextFiles();
  if (files.empty()) return false;
  holdFolders(context_);
  // Where names are taken for others, no path can be relied on before all of them are known.
  if (lists_ && folderFolds(context_)) return false;
  std::vector<std::int64_t> started;
  page_.reserve(files.size());
  handedOutAny_ = true;
  for (store::ShareStore::Taken& taken : files) {
    if (taken.piece) {
      addPiece(taken);
    } else {
      add(taken, started);
    }
  }
  context_.tools.store.markStarted(started);
  return true;
}

void FileFeed::add(store::ShareStore::Taken& taken, std::vector<std::int64_t>& started) {
  FileRecord& record = taken.file;
  lastId_ = record.id;
  if (underWay_.contains(record.id) || failed_.contains(record.id)) return;
  const std::size_t others = started.size();
  transfer::DownloadItem item = itemFor(taken);
  lookAtTarget(record, item, started);
  const bool isHere = !item.existingSha256.empty();
  if (!isHere || record.state == FileState::failed) unmark(record.remote.batchId);
  if (portion_ != nullptr && !isHere && item.done.empty() && item.pieces.empty() && portion_->split(record)) {
    started.resize(others);
    return;
  }
  item.remote = std::move(record.remote);
  handOut(std::move(item));
}

void FileFeed::addPiece(const store::ShareStore::Taken& taken) {
  const store::ShareStore::Piece& piece = *taken.piece;
  transfer::DownloadItem item;
  item.key = piece.key;
  item.remote = taken.file.remote;
  item.remote.lengthBytes = piece.range.sizeBytes();
  item.partTag = tagOfPiece(piece);
  item.target = transfer::partPathFor(targetOf(taken.file), item.partTag);
  item.source = std::make_shared<PieceSource>(context_.tools.client, taken.file.remote, piece.range.first);
  unmark(taken.file.remote.batchId);
  handOut(std::move(item));
}

void FileFeed::handOut(transfer::DownloadItem&& item) {
  underWay_.insert(item.key);
  if (portion_ != nullptr) portion_->begun(item.key, transfer::partPathFor(item.target, item.partTag));
  page_.push_back(std::move(item));
}

/// Something of the batch is about to be fetched; once is enough, since only this run says that all is whole again.
void FileFeed::unmark(const model::BatchId& batch) {
  if (unmarked_.insert(batch).second) unmarkWhole(folderOf(context_.job, batch), context_.tools.files);
}

std::vector<store::ShareStore::Taken> FileFeed::nextFiles() {
  if (portion_ != nullptr) return portion_->take(underWay_.size(), progress_.connections);
  store::JobStore& store = context_.tools.store;
  std::vector<store::ShareStore::Taken> files;
  for (FileRecord& file : lists_ ? store.filesOnceListed(context_.job.id, lastId_, kPage, kUnfinished)
                                 : store.files(context_.job.id, lastId_, kPage, kUnfinished)) {
    files.push_back({.file = std::move(file)});
  }
  return files;
}

/// Whether something is there that is to be kept, or may be replaced.
void FileFeed::lookAtTarget(const FileRecord& record, transfer::DownloadItem& item,
                            std::vector<std::int64_t>& started) {
  const std::filesystem::file_type type = typeOf(item.target);
  const bool nothing = type == std::filesystem::file_type::not_found;
  const auto there = nothing ? std::nullopt : context_.tools.files.sizeOf(item.target);
  item.replaces = !nothing;
  if (there) return useExisting(record, item, *there);
  // A link is somebody's too: completing the file would put it in the link's place.
  if (type == std::filesystem::file_type::symlink) requireReplaceable(record, item.target);
  if (record.state == FileState::pending) started.push_back(record.id);
}

/// All of it but what the platform says of the file.
transfer::DownloadItem FileFeed::itemFor(const store::ShareStore::Taken& taken) {
  const FileRecord& record = taken.file;
  transfer::DownloadItem item{
      .key = record.id,
      .target = targetOf(record),
      // Without a sum, from an older version of the program, nothing tells our bytes from others.
      .done = record.part.sum ? record.done : std::vector<model::ByteRange>(),
      .part = record.part,
      .partTag = transfer::partTagOf(context_.job.uuid)};
  if (portion_ != nullptr) item.partTag += "." + std::to_string(taken.fence);
  // What was put together in part is nearer in the pieces than at the platform.
  if (!taken.pieces.empty() && !model::missing(item.done, record.remote.lengthBytes).empty()) item.done.clear();
  for (const store::ShareStore::Piece& piece : taken.pieces) {
    if (item.done.empty()) item.part.severalRuns |= piece.earlier;
    item.pieces.push_back({.path = transfer::partPathFor(item.target, tagOfPiece(piece)),
                           .range = piece.range,
                           .sha256 = piece.sha256,
                           .version = piece.version});
  }
  return item;
}

/// In a folder that is none of somebody else's. Most share the folder of their batch; files that share a name lie in
/// folders of their own.
std::filesystem::path FileFeed::targetOf(const FileRecord& record) {
  // As text: a std::filesystem::path makes a list of its parts whenever it is put together or taken apart.
  const std::string& folder = folders_.of(record.remote.batchId).native();
  std::string target;
  target.reserve(folder.size() + 1 + record.path.size());
  target.append(folder).append(1, '/').append(record.path);
  const std::size_t level = record.path.find('/');
  const std::size_t folderEnd = level == std::string::npos ? folder.size() : folder.size() + 1 + level;
  const std::string_view itsFolder = std::string_view(target).substr(0, folderEnd);
  if (itsFolder != checkedFolder_) {
    refuseLink(itsFolder);
    checkedFolder_ = itsFolder;
  }
  return target;
}

std::string FileFeed::tagOfPiece(const store::ShareStore::Piece& piece) const {
  return transfer::partTagOf(context_.job.uuid) + "." + std::to_string(piece.worker) + std::to_string(piece.key);
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

/// Takes what belongs to a piece of a file, as if that were a file.
class SinkOfPiece final : public model::ByteSink {
 public:
  SinkOfPiece(model::ByteSink& sink, const model::RemoteFile& piece, std::uint64_t first)
      : sink_(sink), piece_(piece), first_(first) {}

  model::FileVersion wanted() const override { return sink_.wanted(); }
  void isOf(const model::FileVersion& version) override { sink_.isOf(version); }
  void begin(std::uint64_t offset, std::optional<std::uint64_t> /*fileBytes: the client has looked at it*/) override {
    if (offset < first_) {
      throw Error(Category::protocol, "cannot fetch a piece of " + core::printable(piece_.name) + ": bytes from " +
                                          std::to_string(first_) + " on were asked for, but the answer begins at " +
                                          std::to_string(offset));
    }
    sink_.begin(offset - first_, piece_.lengthBytes);
  }
  std::size_t room(std::size_t bytes) override { return sink_.room(bytes); }
  void write(std::span<const std::byte> data) override { sink_.write(data); }

 private:
  model::ByteSink& sink_;
  const model::RemoteFile& piece_;
  const std::uint64_t first_;
};

constexpr core::Duration kTick = std::chrono::milliseconds(500);
constexpr core::Duration kLook = std::chrono::seconds(1);
/// Beyond those that are being fetched: what the next ones need to be begun at once.
constexpr std::size_t kSpareFiles = 4;

}  // namespace

void PieceSource::fetch(const model::RemoteFile& piece, model::ByteRange range, model::ByteSink& sink,
                        std::stop_token stop) {
  SinkOfPiece ofPiece(sink, piece, first_);
  client_.fetchFile(whole_, {range.first + first_, range.end + first_}, ofPiece, std::move(stop));
}

Portion::Portion(StepContext& context, const transfer::DownloadProgress& progress)
    : context_(context),
      share_(*context.tools.share),
      looked_(context.tools.clock.steadyNow() - kLook),
      throttled_(progress.throttled) {
  attend(progress);
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

std::vector<store::ShareStore::Taken> Portion::take(std::size_t held, unsigned busyConnections) {
  // No connection is idle for want of a file, and few files wait here that another worker could fetch.
  if (held > 0 && held >= busyConnections + std::min(kSpareFiles, atOnce_)) return {};
  // Anew each time: near the end every file too many makes the others wait.
  const store::ShareStore::Portion portion = share_.portion(context_.job.id, crew_.workers);
  atOnce_ = portion.files;
  // The largest first: near the end there are small ones to make all end at the same time.
  const auto pieces = static_cast<std::size_t>(std::distance(held_.begin(), held_.lower_bound(0)));
  std::vector<store::ShareStore::Taken> taken;
  if (portion.pieces > pieces) taken = share_.takePieces(context_.job.id, portion.pieces - pieces);
  if (taken.empty()) taken = share_.take(context_.job.id, atOnce_);
  for (const store::ShareStore::Taken& one : taken) held_.try_emplace(one.piece ? one.piece->key : one.file.id);
  return taken;
}

bool Portion::split(const FileRecord& file) {
  if (file.remote.lengthBytes < store::kLeastDividedBytes || !share_.split(file.id, crew_.workers)) return false;
  drop(file.id);
  return true;
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
