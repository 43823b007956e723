/// The platform as recordings of it show it, through the real programs.

#include <algorithm>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kNewest = "01JXSC00000000000000000003";
constexpr const char* kConsolidation = "01JXCO00000000000000000001";
constexpr const char* kTracking = "01JXTR00000000000000000002";

class LivePlatform : public BinaryTest {
 protected:
  void startLive(const std::string& more = "") {
    startWith(R"({"batches": 3, "files": 2, "records": 200, "tracking_batches": true, "consolidations": 1)" + more +
              "}");
  }
  Ended dataset(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"dataset", "--id", kScoreDataset, "--created-client", "any", "--format", "json"};
    words.insert(words.end(), more.begin(), more.end());
    return run(std::move(words));
  }
  static std::vector<std::string> batchesOf(const Poco::JSON::Object::Ptr& job) {
    std::vector<std::string> ids;
    for (const auto& id : *job->getArray("batch_ids")) ids.push_back(id.convert<std::string>());
    return ids;
  }
};

TEST_F(LivePlatform, IsWhatTheSimulatorIsWithoutAScenario) {
  startSimulator();
  std::string kinds;
  const auto batches = platformState()->getArray("batches");
  for (unsigned i = 0; i < batches->size(); ++i) {
    kinds += batches->getObject(i)->getValue<std::string>("id").substr(0, 6) + " ";
  }
  EXPECT_EQ(kinds, "01JXSC 01JXSC 01JXSC 01JXSC 01JXCO 01JXTR 01JXTR 01JXOL ");
  const Ended ended = dataset();
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)), testing::ElementsAre(kNewest));
  const Ended old = run({"dataset", "--id", kScoreDataset, "--batch", "01JXOL00000000000000000004"});
  EXPECT_EQ(old.code, 4);
  EXPECT_THAT(old.err, HasSubstr("was replaced by batch 01JXSC00000000000000000001"));
}

TEST_F(LivePlatform, TheNewestOrdinaryBatchIsTaken) {
  startLive();
  const Ended ended = dataset();
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)), testing::ElementsAre(kNewest));
}

TEST_F(LivePlatform, WhatCatalogIgnoresIsFilteredHere) {
  startLive(R"(, "ignored_filters": ["createdClient", "dataSet", "status", "orderBy"])");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--format", "json", "--all"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)), testing::SizeIs(3));
}

TEST_F(LivePlatform, AConsolidationThatDoesNotSaySoGivesWayToWhatItHolds) {
  startLive(R"(, "consolidation_marked": false)");
  const Ended ended = dataset();
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)), testing::SizeIs(3)) << "all that it holds, not the newest of it";
  EXPECT_THAT(ended.err, HasSubstr("is a consolidation batch, which Data Access cannot read"));
  const Ended all = dataset({"--all", "--output", path("all")});
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_THAT(batchesOf(parseObject(all.out)), testing::SizeIs(3));
}

TEST_F(LivePlatform, WhatAConsolidationHeldAndIsGoneIsSaidInADryRunToo) {
  startLive(R"(, "consolidation_marked": false)");
  post("/_simulator/batch", R"({"id": "01JXSC00000000000000000001"})");
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--dry-run"}, {}}) {
    const Ended ended = dataset(more);
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.err,
                testing::AllOf(HasSubstr("'01JXSC00000000000000000001', which a consolidation holds"),
                               HasSubstr("Catalog does not have it any more"),
                               HasSubstr("the batches that it holds are used instead (01JXSC00000000000000000003, "
                                         "01JXSC00000000000000000002)")));
    const auto shown = parseObject(ended.out);
    EXPECT_EQ(shown->getArray(more.empty() ? "batch_ids" : "batches")->size(), 2U);
  }
}

TEST_F(LivePlatform, APartThatIsReplacedMeanwhileIsLeftOutAlone) {
  startLive(R"(, "consolidation_marked": false, "faults": [
      {"match": {"path": "/export/batches/01JXSC00000000000000000002/files"}, "times": -1,
       "do": {"status": 404, "body": {"type": "DTAC-4045", "title": "Batch not found"}}},
      {"match": {"path": "/catalog/batches/01JXSC00000000000000000002"}, "skip": 1, "times": -1,
       "do": {"status": 200, "body": {"01JXSC00000000000000000002": {"status": "inactive", "created": 1700000000000}}}}])");
  const Ended ended = dataset();
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)),
              testing::ElementsAre("01JXSC00000000000000000003", "01JXSC00000000000000000001"));
  EXPECT_THAT(ended.err, HasSubstr("which a consolidation holds, is left out"));
}

TEST_F(LivePlatform, APredecessorThatCannotBeLookedUpSpoilsItsHeirAlone) {
  startWith(R"({"batches": 3, "records": 60, "tracking_batches": false, "consolidations": 0, "faults": [
      {"match": {"path": "/catalog/batches/NOTTHERE"}, "times": -1, "do": {"status": 503, "body": ""}}]})");
  post("/_simulator/batch", R"({"id": "01JXSC00000000000000000002", "predecessors": ["NOTTHERE"]})");
  const std::vector<std::string> sync{"sync", "--id", kScoreDataset, "--retries", "0"};
  std::vector<std::string> preview = sync;
  preview.emplace_back("--dry-run");
  const Ended seen = run(preview);
  EXPECT_EQ(seen.code, 7) << seen.err;
  EXPECT_THAT(seen.out, HasSubstr("01JXSC00000000000000000002 would not be downloaded: batch 'NOTTHERE'"));
  const Ended first = run(sync);
  EXPECT_EQ(first.code, 7) << "the platform was not to be had for one of them";
  EXPECT_THAT(first.err, HasSubstr("which batch 01JXSC00000000000000000002 replaces, could not be looked up"));
  const auto isHere = [&](int number) {
    return std::filesystem::exists(folder_ / "out" / kScoreDataset /
                                   ("01JXSC0000000000000000000" + std::to_string(number)) / "_manifest.json");
  };
  EXPECT_TRUE(isHere(1) && !isHere(2) && isHere(3));
  changeScenario(R"({"faults": [{"match": {"path": "/catalog/batches/NOTTHERE"}, "times": -1, "do": {"status": 400,
      "body": {"type": "/placeholder/type/uri", "status": 400, "title": "BadRequestError", "detail": "no id"}}}]})");
  const Ended second = run(sync);
  EXPECT_EQ(second.code, 0) << "what stays odd holds nothing up: " << second.err;
  EXPECT_THAT(second.err, HasSubstr("what that one replaced is not known"));
  EXPECT_TRUE(isHere(2)) << "the mark had stayed before it";
}

TEST_F(LivePlatform, SyncFetchesTheOrdinaryOnesAndAsksForTheRestOnce) {
  for (const char* marked : {"true", "false"}) {
    simulator_.reset();
    std::filesystem::remove(folder_ / "port");
    startLive(std::string(R"(, "consolidation_marked": )") + marked);
    const std::vector<std::string> sync{"sync",
                                        "--id",
                                        kScoreDataset,
                                        "--created-client",
                                        "any",
                                        "--output",
                                        path(std::string("sync-") + marked),
                                        "--database",
                                        path(std::string(marked) + ".db")};
    const Ended first = run(sync);
    ASSERT_EQ(first.code, 0) << first.err;
    const auto files = platformState()
                           ->getObject("requests")
                           ->getValue<std::uint64_t>("GET /data/foundation/export/batches/{id}/files");
    const Ended second = run(sync);
    EXPECT_EQ(second.code, 0) << second.err;
    EXPECT_THAT(second.out, HasSubstr("nothing new"));
    EXPECT_EQ(platformState()
                  ->getObject("requests")
                  ->getValue<std::uint64_t>("GET /data/foundation/export/batches/{id}/files"),
              files);
    for (int batch = 1; batch <= 3; ++batch) {
      EXPECT_TRUE(std::filesystem::exists(folder_ / (std::string("sync-") + marked) / kScoreDataset /
                                          ("01JXSC0000000000000000000" + std::to_string(batch)) / "_manifest.json"));
    }
  }
}

TEST_F(LivePlatform, ANamedBatchMustBeOneOfTheDatasetsThatCanBeRead) {
  startLive();
  const Ended tracking = run({"dataset", "--id", kScoreDataset, "--batch", kTracking});
  EXPECT_EQ(tracking.code, 4);
  EXPECT_THAT(tracking.err, HasSubstr("holds no rows of the dataset"));
  const Ended other = run({"dataset", "--id", "5f0000000000000000010001", "--batch", kNewest});
  EXPECT_EQ(other.code, 4);
  EXPECT_THAT(other.err, testing::AllOf(HasSubstr(kScoreDataset), HasSubstr("5f0000000000000000010001")));
  const Ended consolidation = run({"dataset", "--id", kScoreDataset, "--batch", kConsolidation});
  EXPECT_EQ(consolidation.code, 0) << consolidation.err;
}

TEST_F(LivePlatform, PagesThatDieAreAskedForAgainSmaller) {
  startLive(R"(, "slow_pages": 2)");
  const Ended ended = dataset({"--all"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(batchesOf(parseObject(ended.out)), testing::SizeIs(3));
}

TEST_F(LivePlatform, FoldersOfPartitionsAreFollowed) {
  startLive(R"(, "partition_folders": true, "duplicate_names": true, "file_names": ["same.parquet", "same.parquet"])");
  const Ended ended = dataset();
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto job = parseObject(ended.out);
  EXPECT_EQ(job->getValue<int>("files"), 2);
  EXPECT_EQ(job->getValue<int>("records"), 200);
}

TEST_F(LivePlatform, ABatchReplacedBeforeItsFilesAreListedIsChosenAgainOnce) {
  startWith(R"({"batches": 1, "faults": [{"match": {"path": "/export/batches/.*/files"}, "times": 1,
      "do": {"status": 404, "body": {"type": "DTAC-4045", "title": "Batch not found"}}},
     {"match": {"path": "/catalog/batches/01"}, "times": 1,
      "do": {"status": 200, "body": {"01JXSC00000000000000000001": {"status": "inactive", "created": 1700000000000}}}}]})");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("chosen again"));
}

TEST_F(LivePlatform, A404OfAProxyIsNoWordOfThePlatform) {
  startWith(
      R"({"faults": [{"match": {"path": "/catalog/batches/"}, "times": -1, "do": {"status": 404, "body_html": "<h1>404</h1>"}}]})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--batch", kNewest});
  EXPECT_EQ(ended.code, 8);
  EXPECT_THAT(ended.err, HasSubstr("answered by something that is not the platform"));
}

TEST_F(LivePlatform, AudiencesByTheThousandInEachOfManyJobsStayWithinTheirMemory) {
  if (support::kSanitized) GTEST_SKIP() << "NOT CHECKED: the memory of a program with sanitizers is mostly theirs";
  // Half a megabyte a job, whatever is asked for first; the definition says nothing.
  startWith(R"({"records": 40, "nightly_evaluations": 60, "audiences_evaluated": 1600, "definition_metrics": false,
                "ignore_sort": true})");
  const std::vector<std::string> segment{"segment", "--id", kSegment, "--poll-interval", "50ms", "--poll-max", "0.1s"};
  std::vector<std::string> fresh = segment;
  fresh.insert(fresh.end(), {"--max-age", "25h"});
  const auto process = start(fresh);
  ASSERT_EQ(process->wait(), 0) << process->errors();
  EXPECT_THAT(process->errors(), HasSubstr("was last evaluated"));
  EXPECT_LT(process->mostMemory(), 64U << 20U);
  RecordProperty("most_memory", std::to_string(process->mostMemory()));
  std::vector<std::string> old = segment;
  old.insert(old.end(), {"--max-age", "1s"});
  EXPECT_EQ(run(old).code, 12);
}

TEST_F(LivePlatform, SnapshotsAreMarkedAndSyncSaysWhatTheyMean) {
  startWith(
      R"({"snapshot": true, "created_client": "aep_core_profile_snapshot", "replay": true, "superseded_status": "inactive"})");
  EXPECT_THAT(run({"datasets", "--format", "csv"}).out, HasSubstr(",snapshot,"));
  const Ended ended = run({"sync", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("--replayed delete keeps one copy"));
  EXPECT_THAT(run({"sync", "--id", kScoreDataset}).err, Not(HasSubstr("--replayed delete")));
}

TEST_F(LivePlatform, OddEntriesAndTheFutureHoldNothingUp) {
  const std::string faults =
      R"("faults": [{"match": {"path": "/catalog/batches\\?"}, "times": 1, "do": {"status": 200, "body": {
      "01JXSC00000000000000000002": {"status": "success", "created": 4102444800000, "createdClient": "acp_foundation_push"},
      "01JXSC00000000000000000001": {"status": "success", "created": 1795000000000, "createdClient": "acp_foundation_push"},
      "01JXSC00000000000000000009": {"status": "success", "created": null, "createdClient": "acp_foundation_push"}}}}]})";
  startWith(R"({"batches": 2, "records": 60, )" + faults);
  const Ended preview = run({"sync", "--id", kScoreDataset, "--dry-run"});
  EXPECT_EQ(preview.code, 8) << preview.err;
  EXPECT_THAT(preview.out,
              HasSubstr("01JXSC00000000000000000009 would not be downloaded: its entry in Catalog is not valid"));
  changeScenario("{" + faults);
  const Ended ended = run({"sync", "--id", kScoreDataset, "--format", "json"});
  EXPECT_EQ(ended.code, 8) << ended.err;
  EXPECT_THAT(ended.err, testing::AllOf(HasSubstr("01JXSC00000000000000000009"), HasSubstr("created is missing")));
  EXPECT_TRUE(
      std::filesystem::exists(folder_ / "out" / kScoreDataset / "01JXSC00000000000000000001" / "_manifest.json"));
  EXPECT_TRUE(
      std::filesystem::exists(folder_ / "out" / kScoreDataset / "01JXSC00000000000000000002" / "_manifest.json"));
}

TEST_F(LivePlatform, OfThousandsOfOddEntriesAFewAreNamedAndAllAreCounted) {
  std::string entries;
  for (int i = 0; i < 2'000; ++i) entries += (i == 0 ? "\"k" : ", \"k") + std::to_string(i) + "\": {}";
  startWith(R"({"faults": [{"match": {"path": "/catalog/batches\\?"}, "times": -1, "do": {"status": 200, "body": {)" +
            entries + "}}}]}");
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 8) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("1990 more batches are left out"));
  EXPECT_LT(std::ranges::count(ended.err, '\n'), 30) << ended.err;
}

}  // namespace
}  // namespace caiexport::binary
