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
  /// The same whatever `start` is: then the list has no more.
  void answer(const std::string& body) {
    transport.verify();
    transport.on("GET", support::path(kBatches), kBatches).answers(200, body).forEver();
  }
};

/// A list of Catalog's that keeps to `limit` and `start`.
class ServedList {
 public:
  std::vector<std::string> entries = {};  ///< `"id": {...}`, in the order of the list.
  std::size_t most = 100;                 ///< On a page, whatever is asked for.
  std::function<void(std::size_t request)> between = [](std::size_t) {};
  std::function<std::optional<support::Reply>(std::size_t limit)> instead = [](std::size_t) { return std::nullopt; };
  std::vector<std::string> asked = {};

  support::FakeTransport::Answer answer() {
    return [this](const net::HttpRequest& request) {
      between(asked.size());
      const std::size_t limit = numberAfter(request.url, "&limit=");
      const std::size_t start = numberAfter(request.url, "&start=");
      asked.push_back(std::to_string(limit) + "@" + std::to_string(start));
      if (auto other = instead(limit)) return *other;
      std::string text;
      for (std::size_t at = start; at < entries.size() && at < start + std::min(limit, most); ++at) {
        text += (text.empty() ? "" : ", ") + entries[at];
      }
      return support::reply(200, "{" + text + "}");
    };
  }

 private:
  static std::size_t numberAfter(const std::string& url, const std::string& word) {
    return std::stoul(url.substr(url.find(word) + word.size()));
  }
};

class BatchListTest : public BatchTest {
 protected:
  void serve(int first, int count) {
    for (int i = 0; i < count; ++i) served.entries.push_back(batch("b" + std::to_string(first - i), first - i));
    transport.on("GET", support::path(kBatches), kBatches).answers(served.answer()).forEver();
  }
  ServedList served;
};

TEST_F(BatchListTest, IsReadToItsEndWhateverThePagesHold) {
  served.most = 7;
  serve(300, 229);
  EXPECT_EQ(list().size(), 229U);
}

TEST_F(BatchListTest, IsReadToItsEndWhereAPageNeverHoldsMoreThanOne) {
  served.most = 1;
  serve(300, 5);
  EXPECT_EQ(list().size(), 5U);
}

/// Then what is beyond the page can't be had, and a part must not pass for the whole.
TEST_F(BatchListTest, OfAServerThatIgnoresStartIsWholeOrAnError) {
  std::string newest;
  std::string older;
  for (int i = 40; i > 0; --i) {
    std::string& page = i > 20 ? newest : older;
    page += (page.empty() ? "" : ", ") + batch("b" + std::to_string(i), i);
  }
  bool hasMore = true;
  transport.on("GET", support::path(kBatches), kBatches)
      .answers([&](const net::HttpRequest& request) {
        const bool beyond = request.url.find("createdBefore=22") != std::string::npos;
        return support::reply(200, "{" + (hasMore && beyond ? older : newest) + "}");
      })
      .forEver();
  EXPECT_THAT(failureOf(Category::protocol, [&] { list(); }).what(), HasSubstr("whatever `start` is"));
  hasMore = false;
  EXPECT_EQ(list().size(), 20U);
}

TEST_F(BatchListTest, FindsWhatSlidOverTheBorderOfAPage) {
  serve(500, 350);
  served.between = [&](std::size_t request) {
    // Two leave the list, one of them the last that was read.
    if (request == 1) served.entries.erase(served.entries.begin() + 10);
    if (request == 2) served.entries.erase(served.entries.begin() + 197, served.entries.begin() + 199);
  };
  std::vector<std::string> found = ids(list());
  EXPECT_EQ(found.size(), 350U) << "those that left had been read";
  std::ranges::sort(found);
  EXPECT_EQ(std::ranges::adjacent_find(found), found.end());
}

TEST_F(BatchListTest, FindsWhatSlidWhenTheListGotShorterThanWhatWasRead) {
  serve(300, 101);
  served.between = [&](std::size_t request) {
    if (request == 1) served.entries.erase(served.entries.begin(), served.entries.begin() + 5);
  };
  EXPECT_EQ(list().size(), 101U);
}

TEST_F(BatchListTest, NewOnesAtTheFrontHideNothing) {
  serve(300, 150);
  served.between = [&](std::size_t request) {
    if (request > 0 && request < 3)
      served.entries.insert(served.entries.begin(), batch("n" + std::to_string(request), 900));
  };
  EXPECT_GE(list().size(), 150U);
}

TEST_F(BatchListTest, AsksForLessWhereThePlatformIsTooSlowAndStaysThere) {
  serve(300, 8);
  served.instead = [](std::size_t limit) -> std::optional<support::Reply> {
    if (limit <= 5) return std::nullopt;
    return support::reply(504, R"({"message": "This request timed out on database, please optimize your request"})");
  };
  EXPECT_EQ(list().size(), 8U);
  EXPECT_EQ(served.asked, (std::vector<std::string>{"100@0", "20@0", "5@0", "5@4", "5@7"}));
  EXPECT_TRUE(clock.sleeps().empty()) << "no try is waited for where another question helps";
  served.asked.clear();
  list();
  EXPECT_EQ(served.asked.front(), "5@0");
}

TEST_F(BatchListTest, ReadsOneByOneWhereNothingElseComes) {
  serve(300, 9);
  served.instead = [](std::size_t limit) -> std::optional<support::Reply> {
    if (limit == 1) return std::nullopt;
    return support::reply(504);
  };
  served.between = [&](std::size_t request) {
    if (request == 10) served.entries.erase(served.entries.begin());
    if (request == 17) served.entries.insert(served.entries.begin(), batch("new", 900));
  };
  const std::vector<std::string> found = ids(list());
  for (int i = 0; i < 9; ++i) EXPECT_THAT(found, testing::Contains("b" + std::to_string(300 - i)));
}

TEST_F(BatchListTest, PagesMayDieInTheMiddleOfTheList) {
  serve(300, 130);
  served.instead = [&](std::size_t limit) -> std::optional<support::Reply> {
    if (limit == 1 || served.asked.size() < 2) return std::nullopt;
    return support::reply(504);
  };
  EXPECT_EQ(list().size(), 130U);
}

TEST_F(BatchListTest, AReadTimeoutAsksForLessToo) {
  serve(300, 3);
  served.instead = [](std::size_t limit) -> std::optional<support::Reply> {
    if (limit < 100) return std::nullopt;
    throw core::TransientError("timed out", {.tooSlow = true});
  };
  EXPECT_EQ(list().size(), 3U);
  EXPECT_EQ(served.asked.at(1), "20@0");
}

TEST_F(BatchListTest, AsksForWhatIsNeededFirst) {
  serve(300, 30);
  int visits = 0;
  client.forEachBatch(
      {.dataset = model::DatasetId("D"), .enough = 1}, [&](const model::Batch&) { return ++visits < 3; }, stop);
  EXPECT_EQ(served.asked, (std::vector<std::string>{"1@0", "5@0"}));
}

TEST_F(BatchListTest, AListThatNeverHoldsStillIsNotTakenForWhole) {
  serve(3000, 2000);
  served.between = [&](std::size_t) { served.entries.erase(served.entries.begin(), served.entries.begin() + 10); };
  failureOf(Category::unavailable, [&] { list(); });
}

TEST_F(BatchTest, SendsEveryFilter) {
  transport
      .on("GET",
          std::string(kBatches) +
              "?dataSet=D%2F1&createdClient=acp_foundation_push&status=success,active&createdAfter=999&"
              "createdBefore=2000&properties=status,created,createdClient,createdUser,recordCount,metrics,replay,"
              "relatedObjects,tags,externalId&orderBy=desc:created&limit=100&start=0")
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

TEST_F(BatchTest, HowLargeFilesAreIsAGuess) {
  answer("{" + batch("a", 9, R"(, "metrics": {"outputByteSize": 7000, "outputFileCount": 3})") + "," +
         batch("b", 8, R"(, "metrics": {"outputByteSize": 7000, "outputFileCount": 0})") + "," +
         batch("c", 7, R"(, "metrics": {"outputByteSize": -1, "outputFileCount": 3})") + "," + batch("d", 6) + "}");
  const auto found = list();
  EXPECT_EQ(found.at(0).bytesAFile, 2333U);
  for (const std::size_t i : {1U, 2U, 3U}) EXPECT_EQ(found.at(i).bytesAFile, std::nullopt) << i;
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

TEST_F(BatchTest, EndsWhenAServerIgnoresStart) {
  answer(batchPage(300, 100));
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

TEST_F(BatchTest, AnOddEntrySpoilsItselfAlone) {
  for (const auto& [entry, words] : std::vector<std::pair<std::string, std::string>>{
           {R"("B1": {"created": 1500})", "B1.status is missing"},
           {R"("B1": {"status": "success"})", "B1.created is missing"},
           {R"("B1": {"status": "success", "created": null})", "B1.created is missing"},
           {R"("B1": {"status": "success", "created": -5})", "B1.created is no time at which a batch was created"},
           {R"("B1": {"status": "success", "created": "today"})", "B1.created"},
           {R"("B1": {"status": "success", "created": 99999999999999999999})", "B1.created"},
           {R"("B1": {"status": true, "created": 1500})", "B1.status"},
           {R"("B1": null)", "B1 is not an object"},
           {R"("B1": [1])", "B1 is not an object"},
           {R"("../x": {"status": "success", "created": 1500})", "'../x'"}}) {
    answer("{" + batch("good", 1400) + ", " + entry + "}");
    EXPECT_THAT(ids(list()), ElementsAre("good")) << entry;
    const auto found =
        list({.dataset = model::DatasetId("D"), .since = at(1000), .until = at(2000), .everyKind = true});
    ASSERT_EQ(found.size(), 2U) << entry;
    const std::string flaw = found.at(0).flaw + found.at(1).flaw;
    EXPECT_THAT(flaw, HasSubstr(words));
    EXPECT_THAT(flaw, HasSubstr("GET https://platform.example/data/foundation"));
  }
}

TEST_F(BatchTest, NumbersThatNoTableHoldsAreNoCounts) {
  answer("{" + batch("a", 9, R"(, "recordCount": 9223372036854775808, "metrics": {"outputRecordCount": 1e300})") + "}");
  EXPECT_EQ(list().at(0).records, std::nullopt);
}

TEST_F(BatchTest, AnAnswerThatIsNoListIsRefused) {
  answer(R"({"type": "x", "title": "y"})");
  EXPECT_THAT(failureOf(Category::protocol, [&] { list(); }).what(), HasSubstr("type is not an object"));
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

TEST_F(BatchTest, A404OfSomebodyElseIsNoWordOfThePlatform) {
  for (const char* body : {"", "<html>404 Not Found</html>", R"({"message": "no Route matched with those values"})",
                           R"("not found")", "[]", "{}", R"({"error": "Not Found"})"}) {
    transport.on("GET", std::string(kBatches) + "/B1").answers(404, body);
    const auto error = failureOf(Category::protocol, [&] { client.findBatch(model::BatchId("B1"), stop); });
    EXPECT_THAT(error.what(), HasSubstr("answered by something that is not the platform")) << body;
  }
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
      .answers(404, R"({"title": "NotFoundError"})");
  const auto found = client.findDataset(model::DatasetId("D1"), stop);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "N");
  EXPECT_EQ(found->description, "");
  EXPECT_EQ(found->schemaId, "S");
  EXPECT_EQ(found->created, at(5));
  EXPECT_FALSE(client.findDataset(model::DatasetId("D1"), stop));
}

TEST_F(DatasetTest, IsFoundByExactlyItsName) {
  transport.on("GET", support::path(kDatasets))
      .answers(200,
               R"({"D1": {"name": "My set", "description": "a", "created": 1}, "D2": {"name": "my set", "created": 2},
                        "D3": {"name": "My set", "created": 3}, "D4": {}, "D5": null})")
      .forEver();
  const auto found = client.findDatasetsByName("My set", stop);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id.value(), "D3");
  EXPECT_EQ(found[1].description, "a");
  EXPECT_THAT(transport.requests().at(0).url,
              HasSubstr("?name=My%20set&properties=name,description,schemaRef,created,createdClient,createdUser,tags&"
                        "orderBy=desc:created&limit=100&start=0"));
}

TEST_F(DatasetTest, ProfileSnapshotsAreKnownByTheirMergePolicy) {
  transport.on("GET", support::path(kDatasets))
      .answers(200, R"({"D1": {"name": "a", "created": 4, "tags": {"mergePolicyId": ["1-2"]}},
                        "D2": {"name": "b", "created": 3, "tags": ["mergePolicyId:1-2"]},
                        "D3": {"name": "c", "created": 2, "createdClient": "aep_core_profile_snapshot"},
                        "D4": {"name": "d", "created": 1, "tags": {"unifiedProfile": ["enabled:true"]}}})")
      .forEver();
  std::string marks;
  client.forEachDataset(
      [&](const Dataset& dataset) {
        marks += dataset.snapshot ? "s" : "-";
        return true;
      },
      stop);
  EXPECT_EQ(marks, "sss-");
}

TEST_F(DatasetTest, ANameThatReadsAsAFilterIsLookedForInTheWholeList) {
  for (const char* name : {"a,b", "!a", "a*", "x~y"}) {
    transport.verify();
    transport.on("GET", support::path(kDatasets))
        .answers(200, std::string(R"({"D1": {"name": ")") + name + R"("}, "D2": {"name": "a"}})")
        .forEver();
    EXPECT_EQ(client.findDatasetsByName(name, stop).size(), 1U) << name;
  }
}

TEST_F(DatasetTest, AreListedNewestFirst) {
  transport.on("GET", support::path(kDatasets))
      .answers(200, R"({"D1": {"created": 1}, "D2": {"created": 2}})")
      .forEver();
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
      .answers(404, R"({"title": "NotFoundError"})")
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
