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
    EXPECT_EQ(filesUnder("out").size(), 2U) << testing::PrintToString(filesUnder("out"));
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
    EXPECT_THAT(process->errors(), HasSubstr("rewritten while it was fetched"));
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
  EXPECT_THAT(resumed.err, HasSubstr("fetched again from its start"));
  expectUndisturbed();
}

TEST_F(Versions, WhatWasFetchedIsGoneOnWithWhereNothingChanged) {
  startSlowly("none");
  interruptAfter(kFileBytes / 2);
  hurry();
  const std::uint64_t before = counted("file_bytes_served");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_LT(counted("file_bytes_served") - before, kFileBytes * 2 / 3);
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

class FoldingFolder : public BinaryTest {};

TEST_F(FoldingFolder, FilesWhoseNamesAreTakenForOneAreBothKept) {
  std::filesystem::create_directories(folder_ / "out");
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 3, "file_bytes": 1000, "file_names":
      ["A.parquet", "a.parquet", "b.parquet"]})");
  environment["LD_PRELOAD"] = kFolding;
  environment["FOLDED_ROOT"] = path("out");
  for (int round = 0; round < 2; ++round) {
    const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size"});
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(filesUnder("out").size(), 4U) << testing::PrintToString(filesUnder("out"));
  }
  // Not `verify`: the preloaded library lacks realpath() and lists names in small letters, and `verify` compares the
  // names in a folder with the recorded ones as texts. On a file system that changes names it would call such files
  // foreign.
}

}  // namespace
}  // namespace caiexport::binary
