#include "folder_names.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using Alias = store::JobStore::Alias;
using ListedName = store::JobStore::ListedName;

constexpr const char* kProbe = ".caiexport-name.part";
// A letter that has a capital, and two spellings in Unicode.
constexpr const char* kAccentedProbe = ".caiexport-caf\xC3\xA9.part";
constexpr const char* kTriedNames = ".caiexport-names.part";

// The path has room for so many tildes.
constexpr std::int64_t kMostAlias = 9;

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

}  // namespace

bool foldsNames(core::FileSystem& files, const fs::path& folder) {
  if (takesOneForOther(files, folder / kProbe, {folder / ".CAIEXPORT-NAME.part"})) return true;
  try {
    return takesOneForOther(files, folder / kAccentedProbe,
                            {folder / ".caiexport-caf\xC3\x89.part", folder / ".caiexport-cafe\xCC\x81.part"});
  } catch (const core::Error&) {
    return false;  // it knows no such letters
  }
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
  // Of each file, the first name that is the same; of the manifest, one more.
  std::vector<std::size_t> same(names.size());
  std::vector<bool> inFolder(names.size() + 1);
  taken->add(kManifestName, names.size());
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
    if (alias == 1 && !folds) alias = 0;
    if (alias != names[at].alias) changed.push_back({.file = names[at].file, .alias = alias});
  }
  return changed;
}

}  // namespace caiexport::engine
