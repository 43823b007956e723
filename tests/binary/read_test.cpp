/// What was exported, read back with the real program.

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

class Reading : public BinaryTest {
 protected:
  void SetUp() override {
    startSimulator({"--records", "500", "--files", "3"});
    ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  }
};

TEST_F(Reading, ScoresCountEveryRecord) {
  const Ended ended = run({"scores", "1", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto scores = parseObject(ended.out);
  EXPECT_EQ(scores->getValue<int>("records"), 500);
  const auto buckets = scores->getObject("buckets");
  EXPECT_EQ(buckets->getValue<int>("low") + buckets->getValue<int>("medium") + buckets->getValue<int>("high"),
            scores->getValue<int>("scored"));
  EXPECT_EQ(scores->getArray("histogram")->size(), 20U);
}

TEST_F(Reading, ThePageIsOneFile) {
  ASSERT_EQ(run({"scores", "1", "--format", "html", "--output", path("scores.html")}).code, 0);
  const std::string page = support::Process::contentOf(path("scores.html"));
  EXPECT_THAT(page, HasSubstr("<svg"));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("://"), std::string::npos) << "nothing is fetched from elsewhere";
}

TEST_F(Reading, CsvHasAHeaderAndEveryRow) {
  const Ended ended = run(
      {"read", "1", "--identity", "ECID", "--columns", "ECID,_tenant.customerAI.churn_q3.score", "--format", "csv"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(ended.out.starts_with("ECID,_tenant.customerAI.churn_q3.score\r\n")) << ended.out.substr(0, 80);
  EXPECT_EQ(std::count(ended.out.begin(), ended.out.end(), '\n'), 501);
}

TEST_F(Reading, ShortNamesDoEverywhere) {
  const Ended whole = run({"read", "1", "--where", "_tenant.customerAI.churn_q3.score >= 75", "--columns",
                           "_id,_tenant.customerAI.churn_q3.score", "--format", "csv"});
  const Ended brief = run({"read", "1", "--where", "score >= 75", "--columns", "_id,score", "--format", "csv"});
  ASSERT_EQ(brief.code, 0) << brief.err;
  EXPECT_EQ(brief.out, whole.out);
  EXPECT_EQ(run({"read", "1", "--sql", "SELECT count(score) AS n FROM profiles", "--format", "csv"}).out,
            "n\r\n500\r\n");
  EXPECT_THAT(run({"scores", "1", "--field", "score", "--format", "json"}).out,
              HasSubstr("\"_tenant.customerAI.churn_q3.score\""));
}

TEST_F(Reading, TheSchemaNamesColumnsTypesAndExamples) {
  const Ended json = run({"read", "1", "--schema", "--format", "json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const auto fields = Poco::JSON::Parser().parse(json.out).extract<Poco::JSON::Array::Ptr>();
  const auto second = fields->getObject(1);
  EXPECT_EQ(second->getValue<std::string>("column"), "_tenant.customerAI.churn_q3.score");
  EXPECT_EQ(second->getValue<std::string>("type"), "DOUBLE");
  EXPECT_FALSE(second->isNull("example"));
  EXPECT_TRUE(run({"read", "1", "--schema", "--format", "csv"}).out.starts_with("column,type,example\r\n_id,VARCHAR,"));
  EXPECT_THAT(run({"read", "1", "--schema"}).out, HasSubstr("_tenant.customerAI.churn_q3.score"));
  EXPECT_EQ(run({"read", "1", "--schema", "--where", "score > 1"}).code, 2);
  EXPECT_EQ(run({"read", "1", "--format", "json"}).code, 2);
}

TEST_F(Reading, WhatWasWrittenIsSaid) {
  const Ended loud = run({"read", "1", "--columns", "_id", "--output", path("ids.csv")});
  EXPECT_THAT(loud.err, HasSubstr("wrote 500 rows ("));
  EXPECT_THAT(loud.err, HasSubstr(path("ids.csv")));
  EXPECT_EQ(run({"read", "1", "--columns", "_id", "--output", path("ids.csv"), "--quiet"}).err, "");
  EXPECT_THAT(run({"read", "1", "--output", path("all.parquet")}).err, HasSubstr("wrote 500 rows ("));
  EXPECT_THAT(run({"scores", "1", "--output", path("scores.json")}).err, HasSubstr("wrote 500 rows"));
  EXPECT_THAT(run({"read", "1", "--columns", "_id"}).err, testing::Not(HasSubstr("wrote")));
}

TEST_F(Reading, WrongSqlIsExit2WithTheReason) {
  const Ended ended = run({"read", "1", "--where", "nosuch > 3"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("nosuch"));
  EXPECT_EQ(run({"read", "1", "--sql", "DROP TABLE profiles"}).code, 2);
  EXPECT_EQ(run({"read", "1", "--sql", "SELECT * FROM read_csv('/etc/passwd')"}).code, 2);
}

TEST_F(Reading, VerifyNamesWhatChanged) {
  EXPECT_EQ(run({"verify", "1"}).code, 0);
  const std::string victim = path("out/" + filesUnder("out").back());
  ASSERT_TRUE(victim.ends_with(".parquet")) << victim;
  std::ofstream(victim, std::ios::app) << "x";
  const Ended ended = run({"verify", "1"});
  EXPECT_EQ(ended.code, 8);
  EXPECT_THAT(ended.out + ended.err, HasSubstr(std::filesystem::path(victim).filename().string().substr(0, 20)));
}

/// Names as platforms give them: the ending says nothing.
constexpr const char* kOddNames = R"({"records": 301, "files": 4, "batches": 1,
    "file_names": ["part-0.parquet", "part-1.PARQUET", "part-2.parq", "part-3"],
    "files_beside": {"_committed_1": "no JSON", "_started_1": "{}", ".part-0.parquet.crc": "crc", "README.txt": "read me"}})";

using TablesOfABatch = BinaryTest;

TEST_F(TablesOfABatch, AreCountedReadAndVerifiedWhateverLiesBesideThem) {
  startWith(kOddNames);
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--min-records", "301", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("README.txt"));
  EXPECT_THAT(ended.err, testing::Not(HasSubstr("_committed_1")));
  EXPECT_EQ(parseObject(ended.out)->getValue<int>("records"), 301);
  const std::string batch = parseObject(ended.out)->getArray("batch_ids")->getElement<std::string>(0);
  const std::string folder = path("out/" + std::string(kScoreDataset) + "/" + batch);
  EXPECT_EQ(parseObject(support::Process::contentOf(folder + "/_manifest.json"))->getValue<int>("records"), 301);
  for (const std::string& what : {std::string("1"), folder}) {
    EXPECT_EQ(parseObject(run({"scores", what, "--format", "json"}).out)->getValue<int>("records"), 301) << what;
    EXPECT_THAT(run({"read", what, "--sql", "SELECT count(*) FROM profiles", "--format", "csv"}).out,
                HasSubstr("\r\n301\r\n"));
    const auto verified = parseObject(run({"verify", what, "--format", "json"}).out);
    EXPECT_EQ(verified->getValue<int>("records"), 301) << what;
    EXPECT_THAT(verified->getArray("not_counted")->getElement<std::string>(0), HasSubstr("README.txt"));
  }
}

TEST_F(TablesOfABatch, ThatLackRowsAreNotPassedOffAsThePromise) {
  startWith(kOddNames);
  changeScenario(R"({"reported_records_delta": 220})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--format", "json"});
  EXPECT_EQ(ended.code, 8) << ended.out;
  EXPECT_THAT(ended.err + ended.out, HasSubstr("521 records, but its files hold 301 (not counted: README.txt)"));
  EXPECT_TRUE(parseObject(ended.out)->isNull("records"));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"scores", "1"}, {"read", "1"}}) {
    const Ended read = run(words);
    EXPECT_EQ(read.code, 0) << read.err;
    EXPECT_THAT(read.err, HasSubstr("job 1 did not succeed"));
    EXPECT_THAT(read.err, HasSubstr("521 records"));
  }
}

TEST_F(TablesOfABatch, ThatWereNotCountedHaveNoRecordsButForAGuard) {
  startWith(kOddNames);
  changeScenario(R"({"reported_records_delta": 220})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size", "--format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(parseObject(ended.out)->isNull("records"));
  const Ended guarded =
      run({"dataset", "--id", kScoreDataset, "--verify", "size", "--min-records", "400", "--format", "json"});
  EXPECT_EQ(guarded.code, 8) << guarded.out;
}

using SeveralBatches = BinaryTest;

TEST_F(SeveralBatches, OfADatasetsFolderTheNewestIsReadAndALineSaysSo) {
  startSimulator({"--records", "100", "--files", "2"});
  const Ended brought = run({"dataset", "--id", kScoreDataset, "--all", "--format", "json"});
  ASSERT_EQ(brought.code, 0) << brought.err;
  const auto ids = parseObject(brought.out)->getArray("batch_ids");
  ASSERT_EQ(ids->size(), 3U);
  const std::string folder = path("out/" + std::string(kScoreDataset));
  const Ended newest = run({"scores", folder, "--format", "json"});
  EXPECT_EQ(parseObject(newest.out)->getValue<int>("records"), 100);
  EXPECT_EQ(parseObject(newest.out)->getArray("batch_ids")->size(), 1U);
  EXPECT_THAT(newest.err, HasSubstr("of 3 batches in"));
  EXPECT_THAT(newest.err, HasSubstr("--all-batches"));
  for (const std::vector<std::string>& all : {std::vector<std::string>{folder, "--all-batches"}, {"1"}}) {
    std::vector<std::string> json{"scores", "--format", "json"};
    json.insert(json.end(), all.begin(), all.end());
    const auto scores = parseObject(run(json).out);
    EXPECT_EQ(scores->getValue<int>("records"), 300);
    EXPECT_EQ(scores->getArray("batch_ids")->size(), 3U);
    std::vector<std::string> html{"scores", "--format", "html"};
    html.insert(html.end(), all.begin(), all.end());
    const std::string page = run(html).out;
    EXPECT_THAT(page, HasSubstr(ids->getElement<std::string>(2)));
    EXPECT_THAT(page, testing::Not(HasSubstr("Profiles")));
  }
  EXPECT_THAT(run({"show", "1"}).out, HasSubstr("300 rows"));
  EXPECT_THAT(run({"read", folder, "--sql", "SELECT count(*) FROM profiles", "--format", "csv"}).out, HasSubstr("100"));
}

TEST_F(SeveralBatches, AreComparedWithTheOneBefore) {
  startSimulator({"--records", "100", "--files", "2"});
  const auto ids =
      parseObject(run({"dataset", "--id", kScoreDataset, "--all", "--format", "json"}).out)->getArray("batch_ids");
  const std::string folder = path("out/" + std::string(kScoreDataset));
  const Ended previous = run({"scores", folder, "--against", "previous", "--format", "json"});
  ASSERT_EQ(previous.code, 0) << previous.err;
  const auto compared = parseObject(previous.out);
  EXPECT_EQ(compared->getObject("now")->getArray("batch_ids")->getElement<std::string>(0),
            ids->getElement<std::string>(0));
  EXPECT_EQ(compared->getObject("before")->getArray("batch_ids")->getElement<std::string>(0),
            ids->getElement<std::string>(1));
  EXPECT_EQ(compared->getValue<int>("both"), 100);
  const std::string oldest = ids->getElement<std::string>(2);
  const auto named = parseObject(run({"scores", folder, "--against", oldest, "--format", "json"}).out);
  EXPECT_EQ(named->getObject("before")->getArray("batch_ids")->getElement<std::string>(0), oldest);
  EXPECT_EQ(run({"scores", folder + "/" + oldest, "--against", "previous"}).code, 4);
  EXPECT_EQ(run({"scores", folder, "--customers"}).code, 2);
  // Everybody in the list is counted, and the other way round.
  const Ended list = run({"scores", folder, "--against", "previous", "--customers", "--format", "csv"});
  ASSERT_EQ(list.code, 0) << list.err;
  EXPECT_EQ(std::count(list.out.begin(), list.out.end(), '\n') - 1,
            compared->getValue<int>("changed") + compared->getValue<int>("new") + compared->getValue<int>("gone"));
  EXPECT_EQ(run({"scores", folder, "--against", "previous", "--customers", "--output", path("moved.xlsx")}).code, 0);
  ASSERT_EQ(run({"scores", folder, "--against", "previous", "--output", path("page.html")}).code, 0);
  const std::string page = support::Process::contentOf(path("page.html"));
  for (const char* text : {"churn_q3", kScoreDataset, "Who moved since", "Since last time", "most likely to leave"}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
}

TEST_F(SeveralBatches, OfTwoJobsThatBroughtTheSameAreCountedOnceBySync) {
  startSimulator({"--records", "100", "--files", "4"});
  changeScenario(
      R"({"batches": 1, "faults": [{"match": {"path": "path="}, "times": -1, "do": {"stall_headers": true}}]})");
  for (int job = 0; job < 2; ++job) {
    const auto process = start({"dataset", "--id", kScoreDataset});
    const std::string number = std::to_string(job + 1);
    ASSERT_TRUE(support::eventually([&] {
      return run({"show", number}).out.find("download_files") != std::string::npos;
    }));
    process->signal(SIGKILL);
    process->wait();
  }
  changeScenario(R"({"faults": []})");
  const Ended ended = run({"sync", "--id", kScoreDataset});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("job 1"));
  EXPECT_THAT(ended.out, HasSubstr("job 2"));
  EXPECT_THAT(ended.out, HasSubstr("1 new batch, 4 files"));
  EXPECT_THAT(ended.out, HasSubstr(", 100 customers\n  job 1"));
}

/// What a run leaves in a folder beside `expected`.
std::vector<std::string> leftIn(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST_F(Reading, OutputGoesIntoAPipeOrDeviceAsItIsAndThroughALink) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  for (const char* format : {"csv", "jsonl", "table", "parquet", "xlsx"}) {
    const auto reading = start({"read", "1", "--format", format, "--limit", "5", "--output", path("fifo")});
    const std::string got = support::Process::contentOf(path("fifo"));
    EXPECT_EQ(reading->wait(), 0) << reading->errors();
    EXPECT_FALSE(got.empty());
    EXPECT_TRUE(std::filesystem::is_fifo(path("fifo"))) << format;
  }
  EXPECT_EQ(run({"read", "1", "--format", "csv", "--output", "/dev/null"}).code, 0);
  EXPECT_EQ(run({"read", "1", "--format", "csv", "--output", "/dev/full"}).code, 9);
  EXPECT_THAT(run({"read", "1", "--format", "csv", "--output", "/dev/stdout"}).out, HasSubstr("ECID,"));
  std::filesystem::create_directory(path("elsewhere"));
  std::ofstream(path("elsewhere/old.csv")) << "old";
  std::filesystem::create_symlink("elsewhere/old.csv", path("link.csv"));
  EXPECT_EQ(run({"read", "1", "--format", "csv", "--output", path("link.csv")}).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.csv")));
  EXPECT_THAT(support::Process::contentOf(path("elsewhere/old.csv")), HasSubstr("ECID,"));
  std::filesystem::create_symlink("elsewhere/scores.txt", path("link.txt"));
  EXPECT_EQ(run({"scores", "1", "--output", path("link.txt")}).code, 0);
  EXPECT_THAT(support::Process::contentOf(path("elsewhere/scores.txt")), HasSubstr("Scores in"));
  EXPECT_THAT(leftIn(path("elsewhere")), testing::UnorderedElementsAre("old.csv", "scores.txt"));
}

TEST_F(Reading, OutputIsNeverWhatIsRead) {
  const std::string victim = path("out/" + filesUnder("out").back());
  const std::string before = support::Process::contentOf(victim);
  std::filesystem::create_hard_link(victim, path("hard"));
  std::filesystem::create_symlink(victim, path("soft"));
  for (const std::string& output : {victim, path("hard"), path("soft")}) {
    const Ended ended = run({"read", "1", "--format", "parquet", "--output", output});
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("is one of the files that are read"));
    EXPECT_EQ(run({"scores", "1", "--output", output}).code, 2);
  }
  EXPECT_EQ(support::Process::contentOf(victim), before);
  EXPECT_EQ(run({"verify", "1"}).code, 0);
}

/// Makes rows for as long as it is left to.
constexpr const char* kEndless = "SELECT a.i FROM range(1000000) a(i), range(1000000) b(i)";

TEST_F(Reading, AKilledRunLeavesNothingThatTheNextOneDoesNotClear) {
  std::filesystem::create_directory(path("results"));
  const auto reading =
      start({"read", "1", "--sql", kEndless, "--format", "parquet", "--output", path("results/rows.parquet")});
  ASSERT_TRUE(support::eventually([&] { return !leftIn(path("results")).empty(); }));
  const std::string scratch = path("results/" + leftIn(path("results")).front());
  EXPECT_EQ(std::filesystem::status(scratch).permissions(), std::filesystem::perms::owner_all);
  reading->signal(SIGKILL);
  reading->wait();
  ASSERT_EQ(run({"read", "1", "--format", "csv", "--output", path("results/rows.csv")}).code, 0);
  EXPECT_THAT(leftIn(path("results")), testing::ElementsAre("rows.csv"));
}

TEST_F(Reading, WhatIsMadeForAPipeIsMadeWhereNobodyElseLooks) {
  std::filesystem::create_directory(path("tmp"));
  environment["TMPDIR"] = path("tmp");
  const auto reading = start({"read", "1", "--sql", kEndless, "--format", "parquet"});
  ASSERT_TRUE(support::eventually([&] { return !leftIn(path("tmp")).empty(); }));
  EXPECT_EQ(std::filesystem::status(path("tmp/" + leftIn(path("tmp")).front())).permissions(),
            std::filesystem::perms::owner_all);
  reading->signal(SIGINT);
  EXPECT_EQ(reading->wait(), 130);
  EXPECT_THAT(leftIn(path("tmp")), testing::IsEmpty());
}

/// Statements whose functions neither look at the memory nor at an interrupt.
class GreedyQuery : public Reading, public testing::WithParamInterface<const char*> {};

TEST_P(GreedyQuery, EndsWithExit9InsideItsMemory) {
  const Ended ended =
      run({"read", "1", "--memory", "256M", "--format", "csv", "--output", "/dev/null", "--sql", GetParam()});
  EXPECT_EQ(ended.code, 9) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("--memory"));
}

INSTANTIATE_TEST_SUITE_P(
    Statements, GreedyQuery,
    testing::Values("SELECT length(repeat('x', 3000000000))", "SELECT len(range(400000000))",
                    "SELECT length(string_agg(repeat(i::VARCHAR, 1000), '')) FROM range(3000000) r(i)",
                    "SELECT len(list(i)) FROM range(300000000) r(i)"));

/// Hundredths of a second that the process has worked.
long processorTicks(pid_t process) {
  std::string stat = support::Process::contentOf("/proc/" + std::to_string(process) + "/stat");
  std::istringstream fields(stat.substr(std::min(stat.rfind(')') + 1, stat.size())));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  long user = 0;
  fields >> user;
  return user;
}

TEST_F(Reading, ASignalIsObeyedWithinTwoSecondsWhateverTheStatementDoes) {
  for (const char* sql : {"SELECT count(*) FROM range(100000000000) r(i)",
                          "SELECT len(list_sort(list_transform(range(30000000), lambda x: hash(x))))"}) {
    const auto reading = start({"read", "1", "--format", "csv", "--memory", "4G", "--sql", sql});
    ASSERT_TRUE(support::eventually([&] { return processorTicks(reading->id()) > 60 || reading->hasEnded(); }));
    ASSERT_FALSE(reading->hasEnded()) << sql << reading->errors();
    const auto before = std::chrono::steady_clock::now();
    reading->signal(SIGTERM);
    EXPECT_EQ(reading->wait(), 130) << sql;
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(3)) << sql << "; two, and a busy machine";
  }
}

}  // namespace
}  // namespace caiexport::binary
