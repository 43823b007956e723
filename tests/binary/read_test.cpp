/// What was exported, read back with the real program.

#include <algorithm>

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
  EXPECT_EQ(parseObject(support::Process::contentOf(folder + "/manifest.json"))->getValue<int>("records"), 301);
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

}  // namespace
}  // namespace caiexport::binary
