/// The real program delivers by the real rclone to folders, and by a false one that does what a test wants.

#include <sys/stat.h>

#include <csignal>
#include <random>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class Delivering : public BinaryTest {
 protected:
  void SetUp() override {
    if (!isInstalled("rclone")) {
      GTEST_SKIP() << "NOT CHECKED: deliveries, since rclone is missing (scripts/setup installs it)";
    }
    fs::create_directory(path("lake"));
  }
  std::string target() const { return "rclone::local:" + path("lake"); }
  std::string datasetFolder() const { return "lake/dataset_id=" + std::string(kScoreDataset); }

  /// Of batches at the target that say that they are whole; each must be.
  int wholeThere(const std::string& lake = "lake") {
    int marked = 0;
    for (const std::string& name : filesUnder(lake)) {
      if (!name.ends_with("/_SUCCESS")) continue;
      ++marked;
      const fs::path folder = fs::path(path(lake)) / fs::path(name).parent_path();
      const auto manifest = parseObject(support::Process::contentOf(folder / "_manifest.json"));
      const auto files = manifest->getArray("files");
      EXPECT_EQ(filesUnder(lake + "/" + fs::path(name).parent_path().string()).size(), files->size() + 2);
      for (unsigned at = 0; at < files->size(); ++at) {
        const auto file = files->getObject(at);
        EXPECT_EQ(fs::file_size(folder / file->getValue<std::string>("path")), file->getValue<std::uint64_t>("bytes"));
      }
    }
    return marked;
  }

  /// `rclone` in PATH from now on; the real one is $REAL.
  void fakeRclone(const std::string& script) {
    fs::create_directories(path("fake"));
    std::ofstream(path("fake/rclone")) << "#!/bin/sh\nREAL=/usr/bin/rclone\n" << script;
    ::chmod(path("fake/rclone").c_str(), 0755);
    environment["PATH"] = path("fake") + ":/usr/bin:/bin";
  }
};

TEST_F(Delivering, ABatchIsWholeThereAndTheRecordSaysSo) {
  startWith(R"({"world": "plain", "batches": 1, "failed_batches": 0, "files": 3, "records": 90})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--deliver", target() + "/"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(wholeThere(), 1);
  EXPECT_THAT(filesUnder("lake"), SizeIs(6)) << "files, manifest, mark, latest";
  const auto latest = parseObject(support::Process::contentOf(path(datasetFolder() + "/_latest.json")));
  EXPECT_TRUE(fs::exists(path("lake/" + latest->getValue<std::string>("path") + "/_SUCCESS")));
  const auto shown = parseObject(run({"show", "1", "--format", "json"}).out);
  const auto delivery = shown->getArray("deliveries")->getObject(0);
  EXPECT_EQ(delivery->getValue<std::string>("state"), "whole");
  EXPECT_EQ(delivery->getValue<std::string>("target"), target());
  EXPECT_THAT(run({"show", "1"}).out, HasSubstr("whole"));
  // What is there reads as what is here.
  EXPECT_EQ(run({"verify", path("lake")}).code, 0);
}

TEST_F(Delivering, ByHandFromAJobOrAFolderAndOnlyWhatIsMissing) {
  startWith(R"({"batches": 2, "files": 2, "records": 40})");
  ASSERT_EQ(run({"sync", "--id", kScoreDataset}).code, 0);
  const Ended byJob = run({"deliver", "1", target()});
  ASSERT_EQ(byJob.code, 0) << byJob.err;
  EXPECT_EQ(wholeThere(), 1);
  const auto byFolder = run({"deliver", path("out"), target(), "--format", "json"});
  ASSERT_EQ(byFolder.code, 0) << byFolder.err;
  EXPECT_GE(parseObject(byFolder.out)->getArray("batches")->size(), 2U);
  EXPECT_EQ(static_cast<unsigned>(wholeThere()), parseObject(byFolder.out)->getArray("batches")->size());
  EXPECT_EQ(run({"deliver", "99", target()}).code, 4);
  EXPECT_EQ(run({"deliver", path("nowhere"), target()}).code, 4);
  EXPECT_EQ(run({"deliver", path("lake"), "s3://bucket"}).code, 2);
}

TEST_F(Delivering, WhatCantBeDeliveredIsSaidBeforeAnythingIsFetched) {
  startWith(R"({"batches": 1, "files": 1})");
  struct Case {
    std::string target;
    int code;
    std::string words;
  };
  for (const Case& one : {Case{"s3://bucket/x", 2, "begins with nothing that is known"},
                          {"rclone:nosuchremote:x", 2, "didn't find section in config file"},
                          {"rclone:lake:", 2, "has no path"},
                          {"rclone::s3,secret_access_key=CANARY:b", 2, "secret_access_key"},
                          {"rclone::local:" + path("out/lake"), 2, "inside the output folder"},
                          {"rclone::local:/proc/none", 9, "mkdir"}}) {
    SCOPED_TRACE(one.target);
    for (const std::string command : {"dataset", "sync"}) {
      const Ended ended = run({command, "--id", kScoreDataset, "--deliver", one.target});
      EXPECT_EQ(ended.code, one.code) << ended.err;
      EXPECT_THAT(ended.err, HasSubstr(one.words));
      EXPECT_THAT(ended.err, Not(HasSubstr("CANARY")));
    }
    EXPECT_EQ(counted("file_bytes_served"), 0U);
  }
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset, "--after-delivery", "delete"}).code, 2);
  EXPECT_EQ(run({"segment", "--id", kSegment, "--no-download", "--deliver", target()}).code, 2);
  EXPECT_THAT(filesUnder("lake"), IsEmpty());
}

TEST_F(Delivering, CredentialsAndBucketsThatAreRefusedAreOneClearLine) {
  startWith(R"({"batches": 1, "files": 1})");
  for (const auto& [words, code] :
       {std::pair("SignatureDoesNotMatch: no\\n\\tstatus code: 403, request id: x", 3), {"NoSuchBucket: no", 2}}) {
    fakeRclone("case $1 in rcat) printf '%s\\n' '{\"level\":\"error\",\"msg\":\"Post request rcat error: " +
               std::string(words) + "\"}' >&2; exit 1;; *) exec $REAL \"$@\";; esac\n");
    const Ended ended = run({"dataset", "--id", kScoreDataset, "--deliver", target()});
    EXPECT_EQ(ended.code, code) << ended.err;
    EXPECT_EQ(counted("file_bytes_served"), 0U);
  }
}

TEST_F(Delivering, ANetworkThatComesBackIsGoneOnWith) {
  startWith(R"({"batches": 1, "files": 2})");
  // Once it is refused, then for good.
  fakeRclone(
      "if [ \"$1\" = copy ] && [ -e '" + path("down") +
      "' ]; then echo '{\"level\":\"error\",\"msg\":\"dial tcp: connect: connection refused\"}' >&2; exit 1; fi\n"
      "exec $REAL \"$@\"\n");
  std::ofstream(path("down")) << "x";
  const Ended failed = run({"dataset", "--id", kScoreDataset, "--deliver", target(), "--retries", "1"});
  EXPECT_EQ(failed.code, 7) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("connection refused"));
  EXPECT_EQ(wholeThere(), 0);
  fs::remove(path("down"));
  const std::uint64_t served = counted("file_bytes_served");
  const Ended resumed = run({"resume", "1"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(counted("file_bytes_served"), served);
  EXPECT_EQ(wholeThere(), 1);
}

TEST_F(Delivering, WithoutRcloneItIsAMatterOfSettings) {
  startWith(R"({"batches": 1, "files": 1})");
  environment["PATH"] = path("empty");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--deliver", "rclone:lake:bucket"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("there is no program 'rclone' in PATH"));
}

TEST_F(Delivering, DeletedAfterItsDeliveryItIsNeitherMissedNorFetchedAgain) {
  startWith(R"({"world": "plain", "batches": 1, "failed_batches": 0, "files": 2})");
  environment["CAIEXPORT_DELIVER"] = target();
  environment["CAIEXPORT_AFTER_DELIVERY"] = "delete";
  ASSERT_EQ(run({"sync", "--id", kScoreDataset}).code, 0);
  EXPECT_EQ(wholeThere(), 1);
  EXPECT_THAT(filesUnder("out"), IsEmpty());
  const std::uint64_t served = counted("file_bytes_served");
  const Ended quiet = run({"sync", "--id", kScoreDataset});
  EXPECT_EQ(quiet.code, 0) << quiet.err;
  EXPECT_THAT(quiet.err, Not(HasSubstr("no longer in the folder")));
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const Ended verified = run({"verify", "1"});
  EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("deleted here after that"));
  EXPECT_EQ(run({"resume", "1"}).code, 0);
  const Ended read = run({"read", "1"});
  EXPECT_EQ(read.code, 4);
  EXPECT_THAT(read.err, HasSubstr("after it had been delivered"));
  EXPECT_EQ(counted("file_bytes_served"), served);
}

TEST_F(Delivering, APrivacyDeletionReachesTheTarget) {
  startWith(R"({"world": "plain", "batches": 1, "failed_batches": 0, "files": 2})");
  environment["CAIEXPORT_DELIVER"] = target();
  ASSERT_EQ(run({"sync", "--id", kScoreDataset}).code, 0);
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 7"})");
  const Ended ended = run({"sync", "--id", kScoreDataset, "--quiet"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("is deleted at " + target()));
  EXPECT_EQ(wholeThere(), 1);
  EXPECT_THAT(filesUnder("lake"), SizeIs(5)) << "the new batch alone";
  const auto shown = parseObject(run({"show", "1", "--format", "json"}).out);
  EXPECT_EQ(shown->getArray("deliveries")->getObject(0)->getValue<std::string>("state"), "removed");
}

TEST_F(Delivering, TheDoctorTriesATarget) {
  startSimulator({"--files", "1"});
  const Ended fine = run({"doctor", "--deliver", target()});
  EXPECT_EQ(fine.code, 0) << fine.out;
  EXPECT_THAT(fine.out, HasSubstr("writes, reads and deletes at " + target()));
  EXPECT_THAT(filesUnder("lake"), IsEmpty());
  EXPECT_EQ(run({"doctor", "--deliver", "rclone:nosuchremote:x"}).code, 2);
}

/// However often the program, and rclone with it, is killed.
TEST_F(Delivering, KilledAtAnyTimeItEndsAsIfNothingHadHappened) {
  startWith(R"({"world": "plain", "batches": 1, "failed_batches": 0, "files": 6, "file_bytes": 20000})");
  // Each call of rclone leaves a trace, by which the test knows how far it is.
  fakeRclone("echo \"$1\" >> '" + path("calls") + "'\nexec $REAL \"$@\"\n");
  const std::vector<std::string> command{"dataset", "--id", kScoreDataset, "--verify", "size", "--deliver"};
  const auto calls = [&] {
    std::ifstream file(path("calls"));
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  };
  auto whole = command;
  whole.push_back(target());
  ASSERT_EQ(run(whole).code, 0);
  const int all = calls();
  ASSERT_GT(all, 8);
  int killed = 0;
  for (int at = 1; at <= all; ++at) {
    const std::string lake = "lake" + std::to_string(at);
    fs::create_directory(path(lake));
    environment["CAIEXPORT_DATABASE"] = path(lake + ".db");
    environment["CAIEXPORT_OUTPUT"] = path(lake + "-out");
    fs::remove(path("calls"));
    auto words = command;
    words.push_back("rclone::local:" + path(lake));
    {
      const auto process = start(words);
      ASSERT_TRUE(support::eventually([&] { return calls() >= at || process->hasEnded(); }));
      process->signal(SIGKILL);
      if (process->wait() != 0) ++killed;
    }
    EXPECT_LE(wholeThere(lake), 1);
    const Ended resumed = run({"resume", "--last"});
    // Killed before a job was made there is none.
    if (resumed.code == 4) {
      ASSERT_EQ(run(words).code, 0);
    } else {
      ASSERT_EQ(resumed.code, 0) << resumed.err;
    }
    EXPECT_EQ(wholeThere(lake), 1) << "killed at call " << at;
    EXPECT_THAT(filesUnder(lake), SizeIs(9)) << "killed at call " << at;
    EXPECT_EQ(run({"verify", path(lake)}).code, 0);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(killed, all / 2);
}

TEST_F(Delivering, ToldToStopItStopsRcloneToo) {
  startWith(R"({"batches": 1, "files": 1})");
  // The second look at the target, behind the probe, never ends by itself.
  fakeRclone("if [ \"$1\" = lsjson ]; then echo $$ > '" + path("rclone.pid") +
             "'; exec sleep 1000; fi\nexec $REAL \"$@\"\n");
  const auto process = start({"dataset", "--id", kScoreDataset, "--deliver", target()});
  ASSERT_TRUE(support::eventually([&] {
    return fs::exists(path("rclone.pid")) && fs::file_size(path("rclone.pid")) > 0;
  })) << process->errors();
  process->signal(SIGTERM);
  EXPECT_EQ(process->wait(), 130) << process->errors();
  pid_t child = 0;
  std::ifstream(path("rclone.pid")) >> child;
  ASSERT_GT(child, 0);
  EXPECT_TRUE(support::eventually([&] { return ::kill(child, 0) != 0; })) << "it lives on";
  fakeRclone("exec $REAL \"$@\"\n");
  EXPECT_EQ(run({"resume", "1"}).code, 0);
  EXPECT_EQ(wholeThere(), 1);
}

TEST_F(Delivering, AKillLeavesNoRcloneBehind) {
  startWith(R"({"batches": 1, "files": 1})");
  fakeRclone("if [ \"$1\" = lsjson ]; then echo $$ > '" + path("rclone.pid") +
             "'; exec sleep 1000; fi\nexec $REAL \"$@\"\n");
  const auto process = start({"dataset", "--id", kScoreDataset, "--deliver", target()});
  ASSERT_TRUE(
      support::eventually([&] { return fs::exists(path("rclone.pid")) && fs::file_size(path("rclone.pid")) > 0; }));
  pid_t child = 0;
  std::ifstream(path("rclone.pid")) >> child;
  process->signal(SIGKILL);
  process->wait();
  EXPECT_TRUE(support::eventually([&] { return ::kill(child, 0) != 0; })) << "it lives on";
}

/// Against a store that speaks S3, where one is to be had: CAIEXPORT_TEST_S3=REMOTE:BUCKET of rclone, with the remote
/// in RCLONE_CONFIG_... variables.
TEST_F(Delivering, ToAStoreThatSpeaksS3) {
  const char* remote = std::getenv("CAIEXPORT_TEST_S3");
  if (remote == nullptr) GTEST_SKIP() << "NOT CHECKED: a store that speaks S3 (scripts/check --scale starts one)";
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    if (text.starts_with("RCLONE_")) environment[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
  startWith(R"({"world": "plain", "batches": 2, "failed_batches": 0, "files": 3, "file_bytes": 50000})");
  const std::string place = "rclone:" + std::string(remote) + "/" + folder_.path().filename().string();
  environment["CAIEXPORT_DELIVER"] = place;
  const Ended ended = run({"sync", "--id", kScoreDataset, "--verify", "size"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string root = place.substr(std::string("rclone:").size());
  std::string settings;
  for (const auto& [name, value] : environment) settings += name + "='" + value + "' ";
  const auto fetched = [&] {
    fs::remove_all(path("lake"));
    return std::system(("env " + settings + "rclone copy '" + root + "' '" + path("lake") + "' 2> /dev/null").c_str());
  };
  ASSERT_EQ(fetched(), 0);
  EXPECT_EQ(wholeThere(), 2);
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 7"})");
  ASSERT_EQ(run({"sync", "--id", kScoreDataset, "--verify", "size"}).code, 0);
  ASSERT_EQ(fetched(), 0);
  EXPECT_EQ(wholeThere(), 2);
  EXPECT_THAT(filesUnder("lake"), SizeIs(2 * 5 + 1));
  // Wrong keys, and a bucket that is not there, before anything is fetched.
  const std::string name = std::string(remote).substr(0, std::string(remote).find(':'));
  const auto other = run({"dataset", "--id", kScoreDataset, "--deliver", "rclone:" + name + ":no-such-bucket-here/x"});
  EXPECT_EQ(other.code, 2) << other.err;
  std::string variable = "RCLONE_CONFIG_" + name + "_SECRET_ACCESS_KEY";
  std::transform(variable.begin(), variable.end(), variable.begin(), ::toupper);
  environment[variable] = "wrong-CANARY";
  const auto refused = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_THAT(refused.err, Not(HasSubstr("CANARY")));
}

}  // namespace
}  // namespace caiexport::binary
