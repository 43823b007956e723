#include "replacing.h"

#include <set>

#include "batch_folder.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using model::ReplaceAction;

bool isThere(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

void moveAside(const fs::path& folder, const fs::path& target, core::FileSystem& files) {
  if (!isThere(folder)) return;  // moved before a crash, or never here
  const core::DirectoryLock lock(folder);
  files.createDirectories(target.parent_path());
  files.rename(folder, target);
  files.syncDirectory(target.parent_path());
  files.syncDirectory(folder.parent_path());
}

/// What is ours in a batch folder, relative to it.
std::set<std::string> ownFiles(const fs::path& folder, std::vector<std::string> recorded) {
  std::set<std::string> own(std::make_move_iterator(recorded.begin()), std::make_move_iterator(recorded.end()));
  std::error_code ignored;
  if (!fs::exists(folder / kManifestName, ignored)) return own;
  for (const ManifestFile& file : readManifest(folder).files) own.insert(file.path);
  return own;
}

std::uint64_t countFiles(const fs::path& folder) {
  std::uint64_t count = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_directory(error) || entry->is_symlink(error)) ++count;
  }
  return count;
}

/// The number of files left, which are not ours. The manifest goes last: it tells the next run what is ours.
std::uint64_t deleteFolder(const fs::path& folder, const std::vector<std::string>& recorded, core::FileSystem& files) {
  if (!isThere(folder)) return 0;
  const core::DirectoryLock lock(folder);
  std::set<fs::path> below;
  for (const std::string& name : ownFiles(folder, recorded)) {
    const fs::path path = folder / name;
    files.remove(path);
    files.remove(path.string() + ".part");
    if (path.parent_path() != folder) below.insert(path.parent_path());
  }
  for (const fs::path& inner : below) {
    if (isThere(inner)) files.syncDirectory(inner);
    files.removeEmptyDirectory(inner);
  }
  files.syncDirectory(folder);
  files.remove(folder / kManifestName);
  files.syncDirectory(folder);
  if (!files.removeEmptyDirectory(folder)) return countFiles(folder);
  files.syncDirectory(folder.parent_path());
  return 0;
}

}  // namespace

fs::path folderOf(const store::SyncPlace& place, const model::BatchId& batch) {
  return batchFolder(place.output, place.dataset, batch);
}

fs::path asideFolder(const store::SyncPlace& place, const model::BatchId& batch) {
  const fs::path wanted = folderOf(place, batch).parent_path() / kReplacedName / batch.value();
  fs::path free = wanted;
  for (int copy = 2; isThere(free); ++copy) free = wanted.string() + "." + std::to_string(copy);
  return free;
}

Replaced replaceBatch(const store::SyncPlace& place, model::Replacement replacement, store::SyncStore& records,
                      core::FileSystem& files) {
  const fs::path folder = folderOf(place, replacement.batch);
  if (replacement.action == ReplaceAction::aside && replacement.path.empty()) {
    replacement.path = asideFolder(place, replacement.batch);
  }
  replacement.done = false;
  records.recordReplacement(place, replacement);
  std::uint64_t left = 0;
  switch (replacement.action) {
    case ReplaceAction::keep:
    case ReplaceAction::skip:
      break;
    case ReplaceAction::aside:
      moveAside(folder, replacement.path, files);
      break;
    case ReplaceAction::remove: {
      const std::vector<std::string> recorded = records.recordedPaths(place, replacement.batch);
      left = deleteFolder(folder, recorded, files);
      if (!replacement.path.empty()) left += deleteFolder(replacement.path, recorded, files);
      replacement.path.clear();
      break;
    }
  }
  replacement.done = true;
  records.recordReplacement(place, replacement);
  return {.replacement = std::move(replacement), .left = left};
}

}  // namespace caiexport::engine
