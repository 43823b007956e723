#include "replacing.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/transfer/downloader.h"
#include "folders.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using model::ReplaceAction;

bool isThere(const fs::path& path) {
  std::error_code ignored;
  return !path.empty() && fs::exists(fs::symlink_status(path, ignored));
}

void refuseLinkOf(const fs::path& folder, const model::BatchId& batch, const char* what) {
  std::error_code ignored;
  if (!fs::is_symlink(fs::symlink_status(folder, ignored))) return;
  throw core::Error(
      core::Category::io,
      "batch " + batch.value() + " can't be " + what + ": '" + core::printable(folder.string()) +
          "' is a symbolic link, and caiexport does not change what is behind it",
      {.hint = "see where the link leads, move or delete what is there, and remove the link; the next sync continues"});
}

/// In place of `.replaced`, or of the dataset's folder in it.
void refuseAsideLink(const fs::path& aside, const model::BatchId& batch, const char* what) {
  if (aside.parent_path().filename() == kReplacedName) refuseLinkOf(aside.parent_path(), batch, what);
  refuseLinkOf(aside, batch, what);
}

void moveAside(const fs::path& folder, const fs::path& target, core::FileSystem& files) {
  if (!isThere(folder)) return;  // moved before a crash, or never here
  const core::DirectoryLock lock(folder);
  files.createDirectories(target.parent_path());
  unmarkWhole(folder, files);
  files.rename(folder, target);
  files.syncDirectory(target.parent_path());
  files.syncDirectory(folder.parent_path());
}

fs::path freeName(const fs::path& wanted) {
  fs::path free = wanted;
  for (int copy = 2; isThere(free); ++copy) free = wanted.string() + "." + std::to_string(copy);
  return free;
}

/// What is ours in a batch folder, relative to it.
std::set<std::string> ownFiles(const fs::path& folder, const std::vector<std::string>& recorded) {
  std::set<std::string> own(recorded.begin(), recorded.end());
  try {
    for (ManifestFile& file : readManifest(folder).files) own.insert(std::move(file.path));
  } catch (const core::Error&) {
    // None, or a broken one: the record must do, and what it does not know is counted as left.
  }
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

/// Whether a folder on the way to the file is a link: then it is not in this folder.
bool leadsAway(const fs::path& folder, const fs::path& name) {
  fs::path inner = folder;
  std::error_code ignored;
  return std::ranges::any_of(name.parent_path(), [&](const fs::path& part) {
    inner /= part;
    return fs::is_symlink(fs::symlink_status(inner, ignored));
  });
}

/// What jobs have left of files that they did not complete: NAME.TAG.part, whichever the job, and NAME.TAG.FENCE.part
/// of workers of a shared one. Each folder is looked through once, and mostly has none.
class Leftovers {
 public:
  std::vector<fs::path> of(const fs::path& path) {
    std::vector<fs::path> parts{path.string() + ".part"};
    for (const Part& part : in(path.parent_path())) {
      const auto isOfFile = [&](const std::string& tag) { return transfer::partPathFor(path, tag) == part.path; };
      if (std::ranges::any_of(part.tags, isOfFile)) parts.push_back(part.path);
    }
    return parts;
  }

 private:
  struct Part {
    fs::path path = {};
    std::vector<std::string> tags = {};  ///< What may be the tag in it: the end of a name may look like one.
  };

  const std::vector<Part>& in(const fs::path& folder) {
    const auto [found, isNew] = parts_.try_emplace(folder);
    std::error_code error;
    if (!isNew) return found->second;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      Part part{.path = folder / entry.path().filename(), .tags = tagsIn(entry.path().filename().string())};
      if (!part.tags.empty()) found->second.push_back(std::move(part));
    }
    return found->second;
  }

  static std::vector<std::string> tagsIn(std::string_view name) {
    constexpr std::string_view kEnding = ".part";
    if (!name.ends_with(kEnding)) return {};
    name.remove_suffix(kEnding.size());
    std::vector<std::string> tags;
    const std::string_view last = name.substr(std::min(name.size(), name.rfind('.') + 1));
    if (isTag(last)) tags.emplace_back(last);
    const std::string_view before = name.substr(0, name.size() - last.size() - (last.size() < name.size() ? 1 : 0));
    const std::string_view tag = before.substr(std::min(before.size(), before.rfind('.') + 1));
    if (transfer::isFence(last) && isTag(tag)) tags.push_back(std::string(tag) + "." + std::string(last));
    return tags;
  }

  static bool isTag(std::string_view text) {
    constexpr std::size_t kLength = 8;
    return text.size() == kLength && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  }

  std::map<fs::path, std::vector<Part>> parts_;
};

class FolderDeletion {
 public:
  FolderDeletion(fs::path folder, const std::vector<std::string>& recorded, core::FileSystem& files)
      : folder_(std::move(folder)), recorded_(recorded), files_(files) {}

  /// First of all the folder is said to be no whole batch any more; the manifest goes last: it tells the next run what
  /// is ours. Error(io) for what lies behind a link, and for files of which nothing tells whose they are; the rest is
  /// deleted.
  Removed run() {
    const core::DirectoryLock lock(folder_);
    Removed removed{.folder = folder_};
    std::set<fs::path> below;
    const std::set<std::string> own = ownFiles(folder_, recorded_);
    removeProbes(files_, folder_);
    if (own.empty()) refuseUnknown();
    const bool marked = !own.contains(std::string(kSuccessName)) && files_.sizeOf(folder_ / kSuccessName) == 0U;
    if (marked) {
      remove(folder_ / kSuccessName);
      files_.syncDirectory(folder_);
    }
    std::optional<fs::path> link;
    for (const fs::path name : own) {
      const fs::path path = folder_ / name;
      if (leadsAway(folder_, name) || isLink(path)) {
        if (!link) link = path;
        continue;
      }
      removed.files += remove(path);
      for (const fs::path& part : leftovers_.of(path)) removed.files += remove(part);
      if (path.parent_path() != folder_) below.insert(path.parent_path());
    }
    for (const fs::path& inner : below) {
      if (isThere(inner)) files_.syncDirectory(inner);
      files_.removeEmptyDirectory(inner);
    }
    files_.syncDirectory(folder_);
    if (link) throwBehindLink(*link);
    remove(folder_ / "manifest.json.new.part");
    for (const std::string_view name : {kOldManifestName, kManifestName}) {
      for (const fs::path& part : leftovers_.of(folder_ / name)) remove(part);
      remove(folder_ / name);
    }
    files_.syncDirectory(folder_);
    if (!files_.removeEmptyDirectory(folder_)) {
      removed.left = countFiles(folder_);
    } else {
      files_.syncDirectory(folder_.parent_path());
    }
    return removed;
  }

 private:
  static bool isLink(const fs::path& path) {
    std::error_code ignored;
    return fs::is_symlink(fs::symlink_status(path, ignored));
  }

  [[noreturn]] static void throwBehindLink(const fs::path& path) {
    throw core::Error(core::Category::io,
                      "'" + core::printable(path.string()) +
                          "' is, or lies behind, a symbolic link: what that leads to "
                          "is not touched",
                      {.hint = "look where the link leads, delete what lies there, and remove the link; the next sync "
                               "goes on"});
  }

  /// No record and no manifest: the files may all be the batch's.
  void refuseUnknown() const {
    const auto isOurs = [&](std::string_view name) { return isThere(folder_ / name); };
    const std::array ours{kManifestName, kOldManifestName, kSuccessName};
    if (countFiles(folder_) == static_cast<std::uint64_t>(std::ranges::count_if(ours, isOurs))) return;
    throw core::Error(core::Category::io,
                      "neither a record nor a manifest tells which files in '" + core::printable(folder_.string()) +
                          "' are the batch's: none of them is deleted",
                      {.hint = "look what they are, and delete the folder; the next sync goes on"});
  }

  /// 1 if there was such a file.
  std::uint64_t remove(const fs::path& path) {
    std::error_code ignored;
    const fs::file_status there = fs::symlink_status(path, ignored);
    if (!fs::exists(there) || fs::is_directory(there)) return 0;
    files_.remove(path);
    return 1;
  }

  fs::path folder_;
  const std::vector<std::string>& recorded_;
  core::FileSystem& files_;
  Leftovers leftovers_;
};

/// What can't be deleted keeps nothing else from being deleted.
class FirstError {
 public:
  template <class Call>
  void of(const Call& call) {
    try {
      call();
    } catch (const core::Error& error) {
      if (!error_) error_ = error;
    }
  }
  void rethrow() const {
    if (error_) throw core::Error(*error_);
  }

 private:
  std::optional<core::Error> error_;
};

/// Deletes the batch at one place, those copies included that were put aside.
void deleteAt(const store::SyncPlace& place, const model::BatchId& batch, const std::vector<std::string>& recorded,
              core::FileSystem& files, std::vector<Removed>& removed) {
  std::vector<fs::path> folders = asideCopies(place, batch);
  for (fs::path& folder : foldersOf(place, batch)) folders.push_back(std::move(folder));
  FirstError failed;
  for (const fs::path& folder : folders) {
    failed.of([&] {
      refuseLinkOf(folder, batch, "deleted");
      removed.push_back(FolderDeletion(folder, recorded, files).run());
    });
  }
  failed.rethrow();
}

std::vector<store::SyncPlace> otherPlaces(const store::SyncPlace& place, const model::BatchId& batch,
                                          store::SyncStore& records) {
  std::vector<store::SyncPlace> places;
  for (fs::path& output : records.otherOutputs(place, batch)) {
    std::error_code ignored;
    if (fs::equivalent(output, place.output, ignored)) continue;
    places.push_back(place);
    places.back().output = std::move(output);
  }
  return places;
}

void deleteElsewhere(const store::SyncPlace& place, const model::Replacement& replacement,
                     const std::vector<std::string>& recorded, store::SyncStore& records, core::FileSystem& files,
                     Replaced& done) {
  FirstError failed;
  for (const store::SyncPlace& other : otherPlaces(place, replacement.batch, records)) {
    if (!isThere(other.output)) {
      done.notThere.push_back(other.output);
      continue;
    }
    failed.of([&] {
      const std::size_t before = done.removed.size();
      deleteAt(other, replacement.batch, recorded, files, done.removed);
      if (done.removed.size() == before) return;
      model::Replacement there = replacement;
      there.done = true;
      records.recordReplacement(other, there);
      done.outputs.push_back(other.output);
    });
  }
  failed.rethrow();
}

}  // namespace

std::uint64_t Replaced::left() const {
  std::uint64_t sum = 0;
  for (const Removed& one : removed) sum += one.left;
  return sum;
}

std::vector<fs::path> foldersOf(const store::SyncPlace& place, const model::BatchId& batch) {
  batchFolder(place.output, model::Layout::plain, place.dataset, batch);  // refuses ids that can't be folders
  return batchFolders(place.output, place.dataset, batch);
}

std::vector<fs::path> asideCopies(const store::SyncPlace& place, const model::BatchId& batch) {
  const std::string& first = batch.value();
  std::vector<fs::path> copies;
  for (const fs::path& aside : asideFolders(place.output, place.dataset)) {
    std::error_code error;
    const std::size_t before = copies.size();
    for (const auto& entry : fs::directory_iterator(aside, error)) {
      const std::string name = idIn(entry.path());
      const bool numbered = name.starts_with(first + ".") && core::parseUnsigned(name.substr(first.size() + 1));
      if (name != first && !numbered) continue;
      // The id of another batch may look like that, too.
      const std::optional<Manifest> manifest = manifestHead(entry.path());
      if (manifest && manifest->batchId != first && !manifest->batchId.empty()) continue;
      copies.push_back(entry.path());
    }
    if (copies.size() == before) continue;
    refuseAsideLink(aside, batch, "deleted");
  }
  std::ranges::sort(copies);
  return copies;
}

bool liesElsewhere(const store::SyncPlace& place, const model::BatchId& batch, store::SyncStore& records) {
  return std::ranges::any_of(otherPlaces(place, batch, records), [&](const store::SyncPlace& other) {
    return !foldersOf(other, batch).empty() || !asideCopies(other, batch).empty();
  });
}

Removed deleteFolder(const fs::path& folder, const std::vector<std::string>& recorded, core::FileSystem& files) {
  refuseLink(folder);
  return FolderDeletion(folder, recorded, files).run();
}

Replaced replaceBatch(const store::SyncPlace& place, model::Replacement replacement, bool everywhere,
                      store::SyncStore& records, core::FileSystem& files,
                      const std::function<std::vector<std::string>()>& withdraw) {
  const std::vector<fs::path> there = foldersOf(place, replacement.batch);
  const fs::path folder = there.empty() ? fs::path() : there.front();
  if (replacement.action == ReplaceAction::aside) {
    // With nothing there it was moved before a crash, and the record tells where to.
    if (!folder.empty()) {
      const fs::path aside = asideFolderOf(folder.parent_path());
      refuseAsideLink(aside, replacement.batch, "put aside");
      if (replacement.path.empty() || isThere(replacement.path)) replacement.path = freeName(aside / folder.filename());
    }
  } else {
    replacement.path.clear();
  }
  replacement.done = false;
  records.recordReplacement(place, replacement);
  Replaced done;
  switch (replacement.action) {
    case ReplaceAction::keep:
    case ReplaceAction::skip:
      break;
    case ReplaceAction::aside:
      moveAside(folder, replacement.path, files);
      done.withdrawn = withdraw();
      break;
    case ReplaceAction::remove: {
      const std::vector<std::string> recorded = records.recordedPaths(place, replacement.batch);
      // What fails here is told, and tried again by the next run; that one tells of all copies elsewhere.
      FirstError failed;
      failed.of([&] { deleteAt(place, replacement.batch, recorded, files, done.removed); });
      failed.of([&] { done.withdrawn = withdraw(); });
      failed.rethrow();
      if (everywhere) deleteElsewhere(place, replacement, recorded, records, files, done);
      break;
    }
  }
  replacement.done = true;
  records.recordReplacement(place, replacement);
  done.replacement = std::move(replacement);
  return done;
}

}  // namespace caiexport::engine
