#include "store/rows.h"

#include <limits>
#include <random>

#include "store/store_fixture.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Duration;
using core::TimePoint;

/// Every field, so that a new one that is forgotten in the JSON shows.
void expectSame(const model::ExportRequest& a, const model::ExportRequest& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.sourceId, b.sourceId);
  EXPECT_EQ(a.orgId, b.orgId);
  EXPECT_EQ(a.sandbox, b.sandbox);
  EXPECT_EQ(a.baseUrl, b.baseUrl);
  EXPECT_EQ(a.output, b.output);
  EXPECT_EQ(a.verify, b.verify);
  EXPECT_EQ(a.download, b.download);
  EXPECT_EQ(a.force, b.force);
  EXPECT_EQ(a.batches.batch, b.batches.batch);
  EXPECT_EQ(a.batches.limit, b.batches.limit);
  EXPECT_EQ(a.batches.since, b.batches.since);
  EXPECT_EQ(a.batches.until, b.batches.until);
  EXPECT_EQ(a.batches.createdClient, b.batches.createdClient);
  EXPECT_EQ(a.batches.includeReplaced, b.batches.includeReplaced);
  EXPECT_EQ(a.segment.targetDataset, b.segment.targetDataset);
  EXPECT_EQ(a.segment.datasetName, b.segment.datasetName);
  EXPECT_EQ(a.segment.fields, b.segment.fields);
  EXPECT_EQ(a.segment.statuses, b.segment.statuses);
  EXPECT_EQ(a.segment.mergePolicyId, b.segment.mergePolicyId);
  EXPECT_EQ(a.segment.mergePolicyVersion, b.segment.mergePolicyVersion);
  EXPECT_EQ(a.segment.segmentNamespace, b.segment.segmentNamespace);
  EXPECT_EQ(a.segment.evaluate, b.segment.evaluate);
  EXPECT_EQ(a.segment.pollInterval, b.segment.pollInterval);
  EXPECT_EQ(a.segment.pollMax, b.segment.pollMax);
  EXPECT_EQ(a.segment.timeout, b.segment.timeout);
  EXPECT_EQ(a.segment.wait, b.segment.wait);
  EXPECT_EQ(a.segment.deleteDataset, b.segment.deleteDataset);
  EXPECT_EQ(a.segment.reuse, b.segment.reuse);
  EXPECT_EQ(a.guards.maxAge, b.guards.maxAge);
  EXPECT_EQ(a.guards.minRecords, b.guards.minRecords);
  EXPECT_EQ(a.guards.maxChangePercent, b.guards.maxChangePercent);
}

class Anything {
 public:
  explicit Anything(unsigned seed) : engine_(seed) {}

  bool flag() { return (engine_() & 1U) != 0; }
  std::int64_t number() {
    constexpr std::int64_t kEdges[] = {
        0, 1, -1, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), 1606000000123};
    return flag() ? kEdges[engine_() % std::size(kEdges)] : static_cast<std::int64_t>(engine_());
  }
  std::string text() {
    const std::vector<std::string> pieces = {"a",      "\"",         "\\",   "/",       "\n",          "\t",
                                             "\x01",   "\x1f",       "\x7f", "é",       "日本",        "😀",
                                             "{}[]:,", "'; DROP --", " ",    "\\u0041", "\xe2\x80\xa8"};
    std::string text;
    for (auto count = engine_() % 8; count > 0; --count) text += pieces[engine_() % pieces.size()];
    return text;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> list(engine_() % 4);
    for (auto& entry : list) entry = text();
    return list;
  }
  template <class Value>
  std::optional<Value> maybe(Value value) {
    return flag() ? std::optional(value) : std::nullopt;
  }

  model::ExportRequest request() {
    model::ExportRequest request;
    request.kind = flag() ? model::Kind::dataset : model::Kind::segment;
    request.sourceId = text();
    request.orgId = text();
    request.sandbox = text();
    request.baseUrl = text();
    request.output = "/" + text() + (flag() ? "\xff\xfe" : "");  // a path need not be UTF-8
    request.verify = flag() ? model::VerifyLevel::size : flag() ? model::VerifyLevel::full : model::VerifyLevel::footer;
    request.download = flag();
    request.force = flag();
    request.batches = {.batch = model::BatchId(text()),
                       .limit = maybe(static_cast<std::uint32_t>(engine_())),
                       .since = maybe(TimePoint(Duration(number()))),
                       .until = maybe(TimePoint(Duration(number()))),
                       .createdClient = text(),
                       .includeReplaced = flag()};
    request.guards.maxAge = maybe(Duration(number()));
    request.guards.minRecords = maybe(static_cast<std::uint64_t>(engine_()));
    request.guards.maxChangePercent = maybe(static_cast<double>(engine_() % 10000) / 8.0);
    request.segment = {.targetDataset = model::DatasetId(text()),
                       .reuse = flag(),
                       .datasetName = text(),
                       .fields = texts(),
                       .statuses = texts(),
                       .mergePolicyId = text(),
                       .mergePolicyVersion = maybe(number()),
                       .segmentNamespace = text(),
                       .evaluate = flag(),
                       .pollInterval = Duration(number()),
                       .pollMax = Duration(number()),
                       .timeout = maybe(Duration(number())),
                       .wait = flag(),
                       .deleteDataset = flag()};
    return request;
  }

 private:
  std::mt19937 engine_;
};

using RequestJsonTest = StoreTest;

TEST_F(RequestJsonTest, everyFieldComesBackThroughTheDatabase) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    model::ExportRequest request = Anything(seed).request();
    // A server keeps no other text: aPathThatIsNotUtf8IsRefusedByAServer.
    if (support::isOnServer()) request.output = "/data/out \u00fc";
    const model::Job created = newJob(request);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + requestToJson(request));
    expectSame(created.request, request);
    expectSame(store().load(created.id).request, request);
    if (HasFailure()) break;
  }
}

TEST_F(RequestJsonTest, absentFieldsKeepTheirDefaultsAndUnknownOnesAreIgnored) {
  model::ExportRequest request;
  requestFromJson(R"({"future": {"x": [1]}, "batches": {"limit": null, "more": 1}})", request);
  model::ExportRequest expected;
  expected.batches.limit.reset();
  expectSame(request, expected);
}

TEST_F(RequestJsonTest, refusesOtherTypesAndBrokenText) {
  for (const char* json :
       {"", "[]", "{", R"({"verify": "guess"})", R"({"force": "true"})", R"({"force": 1})", R"({"base_url": 5})",
        R"({"batches": {"limit": -1}})", R"({"batches": {"limit": 4294967296}})", R"({"batches": {"limit": 1.5}})",
        R"({"batches": {"limit": "3"}})", R"({"batches": {"limit": true}})", R"({"batches": []})",
        R"({"segment": {"fields": "a"}})", R"({"guards": {"min_records": -1}})",
        R"({"guards": {"max_change_percent": "30"}})", R"({"segment": {"fields": [1]}})"}) {
    SCOPED_TRACE(json);
    EXPECT_EQ(errorOf([&] {
                model::ExportRequest request;
                requestFromJson(json, request);
              }).category(),
              Category::io);
  }
}

TEST_F(RequestJsonTest, refusesTextThatIsNotUtf8) {
  for (const char* text : {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf8\x88\x80\x80\x80"}) {
    model::ExportRequest request = datasetRequest();
    request.segment.datasetName = text;
    EXPECT_EQ(errorOf([&] { requestToJson(request); }).category(), Category::internal) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace caiexport::store
