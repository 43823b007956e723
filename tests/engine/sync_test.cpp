/// Keeping a folder in step: what is fetched, what is put away, and that a crash at any call leaves nothing that the
/// next run does not put right.

#include "caiexport/engine/sync.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <map>
#include <sstream>

#include "caiexport/engine/manifest.h"
#include "caiexport/model/job.h"
#include "engine/journey.h"
#include "support/statement_count.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kFileBytes = 3000;

/// A process that can sync.
struct SyncProcess : Journey::Process {
  SyncProcess(Journey& journey, std::size_t crashAt = 0)
      : Process(journey, crashAt), records(database, journey.clock, [this](std::string_view, bool) { crash.pass(); }) {}

  SyncResult sync(const SyncRequest& request) {
    Sync run(tools, records, [&](model::JobId job) { return runner.advance(job, {}, {}); },
             {.replaced = [this](const Replaced& done, bool) { left += done.left(); },
              .notReplaced = [this](const model::Replacement&, bool, const core::Error&) { ++notReplaced; }});
    return run.run(request, {});
  }

  store::SyncStore records;
  std::uint64_t left = 0;
  int notReplaced = 0;
};

class SyncJourney : public testing::Test {
 protected:
  void start(const std::string& scenario) { journey = std::make_unique<Journey>(scenario, kFileBytes); }

  SyncRequest request() const {
    SyncRequest made;
    made.job = journey->datasetRequest();
    return made;
  }

  SyncResult sync() { return sync(request()); }
  SyncResult sync(const SyncRequest& wanted) { return SyncProcess(*journey).sync(wanted); }

  /// The ids of batches that the platform makes now.
  void addBatches(const std::string& json) { post("/_simulator/batches", json); }
  void post(const std::string& target, const std::string& json) {
    const simulator::Response answer = journey->world().handle(
        {.method = "POST", .target = target, .headers = {{"Host", "platform.test"}}, .body = json, .scheme = "https"});
    ASSERT_EQ(answer.status, 200) << answer.body;
  }

  /// One batch was fetched, which its maker calls "week-1": its id.
  std::string startWithWeek1() {
    start(R"({"batches": 0, "failed_batches": 0, "files": 1})");
    addBatches(R"({"external_id": "week-1"})");
    EXPECT_FALSE(sync().error);
    return batchesIn(folder()).at(0);
  }

  fs::path folder() const { return journey->directory / "out" / kScoreDataset; }
  fs::path aside() const { return folder().parent_path() / ".replaced" / kScoreDataset; }

  std::string newestId() const {
    const std::string state = journey->world().stateJson();
    return state.substr(state.rfind("01JXSC"), 26);
  }

  /// The next process knows of nothing.
  void loseDatabase() const {
    for (const char* name : {"jobs.db", "jobs.db-wal", "jobs.db-shm"}) fs::remove(journey->directory / name);
  }

  fs::path fileOf(const std::string& batch) const {
    for (const auto& entry : fs::directory_iterator(folder() / batch)) {
      if (entry.path().extension() == ".parquet") return entry.path();
    }
    return {};
  }

  static void damage(const fs::path& file) {
    std::fstream(file, std::ios::binary | std::ios::in | std::ios::out).seekp(60).put('\x7f');
  }

  Outcome runJob(const model::ExportRequest& wanted, const RunOptions& options = {}) const {
    SyncProcess process(*journey);
    return process.runner.advance(process.runner.create(wanted).id, options, {});
  }

  /// Batch folders, sorted: ids grow with time.
  std::vector<std::string> batchesIn(const fs::path& place) const {
    std::vector<std::string> names;
    if (!fs::exists(place)) return names;
    for (const auto& entry : fs::directory_iterator(place)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_directory() && !entry.is_symlink() && !name.starts_with(".")) names.push_back(name);
    }
    std::ranges::sort(names);
    return names;
  }

  std::string latest() const { return fs::read_symlink(folder() / "latest").string(); }

  std::unique_ptr<Journey> journey;
};

TEST_F(SyncJourney, FetchesEveryBatchOldestFirstAndThenNothing) {
  start(R"({"batches": 3, "files": 2})");
  const SyncResult first = sync();
  ASSERT_FALSE(first.error) << first.error->what();
  EXPECT_THAT(first.jobs, SizeIs(3));
  const auto batches = batchesIn(folder());
  ASSERT_THAT(batches, SizeIs(3));
  EXPECT_EQ(first.mark->batch.value(), batches.back());
  EXPECT_EQ(latest(), batches.back());
  SyncProcess process(*journey);
  std::vector<core::TimePoint> made;
  for (const model::JobId job : first.jobs) made.push_back(process.store.load(job).batches.front().created);
  EXPECT_TRUE(std::ranges::is_sorted(made));

  const std::uint64_t served = journey->world().statistics().fileBytesServed;
  const SyncResult second = process.sync(request());
  EXPECT_FALSE(second.error);
  EXPECT_THAT(second.jobs, IsEmpty());
  EXPECT_EQ(journey->world().statistics().fileBytesServed, served);
}

/// On a file system that ignores case the folder of one batch may be that of another.
TEST_F(SyncJourney, NothingNewCostsTheSameHoweverManyBatchesAreHere) {
  const auto costOf = [&](int batches) {
    start("{\"batches\": " + std::to_string(batches) + R"(, "failed_batches": 0, "files": 1})");
    EXPECT_FALSE(sync().error);
    std::uint64_t requests = 0;
    journey->onRequest = [&](const std::string& call) { requests += call.starts_with("before") ? 1 : 0; };
    SyncProcess process(*journey);
    const support::StatementCount count(process.database);
    const SyncResult result = process.sync(request());
    EXPECT_FALSE(result.error);
    EXPECT_THAT(result.jobs, IsEmpty());
    journey->onRequest = nullptr;
    return std::pair(requests, count.statements());
  };
  const auto few = costOf(15);
  EXPECT_LE(few.first, 2U) << "a page, and the end of the list";
  EXPECT_EQ(costOf(45), few);
}

TEST_F(SyncJourney, AManifestOfSomethingElseHidesNoBatch) {
  start(R"({"batches": 2, "files": 1})");
  ASSERT_FALSE(sync().error);
  const auto batches = batchesIn(folder());
  for (const std::string text : {R"({"job": 1, "dataset_id": "x", "batch_id": "other", "files": []})", "mine"}) {
    // Without the record: a new database.
    std::filesystem::remove_all(folder() / batches[0]);
    std::filesystem::create_directories(folder() / batches[0]);
    std::ofstream(folder() / batches[0] / kManifestName) << text;
    const auto fresh = std::make_unique<Journey>(R"({"batches": 2, "files": 1})", kFileBytes);
    SyncRequest wanted = request();
    wanted.job = fresh->datasetRequest();
    wanted.job.output = journey->directory / "out";
    const SyncResult result = SyncProcess(*fresh).sync(wanted);
    ASSERT_TRUE(result.error) << "it was passed over";
    EXPECT_THAT(result.error->what(), HasSubstr("is not the manifest of this batch"));
  }
}

TEST_F(SyncJourney, ABatchThatIsListedLateIsFetchedAllTheSame) {
  start(R"({"batches": 1, "files": 1})");
  addBatches(R"({"status": "processing"})");
  addBatches(R"({})");
  ASSERT_FALSE(sync().error);
  ASSERT_THAT(batchesIn(folder()), SizeIs(2));
  const auto here = batchesIn(folder());
  // The one in the middle, older than the mark, is complete now.
  const std::string state = journey->world().stateJson();
  const std::size_t at = state.find(R"("status":"processing")");
  ASSERT_NE(at, state.npos);
  const std::size_t id = state.rfind("01JXSC", at);
  post("/_simulator/batch", R"({"id": ")" + state.substr(id, 26) + R"(", "status": "success"})");
  const SyncResult late = sync();
  ASSERT_FALSE(late.error) << late.error->what();
  EXPECT_THAT(late.jobs, SizeIs(1));
  EXPECT_THAT(batchesIn(folder()), SizeIs(3));
  EXPECT_EQ(late.mark->batch.value(), here.back()) << "the mark does not go back";
  EXPECT_EQ(latest(), here.back()) << "nor does the link";
}

TEST_F(SyncJourney, WhatIsSupersededIsMovedAsideOnceTheOtherIsHere) {
  start(R"({"batches": 2, "files": 2})");
  ASSERT_FALSE(sync().error);
  const auto before = batchesIn(folder());
  addBatches(R"({"replay": true})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  ASSERT_THAT(result.replaced, SizeIs(1));
  EXPECT_EQ(result.replaced[0].batch.value(), before[1]);
  EXPECT_EQ(result.replaced[0].action, model::ReplaceAction::aside);
  EXPECT_THAT(batchesIn(aside()), ElementsAre(before[1]));
  EXPECT_TRUE(fs::exists(result.replaced[0].path / "_manifest.json"));
  EXPECT_FALSE(fs::exists(folder() / before[1]));
  EXPECT_EQ(latest(), result.replaced[0].by.value());
  EXPECT_THAT(sync().replaced, IsEmpty()) << "once is enough";
}

TEST_F(SyncJourney, WhatIsSupersededBeforeItWasFetchedIsNotFetched) {
  start(R"({"batches": 3, "files": 1, "replay": true})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.jobs, SizeIs(2));
  ASSERT_THAT(result.replaced, SizeIs(1));
  EXPECT_EQ(result.replaced[0].action, model::ReplaceAction::skip);
  EXPECT_FALSE(fs::exists(aside()));
  EXPECT_THAT(sync().jobs, IsEmpty());
}

TEST_F(SyncJourney, KeepLeavesAllWhereTheyAre) {
  start(R"({"batches": 2, "files": 1, "replay": true})");
  SyncRequest keep = request();
  keep.replayed = model::ReplaceAction::keep;
  const SyncResult result = sync(keep);
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(batchesIn(folder()), SizeIs(2));
  EXPECT_FALSE(fs::exists(aside()));
}

TEST_F(SyncJourney, APrivacyDeletionDeletesWhatItReplacesAndWhatWasSetAsideBefore) {
  start(R"({"batches": 1, "files": 2})");
  ASSERT_FALSE(sync().error);
  addBatches(R"({"replay": true})");
  ASSERT_FALSE(sync().error);
  ASSERT_THAT(batchesIn(aside()), SizeIs(1));
  addBatches(R"({"replay": true, "reason": "Privacy job 77: delete"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.replaced, SizeIs(2));
  EXPECT_THAT(batchesIn(folder()), SizeIs(1));
  EXPECT_THAT(batchesIn(aside()), IsEmpty());
  EXPECT_EQ(latest(), batchesIn(folder()).front());
}

TEST_F(SyncJourney, DeletingLeavesForeignFilesAndCountsThem) {
  start(R"({"batches": 1, "files": 2})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  std::ofstream(folder() / old / "notes.txt") << "mine";
  addBatches(R"({"replay": true})");
  SyncRequest remove = request();
  remove.replayed = model::ReplaceAction::remove;
  SyncProcess process(*journey);
  const SyncResult result = process.sync(remove);
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_EQ(process.left, 1U);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder() / old)) names.push_back(entry.path().filename());
  EXPECT_THAT(names, ElementsAre("notes.txt"));
}

TEST_F(SyncJourney, DeletingReachesWhatJobsAndWorkersOfSharedJobsHadBegun) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const fs::path old = folder() / batchesIn(folder()).front();
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(old)) names.push_back(entry.path().filename());
  for (const std::string& name : names) {
    if (!name.ends_with(".parquet")) continue;
    for (const char* tag : {"0123abcd", "0123abcd.7", "0123abcd.7-31", "12345678", "12345678.12345678"}) {
      std::ofstream(old / (name + "." + tag + ".part")) << "half";
    }
  }
  for (const char* foreign : {"notes.0123abcd.7.part", "notes.part"}) std::ofstream(old / foreign) << "mine";
  addBatches(R"({"replay": true, "reason": "Privacy job 77: delete"})");
  SyncProcess process(*journey);
  const SyncResult result = process.sync(request());
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_EQ(process.left, 2U);
  names.clear();
  for (const auto& entry : fs::directory_iterator(old)) names.push_back(entry.path().filename());
  EXPECT_THAT(names, UnorderedElementsAre("notes.0123abcd.7.part", "notes.part"));
}

TEST_F(SyncJourney, AChainWhoseMiddleIsNotListedIsFollowed) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string oldest = batchesIn(folder()).front();
  addBatches(R"({"replay": true})");
  const std::string state = journey->world().stateJson();
  const std::string middle = state.substr(state.rfind("01JXSC"), 26);
  addBatches(R"({"replay": true})");
  post("/_simulator/batch", R"({"id": ")" + middle + R"(", "status": "inactive"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.jobs, SizeIs(1));
  ASSERT_THAT(result.replaced, SizeIs(1));
  EXPECT_EQ(result.replaced[0].batch.value(), oldest);
}

TEST_F(SyncJourney, AFailedBatchHoldsTheMarkBackButNotTheOthers) {
  start(R"({"batches": 2, "files": 1})");
  SyncRequest guarded = request();
  // The older one has too few records, the newer one enough; the oldest batch comes first.
  std::map<fs::path, std::uint64_t> rows;
  journey->rowsOf = [&rows](const fs::path& file) {
    constexpr std::array<std::uint64_t, 4> kRows{1000, 1000, 10, 5000};
    return rows.try_emplace(file.parent_path(), kRows.at(rows.size() % kRows.size())).first->second;
  };
  addBatches(R"({"records": 10})");
  addBatches(R"({"records": 5000})");
  guarded.job.guards.minRecords = 500;
  const SyncResult result = sync(guarded);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::verification);
  EXPECT_THAT(result.error->what(), HasSubstr("holds 10 records, expected at least 500"));
  EXPECT_THAT(result.jobs, SizeIs(4));
  const auto here = batchesIn(folder());
  ASSERT_THAT(here, SizeIs(4)) << "data is kept";
  EXPECT_FALSE(fs::exists(folder() / here[2] / "_manifest.json"));
  EXPECT_EQ(result.mark->batch.value(), here[1]);
  EXPECT_EQ(latest(), here[3]);
  // Again: the same job fails once more; without the guard it is accepted and nothing is fetched twice.
  const SyncResult again = sync(guarded);
  ASSERT_TRUE(again.error);
  EXPECT_THAT(again.jobs, ElementsAre(result.jobs[2]));
  const std::uint64_t served = journey->world().statistics().fileBytesServed;
  const SyncResult accepted = sync();
  EXPECT_FALSE(accepted.error);
  EXPECT_EQ(accepted.mark->batch.value(), here[3]);
  EXPECT_EQ(journey->world().statistics().fileBytesServed, served);
}

TEST_F(SyncJourney, ADatasetThatDoesNotExistIsNotFound) {
  start(R"({})");
  SyncRequest wrong = request();
  wrong.job.sourceId = "5f0000000000000000009999";
  const SyncResult result = sync(wrong);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::notFound);
}

TEST_F(SyncJourney, MaxAgeLooksAtTheNewestBatchWhenAllAreHere) {
  start(R"({"batches": 2, "files": 1})");
  SyncRequest young = request();
  young.maxAge = std::chrono::milliseconds(1);
  journey->clock.advance(std::chrono::hours(2));
  const SyncResult result = sync(young);
  EXPECT_THAT(batchesIn(folder()), SizeIs(2));
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::tooOld);
  young.maxAge = std::chrono::hours(24 * 365);
  EXPECT_FALSE(sync(young).error);
}

TEST_F(SyncJourney, WhatWasMovedAwayByHandIsNotFetchedAgain) {
  start(R"({"batches": 2, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  fs::remove_all(folder() / old);
  const SyncResult result = sync();
  EXPECT_FALSE(result.error);
  EXPECT_THAT(result.jobs, IsEmpty());
  ASSERT_THAT(result.movedAway, SizeIs(1));
  EXPECT_EQ(result.movedAway[0].value(), old);
}

TEST_F(SyncJourney, AReplacementThatIsWithdrawnLetsTheOldBatchCountAgain) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  addBatches(R"({"replay": true})");
  ASSERT_FALSE(sync().error);
  const std::string heir = batchesIn(folder()).front();
  post("/_simulator/batch", R"({"id": ")" + heir + R"(", "status": "inactive"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.jobs, SizeIs(1));
  EXPECT_TRUE(fs::exists(folder() / old / "_manifest.json"));
}

// --- replays of every shape

TEST_F(SyncJourney, ReplacedByExternalIdIsReplaced) {
  const std::string old = startWithWeek1();
  addBatches(R"({"predecessors_by_external_id": ["week-1"], "reason": "GDPR 7"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.replaced, SizeIs(1));
  EXPECT_FALSE(fs::exists(folder() / old));
  EXPECT_EQ(SyncProcess(*journey).store.load(result.jobs.front()).batches.front().predecessors.front().value(), old);
}

TEST_F(SyncJourney, ReplacedByExternalIdIsReplacedThoughNotListedAnyMore) {
  const std::string old = startWithWeek1();
  post("/_simulator/batch", R"({"id": ")" + old + R"(", "status": "inactive"})");
  addBatches(R"({"predecessors_by_external_id": ["week-1", "never heard of"]})");
  SyncProcess process(*journey);
  ASSERT_FALSE(process.sync(request()).error);
  EXPECT_THAT(batchesIn(aside()), ElementsAre(old));
  EXPECT_THAT(process.observer.notices, testing::Contains(HasSubstr("'never heard of'")));
}

TEST_F(SyncJourney, WhatAnotherClientMadeInItsPlaceIsFetched) {
  start(R"({"batches": 1, "files": 1})");
  SyncRequest filtered = request();
  filtered.job.batches.createdClient = "acp_foundation_push";
  ASSERT_FALSE(sync(filtered).error);
  const std::string old = batchesIn(folder()).front();
  addBatches(R"({"created_client": "somebody_else"})");
  addBatches(R"({"created_client": "acp_hygiene", "predecessors": [")" + old + R"("], "reason": "GDPR 8"})");
  const SyncResult result = sync(filtered);
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.jobs, SizeIs(1)) << "the heir, and nothing else of other clients";
  EXPECT_FALSE(fs::exists(folder() / old));
  EXPECT_THAT(batchesIn(folder()), SizeIs(1));
}

TEST_F(SyncJourney, AnHeirWithoutPeopleIsNoFailure) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  addBatches(R"({"replay": true, "files": 0, "records": 0, "reason": "GDPR 9"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.jobs, IsEmpty());
  EXPECT_THAT(result.replaced, SizeIs(1));
  EXPECT_THAT(batchesIn(folder()), IsEmpty());
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder() / "latest")));
  EXPECT_EQ(result.mark->batch, result.newest->id);
  EXPECT_FALSE(sync().error);
}

TEST_F(SyncJourney, NamesThatAreNoBatchesTouchNothing) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  addBatches(R"({"reason": "GDPR 10", "predecessors":
      ["latest", "", ".", "..", "../x", ".replaced", "/etc", "manifest.json", "x.part", "a b"]})");
  SyncProcess process(*journey);
  const SyncResult result = process.sync(request());
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.replaced, IsEmpty());
  EXPECT_THAT(batchesIn(folder()), SizeIs(2));
  EXPECT_TRUE(fs::exists(folder() / "latest" / "_manifest.json")) << "what was just fetched is still there";
  EXPECT_THAT(process.observer.notices, testing::Contains(HasSubstr("'latest'")));
  EXPECT_FALSE(sync().error);
}

TEST_F(SyncJourney, BatchesThatReplaceOneAnotherLeaveTheNewest) {
  start(R"({"batches": 3, "files": 1})");
  std::vector<std::string> ids;
  {
    SyncProcess process(*journey);
    process.client.forEachBatch({.dataset = model::DatasetId(kScoreDataset)},
                                [&](const model::Batch& batch) {
                                  ids.insert(ids.begin(), batch.id.value());
                                  return true;
                                },
                                {});
  }
  post("/_simulator/batch", R"({"id": ")" + ids[0] + R"(", "predecessors": [")" + ids[2] + R"("]})");
  post("/_simulator/batch", R"({"id": ")" + ids[1] + R"(", "predecessors": [")" + ids[1] + R"("]})");
  post("/_simulator/batch", R"({"id": ")" + ids[2] + R"(", "predecessors": [")" + ids[0] + R"("]})");
  ASSERT_FALSE(sync().error);
  EXPECT_THAT(batchesIn(folder()), ElementsAre(ids[1], ids[2]));
  // The dataset command, which once found that nothing was left.
  SyncProcess process(*journey);
  model::ExportRequest all = journey->datasetRequest();
  all.batches = {};
  all.batches.limit.reset();
  const Outcome outcome = process.runner.advance(process.runner.create(all).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_THAT(outcome.job.batches, SizeIs(2));
}

TEST_F(SyncJourney, EveryCopyOfADeletedPersonGoesHoweverLongAgoItWasPutAside) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  for (int week = 0; week < 3; ++week) {
    // What is replaced is withdrawn, and soon nobody lists it.
    const std::string old = batchesIn(folder()).front();
    addBatches(R"({"replay": true})");
    post("/_simulator/batch", R"({"id": ")" + old + R"(", "status": "inactive"})");
    ASSERT_FALSE(sync().error);
  }
  const auto putAside = batchesIn(aside());
  ASSERT_THAT(putAside, SizeIs(3));
  // Another copy, of which no record tells, and one whose manifest is gone.
  fs::copy(aside() / putAside[0], aside() / (putAside[0] + ".2"), fs::copy_options::recursive);
  fs::remove(aside() / putAside[1] / "_manifest.json");
  addBatches(R"({"replay": true, "reason": "GDPR 11"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.replaced, SizeIs(4));
  EXPECT_THAT(batchesIn(aside()), IsEmpty());
  EXPECT_THAT(batchesIn(folder()), SizeIs(1));
  EXPECT_THAT(sync().replaced, IsEmpty());
}

TEST_F(SyncJourney, APrivacyDeletionReachesOtherFoldersOnRecord) {
  start(R"({"batches": 1, "files": 2})");
  SyncRequest other = request();
  other.job.output = journey->directory / "elsewhere";
  ASSERT_FALSE(sync(other).error);
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  addBatches(R"({"replay": true, "reason": "GDPR 12"})");
  ASSERT_FALSE(sync().error);
  const fs::path there = other.job.output / kScoreDataset;
  EXPECT_FALSE(fs::exists(there / old));
  EXPECT_FALSE(fs::exists(fs::symlink_status(there / "latest")));
  // The rest of that folder is as it was.
  EXPECT_TRUE(fs::exists(there));
  EXPECT_THAT(sync(other).jobs, SizeIs(1));
}

TEST_F(SyncJourney, APartOfADownloadGoesToo) {
  start(R"({"batches": 1, "files": 2})");
  SyncRequest size = request();
  std::string old;
  {
    SyncProcess process(*journey, 40);
    EXPECT_THROW(process.sync(size), support::SimulatedCrash);
    const auto here = batchesIn(folder());
    ASSERT_THAT(here, SizeIs(1));
    old = here.front();
  }
  // It is withdrawn before its job could go on.
  post("/_simulator/batch", R"({"id": ")" + old + R"(", "status": "inactive"})");
  addBatches(R"({"predecessors": [")" + old + R"("], "reason": "GDPR 13"})");
  sync();
  EXPECT_FALSE(fs::exists(folder() / old));
}

TEST_F(SyncJourney, APrivacyDeletionDoesNotWaitForABatchThatFails) {
  start(R"({"batches": 2, "files": 1})");
  journey->rowsPerFile = 0;
  ASSERT_FALSE(sync().error);
  const auto before = batchesIn(folder());
  SyncRequest guarded = request();
  guarded.job.guards.minRecords = 500;
  addBatches(R"({"records": 10, "predecessors": [")" + before[0] + R"("]})");
  addBatches(R"({"records": 10, "predecessors": [")" + before[1] + R"("], "reason": "GDPR 14"})");
  const SyncResult result = sync(guarded);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::verification);
  EXPECT_TRUE(fs::exists(folder() / before[0] / "_manifest.json")) << "readable until the new one is verified";
  EXPECT_FALSE(fs::exists(folder() / before[1])) << "but nobody waits to be forgotten";
}

TEST_F(SyncJourney, WhoWasForgottenStaysForgotten) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  addBatches(R"({"replay": true, "reason": "GDPR 15"})");
  ASSERT_FALSE(sync().error);
  const std::string heir = batchesIn(folder()).front();
  post("/_simulator/batch", R"({"id": ")" + heir + R"(", "status": "inactive"})");
  const SyncResult result = sync();
  EXPECT_THAT(result.jobs, IsEmpty());
  EXPECT_FALSE(fs::exists(folder() / old));
}

TEST_F(SyncJourney, NothingIsDeletedBehindALinkAndThatIsNoSuccess) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  const fs::path victim = journey->directory / "victim";
  fs::rename(folder() / old, victim);
  fs::create_directory_symlink(victim, folder() / old);
  addBatches(R"({"replay": true, "reason": "GDPR 16"})");
  SyncProcess process(*journey);
  const SyncResult result = process.sync(request());
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::io);
  EXPECT_EQ(process.notReplaced, 1);
  EXPECT_TRUE(fs::exists(victim / "_manifest.json"));
  EXPECT_THAT(result.jobs, SizeIs(1)) << "the new batch comes all the same";
  // Once the link is gone, so is the promise kept.
  fs::remove(folder() / old);
  fs::rename(victim, folder() / old);
  EXPECT_FALSE(process.sync(request()).error);
  EXPECT_FALSE(fs::exists(folder() / old));
}

TEST_F(SyncJourney, APlantedLinkForReplacedBatchesIsRefused) {
  for (const bool above : {false, true}) {
    SCOPED_TRACE(above ? "in place of .replaced" : "in place of the dataset's folder in it");
    start(R"({"batches": 1, "files": 1})");
    ASSERT_FALSE(sync().error);
    const std::string old = batchesIn(folder()).front();
    const fs::path link = above ? aside().parent_path() : aside();
    fs::create_directory(journey->directory / "planted");
    fs::create_directories(link.parent_path());
    fs::create_directory_symlink(journey->directory / "planted", link);
    addBatches(R"({"replay": true})");
    const SyncResult result = sync();
    ASSERT_TRUE(result.error);
    EXPECT_THAT(result.error->what(), HasSubstr("symbolic link"));
    EXPECT_TRUE(fs::exists(folder() / old / "_manifest.json"));
    if (!above) {
      EXPECT_TRUE(fs::is_empty(journey->directory / "planted"));
    }
  }
}

TEST_F(SyncJourney, AManifestThatIsAPipeHoldsNothingUp) {
  start(R"({"batches": 1, "files": 2})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  fs::remove(folder() / old / "_manifest.json");
  ASSERT_EQ(::mkfifo((folder() / old / "_manifest.json").c_str(), 0600), 0);
  addBatches(R"({"replay": true, "reason": "GDPR 17"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_FALSE(fs::exists(folder() / old));
}

// --- what lies there and was not verified by a job

TEST_F(SyncJourney, AManifestThatNoJobWroteVouchesForNothing) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  addBatches("{}");
  const std::string planted = newestId();
  fs::create_directory(folder() / planted);
  const fs::path manifest = folder() / planted / "_manifest.json";
  fs::copy_file(folder() / old / "_manifest.json", manifest);
  for (const bool copied : {true, false}) {
    if (!copied) std::ofstream(manifest) << "hello";
    const SyncResult refused = sync();
    ASSERT_TRUE(refused.error) << (copied ? "another batch's" : "garbage");
    EXPECT_THAT(refused.error->what(), HasSubstr("is not the manifest of this batch"));
    EXPECT_EQ(refused.mark->batch.value(), old);
  }
  fs::remove(manifest);
  const SyncResult fetched = sync();
  ASSERT_FALSE(fetched.error) << fetched.error->what();
  EXPECT_EQ(fetched.mark->batch.value(), planted);
  EXPECT_FALSE(fileOf(planted).empty());
}

TEST_F(SyncJourney, AfterALostDatabaseEveryFileIsHeldAgainstItsHash) {
  start(R"({"batches": 2, "files": 1})");
  ASSERT_FALSE(sync().error);
  const auto here = batchesIn(folder());
  loseDatabase();
  const std::uint64_t served = journey->world().statistics().fileBytesServed;
  const SyncResult kept = sync();
  ASSERT_FALSE(kept.error) << kept.error->what();
  EXPECT_THAT(kept.jobs, SizeIs(2));
  EXPECT_EQ(journey->world().statistics().fileBytesServed, served);

  loseDatabase();
  damage(fileOf(here[0]));
  const SyncResult found = sync();
  ASSERT_TRUE(found.error);
  EXPECT_THAT(found.error->what(), HasSubstr("is not what its manifest says"));
  EXPECT_FALSE(found.mark);
  EXPECT_THAT(found.jobs, SizeIs(2)) << "the other one is looked at all the same";

  loseDatabase();
  fs::remove(fileOf(here[0]));
  const SyncResult fetched = sync();
  ASSERT_FALSE(fetched.error) << fetched.error->what();
  EXPECT_FALSE(fileOf(here[0]).empty());
}

// --- who was forgotten does not come back

TEST_F(SyncJourney, AJobThatFailedDoesNotBringBackWhoWasForgotten) {
  start(R"({"batches": 1, "failed_batches": 0, "files": 1, "records": 10})");
  const std::string old = newestId();
  journey->rowsPerFile = 5;
  model::ExportRequest counted = journey->datasetRequest();
  counted.verify = model::VerifyLevel::footer;
  const Outcome failed = runJob(counted);
  ASSERT_TRUE(failed.error);
  addBatches(R"({"reason": "GDPR 18", "predecessors": [")" + old + R"("]})");
  ASSERT_FALSE(sync().error);
  ASSERT_FALSE(fs::exists(folder() / old));
  for (const bool accept : {false, true}) {
    SyncProcess process(*journey);
    const Outcome resumed = process.runner.advance(failed.job.id, {.acceptRows = accept}, {});
    ASSERT_TRUE(resumed.error);
    EXPECT_EQ(resumed.error->category(), Category::notFound);
    EXPECT_THAT(resumed.error->what(), HasSubstr("customers asked for their data to go"));
    EXPECT_FALSE(fs::exists(folder() / old));
  }
}

TEST_F(SyncJourney, WhatCameInPlaceOfAForgottenBatchIsTakenInstead) {
  start(R"({"batches": 2, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).back();
  addBatches(R"({"created_client": "acp_hygiene", "reason": "GDPR 19", "predecessors": [")" + old + R"("]})");
  const std::string heir = newestId();
  ASSERT_FALSE(sync().error);
  ASSERT_FALSE(fs::exists(folder() / old));

  model::ExportRequest newest = journey->datasetRequest();
  const Outcome instead = runJob(newest);
  ASSERT_FALSE(instead.error) << instead.error->what();
  EXPECT_EQ(instead.job.batches.front().id.value(), heir);

  newest.batches.limit.reset();
  newest.batches.createdClient.clear();
  newest.batches.includeReplaced = true;
  const Outcome all = runJob(newest);
  ASSERT_FALSE(all.error) << all.error->what();
  EXPECT_THAT(all.job.batches, SizeIs(2));

  model::ExportRequest named = journey->datasetRequest();
  named.batches.batch = model::BatchId(old);
  const Outcome refused = runJob(named);
  ASSERT_TRUE(refused.error);
  EXPECT_THAT(refused.error->hint(), HasSubstr("--batch " + heir));
  EXPECT_FALSE(fs::exists(folder() / old));
  named.force = true;
  EXPECT_FALSE(runJob(named).error);
  EXPECT_TRUE(fs::exists(folder() / old / "_manifest.json"));
}

// --- privacy deletions that can't be carried out are no success

TEST_F(SyncJourney, APrivacyDeletionByExternalIdGoesByTheRecordWhereCatalogHasForgotten) {
  const std::string old = startWithWeek1();
  post("/_simulator/batch", R"({"id": ")" + old + R"("})");
  addBatches(R"({"predecessors_by_external_id": ["week-1"], "reason": "GDPR 20"})");
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(result.replaced, SizeIs(1));
  EXPECT_FALSE(fs::exists(folder() / old));
}

TEST_F(SyncJourney, APrivacyDeletionOfWhatNobodyCanNameIsNoSuccess) {
  const std::string old = startWithWeek1();
  loseDatabase();
  post("/_simulator/batch", R"({"id": ")" + old + R"("})");
  addBatches(R"({"predecessors_by_external_id": ["week-1"], "reason": "GDPR 21"})");
  for (int run = 0; run < 2; ++run) {
    const SyncResult result = sync();
    ASSERT_TRUE(result.error) << "run " << run;
    EXPECT_EQ(result.error->category(), Category::verification);
    EXPECT_THAT(result.error->what(), HasSubstr("NOT deleted"));
    EXPECT_FALSE(result.mark);
  }
  EXPECT_THAT(batchesIn(folder()), SizeIs(2)) << "what came in its place is here";
  fs::remove_all(folder() / old);
  SyncRequest keep = request();
  keep.replayed = model::ReplaceAction::keep;
  ASSERT_FALSE(sync(keep).error);
  EXPECT_FALSE(sync().error) << "it was told that this is done";
}

TEST_F(SyncJourney, ADatasetOfWhichNothingWasHereHasNothingToDelete) {
  start(R"({"batches": 1, "files": 1})");
  addBatches(R"({"predecessors_by_external_id": ["never heard of"], "reason": "GDPR 22"})");
  EXPECT_FALSE(sync().error);
  EXPECT_FALSE(sync().error) << "all that is here is known by name";
}

TEST_F(SyncJourney, AFileThatIsALinkIsNotSaidToBeDeleted) {
  start(R"({"batches": 1, "files": 2})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  const fs::path moved = journey->directory / "moved";
  const fs::path file = fileOf(old);
  fs::rename(file, moved);
  fs::create_symlink(moved, file);
  addBatches(R"({"replay": true, "reason": "GDPR 23"})");
  for (int run = 0; run < 2; ++run) {
    SyncProcess process(*journey);
    const SyncResult result = process.sync(request());
    ASSERT_TRUE(result.error) << "run " << run;
    EXPECT_EQ(result.error->category(), Category::io);
    EXPECT_THAT(result.error->what(), HasSubstr("symbolic link"));
    EXPECT_EQ(process.notReplaced, 1);
    EXPECT_TRUE(fs::exists(moved));
    EXPECT_EQ(fileOf(old), file) << "the others are gone";
  }
  fs::remove(file);
  EXPECT_FALSE(sync().error);
  EXPECT_FALSE(fs::exists(folder() / old));
}

TEST_F(SyncJourney, FilesOfWhichNothingTellsWhoseTheyAreAreNotSaidToBeDeleted) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync().error);
  const std::string old = batchesIn(folder()).front();
  loseDatabase();
  std::ofstream(folder() / old / "_manifest.json") << "hello";
  addBatches(R"({"replay": true, "reason": "GDPR 24"})");
  SyncProcess process(*journey);
  const SyncResult result = process.sync(request());
  ASSERT_TRUE(result.error);
  EXPECT_EQ(process.notReplaced, 1);
  EXPECT_THAT(result.error->what(), HasSubstr("neither a record nor a manifest tells"));
  EXPECT_FALSE(fileOf(old).empty());
}

// --- the mark and its filter

TEST_F(SyncJourney, TheMarkDoesNotPassWhatWasTooOldForARun) {
  start(R"({"batches": 1, "files": 1})");
  journey->clock.advance(std::chrono::hours(24 * 30));
  addBatches("{}");
  SyncRequest recent = request();
  recent.job.batches.since = journey->clock.now() - std::chrono::hours(24);
  ASSERT_FALSE(sync(recent).error);
  ASSERT_THAT(batchesIn(folder()), SizeIs(1));
  const SyncResult all = sync();
  ASSERT_FALSE(all.error) << all.error->what();
  EXPECT_THAT(batchesIn(folder()), SizeIs(2));
  EXPECT_EQ(all.mark->batch.value(), newestId());

  // Behind a mark: what is left out between it and the new batch holds it.
  addBatches("{}");
  const std::string older = newestId();
  journey->clock.advance(std::chrono::hours(24 * 30));
  addBatches("{}");
  recent.job.batches.since = journey->clock.now() - std::chrono::hours(24);
  const SyncResult held = sync(recent);
  ASSERT_FALSE(held.error) << held.error->what();
  EXPECT_THAT(batchesIn(folder()), SizeIs(3));
  EXPECT_EQ(held.mark->batch, all.mark->batch);
  ASSERT_FALSE(sync().error);
  EXPECT_TRUE(fs::exists(folder() / older / "_manifest.json"));
}

TEST_F(SyncJourney, WhatAnotherClientMadeHasAMarkOfItsOwn) {
  start(R"({"batches": 1, "failed_batches": 0, "files": 1})");
  const std::string first = newestId();
  journey->clock.advance(std::chrono::hours(24 * 30));
  addBatches(R"({"created_client": "streaming"})");
  SyncRequest other = request();
  other.job.batches.createdClient = "streaming";
  ASSERT_FALSE(sync(other).error);
  ASSERT_THAT(batchesIn(folder()), ElementsAre(newestId()));
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(batchesIn(folder()), SizeIs(2));
  EXPECT_EQ(result.mark->batch.value(), first);
  const SyncResult again = sync(other);
  EXPECT_THAT(again.jobs, IsEmpty());
  EXPECT_EQ(again.mark->batch.value(), newestId());
}

// --- one batch, or all of them

TEST_F(SyncJourney, ABatchThatThePlatformDoesNotDeliverHoldsNoOtherUp) {
  for (const char* answer : {"500", "403"}) {
    start(R"({"batches": 3, "files": 1})");
    std::vector<std::string> ids;
    {
      SyncProcess process(*journey);
      process.client.forEachBatch({.dataset = model::DatasetId(kScoreDataset)},
                                  [&](const model::Batch& batch) {
                                    ids.insert(ids.begin(), batch.id.value());
                                    return true;
                                  },
                                  {});
    }
    ASSERT_THAT(ids, SizeIs(3));
    journey->world().change(R"({"faults": [{"match": {"path": "/export/batches/)" + ids[1] +
                            R"(/files"}, "times": -1, "do": {"status": )" + answer + "}}]}");
    for (int run = 0; run < 2; ++run) {
      const SyncResult result = sync();
      ASSERT_TRUE(result.error) << answer;
      EXPECT_THAT(result.jobs, SizeIs(run == 0 ? 3 : 1)) << answer;
      EXPECT_TRUE(fs::exists(folder() / ids[2] / "_manifest.json")) << answer;
      EXPECT_EQ(result.mark->batch.value(), ids[0]) << answer;
    }
    journey->world().change(R"({"faults": []})");
    const SyncResult mended = sync();
    EXPECT_FALSE(mended.error) << mended.error->what();
    EXPECT_EQ(mended.mark->batch.value(), ids[2]);
  }
}

TEST_F(SyncJourney, APlatformThatDeliversNothingEndsTheRunSoon) {
  start(R"({"batches": 5, "files": 1})");
  journey->world().change(R"({"faults": [{"match": {"path": "/export/"}, "times": -1, "do": {"status": 500}}]})");
  const SyncResult result = sync();
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->category(), Category::unavailable);
  EXPECT_THAT(result.jobs, SizeIs(2)) << "the second batch tells that it is not the first one's fault";
}

// --- the crash matrix

constexpr std::size_t kParts = 6;

struct Case {
  const char* name;
  const char* batch;
};

class SyncCrash : public SyncJourney, public testing::WithParamInterface<std::tuple<Case, std::size_t>> {
 protected:
  /// One batch is here; one that replaces it and a further one are waiting.
  void startWithWork() {
    start(R"({"batches": 1, "files": 2})");
    ASSERT_FALSE(sync().error);
    addBatches(std::get<0>(GetParam()).batch);
    addBatches("{}");
  }

  /// False if the process died on the way.
  bool live(std::size_t crashAt) {
    try {
      SyncProcess process(*journey, crashAt);
      const SyncResult result = process.sync(request());
      if (result.error) ADD_FAILURE() << "crash at " << crashAt << ": " << result.error->what();
      return true;
    } catch (const support::SimulatedCrash&) {
      return false;
    }
  }

  std::map<std::string, std::string> content() const {
    std::map<std::string, std::string> all;
    const fs::path out = journey->directory / "out";
    for (const auto& entry : fs::recursive_directory_iterator(out)) {
      const std::string name = fs::relative(entry.path(), out).lexically_normal().string();
      if (entry.is_symlink()) {
        all[entry.path().lexically_relative(out).string()] = "-> " + fs::read_symlink(entry.path()).string();
      } else if (entry.is_regular_file() && entry.path().filename() == "_manifest.json") {
        all[name] = "";  // names its job
      } else if (entry.is_regular_file()) {
        std::ostringstream bytes;
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        all[name] = bytes.str();
      } else {
        all[name] = "folder";
      }
    }
    return all;
  }

  std::size_t jobs() {
    SyncProcess process(*journey);
    return static_cast<std::size_t>(model::numberOf(*process.store.newestJob()));
  }
};

TEST_P(SyncCrash, TheNextRunEndsAsIfNothingHadHappened) {
  startWithWork();
  std::size_t calls = 0;
  {
    SyncProcess process(*journey);
    ASSERT_FALSE(process.sync(request()).error);
    calls = process.crash.passed();
  }
  const auto expected = content();
  const std::size_t expectedJobs = jobs();
  ASSERT_EQ(expectedJobs, 3U);
  std::size_t crashes = 0;
  for (std::size_t at = 1 + std::get<1>(GetParam()); at <= calls; at += kParts) {
    startWithWork();
    if (!live(at)) ++crashes;
    expectWholeWhereMarked(journey->directory / "out");
    ASSERT_TRUE(live(0)) << "crash at " << at;
    EXPECT_EQ(content(), expected) << "crash at " << at;
    EXPECT_EQ(jobs(), expectedJobs) << "crash at " << at;
    const SyncResult quiet = sync();
    EXPECT_FALSE(quiet.error);
    EXPECT_TRUE(quiet.jobs.empty() && quiet.replaced.empty()) << "crash at " << at << ": something was left to do";
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(crashes, calls / kParts / 2) << "the matrix must crash";
}

INSTANTIATE_TEST_SUITE_P(Actions, SyncCrash,
                         testing::Combine(testing::Values(Case{"Aside", R"({"replay": true})"},
                                                          Case{"Delete", R"({"replay": true, "reason": "privacy"})"}),
                                          testing::Range<std::size_t>(0, kParts)),
                         [](const auto& instance) {
                           return std::get<0>(instance.param).name + std::to_string(std::get<1>(instance.param));
                         });

}  // namespace
}  // namespace caiexport::engine
