/// Targets, what rclone's log means, and the real rclone over folders of this machine.

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "caiexport/core/error.h"
#include "caiexport/objects/object_store.h"
#include "objects/child.h"
#include "support/temp_directory.h"

namespace caiexport::objects {
namespace {

namespace fs = std::filesystem;
using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

template <class Call>
core::Error errorOf(const Call& call) {
  try {
    call();
  } catch (const core::Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {Category::internal, ""};
}

TEST(TargetTest, IsARemoteAndAPath) {
  EXPECT_EQ(Target::parse("rclone:lake:bucket/scores/").root(), "lake:bucket/scores");
  EXPECT_EQ(Target::parse("rclone:lake:bucket/scores/").text(), "rclone:lake:bucket/scores");
  EXPECT_EQ(Target::parse("rclone::s3,env_auth=true,endpoint='http://127.0.0.1:9000':bucket").root(),
            ":s3,env_auth=true,endpoint='http://127.0.0.1:9000':bucket");
  EXPECT_EQ(Target::parse("rclone::local:/mnt/lake").root(), ":local:/mnt/lake");
}

TEST(TargetTest, WhatIsNoneIsRefused) {
  for (const char* text : {"", "rclone", "rclone:", "rclone:lake", "rclone:lake:", "rclone:lake:/", "rclone:lake:///",
                           "rclone::", "rclone:::x", "s3://bucket/x", "lake:bucket", "/mnt/lake", "rclone:/mnt/lake",
                           "rclone:lake:a/../b", "rclone:lake:a\nb"}) {
    EXPECT_EQ(errorOf([&] { Target::parse(text); }).category(), Category::usage) << text;
  }
}

TEST(TargetTest, SecretsDoNotGetIntoTheRecordThroughIt) {
  for (const char* parameter :
       {"secret_access_key", "pass", "token", "sas_url", "service_account_credentials", "key"}) {
    const core::Error error =
        errorOf([&] { Target::parse("rclone::s3,provider=AWS," + std::string(parameter) + "=CANARY:bucket"); });
    EXPECT_EQ(error.category(), Category::usage) << parameter;
    EXPECT_THAT(error.what(), Not(HasSubstr("CANARY"))) << parameter;
  }
  EXPECT_NO_THROW(Target::parse("rclone::s3,access_key_id=AKIA,service_account_file=/run/x:bucket"));
}

TEST(FailureTest, IsClassifiedByWhatTheLogSays) {
  const std::pair<const char*, Category> cases[] = {
      {"didn't find section in config file", Category::config},
      {"Failed to copy: NoSuchBucket: The specified bucket does not exist.\n\tstatus code: 404", Category::config},
      {"error in ListJSON: SignatureDoesNotMatch: The request signature we calculated does not match",
       Category::permission},
      {"InvalidAccessKeyId: The AWS Access Key Id you provided does not exist", Category::permission},
      {"AccessDenied: Access Denied\n\tstatus code: 403", Category::permission},
      {"NoCredentialProviders: no valid providers in chain", Category::permission},
      {"googleapi: Error 403: Forbidden", Category::permission},
      {"dial tcp 127.0.0.1:1: connect: connection refused", Category::unavailable},
      {"dial tcp: lookup nowhere.invalid: no such host", Category::unavailable},
      {"SlowDown: Please reduce your request rate. status code: 503", Category::unavailable},
      {"write /mnt/lake/x: no space left on device", Category::io},
      {"mkdir /proc/none: no such file or directory", Category::io},
      {"something that nobody has seen before", Category::unavailable},
      {"", Category::unavailable},
  };
  for (const auto& [told, category] : cases) {
    const core::Error error = errorOf([&] { throwRcloneFailure("send files", 1, told); });
    EXPECT_EQ(error.category(), category) << told;
    EXPECT_THAT(error.what(), Not(HasSubstr("\n"))) << told;
    EXPECT_FALSE(error.hint().empty()) << told;
  }
}

// --- the child

TEST(ChildTest, WhatItPrintsAndSaysIsTaken) {
  std::vector<std::string> said;
  const ChildEnd end = run({.words = {"sh", "-c", "cat; echo one >&2; echo two >&2; exit 3"},
                            .input = "given",
                            .onErrorLine = [&](std::string_view line) { said.emplace_back(line); }},
                           {});
  EXPECT_EQ(end.code, 3);
  EXPECT_EQ(end.output, "given");
  EXPECT_THAT(said, ElementsAre("one", "two"));
}

TEST(ChildTest, OneThatIsNotThereIsAMatterOfSettings) {
  EXPECT_EQ(errorOf([] { run({.words = {"caiexport-no-such-program"}}, {}); }).category(), Category::config);
}

TEST(ChildTest, ItsEnvironmentIsChanged) {
  ::setenv("CAIEXPORT_TEST_GONE", "x", 1);
  const ChildEnd end = run({.words = {"sh", "-c", "echo \"$CAIEXPORT_TEST_GONE-$CAIEXPORT_TEST_NEW\""},
                            .environment = {{"CAIEXPORT_TEST_GONE", ""}, {"CAIEXPORT_TEST_NEW", "y"}}},
                           {});
  EXPECT_EQ(end.output, "-y\n");
}

TEST(ChildTest, AskedToStopItIsToldAndNothingOfItIsLeft) {
  support::TempDirectory folder;
  for (const bool obeys : {true, false}) {
    SCOPED_TRACE(obeys ? "it obeys" : "it does not");
    const std::string told = (folder / ("told" + std::to_string(obeys))).string();
    const std::string group = (folder / ("group" + std::to_string(obeys))).string();
    std::stop_source stop;
    // A child of its own in the group, too.
    const std::string script = "trap 'echo x > " + told + (obeys ? "; exit 1" : "") +
                               "' TERM; sleep 1000 & echo $$ > " + group + "; while :; do wait; done";
    std::jthread asks([&] {
      while (!fs::exists(group) || fs::file_size(group) == 0) std::this_thread::yield();
      stop.request_stop();
    });
    EXPECT_THROW(run({.words = {"sh", "-c", script}}, stop.get_token()), core::Interrupted);
    EXPECT_TRUE(fs::exists(told)) << "it was not told to stop";
    pid_t leader = 0;
    std::ifstream(group) >> leader;
    ASSERT_GT(leader, 0);
    // Killed ones that init has not buried yet may be left for a moment.
    for (int tries = 0; tries < 2000 && ::kill(-leader, 0) == 0; ++tries) std::this_thread::yield();
    EXPECT_NE(::kill(leader, 0), 0) << "a zombie, or it lives on";
  }
}

// --- the real one

class LocalRclone : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v rclone > /dev/null 2>&1") != 0) {
      GTEST_SKIP() << "NOT CHECKED: the real rclone, since it is missing (scripts/setup installs it)";
    }
    fs::create_directories(here() / "sub folder");
    std::ofstream(here() / "a.parquet") << "aaa";
    std::ofstream(here() / "sub folder" / "b = #1.parquet") << "bbbb";
    store_ = openRclone(Target::parse("rclone::local:" + there().string()), {});
  }
  fs::path here() const { return folder_ / "here"; }
  fs::path there() const { return folder_ / "there"; }
  static std::string textOf(const fs::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  }

  const std::vector<std::string> names_{"a.parquet", "sub folder/b = #1.parquet"};
  support::TempDirectory folder_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(LocalRclone, BringsComparesListsReadsAndRemoves) {
  std::vector<std::string> sent;
  store_->putFiles(here(), names_, "k=1/x", [&](const std::string& name) { sent.push_back(name); }, {});
  EXPECT_THAT(sent, UnorderedElementsAre(names_[0], names_[1]));
  EXPECT_EQ(textOf(there() / "k=1/x/sub folder/b = #1.parquet"), "bbbb");
  sent.clear();
  store_->putFiles(here(), names_, "k=1/x", [&](const std::string& name) { sent.push_back(name); }, {});
  EXPECT_THAT(sent, IsEmpty()) << "what is there is not sent again";

  store_->putText("k=1/x/_SUCCESS", "", {});
  EXPECT_EQ(fs::file_size(there() / "k=1/x/_SUCCESS"), 0U);
  store_->putText("k=1/_latest.json", "{}\n", {});
  EXPECT_EQ(store_->text("k=1/_latest.json", {}), "{}\n");
  EXPECT_EQ(store_->text("k=1/none", {}), std::nullopt);

  EXPECT_THAT(store_->list("k=1/x", {}), SizeIs(3));
  EXPECT_THAT(store_->list("k=2", {}), IsEmpty());

  auto same = store_->compare(here(), names_, "k=1/x", {});
  EXPECT_THAT(same.same, UnorderedElementsAre(names_[0], names_[1]));
  EXPECT_TRUE(same.byHash);
  std::ofstream(there() / "k=1/x/a.parquet") << "aab";
  same = store_->compare(here(), names_, "k=1/x", {});
  EXPECT_THAT(same.same, ElementsAre(names_[1])) << "of the same size";
  EXPECT_THAT(store_->compare(here(), names_, "nowhere", {}).same, IsEmpty());

  const std::vector<std::string> gone{"_SUCCESS", "none", names_[0], names_[1]};
  store_->remove("k=1/x", gone, {});
  EXPECT_FALSE(fs::exists(there() / "k=1/x")) << "empty folders go as well";
  EXPECT_TRUE(fs::exists(there() / "k=1/_latest.json"));
}

TEST_F(LocalRclone, AProbeLeavesNothingAndTakesNothing) {
  fs::create_directories(there() / "empty");
  const Facts facts = store_->facts({});
  EXPECT_THAT(facts.program, HasSubstr("rclone"));
  EXPECT_EQ(facts.folder, there());
  EXPECT_TRUE(facts.hashes);
  probe(*store_, {});
  EXPECT_TRUE(fs::exists(there() / "empty")) << "the folders of others are not tidied up";
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(there())) ++entries;
  EXPECT_EQ(entries, 1U);
}

TEST_F(LocalRclone, UnknownRemotesAndFoldersThatCantBeMade) {
  EXPECT_EQ(errorOf([] { openRclone(Target::parse("rclone:nosuchremote:x"), {})->facts({}); }).category(),
            Category::config);
  EXPECT_EQ(errorOf([] { openRclone(Target::parse("rclone::nosuchbackend:x"), {})->facts({}); }).category(),
            Category::config);
  EXPECT_EQ(errorOf([] { probe(*openRclone(Target::parse("rclone::local:/proc/none"), {}), {}); }).category(),
            Category::io);
}

TEST_F(LocalRclone, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(store_->list("", stop.get_token()), core::Interrupted);
}

/// What it says may hold what must not be shown: it is a program in PATH that a test wrote.
class FakeRclone : public testing::Test {
 protected:
  void SetUp() override {
    before_ = std::getenv("PATH");
    ::setenv("PATH", (folder_.path().string() + ":" + before_).c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", before_.c_str(), 1);
    for (const char* name : {"RCLONE_CONFIG_LAKE_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE"}) ::unsetenv(name);
  }
  void write(const std::string& script) const {
    std::ofstream(folder_ / "rclone") << "#!/bin/sh\n" << script;
    ::chmod((folder_ / "rclone").c_str(), 0755);
  }
  support::TempDirectory folder_;
  std::string before_;
};

TEST_F(FakeRclone, SecretsOfItsLogAreNotShown) {
  ::setenv("RCLONE_CONFIG_LAKE_SECRET_ACCESS_KEY", "CANARY/one+two", 1);
  write(
      R"(echo '{"level":"error","msg":"Failed: Put https://h/b?X-Amz-Signature=CANARYSIGN&x=1 with CANARY/one+two: status code: 403"}' >&2
echo '2026/11/27 Failed to rcat: CANARY/one+two secret_access_key=CANARYKEY' >&2
exit 1
)");
  const core::Error error = errorOf([] { openRclone(Target::parse("rclone:lake:b"), {})->putText("x", "y", {}); });
  EXPECT_EQ(error.category(), Category::permission);
  EXPECT_THAT(error.what(), Not(HasSubstr("CANARY")));
  EXPECT_THAT(error.what(), HasSubstr("status code: 403"));
}

TEST_F(FakeRclone, AwsCaBundleReachesItByItsOwnName) {
  ::setenv("AWS_CA_BUNDLE", "/some/bundle.pem", 1);
  write("echo \"[$AWS_CA_BUNDLE][$RCLONE_CA_CERT]\"\n");
  EXPECT_EQ(openRclone(Target::parse("rclone:lake:b"), {})->text("x", {}), "[][/some/bundle.pem]\n");
}

TEST_F(FakeRclone, WhatIsNoListIsAnError) {
  write("echo 'hello'\n");
  EXPECT_EQ(errorOf([] { openRclone(Target::parse("rclone:lake:b"), {})->list("x", {}); }).category(),
            Category::protocol);
}

}  // namespace
}  // namespace caiexport::objects
