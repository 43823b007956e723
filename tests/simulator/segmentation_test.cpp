#include <gmock/gmock.h>

#include "simulator/platform.h"

namespace caiexport::simulator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string exportPath = "/data/core/ups/export/jobs";
const std::string segmentPath = "/data/core/ups/segment/jobs";

std::string statusOf(const Response& response) {
  return jsonIn(response)->getValue<std::string>("status");
}

std::string idOf(const Response& response) {
  return jsonIn(response)->get("id").convert<std::string>();
}

/// Starts an export into a new dataset and polls until it is done.
JsonObject finishedExport(Platform& platform) {
  static int number = 0;
  const Response started = platform.startExport(platform.newDataset("target " + std::to_string(++number)));
  JsonObject job = jsonIn(started);
  for (int poll = 0; poll < 10 && stringIn(job, "status") != "SUCCEEDED"; ++poll) {
    job = jsonIn(platform.get(exportPath + "/" + idOf(started)));
  }
  return job;
}

TEST(ExportJobs, MoveOneStatusAPollAndLeaveABatch) {
  Platform platform;
  const std::string dataset = platform.newDataset("target");
  const Response started = platform.startExport(dataset);
  ASSERT_EQ(started.status, 200);
  EXPECT_EQ(statusOf(started), "NEW");
  const std::string job = exportPath + "/" + idOf(started);
  const std::string batch = stringIn(objectIn(jsonIn(started), "destination"), "batchId").value();
  EXPECT_EQ(statusOf(platform.get(job)), "PROCESSING");
  EXPECT_EQ(platform.get(batchesPath + "/" + batch).status, 404);
  const Response done = platform.get(job);
  EXPECT_EQ(statusOf(done), "SUCCEEDED");
  EXPECT_EQ(objectIn(jsonIn(done), "metrics")->getValue<int>("totalExportedProfileCounter"), 250);

  const JsonObject made = objectIn(jsonIn(platform.get(batchesPath + "/" + batch)), batch);
  EXPECT_EQ(stringIn(made, "status"), "success");
  EXPECT_EQ(objectIn(made, "metrics")->getValue<int>("outputRecordCount"), 250);
  EXPECT_THAT(keysOf(jsonIn(platform.get(batchesPath + "?dataSet=" + dataset))), ElementsAre(batch));
  // A further poll makes no second batch.
  EXPECT_EQ(statusOf(platform.get(job)), "SUCCEEDED");
  EXPECT_EQ(keysOf(jsonIn(platform.get(batchesPath + "?dataSet=" + dataset))).size(), 1U);
  EXPECT_EQ(platform.world.statistics().exportJobsAccepted, 1U);
  EXPECT_EQ(platform.world.statistics().unfilteredExports, 0U);
}

TEST(ExportJobs, WithoutSegmentsExportEverybodyAndAreCounted) {
  Platform platform;
  const std::string body = R"({"schema":{"name":"_xdm.context.profile"},"destination":{"datasetId":")" +
                           platform.newDataset("all") + R"("}})";
  EXPECT_EQ(platform.post(exportPath, body).status, 200);
  EXPECT_EQ(platform.world.statistics().unfilteredExports, 1U);
}

TEST(ExportJobs, BadRequestsAreRefused) {
  Platform platform;
  EXPECT_EQ(platform.startExport("unknown").status, 400);
  // A dataset of another schema can't take profiles.
  EXPECT_EQ(platform.startExport("5f0000000000000000000001").status, 400);
  const std::string dataset = platform.newDataset("target");
  const std::string tail = R"("destination":{"datasetId":")" + dataset + R"("}})";
  const std::string schema = R"("schema":{"name":"_xdm.context.profile"},)";
  const auto with = [&](const std::string& members) { return platform.post(exportPath, "{" + members + tail); };
  EXPECT_EQ(with("").status, 400);
  EXPECT_EQ(with(schema + R"("fields":["a"],)").status, 400);
  EXPECT_EQ(with(schema + R"("filter":{"segments":[{"segmentId":"no such"}]},)").status, 400);
  EXPECT_EQ(
      with(schema +
           R"("filter":{"segments":[{"segmentId":"7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a","status":["exiting"]}]},)")
          .status,
      400);
  EXPECT_EQ(platform.world.statistics().exportJobsAccepted, 0U);
}

TEST(ExportJobs, NameTheirBatchesInEveryForm) {
  Platform platform;
  const auto destination = [&](const std::string& scenario) {
    platform.world.change(scenario);
    return objectIn(finishedExport(platform), "destination");
  };
  EXPECT_TRUE(destination(R"({"batches_form": "id"})")->get("batchId").isString());
  const JsonObject inArray = destination(R"({"batches_form": "array", "dataset_id_key": "dataSetId"})");
  EXPECT_TRUE(arrayIn(inArray, "batches")->getObject(0)->has("batchId"));
  EXPECT_TRUE(inArray->has("dataSetId"));
  EXPECT_FALSE(inArray->has("datasetId"));
  EXPECT_TRUE(objectIn(destination(R"({"batches_form": "object"})"), "batches")->has("batchId"));
  const JsonObject none = destination(R"({"batches_form": "none"})");
  EXPECT_FALSE(none->has("batches") || none->has("batchId"));
}

TEST(ExportJobs, EndAsTheScenarioSays) {
  const auto end = [](const std::string& result) {
    Platform platform(R"({"export_polls": 1, "export_result": ")" + result + "\"}");
    const Response started = platform.startExport(platform.newDataset("target"));
    return platform.get(exportPath + "/" + idOf(started));
  };
  const Response failed = end("FAILED");
  EXPECT_EQ(statusOf(failed), "FAILED");
  EXPECT_EQ(arrayIn(jsonIn(failed), "errors")->size(), 1U);
  EXPECT_EQ(stringIn(objectIn(jsonIn(failed), "destination"), "batchId"), "");
  const Response partly = end("SUCCEEDED_WITH_ERRORS");
  EXPECT_EQ(statusOf(partly), "SUCCEEDED");
  EXPECT_EQ(arrayIn(jsonIn(partly), "errors")->size(), 1U);
  EXPECT_EQ(statusOf(end("CANCELLED")), "CANCELLED");
  EXPECT_EQ(end("VANISHED").status, 404);
}

TEST(ExportJobs, UnknownStatusesComeBetween) {
  Platform platform(R"({"unknown_status": "WARMING_UP"})");
  const Response started = platform.startExport(platform.newDataset("target"));
  EXPECT_EQ(statusOf(platform.get(exportPath + "/" + idOf(started))), "WARMING_UP");
  EXPECT_EQ(statusOf(platform.get(exportPath + "/" + idOf(started))), "SUCCEEDED");
}

TEST(ExportJobs, AreCancelled) {
  Platform platform;
  const Response started = platform.startExport(platform.newDataset("target"));
  const std::string job = exportPath + "/" + idOf(started);
  EXPECT_EQ(platform.remove(job).status, 200);
  EXPECT_EQ(statusOf(platform.get(job)), "CANCELLED");
  platform.world.change(R"({"delete_reply": "204"})");
  EXPECT_EQ(platform.remove(job).body, "");
  EXPECT_EQ(platform.remove(exportPath + "/1").status, 404);
}

TEST(ExportJobs, AreListedNewestFirstWithARelativeOpaqueNext) {
  Platform platform;
  std::vector<std::string> started;
  for (int number = 0; number < 5; ++number) {
    platform.clock.advance(std::chrono::seconds(1));
    started.push_back(idOf(platform.startExport(platform.newDataset("target " + std::to_string(number)))));
  }
  std::vector<std::string> listed;
  std::string target = exportPath + "?limit=2&status=NEW";
  for (int page = 0; page < 3; ++page) {
    const JsonObject answer = jsonIn(platform.get(target));
    for (const auto& record : *arrayIn(answer, "records")) {
      listed.push_back(asObject(record)->get("id").convert<std::string>());
    }
    const auto next = stringIn(objectIn(answer, "link"), "next");
    EXPECT_EQ(next.has_value(), page < 2);
    if (next) {
      EXPECT_THAT(*next, testing::StartsWith("/export/jobs/?limit=2&offset="));
      target = "/data/core/ups" + *next;
    }
  }
  EXPECT_THAT(listed, testing::ElementsAreArray(started.rbegin(), started.rend()));
}

TEST(ExportedBatches, MayAppearLate) {
  Platform platform(R"({"batch_visible_after_polls": 2, "early_batch_statuses": ["loading"]})");
  const std::string batch = stringIn(objectIn(finishedExport(platform), "destination"), "batchId").value();
  const std::string path = batchesPath + "/" + batch;
  EXPECT_EQ(platform.get("/data/foundation/export/batches/" + batch + "/files").status, 404);
  EXPECT_EQ(platform.get(path).status, 404);
  EXPECT_EQ(platform.get(path).status, 404);
  EXPECT_THAT(platform.get(path).body, HasSubstr(R"("status":"loading")"));
  EXPECT_THAT(platform.get(path).body, HasSubstr(R"("status":"success")"));
  EXPECT_EQ(arrayIn(jsonIn(platform.get("/data/foundation/export/batches/" + batch + "/files")), "data")->size(), 1U);
}

TEST(SegmentJobs, MoveOnAndAreListed) {
  Platform platform(R"({"nightly_evaluations": 0})");
  const std::string body = R"([{"segmentId":"7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a"}])";
  const Response started = platform.post(segmentPath, body);
  EXPECT_EQ(statusOf(started), "NEW");
  const std::string job = segmentPath + "/" + idOf(started);
  EXPECT_EQ(statusOf(platform.get(job)), "PROCESSING");
  EXPECT_EQ(statusOf(platform.get(job)), "SUCCEEDED");
  const auto listed = [&](const std::string& segment) {
    return arrayIn(jsonIn(platform.get(segmentPath + "?property=segments~segmentId==" + segment)), "children")->size();
  };
  EXPECT_EQ(listed("7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a"), 1U);
  EXPECT_EQ(listed("other"), 0U);
  EXPECT_EQ(platform.post(segmentPath, R"([{"segmentId":"unknown"}])").status, 400);
  EXPECT_EQ(platform.post(segmentPath, R"({"segments":[{"segmentId":"*"}]})").status, 200);
  EXPECT_EQ(platform.world.statistics().segmentJobsAccepted, 2U);
}

TEST(Definitions, AreListedInPagesAndFoundById) {
  Platform platform(R"({"other_segments": 24})");
  const std::string path = "/data/core/ups/segment/definitions";
  EXPECT_EQ(arrayIn(jsonIn(platform.get(path)), "segments")->size(), 20U);
  EXPECT_EQ(arrayIn(jsonIn(platform.get(path + "?page=1")), "segments")->size(), 5U);
  EXPECT_EQ(stringIn(jsonIn(platform.get(path + "/7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a")), "name"), "High churn risk");
  EXPECT_EQ(platform.get(path + "/unknown").status, 404);
}

}  // namespace
}  // namespace caiexport::simulator
