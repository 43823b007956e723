/// How a run's end is told: the log file, the command that `on_end` names, and what decides the exit code.

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RunEnds : public BinaryTest {
 protected:
  std::vector<Poco::JSON::Object::Ptr> linesOf(const std::string& name) {
    std::vector<Poco::JSON::Object::Ptr> lines;
    std::ifstream file(path(name));
    for (std::string line; std::getline(file, line);) lines.push_back(parseObject(line));
    return lines;
  }

  /// The last line of the log, which begins with run_started.
  Poco::JSON::Object::Ptr endIn(const std::string& name) {
    const auto lines = linesOf(name);
    if (lines.size() < 2) throw std::runtime_error("the log has no end: " + std::to_string(lines.size()) + " lines");
    EXPECT_EQ(lines.front()->getValue<std::string>("event"), "run_started");
    EXPECT_EQ(lines.back()->getValue<std::string>("event"), "run_ended");
    return lines.back();
  }

  /// Runs a command with a log of its own, which must say how it ended.
  Poco::JSON::Object::Ptr logged(std::vector<std::string> words, int code, const std::string& status,
                                 const std::string& category) {
    const std::string name = "log" + std::to_string(++logs_);
    words.insert(words.end(), {"--log-file", path(name)});
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, code) << ended.err;
    auto end = endIn(name);
    EXPECT_EQ(end->getValue<int>("exit_code"), code);
    EXPECT_EQ(end->getValue<std::string>("status"), status);
    EXPECT_EQ(end->isNull("category") ? "" : end->getValue<std::string>("category"), category);
    return end;
  }

  std::vector<std::string> dataset(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"dataset", "--id", kScoreDataset};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  int logs_ = 0;
};

constexpr const char* kMissingDataset = "5f00000000000000000000ff";

TEST_F(RunEnds, TheVersionIsInTheManifestAndWithTheJob) {
  startSimulator({"--files", "1", "--records", "10"});
  const auto version = parseObject(run({"version", "--format", "json"}).out)->getValue<std::string>("version");
  ASSERT_NE(version, "");
  ASSERT_EQ(run(dataset()).code, 0);
  EXPECT_THAT(run({"show", "1"}).out, HasSubstr("caiexport " + version));
  EXPECT_EQ(parseObject(run({"show", "1", "--format", "json"}).out)->getValue<std::string>("version"), version);
  EXPECT_THAT(run({"history", "--sql", "SELECT version FROM jobs", "--format", "csv"}).out, HasSubstr(version));
  for (const std::string& file : filesUnder("out")) {
    if (!file.ends_with("manifest.json")) continue;
    EXPECT_EQ(parseObject(support::Process::contentOf(path("out/" + file)))->getValue<std::string>("version"), version);
    return;
  }
  ADD_FAILURE() << "no manifest";
}

TEST_F(RunEnds, AMistypedIdTakesNoJobNumber) {
  startSimulator({"--files", "1", "--records", "10"});
  for (const std::vector<std::string>& words : {std::vector<std::string>{"dataset", "--id", kMissingDataset},
                                                {"segment", "--id", "no-such-segment"},
                                                {"segment", "--id", kSegment, "--dataset", kMissingDataset},
                                                dataset({"--batch", "01JXSC000000000000000000ZZ"})}) {
    const auto end = logged(words, 4, "failed", "notFound");
    EXPECT_TRUE(end->isNull("job"));
    EXPECT_THAT(end->getValue<std::string>("message"), HasSubstr("does not exist")) << words.back();
  }
  std::vector<std::string> json{"dataset", "--id", kMissingDataset, "--format", "json"};
  EXPECT_TRUE(parseObject(run(json).out)->isNull("job"));
  EXPECT_EQ(run({"history", "--format", "json"}).out, "[]\n");
  EXPECT_THAT(run({"history"}).err, HasSubstr("no jobs yet"));
  ASSERT_EQ(run(dataset()).code, 0);
  EXPECT_EQ(run({"scores", "1"}).code, 0);
}

TEST_F(RunEnds, WhatIsGoneThoughEarlierJobsKnewItIsAFailedJob) {
  startSimulator({"--files", "1", "--records", "10"});
  ASSERT_EQ(run(dataset()).code, 0);
  const std::string job = "UPDATE job SET source_id = '" + std::string(kMissingDataset) + "'";
  ASSERT_EQ(
      std::system(("python3 -c \"import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); "
                   "db.commit()\" '" +
                   path("jobs.db") + "' \"" + job + "\"")
                      .c_str()),
      0);
  EXPECT_EQ(logged({"dataset", "--id", kMissingDataset}, 4, "failed", "notFound")->getValue<int>("job"), 2);
  EXPECT_EQ(run({"status"}).code, 4);
  // A batch that is named is typed by hand.
  EXPECT_TRUE(logged(dataset({"--batch", "01JXSC000000000000000000ZZ"}), 4, "failed", "notFound")->isNull("job"));
}

TEST_F(RunEnds, ARefusalNamesTheCommandThatFindsOutWhatIsWrong) {
  startSimulator({"--files", "1", "--records", "10"});
  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong";
  const Ended dataset = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(dataset.code, 3);
  EXPECT_THAT(dataset.err, HasSubstr("; caiexport doctor --dataset " + std::string(kScoreDataset) + " checks "));
  const Ended segment = run({"segment", "--id", kSegment, "--sandbox", "stage", "--format", "json"});
  EXPECT_EQ(segment.code, 3);
  EXPECT_THAT(segment.err,
              HasSubstr("; caiexport doctor --sandbox stage --segment " + std::string(kSegment) + " checks "));
  EXPECT_THAT(run({"datasets"}).err, HasSubstr("; caiexport doctor checks "));
  // That command itself says the same below each check.
  EXPECT_THAT(run({"doctor"}).err, Not(HasSubstr("caiexport doctor checks")));
  environment["CAIEXPORT_CLIENT_SECRET"] = "";
  const Ended missing = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("caiexport configure asks for them"));
}

constexpr const char* kSmall = R"({"batches": 2, "files": 2, "records": 200, "success_marker": false})";

TEST_F(RunEnds, TheLogSaysHowEachRunEndedWithNumbersAndWithoutSecrets) {
  startWith(kSmall);
  const auto done = logged(dataset(), 0, "succeeded", "");
  EXPECT_EQ(done->getValue<int>("job"), 1);
  EXPECT_EQ(done->getValue<int>("files"), 2);
  EXPECT_GT(done->getValue<int>("bytes"), 0);
  EXPECT_EQ(done->getValue<int>("records"), 200);
  EXPECT_TRUE(done->get("seconds").isNumeric());
  for (const auto& line : linesOf("log1")) {
    EXPECT_TRUE(line->get("pid").isInteger());
    EXPECT_TRUE(line->has("job"));
    for (const char* key : {"ms", "bytes", "status", "try", "wait_ms", "limit"}) {
      if (line->getValue<std::string>("event") == "run_ended" || !line->has(key)) continue;
      EXPECT_TRUE(line->get(key).isNumeric()) << key;
    }
  }
  const auto settings = linesOf("log1").front()->getObject("settings");
  EXPECT_EQ(settings->getValue<std::string>("sandbox"), "prod");
  EXPECT_EQ(settings->getValue<std::string>("org_id"), "SIMULATOR@AdobeOrg");
  EXPECT_THAT(support::Process::contentOf(path("log1")), Not(HasSubstr("sim-secret")));

  logged(dataset({"--max-age", "1s"}), 12, "failed", "tooOld");
  logged(dataset({"--min-records", "100000"}), 8, "failed", "verification");
  logged(dataset({"--limit", "none"}), 2, "failed", "usage");
  logged(dataset({"--no-such-option"}), 2, "failed", "usage");
  logged({"sync", "--id", kScoreDataset, "--verify", "nonsense"}, 2, "failed", "usage");
  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong";
  fs::remove_all(path(".cache"));
  EXPECT_THAT(logged(dataset(), 3, "failed", "auth")->getValue<std::string>("message"), HasSubstr("token"));
  environment.erase("CAIEXPORT_CLIENT_SECRET");
  logged(dataset(), 2, "failed", "config");
}

TEST_F(RunEnds, ASignalLeavesItsEndToo) {
  startWith(R"({"files": 4, "file_bytes": 400000, "success_marker": false})");
  const auto process = start(dataset({"--max-rate", "100K", "--log-file", path("log")}));
  ASSERT_TRUE(support::eventually(
      [&] { return support::Process::contentOf(path("log")).find("\"download_files\"") != std::string::npos; }));
  process->signal(SIGTERM);
  EXPECT_EQ(process->wait(), 130);
  const auto end = endIn("log");
  EXPECT_EQ(end->getValue<std::string>("status"), "interrupted");
  EXPECT_EQ(end->getValue<int>("exit_code"), 130);
  EXPECT_LT(end->getValue<int>("bytes"), 1600000) << "what is here, not what was promised";
}

TEST_F(RunEnds, TheOnEndCommandReadsTheEndKeepsTheExitCodeAndLearnsNoSecret) {
  startWith(kSmall);
  environment["CAIEXPORT_ON_END"] = "cat > '" + path("end.json") + "'; env > '" + path("end.env") + "'; exit 7";
  const Ended done = run(dataset({"--format", "json"}));
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(done.err, HasSubstr("exit code 7")) << "a hook that fails is told of";
  EXPECT_EQ(parseObject(done.out)->getValue<int>("job"), 1) << "standard output is the document alone";
  const auto end = parseObject(support::Process::contentOf(path("end.json")));
  EXPECT_EQ(end->getValue<std::string>("command"), "dataset");
  EXPECT_EQ(end->getValue<std::string>("status"), "succeeded");
  EXPECT_EQ(end->getValue<std::string>("id"), kScoreDataset);
  EXPECT_GT(end->getValue<int>("bytes"), 0);
  EXPECT_THAT(support::Process::contentOf(path("end.env")), Not(HasSubstr("sim-secret")));

  EXPECT_EQ(run(dataset({"--max-age", "1s", "--on-end", "cat > '" + path("end.json") + "'; echo shown"})).code, 12);
  const auto old = parseObject(support::Process::contentOf(path("end.json")));
  EXPECT_EQ(old->getValue<int>("exit_code"), 12);
  EXPECT_EQ(old->getValue<std::string>("category"), "tooOld");

  fs::remove(path("end.json"));
  EXPECT_EQ(run({"history"}).code, 0);
  EXPECT_FALSE(fs::exists(path("end.json"))) << "looking is no run";
}

TEST_F(RunEnds, TheSecretComesFromACommandWhoseOutputIsNeverShown) {
  startWith(kSmall);
  environment.erase("CAIEXPORT_CLIENT_SECRET");
  environment["CAIEXPORT_SECRET_COMMAND"] = "printf 'sim-secret\\nuser: me\\n'";
  const Ended done = run(dataset());
  EXPECT_EQ(done.code, 0) << done.err;
  for (const char* command : {"echo top-secret; echo top-secret >&2; exit 3", "printf '\\ntop-secret\\n'",
                              "echo 'top-secret with blanks'", "echo top-secret; kill -9 $$"}) {
    environment["CAIEXPORT_SECRET_COMMAND"] = command;
    const Ended failed = run(dataset({"--verbose", "--log-file", path("log")}));
    EXPECT_EQ(failed.code, 2) << command;
    EXPECT_THAT(failed.err, HasSubstr("CAIEXPORT_SECRET_COMMAND"));
    EXPECT_THAT(failed.err, Not(HasSubstr("top-secret")));
    EXPECT_THAT(support::Process::contentOf(path("log")), Not(HasSubstr("top-secret")));
  }
  environment["CAIEXPORT_CLIENT_SECRET"] = "sim-secret";
  EXPECT_THAT(run(dataset()).err, HasSubstr("keep one"));
}

TEST_F(RunEnds, ACommandInAConfigFileThatOthersCanWriteIsRefused) {
  startWith(kSmall);
  environment.erase("CAIEXPORT_CLIENT_SECRET");
  std::ofstream(path("config.ini")) << "[default]\nsecret_command = echo sim-secret\n";
  EXPECT_EQ(run(dataset({"--config", path("config.ini")})).code, 0);
  fs::permissions(path("config.ini"), fs::perms::others_write, fs::perm_options::add);
  const Ended refused = run(dataset({"--config", path("config.ini")}));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("chmod"));
}

TEST_F(RunEnds, WhereAnotherOneIsAtWorkARunFailsOrIsSkipped) {
  startWith(R"({"files": 4, "file_bytes": 400000, "success_marker": false})");
  const auto first = start({"sync", "--id", kScoreDataset, "--max-rate", "100K", "--log-file", path("log")});
  ASSERT_TRUE(support::eventually(
      [&] { return support::Process::contentOf(path("log")).find("\"download_files\"") != std::string::npos; }));
  EXPECT_EQ(run({"sync", "--id", kScoreDataset}).code, 10);
  const Ended skipped = run({"sync", "--id", kScoreDataset, "--if-running", "skip"});
  EXPECT_EQ(skipped.code, 0);
  EXPECT_THAT(skipped.err, HasSubstr("skipped"));
  const Ended quiet = run({"sync", "--id", kScoreDataset, "--if-running", "skip", "--quiet"});
  EXPECT_EQ(quiet.code, 0);
  EXPECT_EQ(quiet.err + quiet.out, "");
  logged({"sync", "--id", kScoreDataset, "--if-running", "skip"}, 0, "skipped", "busy");
  first->signal(SIGTERM);
  EXPECT_EQ(first->wait(), 130);
}

TEST_F(RunEnds, QuietPrintsNothingButErrors) {
  startWith(kSmall);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           dataset({"--quiet"}), {"sync", "--id", kScoreDataset, "--quiet"}, {"resume", "--all", "--quiet"}}) {
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(ended.out + ended.err, "") << words.front();
  }
}

}  // namespace
}  // namespace caiexport::binary
