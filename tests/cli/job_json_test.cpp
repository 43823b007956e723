
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/core/version.h"
#include "caiexport/json/writer.h"
#include "cli/output/job_output.h"
#include "job_fixture.h"

namespace caiexport::cli {
namespace {

using testing::HasSubstr;

class JobDocument : public testing::Test {
 protected:
  std::string textOf(const store::JobView& view, JobDetail detail,
                     const std::optional<model::JobError>& error = std::nullopt) {
    std::string text;
    json::Writer json([&](std::string_view piece) { text += piece; });
    store::History history = fixture_.history();
    writeJob(json, view, detail, history, error);
    return text;
  }

  JobFixture fixture_;
};

/// Keys of the outermost object, in order.
std::vector<std::string> keysOf(const std::string& document) {
  Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(true));
  return parser.parse(document).extract<Poco::JSON::Object::Ptr>()->getNames();
}

TEST_F(JobDocument, HasTheDocumentedKeysInOrder) {
  const store::JobView view = fixture_.history().job(fixture_.finishedJob());
  const std::vector<std::string> head{
      "job",    "kind",       "source_id",     "org_id",      "sandbox",      "status",  "held",
      "step",   "dataset_id", "export_job_id", "batch_ids",   "files",        "bytes",   "records",
      "output", "created_at", "updated_at",    "finished_at", "evaluated_at", "version", "error"};
  EXPECT_EQ(keysOf(textOf(view, JobDetail::summary)), head);
  std::vector<std::string> result = head;
  result.insert(result.end(), {"steps", "file_list", "replaced", "deliveries"});
  EXPECT_EQ(keysOf(textOf(view, JobDetail::result)), result);
  result.push_back("events");
  EXPECT_EQ(keysOf(textOf(view, JobDetail::everything)), result);
}

TEST_F(JobDocument, TellsWhatIsRecorded) {
  const std::string text = textOf(fixture_.history().job(fixture_.finishedJob()), JobDetail::everything);
  EXPECT_THAT(text,
              testing::StartsWith(R"({"job": 1, "kind": "dataset", "source_id": "ds1", "org_id": "ORG@AdobeOrg", )"
                                  R"("sandbox": "prod", "status": "succeeded", "held": false, "step": null, )"
                                  R"("dataset_id": "ds1", "export_job_id": null, "batch_ids": ["b1"], "files": 2, )"
                                  R"("bytes": 30, "records": 7, "output": "/out", )"
                                  R"("created_at": "2026-11-24T00:00:00.000Z")"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "part-0.parquet", "path": "/out/ds1/b1/part-0.parquet", "batch_id": "b1", )"
                              R"("dataset_file_id": "b1-f", "bytes": 10, "sha256": ")"));
  EXPECT_THAT(text, HasSubstr(R"("records": 3, "state": "verified"})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "select_batches", "state": "done", "started_at": )"));
  EXPECT_THAT(text, HasSubstr(R"("what": "files_kept", "detail": "quoted \"detail\""})"));
  EXPECT_THAT(text, HasSubstr(R"("error": null, "steps")"));
}

TEST_F(JobDocument, OfAFreshJobHasNulls) {
  const std::string text = textOf(fixture_.history().job(fixture_.freshSegmentJob()), JobDetail::result);
  EXPECT_THAT(text, HasSubstr(R"("kind": "segment")"));
  EXPECT_THAT(text, HasSubstr(R"("status": "pending", "held": false, "step": "create_dataset", "dataset_id": null, )"
                              R"("export_job_id": null, "batch_ids": [], "files": 0, "bytes": 0, "records": null)"));
  EXPECT_THAT(text, HasSubstr(R"("finished_at": null, "evaluated_at": null, "version": ")" +
                              std::string(core::programVersion()) + R"(", "error": null)"));
}

TEST_F(JobDocument, TakesTheErrorOfThisRun) {
  const model::JobError error{
      .category = core::Category::interrupted, .message = "interrupted", .requestId = {}, .hint = "h"};
  EXPECT_THAT(
      textOf(fixture_.history().job(fixture_.freshSegmentJob()), JobDetail::summary, error),
      HasSubstr(R"("error": {"category": "interrupted", "message": "interrupted", "request_id": null, "hint": "h"}})"));
}

}  // namespace
}  // namespace caiexport::cli
