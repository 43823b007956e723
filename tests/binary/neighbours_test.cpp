/// Other processes, other runs, and a disk that has no room.

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

class Neighbours : public BinaryTest {
 protected:
  /// A run whose files don't come until it is told otherwise.
  std::unique_ptr<support::Process> startStalled() {
    startWith(R"({"batches": 1, "files": 3, "file_bytes": 50000, "faults": [
        {"match": {"path": "path="}, "times": -1, "do": {"stall_body": 100}}]})");
    auto process = start(command());
    EXPECT_TRUE(support::eventually([&] { return counted("faults_fired") > 0; }));
    return process;
  }

  static std::vector<std::string> command() { return {"dataset", "--id", kScoreDataset, "--verify", "size"}; }
};

TEST_F(Neighbours, ASecondDatabaseOnOneBatchFolderIsRefused) {
  const auto process = startStalled();
  environment["CAIEXPORT_DATABASE"] = path("second.db");
  const Ended second = run(command());
  EXPECT_EQ(second.code, 10);
  EXPECT_THAT(second.err, HasSubstr("process " + std::to_string(process->id())));
  // The first one goes, and its lock with it.
  process->signal(SIGKILL);
  process->wait();
  changeScenario(R"({"faults": []})");
  std::filesystem::remove_all(folder_ / "out");
  const Ended resumed = run({"resume", "--last"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST_F(Neighbours, ASecondRunOfOneJobIsRefused) {
  const auto process = startStalled();
  const Ended second = run({"resume", "1"});
  EXPECT_EQ(second.code, 10);
  EXPECT_THAT(second.err, HasSubstr("process " + std::to_string(process->id())));
  changeScenario(R"({"faults": []})");
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
  EXPECT_EQ(run({"resume", "1"}).code, 0);
}

TEST_F(Neighbours, EightProcessesMakeOneDatabase) {
  startWith(R"({"batches": 1, "files": 2, "file_bytes": 1000})");
  std::vector<std::unique_ptr<support::Process>> processes;
  for (int number = 0; number < 8; ++number) {
    environment["CAIEXPORT_OUTPUT"] = path("out" + std::to_string(number));
    processes.push_back(start(command()));
  }
  for (const auto& process : processes) EXPECT_EQ(process->wait(), 0) << process->errors();
  const Ended count =
      run({"history", "--format", "csv", "--sql", "SELECT count(*) AS n FROM jobs WHERE status = 'succeeded'"});
  EXPECT_EQ(count.out, "n\r\n8\r\n");
}

TEST_F(Neighbours, EightProcessesLookAtOneDatabase) {
  startWith(R"({"batches": 1, "files": 2, "file_bytes": 1000})");
  ASSERT_EQ(run(command()).code, 0);
  std::vector<std::unique_ptr<support::Process>> processes;
  for (int number = 0; number < 8; ++number) {
    processes.push_back(number % 2 == 0 ? start({"history"}) : start({"resume", "--last"}));
  }
  for (const auto& process : processes) EXPECT_EQ(process->wait(), 0) << process->errors();
}

TEST_F(Neighbours, ALinkToTheDatabaseIsTheDatabase) {
  const auto process = startStalled();
  std::filesystem::create_symlink(path("jobs.db"), folder_ / "link.db");
  environment["CAIEXPORT_DATABASE"] = path("link.db");
  const Ended second = run({"resume", "1"});
  EXPECT_EQ(second.code, 10) << second.err;
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr(R"("held": true)"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "link.db.lock"));
  process->signal(SIGKILL);
  process->wait();
}

TEST_F(Neighbours, ADatabaseWithTwoNamesIsRefused) {
  startWith(R"({"batches": 1, "files": 2, "file_bytes": 1000})");
  ASSERT_EQ(run(command()).code, 0);
  std::filesystem::create_hard_link(folder_ / "jobs.db", folder_ / "twin.db");
  for (const char* const name : {"jobs.db", "twin.db"}) {
    environment["CAIEXPORT_DATABASE"] = path(name);
    const Ended ended = run(command());
    EXPECT_EQ(ended.code, 9) << name;
    EXPECT_THAT(ended.err, HasSubstr("2 names (hard links)")) << name;
  }
  std::filesystem::remove(folder_ / "twin.db");
  environment["CAIEXPORT_DATABASE"] = path("jobs.db");
  EXPECT_EQ(run(command()).code, 0);
}

TEST_F(Neighbours, TwoThatReuseADatasetMakeOne) {
  startWith(R"({"export_polls": 1000000, "other_datasets": 0})");
  const std::vector<std::string> reuse{"segment",         "--id", kSegment,     "--reuse",
                                       "--poll-interval", "0.02", "--poll-max", "0.02"};
  const auto first = start(reuse);
  ASSERT_TRUE(support::eventually([&] { return counted("export_jobs_accepted") == 1; }));
  const Ended second = run(reuse);
  EXPECT_EQ(second.code, 10) << second.err;
  EXPECT_THAT(second.err, HasSubstr("process " + std::to_string(first->id())));
  EXPECT_EQ(counted("datasets_created"), 1U);
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
  EXPECT_EQ(run({"show", "2"}).code, 4) << "no job is left behind";
  first->signal(SIGKILL);
  first->wait();
  changeScenario(R"({"export_polls": 1})");
  EXPECT_EQ(run({"resume", "1"}).code, 0);
  EXPECT_EQ(run(reuse).code, 0);
  EXPECT_EQ(counted("datasets_created"), 1U);
}

// --- what can't be relied on

TEST_F(Neighbours, AFileSystemWithoutLocksIsDetectedAndSaid) {
  startWith(R"({"batches": 1, "files": 2, "file_bytes": 1000})");
  environment["LD_PRELOAD"] = kNoLocks;
  environment["ASAN_OPTIONS"] = "verify_asan_link_order=0";
  const Ended ended = run(command());
  EXPECT_EQ(ended.code, 9) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("its file system has no file locks"));
  EXPECT_THAT(ended.err, HasSubstr("--database"));
  EXPECT_TRUE(filesUnder("out").empty());
}

// --- cancelling

TEST_F(Neighbours, CancellingADatasetJobNeedsNoSettings) {
  const auto process = startStalled();
  const support::Environment settings = environment;
  environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", path("")}, {"CAIEXPORT_DATABASE", path("jobs.db")}};
  const Ended asked = run({"cancel", "1"});
  EXPECT_EQ(asked.code, 0) << asked.err;
  EXPECT_EQ(process->wait(), 5);
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr(R"("cancelled")"));
  environment = settings;
  EXPECT_EQ(run({"resume", "1"}).code, 2);
}

TEST_F(Neighbours, CancellingAnEvaluationEndsThePlatformsJob) {
  startWith(R"({"segment_job_polls": 1000000})");
  const auto process =
      start({"segment", "--id", kSegment, "--evaluate", "--poll-interval", "0.05", "--poll-max", "0.05"});
  ASSERT_TRUE(support::eventually([&] { return run({"show", "1"}).out.find("PROCESSING") != std::string::npos; }));
  EXPECT_EQ(run({"cancel", "1"}).code, 0);
  EXPECT_EQ(process->wait(), 5);
  const auto jobs = platformState()->getArray("segment_jobs");
  ASSERT_EQ(jobs->size(), 1U);
  EXPECT_THAT(jobs->getObject(0)->getValue<std::string>("status"), HasSubstr("CANCELL"));
  EXPECT_EQ(counted("export_jobs_accepted"), 0U);
}

// --- resume fails closed

TEST_F(Neighbours, AnotherPlatformOrOrganisationIsNotResumedOn) {
  const auto process = startStalled();
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
  changeScenario(R"({"faults": []})");
  const auto refuse = [&](const std::string& setting, const std::string& value) {
    const std::string recorded = environment[setting];
    environment[setting] = value;
    const Ended refused = run({"resume", "1"});
    EXPECT_EQ(refused.code, 2) << setting;
    EXPECT_THAT(refused.err, HasSubstr(recorded));
    EXPECT_THAT(refused.err, HasSubstr(value));
    environment[setting] = recorded;
  };
  refuse("CAIEXPORT_ORG_ID", "OTHER@AdobeOrg");
  refuse("CAIEXPORT_SANDBOX", "dev");
  refuse("CAIEXPORT_BASE_URL", "https://platform.example.com");
  EXPECT_EQ(run({"resume", "1"}).code, 0);
}

TEST_F(Neighbours, ABatchThatWasDeletedOrReplacedIsNoticed) {
  for (const char* status : {R"(, "status": "inactive"})", "}"}) {
    const auto process = startStalled();
    process->signal(SIGINT);
    EXPECT_EQ(process->wait(), 130);
    const auto job = parseObject(run({"show", "1", "--format", "json"}).out);
    const auto batch = job->getArray("batch_ids")->getElement<std::string>(0);
    post("/_simulator/batch", R"({"id": ")" + batch + "\"" + status);
    changeScenario(R"({"faults": []})");
    const Ended resumed = run({"resume", "1"});
    EXPECT_EQ(resumed.code, 4) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr(batch));
    EXPECT_THAT(resumed.err, HasSubstr("since it was chosen"));
    simulator_.reset();
    std::filesystem::remove(folder_ / "port");
    std::filesystem::remove(folder_ / "jobs.db");
  }
}

// --- no room

class NoRoom : public BinaryTest {
 protected:
  /// Under a limit on the size of files, which writes meet as they meet a full disk.
  Ended runLimited(std::uint64_t mostBytes, const std::string& words) {
    return runUnder("ulimit -f " + std::to_string(mostBytes / 512), words);
  }
};

class FewDescriptors : public NoRoom {};

TEST_F(FewDescriptors, LowerTheConnectionsAndOnlyThenEndTheRun) {
  if (support::kSanitized) {
    GTEST_SKIP() << "NOT CHECKED: few descriptors, since a sanitizer takes a pipe that it can't open for a bad object";
  }
  startWith(R"({"batches": 1, "files": 60, "file_bytes": 20000})");
  const std::string words = std::string("dataset --verify size --id ") + kScoreDataset;
  const auto timesTold = [](const Ended& ended) {
    const std::size_t first = ended.err.find("more files (ulimit -n)");
    if (first == std::string::npos) return 0;
    return ended.err.find("more files (ulimit -n)", first + 1) == std::string::npos ? 1 : 2;
  };
  const Ended enough = runUnder("ulimit -n 256", words);
  EXPECT_EQ(enough.code, 0) << enough.err;
  EXPECT_EQ(timesTold(enough), 0);
  for (const std::string limit : {"48", "32"}) {
    for (const std::string connections : {"", " --connections 32"}) {
      const Ended few =
          runUnder("ulimit -n " + limit,
                   words + " --output " + path("few" + limit + (connections.empty() ? "a" : "b")) + connections);
      EXPECT_EQ(few.code, 0) << limit << connections << ": " << few.err;
      EXPECT_EQ(timesTold(few), 1) << few.err;
    }
  }
  // Not even the database, a file and one connection.
  const Ended none = runUnder("ulimit -n 14", words + " --output " + path("none"));
  EXPECT_EQ(none.code, 9) << none.err;
}

TEST_F(FewDescriptors, AreEnoughForMoreBatchesThanThereAre) {
  startWith(R"({"batches": 200, "files": 1, "file_bytes": 2000})");
  const std::string words = std::string("dataset --all --verify size --id ") + kScoreDataset;
  const Ended few = runUnder("ulimit -n 96", words);
  EXPECT_EQ(few.code, 0) << few.err;
  EXPECT_THAT(few.err, HasSubstr("of the 200 batch folders are locked"));
  // The program may raise the soft limit, and does.
  const Ended soft = runUnder("ulimit -S -n 96", words + " --output " + path("soft"));
  EXPECT_EQ(soft.code, 0) << soft.err;
  EXPECT_THAT(soft.err, Not(HasSubstr("folders are locked")));
  EXPECT_EQ(filesUnder("soft").size(), filesUnder("out").size());
  EXPECT_EQ(runUnder("ulimit -n 96", "history prune --before 0s --files").code, 0);
}

TEST_F(NoRoom, AFileThatDoesNotFitIsExit9AndResumable) {
  startWith(R"({"batches": 1, "files": 3, "file_bytes": 9000000})");
  const std::string words = std::string("dataset --verify size --id ") + kScoreDataset;
  const Ended full = runLimited(6U << 20U, words);
  ASSERT_EQ(full.code, 9) << full.err;
  EXPECT_THAT(full.err, HasSubstr(".part"));
  EXPECT_THAT(full.err, HasSubstr("free"));
  EXPECT_THAT(full.err, HasSubstr("ulimit -f"));
  EXPECT_THAT(full.err, HasSubstr("caiexport resume 1"));
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr(R"("category": "io")"));
  const Ended resumed = run({"resume", "--last"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(run({"verify", "1"}).code, 0);
  for (const std::string& name : filesUnder("out")) EXPECT_FALSE(name.ends_with(".part"));
}

/// A file system of its own that is really full, then made larger. No connection runs out of files of its own before
/// the disk is full, nor in the second run: a share that it takes of another's file is counted as served twice.
TEST_F(NoRoom, AFullDiskIsExit9AndResumable) {
  startWith(R"({"batches": 1, "files": 4, "file_bytes": 3000000})");
  std::filesystem::create_directory(folder_ / "out");
  std::string settings;
  for (const auto& [name, value] : environment) settings += "export " + name + "='" + value + "'; ";
  std::ofstream(folder_ / "full.sh")
      << "mount -t tmpfs -o size=7m tmpfs '" << path("out") << "' || exit 77\n"
      << settings << "cd '" << path("") << "'\n"
      << kCaiexport << " dataset --verify size --connections 2 --id " << kScoreDataset
      << " > full.out 2> full.err; echo $? > full.code\n"
      << "mount -o remount,size=64m '" << path("out") << "'\n"
      << kCaiexport << " resume 1 --connections 1 > resumed.out 2> resumed.err; echo $? > resumed.code\n"
      << kCaiexport << " verify 1 > verified.out 2>&1; echo $? > verified.code\n"
      << "find '" << path("out") << "' -name '*.part' > parts\n";
  const int status = std::system(("unshare -rm sh '" + path("full.sh") + "' 2> '" + path("mount.err") + "'").c_str());
  if (!std::filesystem::exists(folder_ / "full.code")) {
    GTEST_SKIP() << "NOT CHECKED: a full disk, since no file system may be mounted here: "
                 << support::Process::contentOf(path("mount.err"));
  }
  ASSERT_EQ(status, 0);
  const auto content = [&](const std::string& name) { return support::Process::contentOf(path(name)); };
  const std::string said = content("full.err");
  EXPECT_EQ(content("full.code"), "9\n") << said;
  EXPECT_THAT(said, HasSubstr("No space left on device"));
  EXPECT_THAT(said, testing::ContainsRegex("[0-9.]+ MB are still to come and .* are free in "));
  EXPECT_THAT(said, HasSubstr("caiexport resume 1"));
  EXPECT_EQ(content("resumed.code"), "0\n") << content("resumed.err");
  EXPECT_EQ(content("verified.code"), "0\n") << content("verified.out");
  EXPECT_EQ(content("parts"), "");
  EXPECT_LE(counted("file_bytes_served"), 4U * 3'000'000U + 7'000'000U) << "what fitted was kept";
}

TEST_F(NoRoom, ADatabaseThatDoesNotFitIsExit9AndStaysSound) {
  startWith(R"({"batches": 1, "files": 400, "file_bytes": 100})");
  const std::string words = std::string("dataset --verify size --id ") + kScoreDataset;
  for (const std::uint64_t most : {4096U, 20'480U, 40'960U, 65'536U, 131'072U}) {
    const Ended full = runLimited(most, words);
    EXPECT_EQ(full.code, 9) << most << "\n" << full.err;
  }
  const Ended whole = run({"dataset", "--verify", "size", "--id", kScoreDataset});
  EXPECT_EQ(whole.code, 0) << whole.err;
  ASSERT_EQ(std::system(("test \"$(sqlite3 '" + path("jobs.db") + "' 'PRAGMA integrity_check')\" = ok").c_str()), 0);
}

}  // namespace
}  // namespace caiexport::binary
