/// `failed` with the real programs.

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class Failed : public BinaryTest {
 protected:
  Ended failed(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"failed", "--id", kScoreDataset};
    words.insert(words.end(), more.begin(), more.end());
    return run(std::move(words));
  }
};

TEST_F(Failed, BatchesAreListedNewestFirstWithTheirReasons) {
  startWith(R"({"batches": 1, "failed_batches": 3, "catalog_page": 2})");
  const Ended listed = failed({"--format", "json"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  const auto batches = parseObject(listed.out)->getArray("batches");
  ASSERT_EQ(batches->size(), 3U);
  std::string last = "Z";
  for (unsigned i = 0; i < 3; ++i) {
    const auto batch = batches->getObject(i);
    EXPECT_LT(batch->getValue<std::string>("batch_id"), last);
    last = batch->getValue<std::string>("batch_id");
    EXPECT_EQ(batch->getValue<std::string>("status"), "failed");
    EXPECT_EQ(batch->getValue<int>("failed_records"), 2);
    EXPECT_EQ(batch->getArray("errors")->getObject(0)->getValue<std::string>("code"), "ACP-9999");
  }
  EXPECT_THAT(failed().out, AllOf(HasSubstr("ACP-9999  scoring failed (2 rows)"), HasSubstr("2 failed rows")));
  EXPECT_THAT(failed({"--format", "csv"}).out, HasSubstr(",ACP-9999,scoring failed,1 2\r\n"));
  EXPECT_TRUE(filesUnder("out").empty()) << "nothing is fetched unless asked for";
}

TEST_F(Failed, NoneIsNoFailureAndAnUnknownDatasetIs) {
  startWith(R"({"failed_batches": 0})");
  const Ended none = failed();
  EXPECT_EQ(none.code, 0);
  EXPECT_THAT(none.err, HasSubstr("has no failed batch"));
  EXPECT_EQ(run({"failed", "--id", "nosuch"}).code, 4);
  EXPECT_EQ(failed({"--batch", "01JXSC00000000000000000099"}).code, 4);
  EXPECT_EQ(run({"failed"}).code, 2);
  EXPECT_EQ(failed({"--max-rate", "1M"}).code, 2) << "nothing to limit";
}

TEST_F(Failed, PagesThatDieAreAskedForAgainSmaller) {
  startWith(R"({"failed_batches": 7, "slow_pages": 5})");
  const Ended listed = failed({"--format", "json"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  EXPECT_EQ(parseObject(listed.out)->getArray("batches")->size(), 7U);
}

TEST_F(Failed, FilesComeIntoAFolderOfEachBatch) {
  startWith(R"({"failed_batches": 2, "failed_files": 3, "page_limit": 2})");
  const Ended fetched = failed({"--output", path("kept"), "--format", "json"});
  ASSERT_EQ(fetched.code, 0) << fetched.err;
  EXPECT_THAT(filesUnder("kept"), SizeIs(2 * 11));
  EXPECT_THAT(filesUnder("kept"),
              Contains(std::string(kScoreDataset) + ".failed/01JXSC00000000000000000004/meta/input_files/input_2.csv"));
  const Ended again = failed({"--output", path("kept")});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("10 files"));
  EXPECT_THAT(again.out, HasSubstr("here already"));
  EXPECT_EQ(run({"read", path("kept")}).code, 4) << "no rows to read there";
}

TEST_F(Failed, AFileThatBreaksOffIsNeverHalfAndComesWithTheNextRun) {
  startWith(R"({"failed_files": 1, "faults": [
      {"match": {"path": "/failed\\?path=part"}, "times": 1, "do": {"short_body": 20}},
      {"match": {"path": "/failed\\?path=part"}, "times": -1, "do": {"status": 503, "body": ""}}]})");
  const Ended broken = failed({"--output", path("kept"), "--retries", "1", "--format", "json"});
  EXPECT_EQ(broken.code, 7) << broken.err;
  EXPECT_FALSE(parseObject(broken.out)->isNull("error"));
  EXPECT_THAT(filesUnder("kept"), Not(Contains(testing::EndsWith("c000.json"))));
  changeScenario(R"({"faults": []})");
  EXPECT_EQ(failed({"--output", path("kept")}).code, 0);
  EXPECT_THAT(filesUnder("kept"), AllOf(Contains(testing::EndsWith("c000.json")), SizeIs(5)));
}

TEST_F(Failed, OneBatchThatIsOddLeavesTheOthers) {
  startWith(
      R"({"failed_batches": 2, "faults": [{"match": {"path": "000004/failed"}, "times": -1, "do": {"status": 200, "body":
      {"data": [{"name": "../../escaped", "length": "3"}]}}}]})");
  const Ended ended = failed({"--output", path("kept")});
  EXPECT_EQ(ended.code, 8);
  EXPECT_THAT(ended.err, HasSubstr("../../escaped"));
  EXPECT_THAT(filesUnder("kept"), SizeIs(5)) << "those of the other one";
  EXPECT_FALSE(std::filesystem::exists(folder_ / "escaped"));
}

TEST_F(Failed, ARunThatFindsOnlyFailedBatchesNamesTheCommand) {
  startWith(R"({"world": "plain", "batches": 0, "failed_batches": 1})");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.err, HasSubstr("caiexport failed --id " + std::string(kScoreDataset)));
  const Ended named = run({"dataset", "--id", kScoreDataset, "--batch", "01JXSC00000000000000000001"});
  EXPECT_EQ(named.code, 4);
  EXPECT_THAT(named.err, HasSubstr("--batch 01JXSC00000000000000000001 shows why it failed"));
}

}  // namespace
}  // namespace caiexport::binary
