#include <sqlite3.h>

#include "caiexport/store/job_store.h"
#include "store/store_fixture.h"

namespace caiexport::store {
namespace {

using core::Category;
using model::ByteRange;
using model::FileState;
using model::JobId;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class FileStoreTest : public StoreTest {
 protected:
  std::vector<std::string> pathsOf(JobId job) {
    std::vector<std::string> paths;
    for (const auto& record : filesOf(job)) paths.push_back(record.path);
    return paths;
  }
  void ranges(std::int64_t file, const std::vector<ByteRange>& done) { store().recordRanges(file, done); }
  void start(std::int64_t file) { store().markStarted(std::span(&file, 1)); }
};

// --- listing

TEST_F(FileStoreTest, aListedFileComesBackAsItWas) {
  const JobId job = jobWithBatches({"b1"}).id;
  auto remote = remoteFile("b1", "01EYA-1", "päth '\"; --\x01.parquet", 9007199254740993);
  remote.href = "https://platform.example/files/x?path=y";
  list(job, "b1", {remote});
  ASSERT_THAT(filesOf(job), SizeIs(1));
  const auto record = filesOf(job)[0];
  EXPECT_EQ(record.remote.batchId.value(), "b1");
  EXPECT_EQ(record.remote.datasetFileId.value(), "01EYA-1");
  EXPECT_EQ(record.remote.name, remote.name);
  EXPECT_EQ(record.remote.lengthBytes, 9007199254740993U);
  EXPECT_EQ(record.remote.href, remote.href);
  EXPECT_EQ(record.path, remote.name);
  EXPECT_EQ(record.state, FileState::pending);
  EXPECT_THAT(record.done, IsEmpty());
  EXPECT_TRUE(record.sha256.empty());
  EXPECT_FALSE(record.records);
}

TEST_F(FileStoreTest, filesAreFoundByHowTheirNamesBegin) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  list(job, "b1", {remoteFile("b1", "d", "_committed_1"), remoteFile("b1", "d", "a_b"), remoteFile("b1", "d", "%")});
  list(job, "b2", {remoteFile("b2", "d", "_SUCCESS"), remoteFile("b2", "e", "_SUCCESS")});
  const auto found = [&](std::string_view beginning, std::int64_t after, std::size_t limit) {
    std::vector<std::string> names;
    for (const auto& file : store().filesBeginningWith(job, beginning, after, limit)) {
      names.push_back(file.remote.batchId.value() + "/" + file.path);
    }
    return names;
  };
  EXPECT_THAT(found("_", 0, 10), ElementsAre("b1/_committed_1", "b2/d/_SUCCESS", "b2/e/_SUCCESS"));
  EXPECT_THAT(found("_", 0, 1), ElementsAre("b1/_committed_1"));
  EXPECT_THAT(found("_S", filesOf(job)[0].id, 10), SizeIs(2));
  EXPECT_THAT(found("%", 0, 10), ElementsAre("b1/%"));
  EXPECT_THAT(found("_committed_12", 0, 10), IsEmpty());
}

TEST_F(FileStoreTest, filesAndBytesAreSummedOverBatches) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x", 10), remoteFile("b1", "d", "y", 20)});
  list(job, "b2", {remoteFile("b2", "d", "x", 5)});
  EXPECT_EQ(store().load(job).fileCount, 3U);
  EXPECT_EQ(store().load(job).totalBytes, 35U);
  list(job, "b1", {remoteFile("b1", "d", "y", 21)});
  EXPECT_EQ(store().load(job).fileCount, 2U);
  EXPECT_EQ(store().load(job).totalBytes, 26U);
}

TEST_F(FileStoreTest, theSameFileTwiceInOneListingIsStoredOnce) {
  const JobId job = jobWithBatches({"b1"}).id;
  store().beginListing(job, model::BatchId("b1"));
  store().addFiles(job, std::vector{remoteFile("b1", "d", "x"), remoteFile("b1", "d", "x")});
  store().addFiles(job, std::vector{remoteFile("b1", "d", "x")});
  store().finishListing(job, model::BatchId("b1"));
  EXPECT_THAT(pathsOf(job), ElementsAre("x"));
}

TEST_F(FileStoreTest, ofFilesThatAPageHasTwiceTheLastCounts) {
  const JobId job = jobWithBatches({"b1"}).id;
  store().beginListing(job, model::BatchId("b1"));
  store().addFiles(job, std::vector{remoteFile("b1", "d", "x", 10), remoteFile("b1", "d", "a", 5),
                                    remoteFile("b1", "d", "x", 20), remoteFile("b1", "e", "x", 30)});
  store().finishListing(job, model::BatchId("b1"));
  EXPECT_THAT(pathsOf(job), UnorderedElementsAre("a", "d/x", "e/x"));
  EXPECT_EQ(store().load(job).totalBytes, 55U);
}

TEST_F(FileStoreTest, listingsInAnyOrderFindWhatIsKnown) {
  const JobId job = jobWithBatches({"b1"}).id;
  constexpr int kFiles = 300;
  std::vector<model::RemoteFile> files;
  for (int n = 0; n < kFiles; ++n) files.push_back(remoteFile("b1", "d", "part-" + std::to_string(n)));
  list(job, "b1", files);
  const auto first = filesOf(job);
  ASSERT_THAT(first, SizeIs(kFiles));
  for (int n = 0; n < kFiles; n += 7) download(first[n].id);

  store().beginListing(job, model::BatchId("b1"));
  // Nearly all others lie between these two.
  const model::RemoteFile last = remoteFile("b1", "d", "part-99");
  store().addFiles(job, std::vector{last, files[0], remoteFile("b1", "e", "part-99")});
  for (int n = kFiles - 1; n > 0; n -= 2) store().addFiles(job, std::vector{files[n], files[(n + 101) % kFiles]});
  store().addFiles(job, files);
  store().finishListing(job, model::BatchId("b1"));

  const auto again = filesOf(job);
  ASSERT_THAT(again, SizeIs(kFiles + 1));
  for (int n = 0; n < kFiles; ++n) {
    EXPECT_EQ(again[n].id, first[n].id);
    EXPECT_EQ(again[n].remote.name, first[n].remote.name);
    EXPECT_EQ(again[n].state, n % 7 == 0 ? FileState::downloaded : FileState::pending) << n;
  }
}

TEST_F(FileStoreTest, collidingNamesGetFolders) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  list(job, "b1",
       {remoteFile("b1", "d1", "same"), remoteFile("b1", "d1", "other"), remoteFile("b1", "d2", "same"),
        remoteFile("b1", "d2", "Same")});
  list(job, "b2", {remoteFile("b2", "d3", "same")});
  EXPECT_THAT(pathsOf(job), ElementsAre("d1/same", "other", "d2/same", "Same", "same"));
}

TEST_F(FileStoreTest, aFileWhosePathChangesStartsAgain) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d1", "same"), remoteFile("b1", "d1", "other")});
  for (const auto& record : filesOf(job)) download(record.id);
  list(job, "b1", {remoteFile("b1", "d1", "same"), remoteFile("b1", "d2", "same"), remoteFile("b1", "d1", "other")});
  EXPECT_EQ(filesOf(job)[0].path, "d1/same");
  EXPECT_EQ(filesOf(job)[0].state, FileState::pending);
  EXPECT_EQ(fileNamed(job, "other").state, FileState::downloaded);
}

TEST_F(FileStoreTest, pathsBecomePlainAgainWhenTheCollisionIsGone) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d1", "same"), remoteFile("b1", "d2", "same")});
  list(job, "b1", {remoteFile("b1", "d2", "same")});
  EXPECT_THAT(pathsOf(job), ElementsAre("same"));
}

TEST_F(FileStoreTest, aSecondListingKeepsWhatIsKnown) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "kept"), remoteFile("b1", "d", "grown"), remoteFile("b1", "d", "part")});
  download(fileNamed(job, "kept").id);
  verify(fileNamed(job, "kept").id, 12);
  download(fileNamed(job, "grown").id);
  ranges(fileNamed(job, "part").id, {{.first = 0, .end = 50}});
  list(job, "b1",
       {remoteFile("b1", "d", "kept"), remoteFile("b1", "d", "grown", 101), remoteFile("b1", "d", "part"),
        remoteFile("b1", "d", "new")});
  EXPECT_EQ(fileNamed(job, "kept").state, FileState::verified);
  EXPECT_EQ(fileNamed(job, "kept").records, 12U);
  EXPECT_EQ(fileNamed(job, "grown").state, FileState::pending);
  EXPECT_EQ(fileNamed(job, "grown").remote.lengthBytes, 101U);
  EXPECT_TRUE(fileNamed(job, "grown").sha256.empty());
  EXPECT_EQ(fileNamed(job, "part").state, FileState::partial);
  EXPECT_THAT(fileNamed(job, "part").done, SizeIs(1));
  EXPECT_EQ(fileNamed(job, "new").state, FileState::pending);
}

TEST_F(FileStoreTest, aDoneJobGoesOnWhereFilesAreWrong) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "kept"), remoteFile("b1", "d", "gone")});
  for (const char* name : {"kept", "gone"}) download(fileNamed(job, name).id);
  for (const char* name : {"kept", "gone"}) verify(fileNamed(job, name).id, 3);
  using model::StepName;
  for (const model::Step& step : store().load(job).steps) store().finishStep(job, step.name, {});
  ASSERT_FALSE(model::currentStep(store().load(job).steps));
  const std::vector<JobStore::Wrong> wrong{{.file = fileNamed(job, "gone").id, .why = "'gone' is gone"}};
  store().recordWrong(job, StepName::verifyFiles, wrong);
  EXPECT_EQ(model::currentStep(store().load(job).steps), StepName::verifyFiles);
  EXPECT_EQ(fileNamed(job, "gone").state, FileState::failed);
  EXPECT_TRUE(fileNamed(job, "gone").sha256.empty());
  EXPECT_EQ(fileNamed(job, "kept").state, FileState::verified);
  EXPECT_THAT(store().unfinishedJobs(), testing::ElementsAre(job));
}

TEST_F(FileStoreTest, aListingDropsWhatItNoLongerHasUnlessDownloaded) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  list(job, "b1",
       {remoteFile("b1", "d", "pending"), remoteFile("b1", "d", "partial"), remoteFile("b1", "d", "downloaded"),
        remoteFile("b1", "d", "verified"), remoteFile("b1", "d", "failed")});
  list(job, "b2", {remoteFile("b2", "d", "elsewhere")});
  ranges(fileNamed(job, "partial").id, {{.first = 0, .end = 50}});
  for (const char* name : {"downloaded", "verified", "failed"}) download(fileNamed(job, name).id);
  verify(fileNamed(job, "verified").id);
  store().recordFileFailed(fileNamed(job, "failed").id);
  list(job, "b1", {});
  EXPECT_THAT(pathsOf(job), UnorderedElementsAre("downloaded", "verified", "elsewhere"));
}

TEST_F(FileStoreTest, anUnfinishedListingIsBegunAnew) {
  const JobId job = jobWithBatches({"b1"}).id;
  store().beginListing(job, model::BatchId("b1"));
  store().addFiles(job, std::vector{remoteFile("b1", "d", "x"), remoteFile("b1", "d", "gone")});
  open();
  list(job, "b1", {remoteFile("b1", "d", "x"), remoteFile("b1", "d", "y")});
  EXPECT_THAT(pathsOf(job), ElementsAre("x", "y"));
}

TEST_F(FileStoreTest, aBatchWithoutEqualNamesIsSettledWithoutALookForEachName) {
  if (database().server() != nullptr) GTEST_SKIP() << "NOT CHECKED: the pages that a server reads are not counted";
  const JobId job = jobWithBatches({"b1"}).id;
  const model::BatchId batch("b1");
  store().beginListing(job, batch);
  std::vector<model::RemoteFile> files;
  for (int n = 0; n < 3000; ++n) files.push_back(remoteFile("b1", "d", "part-" + std::to_string(n)));
  store().addFiles(job, files);
  const auto pagesUsed = [&] {
    int now = 0;
    int most = 0;
    sqlite3_db_status(database().connection().getHandle(), SQLITE_DBSTATUS_CACHE_HIT, &now, &most, 1);
    return now;
  };
  pagesUsed();
  EXPECT_FALSE(store().needsFolders(job, batch));
  EXPECT_THAT(store().displacedFiles(job, batch), IsEmpty());
  store().finishListing(job, batch);
  EXPECT_LT(pagesUsed(), 2000);
}

TEST_F(FileStoreTest, listingsOfAllBatchesBeginAtOnce) {
  const JobId job = jobWithBatches({"b1", "b2", "b3"}).id;
  const JobId other = jobWithBatches({"b1"}).id;
  int transactions = 0;
  open([&](std::string_view, bool committed) { transactions += committed ? 1 : 0; });
  store().beginListing(job);
  EXPECT_EQ(transactions, 1);
  EXPECT_EQ(number("SELECT count(*) FROM batch WHERE listing = 1"), 3);
  EXPECT_EQ(number("SELECT sum(listing) FROM batch WHERE job = " + std::to_string(model::numberOf(other))), 0);
}

TEST_F(FileStoreTest, refusesABatchThatTheJobDoesNotHave) {
  const JobId job = jobWithBatches({"b1"}).id;
  EXPECT_EQ(errorOf([&] { store().beginListing(job, model::BatchId("b2")); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { store().addFiles(job, std::vector{remoteFile("b2", "d", "x")}); }).category(),
            Category::internal);
  EXPECT_EQ(errorOf([&] { store().finishListing(job, model::BatchId("b2")); }).category(), Category::internal);
}

TEST_F(FileStoreTest, aBatchIsSummedUpWhateverTheStatesOfItsFiles) {
  const JobId job = jobWithBatches({"b1", "b2", "b3"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x", 10), remoteFile("b1", "d", "y", 20)});
  list(job, "b2", {remoteFile("b2", "d", "x", 5)});
  const auto x = filesOf(job)[0].id;
  download(x);
  verify(x, 7);
  const JobStore::BatchSums sums = store().sumsOf(job, model::BatchId("b1"));
  EXPECT_EQ(sums.firstFile, x);
  EXPECT_EQ(sums.lastFile, fileNamed(job, "y").id);
  EXPECT_EQ(sums.bytes, 30U);
  EXPECT_EQ(sums.records, 7U) << "of those that were counted";
  EXPECT_FALSE(store().sumsOf(job, model::BatchId("b2")).records) << "none was counted";
  download(sums.lastFile);
  verify(sums.lastFile, 4);
  EXPECT_EQ(store().sumsOf(job, model::BatchId("b1")).records, 11U);
  EXPECT_EQ(store().sumsOf(job, model::BatchId("b3")).lastFile, 0);
  EXPECT_EQ(store().sumsOf(job, model::BatchId("b3")).records, 0U);
}

TEST_F(FileStoreTest, filesOfABatchComeInPages) {
  const JobId job = jobWithBatches({"b1", "b2"}).id;
  store().beginListing(job);
  store().addFiles(job, std::vector{remoteFile("b1", "d", "x", 10), remoteFile("b1", "e", "x", 20)});
  store().addFiles(job, std::vector{remoteFile("b2", "d", "x", 5)});
  store().addFiles(job, std::vector{remoteFile("b1", "d", "y", 30)});
  for (const char* batch : {"b1", "b2"}) store().finishListing(job, model::BatchId(batch));
  const auto y = fileNamed(job, "y").id;
  download(y, 'c');
  verify(y, 7);

  const auto page = [&](std::int64_t after, std::size_t limit) {
    return store().filesOfBatch(job, model::BatchId("b1"), after, limit);
  };
  const auto sums = store().sumsOf(job, model::BatchId("b1"));
  const auto first = page(sums.firstFile - 1, 2);
  ASSERT_THAT(first, SizeIs(2));
  EXPECT_EQ(first[0].file, sums.firstFile);
  EXPECT_EQ(first[0].path, "d/x");
  EXPECT_EQ(first[1].path, "e/x");
  EXPECT_EQ(first[1].name, "x");
  EXPECT_EQ(first[1].datasetFileId, "e");
  EXPECT_EQ(first[1].lengthBytes, 20U);
  EXPECT_TRUE(first[1].sha256.empty());
  EXPECT_FALSE(first[1].records);
  const auto second = page(first[1].file, 2);
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].file, y);
  EXPECT_EQ(second[0].path, "y");
  EXPECT_EQ(second[0].sha256, sha256Of('c'));
  EXPECT_EQ(second[0].records, 7U);
  EXPECT_THAT(page(y, 2), IsEmpty());
}

/// What a cache that is far too small would have to read again and again, were the rows read in another order.
TEST_F(FileStoreTest, aLargeBatchIsReadInTheOrderOfItsRows) {
  const JobId job = jobWithBatches({"b1"}).id;
  std::vector<model::RemoteFile> files;
  for (int n = 0; n < 20000; ++n) files.push_back(remoteFile("b1", "d", "part-" + std::to_string(n) + ".parquet"));
  store().beginListing(job, model::BatchId("b1"));
  store().addFiles(job, files);

  SQLite::Database& connection = database().connection();
  connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  connection.exec("PRAGMA cache_size = 200");
  const int pages = connection.execAndGet("PRAGMA page_count").getInt();
  const auto misses = [&] {
    int count = 0;
    int highest = 0;
    EXPECT_EQ(sqlite3_db_status(connection.getHandle(), SQLITE_DBSTATUS_CACHE_MISS, &count, &highest, 1), SQLITE_OK);
    return count;
  };
  ASSERT_GT(pages, 400) << "more than the cache holds";
  misses();
  store().displacedFiles(job, model::BatchId("b1"));
  EXPECT_LE(misses(), 2 * pages) << "displacedFiles";
  store().finishListing(job, model::BatchId("b1"));
  EXPECT_LE(misses(), 6 * pages) << "finishListing: drops files, settles paths, sums up";
  store().sumsOf(job, model::BatchId("b1"));
  EXPECT_LE(misses(), 2 * pages) << "sumsOf";
}

/// Or else each file of a long list costs a page more than those of a short one.
TEST_F(FileStoreTest, theFilesOfALongListAreRecordedOnFewPages) {
  if (database().server() != nullptr) GTEST_SKIP() << "NOT CHECKED: the pages that a server writes are not counted";
  constexpr int kTogether = 100;
  const JobId job = jobWithBatches({"b1"}).id;
  store().beginListing(job, model::BatchId("b1"));
  const auto written = [&] {
    int count = 0;
    int highest = 0;
    EXPECT_EQ(sqlite3_db_status(database().connection().getHandle(), SQLITE_DBSTATUS_CACHE_WRITE, &count, &highest, 1),
              SQLITE_OK);
    return count;
  };
  for (int first = 0; first < 20000; first += kTogether) {
    std::vector<model::RemoteFile> page;
    for (int n = first; n < first + kTogether; ++n) {
      page.push_back(remoteFile("b1", "d", "part-" + std::to_string(10000 + n) + "-" + std::string(60, 'x')));
    }
    written();
    store().addFiles(job, page);
    ASSERT_LE(written(), 30) << "from file " << first << " on";
  }
}

TEST_F(FileStoreTest, theLastOfManyBatchesCostsAsMuchAsTheFirst) {
  constexpr int kBatches = 800;
  std::vector<std::string> ids;
  for (int n = 0; n < kBatches; ++n) ids.push_back("b" + std::to_string(n));
  const JobId job = jobWithBatches(ids).id;
  // Steps of SQLite's machine, in tens: rows looked at, not time.
  int tens = 0;
  sqlite3_progress_handler(
      database().connection().getHandle(), 10, [](void* count) { return ++*static_cast<int*>(count), 0; }, &tens);
  const auto costOf = [&](int n) {
    tens = 0;
    list(job, ids[static_cast<std::size_t>(n)], {remoteFile(ids[static_cast<std::size_t>(n)], "d", "x", 10)});
    return tens;
  };
  costOf(0);
  const int early = costOf(1);
  for (int n = 2; n < kBatches - 1; ++n) costOf(n);
  EXPECT_LE(costOf(kBatches - 1), 2 * early);
  sqlite3_progress_handler(database().connection().getHandle(), 0, nullptr, nullptr);
  EXPECT_EQ(store().load(job).fileCount, 800U);
  EXPECT_EQ(store().load(job).totalBytes, 8000U);
}

TEST_F(FileStoreTest, filesComeInPages) {
  const JobId other = jobWithBatches({"b1"}).id;
  const JobId job = jobWithBatches({"b1"}).id;
  list(other, "b1", {remoteFile("b1", "d", "theirs")});
  std::vector<model::RemoteFile> remotes;
  for (int n = 0; n < 25; ++n) remotes.push_back(remoteFile("b1", "d", "f" + std::to_string(n)));
  list(job, "b1", remotes);
  std::vector<std::string> names;
  std::int64_t after = 0;
  for (;;) {
    const auto page = store().files(job, after, 10, {});
    if (page.empty()) break;
    EXPECT_LE(page.size(), 10U);
    for (const auto& record : page) names.push_back(record.remote.name);
    after = page.back().id;
  }
  ASSERT_THAT(names, SizeIs(25));
  for (int n = 0; n < 25; ++n) EXPECT_EQ(names[static_cast<std::size_t>(n)], "f" + std::to_string(n));
}

TEST_F(FileStoreTest, filesAreChosenByState) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1",
       {remoteFile("b1", "d", "pending"), remoteFile("b1", "d", "partial"), remoteFile("b1", "d", "downloaded"),
        remoteFile("b1", "d", "verified"), remoteFile("b1", "d", "failed")});
  ranges(fileNamed(job, "partial").id, {{.first = 0, .end = 1}});
  for (const char* name : {"downloaded", "verified", "failed"}) download(fileNamed(job, name).id);
  verify(fileNamed(job, "verified").id);
  store().recordFileFailed(fileNamed(job, "failed").id);
  for (const auto state :
       {FileState::pending, FileState::partial, FileState::downloaded, FileState::verified, FileState::failed}) {
    const auto found = filesOf(job, {state});
    ASSERT_THAT(found, SizeIs(1)) << nameOf(state);
    EXPECT_EQ(found[0].remote.name, nameOf(state));
  }
  EXPECT_THAT(filesOf(job, {FileState::pending, FileState::failed}), SizeIs(2));
  EXPECT_THAT(filesOf(job), SizeIs(5));
}

// --- progress

TEST_F(FileStoreTest, rangesReplaceEachOtherSortedMergedAndCut) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x", 100)});
  const auto file = filesOf(job)[0].id;
  ranges(file, {{.first = 50, .end = 60}});
  ranges(file,
         {{.first = 80, .end = 200}, {.first = 0, .end = 10}, {.first = 10, .end = 20}, {.first = 40, .end = 40}});
  EXPECT_EQ(filesOf(job)[0].state, FileState::partial);
  EXPECT_THAT(filesOf(job)[0].done, ElementsAre(ByteRange{.first = 0, .end = 20}, ByteRange{.first = 80, .end = 100}));
  ranges(file, {});
  EXPECT_EQ(filesOf(job)[0].state, FileState::pending);
  EXPECT_THAT(filesOf(job)[0].done, IsEmpty());
}

TEST_F(FileStoreTest, aFileGoesThroughItsStates) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x", 100)});
  const auto file = filesOf(job)[0].id;
  start(file);
  EXPECT_EQ(filesOf(job)[0].state, FileState::partial);
  ranges(file, {{.first = 0, .end = 50}});
  clock_.advance(std::chrono::minutes(1));
  download(file, 'c');
  EXPECT_EQ(filesOf(job)[0].state, FileState::downloaded);
  EXPECT_EQ(filesOf(job)[0].sha256, sha256Of('c'));
  EXPECT_EQ(store().load(job).updatedAt, clock_.now());
  EXPECT_EQ(number("SELECT count(*) FROM file_range"), 0);
  verify(file, 7);
  EXPECT_EQ(filesOf(job)[0].state, FileState::verified);
  EXPECT_EQ(filesOf(job)[0].records, 7U);
  verify(file);
  EXPECT_EQ(filesOf(job)[0].records, 7U);
  start(file);
  EXPECT_EQ(filesOf(job)[0].state, FileState::verified);
  store().recordFileFailed(file);
  EXPECT_EQ(filesOf(job)[0].state, FileState::failed);
  EXPECT_TRUE(filesOf(job)[0].sha256.empty());
  EXPECT_FALSE(filesOf(job)[0].records);
  ranges(file, {{.first = 0, .end = 50}});
  store().forgetRanges(file);
  EXPECT_EQ(filesOf(job)[0].state, FileState::partial) << "it is still begun";
  EXPECT_THAT(filesOf(job)[0].done, IsEmpty());
}

TEST_F(FileStoreTest, severalFilesAreRecordedAtOnceOrNotAtAll) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x"), remoteFile("b1", "d", "y")});
  const auto records = filesOf(job);
  const std::vector<JobStore::Downloaded> withUnknown = {{.file = records[0].id, .sha256 = sha256Of('a')},
                                                         {.file = 999, .sha256 = sha256Of('b')}};
  EXPECT_EQ(errorOf([&] { store().recordDownloaded(withUnknown); }).category(), Category::internal);
  EXPECT_THAT(filesOf(job, {FileState::downloaded}), IsEmpty());
  store().recordDownloaded(std::vector<JobStore::Downloaded>{{.file = records[0].id, .sha256 = sha256Of('a')},
                                                             {.file = records[1].id, .sha256 = sha256Of('b')}});
  EXPECT_THAT(filesOf(job, {FileState::downloaded}), SizeIs(2));
  store().recordVerified(
      std::vector<JobStore::Verified>{{.file = records[0].id, .records = 1}, {.file = records[1].id}});
  EXPECT_THAT(filesOf(job, {FileState::verified}), SizeIs(2));
  store().recordDownloaded({});
  store().recordVerified({});
  store().markStarted({});
}

/// In a file, rows that follow one another and are alike are changed by one statement.
TEST_F(FileStoreTest, eachOfSeveralFilesGetsWhatIsItsOwn) {
  const JobId job = jobWithBatches({"b1"}).id;
  std::vector<model::RemoteFile> files;
  for (int n = 0; n < 9; ++n) files.push_back(remoteFile("b1", "d", std::to_string(n)));
  list(job, "b1", files);
  std::vector<std::int64_t> ids;
  for (const auto& record : filesOf(job)) ids.push_back(record.id);
  const auto statesNow = [&] {
    std::string states;
    for (const auto& record : filesOf(job)) states += nameOf(record.state)[0];
    return states;
  };

  // 'p' is pending; a file that is begun is partial, until it counts as downloaded.
  store().markStarted(std::vector{ids[0], ids[1], ids[3], ids[8], ids[7]});
  EXPECT_THAT(filesOf(job, {FileState::partial}), SizeIs(5));
  EXPECT_EQ(store().countFiles(job, ids[3], std::array{FileState::partial}), 3U);
  EXPECT_EQ(store().countFiles(job, ids[8], std::array{FileState::partial, FileState::pending}), 9U);
  EXPECT_EQ(store().countFiles(job, ids[8], std::array{FileState::failed}), 0U);
  EXPECT_EQ(errorOf([&] {
              store().markStarted(std::vector{ids[2], ids[8], ids[8] + 1});
            }).category(),
            Category::internal);
  EXPECT_THAT(filesOf(job, {FileState::partial}), SizeIs(5)) << "all of them or none";

  for (std::size_t n = 0; n < 8; ++n) download(ids[n]);
  store().recordVerified(std::vector<JobStore::Verified>{{.file = ids[0], .records = 4},
                                                         {.file = ids[1], .records = 4},
                                                         {.file = ids[2]},
                                                         {.file = ids[3]},
                                                         {.file = ids[5], .records = 4},
                                                         {.file = ids[6], .records = 0}});
  EXPECT_EQ(statesNow(), "vvvvdvvdp");
  EXPECT_EQ(filesOf(job)[1].records, 4U);
  EXPECT_FALSE(filesOf(job)[3].records);
  EXPECT_EQ(filesOf(job)[5].records, 4U);
  EXPECT_EQ(filesOf(job)[6].records, 0U);
  // The last one is not downloaded.
  const auto all = [&] {
    std::vector<JobStore::Verified> verified;
    for (const std::int64_t id : ids) verified.push_back({.file = id, .records = 9});
    store().recordVerified(verified);
  };
  EXPECT_EQ(errorOf(all).category(), Category::internal);
  EXPECT_EQ(statesNow(), "vvvvdvvdp");
  EXPECT_EQ(filesOf(job)[1].records, 4U);
}

TEST_F(FileStoreTest, refusesWhatMakesNoSense) {
  const JobId job = jobWithBatches({"b1"}).id;
  list(job, "b1", {remoteFile("b1", "d", "x")});
  const auto file = filesOf(job)[0].id;
  const auto downloadAs = [&](const std::string& sha256) {
    const JobStore::Downloaded one{.file = file, .sha256 = sha256};
    store().recordDownloaded(std::span(&one, 1));
  };
  EXPECT_EQ(errorOf([&] { verify(file); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { downloadAs(""); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { downloadAs(std::string(64, 'G')); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { ranges(999, {}); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { store().recordFileFailed(999); }).category(), Category::internal);
  EXPECT_EQ(errorOf([&] { start(999); }).category(), Category::internal);
  EXPECT_EQ(filesOf(job)[0].state, FileState::pending);
}

// --- what other jobs know

class KnownFileTest : public FileStoreTest {
 protected:
  const model::BatchId batch_{"b1"};
};

TEST_F(KnownFileTest, theNewestDownloadOfAnotherJobIsFound) {
  for (const char digit : {'a', 'b'}) {
    const JobId earlier = jobWithBatches({"b1"}).id;
    list(earlier, "b1", {remoteFile("b1", "d", "x", 10)});
    download(filesOf(earlier)[0].id, digit);
  }
  const JobId onlyListed = jobWithBatches({"b1"}).id;
  list(onlyListed, "b1", {remoteFile("b1", "d", "x", 10)});
  const model::Job job = jobWithBatches({"b1"});
  list(job.id, "b1", {remoteFile("b1", "d", "x", 10)});
  download(filesOf(job.id)[0].id, 'c');
  const auto known = store().knownFile(job, batch_, "x", 10);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->sha256, sha256Of('b'));
  EXPECT_FALSE(store().knownFile(job, batch_, "x", 11));
  EXPECT_FALSE(store().knownFile(job, batch_, "y", 10));
  EXPECT_FALSE(store().knownFile(job, model::BatchId("b2"), "x", 10));
}

TEST_F(KnownFileTest, anotherFolderOrDatasetIsAnotherFile) {
  const JobId earlier = jobWithBatches({"b1"}).id;
  list(earlier, "b1", {remoteFile("b1", "d", "x", 10)});
  download(filesOf(earlier)[0].id);
  auto elsewhere = datasetRequest();
  elsewhere.output = "/data/elsewhere";
  auto otherDataset = datasetRequest();
  otherDataset.sourceId = "another";
  for (const auto& request : {elsewhere, otherDataset}) {
    const model::Job job = newJob(request);
    EXPECT_FALSE(store().knownFile(job, batch_, "x", 10));
    EXPECT_FALSE(store().isRecordedPath(job, batch_, "x"));
  }
  EXPECT_TRUE(store().knownFile(newJob(), batch_, "x", 10));
  EXPECT_TRUE(store().isRecordedPath(newJob(), batch_, "x"));
}

TEST_F(KnownFileTest, pathsWithFoldersAreToldFromNames) {
  const JobId earlier = jobWithBatches({"b1"}).id;
  list(earlier, "b1", {remoteFile("b1", "d1", "x", 10), remoteFile("b1", "d2", "x", 10)});
  for (const auto& record : filesOf(earlier))
    download(record.id, record.remote.datasetFileId.value() == "d1" ? 'a' : 'b');
  const model::Job job = newJob();
  EXPECT_EQ(store().knownFile(job, batch_, "d2/x", 10).value().sha256, sha256Of('b'));
  EXPECT_FALSE(store().knownFile(job, batch_, "x", 10));
  EXPECT_FALSE(store().knownFile(job, batch_, "d3/x", 10));
}

TEST_F(KnownFileTest, aPathIsRecordedOnceAWholeFileWasThereAndForGood) {
  const model::Job job = jobWithBatches({"b1"});
  list(job.id, "b1", {remoteFile("b1", "d", "x", 10), remoteFile("b1", "d", "y", 10)});
  EXPECT_FALSE(store().isRecordedPath(job, batch_, "x"));
  start(fileNamed(job.id, "x").id);
  store().recordRanges(fileNamed(job.id, "x").id, std::vector<model::ByteRange>{{0, 5}});
  EXPECT_FALSE(store().isRecordedPath(job, batch_, "x")) << "whatever lies there, it is not ours";
  download(fileNamed(job.id, "x").id);
  EXPECT_TRUE(store().isRecordedPath(job, batch_, "x"));
  EXPECT_FALSE(store().isRecordedPath(job, batch_, "y"));
  download(fileNamed(job.id, "y").id);
  store().recordFileFailed(fileNamed(job.id, "y").id);
  EXPECT_TRUE(store().isRecordedPath(job, batch_, "y"));
  list(job.id, "b1", {remoteFile("b1", "d", "x", 11), remoteFile("b1", "d", "y", 11)});
  EXPECT_EQ(fileNamed(job.id, "x").state, FileState::pending);
  EXPECT_TRUE(store().isRecordedPath(newJob(), batch_, "x"));
}

}  // namespace
}  // namespace caiexport::store
