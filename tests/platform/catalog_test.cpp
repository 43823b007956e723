#include "fixture.h"

namespace caiexport::platform {
namespace {

using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kBatches = "/data/foundation/catalog/batches";
constexpr const char* kDatasets = "/data/foundation/catalog/dataSets";

core::TimePoint at(std::int64_t ms) {
  return core::TimePoint(core::Duration(ms));
}

std::string batch(const std::string& id, int created, const std::string& more = "") {
  return "\"" + id + R"(": {"status": "success", "created": )" + std::to_string(created) + more + "}";
}

/// Batches first, first-1, ..., as an object keyed by id.
std::string batchPage(int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += (i > 0 ? ", " : "") + batch("b" + std::to_string(first - i), first - i);
  return text + "}";
}

class BatchTest : public ClientTest {
 protected:
  std::vector<model::Batch> list(BatchQuery query = {.dataset = model::DatasetId("D")}) {
    std::vector<model::Batch> result;
    client.forEachBatch(
        query,
        [&](const model::Batch& found) {
          result.push_back(found);
          return true;
        },
        stop);
    return result;
  }
  std::vector<std::string> ids(const std::vector<model::Batch>& batches) {
    std::vector<std::string> result;
    for (const model::Batch& found : batches) result.push_back(found.id.value());
    return result;
  }
  void answer(const std::string& body) { transport.on("GET", support::path(kBatches), kBatches).answers(200, body); }
};

TEST_F(BatchTest, SendsEveryFilter) {
  transport
      .on("GET",
          std::string(kBatches) +
              "?dataSet=D%2F1&createdClient=acp_foundation_push&status=success,active&createdAfter=999&"
              "createdBefore=2000&properties=status,created,createdClient,createdUser,recordCount,metrics,replay,"
              "relatedObjects,tags&orderBy=desc:created&limit=100&start=0")
      .answers(200, "{}");
  EXPECT_TRUE(list({.dataset = model::DatasetId("D/1"),
                    .createdClient = "acp_foundation_push",
                    .since = at(1000),
                    .until = at(2000)})
                  .empty());
}

TEST_F(BatchTest, ReadsAllThatMatters) {
  answer(
      R"({"B1": {"id": "other", "status": "active", "created": "1764000000000", "createdClient": "acp_foundation_push",
             "unknown": 99999999999999999999, "imsOrg": null, "metrics": {"outputRecordCount": 24340, "inputFileCount": -1},
             "recordCount": 7, "replay": {"predecessors": ["B0", "A9"], "reason": "Replacement", "predecessorListingType": "ALL"}}})");
  const model::Batch found = list().at(0);
  EXPECT_EQ(found.id.value(), "B1");
  EXPECT_EQ(found.status, "active");
  EXPECT_EQ(found.created, at(1764000000000));
  EXPECT_EQ(found.createdClient, "acp_foundation_push");
  EXPECT_EQ(found.records, 24340U);
  EXPECT_THAT(found.predecessors, ElementsAre(model::BatchId("B0"), model::BatchId("A9")));
  EXPECT_EQ(found.replayReason, "Replacement");
}

TEST_F(BatchTest, TakesTheRecordsFromEitherVocabulary) {
  answer("{" + batch("a", 9, R"(, "metrics": {"recordsWritten": "12", "recordsRead": 1}, "replay": {})") + "," +
         batch("b", 8, R"(, "metrics": {"outputRecordCount": -1, "recordsWritten": 3})") + "," +
         batch("c", 7, R"(, "metrics": {}, "recordCount": 5, "createdClient": {}, "replay": null)") + "," +
         batch("d", 6, R"(, "metrics": {"outputRecordCount": -1}, "recordCount": -1)") + "}");
  const auto found = list();
  EXPECT_EQ(found.at(0).records, 12U);
  EXPECT_EQ(found.at(1).records, 3U);
  EXPECT_EQ(found.at(2).records, 5U);
  EXPECT_EQ(found.at(3).records, std::nullopt);
}

TEST_F(BatchTest, TellsKindsApart) {
  const std::string related = R"(, "relatedObjects": [{"type": "dataSet", "id": "D"})";
  answer("{" + batch("plain", 9, related + "]") + "," +
         batch("packed", 8,
               R"(, "tags": {"acp_workflow": ["Batch_Consolidation"]}, "replay": {"predecessors": ["plain"]})") +
         "," + batch("pressed", 7, R"(, "createdClient": "acp_data_compaction")") + "," +
         batch("noted", 6, related + R"(, {"type": "batch", "id": "plain"}])") + "," +
         batch("known", 5, R"(, "createdClient": "acp_core_identity_data")") + "," +
         batch("known2", 4, R"(, "createdClient": "acp_core_ups_ingest_controller")") + "," +
         batch("foreign", 3, R"(, "relatedObjects": [{"type": "dataSet", "id": "E"}])") + "}");
  const auto found = list({.dataset = model::DatasetId("D"), .everyKind = true});
  EXPECT_THAT(ids(found), ElementsAre("plain", "packed", "pressed", "noted", "known", "known2"));
  using enum model::BatchKind;
  std::vector<model::BatchKind> kinds;
  for (const model::Batch& one : found) kinds.push_back(one.kind);
  EXPECT_THAT(kinds, ElementsAre(ordinary, consolidation, consolidation, tracking, tracking, tracking));
  EXPECT_THAT(found.at(0).datasets, ElementsAre(model::DatasetId("D")));
  EXPECT_THAT(found.at(1).absorbed, ElementsAre(model::BatchId("plain")));
  EXPECT_TRUE(found.at(1).predecessors.empty()) << "a consolidation supersedes nothing";
}

TEST_F(BatchTest, VisitsOnlyWhatCanBeRead) {
  answer("{" + batch("packed", 8, R"(, "tags": {"acp_workflow": "CONSOLIDATION"})") + "," + batch("plain", 7) + "}");
  EXPECT_THAT(ids(list()), ElementsAre("plain"));
}

TEST_F(BatchTest, SortsAgainByCreated) {
  answer("{" + batch("old", 1) + "," + batch("z", 3) + "," + batch("new", 5) + "," + batch("a", 3) + "}");
  EXPECT_THAT(ids(list()), ElementsAre("new", "z", "a", "old"));
}

TEST_F(BatchTest, ReadsAnArrayToo) {
  answer(R"([{"id": "b1", "status": "success", "created": 1}, {"id": 22, "status": "success", "created": 2}])");
  EXPECT_THAT(ids(list()), ElementsAre("22", "b1"));
}

TEST_F(BatchTest, PagesUntilAShortPageAndVisitsEachOnce) {
  answer(batchPage(300, 100));
  answer(batchPage(201, 100));  // One new batch came in between: the last one is repeated.
  answer(batchPage(101, 30));
  const auto found = list();
  EXPECT_EQ(found.size(), 229U);
  EXPECT_EQ(found.back().id.value(), "b72");
  EXPECT_THAT(transport.requests().at(2).url, HasSubstr("limit=100&start=200"));
}

TEST_F(BatchTest, EndsWhenAServerIgnoresStart) {
  answer(batchPage(300, 100));
  answer(batchPage(300, 100));
  EXPECT_EQ(list().size(), 100U);
}

TEST_F(BatchTest, AnExactlyFullLastPageIsFollowedByAnEmptyOne) {
  answer(batchPage(300, 100));
  answer("{}");
  EXPECT_EQ(list().size(), 100U);
}

TEST_F(BatchTest, FetchesNoPageThatNobodyNeeds) {
  answer(batchPage(300, 100));
  int visits = 0;
  client.forEachBatch(
      {.dataset = model::DatasetId("D")}, [&](const model::Batch&) { return ++visits < 3; }, stop);
  EXPECT_EQ(visits, 3);
}

TEST_F(BatchTest, ChecksTheFiltersAgain) {
  answer("{" + batch("late", 2000) + "," + batch("in", 1500, R"(, "createdClient": "c")") + "," +
         batch("first", 1000, R"(, "createdClient": "c")") + "," + batch("early", 999) + "," +
         batch("other", 1400, R"(, "createdClient": "x")") + R"(, "bad": {"status": "failed", "created": 1500}})");
  EXPECT_THAT(ids(list({.dataset = model::DatasetId("D"), .createdClient = "c", .since = at(1000), .until = at(2000)})),
              ElementsAre("in", "first"));
}

TEST_F(BatchTest, LeavesOutNoStatusWhenNoneIsAskedFor) {
  answer(R"({"a": {"status": "failed", "created": 2}, "b": {"status": "odd", "created": 1}})");
  EXPECT_THAT(ids(list({.dataset = model::DatasetId("D"), .statuses = {}})), ElementsAre("a", "b"));
  EXPECT_THAT(transport.requests().at(0).url, testing::Not(HasSubstr("&status=")));
}

TEST_F(BatchTest, NamesWhatIsMissingOrMistyped) {
  for (const auto& [body, words] : std::vector<std::pair<std::string, std::string>>{
           {R"({"B1": {"created": 1}})", "B1.status is missing"},
           {R"({"B1": {"status": "success"}})", "B1.created is missing"},
           {R"({"B1": {"status": "success", "created": "today"}})", "B1.created"},
           {R"({"B1": {"status": true, "created": 1}})", "B1.status"},
           {R"({"type": "x", "title": "y"})", "type is not an object"},
           {R"({"../x": {"status": "success", "created": 1}})", "'../x'"},
           {R"([{"status": "success", "created": 1}])", "[0].id is missing"}}) {
    answer(body);
    const auto error = failureOf(Category::protocol, [&] { list(); });
    EXPECT_THAT(error.what(), HasSubstr(words));
    EXPECT_THAT(error.what(),
                HasSubstr("cannot list the batches of dataset D: GET https://platform.example/data/foundation"));
  }
}

TEST_F(BatchTest, FindsOneKeyedOrBare) {
  const auto find = [&](const std::string& body) {
    transport.on("GET", std::string(kBatches) + "/B1").answers(200, body);
    return client.findBatch(model::BatchId("B1"), stop);
  };
  EXPECT_EQ(find("{" + batch("B1", 5) + "}")->created, at(5));
  EXPECT_EQ(find(R"({"id": "B1", "status": "loading", "created": 6, "metrics": {}})")->status, "loading");
  EXPECT_EQ(find(R"({"status": "loading", "created": 6})")->id.value(), "B1");
  EXPECT_EQ(find(R"([{"id": "B1", "status": "loading", "created": 6}])")->created, at(6));
  EXPECT_FALSE(find("{}"));
  EXPECT_FALSE(find("[]"));
  for (const std::string& other :
       {"{" + batch("B2", 5) + "}", std::string(R"({"id": "B2", "status": "x", "created": 1})"),
        std::string(R"([{"id": "B2", "status": "x", "created": 1}])")}) {
    EXPECT_THAT(failureOf(Category::protocol, [&] { find(other); }).what(), HasSubstr("something else than 'B1'"));
  }
}

TEST_F(BatchTest, IsNotThereAfter404) {
  transport.on("GET", std::string(kBatches) + "/B1").answers(404, R"({"title": "NotFoundError"})");
  EXPECT_FALSE(client.findBatch(model::BatchId("B1"), stop));
}

TEST(BatchPhaseTest, KnowsEveryWord) {
  for (const char* word : {"success", "active", "Active"}) EXPECT_EQ(phaseOf(word), BatchPhase::readable) << word;
  for (const char* word : {"queued", "loading", "loaded", "staging", "staged", "processing", "retrying"}) {
    EXPECT_EQ(phaseOf(word), BatchPhase::moving) << word;
  }
  for (const char* word : {"failed", "failure", "aborted", "abandoned", "stalled", "deleted"}) {
    EXPECT_EQ(phaseOf(word), BatchPhase::failed) << word;
  }
  for (const char* word : {"inactive", "archived", "retained"}) EXPECT_EQ(phaseOf(word), BatchPhase::withdrawn) << word;
  EXPECT_EQ(phaseOf("brandnew"), BatchPhase::unknown);
}

// --- datasets

using DatasetTest = ClientTest;

TEST_F(DatasetTest, IsCreatedOverTheUnionSchema) {
  transport.on("POST", kDatasets).answers(201, R"(["@/dataSets/5f00aa"])").answers(200, R"(["@/datasets/5f00ab"])");
  EXPECT_EQ(client.createDataset({.name = "High \"risk\"\n\u00e9", .description = "job 1"}, stop).value(), "5f00aa");
  EXPECT_EQ(client.createDataset({.name = "N", .description = ""}, stop).value(), "5f00ab");
  EXPECT_EQ(transport.requests().at(0).body,
            "{\"name\":\"High \\\"risk\\\"\\n\u00e9\",\"description\":\"job 1\","
            R"("schemaRef":{"id":"https://ns.adobe.com/xdm/context/profile__union",)"
            R"("contentType":"application/vnd.adobe.xed+json;version=1"}})");
  EXPECT_THAT(transport.requests().at(1).body, testing::Not(HasSubstr("description")));
}

TEST_F(DatasetTest, RefusesANameThatIsNotUtf8BeforeSending) {
  failureOf(Category::usage, [&] { client.createDataset({.name = "\xff", .description = ""}, stop); });
  EXPECT_EQ(transport.requestCount(), 0U);
}

TEST_F(DatasetTest, IsFoundById) {
  transport.on("GET", std::string(kDatasets) + "/D1")
      .answers(
          200,
          R"({"D1": {"name": "N", "description": {}, "created": 5, "schemaRef": {"id": "S", "contentType": "c"}}})")
      .answers(404);
  const auto found = client.findDataset(model::DatasetId("D1"), stop);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "N");
  EXPECT_EQ(found->description, "");
  EXPECT_EQ(found->schemaId, "S");
  EXPECT_EQ(found->created, at(5));
  EXPECT_FALSE(client.findDataset(model::DatasetId("D1"), stop));
}

TEST_F(DatasetTest, IsFoundByExactlyItsName) {
  transport
      .on("GET",
          std::string(kDatasets) +
              "?name=My%20set&properties=name,description,schemaRef,created&orderBy=desc:created&limit=100&start=0")
      .answers(200,
               R"({"D1": {"name": "My set", "description": "a", "created": 1}, "D2": {"name": "my set", "created": 2},
                        "D3": {"name": "My set", "created": 3}, "D4": {}})");
  const auto found = client.findDatasetsByName("My set", stop);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id.value(), "D3");
  EXPECT_EQ(found[1].description, "a");
}

TEST_F(DatasetTest, ANameThatReadsAsAFilterIsLookedForInTheWholeList) {
  for (const char* name : {"a,b", "!a", "a*", "x~y"}) {
    transport
        .on("GET", std::string(kDatasets) +
                       "?properties=name,description,schemaRef,created&orderBy=desc:created&limit=100&start=0")
        .answers(200, std::string(R"({"D1": {"name": ")") + name + R"("}, "D2": {"name": "a"}})");
    EXPECT_EQ(client.findDatasetsByName(name, stop).size(), 1U) << name;
  }
}

TEST_F(DatasetTest, AreListedNewestFirst) {
  transport.on("GET", support::path(kDatasets)).answers(200, R"({"D1": {"created": 1}, "D2": {"created": 2}})");
  std::vector<std::string> ids;
  client.forEachDataset(
      [&](const Dataset& dataset) {
        ids.push_back(dataset.id.value());
        return true;
      },
      stop);
  EXPECT_THAT(ids, ElementsAre("D2", "D1"));
}

TEST_F(DatasetTest, IsDeletedWhateverTheAnswer) {
  transport.on("DELETE", std::string(kDatasets) + "/D1")
      .answers(200, R"(["@/dataSets/D1"])")
      .answers(200, "[]")
      .answers(204)
      .answers(404)
      .answers(503)
      .answers(200);
  for (int i = 0; i < 5; ++i) client.deleteDataset(model::DatasetId("D1"), stop);
}

// --- surroundings

TEST_F(DatasetTest, UnionSchemasAndSandboxesAreListed) {
  transport.on("GET", "/data/foundation/schemaregistry/tenant/unions")
      .answers(200, R"({"results": [{"$id": "https://ns.adobe.com/xdm/context/profile__union", "title": "P"}],
                        "_links": {"next": {"href": "/data/foundation/schemaregistry/tenant/unions?start=x"}}})");
  transport.on("GET", "/data/foundation/schemaregistry/tenant/unions?start=x").answers(200, R"({"results": []})");
  EXPECT_THAT(client.unionSchemaIds(stop), ElementsAre(kProfileUnionSchema));
  EXPECT_EQ(transport.requests().at(0).headers.get("Accept"), "application/vnd.adobe.xed-id+json");

  transport.on("GET", "/data/foundation/sandbox-management/sandboxes?limit=100")
      .answers(200, R"({"sandboxes": [{"name": "prod", "title": "Production", "state": "active"}, {"name": "dev"}]})");
  const auto sandboxes = client.sandboxes(stop);
  ASSERT_EQ(sandboxes.size(), 2U);
  EXPECT_EQ(sandboxes[0].title, "Production");
  EXPECT_EQ(sandboxes[1].name, "dev");
}

}  // namespace
}  // namespace caiexport::platform
