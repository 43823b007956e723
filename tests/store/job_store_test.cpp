#include "caiexport/store/job_store.h"

#include <sqlite3.h>

#include <string_view>

#include "store/store_fixture.h"
#include "support/statement_count.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::TimePoint;
using model::JobId;
using model::StepName;
using model::StepState;
using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const model::JobError kError{.category = core::Category::remoteFailed,
                             .message = "the export job failed",
                             .requestId = "req-1",
                             .hint = "look at it"};

class JobStoreTest : public StoreTest {
 protected:
  model::Step stepOf(JobId job, StepName name) {
    for (const model::Step& step : store().load(job).steps) {
      if (step.name == name) return step;
    }
    ADD_FAILURE() << "no such step";
    return {};
  }

  std::string stored(JobId job, const std::string& column) {
    Query row(database(), "SELECT " + column + " FROM job WHERE id = ?");
    return row.with(model::numberOf(job)).next() ? row.text(0) : "";
  }

  /// Brings a step of a new segment job into a state by legal ways.
  JobId jobWith(StepName step, StepState state) {
    const JobId job = newJob(segmentRequest()).id;
    switch (state) {
      case StepState::pending:
        break;
      case StepState::intended:
        store().intend(job, step, clock_.now(), false);
        break;
      case StepState::waiting:
        store().setWaiting(job, step, "QUEUED", {});
        break;
      case StepState::done:
        store().finishStep(job, step, {});
        break;
      case StepState::failed:
        store().failStep(job, step, kError);
        break;
      case StepState::blocked:
        store().intend(job, step, clock_.now(), false);
        store().blockStep(job, step, kError);
        break;
    }
    return job;
  }

  void goTo(JobId job, StepName step, StepState state) {
    switch (state) {
      case StepState::pending:
        return store().unblock(job, step);
      case StepState::intended:
        return store().intend(job, step, clock_.now(), false);
      case StepState::waiting:
        return store().setWaiting(job, step, "QUEUED", {});
      case StepState::done:
        return store().finishStep(job, step, {});
      case StepState::failed:
        return store().failStep(job, step, kError);
      case StepState::blocked:
        return store().blockStep(job, step, kError);
    }
  }
};

TEST_F(JobStoreTest, eachOfManyBatchesIsRecordedByOneStatement) {
  if (database().server() != nullptr) GTEST_SKIP() << "NOT CHECKED: the statements of a server are not counted";
  const JobId job = newJob().id;
  std::vector<model::Batch> batches;
  for (int n = 0; n < 500; ++n) batches.push_back(batchNamed("b" + std::to_string(n)));
  batches[3].predecessors = {model::BatchId("old")};
  for (const bool again : {false, true}) {
    const support::StatementCount count(database());
    store().finishStep(job, StepName::selectBatches, {.batches = batches});
    EXPECT_LE(count.statements(), 530U) << again;
  }
  EXPECT_EQ(store().load(job).batches[3].predecessors, batches[3].predecessors);
  batches[3].predecessors.clear();
  store().finishStep(job, StepName::selectBatches, {.batches = batches});
  EXPECT_THAT(store().load(job).batches[3].predecessors, IsEmpty());
  const support::StatementCount count(database());
  EXPECT_THAT(store().load(job).batches, SizeIs(500));
  EXPECT_LE(count.statements(), 8U);
}

TEST_F(JobStoreTest, manyBatchesAreReadWithoutBeingSorted) {
  if (database().server() != nullptr) GTEST_SKIP() << "NOT CHECKED: how a server reads is not counted";
  const JobId job = jobWithBatches({"b2", "b1", "b3"}).id;
  store().finishStep(job, StepName::selectBatches, {.batches = std::vector{batchNamed("b3"), batchNamed("b2")}});
  const auto sorted = [&] {
    int times = 0;
    sqlite3* const handle = database().connection().getHandle();
    for (sqlite3_stmt* each = sqlite3_next_stmt(handle, nullptr); each; each = sqlite3_next_stmt(handle, each)) {
      const std::string_view sql = sqlite3_sql(each);
      if (sql.find("replay_reason FROM batch") != sql.npos) {
        times += 1 + 1000 * sqlite3_stmt_status(each, SQLITE_STMTSTATUS_SORT, 0);
      }
    }
    return times;
  };
  const auto batches = store().load(job).batches;
  ASSERT_THAT(batches, SizeIs(2));
  EXPECT_EQ(batches[0].id.value(), "b3");
  EXPECT_EQ(sorted(), 1) << "one such statement, and 1000 for each time it sorted";
  EXPECT_THAT(store().outline(job).batches, IsEmpty());
  EXPECT_EQ(store().outline(job).steps.size(), store().load(job).steps.size());
}

TEST_F(JobStoreTest, aNewJobHasItsPlanAndNothingElse) {
  const auto request = segmentRequest();
  const model::Job job = store().createJob(request, "the-uuid", model::makePlan(request));
  EXPECT_EQ(job.id, JobId(1));
  EXPECT_EQ(job.uuid, "the-uuid");
  EXPECT_EQ(job.createdAt, clock_.now());
  EXPECT_EQ(job.updatedAt, clock_.now());
  EXPECT_FALSE(job.finishedAt);
  EXPECT_FALSE(job.error);
  EXPECT_TRUE(job.datasetId.empty());
  EXPECT_THAT(job.batches, IsEmpty());
  std::vector<StepName> names;
  for (const auto& step : job.steps) {
    names.push_back(step.name);
    EXPECT_EQ(step.state, StepState::pending);
    EXPECT_EQ(step.attempts, 0U);
  }
  EXPECT_EQ(names, model::makePlan(request));
  EXPECT_EQ(stored(job.id, "status"), "pending");
  EXPECT_EQ(stored(job.id, "step"), "create_dataset");
}

TEST_F(JobStoreTest, theDatasetIsKnownWhereTheRequestNamesIt) {
  EXPECT_EQ(newJob(datasetRequest()).datasetId.value(), datasetRequest().sourceId);
  auto reusing = segmentRequest();
  reusing.segment.targetDataset = model::DatasetId("target");
  EXPECT_EQ(newJob(reusing).datasetId.value(), "target");
}

TEST_F(JobStoreTest, findsAndMisses) {
  const JobId job = newJob().id;
  EXPECT_EQ(store().find(job).value().id, job);
  EXPECT_FALSE(store().find(JobId(99)));
  EXPECT_EQ(errorOf([&] { store().load(JobId(99)); }).category(), Category::notFound);
}

TEST_F(JobStoreTest, numbersAreNeverGivenTwice) {
  newJob();
  const JobId second = newJob().id;
  execute("DELETE FROM job WHERE id = 2");
  EXPECT_GT(newJob().id, second);
}

TEST_F(JobStoreTest, newestIsTheHighestNumberWhateverTheClockSays) {
  EXPECT_FALSE(store().newestJob());
  newJob();
  clock_.jumpTo(clock_.now() - minutes(60));
  const JobId second = newJob().id;
  EXPECT_EQ(store().newestJob(), second);
}

TEST_F(JobStoreTest, aJobAndAllThatHangsOnItGoTogether) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d1", "f")});
  const model::ByteRange range{.first = 0, .end = 5};
  store().recordRanges(filesOf(job).at(0).id, std::span(&range, 1));
  store().addEvent(job, {}, "started", "");
  execute("DELETE FROM job");
  for (const char* table : {"request", "step", "batch", "batch_predecessor", "file", "file_range", "event"}) {
    EXPECT_EQ(number(std::string("SELECT count(*) FROM ") + table), 0) << table;
  }
}

TEST_F(JobStoreTest, attemptsAreCounted) {
  const JobId job = newJob().id;
  const TimePoint first = clock_.now();
  store().beginAttempt(job, StepName::selectBatches);
  EXPECT_EQ(stored(job, "status"), "interrupted");
  clock_.advance(minutes(1));
  store().noteError(job, kError);
  clock_.advance(minutes(1));
  ASSERT_TRUE(store().load(job).error);
  store().beginAttempt(job, StepName::selectBatches);
  const auto step = stepOf(job, StepName::selectBatches);
  EXPECT_EQ(step.attempts, 2U);
  EXPECT_EQ(step.startedAt, first);
  EXPECT_EQ(step.state, StepState::pending);
  EXPECT_FALSE(store().load(job).error);
  EXPECT_EQ(store().load(job).updatedAt, clock_.now());
}

TEST_F(JobStoreTest, anIntentIsKeptUnlessRenewed) {
  const JobId job = newJob(segmentRequest()).id;
  const TimePoint first(milliseconds(1000));
  store().intend(job, StepName::createDataset, first, false);
  store().intend(job, StepName::createDataset, TimePoint(milliseconds(2000)), false);
  EXPECT_EQ(stepOf(job, StepName::createDataset).intendedAt, first);
  store().intend(job, StepName::createDataset, TimePoint(milliseconds(3000)), true);
  EXPECT_EQ(stepOf(job, StepName::createDataset).intendedAt, TimePoint(milliseconds(3000)));
  EXPECT_EQ(stepOf(job, StepName::createDataset).state, StepState::intended);
}

TEST_F(JobStoreTest, aWaitHasADeadlineAndTheLastWord) {
  const JobId job = newJob(segmentRequest()).id;
  store().setWaiting(job, StepName::createDataset, "QUEUED", TimePoint(milliseconds(5000)));
  store().setWaiting(job, StepName::createDataset, "", TimePoint(milliseconds(6000)));
  EXPECT_EQ(store().load(job).remoteStatus, "QUEUED");
  EXPECT_EQ(stepOf(job, StepName::createDataset).deadline, TimePoint(milliseconds(6000)));
  EXPECT_EQ(stored(job, "status"), "waiting");
  store().finishStep(job, StepName::createDataset, {});
  EXPECT_FALSE(stepOf(job, StepName::createDataset).deadline);
}

TEST_F(JobStoreTest, aResultIsRecordedWithItsStepAndAbsentPartsStay) {
  const JobId job = newJob(segmentRequest()).id;
  model::Batch batch = batchNamed("b2");
  batch.createdClient = "acp_foundation_push";
  batch.records = 24340;
  batch.predecessors = {model::BatchId("p2"), model::BatchId("p1")};
  batch.replayReason = "redo";
  store().finishStep(job, StepName::createDataset,
                     {.datasetId = model::DatasetId("ds"),
                      .datasetCreated = true,
                      .exportJobId = model::ExportJobId("701"),
                      .segmentJobId = model::SegmentJobId("sj"),
                      .batches = std::vector{batch, batchNamed("b1")},
                      .reportedProfiles = 5,
                      .records = 6,
                      .remoteStatus = "SUCCEEDED"});
  store().finishStep(job, StepName::startExport, {});
  const model::Job loaded = store().load(job);
  EXPECT_EQ(loaded.datasetId.value(), "ds");
  EXPECT_TRUE(loaded.datasetCreated);
  EXPECT_EQ(loaded.exportJobId.value(), "701");
  EXPECT_EQ(loaded.segmentJobId.value(), "sj");
  EXPECT_EQ(loaded.reportedProfiles, 5U);
  EXPECT_EQ(loaded.records, 6U);
  EXPECT_EQ(loaded.remoteStatus, "SUCCEEDED");
  ASSERT_THAT(loaded.batches, SizeIs(2));
  EXPECT_EQ(loaded.batches[0].id.value(), "b2");
  EXPECT_EQ(loaded.batches[0].status, "success");
  EXPECT_EQ(loaded.batches[0].created, batch.created);
  EXPECT_EQ(loaded.batches[0].createdClient, "acp_foundation_push");
  EXPECT_EQ(loaded.batches[0].records, 24340U);
  EXPECT_THAT(loaded.batches[0].predecessors, ElementsAre(model::BatchId("p2"), model::BatchId("p1")));
  EXPECT_EQ(loaded.batches[0].replayReason, "redo");
  EXPECT_EQ(loaded.batches[1].id.value(), "b1");
  EXPECT_FALSE(loaded.batches[1].records);
  EXPECT_EQ(stored(job, "step"), "await_export");
}

TEST_F(JobStoreTest, aNewListOfBatchesReplacesTheOld) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  list(job, "b1", {remoteFile("b1", "d", "gone", 7)});
  list(job, "b2", {remoteFile("b2", "d", "kept", 5)});
  store().recordRemoteJob(job, {.batches = std::vector{batchNamed("b3"), batchNamed("b2")}});
  const model::Job loaded = store().load(job);
  ASSERT_THAT(loaded.batches, SizeIs(2));
  EXPECT_EQ(loaded.batches[0].id.value(), "b3");
  EXPECT_EQ(loaded.batches[1].id.value(), "b2");
  ASSERT_THAT(filesOf(job), SizeIs(1));
  EXPECT_EQ(filesOf(job)[0].remote.name, "kept");
  EXPECT_EQ(loaded.fileCount, 1U);
  EXPECT_EQ(loaded.totalBytes, 5U);
}

TEST_F(JobStoreTest, theLastStepEndsTheJob) {
  const JobId job = newJob().id;
  for (const StepName step : model::makePlan(datasetRequest())) {
    EXPECT_FALSE(store().load(job).finishedAt);
    clock_.advance(minutes(1));
    store().finishStep(job, step, {});
  }
  EXPECT_EQ(store().load(job).finishedAt, clock_.now());
  EXPECT_EQ(stepOf(job, StepName::verifyFiles).finishedAt, clock_.now());
  EXPECT_EQ(stored(job, "status"), "succeeded");
  EXPECT_EQ(stored(job, "step"), "");
}

TEST_F(JobStoreTest, aFailureEndsTheJobUntilTheNextTry) {
  const JobId job = newJob().id;
  store().beginAttempt(job, StepName::selectBatches);
  store().failStep(job, StepName::selectBatches, kError);
  const model::Job failed = store().load(job);
  EXPECT_EQ(failed.finishedAt, clock_.now());
  EXPECT_EQ(stored(job, "status"), "failed");
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->category, kError.category);
  EXPECT_EQ(failed.error->message, kError.message);
  EXPECT_EQ(failed.error->requestId, kError.requestId);
  EXPECT_EQ(failed.error->hint, kError.hint);
  store().beginAttempt(job, StepName::selectBatches);
  EXPECT_EQ(stepOf(job, StepName::selectBatches).attempts, 2U);
  store().finishStep(job, StepName::selectBatches, {});
  EXPECT_FALSE(store().load(job).finishedAt);
  EXPECT_EQ(stored(job, "status"), "interrupted");
}

TEST_F(JobStoreTest, aNewTryOpensTheEndOfAJob) {
  const JobId job = jobWith(StepName::createDataset, StepState::failed);
  const TimePoint firstEnd = clock_.now();
  clock_.advance(minutes(5));
  store().beginAttempt(job, StepName::createDataset);
  store().failStep(job, StepName::createDataset, kError);
  EXPECT_NE(store().load(job).finishedAt, firstEnd);
  EXPECT_EQ(store().load(job).finishedAt, clock_.now());
}

TEST_F(JobStoreTest, aBlockedStepIsDecidedByTheUser) {
  const JobId resubmitted = jobWith(StepName::startExport, StepState::intended);
  store().finishStep(resubmitted, StepName::createDataset, {});
  store().blockStep(resubmitted, StepName::startExport, kError);
  EXPECT_EQ(stored(resubmitted, "status"), "blocked");
  EXPECT_FALSE(store().load(resubmitted).finishedAt);
  store().unblock(resubmitted, StepName::startExport);
  EXPECT_EQ(stepOf(resubmitted, StepName::startExport).state, StepState::pending);
  EXPECT_FALSE(stepOf(resubmitted, StepName::startExport).intendedAt);
  EXPECT_FALSE(store().load(resubmitted).error);

  const JobId adopted = jobWith(StepName::startExport, StepState::blocked);
  store().finishStep(adopted, StepName::startExport, {.exportJobId = model::ExportJobId("9")});
  EXPECT_FALSE(store().load(adopted).error);
  EXPECT_EQ(store().load(adopted).exportJobId.value(), "9");
}

TEST_F(JobStoreTest, onlyLegalTransitionsArePossible) {
  constexpr std::array kStates = {StepState::pending, StepState::intended, StepState::waiting,
                                  StepState::done,    StepState::failed,   StepState::blocked};
  for (const StepState from : kStates) {
    for (const StepState to : kStates) {
      SCOPED_TRACE(std::string(nameOf(from)) + " -> " + std::string(nameOf(to)));
      const JobId job = jobWith(StepName::createDataset, from);
      if (model::isLegalTransition(from, to)) {
        goTo(job, StepName::createDataset, to);
        EXPECT_EQ(stepOf(job, StepName::createDataset).state, to);
      } else {
        EXPECT_EQ(errorOf([&] { goTo(job, StepName::createDataset, to); }).category(), Category::internal);
        EXPECT_EQ(stepOf(job, StepName::createDataset).state, from);
      }
    }
  }
}

TEST_F(JobStoreTest, unknownJobsAndStepsAreRefused) {
  const JobId job = newJob().id;
  const JobId none{99};
  EXPECT_EQ(errorOf([&] { store().beginAttempt(job, StepName::createDataset); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { store().beginAttempt(none, StepName::selectBatches); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().failStep(none, StepName::selectBatches, kError); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().noteError(none, kError); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().recordRemoteJob(none, {}); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().requestCancel(none); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().isCancelRequested(none); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().markCancelled(none, kError); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] { store().addEvent(none, {}, "x", ""); }).category(), Category::notFound);
  EXPECT_EQ(errorOf([&] {
              newJob();
              store().createJob(datasetRequest(), "uuid-1", {});
            }).category(),
            Category::internal);
}

TEST_F(JobStoreTest, unfinishedJobsAreThoseToResume) {
  const JobId pending = newJob().id;
  const JobId interrupted = newJob().id;
  store().beginAttempt(interrupted, StepName::selectBatches);
  const JobId waiting = jobWith(StepName::createDataset, StepState::waiting);
  jobWith(StepName::createDataset, StepState::failed);
  jobWith(StepName::createDataset, StepState::blocked);
  store().markCancelled(newJob().id, kError);
  const JobId done = newJob().id;
  for (const StepName step : model::makePlan(datasetRequest())) store().finishStep(done, step, {});
  EXPECT_THAT(store().unfinishedJobs(), ElementsAre(pending, interrupted, waiting));
}

TEST_F(JobStoreTest, remoteJobsOfOthersAreTold) {
  const JobId mine = newJob(segmentRequest()).id;
  const JobId other = newJob(segmentRequest()).id;
  auto elsewhere = segmentRequest();
  elsewhere.sandbox = "dev";
  const JobId inOtherSandbox = newJob(elsewhere).id;
  store().recordRemoteJob(other, {.exportJobId = model::ExportJobId("701"), .segmentJobId = model::SegmentJobId("s1")});
  EXPECT_TRUE(store().isExportJobOfAnother(model::ExportJobId("701"), mine));
  EXPECT_FALSE(store().isExportJobOfAnother(model::ExportJobId("701"), other));
  EXPECT_FALSE(store().isExportJobOfAnother(model::ExportJobId("702"), mine));
  EXPECT_FALSE(store().isExportJobOfAnother(model::ExportJobId("701"), inOtherSandbox));
  EXPECT_TRUE(store().isSegmentJobOfAnother(model::SegmentJobId("s1"), mine));
  EXPECT_FALSE(store().isSegmentJobOfAnother(model::SegmentJobId("s1"), other));
  EXPECT_FALSE(store().isSegmentJobOfAnother(model::SegmentJobId("701"), mine));
}

TEST_F(JobStoreTest, cancellingIsARequestAndThenAFact) {
  const JobId job = newJob(segmentRequest()).id;
  EXPECT_FALSE(store().isCancelRequested(job));
  store().requestCancel(job);
  EXPECT_TRUE(store().isCancelRequested(job));
  EXPECT_TRUE(store().load(job).cancelRequested);
  EXPECT_FALSE(store().load(job).cancelled);
  EXPECT_EQ(stored(job, "status"), "pending");
  store().markCancelled(job, kError);
  EXPECT_TRUE(store().load(job).cancelled);
  EXPECT_EQ(store().load(job).finishedAt, clock_.now());
  EXPECT_EQ(stored(job, "status"), "cancelled");
}

TEST_F(JobStoreTest, aCancellationThatComesTooLateLeavesTheSuccess) {
  const JobId job = newJob(segmentRequest()).id;
  const auto steps = store().load(job).steps;
  for (const model::Step& step : steps) {
    if (step.name == steps.back().name) {
      EXPECT_TRUE(store().requestCancel(job)) << "while the last step runs";
    }
    store().beginAttempt(job, step.name);
    store().finishStep(job, step.name, {});
  }
  EXPECT_FALSE(store().load(job).cancelRequested);
  EXPECT_FALSE(store().requestCancel(job));
  EXPECT_FALSE(store().markCancelled(job, kError));
  EXPECT_EQ(stored(job, "status"), "succeeded");
  EXPECT_FALSE(store().load(job).cancelled);
}

TEST_F(JobStoreTest, eventsKeepTheirOrder) {
  const JobId job = newJob().id;
  store().addEvent(job, StepName::selectBatches, "selected", "'; DROP TABLE job; -- \n\x01 é");
  clock_.advance(minutes(1));
  store().addEvent(job, {}, "resumed", "");
  std::vector<model::Event> events;
  history().forEachEvent(job, [&](const model::Event& event) { events.push_back(event); });
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[0].step, StepName::selectBatches);
  EXPECT_EQ(events[0].what, "selected");
  EXPECT_EQ(events[0].detail, "'; DROP TABLE job; -- \n\x01 é");
  EXPECT_EQ(events[1].at - events[0].at, minutes(1));
  EXPECT_FALSE(events[1].step);
  EXPECT_EQ(store().load(job).updatedAt, clock_.now());
}

// --- crashes

struct Crash {};

/// What a job's life writes, call by call; every function of the store once.
using Act = std::function<void(JobStore&)>;

std::vector<Act> lifeOfAJob() {
  const JobId job{1};
  const auto plan = model::makePlan(segmentRequest());
  return {
      [=](JobStore& store) { store.createJob(segmentRequest(), "u", plan); },
      [=](JobStore& store) { store.beginAttempt(job, StepName::createDataset); },
      [=](JobStore& store) { store.intend(job, StepName::createDataset, TimePoint(milliseconds(1)), false); },
      [=](JobStore& store) { store.blockStep(job, StepName::createDataset, kError); },
      [=](JobStore& store) { store.unblock(job, StepName::createDataset); },
      [=](JobStore& store) {
        store.finishStep(job, StepName::createDataset, {.datasetId = model::DatasetId("ds"), .datasetCreated = true});
      },
      [=](JobStore& store) { store.recordRemoteJob(job, {.exportJobId = model::ExportJobId("1")}); },
      [=](JobStore& store) { store.finishStep(job, StepName::startExport, {}); },
      [=](JobStore& store) { store.setWaiting(job, StepName::awaitExport, "QUEUED", TimePoint(milliseconds(9))); },
      [=](JobStore& store) { store.noteError(job, kError); },
      [=](JobStore& store) { store.finishStep(job, StepName::awaitExport, {.remoteStatus = "SUCCEEDED"}); },
      [=](JobStore& store) {
        store.finishStep(job, StepName::selectBatches, {.batches = std::vector{batchNamed("b")}});
      },
      [=](JobStore& store) { store.beginListing(job, model::BatchId("b")); },
      [=](JobStore& store) {
        store.addFiles(job, std::vector{remoteFile("b", "d1", "same"), remoteFile("b", "d2", "same"),
                                        remoteFile("b", "d2", "other")});
      },
      [=](JobStore& store) { store.finishListing(job, model::BatchId("b")); },
      [=](JobStore& store) {
        store.markStarted(std::vector<std::int64_t>{1, 2, 3});
      },
      [=](JobStore& store) { store.recordRanges(1, std::vector{model::ByteRange{.first = 0, .end = 9}}); },
      [=](JobStore& store) { store.forgetRanges(1); },
      [=](JobStore& store) {
        store.recordDownloaded(std::vector<JobStore::Downloaded>{{.file = 1, .sha256 = sha256Of('a')},
                                                                 {.file = 2, .sha256 = sha256Of('b')}});
      },
      [=](JobStore& store) {
        store.recordVerified(std::vector<JobStore::Verified>{{.file = 1, .records = 3}, {.file = 2}});
      },
      [=](JobStore& store) { store.recordFileFailed(2); },
      [=](JobStore& store) {
        store.recordWrong(job, StepName::listFiles, std::vector<JobStore::Wrong>{{.file = 1, .why = "gone"}});
      },
      [=](JobStore& store) { store.claimRemoteJob(job, {.exportJobId = model::ExportJobId("e")}); },
      [=](JobStore& store) { store.addEvent(job, {}, "x", "y"); },
      [=](JobStore& store) { store.failStep(job, StepName::listFiles, kError); },
      [=](JobStore& store) { store.requestCancel(job); },
      [=](JobStore& store) { store.markCancelled(job, kError); },
  };
}

/// All rows of all tables, as one text.
std::string dump(Database& database) {
  std::string text;
  for (const char* table : {"job", "request", "step", "batch", "batch_predecessor", "file", "file_range", "event"}) {
    if (database.server() != nullptr) {
      Query rows(database, "SELECT CAST(one AS text) FROM " + std::string(table) + " AS one ORDER BY 1");
      while (rows.next()) text += table + rows.text(0) + '\n';
      continue;
    }
    SQLite::Statement rows(database.connection(), std::string("SELECT * FROM ") + table);
    while (rows.executeStep()) {
      text += table;
      for (int column = 0; column < rows.getColumnCount(); ++column) text += "|" + rows.getColumn(column).getString();
      text += '\n';
    }
  }
  return text;
}

TEST_F(JobStoreTest, aCrashLeavesTheOldStateOrTheNew) {
  const auto acts = lifeOfAJob();
  for (const bool afterCommit : {false, true}) {
    const Place place;
    for (std::size_t n = 0; n < acts.size(); ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (afterCommit ? " after" : " before") + " its commit");
      std::string before;
      {
        Database crashing(place.location(), Database::Mode::readWrite);
        before = dump(crashing);
        JobStore store(crashing, clock_, [&](std::string_view, bool committed) {
          if (committed == afterCommit) throw Crash();
        });
        EXPECT_THROW(acts[n](store), Crash);
      }
      Database reopened(place.location(), Database::Mode::readWrite);
      if (!afterCommit) {
        EXPECT_EQ(dump(reopened), before);
        JobStore store(reopened, clock_);
        acts[n](store);
      }
      EXPECT_NE(dump(reopened), before);
    }
  }
}

TEST_F(JobStoreTest, theProbeHearsTheNameBeforeAndAfter) {
  std::vector<std::string> heard;
  open([&](std::string_view call, bool committed) { heard.push_back(std::string(call) + (committed ? "+" : "-")); });
  const JobId job = newJob().id;
  store().load(job);
  store().beginAttempt(job, StepName::selectBatches);
  EXPECT_THROW(store().finishStep(job, StepName::createDataset, {}), core::Error);
  EXPECT_THAT(heard, ElementsAre("createJob-", "createJob+", "beginAttempt-", "beginAttempt+", "finishStep-"));
}

TEST_F(JobStoreTest, aCallThatFailsHalfwayChangesNothing) {
  const JobId job = newJob(segmentRequest()).id;
  const std::string before = dump(database());
  // The step and the columns are written before the batches; this number fits no column.
  model::Batch batch = batchNamed("b");
  batch.records = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(errorOf([&] {
              store().finishStep(job, StepName::createDataset,
                                 {.datasetId = model::DatasetId("ds"), .batches = std::vector{batch}});
            }).category(),
            Category::internal);
  EXPECT_EQ(dump(database()), before);
}

}  // namespace
}  // namespace caiexport::store
