#include "engine/folders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "caiexport/core/file_system.h"
#include "support/temp_directory.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using store::JobStore;
using testing::ElementsAre;
using testing::IsEmpty;

/// A folder that ignores case: of names, not of the folders above.
class IgnoringCase final : public core::FileSystem {
 public:
  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const fs::path& path, unsigned mode) override {
    return disk_.open(folded(path), mode);
  }
  std::unique_ptr<core::WritableFile> create(const fs::path& path) override { return disk_.create(folded(path)); }
  std::optional<core::FileIdentity> identityOf(const fs::path& path) override { return disk_.identityOf(folded(path)); }
  void rename(const fs::path& from, const fs::path& to) override { disk_.rename(folded(from), folded(to)); }
  void syncDirectory(const fs::path& path) override { disk_.syncDirectory(path); }
  void remove(const fs::path& path) override { disk_.remove(folded(path)); }
  void createDirectories(const fs::path& path) override { disk_.createDirectories(folded(path)); }
  std::optional<std::uint64_t> sizeOf(const fs::path& path) override { return disk_.sizeOf(folded(path)); }
  std::uint64_t freeBytes(const fs::path& path) override { return disk_.freeBytes(path); }

 private:
  static fs::path folded(const fs::path& path) {
    std::string name = path.filename().string();
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return path.parent_path() / name;
  }
  core::FileSystem& disk_ = core::diskFileSystem();
};

class FolderNames : public testing::Test {
 protected:
  /// (file, alias) of what is to change; file numbers from 1.
  std::vector<std::pair<std::int64_t, std::int64_t>> changes(core::FileSystem& files, bool folds,
                                                             std::vector<JobStore::ListedName> names) {
    for (std::size_t at = 0; at < names.size(); ++at) names[at].file = static_cast<std::int64_t>(at + 1);
    std::vector<std::pair<std::int64_t, std::int64_t>> found;
    for (const JobStore::Alias& each : aliasesOf(files, folder_.path(), folds, names)) {
      found.emplace_back(each.file, each.alias);
    }
    EXPECT_TRUE(fs::is_empty(folder_.path())) << "something was left behind";
    return found;
  }
  static JobStore::ListedName of(std::string id, std::string name, std::int64_t alias = 0) {
    return {.datasetFileId = std::move(id), .name = std::move(name), .alias = alias};
  }

  support::TempDirectory folder_;
  IgnoringCase folding_;
  core::FileSystem& exact_ = core::diskFileSystem();
};

TEST_F(FolderNames, TheFolderIsAskedWhetherItTellsNamesApart) {
  EXPECT_FALSE(foldsNames(exact_, folder_.path()));
  EXPECT_TRUE(foldsNames(folding_, folder_.path()));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(FolderNames, NamesThatTheFolderTakesForOneGoIntoFolders) {
  EXPECT_THAT(changes(folding_, true, {of("B-1", "A.parquet"), of("B-2", "b.parquet"), of("B-3", "a.PARQUET")}),
              ElementsAre(std::pair(1, 1), std::pair(3, 1)));
  EXPECT_THAT(changes(exact_, false, {of("B-1", "A.parquet"), of("B-2", "b.parquet"), of("B-3", "a.PARQUET")}),
              IsEmpty());
}

TEST_F(FolderNames, FilesOfOneDatasetFileGoIntoDifferentFolders) {
  EXPECT_THAT(changes(folding_, true, {of("B-1", "A.parquet"), of("B-1", "a.parquet"), of("B-1", "b.parquet")}),
              ElementsAre(std::pair(1, 1), std::pair(2, 2)));
}

TEST_F(FolderNames, AFileNamedLikeOursGoesIntoAFolderWhateverTheFileSystem) {
  EXPECT_THAT(changes(folding_, true, {of("B-1", "Manifest.JSON"), of("B-2", "_success"), of("B-3", "_MANIFEST.json")}),
              ElementsAre(std::pair(1, 1), std::pair(2, 1), std::pair(3, 1)));
  EXPECT_THAT(changes(exact_, false, {of("B-1", "_SUCCESS"), of("B-2", "_success"), of("B-3", "_manifest.json")}),
              ElementsAre(std::pair(1, 1), std::pair(3, 1)));
}

TEST_F(FolderNames, FoldersThatCollideWithEachOtherAreToldApart) {
  EXPECT_THAT(changes(folding_, true, {of("B-1", "a"), of("b-1", "A")}), ElementsAre(std::pair(1, 1), std::pair(2, 2)));
}

TEST_F(FolderNames, AFolderIsNotCalledLikeAFileOrTheManifest) {
  EXPECT_THAT(changes(exact_, false, {of("B-1", "twin"), of("B-2", "twin"), of("B-3", "B-2")}),
              ElementsAre(std::pair(2, 2)));
  EXPECT_THAT(changes(exact_, false, {of("manifest.json", "twin"), of("B-2", "twin")}), ElementsAre(std::pair(1, 2)));
  EXPECT_THAT(changes(exact_, false, {of("B-1", "twin"), of("B-2", "twin"), of("B-3", "B-1"), of("B-4", "B-1~")}),
              ElementsAre(std::pair(1, 3)));
}

TEST_F(FolderNames, WhatIsRecordedAndStillSoIsNoChange) {
  EXPECT_THAT(changes(folding_, true, {of("B-1", "A", 1), of("B-2", "a", 1)}), IsEmpty());
  EXPECT_THAT(changes(folding_, true, {of("B-1", "A", 1), of("B-2", "b")}), ElementsAre(std::pair(1, 0)));
}

}  // namespace
}  // namespace caiexport::engine
