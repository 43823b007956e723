/// Both documented paths with the real programs, over TLS, with more than one page at every level.

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

class Paths : public BinaryTest {};

TEST_F(Paths, DatasetOverTlsWithManyPages) {
  useTls();
  startSimulator({"--scenario", "paged"});
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto job = parseObject(ended.out);
  EXPECT_EQ(job->getValue<std::string>("status"), "succeeded");
  EXPECT_EQ(job->getValue<int>("files"), 250);
  EXPECT_EQ(job->getArray("file_list")->size(), 250U);
  EXPECT_EQ(job->getArray("steps")->size(), 4U);
  EXPECT_EQ(filesUnder("out").size(), 252U);
  EXPECT_EQ(counted("unfiltered_exports"), 0U);
}

TEST_F(Paths, AllBatchesOverTls) {
  useTls();
  startSimulator({"--scenario", "paged", "--files", "1", "--file-bytes", "100"});
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--all", "--verify", "size", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(parseObject(ended.out)->getArray("batch_ids")->size(), 130U);
}

TEST_F(Paths, SegmentOverTls) {
  useTls();
  startSimulator();
  const Ended ended = run(
      {"segment", "--id", kSegment, "--evaluate", "--poll-interval", "0.05", "--poll-max", "0.1", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto job = parseObject(ended.out);
  EXPECT_EQ(job->getValue<std::string>("status"), "succeeded");
  EXPECT_GT(job->getValue<int>("records"), 0);
  EXPECT_EQ(counted("datasets_created"), 1U);
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
  EXPECT_EQ(counted("segment_jobs_accepted"), 1U);
  EXPECT_EQ(counted("unfiltered_exports"), 0U);
}

TEST_F(Paths, HistoryAndShowNeedNoSettings) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", path("")}, {"CAIEXPORT_DATABASE", path("jobs.db")}};
  const Ended history = run({"history", "--format", "json"});
  ASSERT_EQ(history.code, 0) << history.err;
  EXPECT_THAT(history.out, HasSubstr("\"succeeded\""));
  const Ended show = run({"show", "1", "--format", "json"});
  ASSERT_EQ(show.code, 0) << show.err;
  EXPECT_EQ(parseObject(show.out)->getArray("file_list")->size(), 3U);
  EXPECT_THAT(run({"history", "--sql", "SELECT status, count(*) AS n FROM jobs GROUP BY 1", "--format", "csv"}).out,
              HasSubstr("succeeded,1"));
}

TEST_F(Paths, BeforeTheFirstJobHistoryIsEmpty) {
  const Ended history = run({"history", "--format", "json"});
  EXPECT_EQ(history.code, 0) << history.err;
  EXPECT_EQ(history.out, "[]\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "jobs.db")) << "looking must not create";
  EXPECT_EQ(run({"resume", "--last"}).code, 4);
}

TEST_F(Paths, NoBatchIsExit4AndInHistory) {
  startWith(R"({"created_client": "someone_else"})");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.err, HasSubstr(kScoreDataset));
  EXPECT_THAT(ended.err, HasSubstr("24 hours"));
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr("\"failed\""));
}

TEST_F(Paths, AnInterruptedWaitGoesOn) {
  startWith(R"({"export_polls": 1000000})");
  const auto process = start({"segment", "--id", kSegment, "--poll-interval", "0.02", "--poll-max", "0.02"});
  ASSERT_TRUE(support::eventually([&] { return counted("export_jobs_accepted") == 1; }));
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
  EXPECT_THAT(process->errors(), HasSubstr("caiexport resume 1"));
  changeScenario(R"({"export_polls": 1})");
  const Ended resumed = run({"resume", "--last", "--format", "json"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
  EXPECT_EQ(counted("datasets_created"), 1U);
}

TEST_F(Paths, CancelStopsTheRunAndThePlatform) {
  startWith(R"({"export_polls": 1000000})");
  const auto process = start({"segment", "--id", kSegment, "--poll-interval", "0.05", "--poll-max", "0.05"});
  ASSERT_TRUE(support::eventually([&] { return counted("export_jobs_accepted") == 1; }));
  ASSERT_TRUE(support::eventually([&] { return run({"show", "1"}).out.find("await_export") != std::string::npos; }));
  const Ended second = run({"resume", "1"});
  EXPECT_EQ(second.code, 10);
  EXPECT_THAT(second.err, HasSubstr(std::to_string(process->id())));
  EXPECT_EQ(run({"cancel", "1"}).code, 0);
  EXPECT_EQ(process->wait(), 5);
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr("\"cancelled\""));
}

TEST_F(Paths, NoWaitThenResume) {
  startSimulator();
  const Ended left = run({"segment", "--id", kSegment, "--no-wait", "--format", "json"});
  ASSERT_EQ(left.code, 0) << left.err;
  EXPECT_EQ(parseObject(left.out)->getValue<std::string>("status"), "waiting");
  EXPECT_EQ(run({"resume", "--all", "--format", "json"}).code, 0);
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
}

TEST_F(Paths, ResumeElsewhereIsRefused) {
  startSimulator();
  ASSERT_EQ(run({"segment", "--id", kSegment, "--no-wait"}).code, 0);
  environment["CAIEXPORT_SANDBOX"] = "dev";
  const Ended refused = run({"resume", "1"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("prod"));
  EXPECT_THAT(refused.err, HasSubstr("dev"));
}

TEST_F(Paths, SecretsAppearNowhere) {
  startSimulator();
  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong-CANARY-secret";
  const Ended refused = run({"dataset", "--id", kScoreDataset, "--verbose", "--log-file", path("log.json")});
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.out + refused.err + support::Process::contentOf(path("log.json")), Not(HasSubstr("CANARY")));
}

}  // namespace
}  // namespace caiexport::binary
