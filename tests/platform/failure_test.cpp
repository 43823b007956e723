/// Failed batches, and what Data Access keeps of them.

#include <map>

#include "fixture.h"

namespace caiexport::platform {
namespace {

using core::Category;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kBatches = "/data/foundation/catalog/batches";
constexpr const char* kFailed = "/data/foundation/export/batches/B/failed";
constexpr const char* kMeta = "/data/foundation/export/batches/B/meta";

class FailureTest : public ClientTest {
 protected:
  /// Whatever is asked for at Data Access; the last answer for a target stands.
  void answer(const std::string& target, const std::string& body, int status = 200) {
    if (answers_.empty()) {
      transport
          .on(
              "GET", [](const net::Url& url) { return url.target.starts_with("/data/foundation/export/"); }, "export")
          .answers([this](const net::HttpRequest& request) {
            const auto found = answers_.find(net::parseUrl(request.url).target);
            return found == answers_.end() ? support::reply(500, "no answer for " + request.url) : found->second;
          })
          .forEver();
    }
    answers_[target] = support::reply(status, body);
  }
  /// Whatever is asked for; a list that never moves ends.
  void listed(const std::string& batches) {
    transport.on("GET", support::path(kBatches), kBatches)
        .answers([this, batches](const net::HttpRequest& request) {
          asked = request.url;
          return support::reply(200, batches);
        })
        .forEver();
  }
  std::vector<FailedBatch> failed() {
    std::vector<FailedBatch> batches;
    client.forEachFailedBatch(
        model::DatasetId("D"), {},
        [&](const FailedBatch& batch) {
          batches.push_back(batch);
          return true;
        },
        stop);
    return batches;
  }
  std::vector<std::string> kept() {
    std::vector<std::string> lines;
    for (const FailureFile& file : client.listFailureFiles(model::BatchId("B"), stop)) {
      lines.push_back(file.path + " " + std::to_string(file.remote.lengthBytes));
    }
    return lines;
  }
  std::string refusal() {
    return failureOf(Category::protocol, [&] { kept(); }).what();
  }
  std::string asked = {};

 private:
  std::map<std::string, support::Reply> answers_ = {};
};

std::string file(const std::string& name, const std::string& length, const std::string& href = "") {
  const std::string links = href.empty() ? "" : R"(, "_links": {"self": {"href": ")" + href + R"("}})";
  return R"({"name": ")" + name + R"(", "length": )" + length + links + "}";
}

std::string page(const std::string& entries, const std::string& next = "") {
  const std::string links = next.empty() ? "" : R"(, "_links": {"next": {"href": ")" + next + R"("}})";
  return R"({"data": [)" + entries + R"(], "_page": {"limit": 100, "count": 2})" + links + "}";
}

TEST_F(FailureTest, AFailedBatchHasItsErrorsInEveryForm) {
  listed(R"({
    "B3": {"status": "failed", "created": 1795000000000, "failedRecordCount": 7, "createdClient": "acp_foundation_push",
           "relatedObjects": [{"type": "dataSet", "id": "D"}],
           "errors": [{"code": "ACP-1", "description": "no scores", "rows": ["4", 9]}, {"code": 106, "message": "late"}, "plain"]},
    "B2": {"status": "abandoned", "created": 1794000000000, "errors": {"code": "ACP-2", "description": "one"},
           "metrics": {"recordsFailed": "3"}},
    "B9": {"status": "success", "created": 1796000000000},
    "B8": {"status": "failed", "created": 1796000000000, "relatedObjects": [{"type": "dataSet", "id": "OTHER"}]},
    "T": {"status": "failed", "created": 1796000000000, "createdClient": "acp_core_identity_data",
          "relatedObjects": [{"type": "dataSet", "id": "D"}, {"type": "batch", "id": "B1"}]},
    "B1": {"status": "failed", "created": 1, "relatedObjects": [{"type": "dataSet", "id": "D"}]}})");
  const auto batches = failed();
  EXPECT_THAT(asked, AllOf(HasSubstr("status=failed,"), HasSubstr(",errors,failedRecordCount"),
                           HasSubstr("orderBy=desc:created")));
  ASSERT_EQ(batches.size(), 3U) << "newest first, what the filters passed over and Profile's notes left out";
  EXPECT_EQ(batches[0].id.value(), "B3");
  EXPECT_EQ(batches[0].failedRecords, 7U);
  ASSERT_EQ(batches[0].errors.size(), 3U);
  EXPECT_EQ(batches[0].errors[0].code, "ACP-1");
  EXPECT_EQ(batches[0].errors[0].description, "no scores");
  EXPECT_THAT(batches[0].errors[0].rows, ElementsAre("4", "9"));
  EXPECT_EQ(batches[0].errors[1].code, "106");
  EXPECT_EQ(batches[0].errors[1].description, "late");
  EXPECT_EQ(batches[0].errors[2].description, "plain");
  EXPECT_EQ(batches[1].id.value(), "B2");
  EXPECT_EQ(batches[1].failedRecords, 3U);
  EXPECT_EQ(batches[1].errors.at(0).code, "ACP-2");
  EXPECT_THAT(batches[2].errors, IsEmpty());
}

TEST_F(FailureTest, AnOddEntryIsListedWithItsFlaw) {
  listed(R"({"B1": {"status": "failed", "created": null}})");
  const auto batches = failed();
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_THAT(batches[0].flaw, HasSubstr("created is missing"));
}

TEST_F(FailureTest, FilesOfBothKindsAreListedThroughTheirFolders) {
  answer(kFailed, page(file("_SUCCESS", "\"0\"") + "," +
                       file("part-0.json", "\"1800\"",
                            "https://platform.example:443" + std::string(kFailed) + "?path=part-0.json")));
  answer(kMeta, page(file("row_errors", "\"0\"", std::string(kMeta) + "?path=row_errors") + "," +
                     file("input_files", "0") + "," + file("row_errors_sample.json", "\"0\"")));
  answer(std::string(kMeta) + "?path=row_errors",
         page(file("conversion_errors_0.json", "\"1162\""), std::string(kMeta) + "?path=row_errors&start=1"));
  answer(std::string(kMeta) + "?path=row_errors&start=1", page(file("parsing_errors_0.json", "5")));
  answer(std::string(kMeta) + "?path=input_files", page(file("2026", "\"0\"")));
  answer(std::string(kMeta) + "?path=input_files%2F2026", page(file("a.csv", "12")));
  // A file of JSON that nobody measured is no list, though it is an array.
  answer(std::string(kMeta) + "?path=row_errors_sample.json", R"([{"name": "Jo", "error": 1}])");
  EXPECT_THAT(kept(), ElementsAre("failed/part-0.json 1800", "meta/row_errors/conversion_errors_0.json 1162",
                                  "meta/row_errors/parsing_errors_0.json 5", "meta/input_files/2026/a.csv 12",
                                  "meta/row_errors_sample.json 28"));
  const auto files = client.listFailureFiles(model::BatchId("B"), stop);
  EXPECT_EQ(files.at(0).remote.href, "https://platform.example:443" + std::string(kFailed) + "?path=part-0.json");
  EXPECT_EQ(files.at(1).remote.href,
            "https://platform.example" + std::string(kMeta) + "?path=row_errors%2Fconversion_errors_0.json");
}

TEST_F(FailureTest, WhatIsNotThereIsNothing) {
  answer(kFailed, R"({"type": "DTAC-4045", "title": "Batch not found"})", 404);
  answer(kMeta, R"({"data": []})");
  EXPECT_THAT(kept(), IsEmpty());
}

TEST_F(FailureTest, NamesAndLinksThatLeadOutAreRefused) {
  answer(kMeta, R"({"data": []})");
  for (const char* name : {"..", "../x", "a/b", "/etc/passwd", "x\\\\y", "a\\u0000b", "x.part"}) {
    answer(kFailed, page(file(name, "3")));
    EXPECT_THAT(refusal(), HasSubstr("file name")) << name;
  }
  answer(kFailed, page(file("a", "3", "https://elsewhere.example/x")));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("https://elsewhere.example"), HasSubstr("was not followed")));
  answer(kFailed, page(file("folder", "0")));
  answer(std::string(kFailed) + "?path=folder", page(file("..", "3")));
  EXPECT_THAT(refusal(), HasSubstr("is not a file name"));
}

TEST_F(FailureTest, FoldersInACircleOrWithoutEndAreFollowedOnlySoFar) {
  answer(kMeta, R"({"data": []})");
  answer(kFailed, page(file("again", "0", kFailed) + "," + file("a", "3")));
  EXPECT_THAT(kept(), ElementsAre("failed/a 3"));
  std::string path;
  answer(kFailed, page(file("d", "0")));
  for (int level = 0; level < 10; ++level) {
    path += path.empty() ? "d" : "%2Fd";
    answer(std::string(kFailed) + "?path=" + path, page(file("d", "0")));
  }
  EXPECT_THAT(refusal(), HasSubstr("nested deeper than 8 levels"));
}

}  // namespace
}  // namespace caiexport::platform
