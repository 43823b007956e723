#include <gmock/gmock.h>

#include <set>

#include "simulator/platform.h"

namespace caiexport::simulator {
namespace {

using testing::ElementsAre;

std::vector<std::string> ids(Platform& platform, const std::string& target) {
  return keysOf(jsonIn(platform.get(target)));
}

std::int64_t createdOf(Platform& platform, const std::string& id) {
  return objectIn(jsonIn(platform.get(batchesPath + "/" + id)), id)->getValue<std::int64_t>("created");
}

TEST(Batches, ComeInTheOrderAskedFor) {
  Platform platform;
  const auto newestFirst = ids(platform, scoreBatches + "&status=success&orderBy=desc:created");
  const auto oldestFirst = ids(platform, scoreBatches + "&status=success&orderBy=created");
  ASSERT_EQ(newestFirst.size(), 3U);
  EXPECT_THAT(oldestFirst, ElementsAre(newestFirst[2], newestFirst[1], newestFirst[0]));
  EXPECT_GT(createdOf(platform, newestFirst[0]), createdOf(platform, newestFirst[1]));
}

TEST(Batches, TheCallOfAdobesPageFindsTheNewest) {
  Platform platform;
  const auto found =
      ids(platform, batchesPath + "?&dataSet=5f0000000000000000000001&createdClient=acp_foundation_push" +
                        "&status=success&orderBy=desc:created&limit=1");
  EXPECT_EQ(found, std::vector{ids(platform, scoreBatches + "&status=success&orderBy=desc:created")[0]});
}

TEST(Batches, StatusTakesAListAndANegation) {
  Platform platform(R"({"batch_status": "active"})");
  EXPECT_EQ(ids(platform, scoreBatches + "&status=success").size(), 0U);
  EXPECT_EQ(ids(platform, scoreBatches + "&status=success,active").size(), 3U);
  EXPECT_EQ(ids(platform, scoreBatches + "&status=!active,success").size(), 1U);
}

TEST(Batches, CreatedBoundsAreExclusiveMilliseconds) {
  Platform platform;
  const auto all = ids(platform, scoreBatches + "&status=success&orderBy=created");
  const std::string middle = std::to_string(createdOf(platform, all[1]));
  EXPECT_THAT(ids(platform, scoreBatches + "&status=success&createdBefore=" + middle), ElementsAre(all[0]));
  EXPECT_THAT(ids(platform, scoreBatches + "&status=success&createdAfter=" + middle), ElementsAre(all[2]));
}

TEST(Batches, PageByStartUntilAShortPage) {
  Platform platform(R"({"batches": 130, "failed_batches": 0})");
  std::set<std::string> seen;
  std::vector<std::size_t> sizes;
  for (int start = 0; start <= 100; start += 100) {
    const auto page = ids(platform, scoreBatches + "&orderBy=desc:created&limit=100&start=" + std::to_string(start));
    sizes.push_back(page.size());
    seen.insert(page.begin(), page.end());
  }
  EXPECT_THAT(sizes, ElementsAre(100, 30));
  EXPECT_EQ(seen.size(), 130U);
  EXPECT_EQ(ids(platform, scoreBatches).size(), 20U);
  EXPECT_EQ(platform.get(scoreBatches + "&start=130").body, "{}");
}

TEST(Batches, PagesOfOneQueryAreOfWhatThereIsNow) {
  Platform platform(R"({"batches": 3, "failed_batches": 0})");
  const std::string list = scoreBatches + "&orderBy=desc:created&limit=2";
  const auto first = ids(platform, list);
  EXPECT_EQ(ids(platform, list + "&start=2").size(), 1U);
  platform.post("/_simulator/batch", R"({"id": ")" + first.front() + R"("})");
  EXPECT_THAT(ids(platform, list), testing::Not(testing::Contains(first.front())));
  EXPECT_TRUE(ids(platform, list + "&start=2").empty());
  platform.world.change(R"({"batches": 5})");
  EXPECT_EQ(ids(platform, list + "&start=2").size(), 2U);
}

TEST(Batches, BadParametersAre400) {
  Platform platform;
  for (const char* bad : {"&limit=0", "&limit=101", "&limit=x", "&start=-1", "&orderBy=up:created", "&dataSetId=1",
                          "&createdAfter=now"}) {
    EXPECT_EQ(platform.get(scoreBatches + bad).status, 400) << bad;
  }
}

TEST(Batches, PropertiesProjects) {
  Platform platform;
  const JsonObject answer = jsonIn(platform.get(scoreBatches + "&limit=1&properties=status,created,nothing"));
  EXPECT_THAT(keysOf(objectIn(answer, keysOf(answer)[0])), ElementsAre("status", "created"));
}

TEST(Batches, PropertyConditions) {
  Platform platform(R"({"replay": true})");
  EXPECT_EQ(ids(platform, scoreBatches + "&property=replay").size(), 1U);
  EXPECT_EQ(ids(platform, scoreBatches + "&property=!replay&status=success").size(), 2U);
  EXPECT_EQ(ids(platform, scoreBatches + "&property=status==failed").size(), 1U);
  EXPECT_EQ(ids(platform, scoreBatches + "&property=status~%5Esucc").size(), 3U);
}

TEST(Batches, OneByIdAndUnknown) {
  Platform platform;
  const std::string id = ids(platform, scoreBatches)[0];
  EXPECT_THAT(ids(platform, batchesPath + "/" + id), ElementsAre(id));
  EXPECT_EQ(platform.get(batchesPath + "/unknown").status, 404);
}

TEST(Batches, LastBatches) {
  Platform platform;
  const JsonObject last =
      jsonIn(platform.get("/data/foundation/catalog/lastBatches?dataSetId=5f0000000000000000000001,x"));
  EXPECT_THAT(keysOf(last), ElementsAre("5f0000000000000000000001"));
  EXPECT_EQ(stringIn(objectIn(last, "5f0000000000000000000001"), "lastBatchStatus"), "failed");
  EXPECT_EQ(stringIn(objectIn(last, "5f0000000000000000000001"), "lastSuccessfulBatchId"),
            ids(platform, scoreBatches + "&status=success&orderBy=desc:created")[0]);
}

const std::string datasetsPath = "/data/foundation/catalog/dataSets";

TEST(Datasets, AreCreatedFoundAndDeleted) {
  Platform platform;
  const std::string id = platform.newDataset("mine");
  EXPECT_THAT(ids(platform, datasetsPath + "?name=mine&properties=name"), ElementsAre(id));
  EXPECT_THAT(ids(platform, datasetsPath + "?name=mi*"), ElementsAre(id));
  EXPECT_THAT(ids(platform, datasetsPath + "/" + id), ElementsAre(id));
  EXPECT_EQ(platform.remove(datasetsPath + "/" + id).body.find(id) != std::string::npos, true);
  EXPECT_EQ(platform.remove(datasetsPath + "/" + id).body, "[]");
  EXPECT_EQ(platform.get(datasetsPath + "/" + id).status, 404);
  EXPECT_EQ(platform.world.statistics().datasetsCreated, 1U);
  EXPECT_EQ(platform.world.statistics().datasetsDeleted, 1U);
}

TEST(Datasets, ReplyInEitherSpelling) {
  Platform platform(R"({"dataset_reply": "lower"})");
  const std::string body = R"({"name":"a","schemaRef":{"id":"x","contentType":"y"}})";
  const Response made = platform.post(datasetsPath, body);
  EXPECT_EQ(made.status, 201);
  EXPECT_THAT(made.body, testing::StartsWith(R"(["@/datasets/)"));
  platform.world.change(R"({"dataset_reply": "camel"})");
  const std::string other = R"({"name":"b","schemaRef":{"id":"x","contentType":"y"}})";
  EXPECT_THAT(platform.post(datasetsPath, other).body, testing::StartsWith(R"(["@/dataSets/)"));
}

TEST(Datasets, BadBodiesAndTakenNamesAreRefused) {
  Platform platform;
  platform.newDataset("taken");
  EXPECT_EQ(platform.post(datasetsPath, R"({"name":"taken","schemaRef":{"id":"x","contentType":"y"}})").status, 400);
  EXPECT_EQ(platform.post(datasetsPath, R"({"name":"a"})").status, 400);
  EXPECT_EQ(platform.post(datasetsPath, "not json").status, 400);
  EXPECT_EQ(platform.send("POST", datasetsPath, goodHeaders(), "{}").status, 415);
  EXPECT_EQ(platform
                .post(datasetsPath,
                      R"({"name":"t","schemaRef":{"id":"x","contentType":"y"},"tags":{"adobe/pqs/table":["x"]}})")
                .status,
            403);
  EXPECT_EQ(platform.world.statistics().datasetsCreated, 1U);
}

}  // namespace
}  // namespace caiexport::simulator
