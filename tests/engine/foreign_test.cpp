/// What the platform names or shows, and what somebody else has made, is never taken for this job's own.

#include <gmock/gmock.h>

#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/job.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

using namespace std::chrono_literals;
using core::Category;
using testing::HasSubstr;

constexpr const char* kOtherSegment = "0b7c1b0a-2f0e-4f57-8a1b-000000000001";

Outcome run(Journey::Process& process, const model::ExportRequest& request) {
  return process.runner.advance(process.runner.create(request).id, {}, {});
}

model::ExportRequest into(const Journey& journey, const model::DatasetId& dataset) {
  model::ExportRequest request = journey.segmentRequest();
  request.segment.targetDataset = dataset;
  return request;
}

platform::ExportJob exportOfSomebodyElse(Journey::Process& process, const model::DatasetId& dataset,
                                         const std::string& segment = kSegment, const std::string& mergePolicy = "") {
  return process.client.startExportJob({.dataset = dataset,
                                        .segments = {model::SegmentId(segment)},
                                        .segmentNamespace = "ups",
                                        .statuses = {"realized"},
                                        .scope = {.mergePolicyId = mergePolicy}},
                                       {});
}

std::string millisecondsOf(core::TimePoint time) {
  return std::to_string(time.time_since_epoch().count());
}

// --- the batch that an export job names

struct NamedBatch {
  std::string name = {};
  std::string dataset = {};  ///< Empty: the target.
  std::string more = {};     ///< Of its entry in Catalog.
  core::Duration age = 0s;
  std::string why = {};
};

class NamedBatches : public testing::TestWithParam<NamedBatch> {
 protected:
  /// Catalog's entry for the batch of the request `before GET PATH`.
  static std::string entryFor(const std::string& path, const std::string& dataset, core::TimePoint created) {
    const std::string id = path.substr(path.rfind('/') + 1);
    return R"({"faults": [{"match": {"method": "GET", "path": "/catalog/batches/"}, "times": -1, "do": {"status": 200,
        "body": {")" +
           id + R"(": {"status": "success", "created": )" + millisecondsOf(created) +
           R"(, "createdClient": "acp_core_unifiedProfile_exports", "relatedObjects": [{"type": "dataSet", "id": ")" +
           dataset + "\"}" + GetParam().more + "}}}}]}";
  }
};

TEST_P(NamedBatches, ThatCannotBeWhatWasExportedAreRefused) {
  Journey journey;
  Journey::Process process(journey);
  const model::JobId job = process.runner.create(journey.segmentRequest()).id;
  bool changed = false;
  journey.onRequest = [&](const std::string& call) {
    const std::string asked = "before GET /data/foundation/catalog/batches/";
    if (changed || !call.starts_with(asked)) return;
    changed = true;
    const std::string target = process.store.load(job).datasetId.value();
    journey.world().change(
        entryFor(call, GetParam().dataset.empty() ? target : GetParam().dataset, journey.clock.now() - GetParam().age));
  };
  const Outcome outcome = process.runner.advance(job, {}, {});
  ASSERT_TRUE(changed);
  if (GetParam().why.empty()) {
    EXPECT_FALSE(outcome.error) << outcome.error->what();
    return;
  }
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::remoteFailed);
  EXPECT_THAT(outcome.error->what(), HasSubstr(GetParam().why));
  EXPECT_TRUE(contentOf(journey.directory / "out").empty());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, NamedBatches,
    testing::Values(
        NamedBatch{.name = "Ours", .more = "]"},
        NamedBatch{.name = "OfAnotherDataset", .dataset = "other", .more = "]", .why = "belongs to dataset 'other'"},
        NamedBatch{.name = "Tracking", .more = R"(, {"type": "batch", "id": "Q"}])", .why = "only notes"},
        NamedBatch{.name = "Consolidation",
                   .more = R"(], "tags": {"acp_workflow": ["CONSOLIDATION"]})",
                   .why = "is a consolidation"},
        NamedBatch{.name = "Older", .more = "]", .age = 30 * 24h, .why = "before the export began"}),
    [](const auto& instance) { return instance.param.name; });

TEST(NamedBatchesOfATarget, ThatItHeldBeforeAreRefused) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId shared = process.client.createDataset({.name = "shared"}, {});
  const Outcome first = run(process, into(journey, shared));
  ASSERT_FALSE(first.error) << first.error->what();
  journey.world().change(R"json({"faults": [{"match": {"method": "GET", "path": "/export/jobs/702"}, "times": -1,
      "do": {"status": 200, "body": {"id": 702, "status": "SUCCEEDED", "creationTime": 1, "destination":
      {"datasetId": ")json" +
                         shared.value() + R"(", "batchId": ")" + first.job.batches.at(0).id.value() + "\"}}}}]}");
  const Outcome second = run(process, into(journey, shared));
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->category(), Category::remoteFailed);
  EXPECT_THAT(second.error->what(), HasSubstr("was in the target before"));
}

// --- after a lost answer

TEST(Likeness, AnExportWithAnotherMergePolicyIsSomebodyElses) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId shared = process.client.createDataset({.name = "shared"}, {});
  platform::ExportJob other;
  bool there = false;
  journey.onRequest = [&](const std::string& call) {
    if (there || call.find("before POST /data/core/ups/export/jobs") == std::string::npos) return;
    there = true;
    other = exportOfSomebodyElse(process, shared, kSegment, "11111111-0000-4000-8000-000000000000");
    journey.world().change(R"json({"faults": [{"match": {"method": "POST", "path": "/export/jobs"}, "times": 1,
        "do": {"close_without_answer": true}}]})json");
  };
  const Outcome outcome = run(process, into(journey, shared));
  ASSERT_TRUE(there);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_NE(outcome.job.exportJobId, other.id);
  EXPECT_EQ(journey.world().statistics().exportJobsAccepted, 2U);
}

TEST(Likeness, AProxysPageInPlaceOfTheAnswerIsALostAnswer) {
  for (const std::string status : {"404", "403", "302", "401"}) {
    for (const std::string path : {"/dataSets", "/export/jobs", "/segment/jobs"}) {
      Journey journey(R"({"faults": [{"match": {"method": "POST", "path": ")" + path +
                      R"("}, "times": 1, "do": {"carry_out": true, "status": )" + status +
                      R"(, "body_html": "<html>nginx"}}]})");
      Journey::Process process(journey);
      model::ExportRequest request = journey.segmentRequest();
      request.segment.evaluate = true;
      const Outcome outcome = run(process, request);
      EXPECT_FALSE(outcome.error) << path << " " << status << ": " << outcome.error->what();
      const simulator::Statistics statistics = journey.world().statistics();
      EXPECT_EQ(statistics.datasetsCreated, 1U) << path << " " << status;
      EXPECT_EQ(statistics.exportJobsAccepted, 1U) << path << " " << status;
      EXPECT_EQ(statistics.segmentJobsAccepted, 1U) << path << " " << status;
    }
  }
}

// --- what a person adopts

/// A job whose request was taken, which it can't see.
model::Job blockedAt(Journey& journey, Journey::Process& process, const std::string& path,
                     const model::ExportRequest& request) {
  journey.world().change(R"json({"evaluations_a_day": 9, "faults": [
      {"match": {"method": "POST", "path": ")json" +
                         path + R"json("}, "times": 1, "do": {"take_then_lose": true}},
      {"match": {"method": "GET", "path": ")json" +
                         path + R"json((\\?|$)"}, "times": -1,
       "do": {"status": 403, "body": {"error_code": "403025", "message": "Profile is not valid"}}}]})json");
  const Outcome outcome = run(process, request);
  if (!outcome.error) throw std::logic_error("the job is not blocked");
  EXPECT_EQ(outcome.error->category(), Category::blocked) << outcome.error->what();
  journey.world().change(R"({"faults": []})");
  return outcome.job;
}

void expectRefused(Journey::Process& process, const model::Job& job, const std::string& id, const std::string& why) {
  try {
    process.runner.decide(job.id, {.adopt = id}, {});
    FAIL() << id << " was adopted";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), Category::usage) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(why));
  }
  EXPECT_EQ(model::statusOf(process.store.load(job.id), false), model::JobStatus::blocked);
}

TEST(Adopting, OnlyAnExportOfTheSameSegmentsIntoTheSameDataset) {
  Journey journey;
  Journey::Process process(journey);
  const platform::ExportJob elsewhere =
      exportOfSomebodyElse(process, process.client.createDataset({.name = "elsewhere"}, {}));
  const model::DatasetId shared = process.client.createDataset({.name = "shared"}, {});
  const platform::ExportJob others = exportOfSomebodyElse(process, shared, kOtherSegment);
  const Outcome earlier = run(process, into(journey, shared));
  ASSERT_FALSE(earlier.error) << earlier.error->what();
  const model::JobId job = process.runner.create(into(journey, shared)).id;
  process.store.intend(job, model::StepName::startExport, journey.clock.now(), true, {});
  process.store.blockStep(job, model::StepName::startExport, {.category = Category::blocked, .message = "in doubt"});
  const model::Job blocked = process.store.load(job);
  expectRefused(process, blocked, elsewhere.id.value(), "it writes into dataset");
  expectRefused(process, blocked, others.id.value(), std::string("it exports '") + kOtherSegment + "'");
  expectRefused(process, blocked, earlier.job.exportJobId.value(), "another job made it");
  const platform::ExportJob ours = exportOfSomebodyElse(process, shared);
  process.runner.decide(job, {.adopt = ours.id.value()}, {});
  EXPECT_EQ(process.store.load(job).exportJobId, ours.id);
}

TEST(Adopting, OnlyADatasetThatBearsTheJobsMark) {
  Journey journey;
  Journey::Process process(journey);
  const model::DatasetId precious = process.client.createDataset({.name = "precious"}, {});
  const model::Job blocked = blockedAt(journey, process, "/dataSets", journey.segmentRequest());
  expectRefused(process, blocked, precious.value(), "bears the job's mark");
  model::DatasetId made;
  process.client.forEachDataset(
      [&](const platform::Dataset& dataset) {
        if (dataset.description.find(blocked.uuid) != std::string::npos) made = dataset.id;
        return true;
      },
      {});
  process.runner.decide(blocked.id, {.adopt = made.value()}, {});
  EXPECT_FALSE(process.runner.advance(blocked.id, {}, {}).error);
  EXPECT_EQ(journey.world().statistics().datasetsCreated, 2U);
}

TEST(Adopting, OnlyAnEvaluationOfTheSameSegments) {
  Journey journey(R"({"evaluations_a_day": 9})");
  Journey::Process process(journey);
  model::ExportRequest request = journey.segmentRequest();
  request.segment.evaluate = true;
  const model::JobId job = process.runner.create(request).id;
  process.store.intend(job, model::StepName::evaluateSegment, journey.clock.now(), true, {});
  process.store.blockStep(job, model::StepName::evaluateSegment, {.category = Category::blocked, .message = "doubt"});
  const std::vector<model::SegmentId> other{model::SegmentId(kOtherSegment)};
  expectRefused(process, process.store.load(job), process.client.startSegmentJob(other, {}).id.value(), "it evaluates");
  const std::vector<model::SegmentId> same{model::SegmentId(kSegment)};
  const platform::SegmentJob ours = process.client.startSegmentJob(same, {});
  process.runner.decide(job, {.adopt = ours.id.value()}, {});
  EXPECT_EQ(process.store.load(job).segmentJobId, ours.id);
}

// --- lists in an order of their own

TEST(NewestBatches, OfSeveralAreTheNewestWhateverTheOrderOfTheList) {
  const auto entry = [](int number) {
    return "\"B" + std::to_string(number) + R"(": {"status": "success", "created": )" +
           std::to_string(1000000 + number) +
           R"(, "createdClient": "acp_foundation_push", "relatedObjects": [{"type": "dataSet", "id": ")" +
           kScoreDataset + "\"}]}";
  };
  const auto fault = [](const std::string& query, const std::string& body) {
    return R"json({"match": {"method": "GET", "path": "/catalog/batches\\?.*)json" + query +
           R"json("}, "times": -1, "do": {"status": 200, "body": {)json" + body + "}}}";
  };
  // The first page has the oldest; what is newer is there for whoever asks.
  const std::string old = entry(1) + "," + entry(2) + "," + entry(3);
  const std::string all = old + "," + entry(8) + "," + entry(9) + "," + entry(7);
  Journey journey;
  journey.world().change(R"({"faults": [)" + fault("createdAfter", all) + "," + fault("start=0", old) + "]}");
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.batches.limit = 3;
  std::vector<std::string> ids;
  for (const model::Batch& batch : chooseBatches(process.client, request, {})) ids.push_back(batch.id.value());
  EXPECT_THAT(ids, testing::ElementsAre("B9", "B8", "B7"));
}

TEST(NewestBatches, WhatAnUnlistedBatchReplacedIsReplacedByItsHeir) {
  const auto entry = [](const std::string& id, const std::string& created, const std::string& rest) {
    return "\"" + id + R"(": {"created": )" + created +
           R"(, "createdClient": "acp_foundation_push", "relatedObjects": [{"type": "dataSet", "id": ")" +
           kScoreDataset + "\"}], " + rest + "}";
  };
  const auto fault = [](const std::string& path, const std::string& body) {
    return R"json({"match": {"method": "GET", "path": "/catalog/batches)json" + path +
           R"json("}, "times": -1, "do": {"status": 200, "body": {)json" + body + "}}}";
  };
  const std::string listed =
      entry("A", "1000001", R"("status": "success")") + "," +
      entry("C", "1000003", R"("status": "success", "replay": {"reason": "replay", "predecessors": ["B"]})");
  const std::string unlisted =
      entry("B", "1000002", R"("status": "inactive", "replay": {"reason": "replay", "predecessors": ["A"]})");
  Journey journey;
  journey.world().change(R"({"faults": [)" + fault("/B", unlisted) + "," + fault("\\\\?", listed) + "]}");
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.batches.limit.reset();
  const std::vector<model::Batch> chosen = chooseBatches(process.client, request, {});
  EXPECT_THAT(model::replacedAmong(chosen), testing::ElementsAre(model::BatchId("A")));
}

// --- evaluations

TEST(Evaluations, OfEverySegmentAreOnlyOfThoseThatTheirCountersName) {
  for (const bool named : {false, true}) {
    Journey journey;
    const std::string at = millisecondsOf(journey.clock.now() - 2h);
    journey.world().change(R"json({"definition_metrics": false, "faults": [
        {"match": {"method": "GET", "path": "/segment/jobs(\\?|$)"}, "times": -1, "do": {"status": 200, "body":
        {"children": [{"id": "nightly", "status": "SUCCEEDED", "creationTime": )json" +
                           at + R"(, "updateTime": )" + at +
                           R"(, "segments": [{"segmentId": "*"}], "metrics": {"segmentedProfileCounter": {")" +
                           (named ? kSegment : kOtherSegment) +
                           R"(": 5}}}], "_page": {"totalCount": 1, "pageSize": 1}}}}]})");
    Journey::Process process(journey);
    model::ExportRequest request = journey.segmentRequest();
    request.guards.maxAge = 24h;
    const Outcome outcome = run(process, request);
    ASSERT_EQ(outcome.error.has_value(), !named) << (outcome.error ? outcome.error->what() : "");
    if (!named) {
      EXPECT_EQ(outcome.error->category(), Category::tooOld) << outcome.error->what();
    }
  }
}

}  // namespace
}  // namespace caiexport::engine
