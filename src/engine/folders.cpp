#include "folders.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/transfer/downloader.h"
#include "select_step.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using Alias = store::JobStore::Alias;
using ListedName = store::JobStore::ListedName;

/// What lies at a path that is to change goes along. False if something foreign is in the way. Doing it again after a
/// crash does no harm: what was moved already lies where it should.
bool moveFile(core::FileSystem& files, const std::string& tag, const fs::path& from, const fs::path& to) {
  const fs::path fromPart = transfer::partPathFor(from, tag);
  const fs::path toPart = transfer::partPathFor(to, tag);
  const bool whole = files.sizeOf(from).has_value();
  const bool part = files.sizeOf(fromPart).has_value();
  if (!whole && !part) return true;
  if (whole && files.sizeOf(to)) return false;
  files.createDirectories(to.parent_path());
  if (part) files.rename(fromPart, toPart);
  if (whole) files.rename(from, to);
  if (whole && !part) files.remove(toPart);
  files.syncDirectory(to.parent_path());
  files.syncDirectory(from.parent_path());
  return true;
}

// --- names as the file system sees them

constexpr const char* kProbe = ".caiexport-name.part";
// A letter that has a capital, and two spellings in Unicode.
constexpr const char* kAccentedProbe = ".caiexport-caf\xC3\xA9.part";
constexpr const char* kTriedNames = ".caiexport-names.part";

// The path has room for so many tildes.
constexpr std::int64_t kMostAlias = 9;

/// In the job locks, below those of --reuse and above the numbers of jobs.
std::int64_t numberOf(const fs::path& folder) {
  constexpr std::int64_t kFirst = std::int64_t{1} << 60U;
  std::error_code ignored;
  const fs::path real = fs::canonical(folder, ignored);
  const auto hash = core::fnv1a(ignored ? folder.string() : real.string());
  return kFirst + static_cast<std::int64_t>(hash & static_cast<std::uint64_t>(kFirst - 1));
}

/// Against other processes on this machine; with a database on a server, also on others. Of a shared job the head alone
/// holds it, and only there: one that was frozen would keep the kernel's lock from the next head.
void hold(StepContext& context, const fs::path& folder) {
  RunState& run = context.run;
  if (run.helps) return;
  if (context.job.share.empty()) run.folders.add(folder);
  if (context.tools.share == nullptr) return;
  run.foldersOnServer.emplace_back(context.tools.jobLocks, numberOf(folder),
                                   "the folder " + core::printable(folder.string()) + " is in use",
                                   "wait until it ends, or choose another folder");
}

/// Of names in one folder: which are the same.
class Names {
 public:
  virtual ~Names() = default;
  /// The number of the first name that is the same as this one; `number` itself if it is new.
  virtual std::size_t add(const std::string& name, std::size_t number) = 0;
};

class ExactNames final : public Names {
 public:
  std::size_t add(const std::string& name, std::size_t number) override {
    return numbers_.emplace(name, number).first->second;
  }

 private:
  std::map<std::string, std::size_t> numbers_;
};

void clearTried(core::FileSystem& files, const fs::path& folder) {
  std::error_code error;
  // Nothing is cleared away behind a link.
  if (!fs::is_directory(fs::symlink_status(folder, error))) return;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, error)) paths.push_back(entry.path());
  for (const fs::path& path : paths) files.remove(path);
  files.removeEmptyDirectory(folder);
}

/// Asks the file system itself: nobody else knows how it folds.
class TriedNames final : public Names {
 public:
  /// `unknown`: the number to give for a name that is taken by something without one.
  TriedNames(core::FileSystem& files, const fs::path& folder, std::size_t unknown)
      : files_(files), folder_(folder / kTriedNames), unknown_(unknown) {
    clearTried(files_, folder_);
    files_.createDirectories(folder_);
  }
  ~TriedNames() override {
    try {
      clearTried(files_, folder_);
    } catch (const core::Error&) {
      // Empty files in a hidden folder; the next run clears them away.
    }
  }
  TriedNames(const TriedNames&) = delete;
  TriedNames& operator=(const TriedNames&) = delete;

  std::size_t add(const std::string& name, std::size_t number) override {
    const fs::path path = folder_ / name;
    const bool isNew = files_.create(path) != nullptr;
    const std::uint64_t inode = files_.identityOf(path).value_or(core::FileIdentity{}).inode;
    if (isNew) return numbers_[inode] = number;
    const auto found = numbers_.find(inode);
    return found == numbers_.end() ? unknown_ : found->second;
  }

 private:
  core::FileSystem& files_;
  const fs::path folder_;
  const std::size_t unknown_;
  std::map<std::uint64_t, std::size_t> numbers_;
};

/// Folders named after dataset file ids, with tildes where that name is taken or holds a file of that name already.
class Folders {
 public:
  explicit Folders(Names& taken) : taken_(taken) {}

  /// `same`: the number of the first name that is the same as the file's.
  std::int64_t folderFor(const ListedName& file, std::size_t same) {
    for (std::int64_t alias = 1; alias <= kMostAlias; ++alias) {
      const std::string name = file.datasetFileId + std::string(static_cast<std::size_t>(alias - 1), '~');
      if (isOurs(name) && held_[name].insert(same).second) return alias;
    }
    throw core::Error(core::Category::io,
                      "there are too many files that the file system takes for '" + core::printable(file.name) + "'",
                      {.hint = "choose an --output on a file system that distinguishes upper and lower case"});
  }

 private:
  /// Whether no file bears the name, nor another folder in another spelling.
  bool isOurs(const std::string& name) {
    const auto known = ours_.find(name);
    if (known != ours_.end()) return known->second;
    // A folder is a name more; far from the numbers of files.
    const std::size_t number = static_cast<std::size_t>(-1) - ours_.size();
    return ours_[name] = taken_.add(name, number) == number;
  }

  Names& taken_;
  std::map<std::string, bool> ours_;
  std::map<std::string, std::set<std::size_t>> held_;
};

bool takesOneForOther(core::FileSystem& files, const fs::path& one, std::initializer_list<fs::path> others) {
  files.remove(one);
  if (files.create(one) == nullptr) return false;
  const bool folds =
      std::ranges::any_of(others, [&](const fs::path& other) { return files.identityOf(other).has_value(); });
  files.remove(one);
  return folds;
}

// --- the link to the newest batch

constexpr std::string_view kTemporary = ".latest.";

std::vector<fs::path> entriesOf(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) entries.push_back(entry.path());
  return entries;
}

/// When its batch was created, and its name: the greater one is the newer.
using Age = std::tuple<core::TimePoint, fs::path>;

/// Nothing where no batch is whole.
std::optional<Age> ageOf(const fs::path& folder) {
  std::error_code error;
  if (isPassedOver(folder) || !fs::is_directory(fs::symlink_status(folder, error))) return std::nullopt;
  const std::optional<Manifest> manifest = manifestHead(folder);
  if (!manifest) return std::nullopt;
  return Age(manifest->created.value_or(core::TimePoint()), folder.filename());
}

std::optional<fs::path> newestOf(const std::vector<fs::path>& folders) {
  std::optional<Age> newest;
  for (const fs::path& folder : folders) newest = std::max(newest, ageOf(folder));
  return newest ? std::optional(std::get<1>(*newest)) : std::nullopt;
}

/// What processes left that were killed between making the new link and putting it in place.
void removeLeftovers(const fs::path& datasetFolder, core::FileSystem& files) {
  for (const fs::path& entry : entriesOf(datasetFolder)) {
    const std::string name = entry.filename().string();
    if (!name.starts_with(kTemporary)) continue;
    const auto process = core::parseUnsigned(std::string_view(name).substr(kTemporary.size()));
    const bool gone = process && ::kill(static_cast<pid_t>(*process), 0) != 0 && errno == ESRCH;
    if (gone) files.remove(entry);
  }
}

/// For as long as one process looks and switches, others wait: what they bring would be overwritten unseen. Null where
/// the file system has no such lock, or somebody keeps it for long.
std::unique_ptr<core::DirectoryLock> lockOf(const fs::path& datasetFolder) {
  constexpr int kTries = 100;
  for (int tries = 0; tries < kTries; ++tries) {
    try {
      return std::make_unique<core::DirectoryLock>(datasetFolder);
    } catch (const core::Error& error) {
      if (error.category() != core::Category::busy) return nullptr;
    }
    core::systemClock().sleep(std::chrono::milliseconds(20), {});
  }
  return nullptr;
}

/// False if that is not to be tried again.
bool pointTo(const fs::path& newest, const fs::path& link, core::FileSystem& files,
             const std::function<void(std::string_view)>& tell) {
  const fs::path temporary = link.parent_path() / (std::string(kTemporary) + std::to_string(::getpid()));
  files.remove(temporary);
  if (!files.createLink(newest, temporary)) {
    tell("this file system has no symbolic links: there is no '" + core::printable(link.string()) + "'");
    return false;
  }
  files.rename(temporary, link);
  files.syncDirectory(link.parent_path());
  return true;
}

/// What the link names; nothing if it is none, or leads nowhere.
std::optional<fs::path> namedBy(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  const fs::path folder = link.parent_path() / target;
  if (error || folder.parent_path() != link.parent_path() || !ageOf(folder)) return std::nullopt;
  return folder;
}

}  // namespace

void refuseLink(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_symlink(fs::symlink_status(folder, ignored))) return;
  throw core::Error(
      core::Category::io,
      "'" + core::printable(folder.string()) + "' is a symbolic link, and caiexport does not write through links",
      {.hint = "remove the link, or choose another --output"});
}

void holdFolders(StepContext& context) {
  if (context.run.holdsFolders) return;
  refuseForgotten(context);
  for (const model::Batch& batch : context.job.batches) {
    const fs::path folder = folderOf(context.job, batch.id);
    context.tools.files.createDirectories(folder);
    refuseLink(folder.parent_path());
    refuseLink(folder);
    hold(context, folder);
    requireOwnManifest(context.job, batch.id);
  }
  context.run.holdsFolders = true;
  if (context.run.folders.notHeld() == 0) return;
  const std::string text = "only " + std::to_string(context.run.folders.held()) + " of the " +
                           std::to_string(context.job.batches.size()) +
                           " batch folders are locked, since this process may open no more files: let no other "
                           "caiexport write to them (or raise ulimit -n)";
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, "folders_not_locked", text);
}

void settleListing(StepContext& context, const model::BatchId& batch,
                   std::span<const store::JobStore::Displaced> displaced) {
  std::vector<std::int64_t> moved;
  if (!displaced.empty()) holdFolders(context);
  const fs::path folder = folderOf(context.job, batch);
  if (!displaced.empty()) unmarkWhole(folder, context.tools.files);
  const std::string tag = transfer::partTagOf(context.job.uuid);
  for (const auto& file : displaced) {
    refuseLink((folder / file.to).parent_path());
    if (moveFile(context.tools.files, tag, folder / file.from, folder / file.to)) moved.push_back(file.file);
  }
  context.tools.store.finishListing(context.job.id, batch, moved);
}

bool foldsNames(core::FileSystem& files, const fs::path& folder) {
  if (takesOneForOther(files, folder / kProbe, {folder / ".CAIEXPORT-NAME.part"})) return true;
  try {
    return takesOneForOther(files, folder / kAccentedProbe,
                            {folder / ".caiexport-caf\xC3\x89.part", folder / ".caiexport-cafe\xCC\x81.part"});
  } catch (const core::Error&) {
    return false;  // it knows no such letters
  }
}

bool folderFolds(StepContext& context) {
  std::optional<bool>& folds = context.run.folds;
  if (!folds) folds = foldsNames(context.tools.files, folderOf(context.job, context.job.batches.front().id));
  return *folds;
}

void settleNames(StepContext& context, const model::BatchId& batch) {
  Tools& tools = context.tools;
  if (tools.store.files(context.job.id, 0, 1, {}).empty()) return;
  holdFolders(context);
  const bool folds = folderFolds(context);
  if (!folds && !tools.store.needsFolders(context.job.id, batch)) return;
  const auto names = tools.store.listedNames(context.job.id, batch);
  tools.store.setAliases(aliasesOf(tools.files, folderOf(context.job, batch), folds, names));
}

void removeFencedParts(core::FileSystem& files, const fs::path& folder, const std::string& tag) {
  const std::string ofJob = "." + tag + ".";
  std::vector<fs::path> parts;
  std::error_code error;
  for (fs::recursive_directory_iterator each(folder, error), end; !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    const std::size_t at = name.rfind(ofJob);
    if (at == name.npos || !name.ends_with(".part")) continue;
    const std::size_t first = at + ofJob.size();
    const std::string fence = name.substr(first, name.size() - first - std::min(name.size() - first, std::size_t{5}));
    if (transfer::isFence(fence)) parts.push_back(each->path());
  }
  for (const fs::path& part : parts) files.remove(part);
}

void removeProbes(core::FileSystem& files, const fs::path& folder) {
  files.remove(folder / kProbe);
  files.remove(folder / kAccentedProbe);
  clearTried(files, folder / kTriedNames);
}

std::vector<Alias> aliasesOf(core::FileSystem& files, const fs::path& folder, bool folds,
                             std::span<const ListedName> names) {
  const std::unique_ptr<Names> taken =
      folds ? std::unique_ptr<Names>(std::make_unique<TriedNames>(files, folder, names.size()))
            : std::make_unique<ExactNames>();
  // Of each file, the first name that is the same; of our own names, one more.
  std::vector<std::size_t> same(names.size());
  std::vector<bool> inFolder(names.size() + 1);
  for (const std::string_view name : {kManifestName, kOldManifestName, kSuccessName}) {
    taken->add(std::string(name), names.size());
  }
  for (std::size_t at = 0; at < names.size(); ++at) {
    same[at] = taken->add(names[at].name, at);
    if (same[at] == at) continue;
    inFolder[same[at]] = true;
    inFolder[at] = true;
  }
  Folders folders(*taken);
  std::vector<Alias> changed;
  for (std::size_t at = 0; at < names.size(); ++at) {
    // Of equal names no word is needed, unless their folder's name is taken.
    std::int64_t alias = inFolder[at] ? folders.folderFor(names[at], same[at]) : 0;
    if (alias == 1 && !folds && same[at] != names.size()) alias = 0;
    if (alias != names[at].alias) changed.push_back({.file = names[at].file, .alias = alias});
  }
  return changed;
}

void switchLatest(const fs::path& datasetFolder, core::FileSystem& files,
                  const std::function<void(std::string_view)>& tell) {
  const fs::path link = latestIn(datasetFolder);
  removeLeftovers(datasetFolder, files);
  const auto lock = lockOf(datasetFolder);
  // Looked at again after each switch: without the lock another process may have brought a newer batch meanwhile.
  for (;;) {
    std::error_code error;
    const fs::file_status there = fs::symlink_status(link, error);
    const bool isLink = fs::is_symlink(there);
    if (fs::exists(there) && !isLink) {
      tell("'" + core::printable(link.string()) + "' is not a link: it is left as it is");
      return;
    }
    const std::optional<fs::path> newest = newestOf(entriesOf(datasetFolder));
    if (!newest && isLink) {
      files.remove(link);
      files.syncDirectory(datasetFolder);
    }
    if (!newest || (isLink && fs::read_symlink(link, error) == *newest)) return;
    if (!pointTo(*newest, link, files, tell)) return;
  }
}

void bringLatest(const fs::path& batchFolder, core::FileSystem& files,
                 const std::function<void(std::string_view)>& tell) {
  const fs::path link = latestIn(batchFolder.parent_path());
  {
    const auto lock = lockOf(link.parent_path());
    const std::optional<fs::path> named = namedBy(link);
    if (lock && named) {
      const std::optional<fs::path> newest = newestOf({*named, batchFolder});
      if (newest && *newest != named->filename()) pointTo(*newest, link, files, tell);
      return;
    }
  }
  switchLatest(batchFolder.parent_path(), files, tell);
}

void mendLatest(const fs::path& datasetFolder, core::FileSystem& files,
                const std::function<void(std::string_view)>& tell) {
  if (!namedBy(latestIn(datasetFolder))) switchLatest(datasetFolder, files, tell);
}

}  // namespace caiexport::engine
