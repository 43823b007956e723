/// Exactly once, and nobody else's: whatever the clocks, the lists and the neighbours.

#include <gmock/gmock.h>

#include "caiexport/model/job.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

using namespace std::chrono_literals;
using core::Category;
using testing::HasSubstr;

std::string loseAnswer(const std::string& path) {
  return R"({"faults": [{"match": {"method": "POST", "path": ")" + path +
         R"("}, "times": 1, "do": {"take_then_lose": true}}]})";
}

std::string loseRequest(const std::string& path) {
  return R"({"faults": [{"match": {"method": "POST", "path": ")" + path +
         R"("}, "times": 1, "do": {"close_without_answer": true}}]})";
}

Outcome run(Journey::Process& process, const model::ExportRequest& request) {
  return process.runner.advance(process.runner.create(request).id, {}, {});
}

/// A dataset that others may export into too.
model::DatasetId sharedTarget(Journey::Process& process) {
  return process.client.createDataset({.name = "shared"}, {});
}

model::ExportRequest into(const Journey& journey, const model::DatasetId& dataset) {
  model::ExportRequest request = journey.segmentRequest();
  request.segment.targetDataset = dataset;
  return request;
}

platform::ExportJob exportOfSomebodyElse(Journey::Process& process, const model::DatasetId& dataset,
                                         const std::string& segment = kSegment) {
  return process.client.startExportJob({.dataset = dataset,
                                        .segments = {model::SegmentId(segment)},
                                        .segmentNamespace = "ups",
                                        .statuses = {"realized"}},
                                       {});
}

/// Polls it to its end.
void finish(Journey::Process& process, const platform::ExportJob& job) {
  while (process.client.findExportJob(job.id, {})->phase == platform::RemotePhase::moving) {
  }
}

// --- clocks

class Clocks : public testing::TestWithParam<std::chrono::seconds> {};

TEST_P(Clocks, OffByYearsMakeNothingTwiceAndTakeNothingOfOthers) {
  for (const bool taken : {true, false}) {
    for (const std::string path : {"/dataSets", "/export/jobs", "/segment/jobs"}) {
      Journey journey(R"({"evaluations_a_day": 9})");
      journey.world().advance(GetParam());
      Journey::Process process(journey);
      const model::DatasetId shared = sharedTarget(process);
      const platform::ExportJob other = exportOfSomebodyElse(process, shared);
      const std::vector<model::SegmentId> segment{model::SegmentId(kSegment)};
      const platform::SegmentJob otherEvaluation = process.client.startSegmentJob(segment, {});
      journey.clock.advance(2s);
      journey.world().change(taken ? loseAnswer(path) : loseRequest(path));
      model::ExportRequest request = path == "/dataSets" ? journey.segmentRequest() : into(journey, shared);
      request.segment.evaluate = true;
      const Outcome outcome = run(process, request);
      ASSERT_FALSE(outcome.error) << path << ": " << outcome.error->what();
      EXPECT_NE(outcome.job.exportJobId, other.id) << path;
      EXPECT_NE(outcome.job.segmentJobId, otherEvaluation.id) << path;
      const simulator::Statistics statistics = journey.world().statistics();
      EXPECT_EQ(statistics.exportJobsAccepted, 2U) << path;
      EXPECT_EQ(statistics.segmentJobsAccepted, 2U) << path;
      EXPECT_EQ(statistics.datasetsCreated, path == "/dataSets" ? 2U : 1U) << path;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Years, Clocks,
                         testing::Values(std::chrono::seconds(0), std::chrono::seconds(-5L * 365 * 86400),
                                         std::chrono::seconds(5L * 365 * 86400)));

// --- lists

TEST(Lists, ThatLagAreLookedAtForThirtySecondsWhateverTheRetryWait) {
  // Ten looks, three seconds apart; only the last one shows the job.
  Journey journey(R"json({"faults": [
      {"match": {"method": "POST", "path": "/export/jobs"}, "times": 1, "do": {"take_then_lose": true}},
      {"match": {"method": "GET", "path": "/export/jobs(\\?|$)"}, "times": 9,
       "do": {"status": 200, "body": {"records": [], "link": {}}}}]})json");
  Journey::Process process(journey);
  Tools tools = process.tools;
  tools.retry.firstWait = core::Duration(0);
  Runner runner(tools);
  const Outcome outcome = runner.advance(runner.create(journey.segmentRequest()).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

TEST(Lists, OfManyPagesAreReadToTheirEnd) {
  for (const char* links : {"live", "documented"}) {
    Journey journey(std::string(R"({"nightly_evaluations": 30, "segment_links": ")") + links + "\"}");
    Journey::Process process(journey);
    int jobs = 0;
    process.client.forEachSegmentJob([&](const platform::SegmentJob&) { return ++jobs > 0; }, {});
    EXPECT_EQ(jobs, 30) << links;
  }
}

TEST(Once, TheLikeThatAppearsLateIsNotTakenForOurs) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId shared = sharedTarget(process);
  journey.world().change(loseRequest("/export/jobs"));
  // Made by somebody else three seconds before our intent, and not in the list that we saw before it.
  platform::ExportJob other;
  bool hidden = false;
  journey.onRequest = [&](const std::string& call) {
    if (hidden || call.find("before GET /data/foundation/catalog/batches") == std::string::npos) return;
    hidden = true;
    journey.world().change(R"({"faults": []})");
    other = exportOfSomebodyElse(process, shared);
    journey.clock.advance(3s);
    journey.world().change(loseRequest("/export/jobs"));
  };
  const Outcome outcome = run(process, into(journey, shared));
  ASSERT_TRUE(hidden);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::blocked) << outcome.error->what();
  EXPECT_THAT(outcome.error->what(), HasSubstr("may be somebody else's"));
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

TEST(Once, TwoJobsInDoubtNeverTakeTheSameExport) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId shared = sharedTarget(process);
  // Both requests are lost; the platform took one of them.
  const model::Job rival = process.runner.create(into(journey, shared));
  journey.world().change(loseAnswer("/export/jobs"));
  bool taken = false;
  process.onStoreCall = [&](std::string_view call, bool committed) {
    if (call != "claimRemoteJob" || committed || std::exchange(taken, true)) return;
    // Between the look at the list and the record of it, the other job takes what was found.
    model::ExportJobId id;
    process.client.forEachExportJob(
        [&](const platform::ExportJob& job) {
          id = job.id;
          return true;
        },
        {});
    ASSERT_TRUE(process.store.claimRemoteJob(rival.id, {.exportJobId = id}));
  };
  const Outcome outcome = run(process, into(journey, shared));
  ASSERT_TRUE(taken);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_NE(outcome.job.exportJobId, process.store.load(rival.id).exportJobId);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 2U);
}

TEST(Once, WhatMayBeOfAnotherInDoubtIsTakenByNoneUntilThatIsSettled) {
  for (const bool settled : {false, true}) {
    Journey journey;
    Journey::Process process(journey);
    const model::DatasetId shared = sharedTarget(process);
    // Killed between its request and the answer, or at work in another process.
    const model::Job rival = process.runner.create(into(journey, shared));
    process.store.intend(rival.id, model::StepName::startExport, process.client.serverNow(), true, {});
    journey.world().change(loseAnswer("/export/jobs"));
    int claims = 0;
    process.onStoreCall = [&](std::string_view call, bool committed) {
      if (call != "claimRemoteJob" || !committed || ++claims != 2) return;
      // The platform refused what it asked for.
      if (settled) process.store.unblock(rival.id, model::StepName::startExport);
    };
    const Outcome outcome = run(process, into(journey, shared));
    EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
    if (settled) {
      EXPECT_FALSE(outcome.error) << outcome.error->what();
      EXPECT_EQ(claims, 3);
      continue;
    }
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->category(), Category::blocked) << outcome.error->what();
    EXPECT_THAT(outcome.error->what(), HasSubstr("another job's request"));
  }
}

TEST(Once, AnotherInDoubtAboutAnotherTargetHoldsNothingUp) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId shared = sharedTarget(process);
  const model::Job rival = process.runner.create(into(journey, process.client.createDataset({.name = "other"}, {})));
  process.store.intend(rival.id, model::StepName::startExport, process.client.serverNow(), true, {});
  journey.world().change(loseAnswer("/export/jobs"));
  const Outcome outcome = run(process, into(journey, shared));
  EXPECT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

// --- a cancellation at the very end

TEST(LateCancelling, AtAnyCallOfTheLastStepTellsAndRecordsOneTruth) {
  int cancelled = 0;
  int succeeded = 0;
  for (int at = 1; at < 60; ++at) {
    Journey journey(R"({"files": 1})");
    Journey::Process process(journey);
    const model::Job job = process.runner.create(journey.datasetRequest());
    int calls = 0;
    bool asked = false;
    bool promised = false;
    process.onStoreCall = [&](std::string_view call, bool committed) {
      if (!committed || call == "requestCancel" || ++calls != at) return;
      asked = true;
      // Another process, another connection.
      store::Database database(journey.directory / "jobs.db", store::Database::Mode::readWrite);
      promised = store::JobStore(database, journey.clock).requestCancel(job.id);
    };
    const Outcome outcome = process.runner.advance(job.id, {}, {});
    if (!asked) break;
    const model::JobStatus status = model::statusOf(process.store.load(job.id), false);
    if (outcome.error) {
      ++cancelled;
      EXPECT_TRUE(promised) << at;
      EXPECT_EQ(status, model::JobStatus::cancelled) << at << ": " << outcome.error->what();
    } else {
      ++succeeded;
      EXPECT_EQ(status, model::JobStatus::succeeded) << at;
      EXPECT_FALSE(process.store.isCancelRequested(job.id)) << at;
    }
  }
  EXPECT_GT(cancelled, 0);
  EXPECT_GT(succeeded, 0);
}

// --- exports that name no batch

constexpr const char* kNameless = R"({"batches_form": "none"})";

TEST(NamelessBatches, AreNeverThoseOfAnEarlierExportIntoTheSameDataset) {
  Journey journey(kNameless);
  Journey::Process process(journey);
  const model::DatasetId shared = sharedTarget(process);
  finish(process, exportOfSomebodyElse(process, shared));
  journey.clock.advance(20min);
  const Outcome first = run(process, into(journey, shared));
  ASSERT_FALSE(first.error) << first.error->what();
  ASSERT_EQ(first.job.batches.size(), 1U);
  const Outcome second = run(process, into(journey, shared));
  ASSERT_FALSE(second.error) << second.error->what();
  ASSERT_EQ(second.job.batches.size(), 1U);
  EXPECT_NE(second.job.batches.front().id, first.job.batches.front().id);
}

TEST(NamelessBatches, OfTwoExportsAtATimeCannotBeToldApartAndAreRefused) {
  Journey journey(kNameless);
  Journey::Process process(journey);
  const model::DatasetId shared = sharedTarget(process);
  finish(process, exportOfSomebodyElse(process, shared, "0b7c1b0a-2f0e-4f57-8a1b-000000000001"));
  const Outcome outcome = run(process, into(journey, shared));
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::remoteFailed);
  EXPECT_THAT(outcome.error->what(), HasSubstr("cannot tell whose batch is whose"));
  EXPECT_TRUE(contentOf(journey.directory / "out").empty());
}

TEST(NamelessBatches, OfOneExportAreTakenAll) {
  Journey journey(kNameless);
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.sourceId += ",0b7c1b0a-2f0e-4f57-8a1b-000000000001";
  request.segment.segmentPerBatch = true;
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(outcome.job.batches.size(), 2U);
}

TEST(NamelessBatches, AreReadAgainWhileTheirListGrows) {
  Journey journey(kNameless);
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.sourceId += ",0b7c1b0a-2f0e-4f57-8a1b-000000000001";
  request.segment.segmentPerBatch = true;
  const model::JobId job = process.runner.create(request).id;
  // The first answers show one batch of the two.
  int lists = 0;
  journey.onRequest = [&](const std::string& call) {
    if (call.find("before GET /data/foundation/catalog/batches?") == std::string::npos) return;
    journey.world().change(++lists <= 2 ? R"({"hidden_batches": 1})" : R"({"hidden_batches": 0})");
  };
  const Outcome outcome = process.runner.advance(job, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_GT(lists, 2);
  EXPECT_EQ(outcome.job.batches.size(), 2U);
}

// --- evaluations

TEST(Evaluations, AreCountedAndAnnounced) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.evaluate = true;
  EXPECT_FALSE(run(process, request).error);
  EXPECT_THAT(process.observer.notices, testing::Contains(HasSubstr("the 1st today, the 1st this year")));
  EXPECT_FALSE(run(process, request).error);
  EXPECT_THAT(process.observer.notices, testing::Contains(HasSubstr("the 2nd today, the 2nd this year")));
  const Outcome third = run(process, request);
  ASSERT_TRUE(third.error);
  EXPECT_THAT(third.error->hint(), HasSubstr("--wait-for-evaluation"));
  journey.world().change(R"({"b2b_simplification": true})");
  const Outcome refused = run(process, request);
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->category(), Category::remoteFailed);
  EXPECT_THAT(refused.error->what(), HasSubstr("B2B simplification"));
  EXPECT_THAT(refused.error->hint(), HasSubstr("--wait-for-evaluation"));
  EXPECT_EQ(journey.world().statistics().segmentJobsAccepted, 2U);
}

TEST(Evaluations, ThatComeByThemselvesAreWaitedFor) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.waitForEvaluation = true;
  request.segment.pollMax = 1h;
  const core::TimePoint begun = journey.clock.now();
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  ASSERT_TRUE(outcome.job.evaluatedAt);
  EXPECT_GT(*outcome.job.evaluatedAt, begun);
  EXPECT_EQ(outcome.job.expectedProfiles, 250U);
  EXPECT_EQ(journey.world().statistics().segmentJobsAccepted, 0U);
}

TEST(Evaluations, WaitedForInVainTimeOut) {
  Journey journey(R"({"nightly_evaluations": 0})");
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.waitForEvaluation = true;
  request.segment.timeout = 2h;
  const Outcome outcome = run(process, request);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::timedOut);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 0U);
}

TEST(Evaluations, AreFoundInTheDefinitionOrElseInJobsInAnyOrder) {
  for (const char* scenario : {R"({})", R"({"definition_metrics": false, "nightly_evaluations": 12})",
                               R"({"definition_metrics": false, "nightly_evaluations": 12, "ignore_sort": true})"}) {
    Journey journey(scenario);
    Journey::Process process(journey);
    model::ExportRequest request = journey.segmentRequest();
    request.guards.maxAge = 25h;
    const Outcome outcome = run(process, request);
    ASSERT_FALSE(outcome.error) << scenario << ": " << outcome.error->what();
    EXPECT_LT(journey.clock.now() - outcome.job.evaluatedAt.value(), 25h) << scenario;
  }
}

// --- namespaces and several segments

TEST(Audiences, OfOtherOriginsAreLookedUpWhereTheyAre) {
  Journey journey;
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.sourceId = "21345678";
  const Outcome unknown = run(process, request);
  ASSERT_TRUE(unknown.error);
  EXPECT_EQ(unknown.error->category(), Category::notFound);
  EXPECT_THAT(unknown.error->hint(), HasSubstr("--namespace"));
  request.segment.segmentNamespace = "AdCloud";
  EXPECT_THAT(run(process, request).error->hint(), HasSubstr("--namespace AAM"));
  request.segment.segmentNamespace = "AAM";
  const Outcome outcome = run(process, request);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 1U);
}

}  // namespace
}  // namespace caiexport::engine
