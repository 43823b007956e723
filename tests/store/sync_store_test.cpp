/// What sync remembers, and how an older database comes to remember it.

#include "caiexport/store/sync_store.h"

#include <map>

#include "caiexport/store/database.h"
#include "store/store_fixture.h"

namespace caiexport::store {
namespace {

using model::BatchId;
using model::ReplaceAction;
using testing::Pair;
using testing::UnorderedElementsAre;

class SyncStoreTest : public StoreTest {
 protected:
  SyncStore records() { return {database(), clock_}; }

  static SyncPlace place(const std::filesystem::path& output = "/data/out") {
    const model::ExportRequest request = datasetRequest();
    return {.orgId = request.orgId,
            .sandbox = request.sandbox,
            .dataset = model::DatasetId(request.sourceId),
            .output = output};
  }

  /// A dataset job for one batch, up to and without its last step.
  model::JobId jobFor(const std::string& batch) {
    model::ExportRequest request = datasetRequest();
    request.batches.batch = BatchId(batch);
    const model::JobId job = jobWithBatches({batch}, request).id;
    for (const auto step : {model::StepName::listFiles, model::StepName::downloadFiles}) {
      store().beginAttempt(job, step);
      clock_.advance(std::chrono::seconds(2));
      store().finishStep(job, step, {});
    }
    return job;
  }

  void verifyAll(model::JobId job, std::optional<std::uint64_t> records = {}) {
    store().beginAttempt(job, model::StepName::verifyFiles);
    store().finishStep(job, model::StepName::verifyFiles, {.records = records});
  }
};

TEST_F(SyncStoreTest, AMarkIsOfItsPlaceAlone) {
  SyncStore store = records();
  EXPECT_FALSE(store.mark(place()));
  store.setMark(place(), {.batch = BatchId("b1"), .created = core::TimePoint(core::Duration(1000))});
  store.setMark(place(), {.batch = BatchId("b2"), .created = core::TimePoint(core::Duration(2000))});
  const auto mark = store.mark(place());
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->batch.value(), "b2");
  EXPECT_EQ(mark->created, core::TimePoint(core::Duration(2000)));
  EXPECT_FALSE(store.mark(place("/other")));
  SyncPlace elsewhere = place();
  elsewhere.sandbox = "dev";
  EXPECT_FALSE(store.mark(elsewhere));
}

TEST_F(SyncStoreTest, AMarkIsOfItsFilterAlone) {
  SyncStore store = records();
  const core::TimePoint since(core::Duration(500));
  store.setMark(place(), {.batch = BatchId("b1"), .created = core::TimePoint(core::Duration(1000)), .since = since});
  EXPECT_EQ(store.mark(place())->since, since);
  EXPECT_FALSE(store.mark(place(), "another"));
  store.setMark(place(), {.batch = BatchId("b9"), .created = core::TimePoint(core::Duration(9000))}, "another");
  EXPECT_EQ(store.mark(place())->batch.value(), "b1");
  EXPECT_EQ(store.mark(place(), "another")->batch.value(), "b9");
  EXPECT_FALSE(store.mark(place(), "another")->since);
}

TEST_F(SyncStoreTest, ASourceKeepsItsNumberWhateverTheFolder) {
  SyncStore store = records();
  const std::int64_t first = store.sourceNumber(place());
  EXPECT_EQ(store.sourceNumber(place("/other")), first);
  SyncPlace other = place();
  other.orgId = "OTHER@AdobeOrg";
  EXPECT_NE(store.sourceNumber(other), first);
}

TEST_F(SyncStoreTest, AReplacementIsReadBackAndReplaced) {
  SyncStore store = records();
  const model::Replacement intended{.batch = BatchId("a"),
                                    .by = BatchId("b"),
                                    .reason = "why",
                                    .action = ReplaceAction::aside,
                                    .path = "/data/out/ds/.replaced/a",
                                    .done = false};
  store.recordReplacement(place(), intended);
  model::Replacement done = intended;
  done.done = true;
  store.recordReplacement(place(), done);
  const auto rows = store.replacements(place());
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].batch.value(), "a");
  EXPECT_EQ(rows[0].by.value(), "b");
  EXPECT_EQ(rows[0].reason, "why");
  EXPECT_EQ(rows[0].action, ReplaceAction::aside);
  EXPECT_EQ(rows[0].path, intended.path);
  EXPECT_TRUE(rows[0].done);
  EXPECT_TRUE(store.replacements(place("/other")).empty());
}

TEST_F(SyncStoreTest, TheHistoryOfAJobNamesItsReplacedBatchesOnceThatIsDone) {
  const model::Job job = store().load(jobFor("a"));
  SyncStore sync = records();
  model::Replacement one{.batch = BatchId("a"), .by = BatchId("b"), .action = ReplaceAction::remove};
  sync.recordReplacement(place(), one);
  EXPECT_TRUE(history().replacementsOf(job).empty());
  one.done = true;
  sync.recordReplacement(place(), one);
  one.batch = BatchId("of another job");
  sync.recordReplacement(place(), one);
  const auto rows = history().replacementsOf(job);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].by.value(), "b");
}

TEST_F(SyncStoreTest, OnlyAVerifiedBatchIsHere) {
  SyncStore sync = records();
  const model::JobId job = jobFor("a");
  EXPECT_FALSE(sync.hasBatch(place(), BatchId("a")));
  EXPECT_EQ(sync.interruptedJobs(place()), std::vector{job});
  verifyAll(job);
  EXPECT_TRUE(sync.hasBatch(place(), BatchId("a")));
  EXPECT_FALSE(sync.hasBatch(place(), BatchId("b")));
  EXPECT_FALSE(sync.hasBatch(place("/other"), BatchId("a")));
  EXPECT_TRUE(sync.interruptedJobs(place()).empty());
}

TEST_F(SyncStoreTest, AFailedJobIsFoundByTheBatchItWasMadeFor) {
  SyncStore sync = records();
  const model::JobId job = jobFor("a");
  EXPECT_FALSE(sync.failedJob(place(), BatchId("a")));
  store().failStep(job, model::StepName::verifyFiles, {.message = "wrong"});
  EXPECT_EQ(sync.failedJob(place(), BatchId("a")), job);
  EXPECT_FALSE(sync.failedJob(place(), BatchId("b")));
}

TEST_F(SyncStoreTest, TheRateIsThatOfTheNewestWholeDownload) {
  SyncStore sync = records();
  const std::string org = place().orgId;
  EXPECT_FALSE(sync.measuredRate(org));
  const model::Job job = jobWithBatches({"a"});
  list(job.id, "a", {remoteFile("a", "f", "one", 8000)});
  store().finishStep(job.id, model::StepName::listFiles, {});
  store().beginAttempt(job.id, model::StepName::downloadFiles);
  clock_.advance(std::chrono::seconds(4));
  store().finishStep(job.id, model::StepName::downloadFiles, {});
  EXPECT_EQ(sync.measuredRate(org), 2000.0);
  EXPECT_FALSE(sync.measuredRate("OTHER@AdobeOrg"));
  store().addEvent(job.id, model::StepName::downloadFiles, "files_kept", "it was here");
  EXPECT_FALSE(sync.measuredRate(org));
}

TEST_F(SyncStoreTest, ADatasetIsComparedByItsNewestBatch) {
  const model::JobId before = jobFor("a");
  list(before, "a", {remoteFile("a", "f", "one"), remoteFile("a", "f", "two")});
  for (const auto& file : filesOf(before)) {
    download(file.id);
    verify(file.id, 5);
  }
  const model::JobId now = jobFor("b");
  EXPECT_FALSE(store().lastSuccess(store().load(now)));
  verifyAll(before, 10);
  const auto last = store().lastSuccess(store().load(now));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->job, before);
  EXPECT_EQ(last->records, 10U);
  EXPECT_FALSE(store().lastSuccess(store().load(before))) << "not with itself";
}

TEST_F(SyncStoreTest, DatasetsMadeForASegmentComeNewestFirst) {
  for (const char* dataset : {"d1", "d2"}) {
    const model::JobId job = newJob(segmentRequest()).id;
    store().finishStep(job, model::StepName::createDataset,
                       {.datasetId = model::DatasetId(dataset), .datasetCreated = true});
  }
  model::ExportRequest other = segmentRequest();
  other.sandbox = "dev";
  const model::JobId elsewhere = newJob(other).id;
  const model::JobId job = newJob(segmentRequest()).id;
  EXPECT_EQ(store().datasetsMadeFor(store().load(job)), (std::vector{model::DatasetId("d2"), model::DatasetId("d1")}));
  EXPECT_TRUE(store().datasetsMadeFor(store().load(elsewhere)).empty());
}

TEST_F(SyncStoreTest, AnEvaluationIsRemembered) {
  const model::JobId job = newJob(segmentRequest()).id;
  EXPECT_FALSE(store().load(job).evaluatedAt);
  const core::TimePoint when{core::Duration(1606000000123)};
  store().recordRemoteJob(job, {.evaluatedAt = when});
  store().recordRemoteJob(job, {.remoteStatus = "NEW"});
  EXPECT_EQ(store().load(job).evaluatedAt, when);
}

/// A database as the first version made it, with a job in it.
void makeFirstVersion(const std::filesystem::path& file) {
  SQLite::Database connection(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  connection.exec(migrations().front().sql);
  connection.exec("PRAGMA application_id = 1128352088");  // "CAIX"
  connection.exec("PRAGMA user_version = 1");
  connection.exec(
      "INSERT INTO job (uuid, kind, source_id, org_id, sandbox, output, status, created_at, updated_at)"
      " VALUES ('u', 'dataset', 'ds', 'ORG', 'prod', '/out', 'pending', 1, 2)");
  connection.exec("INSERT INTO request (job, json) VALUES (1, '{}')");
  connection.exec("INSERT INTO step (job, position, name, state) VALUES (1, 0, 'select_batches', 'pending')");
}

TEST(Migration, ADatabaseOfTheFirstVersionKeepsItsJobsAndLearnsToSync) {
  const support::TempDirectory folder;
  support::FakeClock clock;
  makeFirstVersion(folder / "jobs.db");
  for (const auto mode : {Database::Mode::readOnly, Database::Mode::readWrite}) {
    Database database(folder / "jobs.db", mode);
    EXPECT_EQ(database.connection().execAndGet("PRAGMA user_version").getInt(), newestSchemaVersion());
    JobStore store(database, clock);
    const model::Job job = store.load(model::JobId(1));
    EXPECT_EQ(job.request.sourceId, "ds");
    EXPECT_FALSE(job.evaluatedAt);
    EXPECT_FALSE(job.request.guards.minRecords);
  }
  Database database(folder / "jobs.db", Database::Mode::readWrite);
  SyncStore sync(database, clock);
  const SyncPlace place{.orgId = "ORG", .sandbox = "prod", .dataset = model::DatasetId("ds"), .output = "/out"};
  EXPECT_EQ(sync.sourceNumber(place), 1);
}

/// Its names were found by their hashes then.
TEST(Migration, TheFilesOfAnOlderVersionAreFoundByTheirNames) {
  const support::TempDirectory folder;
  support::FakeClock clock;
  makeFirstVersion(folder / "jobs.db");
  constexpr int kLastWithHashes = 12;
  {
    SQLite::Database connection((folder / "jobs.db").string(), SQLite::OPEN_READWRITE);
    for (const Migration& migration : migrations()) {
      if (migration.number > 1 && migration.number <= kLastWithHashes) connection.exec(migration.sql);
    }
    connection.exec("PRAGMA user_version = " + std::to_string(kLastWithHashes));
    connection.exec("UPDATE job SET dataset_id = 'ds'");
    connection.exec(
        "INSERT INTO batch (id, job, position, remote_id, status, created, created_client, replay_reason)"
        " VALUES (7, 1, 0, 'b1', 'success', 1, 'c', '')");
    connection.exec(
        "INSERT INTO file (id, job, batch, dataset_file_id, name, name_hash, length, listing, claimed, state, sha256)"
        " VALUES (5, 1, 7, 'd', 'x', 123, 100, 1, 2, 'downloaded', x'00'), (6, 1, 7, 'd', 'y', 456, 100, 1, 0,"
        " 'pending', NULL)");
  }
  Database database(folder / "jobs.db", Database::Mode::readWrite);
  JobStore store(database, clock);
  const model::Job job = store.load(model::JobId(1));
  const model::BatchId batch("b1");
  EXPECT_TRUE(store.isRecordedPath(job, batch, "x"));
  store.beginListing(job.id, batch);
  store.addFiles(job.id, std::vector{remoteFile("b1", "d", "y"), remoteFile("b1", "d", "x"),
                                     remoteFile("b1", "d2", "y"), remoteFile("b1", "d", "z")});
  store.finishListing(job.id, batch);
  std::map<std::string, std::int64_t> paths;
  for (const model::FileRecord& file : store.files(job.id, 0, 100, {})) paths[file.path] = file.id;
  EXPECT_THAT(paths, UnorderedElementsAre(Pair("x", 5), Pair("d/y", 6), Pair("d2/y", 7), Pair("z", 8)));
}

}  // namespace
}  // namespace caiexport::store
