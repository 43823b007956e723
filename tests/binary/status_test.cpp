/// How a monitor and a person at the keyboard see what has run, runs now, and was mistyped.

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr const char* kSmall = R"({"batches": 2, "files": 2, "records": 200, "success_marker": false})";
constexpr const char* kLarge = R"({"files": 4, "file_bytes": 400000, "success_marker": false})";

class Status : public BinaryTest {
 protected:
  Ended sync(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"sync", "--id", kScoreDataset};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }

  Poco::JSON::Object::Ptr only(int code) {
    const Ended ended = run({"status", "--format", "json"});
    EXPECT_EQ(ended.code, code) << ended.err;
    const auto array = Poco::JSON::Parser().parse(ended.out).extract<Poco::JSON::Array::Ptr>();
    if (array->size() != 1) throw std::runtime_error("not one source: " + ended.out);
    return array->getObject(0);
  }

  /// A download that takes long, once it is under way.
  std::unique_ptr<support::Process> slowDownload() {
    auto process = start({"dataset", "--id", kScoreDataset, "--max-rate", "200K", "--connections", "1", "--verify",
                          "size", "--log-file", path("log")});
    EXPECT_TRUE(support::eventually(
        [&] { return support::Process::contentOf(path("log")).find("\"download_files\"") != std::string::npos; }));
    return process;
  }
};

TEST_F(Status, RunsOfSyncCountTheOnesThatFoundNothingOrNeverGotToABatchToo) {
  startWith(kSmall);
  EXPECT_EQ(run({"status"}).code, 0) << "nothing was run yet, so nothing is wrong";
  EXPECT_EQ(sync().code, 0);
  const auto fine = only(0);
  EXPECT_TRUE(fine->getValue<bool>("ok"));
  EXPECT_GT(fine->getObject("newest_batch")->getValue<int>("age_seconds"), 0);
  const std::string success = fine->getValue<std::string>("last_success_at");

  EXPECT_EQ(sync().code, 0) << "nothing new";
  EXPECT_GT(only(0)->getValue<std::string>("last_success_at"), success);

  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong";
  fs::remove_all(path(".cache"));
  EXPECT_EQ(sync().code, 3);
  const auto failed = only(3);
  EXPECT_FALSE(failed->getValue<bool>("ok"));
  EXPECT_EQ(failed->getObject("error")->getValue<std::string>("category"), "auth");
  EXPECT_NE(failed->getValue<std::string>("next"), "");
  const Ended text = run({"status"});
  EXPECT_THAT(text.out, HasSubstr("last success"));
  EXPECT_THAT(text.err, HasSubstr("hint: "));

  environment.erase("CAIEXPORT_CLIENT_SECRET");
  EXPECT_EQ(sync().code, 2);
  EXPECT_EQ(only(2)->getObject("error")->getValue<std::string>("category"), "config");
  const Ended runs =
      run({"history", "--sql", "SELECT status, error_category FROM runs ORDER BY run", "--format", "csv"});
  EXPECT_EQ(runs.out, "status,error_category\r\nsucceeded,\r\nsucceeded,\r\nfailed,auth\r\nfailed,config\r\n")
      << runs.err;
}

TEST_F(Status, TooOldIsTwelveAndAMistypedIdIsNoSource) {
  startWith(kSmall);
  EXPECT_EQ(sync().code, 0);
  EXPECT_EQ(run({"sync", "--id", "mistyped"}).code, 4);
  EXPECT_EQ(run({"status", "--max-age", "365d"}).code, 0);
  const Ended old = run({"status", "--max-age", "1s"});
  EXPECT_EQ(old.code, 12);
  EXPECT_THAT(old.err, HasSubstr("--max-age"));
  EXPECT_EQ(run({"status", "--id", "mistyped"}).code, 4);
}

TEST_F(Status, ABatchThatIsDatedInTheFutureIsNotYoung) {
  startWith(kSmall);
  post("/_simulator/advance", R"({"seconds": 864000})");
  post("/_simulator/batches", "{}");
  EXPECT_EQ(sync().code, 0);
  EXPECT_EQ(run({"status"}).code, 0);
  const Ended future = run({"status", "--max-age", "1d"});
  EXPECT_EQ(future.code, 12);
  EXPECT_THAT(future.err, HasSubstr("which is yet to come"));
}

TEST_F(Status, PrometheusReadsWhatStandsInTheFile) {
  startWith(kSmall);
  EXPECT_EQ(sync().code, 0);
  ASSERT_EQ(run({"status", "--format", "prometheus", "--output", path("caiexport.prom")}).code, 0);
  std::ifstream file(path("caiexport.prom"));
  std::size_t samples = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("# ")) continue;
    ++samples;
    EXPECT_THAT(line, MatchesRegex("caiexport_[a-z_]+\\{([a-z_]+=\"[^\"\\\\]*\",?)+\\} [0-9.]+"));
  }
  EXPECT_GE(samples, 8U);
  environment.erase("CAIEXPORT_CLIENT_SECRET");
  EXPECT_EQ(sync().code, 2);
  const Ended failing = run({"status", "--format", "prometheus"});
  EXPECT_EQ(failing.code, 0) << "a collector reads the values";
  EXPECT_THAT(failing.out, ContainsRegex("caiexport_ok\\{[^}]*\\} 0"));
  EXPECT_THAT(failing.out, ContainsRegex("caiexport_last_run_exit_code\\{[^}]*\\} 2"));
}

TEST_F(Status, AKilledRunIsInterruptedAndARunningOneRuns) {
  startWith(kLarge);
  const auto process = slowDownload();
  EXPECT_EQ(only(0)->getObject("last_run")->getValue<std::string>("status"), "running");
  process->signal(SIGKILL);
  process->wait();
  const auto killed = only(130);
  EXPECT_EQ(killed->getObject("last_run")->getValue<std::string>("status"), "interrupted");
  EXPECT_EQ(killed->getValue<std::string>("next"), "caiexport resume 1");
}

TEST_F(Status, FollowAndWatchTellWhatIsHereAndEndWithTheRun) {
  startWith(kLarge);
  const auto process = slowDownload();
  const auto watch = start({"history", "--watch"});
  const Ended followed = run({"show", "1", "--follow"});
  EXPECT_EQ(followed.code, 0);
  EXPECT_THAT(followed.err, ContainsRegex("[0-9] of 4 files here, .* of 1.60 MB"));
  EXPECT_THAT(followed.out, HasSubstr("succeeded"));
  EXPECT_EQ(process->wait(), 0);
  EXPECT_EQ(watch->wait(), 0);
  EXPECT_THAT(watch->output(), HasSubstr("running"));
  EXPECT_THAT(watch->output(), HasSubstr("succeeded"));
  EXPECT_EQ(run({"history", "--watch"}).code, 0) << "nothing runs: shown once";
}

TEST_F(Status, CtrlCEndsTheWatchAndNotTheJob) {
  startWith(kLarge);
  const auto process = slowDownload();
  const auto follow = start({"show", "1", "--follow"});
  ASSERT_TRUE(support::eventually([&] { return follow->errors().find("files here") != std::string::npos; }));
  follow->signal(SIGINT);
  EXPECT_EQ(follow->wait(), 130);
  EXPECT_FALSE(process->hasEnded());
  // An unfinished job's size is what is here.
  const std::string table = run({"history"}).out;
  EXPECT_THAT(table, Not(HasSubstr("1.60 MB")));
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
}

TEST_F(Status, LastIsTheNewestJobWithFiles) {
  startWith(kSmall);
  EXPECT_EQ(run({"scores", "--last"}).code, 4);
  EXPECT_EQ(sync().code, 0);
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset, "--max-age", "1s"}).code, 12) << "a job without files";
  for (const char* command : {"scores", "read", "verify"}) EXPECT_EQ(run({command, "--last"}).code, 0) << command;
}

TEST_F(Status, WordsOfOtherProgramsAreUnderstoodOrAnswered) {
  EXPECT_EQ(run({"help", "sync"}).out, run({"sync", "--help"}).out);
  EXPECT_EQ(run({"version"}).out, run({"--version"}).out);
  EXPECT_NE(parseObject(run({"version", "--format", "json"}).out)->getValue<std::string>("version"), "");
  for (const char* word : {"list", "download", "export"}) {
    const Ended ended = run({word});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("hint: caiexport dataset")) << word;
  }
  const Ended brief = run({"sync", "-h"});
  EXPECT_EQ(brief.code, 0);
  EXPECT_THAT(brief.out, HasSubstr("--replayed"));
  EXPECT_THAT(brief.out, Not(HasSubstr("--ca-file")));
  EXPECT_LT(brief.out.size(), run({"sync", "--help"}).out.size());
}

}  // namespace
}  // namespace caiexport::binary
