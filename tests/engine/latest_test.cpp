#include "engine/folders.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "caiexport/core/file_system.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Latest : public testing::Test {
 protected:
  void batch(const std::string& name, const std::string& created) {
    fs::create_directory(folder_ / name);
    std::ofstream(folder_ / name / "_manifest.json")
        << R"({"job":1,"dataset_id":"ds","batch_id":")" << name << R"(","batch_created":")" << created
        << R"(","records":1,"bytes":1,"files": [{"name": "x", "bytes": 1}]})";
  }

  void go(core::FileSystem& files = core::diskFileSystem()) {
    switchLatest(folder_.path(), files, [this](std::string_view text) { told_.emplace_back(text); });
  }

  std::string target() const { return fs::read_symlink(folder_ / "latest").string(); }

  support::TempDirectory folder_;
  std::vector<std::string> told_;
};

TEST_F(Latest, NamesTheNewestByCreationNotByName) {
  batch("a", "2026-11-24T00:00:00.000Z");
  batch("b", "2026-11-23T00:00:00.000Z");
  go();
  EXPECT_EQ(target(), "a");
  batch("0", "2026-11-25T00:00:00.000Z");
  go();
  EXPECT_EQ(target(), "0");
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(Latest, AFolderWithoutManifestAndHiddenOnesDoNotCount) {
  batch("a", "2026-11-24T00:00:00.000Z");
  fs::create_directory(folder_ / "b");
  batch(".replaced", "2026-11-25T00:00:00.000Z");
  go();
  EXPECT_EQ(target(), "a");
}

TEST_F(Latest, GoesWhereNothingIsLeft) {
  batch("a", "2026-11-24T00:00:00.000Z");
  go();
  fs::remove_all(folder_ / "a");
  go();
  EXPECT_FALSE(fs::is_symlink(fs::symlink_status(folder_ / "latest")));
}

TEST_F(Latest, WhatIsNoLinkIsLeftAlone) {
  batch("a", "2026-11-24T00:00:00.000Z");
  fs::create_directory(folder_ / "latest");
  go();
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(folder_ / "latest")));
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_THAT(told_[0], HasSubstr("is not a link"));
}

TEST_F(Latest, WhatIsBroughtIsComparedWithWhatItNamesAlone) {
  const auto bring = [&](const std::string& name) {
    bringLatest(folder_ / name, core::diskFileSystem(), [this](std::string_view text) { told_.emplace_back(text); });
  };
  batch("b", "2026-11-24T00:00:00.000Z");
  bring("b");
  EXPECT_EQ(target(), "b") << "there was no link";
  // Put there by hand: only a look at all batches could tell.
  batch("z", "2026-11-27T00:00:00.000Z");
  batch("a", "2026-11-23T00:00:00.000Z");
  bring("a");
  EXPECT_EQ(target(), "b") << "an older one";
  batch("c", "2026-11-25T00:00:00.000Z");
  bring("c");
  EXPECT_EQ(target(), "c") << "the others were not looked at";
  fs::remove_all(folder_ / "a");
  mendLatest(folder_.path(), core::diskFileSystem(), {});
  EXPECT_EQ(target(), "c");
  fs::remove_all(folder_ / "c");
  mendLatest(folder_.path(), core::diskFileSystem(), {});
  EXPECT_EQ(target(), "z");
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(Latest, ProcessesThatBringAtTheSameTimeLeaveItAtTheNewest) {
  constexpr int kProcesses = 6;
  batch("00", "2026-11-01T00:00:00.000Z");
  go();
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int n = 1; n <= 4; ++n) {
        const std::string name = std::to_string(10 + n * kProcesses + process);
        batch(name, "2026-11-" + std::to_string(n < 3 ? 10 + n : 20 + n) + "T00:00:" + std::to_string(10 + process) +
                        ".000Z");
        bringLatest(folder_ / name, core::diskFileSystem(), {});
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(target(), std::to_string(10 + 4 * kProcesses + kProcesses - 1));
}

class NoLinks final : public support::RecordingFileSystem {
 public:
  bool createLink(const fs::path&, const fs::path&) override { return false; }
};

TEST_F(Latest, AFileSystemWithoutLinksIsNoFailure) {
  batch("a", "2026-11-24T00:00:00.000Z");
  NoLinks files;
  go(files);
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_ / "latest")));
  EXPECT_THAT(told_, SizeIs(1));
}

TEST_F(Latest, WhatAKilledProcessLeftIsRemoved) {
  batch("a", "2026-11-24T00:00:00.000Z");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  fs::create_symlink("a", folder_ / (".latest." + std::to_string(child)));
  go();
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_.path())) ++entries;
  EXPECT_EQ(entries, 2U) << "the batch and the link";
}

}  // namespace
}  // namespace caiexport::engine
