#include "caiexport/engine/prune.h"

#include <algorithm>
#include <map>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/engine/sync.h"
#include "caiexport/model/replacement.h"
#include "caiexport/store/history.h"
#include "caiexport/store/prune_store.h"
#include "caiexport/transfer/downloader.h"
#include "folders.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using model::JobId;

class Pruning {
 public:
  Pruning(store::PruneStore& records, store::History& history, core::Locks& locks, core::FileSystem& files,
          const PruneRequest& request, std::stop_token stop)
      : records_(records), history_(history), locks_(locks), files_(files), request_(request), stop_(std::move(stop)) {}

  PruneResult run() {
    const auto candidates = records_.candidates(request_.before, kSyncOverlap);
    for (const auto& one : candidates) {
      if (one.kept.empty()) going_.insert(one.job);
    }
    for (const auto& one : candidates) {
      if (stop_.stop_requested()) throw core::Interrupted();
      if (one.kept.empty()) {
        pruneJob(one.job);
      } else {
        result_.kept.push_back({one.job, one.kept});
      }
    }
    if (!request_.dryRun) records_.forgetRuns(request_.before);
    return std::move(result_);
  }

 private:
  /// Where a batch of the job lies, moved aside or not.
  static fs::path folderOf(const model::Job& job, const model::BatchId& batch,
                           const std::vector<model::Replacement>& replaced) {
    const auto moved = std::ranges::find(replaced, batch, &model::Replacement::batch);
    if (moved != replaced.end() && moved->action == model::ReplaceAction::aside) return moved->path;
    return recordedFolder(job, batch);
  }

  void pruneJob(JobId id) {
    if (locks_.tryLock(model::numberOf(id))) {
      going_.erase(id);
      result_.kept.push_back({id, "a process runs it"});
      return;
    }
    struct Unlock {
      core::Locks& locks;
      JobId id;
      ~Unlock() { locks.unlock(model::numberOf(id)); }
    } const unlock{locks_, id};
    if (request_.files && !pruneFiles(history_.job(id).job)) {
      going_.erase(id);
      result_.kept.push_back({id, "a process writes to its folder"});
      return;
    }
    if (!request_.dryRun) records_.remove(id);
    result_.pruned.push_back(id);
  }

  /// False if a folder is held.
  bool pruneFiles(const model::Job& job) {
    const auto replaced = history_.replacementsOf(job);
    std::map<model::BatchId, fs::path> folders;
    core::DirectoryLocks held;
    for (const model::Batch& batch : job.batches) {
      const fs::path folder = folderOf(job, batch.id, replaced);
      std::error_code ignored;
      if (!fs::is_directory(fs::symlink_status(folder, ignored))) continue;
      try {
        held.add(folder);
      } catch (const Error& error) {
        if (error.category() == Category::busy) return false;
        throw;
      }
      folders.emplace(batch.id, folder);
    }
    std::vector<model::FileRecord> recorded;
    history_.forEachFile(job.id, [&](const model::FileRecord& file) {
      if (!file.sha256.empty() && folders.contains(file.remote.batchId)) recorded.push_back(file);
    });
    for (const model::FileRecord& file : recorded) pruneFile(job, folders.at(file.remote.batchId), file);
    if (request_.dryRun) return true;
    for (const auto& [batch, folder] : folders) tidy(folder);
    if (!folders.empty()) tidyDataset(job);
    return true;
  }

  static bool isSameFolder(const fs::path& left, const fs::path& right) {
    std::error_code ignored;
    return left == right || fs::equivalent(left, right, ignored);
  }

  void pruneFile(const model::Job& job, const fs::path& folder, const model::FileRecord& file) {
    if (stop_.stop_requested()) throw core::Interrupted();
    const fs::path path = folder / file.path;
    const std::optional<std::uint64_t> bytes = files_.sizeOf(path);
    if (!bytes) return;
    for (const auto& [sharer, output] : records_.sharersOf(file.id)) {
      if (going_.contains(sharer) || !isSameFolder(output, job.request.output)) continue;
      keep(path, "job " + std::to_string(model::numberOf(sharer)) + " has it too");
      return;
    }
    if (*bytes != file.remote.lengthBytes || transfer::sha256OfFile(path, stop_) != file.sha256) {
      keep(path, "it was changed since");
      return;
    }
    // What two pruned jobs share is counted once: the second one no longer finds it, but in a dry run it would.
    if (request_.dryRun && !told_.insert(path).second) return;
    if (!request_.dryRun) {
      if (unmarked_.insert(folder).second) unmarkWhole(folder, files_);
      files_.remove(path);
    }
    ++result_.files;
    result_.bytes += *bytes;
  }

  void keep(const fs::path& path, const std::string& why) { result_.keptFiles.push_back({path, why}); }

  /// The manifest of files that are all gone would only tell what is not there; then the folder, if nothing is left.
  void tidy(const fs::path& folder) {
    if (manifestIn(folder)) {
      const Manifest manifest = readManifest(folder);
      const bool any = std::ranges::any_of(
          manifest.files, [&](const ManifestFile& file) { return files_.sizeOf(folder / file.path).has_value(); });
      if (any) return;
      for (const ManifestFile& file : manifest.files) {
        const fs::path inner = (folder / file.path).parent_path();
        if (inner != folder) files_.removeEmptyDirectory(inner);
      }
      unmarkWhole(folder, files_);
      for (const std::string_view name : {kOldManifestName, kManifestName}) files_.remove(folder / name);
    }
    files_.syncDirectory(folder);
    if (files_.removeEmptyDirectory(folder)) files_.syncDirectory(folder.parent_path());
  }

  void tidyDataset(const model::Job& job) {
    for (const fs::path& folder : asideFolders(job.request.output, job.datasetId)) files_.removeEmptyDirectory(folder);
    files_.removeEmptyDirectory(job.request.output / kReplacedName);
    for (const fs::path& folder : datasetFolders(job.request.output, job.datasetId)) {
      switchLatest(folder, files_, [](std::string_view) {});
    }
  }

  store::PruneStore& records_;
  store::History& history_;
  core::Locks& locks_;
  core::FileSystem& files_;
  const PruneRequest& request_;
  std::stop_token stop_;
  std::set<JobId> going_;
  std::set<fs::path> told_;
  std::set<fs::path> unmarked_;  ///< Not said to be whole any more.
  PruneResult result_;
};

}  // namespace

PruneResult prune(store::PruneStore& records, store::History& history, core::Locks& locks, core::FileSystem& files,
                  const PruneRequest& request, std::stop_token stop) {
  return Pruning(records, history, locks, files, request, std::move(stop)).run();
}

}  // namespace caiexport::engine
