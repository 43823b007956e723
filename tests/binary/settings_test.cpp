/// Settings and options say what they mean, or are refused: profiles, paths, encodings, formats, records of jobs.

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Settings : public BinaryTest {
 protected:
  std::string privateFile(const std::string& name, const std::string& text) {
    std::ofstream(path(name), std::ios::binary) << text;
    ::chmod(path(name).c_str(), 0600);
    return path(name);
  }
};

TEST_F(Settings, CapitalsTellProfilesApart) {
  startSimulator({"--files", "1", "--records", "10"});
  environment.erase("CAIEXPORT_CLIENT_SECRET");
  environment["CAIEXPORT_CONFIG"] =
      privateFile("two.ini", "[prod]\nclient_secret = wrong\n[Prod]\nclient_secret = sim-secret\n");
  EXPECT_EQ(run({"datasets", "--profile", "Prod"}).code, 0);
  EXPECT_EQ(run({"datasets", "--profile", "prod"}).code, 3) << "with the secret of its own";
  const Ended none = run({"datasets", "--profile", "PROD"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("did you mean 'prod'?"));
}

TEST_F(Settings, ATildeInTheEnvironmentAndBehindAnEqualsSignIsTheHomeFolder) {
  startSimulator({"--files", "1", "--records", "10"});
  const fs::path home = folder_ / "home";
  fs::create_directories(home);
  environment["HOME"] = home.string();
  environment["CAIEXPORT_DATABASE"] = "~/record/jobs.db";
  environment["CAIEXPORT_OUTPUT"] = "~/scores";
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--log-file=~/log"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  for (const char* name : {"record/jobs.db", "scores", "log"}) EXPECT_TRUE(fs::exists(home / name)) << name;
  EXPECT_FALSE(fs::exists("~")) << "in the current folder";
  ASSERT_EQ(run({"read", "1", "--columns", "_id", "--output=~/rows.csv"}).code, 0);
  EXPECT_THAT(support::Process::contentOf(home / "rows.csv"), testing::StartsWith("_id\r\n"));
  EXPECT_EQ(run({"read", "1", "--output=~nobody/rows.csv"}).code, 2);
}

TEST_F(Settings, FilesOfOtherEncodingsAreNamedAsSuch) {
  using namespace std::string_literals;
  const Ended mark = run({"doctor", "--config", privateFile("a.ini", "\xEF\xBB\xBF[default]\n")});
  EXPECT_EQ(mark.code, 2);
  EXPECT_THAT(mark.out, HasSubstr("begins with a byte order mark"));
  const Ended wide = run({"datasets", "--config", privateFile("b.ini", "\xFF\xFE[\0a\0]\0"s)});
  EXPECT_EQ(wide.code, 2);
  EXPECT_THAT(wide.err, HasSubstr("is UTF-16"));
}

TEST_F(Settings, AConfigFileThatEverybodyMayWriteIsRefused) {
  ::chmod(privateFile("open.ini", "[default]\nbase_url = https://elsewhere.example\n").c_str(), 0666);
  const Ended ended = run({"datasets", "--config", path("open.ini")});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("everybody may write to it"));
}

TEST_F(Settings, TheEndingOfTheOutputIsItsFormat) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  ASSERT_EQ(run({"read", "1", "--columns", "_id", "--output", path("x.csv")}).code, 0);
  EXPECT_THAT(support::Process::contentOf(path("x.csv")), testing::StartsWith("_id\r\n"));
  ASSERT_EQ(run({"read", "1", "--columns", "_id", "--output", path("x.PARQUET")}).code, 0);
  EXPECT_THAT(support::Process::contentOf(path("x.PARQUET")), testing::StartsWith("PAR1"));
  ASSERT_EQ(run({"scores", "1", "--output", path("x.json")}).code, 0);
  EXPECT_EQ(parseObject(support::Process::contentOf(path("x.json")))->getValue<int>("records"), 10);
  ASSERT_EQ(run({"read", "1", "--columns", "_id", "--output", path("x.json"), "--format", "jsonl"}).code, 0);
}

TEST_F(Settings, WhatIsNotHeededIsRefusedOrSaid) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  EXPECT_EQ(run({"read", "1", "--exact"}).code, 2);
  EXPECT_EQ(run({"read", "1", "--exact", "--format", "jsonl"}).code, 2);
  EXPECT_EQ(run({"read", "1", "--exact", "--output", path("x.csv")}).code, 0);
  for (const std::string command : {"dataset", "sync"}) {
    const Ended tried = run({command, "--id", kScoreDataset, "--dry-run", "--min-records", "1000"});
    EXPECT_EQ(tried.code, 0);
    EXPECT_THAT(tried.err, HasSubstr("--min-records and --max-change are not checked by a dry run"));
  }
}

TEST_F(Settings, HistoryFiltersBySandboxAndOrganisation) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  EXPECT_THAT(run({"history", "--sandbox", "stage", "--format", "json"}).out, HasSubstr("[]"));
  EXPECT_THAT(run({"--sandbox", "prod", "history", "--format", "json"}).out, HasSubstr("\"job\": 1"));
  EXPECT_THAT(run({"history", "--org", "X@AdobeOrg", "--format", "json"}).out, HasSubstr("[]"));
  EXPECT_EQ(run({"history", "--sandbox", "stage", "--sql", "SELECT 1"}).code, 2);
  EXPECT_EQ(run({"history", "prune", "--before", "1d", "--sandbox", "stage"}).code, 2) << "or it would prune all";
}

TEST_F(Settings, ConfigureRefusesWhatTheNextCommandWouldRefuse) {
  struct Case {
    const char* name;
    const char* value;
    const char* says;
  };
  for (const Case& one : std::vector<Case>{{"CAIEXPORT_ORG_ID", "A B@AdobeOrg", "CAIEXPORT_ORG_ID"},
                                           {"CAIEXPORT_SANDBOX", "pröd", "CAIEXPORT_SANDBOX"},
                                           {"CAIEXPORT_BASE_URL", "http://platform.adobe.io", "CAIEXPORT_BASE_URL"},
                                           {"CAIEXPORT_IMS_URL", "https://h/ims/token/v3", "CAIEXPORT_IMS_URL"},
                                           {"CAIEXPORT_CLIENT_SECRET", "p\xC3\xA4ss", "CAIEXPORT_CLIENT_SECRET"},
                                           {"CAIEXPORT_CLIENT_SECRET", "two words", "CAIEXPORT_CLIENT_SECRET"},
                                           {"CAIEXPORT_CONNECTIONS", "100", "CAIEXPORT_CONNECTIONS"},
                                           {"CAIEXPORT_READ_TIMEOUT", "soon", "CAIEXPORT_READ_TIMEOUT"}}) {
    const support::Environment before = environment;
    environment[one.name] = one.value;
    const Ended ended = run({"configure", "--no-input", "--no-check", "--config", path("new.ini")});
    environment = before;
    EXPECT_EQ(ended.code, 2) << one.name;
    EXPECT_THAT(ended.err, HasSubstr(one.says));
    EXPECT_FALSE(fs::exists(path("new.ini"))) << one.name;
  }
}

// --- the record of jobs, and the log

TEST_F(Settings, AFileThatIsNoDatabaseIsLeftAlone) {
  for (const std::string& text : {std::string("x"), std::string(100, 'x'), std::string(5000, 'x')}) {
    privateFile("notes", text);
    const auto before = fs::last_write_time(path("notes"));
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"history"}, {"show", "1"}, {"resume", "1"}, {"dataset", "--id", kScoreDataset}}) {
      std::vector<std::string> all = words;
      all.insert(all.end(), {"--database", path("notes")});
      const Ended ended = run(all);
      EXPECT_EQ(ended.code, 9) << words.front() << ended.err;
      EXPECT_THAT(ended.err, HasSubstr("not a database"));
    }
    EXPECT_EQ(support::Process::contentOf(path("notes")), text);
    EXPECT_EQ(fs::last_write_time(path("notes")), before);
    for (const char* ending : {"-wal", "-shm", "-journal", ".lock"})
      EXPECT_FALSE(fs::exists(path("notes") + ending)) << ending;
  }
  privateFile("empty", "");
  EXPECT_EQ(run({"history", "--database", path("empty"), "--format", "json"}).out, "[]\n");
  EXPECT_EQ(fs::file_size(path("empty")), 0U) << "to look is no reason to write";
}

TEST_F(Settings, TheLogIsNeverWrittenThroughALinkAndNeverWaitsForAPipe) {
  privateFile("victim", "mine");
  fs::create_symlink(path("victim"), path("link"));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  for (const char* name : {"link", "pipe"}) {
    const Ended ended = run({"history", "--log-file", path(name)});
    EXPECT_EQ(ended.code, 9) << name;
    EXPECT_THAT(ended.err, HasSubstr("cannot open the log file"));
  }
  EXPECT_EQ(support::Process::contentOf(path("victim")), "mine");
}

// --- history --sql

class SqlRun : public BinaryTest {
 protected:
  void SetUp() override {
    startSimulator({"--files", "1", "--records", "10"});
    ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  }

  /// Processor time that it has used, in hundredths of a second: what has begun to compute is past its beginning.
  static long usedBy(const support::Process& process) {
    std::istringstream fields(support::Process::contentOf("/proc/" + std::to_string(process.id()) + "/stat"));
    std::string word;
    for (int field = 1; field < 14; ++field) fields >> word;
    long user = 0;
    fields >> user;
    return user;
  }
};

class EndlessSql : public SqlRun, public testing::WithParamInterface<const char*> {};

TEST_P(EndlessSql, EndsSoonAfterTheFirstSignal) {
  for (const int number : {SIGINT, SIGTERM}) {
    const auto process = start({"history", "--sql", GetParam(), "--format", "csv"});
    ASSERT_TRUE(support::eventually([&] { return process->hasEnded() || usedBy(*process) >= 30; }));
    ASSERT_FALSE(process->hasEnded()) << process->errors();
    const auto asked = std::chrono::steady_clock::now();
    process->signal(number);
    EXPECT_EQ(process->wait(), 130);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(10)) << "2 s on a quiet machine";
    EXPECT_THAT(process->errors(), HasSubstr("interrupted"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, EndlessSql,
    testing::Values(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "SELECT instr(replace(hex(zeroblob(2000000)), '0', 'ab'), replace(hex(zeroblob(500000)), '0', 'ab') || 'c')"));

TEST_F(SqlRun, RowsAreWrittenAsTheyCome) {
  const auto process = start({"history", "--format", "csv", "--sql",
                              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"});
  EXPECT_TRUE(support::eventually([&] { return process->output().size() > 100000; }));
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
}

TEST_F(SqlRun, ATableIsNotHeldToItsEnd) {
  const auto process =
      start({"history", "--sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"});
  EXPECT_TRUE(support::eventually([&] { return process->output().size() > 100000; }));
  process->signal(SIGTERM);
  EXPECT_EQ(process->wait(), 130);
}

// --- a database that others keep locked

class LockedDatabase : public BinaryTest {
 protected:
  /// Whether it has the database open: by then it listens to signals.
  bool hasOpened(const support::Process& process) const {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(process.id()) + "/fd", ignored)) {
      if (fs::read_symlink(entry, ignored).string().ends_with("/jobs.db")) return true;
    }
    return false;
  }
};

TEST_F(LockedDatabase, IsNotWaitedForAfterTheFirstSignal) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const auto holder = std::make_unique<support::Process>(
      "/usr/bin/env",
      std::vector<std::string>{"python3", "-c",
                               "import sqlite3, sys, time\n"
                               "held = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
                               "held.execute('BEGIN IMMEDIATE')\n"
                               "print('held', flush=True)\n"
                               "time.sleep(600)\n",
                               path("jobs.db")},
      support::Environment{{"PATH", std::getenv("PATH")}}, folder_ / "holder");
  ASSERT_TRUE(support::eventually([&] { return holder->output().find("held") != std::string::npos; }))
      << holder->errors();
  for (const int number : {SIGINT, SIGTERM}) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"dataset", "--force", "--id", kScoreDataset},
                                                  std::vector<std::string>{"sync", "--id", kScoreDataset}}) {
      const auto process = start(words);
      ASSERT_TRUE(support::eventually([&] { return process->hasEnded() || hasOpened(*process); }));
      ASSERT_FALSE(process->hasEnded()) << process->errors();
      const auto asked = std::chrono::steady_clock::now();
      process->signal(number);
      EXPECT_EQ(process->wait(), 130) << words.front() << ": " << process->errors();
      EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(10)) << "2 s on a quiet machine";
      EXPECT_THAT(process->errors(), HasSubstr("interrupted"));
    }
  }
}

// --- guards

class Ages : public BinaryTest {};

TEST_F(Ages, GoByThePlatformsClock) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run({"sync", "--id", kScoreDataset, "--max-age", "20000d"}).code, 0);
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset, "--max-age", "365d", "--dry-run"}).code, 0);
  post("/_simulator/advance", R"({"seconds": 40000000})");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"dataset"}, {"dataset", "--dry-run"}, {"sync"}, {"sync", "--dry-run"}}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--id", kScoreDataset, "--max-age", "365d"});
    const Ended old = run(all);
    EXPECT_EQ(old.code, 12) << words.back() << old.err;
    EXPECT_THAT(old.err, HasSubstr("(--max-age)"));
  }
}

}  // namespace
}  // namespace caiexport::binary
