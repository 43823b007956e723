#include "fixture.h"

namespace caiexport::platform {
namespace {

using namespace std::chrono_literals;
using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kExportJobs = "/data/core/ups/export/jobs";
constexpr const char* kSegmentJobs = "/data/core/ups/segment/jobs";
constexpr const char* kDefinitions = "/data/core/ups/segment/definitions";

core::TimePoint at(std::int64_t ms) {
  return core::TimePoint(core::Duration(ms));
}

class SegmentationTest : public ClientTest {
 protected:
  const std::vector<model::SegmentId> s1_{model::SegmentId("S1")};

  ExportJob exportJob(const std::string& body) {
    transport.on("GET", std::string(kExportJobs) + "/701").answers(200, body);
    return client.findExportJob(model::ExportJobId("701"), stop).value();
  }
  std::vector<model::BatchId> batchesOf(const std::string& destination) {
    return exportJob(R"({"id": 701, "status": "SUCCEEDED", "destination": )" + destination + "}").batches;
  }
  NewExportJob newJob() {
    return {.dataset = model::DatasetId("D1"),
            .segments = {model::SegmentId("S1")},
            .segmentNamespace = "ups",
            .statuses = {"realized", "exited"},
            .scope = {.fields = {"identities.id", "person.name"}, .mergePolicyId = "M1", .mergePolicyVersion = 3}};
  }
};

TEST_F(SegmentationTest, FindsASegment) {
  transport.on("GET", std::string(kDefinitions) + "/S1")
      .answers(
          200,
          R"({"id": "S1", "name": "High risk", "mergePolicyId": "M1", "updateEpoch": 1764000000, "expression": {}})")
      .answers(200, R"({"id": "S1", "updateTime": 1764000000123})")
      .answers(404, R"({"title": "NotFoundError"})");
  const auto first = client.findSegment(model::SegmentId("S1"), stop);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->name, "High risk");
  EXPECT_EQ(first->mergePolicyId, "M1");
  EXPECT_EQ(first->updated, at(1764000000000));
  EXPECT_EQ(client.findSegment(model::SegmentId("S1"), stop)->updated, at(1764000000123));
  EXPECT_FALSE(client.findSegment(model::SegmentId("S1"), stop));
}

TEST_F(SegmentationTest, TracesEachRequestWithANewId) {
  transport.on("GET", std::string(kDefinitions) + "/S1").answers(503).answers(404, R"({"title": "NotFoundError"})");
  client.findSegment(model::SegmentId("S1"), stop);
  const auto first = transport.requests().at(0).headers.get("x-request-id");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->size(), 36U);
  EXPECT_NE(first, transport.requests().at(1).headers.get("x-request-id"));
}

std::string definitions(int first, int count, int totalPages) {
  std::string list;
  for (int i = 0; i < count; ++i) list += (i > 0 ? "," : "") + (R"({"id": "s)" + std::to_string(first + i) + R"("})");
  return R"({"segments": [)" + list + R"(], "page": {"totalPages": )" + std::to_string(totalPages) +
         R"(}, "link": {}})";
}

std::size_t countSegments(Client& client, std::stop_token stop) {
  std::size_t count = 0;
  client.forEachSegment([&](const SegmentDefinition&) { return ++count > 0; }, std::move(stop));
  return count;
}

TEST_F(SegmentationTest, ListsSegmentsWhetherPagesCountFromZeroOrOne) {
  const std::string first = std::string(kDefinitions) + "?limit=100&sort=updateTime:desc";
  transport.on("GET", first).answers(200, definitions(0, 100, 2)).answers(200, definitions(0, 100, 2));
  transport.on("GET", first + "&page=1").answers(200, definitions(100, 20, 2)).answers(200, definitions(0, 100, 2));
  transport.on("GET", first + "&page=2").answers(200, definitions(100, 20, 2));
  EXPECT_EQ(countSegments(client, stop), 120U);
  EXPECT_EQ(countSegments(client, stop), 120U);
}

TEST_F(SegmentationTest, ListsSegmentsOfAServerWithSmallerPages) {
  const std::string first = std::string(kDefinitions) + "?limit=100&sort=updateTime:desc";
  transport.on("GET", first).answers(200, definitions(0, 20, 2));
  transport.on("GET", first + "&page=1").answers(200, definitions(20, 20, 2));
  EXPECT_EQ(countSegments(client, stop), 40U);
}

TEST_F(SegmentationTest, EndsWhenSegmentPagesRepeatForEver) {
  transport.on("GET", support::path(kDefinitions)).answers(200, definitions(0, 100, 99)).forEver();
  EXPECT_EQ(countSegments(client, stop), 100U);
  EXPECT_EQ(transport.requestCount(), 3U);
}

TEST_F(SegmentationTest, StartsASegmentJobForThisSegmentAlone) {
  transport.on("POST", kSegmentJobs)
      .answers(200, R"({"id": "J1", "status": "PROCESSING", "segments": [{"segmentId": "S1", "segment": {}}],
                        "creationTime": 1764000000000, "updateEpoch": 1764000001, "requestId": "rq", "computeJobId": 9,
                        "errors": [{"code": "E", "msg": "m", "callStack": []}]})");
  const SegmentJob job = client.startSegmentJob(s1_, stop);
  EXPECT_EQ(transport.requests().at(0).body, R"([{"segmentId":"S1"}])");
  EXPECT_TRUE(transport.requests().at(0).once);
  EXPECT_EQ(job.id.value(), "J1");
  EXPECT_EQ(job.phase, RemotePhase::moving);
  EXPECT_THAT(job.segments, ElementsAre(model::SegmentId("S1")));
  EXPECT_EQ(job.created, at(1764000000000));
  EXPECT_EQ(job.updated, at(1764000001000));
  EXPECT_EQ(job.requestId, "rq");
  EXPECT_EQ(job.problems.at(0).code, "E");
}

TEST_F(SegmentationTest, AGarbledAnswerToAStartIsInDoubt) {
  transport.on("POST", kSegmentJobs).answers(200, R"({"status": "NEW"})").answers(200, R"({"id": "J1"})");
  failureOf<InDoubt>(Category::unavailable, [&] { client.startSegmentJob(s1_, stop); });
  failureOf<InDoubt>(Category::unavailable, [&] { client.startSegmentJob(s1_, stop); });
  transport.on("POST", kExportJobs).answers(200, R"({"id": {}, "status": "NEW"})");
  failureOf<InDoubt>(Category::unavailable, [&] { client.startExportJob(newJob(), stop); });
}

TEST_F(SegmentationTest, KnowsThePhases) {
  for (const auto& [status, phase] :
       std::vector<std::pair<std::string, RemotePhase>>{{"NEW", RemotePhase::moving},
                                                        {"QUEUED", RemotePhase::moving},
                                                        {"PROCESSING", RemotePhase::moving},
                                                        {"CANCELLING", RemotePhase::moving},
                                                        {"SOMETHING_ELSE", RemotePhase::moving},
                                                        {"SUCCEEDED", RemotePhase::succeeded},
                                                        {"FAILED", RemotePhase::failed},
                                                        {"CANCELLED", RemotePhase::cancelled}}) {
    const ExportJob job = exportJob(R"({"id": 701, "status": ")" + status + "\"}");
    EXPECT_EQ(job.phase, phase) << status;
    EXPECT_EQ(job.status, status);
  }
}

TEST_F(SegmentationTest, SendsACompleteExportJob) {
  transport.on("POST", kExportJobs)
      .answers(200, R"({"id": 701, "status": "NEW"})")
      .answers(200, R"({"id": "702", "status": "NEW"})");
  EXPECT_EQ(client.startExportJob(newJob(), stop).id.value(), "701");
  EXPECT_EQ(transport.requests().at(0).body,
            R"({"fields":"identities.id,person.name","mergePolicy":{"id":"M1","version":3},)"
            R"("filter":{"segments":[{"segmentId":"S1","segmentNs":"ups","status":["realized","exited"]}]},)"
            R"("destination":{"datasetId":"D1","segmentPerBatch":false},"schema":{"name":"_xdm.context.profile"}})");
  client.startExportJob({.dataset = model::DatasetId("D1"),
                         .segments = {model::SegmentId("S1")},
                         .segmentNamespace = "ups",
                         .statuses = {"realized"}},
                        stop);
  EXPECT_THAT(transport.requests().at(1).body,
              testing::AllOf(testing::Not(HasSubstr("fields")), testing::Not(HasSubstr("mergePolicy"))));
}

TEST_F(SegmentationTest, NeverSendsAnExportWithoutSegmentOrDataset) {
  NewExportJob job = newJob();
  job.segments = {};
  failureOf(Category::internal, [&] { client.startExportJob(job, stop); });
  job.segments = {model::SegmentId("S1"), model::SegmentId()};
  failureOf(Category::internal, [&] { client.startExportJob(job, stop); });
  job = newJob();
  job.dataset = {};
  failureOf(Category::internal, [&] { client.startExportJob(job, stop); });
  failureOf(Category::internal, [&] { client.startSegmentJob({}, stop); });
  EXPECT_EQ(transport.requestCount(), 0U);
}

TEST_F(SegmentationTest, ReadsAnExportJob) {
  const ExportJob job = exportJob(
      R"({"id": 701, "jobType": "BATCH", "status": "SUCCEEDED", "fields": "a, b.c", "requestId": "rq",
          "destination": {"dataSetId": "D1", "segmentPerBatch": false, "batchId": "B1"},
          "filter": {"segments": [{"segmentId": "S1", "segmentNs": "ups", "status": ["realized", "exited"]},
                                  {"segmentId": "S2", "segmentNs": "ups", "status": "realized"}]},
          "computeGatewayJobId": {"exportJob": ""}, "metrics": {"totalTime": {"startTimeInMs": 1}, "totalExportedProfileCounter": 20},
          "creationTime": "1764000000000", "errors": [{"code": "0100000003", "msg": "late", "callStack": ["x"]}]})");
  EXPECT_EQ(job.id.value(), "701");
  EXPECT_EQ(job.phase, RemotePhase::succeeded);
  EXPECT_EQ(job.dataset.value(), "D1");
  EXPECT_THAT(job.scope.fields, ElementsAre("a", "b.c"));
  ASSERT_EQ(job.filters.size(), 2U);
  EXPECT_THAT(job.filters[0].statuses, ElementsAre("realized", "exited"));
  EXPECT_THAT(job.filters[1].statuses, ElementsAre("realized"));
  EXPECT_THAT(job.batches, ElementsAre(model::BatchId("B1")));
  EXPECT_EQ(job.exportedProfiles, 20U);
  EXPECT_EQ(job.created, at(1764000000000));
  EXPECT_EQ(job.problems.at(0).message, "late");
  EXPECT_EQ(job.requestId, "rq");
}

TEST_F(SegmentationTest, ReadsAJobWithNextToNothing) {
  const ExportJob job = exportJob(
      R"({"id": 701, "status": "NEW", "errors": null, "filter": {}, "metrics": {"totalExportedProfileCounter": -1}})");
  EXPECT_TRUE(job.dataset.empty());
  EXPECT_TRUE(job.batches.empty());
  EXPECT_TRUE(job.filters.empty());
  EXPECT_FALSE(job.exportedProfiles);
}

TEST_F(SegmentationTest, NamesWhatAnExportJobLacks) {
  EXPECT_THAT(failureOf(Category::protocol, [&] { exportJob(R"({"id": 701})"); }).what(),
              HasSubstr("status is missing"));
  EXPECT_THAT(failureOf(Category::protocol, [&] { exportJob(R"({"status": "NEW"})"); }).what(),
              HasSubstr("id is missing"));
}

TEST_F(SegmentationTest, FindsTheBatchesInEveryForm) {
  const model::BatchId b1("B1");
  const model::BatchId b2("B2");
  EXPECT_THAT(batchesOf(R"({"batchId": ""})"), ElementsAre());
  EXPECT_THAT(batchesOf(R"({"batchId": 17})"), ElementsAre(model::BatchId("17")));
  EXPECT_THAT(
      batchesOf(
          R"({"batchId": "B1", "batches": [{"batchId": "B1"}, {"batchId": "B2", "status": "realized"}, {"batchId": ""}]})"),
      ElementsAre(b1, b2));
  EXPECT_THAT(batchesOf(R"({"batches": ["B1", "B2"]})"), ElementsAre(b1, b2));
  EXPECT_THAT(batchesOf(R"({"batches": {"segmentId": "S", "status": ["realized"], "batchId": "B1"}})"),
              ElementsAre(b1));
  EXPECT_THAT(batchesOf(R"({"batches": {"S1": {"batchId": "B1"}, "S2": [{"batchId": "B2"}]}})"), ElementsAre(b1, b2));
  EXPECT_THAT(batchesOf(R"({"batches": {}})"), ElementsAre());
  failureOf(Category::protocol, [&] { batchesOf(R"({"batchId": "../x"})"); });
}

std::vector<std::string> exportJobIds(Client& client, std::stop_token stop) {
  std::vector<std::string> ids;
  client.forEachExportJob(
      [&](const ExportJob& job) {
        ids.push_back(job.id.value());
        return true;
      },
      std::move(stop));
  return ids;
}

std::string records(const std::string& id, const std::string& link) {
  return R"({"records": [{"id": )" + id + R"(, "status": "NEW"}], "page": {"pageOffset": "x"}, "link": )" + link + "}";
}

TEST_F(SegmentationTest, FollowsTheOpaqueRelativeCursor) {
  transport.on("GET", std::string(kExportJobs) + "?limit=100")
      .answers(200, records("3", R"({"next": "/export/jobs/?limit=2&offset=1764_3"})"));
  transport.on("GET", std::string(kExportJobs) + "?limit=100&offset=1764_3")
      .answers(200, records("2", R"({"next": {"href": "@/exportJobs?limit=2&offset=1763%5F2"}})"));
  transport.on("GET", std::string(kExportJobs) + "?limit=100&offset=1763_2")
      .answers(200, records("1", R"({"next": ""})"));
  EXPECT_THAT(exportJobIds(client, stop), ElementsAre("3", "2", "1"));
}

TEST_F(SegmentationTest, StopsListingWhenTheVisitorHasEnough) {
  transport.on("GET", std::string(kExportJobs) + "?limit=100")
      .answers(200, records("3", R"({"next": "/export/jobs?x"})"));
  client.forEachExportJob([](const ExportJob&) { return false; }, stop);
}

TEST_F(SegmentationTest, RefusesListsThatNeverEndAndForeignLinks) {
  transport.on("GET", support::path(kExportJobs))
      .answers(200, records("3", R"({"next": "/export/jobs?limit=100&offset=1"})"))
      .answers(200, records("2", R"({"next": "/export/jobs?limit=100&offset=1"})"));
  EXPECT_THAT(failureOf(Category::protocol, [&] { exportJobIds(client, stop); }).what(), HasSubstr("loops"));
  transport.on("GET", support::path(kExportJobs)).answers(200, records("3", R"({"next": "/export/jobs?limit=100"})"));
  EXPECT_THAT(failureOf(Category::protocol, [&] { exportJobIds(client, stop); }).what(), HasSubstr("names no page"));
  transport.on("GET", support::path(kExportJobs)).answers(200, records("3", R"({"next": "https://evil.example/x"})"));
  EXPECT_THAT(failureOf(Category::protocol, [&] { exportJobIds(client, stop); }).what(),
              HasSubstr("https://evil.example"));
}

std::vector<std::string> segmentJobIds(Client& client, std::stop_token stop) {
  std::vector<std::string> ids;
  client.forEachSegmentJob(
      [&](const SegmentJob& job) {
        ids.push_back(job.id.value());
        return true;
      },
      std::move(stop));
  return ids;
}

const std::string kFirstJobs = std::string(kSegmentJobs) + "?limit=5&sort=creationTime:desc";

TEST_F(SegmentationTest, PagesSegmentJobsByNumberOnTheKnownPath) {
  transport.on("GET", kFirstJobs).answers(200, R"({"_page": {"totalCount": 3, "pageSize": 1, "next": "1"},
                        "children": [{"id": "J3", "status": "SUCCEEDED",
                                      "metrics": {"segmentedProfileCounter": {"S1": 7, "S2": 0}}}],
                        "_links": {"next": {"href": "@/segmentJobs?start=1&limit=1&totalCount=3"}}})");
  transport.on("GET", kFirstJobs + "&start=1")
      .answers(200, R"({"children": [{"id": "J2", "status": "FAILED"}], "_links": {"next": {"href": "/x?start=2"}}})");
  transport.on("GET", kFirstJobs + "&start=2")
      .answers(200, R"({"children": [{"id": "J1", "status": "FAILED"}], "_links": {"next": {}}})");
  EXPECT_THAT(segmentJobIds(client, stop), ElementsAre("J3", "J2", "J1"));
}

TEST_F(SegmentationTest, ReadsAListToItsEndWithoutLinks) {
  transport.on("GET", kFirstJobs)
      .answers(200, R"({"_page": {"totalCount": 2}, "children": [{"id": "J2", "status": "SUCCEEDED"}]})");
  transport.on("GET", kFirstJobs + "&start=1")
      .answers(200, R"({"_page": {"totalCount": 2}, "children": [{"id": "J1", "status": "SUCCEEDED"}]})");
  EXPECT_THAT(segmentJobIds(client, stop), ElementsAre("J2", "J1"));
}

TEST_F(SegmentationTest, EndsWhereSegmentJobsLoop) {
  transport.on("GET", kFirstJobs)
      .answers(200, R"({"children": [{"id": "J2", "status": "NEW"}], "_links": {"next": {"href": "/x?start=1"}}})");
  transport.on("GET", kFirstJobs + "&start=1")
      .answers(200, R"({"children": [{"id": "J1", "status": "NEW"}], "_links": {"next": {"href": "/x?start=1"}}})");
  EXPECT_THAT(failureOf(Category::protocol, [&] { segmentJobIds(client, stop); }).what(), HasSubstr("loops"));
}

TEST_F(SegmentationTest, KnowsWhatAJobCounted) {
  transport.on("GET", std::string(kSegmentJobs) + "/J1")
      .answers(200, R"({"id": "J1", "status": "SUCCEEDED", "segments": [{"segmentId": "*"}],
                        "metrics": {"segmentedProfileCounter": {"S1": 7, "S2": 0}}})");
  const auto job = client.findSegmentJob(model::SegmentJobId("J1"), stop);
  EXPECT_THAT(job->segments, ElementsAre(model::SegmentId("*")));
  EXPECT_THAT(job->evaluated, ElementsAre(model::SegmentId("S1"), model::SegmentId("S2")));
}

TEST_F(SegmentationTest, ReadsTheLastEvaluationOfADefinition) {
  transport.on("GET", std::string(kDefinitions) + "/S1")
      .answers(200, R"({"id": "S1", "name": "High risk", "metrics": {"jobId": "J", "type": "export",
                        "data": {"totalProfiles": 1234, "totalProfilesByStatus": {"realized": 1234}},
                        "updateEpoch": 1780000000}})");
  const auto segment = client.findSegment(model::SegmentId("S1"), stop);
  EXPECT_EQ(segment->evaluatedAt, at(1780000000000));
  EXPECT_EQ(segment->members, 1234U);
}

TEST_F(SegmentationTest, FindsAndListsAudiencesOfEveryOrigin) {
  const char* const aam = R"({"id": "internal-1", "audienceId": "AAM-1", "name": "Loyal", "namespace": "AAM",
                              "originName": "AUDIENCE_MANAGER", "lifecycleState": "published",
                              "metrics": {"data": {"totalProfiles": 5}, "updateEpoch": 1780000000}})";
  const std::string path = "/data/core/ups/audiences";
  transport.on("GET", path + "/AAM-1").answers(200, aam).answers(404, R"({"title": "NotFoundError"})");
  const auto found = client.findAudience(model::SegmentId("AAM-1"), stop);
  EXPECT_EQ(found->id.value(), "AAM-1");
  EXPECT_EQ(found->segmentNamespace, "AAM");
  EXPECT_EQ(found->origin, "AUDIENCE_MANAGER");
  EXPECT_EQ(found->state, "published");
  EXPECT_EQ(found->members, 5U);
  EXPECT_FALSE(client.findAudience(model::SegmentId("AAM-1"), stop));
  transport.on("GET", path + "?limit=100")
      .answers(200, std::string(R"({"children": [)") + aam +
                        R"(], "_page": {"totalCount": 2, "pageSize": 1, "next": "1"},
                          "_links": {"next": {"href": "@/audiences?start=1&limit=1&totalCount=2"}}})");
  transport.on("GET", path + "?limit=100&start=1")
      .answers(
          200,
          R"({"children": [{"id": "S1", "name": "Own", "namespace": "AEPSegments"}], "_page": {"totalCount": 2}})");
  std::vector<std::string> ids;
  client.forEachAudience(
      [&](const SegmentDefinition& audience) {
        ids.push_back(audience.id.value() + " " + audience.segmentNamespace);
        return true;
      },
      stop);
  EXPECT_THAT(ids, ElementsAre("AAM-1 AAM", "S1 AEPSegments"));
}

TEST_F(SegmentationTest, SendsAndReadsEveryPartOfAnExport) {
  NewExportJob job = newJob();
  job.segments = {model::SegmentId("S1"), model::SegmentId("S2")};
  job.statuses = {"realized"};
  job.segmentPerBatch = true;
  job.schemaName = "_xdm.context.other";
  job.scope = {.qualifiedSince = at(1764000000000),
               .qualifiedUntil = at(1764000001000),
               .ingestedSince = at(1764000002000),
               .emptyProfiles = true,
               .eventFields = {"_id", "timestamp"},
               .eventsSince = at(1764000003000),
               .eventsUntil = at(1764000004000)};
  const std::string body =
      R"("filter":{"segments":[{"segmentId":"S1","segmentNs":"ups","status":["realized"]},)"
      R"({"segmentId":"S2","segmentNs":"ups","status":["realized"]}],)"
      R"("segmentQualificationTime":{"startTime":"2025-11-24T16:00:00.000Z","endTime":"2025-11-24T16:00:01.000Z"},)"
      R"("fromIngestTimestamp":"2025-11-24T16:00:02.000Z","emptyProfiles":true},)"
      R"("additionalFields":{"eventList":{"fields":"_id,timestamp",)"
      R"("filter":{"fromIngestTimestamp":"2025-11-24T16:00:03.000Z","toIngestTimestamp":"2025-11-24T16:00:04.000Z"}}},)"
      R"("destination":{"datasetId":"D1","segmentPerBatch":true},"schema":{"name":"_xdm.context.other"}})";
  transport.on("POST", kExportJobs).answers(200, R"({"id": 701, "status": "NEW", )" + body);
  const ExportJob answered = client.startExportJob(job, stop);
  EXPECT_EQ(transport.requests().at(0).body, "{" + body);
  EXPECT_EQ(answered.scope, job.scope);
  EXPECT_EQ(answered.segmentPerBatch, true);
  EXPECT_EQ(answered.schemaName, job.schemaName);
  EXPECT_EQ(answered.filters.size(), 2U);
}

TEST_F(SegmentationTest, CancelsWhateverTheAnswer) {
  transport.on("DELETE", std::string(kExportJobs) + "/701")
      .answers(200, R"({"status": true, "message": "marked"})")
      .answers(202)
      .answers(204)
      .answers(404, R"({"title": "NotFoundError"})");
  const model::ExportJobId id("701");
  EXPECT_TRUE(client.cancelExportJob(id, stop));
  EXPECT_TRUE(client.cancelExportJob(id, stop));
  EXPECT_TRUE(client.cancelExportJob(id, stop));
  EXPECT_FALSE(client.cancelExportJob(id, stop));
}

TEST_F(SegmentationTest, KeepsTheRetryAfterOfAPoll) {
  EXPECT_FALSE(client.lastRetryAfter());
  transport.on("GET", std::string(kExportJobs) + "/701")
      .answers(200, R"({"id": 701, "status": "NEW"})", support::headers({{"Retry-After", "20"}}))
      .answers(200, R"({"id": 701, "status": "NEW"})");
  client.findExportJob(model::ExportJobId("701"), stop);
  EXPECT_EQ(client.lastRetryAfter(), 20s);
  client.findExportJob(model::ExportJobId("701"), stop);
  EXPECT_FALSE(client.lastRetryAfter());
  transport.on("GET", std::string(kSegmentJobs) + "/J1")
      .answers(404, R"({"title": "NotFoundError"})", support::headers({{"Retry-After", "3"}}));
  EXPECT_FALSE(client.findSegmentJob(model::SegmentJobId("J1"), stop));
  EXPECT_EQ(client.lastRetryAfter(), 3s);
}

}  // namespace
}  // namespace caiexport::platform
