/// Lists the files of the job's batches and brings them to disk, both at once: adapts the platform client and the job
/// store to the downloader.

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "caiexport/store/share_store.h"
#include "file_feed.h"
#include "folders.h"
#include "select_step.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;

bool isShared(const StepContext& context) {
  return context.tools.share != nullptr && !context.job.share.empty();
}

bool isDone(const model::Job& job, model::StepName name) {
  const auto step = std::ranges::find(job.steps, name, &model::Step::name);
  return step != job.steps.end() && step->state == model::StepState::done;
}

/// As ShareStore numbers what a worker holds.
bool isPiece(std::int64_t key) {
  return key < 0;
}

class Recorder final : public transfer::Observer {
 public:
  Recorder(StepContext& context, FileFeed& feed, model::StepName step) : context_(context), feed_(feed), step_(step) {}

  void rangesOnDisk(std::int64_t key, std::span<const model::ByteRange> done, const model::PartFacts& facts) override {
    // A piece is there, or it is not.
    if (!isPiece(key)) context_.tools.store.recordRanges(key, done, facts);
  }

  void completed(std::vector<transfer::Completion> files) override {
    std::vector<store::JobStore::Downloaded> rows;
    rows.reserve(files.size());
    for (transfer::Completion& file : files) {
      if (isPiece(file.key)) continue;
      rows.push_back({.file = file.key, .sha256 = std::move(file.sha256), .unproven = file.unproven});
      if (!file.transferred) ++kept_;
    }
    context_.tools.store.recordDownloaded(rows);
    for (const transfer::Completion& file : files) {
      if (isPiece(file.key) && !context_.tools.share->recordPiece(file.key, file.sha256, file.version)) {
        feed_.onUseless(file.key);
      } else {
        feed_.onCompleted(file.key);
      }
    }
  }

  void failed(std::int64_t key, const Error& error) override {
    context_.tools.store.addEvent(context_.job.id, step_, "file_failed", error.what());
    // What arrived of a file that is out of reach for now is kept; a wrong one starts again.
    const bool keepsPart = error.category() == Category::unavailable;
    if (isShared(context_)) {
      context_.tools.share->recordFailure(key, error, keepsPart);
    } else if (!keepsPart) {
      context_.tools.store.recordFileFailed(key);
    }
    if (isPiece(key)) return feed_.onUseless(key);
    feed_.onFailed(key);
  }

  void restarted(std::int64_t key, const std::string& why) override {
    if (!why.empty()) {
      const std::string text = "a file is downloaded again from its start: " + why;
      context_.tools.observer.notice(text);
      context_.tools.store.addEvent(context_.job.id, step_, "file_restarted", text);
    }
    if (!isPiece(key)) context_.tools.store.forgetRanges(key);
  }

  std::uint64_t kept() const { return kept_; }

 private:
  StepContext& context_;
  FileFeed& feed_;
  const model::StepName step_;
  std::uint64_t kept_ = 0;
};

/// Between two looks at what others are still fetching.
constexpr core::Duration kLookAtOthers = std::chrono::milliseconds(250);

/// Ends the observer's display however the download ends.
class ShownProgress {
 public:
  explicit ShownProgress(StepContext& context) : observer_(context.tools.observer) {
    const store::JobStore::Fetched fetched = context.tools.store.fetched(context.job.id);
    progress.filesCompleted = fetched.files;
    progress.bytesKept = fetched.bytes;
    observer_.downloadStarted(context.job, progress);
  }
  ~ShownProgress() { end(); }
  ShownProgress(const ShownProgress&) = delete;
  ShownProgress& operator=(const ShownProgress&) = delete;

  void end() {
    if (!std::exchange(ended_, true)) observer_.downloadEnded();
  }

  transfer::DownloadProgress progress;

 private:
  RunObserver& observer_;
  bool ended_ = false;
};

[[noreturn]] void throwSomeFailed(const StepContext& context, std::uint64_t failed, const Error& first,
                                  std::uint64_t files) {
  const std::string job = std::to_string(model::numberOf(context.job.id));
  const bool ofThisMachine = first.category() == Category::io;
  const bool keepsItsKind =
      first.category() == Category::verification || first.category() == Category::protocol || ofThisMachine;
  throw Error(keepsItsKind ? first.category() : Category::unavailable,
              std::to_string(failed) + " of " + std::to_string(files) +
                  " files could not be downloaded; the first: " + first.what(),
              {.requestId = first.requestId(),
               .hint = (ofThisMachine && !first.hint().empty() ? first.hint() + "; " : "") +
                       "what was downloaded is kept; caiexport resume " + job + " downloads the rest"});
}

std::uint64_t bytesStillToCome(StepContext& context) {
  constexpr std::size_t kPage = 256;
  constexpr std::array kUnfinished{model::FileState::pending, model::FileState::partial, model::FileState::failed};
  std::uint64_t bytes = 0;
  std::int64_t lastId = 0;
  for (;;) {
    const auto page = context.tools.store.files(context.job.id, lastId, kPage, kUnfinished);
    if (page.empty()) return bytes;
    for (const model::FileRecord& file : page) {
      bytes += file.remote.lengthBytes;
      for (const model::ByteRange& range : file.done) bytes -= range.sizeBytes();
    }
    lastId = page.back().id;
  }
}

/// What the disk refused; for want of room, with how much is needed.
[[noreturn]] void throwDiskFailure(StepContext& context, const Error& error) {
  const std::uint64_t needed = bytesStillToCome(context);
  const std::uint64_t free = context.tools.files.freeBytes(context.job.request.output);
  if (free >= needed) throw error;
  throw Error(Category::io,
              std::string(error.what()) + "; " + core::formatBytes(needed) + " are still to come and " +
                  core::formatBytes(free) + " are free in " + core::printable(context.job.request.output.string()),
              {.requestId = error.requestId(), .hint = error.hint()});
}

/// Files that are not what was listed may have been rewritten since: then a new list tells.
bool mayHaveChanged(StepContext& context, const Error& first) {
  constexpr unsigned kMostRelistings = 2;
  return first.category() == Category::verification && context.tools.download.retry.furtherTries > 0 &&
         context.run.relistings++ < kMostRelistings;
}

/// Whether what the platform lists is asked for along the way.
enum class List { fromPlatform, onRecord };

void tellChanged(StepContext& context, model::StepName step, std::uint64_t failed, const Error& first) {
  const std::string text = std::to_string(failed) + (failed == 1 ? " file is" : " files are") +
                           " not what was listed, so the batch is listed again; the first: " + first.what();
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, step, "files_changed", text);
}

/// As the process may open no more files than it may; said where that is fewer connections than a run begins with.
transfer::DownloadSettings affordable(StepContext& context) {
  const transfer::DownloadSettings& wanted = context.tools.download;
  std::optional<std::uint64_t> left = core::freeDescriptors();
  if (!left) return wanted;
  // What the locks of the folders will take, once something is to be written.
  if (context.run.folders.empty()) {
    const std::uint64_t locks = std::min(context.job.batches.size(), core::DirectoryLocks::most());
    *left -= std::min(*left, locks);
  }
  transfer::DownloadSettings settings = transfer::within(*left, wanted);
  const unsigned most = mostConnections(settings);
  const unsigned begins = std::min(wanted.connections.value_or(wanted.connectionsStart), mostConnections(wanted));
  if (most < begins && !std::exchange(context.run.fewDescriptorsTold, true)) {
    const std::string text = "this process can open only " + std::to_string(*left) +
                             " more files (ulimit -n): " + std::to_string(most) +
                             (most == 1 ? " connection is" : " connections are") + " used";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "few_descriptors", text);
  }
  return settings;
}

transfer::DownloadSummary download(StepContext& context, FileFeed& feed, Recorder& recorder,
                                   transfer::DownloadProgress& progress) {
  Tools& tools = context.tools;
  PlatformSource source(tools.client);
  transfer::Downloader downloader(source, tools.files, tools.clock, tools.random, tools.log, affordable(context));
  try {
    return downloader.run(feed, recorder, progress, context.stop);
  } catch (const Error& error) {
    if (error.category() != Category::io || dynamic_cast<const core::TooFewDescriptors*>(&error) != nullptr) throw;
    throwDiskFailure(context, error);
  }
}

void listAllFiles(StepContext& context) {
  store::JobStore& store = context.tools.store;
  for (const model::Batch& batch : context.job.batches) {
    requireFolderNames(context.job.datasetId, batch.id);  // before anything is listed under them
    store.beginListing(context.job.id, batch.id);
    listBatch(
        context.tools.client, batch.id,
        [&](std::vector<model::RemoteFile>&& page) { store.addFiles(context.job.id, page); }, context.stop);
    if (context.job.request.download) settleNames(context, batch.id);
    settleListing(context, batch.id, store.displacedFiles(context.job.id, batch.id));
  }
  endListing(context);
}

// --- of a shared job

/// What this worker took and is not done with is for others now. Of pieces it is fetched anew.
void letGo(StepContext& context, const Portion& portion) noexcept {
  bool given = true;
  try {
    std::vector<std::int64_t> keys;
    for (const auto& [key, part] : portion.held()) keys.push_back(key);
    context.tools.share->giveBack(keys);
  } catch (const std::exception&) {
    // They will be taken as those of a worker that died, so nobody goes on with what came of them.
    given = false;
  }
  for (const auto& [key, part] : portion.held()) {
    if (part.empty() || (given && !isPiece(key))) continue;
    try {
      context.tools.files.remove(part);
    } catch (const std::exception&) {
      // It goes with all others of its kind before the files are verified.
    }
  }
}

/// Takes files and fetches them, until none is free. False if there was none.
bool fetchPortion(StepContext& context, model::StepName step, const model::Job& job,
                  transfer::DownloadProgress& progress) {
  Portion portion(context, progress);
  FileFeed feed(context, progress, portion);
  progress.totalFiles = job.fileCount;
  progress.totalBytes = job.totalBytes;
  Recorder recorder(context, feed, step);
  transfer::DownloadSummary summary;
  try {
    summary = download(context, feed, recorder, progress);
  } catch (...) {
    letGo(context, portion);
    throw;
  }
  letGo(context, portion);
  if (!summary.gaveUp) return feed.handedOutAny();
  // The others may reach the platform all the same.
  const Error first = summary.firstError.value_or(Error(Category::unavailable, "the platform does not answer"));
  throwSomeFailed(context, summary.failed, first, job.fileCount);
}

/// Until there is nothing to be done by this worker: for one that helps, when no file is free; for the head, when none
/// is with another either.
store::ShareStore::Left fetchWithOthers(StepContext& context, model::StepName step) {
  const model::Job job = context.tools.store.outline(context.job.id);
  std::optional<ShownProgress> shown;
  for (;;) {
    store::ShareStore::Left left = context.tools.share->left(job.id);
    if (left.free > 0) {
      if (!shown) shown.emplace(context);
      if (fetchPortion(context, step, job, shown->progress)) continue;
    } else if (context.run.helps || left.held == 0) {
      return left;
    }
    if (!context.tools.clock.sleep(kLookAtOthers, context.stop)) throw core::Interrupted();
  }
}

/// The head's part: lists, fetches, and sees to it that all files are here.
void fetchShared(StepContext& context, model::StepName step, List list) {
  store::ShareStore& share = *context.tools.share;
  const bool listed = isDone(context.job, model::StepName::listFiles);
  // What others rely on is not listed again behind their backs.
  if (list == List::fromPlatform && (!listed || share.crew(context.job.id).workers == 1)) listAllFiles(context);
  for (;;) {
    const store::ShareStore::Left left = fetchWithOthers(context, step);
    if (left.givenUp == 0) return;
    const Error first = left.failure.value_or(Error(Category::unavailable, "it could not be had"));
    if (!mayHaveChanged(context, first)) throwSomeFailed(context, left.givenUp, first, context.job.fileCount);
    tellChanged(context, step, left.givenUp, first);
    listAllFiles(context);
    share.forgetFailures(context.job.id);
  }
}

/// Downloads whatever is not here yet. Throws if a file could not be had. `step`: what events are recorded under.
void fetchFiles(StepContext& context, model::StepName step, List list) {
  if (isShared(context)) return fetchShared(context, step, list);
  Tools& tools = context.tools;
  ShownProgress shown(context);
  FileFeed feed(context, shown.progress, list == List::fromPlatform);
  Recorder recorder(context, feed, step);
  const transfer::DownloadSummary summary = download(context, feed, recorder, shown.progress);
  shown.end();
  if (summary.failed > 0 && mayHaveChanged(context, *summary.firstError)) {
    tellChanged(context, step, summary.failed, *summary.firstError);
    context.run.listIsFresh = false;
    return fetchMissing(context, step);
  }
  if (summary.failed > 0) throwSomeFailed(context, summary.failed, *summary.firstError, shown.progress.totalFiles);
  if (recorder.kept() > 0) {
    const std::string text = recorder.kept() == shown.progress.totalFiles
                                 ? "all files are here already"
                                 : std::to_string(recorder.kept()) + " files were here already";
    tools.observer.notice(text);
    tools.store.addEvent(context.job.id, step, "files_kept", text);
  }
}

[[noreturn]] void throwNoFiles(const model::Job& job) {
  if (job.request.kind == model::Kind::segment && job.reportedProfiles.value_or(0) == 0) throwNothingExported(job);
  throw Error(Category::notFound, "the chosen batch holds no files: nothing to download",
              {.hint = "batch " + job.batches.front().id.value() + " of dataset " + job.datasetId.value()});
}

}  // namespace

model::Job endListing(StepContext& context) {
  context.run.listIsFresh = true;
  model::Job job = context.tools.store.outline(context.job.id);
  // Listed again.
  if (isDone(job, model::StepName::listFiles)) return job;
  if (job.fileCount == 0) {
    requireNoneWithdrawn(context);
    throwNoFiles(context.job);
  }
  context.tools.store.finishStep(job.id, model::StepName::listFiles, {});
  return job;
}

void fetchMissing(StepContext& context, model::StepName step) {
  holdFolders(context);
  if (context.run.listIsFresh) return fetchFiles(context, step, List::onRecord);
  // Time has passed since the list was made: files may have changed, the batch may have been withdrawn.
  for (const model::Batch& batch : context.job.batches) requireStillReadable(context, batch);
  fetchFiles(context, step, List::fromPlatform);
}

void helpFetching(StepContext& context) {
  context.run.helps = true;
  fetchWithOthers(context, model::StepName::downloadFiles);
}

Turn listAndDownload(StepContext& context) {
  const bool listed = isDone(context.job, model::StepName::listFiles);
  if (isDeliveredAlready(context)) {
    if (!listed) context.tools.store.finishStep(context.job.id, model::StepName::listFiles, {});
    context.tools.store.finishStep(context.job.id, model::StepName::downloadFiles, {});
    return {};
  }
  try {
    if (!context.job.request.download) {
      listAllFiles(context);
      return {};
    }
    if (listed) {
      fetchMissing(context, model::StepName::downloadFiles);
    } else {
      fetchFiles(context, model::StepName::downloadFiles, List::fromPlatform);
    }
  } catch (const UnreadableBatch& refused) {
    if (listed) throw;
    return chooseInstead(context, refused);
  }
  context.tools.store.finishStep(context.job.id, model::StepName::downloadFiles, {});
  return {};
}

}  // namespace caiexport::engine
