// One version of each file, and of what lies in the output folder only what is ours, through the real program.

#include <filesystem>
#include <map>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

class Versions : public BinaryTest {
 protected:
  static constexpr std::uint64_t kFileBytes = 20'000'000;

  /// So slowly that there is time to do something meanwhile.
  void startSlowly(const std::string& validators) {
    startWith(R"({"batches": 1, "failed_batches": 0, "files": 1, "file_bytes": )" + std::to_string(kFileBytes) +
              R"(, "file_validators": ")" + validators +
              R"(", "faults": [{"match": {"path": "path="}, "times": -1, "do": {"drip": 8000000}}]})");
  }
  void hurry() { changeScenario(R"({"faults": []})"); }

  std::vector<std::string> command() const {
    return {"dataset", "--id", kScoreDataset, "--verify", "size", "--connections", "2"};
  }

  /// A run that was interrupted with this much of its file on disk.
  void interruptAfter(std::uint64_t bytes) {
    const auto process = start(command());
    ASSERT_TRUE(support::eventually([&] { return counted("file_bytes_served") >= bytes; }));
    process->signal(SIGINT);
    ASSERT_EQ(process->wait(), 130) << process->errors();
  }

  std::filesystem::path only(const std::string& ending) const {
    for (const std::string& name : filesUnder("out")) {
      if (name.ends_with(ending)) return folder_ / "out" / name;
    }
    return {};
  }

  std::string onlyTable(const std::string& folder) const {
    for (const std::string& name : filesUnder(folder)) {
      if (!name.ends_with("manifest.json")) return support::Process::contentOf(folder_ / folder / name);
    }
    return {};
  }

  /// What is there now is what an undisturbed run brings.
  void expectUndisturbed() {
    environment["CAIEXPORT_DATABASE"] = path("other.db");
    environment["CAIEXPORT_OUTPUT"] = path("other");
    ASSERT_EQ(run(command()).code, 0);
    EXPECT_TRUE(onlyTable("out") == onlyTable("other")) << "other bytes";
    EXPECT_EQ(filesUnder("out").size(), 3U) << testing::PrintToString(filesUnder("out"));
  }
};

TEST_F(Versions, ARewriteWhileAFileIsFetchedIsNoticed) {
  for (const char* validators : {"none", "etag", "last_modified"}) {
    SCOPED_TRACE(validators);
    startSlowly(validators);
    const auto process = start(command());
    ASSERT_TRUE(support::eventually([&] { return counted("file_bytes_served") >= kFileBytes / 4; }));
    changeScenario(R"({"file_version": 1, "faults": []})");
    ASSERT_EQ(process->wait(), 0) << process->errors();
    EXPECT_THAT(process->errors(), HasSubstr("rewritten while it was downloaded"));
    expectUndisturbed();
    simulator_.reset();
    for (const char* name : {"out", "other", "port", "jobs.db", "other.db"})
      std::filesystem::remove_all(folder_ / name);
    environment["CAIEXPORT_DATABASE"] = path("jobs" + std::string(validators) + ".db");
    environment["CAIEXPORT_OUTPUT"] = path("out");
  }
}

TEST_F(Versions, ARewriteBetweenTwoRunsIsNoticed) {
  startSlowly("none");
  interruptAfter(kFileBytes / 2);
  changeScenario(R"({"file_version": 1, "faults": []})");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("downloaded again from its start"));
  expectUndisturbed();
}

TEST_F(Versions, WhatWasFetchedIsGoneOnWithWhereNothingChanged) {
  startSlowly("none");
  interruptAfter(kFileBytes / 2);
  hurry();
  const std::uint64_t before = counted("file_bytes_served");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  // How much of what was served had arrived depends on the machine; from the start it would be all of it, and its end.
  EXPECT_LT(counted("file_bytes_served") - before, kFileBytes);
  expectUndisturbed();
}

TEST_F(Versions, OtherBytesInThePartFileAreNotUsed) {
  startSlowly("etag");
  interruptAfter(kFileBytes / 2);
  hurry();
  // Of the right size, without any bytes.
  const std::filesystem::path part = only(".part");
  ASSERT_FALSE(part.empty());
  std::filesystem::resize_file(part, 0);
  std::filesystem::resize_file(part, kFileBytes);
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("no longer holds what an earlier run wrote there"));
  expectUndisturbed();
}

TEST_F(Versions, APartFileWithASecondNameIsLeftAlone) {
  startSlowly("etag");
  interruptAfter(kFileBytes / 2);
  hurry();
  const std::filesystem::path part = only(".part");
  std::filesystem::create_hard_link(part, folder_ / "precious");
  const std::string precious = support::Process::contentOf(folder_ / "precious");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(support::Process::contentOf(folder_ / "precious") == precious) << "it was written to";
  expectUndisturbed();
}

TEST_F(Versions, AnotherJobDoesNotTouchThePartOfTheFirst) {
  startSlowly("etag");
  interruptAfter(kFileBytes / 2);
  hurry();
  const std::filesystem::path part = only(".part");
  const std::string before = support::Process::contentOf(part);
  ASSERT_EQ(run(command()).code, 0);
  EXPECT_TRUE(support::Process::contentOf(part) == before);
  const std::uint64_t served = counted("file_bytes_served");
  ASSERT_EQ(run({"resume", "1"}).code, 0);
  EXPECT_EQ(counted("file_bytes_served"), served) << "the file was here already";
  expectUndisturbed();
}

class FoldingFolder : public BinaryTest {
 protected:
  /// By the record, by the manifest, and by what is read.
  void expectAllIsGood() {
    for (const std::string& what : {std::string("1"), path("out")}) {
      SCOPED_TRACE(what);
      const Ended verified = run({"verify", what});
      EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
      EXPECT_EQ(run({"read", what, "--limit", "1"}).code, 0);
    }
    for (const std::string& name : filesUnder("out")) {
      if (name.ends_with("manifest.json")) {
        std::ofstream(std::filesystem::path(path("out")) / std::filesystem::path(name).parent_path() / "more") << "x";
      }
    }
    const Ended foreign = run({"verify", "1"});
    EXPECT_EQ(foreign.code, 8);
    EXPECT_THAT(foreign.out, testing::StartsWith("foreign  "));
  }
};

/// Some of these are one name to most file systems that are no native ones.
constexpr const char* kNamesTakenForOne = R"({"batches": 1, "failed_batches": 0, "files": 8, "file_names":
    ["A.parquet", "a.parquet", "b.parquet", "caf\u00e9.parquet", "CAF\u00c9.parquet", "cafe\u0301.parquet",
     "Dots", "dots. ."]})";

TEST_F(FoldingFolder, FilesWhoseNamesAreTakenForOneAreBothKept) {
  std::filesystem::create_directories(folder_ / "out");
  startWith(kNamesTakenForOne);
  environment["LD_PRELOAD"] = kFolding;
  environment["ASAN_OPTIONS"] = "verify_asan_link_order=0";
  environment["FOLDED_ROOT"] = path("out");
  for (int round = 0; round < 2; ++round) {
    const Ended ended = run({"dataset", "--id", kScoreDataset});
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("this file system has no symbolic links"));
    EXPECT_EQ(filesUnder("out").size(), 10U) << testing::PrintToString(filesUnder("out"));
  }
  expectAllIsGood();
}

TEST_F(FoldingFolder, WhatWasInterruptedIsGoneOnWith) {
  std::filesystem::create_directories(folder_ / "out");
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 3, "file_names": ["A.parquet", "a.parquet", "b.parquet"],
      "faults": [{"match": {"path": "path=b.parquet"}, "times": -1, "do": {"status": 500}}]})");
  environment["LD_PRELOAD"] = kFolding;
  environment["ASAN_OPTIONS"] = "verify_asan_link_order=0";
  environment["FOLDED_ROOT"] = path("out");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--retries", "0"}).code, 7);
  changeScenario(R"({"faults": []})");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(filesUnder("out").size(), 5U) << testing::PrintToString(filesUnder("out"));
  expectAllIsGood();
}

TEST_F(FoldingFolder, ANameThatItDoesNotTakeIsSaidWithWhatToDo) {
  std::filesystem::create_directories(folder_ / "out");
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 2, "file_names": ["a:b.parquet", "c.parquet"]})");
  environment["LD_PRELOAD"] = kFolding;
  environment["ASAN_OPTIONS"] = "verify_asan_link_order=0";
  environment["FOLDED_ROOT"] = path("out");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 9) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("a:b.parquet"));
  EXPECT_THAT(ended.err, HasSubstr("choose an --output on another file system"));
}

struct Mount {
  std::string name;
  std::string script;  ///< Mounts `image`, a file of 64 MiB, at `out`.
};

void PrintTo(const Mount& mount, std::ostream* out) {
  *out << mount.name;
}

/// Real file systems, as far as this machine can mount them.
class FoldingMount : public FoldingFolder, public testing::WithParamInterface<Mount> {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "out");
    std::ofstream(folder_ / "image").close();
    std::filesystem::resize_file(folder_ / "image", 64U << 20U);
    if (!shell("set -e; " + GetParam().script))
      GTEST_SKIP() << "NOT CHECKED: this machine can't mount " << GetParam().name << ": its programs, kernel or rights";
  }
  void TearDown() override {
    EXPECT_TRUE(shell("while umount out; do :; done; losetup -j image | cut -d: -f1 | xargs -r losetup -d"));
  }

 private:
  bool shell(const std::string& script) const {
    return std::system(
               ("cd '" + folder_.path().string() + "' && (PATH=$PATH:/usr/sbin:/sbin; " + script + ") >mount.log 2>&1")
                   .c_str()) == 0;
  }
};

TEST_P(FoldingMount, FilesWhoseNamesAreTakenForOneAreBothKept) {
  startWith(kNamesTakenForOne);
  for (int round = 0; round < 2; ++round) {
    const Ended ended = run({"dataset", "--id", kScoreDataset});
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(filesUnder("out").size(), 10U) << testing::PrintToString(filesUnder("out"));
  }
  expectAllIsGood();
}

INSTANTIATE_TEST_SUITE_P(
    Systems, FoldingMount,
    testing::Values(Mount{"Vfat", "mkfs.vfat image; mount -o loop,utf8 image out"},
                    Mount{"Ntfs", "mkfs.ntfs -Q -F image; lowntfs-3g -o ignore_case image out"},
                    Mount{"Exfat", "mkfs.exfat image; mount.exfat-fuse $(losetup -f --show image) out"},
                    Mount{"Ext4",
                          "mkfs.ext4 -O casefold image; mount -o loop image out; mkdir out/x; "
                          "chattr +F out/x; umount out; mount -o loop image out; mount --bind out/x out"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace caiexport::binary
