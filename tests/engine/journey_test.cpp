#include "engine/journey.h"

#include <gmock/gmock.h>

#include <fstream>
#include <utility>

#include "caiexport/model/job.h"

namespace caiexport::engine {
namespace {

using namespace std::chrono_literals;
using core::Category;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

Outcome run(Journey::Process& process, const model::ExportRequest& request, const RunOptions& options = {}) {
  return process.runner.advance(process.runner.create(request).id, options, {});
}

std::vector<std::string> filesUnder(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) names.push_back(std::filesystem::relative(entry.path(), folder).string());
  }
  std::ranges::sort(names);
  return names;
}

TEST(DatasetJourney, BringsEveryFileOfTheNewestBatch) {
  Journey journey(R"({"files": 250, "batches": 130})");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.datasetRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(outcome.job.fileCount, 250U);
  EXPECT_EQ(outcome.job.totalBytes, 250U * 5000U);
  EXPECT_EQ(filesUnder(journey.directory / "out").size(), 252U) << "250 files, a manifest and the mark";
  EXPECT_THAT(process.observer.steps, ElementsAre("select_batches", "list_files", "download_files", "verify_files"));
  EXPECT_EQ(journey.world().statistics().datasetsCreated, 0U);
}

TEST(SegmentJourney, CreatesOneDatasetAndOneExportJob) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.segmentRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  const simulator::Statistics statistics = journey.world().statistics();
  EXPECT_EQ(statistics.datasetsCreated, 1U);
  EXPECT_EQ(statistics.exportJobsAccepted, 1U);
  EXPECT_EQ(statistics.unfilteredExports, 0U);
  EXPECT_TRUE(outcome.job.reportedProfiles.has_value());
  EXPECT_GT(outcome.job.fileCount, 0U);
  EXPECT_THAT(process.observer.statuses, Contains("PROCESSING"));
}

TEST(SegmentJourney, AWrongIdFailsBeforeAnythingIsCreated) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.sourceId = "00000000-0000-0000-0000-000000000000";
  const Outcome outcome = run(process, request);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::notFound);
  EXPECT_EQ(journey.world().statistics().datasetsCreated, 0U);
  EXPECT_EQ(model::statusOf(outcome.job, false), model::JobStatus::failed);
}

TEST(SegmentJourney, EvaluatesFirstWhenAsked) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.evaluate = true;
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(journey.world().statistics().segmentJobsAccepted, 1U);
  EXPECT_EQ(process.observer.steps.front(), "evaluate_segment");
}

TEST(SegmentJourney, WaitsGrowToTheirLimit) {
  Journey journey(R"({"export_polls": 12})");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.segmentRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  const std::vector<core::Duration>& waits = process.observer.waits;
  ASSERT_GE(waits.size(), 8U);
  EXPECT_EQ(waits[0], 10s);
  EXPECT_EQ(waits[1], 15s);
  EXPECT_TRUE(std::ranges::is_sorted(waits));
  EXPECT_EQ(waits.back(), 60s);
}

TEST(SegmentJourney, TheServersWordOnWaitsIsHeededWithinReason) {
  Journey journey(R"json({"export_polls": 9, "faults": [
      {"match": {"method": "GET", "path": "/export/jobs/7"}, "times": 1,
       "do": {"carry_out": true, "headers": {"Retry-After": "1"}, "body": {"id": 701, "status": "NEW"}}},
      {"match": {"method": "GET", "path": "/export/jobs/7"}, "times": 1,
       "do": {"carry_out": true, "headers": {"Retry-After": "86400"}, "body": {"id": 701, "status": "NEW"}}},
      {"match": {"method": "GET", "path": "/export/jobs/7"}, "times": 1,
       "do": {"carry_out": true, "headers": {"Retry-After": "40"}, "body": {"id": 701, "status": "NEW"}}}]})json");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.segmentRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  ASSERT_GE(process.observer.waits.size(), 3U);
  EXPECT_EQ(process.observer.waits[0], 10s) << "never closer than the interval";
  EXPECT_EQ(process.observer.waits[1], 5min) << "never longer than five minutes";
  EXPECT_EQ(process.observer.waits[2], 40s);
}

TEST(SegmentJourney, ATimeoutLeavesTheRemoteJobAndResumeWaitsAgain) {
  Journey journey(R"({"export_polls": 20})");
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.timeout = 90s;
  const Outcome first = run(process, request);
  ASSERT_TRUE(first.error);
  EXPECT_EQ(first.error->category(), Category::timedOut);
  EXPECT_EQ(model::statusOf(first.job, false), model::JobStatus::waiting);
  Outcome next = first;
  for (int tries = 0; next.error && tries < 20; ++tries) next = process.runner.advance(first.job.id, {}, {});
  EXPECT_FALSE(next.error);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

TEST(SegmentJourney, ATimeoutGoesByTheClockThatNobodySets) {
  for (const auto jump : {std::chrono::hours(-24 * 365), std::chrono::hours(24 * 365)}) {
    Journey journey(R"({"export_polls": 20})");
    Journey::Process process(journey);
    model::ExportRequest request = journey.segmentRequest();
    request.segment.timeout = 90s;
    process.observer.onWaiting = [&, jumped = false]() mutable {
      if (!std::exchange(jumped, true)) journey.clock.jumpTo(journey.clock.now() + jump);
    };
    const core::SteadyTime before = journey.clock.steadyNow();
    const Outcome outcome = run(process, request);
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->category(), Category::timedOut);
    const auto waited = journey.clock.steadyNow() - before;
    EXPECT_GE(waited, 90s);
    EXPECT_LT(waited, 180s);
  }
}

TEST(SegmentJourney, NoWaitLeavesAndResumeFinishes) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome left = run(process, journey.segmentRequest(), {.leaveAtWait = true});
  ASSERT_FALSE(left.error) << left.error->what();
  EXPECT_EQ(model::statusOf(left.job, false), model::JobStatus::waiting);
  EXPECT_FALSE(left.job.exportJobId.empty());
  const Outcome outcome = process.runner.advance(left.job.id, {}, {});
  EXPECT_FALSE(outcome.error);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

class BatchForms : public testing::TestWithParam<const char*> {};

TEST_P(BatchForms, OfTheExportJobAreAllFound) {
  Journey journey(GetParam());
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.segmentRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(outcome.job.batches.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Forms, BatchForms,
                         testing::Values(R"({"batches_form": "id"})", R"({"batches_form": "array"})",
                                         R"({"batches_form": "object"})", R"({"batches_form": "none"})",
                                         R"({"dataset_id_key": "dataSetId", "dataset_reply": "lower"})",
                                         R"({"batch_visible_after_polls": 3})",
                                         R"({"unknown_status": "TRANSMOGRIFYING"})", R"({"batch_status": "active"})"));

TEST(SegmentJourney, ErrorsInsideASucceededJobAreReported) {
  Journey journey(R"({"export_result": "SUCCEEDED_WITH_ERRORS"})");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.segmentRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("reports errors")));
}

TEST(SegmentJourney, AFailedExportIsTold) {
  for (const char* result : {"FAILED", "CANCELLED"}) {
    Journey journey(std::string(R"({"export_result": ")") + result + "\"}");
    Journey::Process process(journey);
    const Outcome outcome = run(process, journey.segmentRequest());
    ASSERT_TRUE(outcome.error) << result;
    EXPECT_EQ(outcome.error->category(), Category::remoteFailed);
    EXPECT_THAT(outcome.error->what(), HasSubstr(result));
    EXPECT_EQ(model::statusOf(outcome.job, false), model::JobStatus::failed);
  }
}

TEST(SegmentJourney, TheDatasetIsDeletedOnlyWhenAsked) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.deleteDataset = true;
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(journey.world().statistics().datasetsDeleted, 1U);
}

/// The platform's may be the only other copy.
TEST(SegmentJourney, TheDatasetIsDeletedOnlyOnceItsFilesAreWhole) {
  for (const bool gone : {true, false}) {
    Journey journey(R"json({"faults": [{"match": {"method": "DELETE", "path": "/dataSets/"}, "times": -1,
        "do": {"status": 403, "body": {"title": "Forbidden"}}}]})json");
    Journey::Process process(journey);
    model::ExportRequest request = journey.segmentRequest();
    request.segment.deleteDataset = true;
    const Outcome kept = run(process, request);
    ASSERT_TRUE(kept.error);
    const auto whole = contentOf(journey.directory / "out");
    ASSERT_FALSE(whole.empty());
    const std::filesystem::path file = journey.directory / "out" / whole.begin()->first;
    if (gone) {
      std::filesystem::remove(file);
    } else {
      std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).put('!');
    }
    journey.world().change(R"({"faults": []})");
    const Outcome outcome = process.runner.advance(kept.job.id, {}, {});
    ASSERT_FALSE(outcome.error) << outcome.error->what();
    EXPECT_EQ(journey.world().statistics().datasetsDeleted, 1U);
    EXPECT_EQ(contentOf(journey.directory / "out"), whole) << gone;
  }
}

TEST(SegmentJourney, AReusedDatasetDoesNotAdoptAnEarlierExport) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome first = run(process, journey.segmentRequest());
  ASSERT_FALSE(first.error) << first.error->what();
  journey.clock.advance(1h);
  model::ExportRequest again = journey.segmentRequest();
  again.segment.targetDataset = first.job.datasetId;
  const Outcome second = run(process, again);
  ASSERT_FALSE(second.error) << second.error->what();
  EXPECT_NE(second.job.exportJobId, first.job.exportJobId);
  EXPECT_NE(second.job.batches.front().id, first.job.batches.front().id);
  EXPECT_EQ(journey.world().statistics().datasetsCreated, 1U);
}

// --- answers lost

constexpr const char* kLoseDatasetAnswer =
    R"({"faults": [{"match": {"method": "POST", "path": "/dataSets"}, "times": 1, "do": {"take_then_lose": true}}]})";
constexpr const char* kLoseExportAnswer =
    R"({"faults": [{"match": {"method": "POST", "path": "/export/jobs"}, "times": 1, "do": {"take_then_lose": true}}]})";
constexpr const char* kLoseExportRequest =
    R"({"faults": [{"match": {"method": "POST", "path": "/export/jobs"}, "times": 1, "do": {"close_without_answer": true}}]})";

TEST(InDoubt, AnAnswerLostIsLookedUpNotRepeated) {
  for (const char* scenario : {kLoseDatasetAnswer, kLoseExportAnswer, kLoseExportRequest}) {
    Journey journey(scenario);
    Journey::Process process(journey);
    const Outcome outcome = run(process, journey.segmentRequest());
    ASSERT_FALSE(outcome.error) << scenario << ": " << outcome.error->what();
    EXPECT_EQ(journey.world().statistics().datasetsCreated, 1U) << scenario;
    EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U) << scenario;
  }
}

TEST(InDoubt, ALookUpThatIsForbiddenBlocksAndTheUserDecides) {
  const std::string scenario = R"json({"faults": [
      {"match": {"method": "POST", "path": "/export/jobs"}, "times": 1, "do": {"take_then_lose": true}},
      {"match": {"method": "GET", "path": "/export/jobs(\\?|$)"}, "times": -1,
       "do": {"status": 403, "body": "{\"error_code\": \"403025\", \"message\": \"Profile is not valid\"}"}}]})json";
  Journey journey(scenario);
  Journey::Process process(journey);
  const Outcome blocked = run(process, journey.segmentRequest());
  ASSERT_TRUE(blocked.error);
  EXPECT_EQ(blocked.error->category(), Category::blocked) << blocked.error->what();
  EXPECT_THAT(blocked.error->hint(), HasSubstr("--resubmit"));
  EXPECT_EQ(model::statusOf(blocked.job, false), model::JobStatus::blocked);
  EXPECT_THROW(process.runner.decide(blocked.job.id, {.adopt = "999999"}, {}), core::Error);
  journey.world().change(R"({"faults": []})");
  process.runner.decide(blocked.job.id, {.resubmit = true}, {});
  EXPECT_FALSE(process.runner.advance(blocked.job.id, {}, {}).error);
}

// --- stopping

TEST(Stopping, DuringAWaitIsResumable) {
  Journey journey(R"({"export_polls": 6})");
  Journey::Process process(journey);
  std::stop_source stop;
  journey.clock.stopAtSleep(3, stop);
  const Outcome stopped =
      process.runner.advance(process.runner.create(journey.segmentRequest()).id, {}, stop.get_token());
  ASSERT_TRUE(stopped.error);
  EXPECT_EQ(stopped.error->category(), Category::interrupted);
  EXPECT_FALSE(process.runner.advance(stopped.job.id, {}, {}).error);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

class Cancelling : public testing::Test {
 protected:
  model::Job cancel(Journey::Process& process, model::JobId job) {
    return cancelJob({.store = process.store,
                      .jobLocks = process.locks,
                      .connect = [&](const model::Job&) -> platform::Client& {
                        ++connections_;
                        return process.client;
                      }},
                     job, {});
  }

  static auto asked(const std::string& what) { return Contains(testing::Key(HasSubstr("DELETE " + what))); }

  int connections_ = 0;
};

TEST_F(Cancelling, EndsALeftJobAndAsksThePlatform) {
  Journey journey(R"({"export_polls": 6})");
  Journey::Process process(journey);
  const Outcome left = run(process, journey.segmentRequest(), {.leaveAtWait = true});
  const model::Job cancelled = cancel(process, left.job.id);
  EXPECT_TRUE(cancelled.cancelled);
  EXPECT_EQ(model::statusOf(cancelled, false), model::JobStatus::cancelled);
  EXPECT_THAT(journey.world().statistics().requests, asked("/data/core/ups/export/jobs"));
  EXPECT_THROW(process.runner.advance(left.job.id, {}, {}), core::Error);
}

TEST_F(Cancelling, EndsTheSegmentJobOfAnEvaluation) {
  Journey journey(R"({"segment_job_polls": 6})");
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.evaluate = true;
  const Outcome left = run(process, request, {.leaveAtWait = true});
  EXPECT_TRUE(cancel(process, left.job.id).cancelled);
  EXPECT_THAT(journey.world().statistics().requests, asked("/data/core/ups/segment/jobs"));
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 0U);
}

TEST_F(Cancelling, NeedsThePlatformOnlyWhereItIsAtWork) {
  Journey journey;
  Journey::Process process(journey);
  const model::Job dataset = process.runner.create(journey.datasetRequest());
  EXPECT_TRUE(cancel(process, dataset.id).cancelled);
  const model::Job segment = process.runner.create(journey.segmentRequest());
  EXPECT_TRUE(cancel(process, segment.id).cancelled);
  EXPECT_EQ(connections_, 0);
}

TEST_F(Cancelling, RecordsNothingWhereTheSettingsDoNotFit) {
  Journey journey(R"({"export_polls": 6})");
  Journey::Process process(journey);
  const Outcome left = run(process, journey.segmentRequest(), {.leaveAtWait = true});
  const auto refuse = [](const model::Job&) -> platform::Client& {
    throw core::Error(Category::config, "other settings");
  };
  EXPECT_THROW(cancelJob({.store = process.store, .jobLocks = process.locks, .connect = refuse}, left.job.id, {}),
               core::Error);
  EXPECT_FALSE(process.store.isCancelRequested(left.job.id));
}

/// The request comes while the platform takes the export: nobody but the run itself knows of it.
TEST_F(Cancelling, AnExportThatBeganMeanwhileIsCancelledByTheRun) {
  for (const bool evaluates : {false, true}) {
    Journey journey(R"({"export_polls": 6, "segment_job_polls": 6})");
    Journey::Process process(journey);
    model::ExportRequest request = journey.segmentRequest();
    request.segment.evaluate = evaluates;
    const model::Job job = process.runner.create(request);
    journey.onRequest = [&](const std::string& call) {
      const bool taken =
          call.starts_with("after POST") && call.find(evaluates ? "segment/jobs" : "export/jobs") != call.npos;
      if (taken) process.store.requestCancel(job.id);
    };
    const Outcome outcome = process.runner.advance(job.id, {}, {});
    ASSERT_TRUE(outcome.error);
    EXPECT_TRUE(outcome.job.cancelled);
    EXPECT_THAT(journey.world().statistics().requests,
                asked(evaluates ? "/data/core/ups/segment/jobs" : "/data/core/ups/export/jobs"));
  }
}

/// Nobody knows then whether the platform goes on: the job must not say that it is cancelled.
TEST_F(Cancelling, ThatThePlatformDoesNotTakeIsAskedForAgain) {
  Journey journey(R"json({"export_polls": 100, "faults": [
      {"match": {"method": "DELETE", "path": "/export/jobs"}, "times": -1, "do": {"status": 500, "body": {"title": "x"}}}
      ]})json");
  Journey::Process running(journey);
  Journey::Process other(journey);
  const model::Job job = running.runner.create(journey.segmentRequest());
  bool asked = false;
  running.observer.onWaiting = [&] {
    if (std::exchange(asked, true)) return;
    EXPECT_THROW(cancel(other, job.id), core::TransientError);
  };
  const Outcome outcome = running.runner.advance(job.id, {}, {});
  ASSERT_TRUE(asked);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::unavailable);
  EXPECT_THAT(outcome.error->what(), HasSubstr("the platform's job may go on"));
  EXPECT_FALSE(outcome.job.cancelled);
  EXPECT_THROW(cancel(other, job.id), core::TransientError);
  EXPECT_FALSE(other.store.load(job.id).cancelled);
  journey.world().change(R"({"faults": []})");
  EXPECT_TRUE(cancel(other, job.id).cancelled);
  EXPECT_THAT(other.client.findExportJob(outcome.job.exportJobId, {})->status, testing::StartsWith("CANCEL"));
}

// --- the data

TEST(DatasetJourney, NoBatchNamesWhatWasLookedFor) {
  Journey journey(R"({"created_client": "someone_else"})");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.datasetRequest());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::notFound);
  EXPECT_THAT(outcome.error->what(), HasSubstr(kScoreDataset));
  EXPECT_THAT(outcome.error->what(), HasSubstr("prod"));
  EXPECT_THAT(outcome.error->what(), HasSubstr("acp_foundation_push"));
  EXPECT_THAT(outcome.error->hint(), HasSubstr("24 hours"));
  EXPECT_THAT(outcome.error->hint(), HasSubstr("someone_else"));
}

TEST(DatasetJourney, ASecondRunTransfersNothing) {
  Journey journey;
  Journey::Process process(journey);
  ASSERT_FALSE(run(process, journey.datasetRequest()).error);
  const std::uint64_t served = journey.world().statistics().fileBytesServed;
  const Outcome again = run(process, journey.datasetRequest());
  ASSERT_FALSE(again.error) << again.error->what();
  EXPECT_EQ(journey.world().statistics().fileBytesServed, served);
  EXPECT_THAT(process.observer.notices, Contains("all files are here already"));
}

TEST(DatasetJourney, WhatAKilledProcessLeftOfAManifestGoes) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome first = run(process, journey.datasetRequest());
  ASSERT_FALSE(first.error) << first.error->what();
  const auto folder = journey.directory / "out" / kScoreDataset / first.job.batches.front().id.value();
  // Another job's, or somebody's, stays.
  std::ofstream(folder / "_manifest.json.8368.part") << "half";
  const model::Job again = process.runner.create(journey.datasetRequest());
  std::ofstream(transfer::partPathFor(folder / "_manifest.json", transfer::partTagOf(again.uuid))) << "half";
  ASSERT_FALSE(process.runner.advance(again.id, {}, {}).error);
  EXPECT_EQ(std::ranges::count_if(filesUnder(folder), [](const std::string& name) { return name.ends_with(".part"); }),
            1);
}

/// Another one knows nothing of the files.
void loseDatabase(const Journey& journey) {
  for (const char* name : {"jobs.db", "jobs.db-wal", "jobs.db-shm"}) std::filesystem::remove(journey.directory / name);
}

TEST(DatasetJourney, AForeignManifestIsNotOverwritten) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome first = run(process, journey.datasetRequest());
  ASSERT_FALSE(first.error);
  const auto manifest =
      journey.directory / "out" / kScoreDataset / first.job.batches.front().id.value() / "_manifest.json";
  std::ofstream(manifest) << "my own";
  const Outcome refused = run(process, journey.datasetRequest());
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->category(), Category::io);
  std::string text;
  std::getline(std::ifstream(manifest), text);
  EXPECT_EQ(text, "my own");
}

TEST(DatasetJourney, ALostDatabaseIsNotALostDownload) {
  Journey journey;
  Journey::Process process(journey);
  ASSERT_FALSE(run(process, journey.datasetRequest()).error);
  loseDatabase(journey);
  const std::uint64_t served = journey.world().statistics().fileBytesServed;
  Journey::Process other(journey);
  const Outcome again = run(other, journey.datasetRequest());
  ASSERT_FALSE(again.error) << again.error->what();
  EXPECT_EQ(journey.world().statistics().fileBytesServed, served);
  EXPECT_THAT(other.observer.notices, Contains("all files are here already"));
}

TEST(DatasetJourney, AForeignFileIsNotOverwritten) {
  Journey journey;
  Journey::Process process(journey);
  const Outcome first = run(process, journey.datasetRequest());
  ASSERT_FALSE(first.error);
  loseDatabase(journey);
  const auto folder = journey.directory / "out" / kScoreDataset / first.job.batches.front().id.value();
  const std::string name = filesUnder(folder).back();
  std::fstream(folder / name, std::ios::binary | std::ios::in | std::ios::out) << "precious";
  Journey::Process other(journey);
  model::ExportRequest request = journey.datasetRequest();
  const Outcome refused = run(other, request);
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->category(), Category::io);
  EXPECT_THAT(refused.error->hint(), HasSubstr("--force"));
  request.force = true;
  EXPECT_FALSE(run(other, request).error);
}

TEST(DatasetJourney, RowsThatDoNotAddUpFailTheJobAndKeepTheFiles) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.verify = model::VerifyLevel::footer;
  journey.rowsPerFile = 7;
  const Outcome outcome = run(process, request);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::verification);
  EXPECT_THAT(outcome.error->what(), HasSubstr("1000"));
  EXPECT_THAT(outcome.error->what(), HasSubstr("21"));
  EXPECT_EQ(filesUnder(journey.directory / "out").size(), 3U);
}

TEST(DatasetJourney, RowsThatWereAcceptedOnceAreAcceptedAgain) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.verify = model::VerifyLevel::footer;
  journey.rowsPerFile = 7;
  const Outcome failed = run(process, request);
  ASSERT_TRUE(failed.error);
  ASSERT_FALSE(process.runner.advance(failed.job.id, {.acceptRows = true}, {}).error);
  const Outcome again = run(process, request);
  ASSERT_FALSE(again.error) << again.error->what();
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("holds 21, which were accepted earlier")));
  journey.rowsPerFile = 8;
  EXPECT_TRUE(run(process, request).error) << "another number was never accepted";
}

TEST(DatasetJourney, FilesThatShareANameGoIntoTheirOwnFolders) {
  Journey journey(R"({"duplicate_names": true, "dataset_files": 2, "files": 4})");
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.datasetRequest());
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(filesUnder(journey.directory / "out").size(), outcome.job.fileCount + 2);
}

TEST(DatasetJourney, ReplacedBatchesAreLeftOutAndNamed) {
  Journey journey(R"({"replay": true})");
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.batches.limit = std::nullopt;
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("is left out: a newer batch replaces it")));
  request.batches.includeReplaced = true;
  const Outcome all = run(process, request);
  ASSERT_FALSE(all.error) << all.error->what();
  EXPECT_GT(all.job.batches.size(), outcome.job.batches.size());
}

TEST(DatasetJourney, ALinkInPlaceOfAFolderIsRefused) {
  Journey journey;
  std::filesystem::create_directories(journey.directory / "out");
  std::filesystem::create_directories(journey.directory / "elsewhere");
  std::filesystem::create_symlink(journey.directory / "elsewhere", journey.directory / "out" / kScoreDataset);
  Journey::Process process(journey);
  const Outcome outcome = run(process, journey.datasetRequest());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::io);
  EXPECT_TRUE(filesUnder(journey.directory / "elsewhere").empty());
}

// --- resuming

TEST(Resuming, ElsewhereIsRefused) {
  model::Job job;
  job.request = {.orgId = "A@AdobeOrg", .sandbox = "prod", .baseUrl = "https://one.example"};
  EXPECT_NO_THROW(Runner::requireSame(job, {"A@AdobeOrg", "prod", "https://one.example"}));
  for (const Surroundings& other : {Surroundings{"B@AdobeOrg", "prod", "https://one.example"},
                                    Surroundings{"A@AdobeOrg", "dev", "https://one.example"},
                                    Surroundings{"A@AdobeOrg", "prod", "https://two.example"}}) {
    EXPECT_THROW(Runner::requireSame(job, other), core::Error);
  }
}

TEST(Resuming, HoldsWhatAnEarlierRunBroughtAgainstItsHash) {
  for (const auto verify : {model::VerifyLevel::size, model::VerifyLevel::footer}) {
    Journey journey(R"({"files": 3})");
    Journey::Process process(journey);
    model::ExportRequest request = journey.datasetRequest();
    request.verify = verify;
    request.guards.minRecords = 1;  // so that rows are counted, and are too few
    const Outcome failed = run(process, request);
    ASSERT_TRUE(failed.error);
    const auto content = contentOf(journey.directory / "out");
    const std::filesystem::path changed = journey.directory / "out" / content.begin()->first;
    std::fstream(changed, std::ios::binary | std::ios::in | std::ios::out).seekp(60).put('\x7f');
    ASSERT_NE(contentOf(journey.directory / "out"), content);
    process.runner.advance(failed.job.id, {}, {});
    EXPECT_EQ(contentOf(journey.directory / "out"), content);
    EXPECT_THAT(process.observer.notices, Contains(HasSubstr("was changed since it was fetched")));
  }
}

TEST(Resuming, NoticesABatchThatWasWithdrawn) {
  Journey journey(R"({"faults": [{"match": {"path": "path="}, "times": 100, "do": {"status": 503}}]})");
  Journey::Process process(journey);
  const Outcome first = run(process, journey.datasetRequest());
  ASSERT_TRUE(first.error);
  EXPECT_EQ(first.error->category(), Category::unavailable);
  EXPECT_EQ(model::statusOf(first.job, false), model::JobStatus::interrupted);
  journey.world().change(R"({"faults": []})");
  journey.world().handle(
      {.method = "POST",
       .target = "/_simulator/batch",
       .headers = {{"Content-Type", "application/json"}},
       .body = R"({"id": ")" + first.job.batches.front().id.value() + R"(", "status": "inactive"})"});
  const Outcome second = process.runner.advance(first.job.id, {}, {});
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->category(), Category::notFound) << second.error->what();
  EXPECT_THAT(second.error->what(), HasSubstr("since it was chosen"));
}

}  // namespace
}  // namespace caiexport::engine
