/// What a weekly export leans on: a dataset that is used again, the time of the evaluation, comparing and pruning.

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class Weekly : public BinaryTest {
 protected:
  static std::vector<std::string> segment(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"segment", "--id", kSegment, "--poll-interval", "0.05s", "--poll-max", "0.1s"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  Poco::JSON::Object::Ptr json(std::vector<std::string> words, int code = 0) {
    words.insert(words.end(), {"--format", "json"});
    const Ended ended = run(std::move(words));
    EXPECT_EQ(ended.code, code) << ended.err;
    return parseObject(ended.out);
  }
};

TEST_F(Weekly, ReuseTakesTheDatasetOfAnEarlierJobAndReadsItsOwnBatchOnly) {
  startWith(R"({"records": 400, "export_files": 1})");
  const auto first = json(segment({"--reuse"}));
  const auto second = json(segment({"--reuse"}));
  const std::string dataset = first->getValue<std::string>("dataset_id");
  EXPECT_EQ(second->getValue<std::string>("dataset_id"), dataset);
  EXPECT_EQ(counted("datasets_created"), 1U);
  EXPECT_EQ(counted("export_jobs_accepted"), 2U);
  ASSERT_EQ(second->getArray("batch_ids")->size(), 1U);
  EXPECT_NE(second->getArray("batch_ids")->getElement<std::string>(0),
            first->getArray("batch_ids")->getElement<std::string>(0));
  EXPECT_EQ(second->getValue<int>("records"), 100) << "of its own export alone";
  EXPECT_EQ(fs::read_symlink(folder_ / "out" / dataset / "latest").string(),
            second->getArray("batch_ids")->getElement<std::string>(0));
}

TEST_F(Weekly, ReuseReadsItsOwnBatchEvenWhereTheExportJobDoesNotNameIt) {
  startWith(R"({"records": 400, "export_files": 1, "batches_form": "none"})");
  const auto first = json(segment({"--reuse"}));
  const auto second = json(segment({"--reuse"}));
  ASSERT_EQ(second->getArray("batch_ids")->size(), 1U);
  EXPECT_NE(second->getArray("batch_ids")->getElement<std::string>(0),
            first->getArray("batch_ids")->getElement<std::string>(0));
}

TEST_F(Weekly, ReuseMakesADatasetWhereThereIsNoneAnyMore) {
  startWith(R"({"records": 400, "export_files": 1})");
  ASSERT_EQ(run(segment({"--delete-dataset"})).code, 0);
  const Ended second = run(segment({"--reuse"}));
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("making one"));
  EXPECT_EQ(counted("datasets_created"), 2U);
}

TEST_F(Weekly, ReuseContradictsDatasetAndDeleteDataset) {
  startWith("{}");
  EXPECT_EQ(run(segment({"--reuse", "--dataset", "5f0000000000000000000009"})).code, 2);
  EXPECT_EQ(run(segment({"--reuse", "--delete-dataset"})).code, 2);
}

TEST_F(Weekly, TheEvaluationIsToldAndRecorded) {
  startWith(R"({"records": 400, "export_files": 1, "nightly_evaluations": 0})");
  const Ended unknown = run(segment());
  EXPECT_EQ(unknown.code, 0) << unknown.err;
  EXPECT_THAT(unknown.err, HasSubstr("was last evaluated is not known"));
  EXPECT_TRUE(json({"show", "1"})->isNull("evaluated_at"));
  EXPECT_EQ(run(segment({"--max-age", "24h"})).code, 12) << "what is not known can't be held against an age";
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
  EXPECT_EQ(counted("datasets_created"), 1U) << "no empty dataset is left for what is not exported";

  const Ended evaluated = run(segment({"--evaluate", "--max-age", "24h"}));
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_THAT(evaluated.out, HasSubstr("Members as of "));
  const auto shown = json({"show", "3"});
  ASSERT_FALSE(shown->isNull("evaluated_at"));
  // The next one finds it by itself.
  const auto next = json(segment());
  const auto toTheSecond = [](const auto& job) {
    return job->template getValue<std::string>("evaluated_at").substr(0, 19);
  };
  EXPECT_EQ(toTheSecond(next), toTheSecond(shown));
  post("/_simulator/advance", R"({"seconds": 3600})");
  const Ended old = run(segment({"--max-age", "30m"}));
  EXPECT_EQ(old.code, 12);
  EXPECT_THAT(old.err, HasSubstr("was last evaluated"));
  EXPECT_THAT(run({"history", "--sql", "SELECT evaluated_at FROM jobs WHERE job = 3", "--format", "csv"}).out,
              HasSubstr(shown->getValue<std::string>("evaluated_at")));
}

TEST_F(Weekly, AnEvaluationIsWaitedForInsteadOfAskedFor) {
  startWith(R"({"records": 400, "export_files": 1})");
  EXPECT_EQ(run(segment({"--wait-for-evaluation", "--no-wait"})).code, 0);
  EXPECT_EQ(counted("export_jobs_accepted"), 0U) << "the members are still those of last night";
  post("/_simulator/advance", R"({"seconds": 86400})");
  const Ended done = run({"resume", "--last"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(done.err, HasSubstr("it had 100 members then"));
  EXPECT_EQ(counted("segment_jobs_accepted"), 0U);
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
  EXPECT_EQ(json({"show", "1"})->getValue<int>("expected_members"), 100);
}

TEST_F(Weekly, EvaluationsAreAnnouncedAndARefusalSaysTheWayOut) {
  startWith(R"({"records": 400, "export_files": 1})");
  EXPECT_THAT(run(segment({"--evaluate"})).err, HasSubstr("the 1st today, the 1st this year"));
  changeScenario(R"({"b2b_simplification": true})");
  const Ended refused = run(segment({"--evaluate"}));
  EXPECT_EQ(refused.code, 5) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("UPAPI-054554-400"));
  EXPECT_THAT(refused.err, HasSubstr("--wait-for-evaluation"));
  EXPECT_EQ(counted("datasets_created"), 1U);
}

TEST_F(Weekly, SegmentsInOneDatasetStayApartAlsoWhereExportsNameNoBatch) {
  startWith(R"({"records": 400, "export_files": 1, "batches_form": "none"})");
  const auto first = json(segment());
  const std::string dataset = first->getValue<std::string>("dataset_id");
  std::vector<std::string> other = segment({"--dataset", dataset});
  other[2] = "0b7c1b0a-2f0e-4f57-8a1b-000000000001";
  const auto second = json(other);
  ASSERT_EQ(second->getArray("batch_ids")->size(), 1U);
  EXPECT_NE(second->getArray("batch_ids")->getElement<std::string>(0),
            first->getArray("batch_ids")->getElement<std::string>(0));
  std::vector<std::string> both = segment({"--segment-per-batch"});
  both[2] = std::string(kSegment) + "," + other[2];
  EXPECT_EQ(json(both)->getArray("batch_ids")->size(), 2U) << "one export of both";
  EXPECT_EQ(counted("export_jobs_accepted"), 3U);
}

TEST_F(Weekly, AudiencesOfOtherOriginsAreExportedByTheirNamespace) {
  startWith(R"({"records": 400, "export_files": 1})");
  std::vector<std::string> words = segment({"--namespace", "AAM"});
  words[2] = "21345678";
  EXPECT_EQ(run(words).code, 0);
  EXPECT_EQ(run(segment({"--namespace", "AAM"})).code, 4) << "one of the platform's own";
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
}

TEST_F(Weekly, ACallerThatMayNotSeeSegmentJobsExportsAllTheSame) {
  startWith(R"({"records": 400, "export_files": 1, "definition_metrics": false, "faults": [
      {"match": {"method": "GET", "path": "/segment/jobs"}, "times": -1, "do": {"status": 403, "body": {"title": "no"}}}]})");
  const Ended ended = run(segment());
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("is not known"));
}

TEST_F(Weekly, GuardsHoldForExports) {
  startWith(R"({"records": 400, "export_files": 1})");
  ASSERT_EQ(run(segment({"--reuse"})).code, 0);
  changeScenario(R"({"records": 4000})");
  const Ended grown = run(segment({"--reuse", "--max-change", "30%"}));
  EXPECT_EQ(grown.code, 8);
  EXPECT_THAT(grown.err, HasSubstr("+900.0 %"));
  EXPECT_EQ(run(segment({"--min-records", "5000"})).code, 8);
  EXPECT_EQ(run(segment({"--min-records", "1000"})).code, 0);
}

// --- history diff

TEST_F(Weekly, DiffComparesTwoJobs) {
  startWith(R"({"batches": 1, "files": 1, "records": 200})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  post("/_simulator/batches", R"({"records": 250, "files": 2})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const auto diff = json({"history", "diff", "1", "2"});
  EXPECT_EQ(diff->getObject("a")->getValue<int>("records"), 200);
  EXPECT_EQ(diff->getObject("b")->getValue<int>("files"), 2);
  const auto change = diff->getObject("change");
  EXPECT_EQ(change->getValue<int>("records"), 50);
  EXPECT_EQ(change->getValue<int>("files"), 1);
  EXPECT_FALSE(change->isNull("mean"));
  const auto buckets = change->getObject("buckets");
  EXPECT_EQ(buckets->getValue<int>("low") + buckets->getValue<int>("medium") + buckets->getValue<int>("high"), 50);
  const Ended text = run({"history", "diff", "1", "2"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("+50 (+25.0 %)"));

  fs::remove_all(folder_ / "out");
  const auto without = json({"history", "diff", "1", "2"});
  EXPECT_EQ(without->getObject("change")->getValue<int>("records"), 50) << "the record is enough for that";
  EXPECT_TRUE(without->getObject("change")->isNull("mean"));
}

TEST_F(Weekly, DiffAndPruneAreUsedInOneWayOnly) {
  startWith("{}");
  EXPECT_EQ(run({"history", "diff", "1"}).code, 2);
  EXPECT_EQ(run({"history", "diff", "1", "x"}).code, 2);
  EXPECT_EQ(run({"history", "diff", "1", "2", "--before", "1d"}).code, 2);
  EXPECT_EQ(run({"history", "prune"}).code, 2);
  EXPECT_EQ(run({"history", "prune", "--before", "1d", "--status", "failed"}).code, 2);
  EXPECT_EQ(run({"history", "--files"}).code, 2);
  const Ended slip = run({"history", "dif", "1", "2"});
  EXPECT_EQ(slip.code, 2);
  EXPECT_THAT(slip.err, HasSubstr("diff"));
  EXPECT_EQ(run({"history", "diff", "1", "2"}).code, 4);
  EXPECT_EQ(run({"history", "prune", "--before", "1d"}).code, 0) << "there is nothing, and that is well";
}

// --- history prune

TEST_F(Weekly, PruneRemovesOldRecordsButNotTheLastSuccess) {
  startWith(R"({"batches": 1, "files": 1, "records": 100})");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const auto plan = json({"history", "prune", "--before", "0s", "--dry-run"});
  EXPECT_EQ(plan->getArray("pruned")->size(), 2U);
  EXPECT_EQ(run({"history", "--format", "json", "--sql", "SELECT count(*) AS n FROM jobs"}).out, "[{\"n\": 3}]\n");
  const auto done = json({"history", "prune", "--before", "0s", "--files"});
  EXPECT_EQ(done->getArray("pruned")->size(), 2U);
  ASSERT_EQ(done->getArray("kept")->size(), 1U);
  EXPECT_THAT(done->getArray("kept")->getObject(0)->getValue<std::string>("why"), HasSubstr("last success"));
  EXPECT_EQ(done->getValue<int>("files"), 0) << "the job that stays has the file too";
  EXPECT_EQ(run({"verify", "3"}).code, 0);
  EXPECT_EQ(run({"show", "1"}).code, 4);
  EXPECT_EQ(json({"history", "prune", "--before", "1d"})->getArray("pruned")->size(), 0U) << "nothing is that old";
}

TEST_F(Weekly, PruneWithFilesLeavesWhatWasChangedAndWhatIsForeign) {
  startWith(R"({"batches": 1, "files": 2, "records": 100})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::string old = fs::read_symlink(folder_ / "out" / kScoreDataset / "latest").string();
  const fs::path oldFolder = folder_ / "out" / kScoreDataset / old;
  post("/_simulator/batches", "{}");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const auto files = filesUnder("out/" + std::string(kScoreDataset) + "/" + old);
  ASSERT_THAT(files, SizeIs(4));
  std::ofstream(oldFolder / "notes.txt") << "mine";
  std::ofstream(oldFolder / files[3], std::ios::app) << "changed";
  const auto done = json({"history", "prune", "--before", "0s", "--files"});
  EXPECT_EQ(done->getArray("pruned")->size(), 1U);
  EXPECT_EQ(done->getValue<int>("files"), 1);
  ASSERT_EQ(done->getArray("kept_files")->size(), 1U);
  EXPECT_THAT(done->getArray("kept_files")->getObject(0)->getValue<std::string>("why"), HasSubstr("changed"));
  EXPECT_TRUE(fs::exists(oldFolder / "notes.txt"));
  EXPECT_TRUE(fs::exists(oldFolder / files[3]));
  EXPECT_FALSE(fs::exists(oldFolder / "_SUCCESS")) << "it is not whole any more";
  EXPECT_EQ(run({"verify", "2"}).code, 0) << "the other job's files are whole";
}

TEST_F(Weekly, PruneWithFilesRemovesAWholeBatchFolder) {
  startWith(R"({"batches": 1, "files": 2, "records": 100})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  post("/_simulator/batches", "{}");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  EXPECT_EQ(json({"history", "prune", "--before", "0s", "--files"})->getValue<int>("files"), 2);
  EXPECT_THAT(filesUnder("out"), SizeIs(4)) << "two files, the manifest and the mark of the newer batch";
  EXPECT_EQ(run({"read", path("out")}).code, 0);
}

TEST_F(Weekly, PruneKeepsWhatSyncAndReuseLeanOn) {
  startWith(R"({"batches": 2, "files": 1, "records": 400, "export_files": 1})");
  ASSERT_EQ(run({"sync", "--id", kScoreDataset}).code, 0);
  ASSERT_EQ(run(segment({"--reuse"})).code, 0);
  ASSERT_EQ(run(segment({"--reuse"})).code, 0);
  const auto done = json({"history", "prune", "--before", "0s", "--files"});
  EXPECT_EQ(done->getArray("pruned")->size(), 0U);
  EXPECT_EQ(done->getArray("kept")->size(), 4U);
  EXPECT_THAT(run({"sync", "--id", kScoreDataset}).out, HasSubstr("nothing new"));
  ASSERT_EQ(run(segment({"--reuse"})).code, 0);
  EXPECT_EQ(counted("datasets_created"), 1U);
}

TEST_F(Weekly, PruneNeverTouchesUnfinishedJobs) {
  startWith(R"({"records": 400, "export_files": 1})");
  ASSERT_EQ(run(segment({"--no-wait"})).code, 0);
  EXPECT_EQ(json({"history", "prune", "--before", "0s", "--files"})->getArray("pruned")->size(), 0U);
  EXPECT_EQ(run({"resume", "--last"}).code, 0);
}

}  // namespace
}  // namespace caiexport::binary
