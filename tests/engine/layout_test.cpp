/// How folders are called and found: both layouts, folders of earlier versions, and what says that a batch is whole.

#include "caiexport/engine/layout.h"

#include <gmock/gmock.h>

#include <fstream>

#include "caiexport/core/text.h"
#include "caiexport/engine/prune.h"
#include "caiexport/engine/sync.h"
#include "caiexport/store/history.h"
#include "caiexport/store/prune_store.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using model::Layout;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

constexpr std::uint64_t kFileBytes = 3000;

std::string textOf(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

/// Names in the folder, sorted.
std::vector<std::string> namesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class Layouts : public testing::Test {
 protected:
  void start(const std::string& scenario) { journey = std::make_unique<Journey>(scenario, kFileBytes); }

  model::ExportRequest request(Layout layout) const {
    model::ExportRequest made = journey->datasetRequest();
    made.layout = layout;
    return made;
  }

  Outcome run(Layout layout) {
    Journey::Process process(*journey);
    return process.runner.advance(process.runner.create(request(layout)).id, {}, {});
  }

  SyncResult sync(Layout layout, std::optional<model::ReplaceAction> replayed = {}, std::size_t crashAt = 0,
                  std::size_t* calls = nullptr) {
    Journey::Process process(*journey, crashAt);
    store::SyncStore records(process.database, journey->clock, [&](std::string_view, bool) { process.crash.pass(); });
    Sync run(process.tools, records, [&](model::JobId job) { return process.runner.advance(job, {}, {}); },
             {.replaced = [](const Replaced&, bool) {},
              .notReplaced = [](const model::Replacement&, bool, const core::Error&) {}});
    SyncResult result = run.run({.job = request(layout), .replayed = replayed}, {});
    if (calls != nullptr) *calls = process.crash.passed();
    return result;
  }

  void post(const std::string& target, const std::string& json) {
    const simulator::Response answer = journey->world().handle(
        {.method = "POST", .target = target, .headers = {{"Host", "platform.test"}}, .body = json, .scheme = "https"});
    ASSERT_EQ(answer.status, 200) << answer.body;
  }

  std::uint64_t served() const { return journey->world().statistics().fileBytesServed; }
  fs::path out() const { return journey->directory / "out"; }
  fs::path plain() const { return out() / kScoreDataset; }
  fs::path hive() const { return out() / (std::string("dataset_id=") + kScoreDataset); }

  void loseDatabase() const {
    for (const char* name : {"jobs.db", "jobs.db-wal", "jobs.db-shm"}) fs::remove(journey->directory / name);
  }

  /// As version 0.1.0 left it: `manifest.json`, whose entries have no path, and no mark. Returns the batch's folder.
  fs::path makeOld(const fs::path& batch) const {
    std::string text = textOf(batch / "_manifest.json");
    EXPECT_THAT(text, HasSubstr("\"path\""));
    for (std::size_t at = text.find("\"path\":"); at != text.npos; at = text.find("\"path\":")) {
      text.erase(at, text.find("\"name\":", at) - at);
    }
    std::ofstream(batch / "manifest.json", std::ios::binary) << text;
    fs::remove(batch / "_manifest.json");
    fs::remove(batch / "_SUCCESS");
    return batch;
  }

  /// Where version 0.1.0 put what was replaced.
  void moveAsideAsBefore(const std::string& batch) const {
    fs::create_directories(plain() / ".replaced");
    fs::rename(out() / ".replaced" / kScoreDataset / batch, plain() / ".replaced" / batch);
    fs::remove_all(out() / ".replaced");
  }

  std::unique_ptr<Journey> journey;
};

TEST_F(Layouts, ABatchHasItsManifestAndItsMarkInBoth) {
  for (const Layout layout : {Layout::plain, Layout::hive}) {
    SCOPED_TRACE(model::nameOf(layout));
    start(R"({"batches": 1, "files": 2})");
    const Outcome outcome = run(layout);
    ASSERT_FALSE(outcome.error) << outcome.error->what();
    const std::string batch = outcome.job.batches.front().id.value();
    const fs::path folder = layout == Layout::hive ? hive() / ("batch_id=" + batch) : plain() / batch;
    EXPECT_THAT(namesIn(out()), SizeIs(1));
    EXPECT_THAT(namesIn(folder), ElementsAre("_SUCCESS", "_manifest.json", StartsWith("part-"), StartsWith("part-")));
    EXPECT_EQ(fs::file_size(folder / "_SUCCESS"), 0U);
    EXPECT_EQ(fs::read_symlink(folder.parent_path() / (layout == Layout::hive ? "_latest" : "latest")),
              folder.filename());
    const Manifest manifest = readManifest(folder);
    ASSERT_THAT(manifest.files, SizeIs(2));
    EXPECT_EQ(fs::file_size(folder / manifest.files[0].path), manifest.files[0].bytes);
    EXPECT_THAT(foldersWithManifest(out()), ElementsAre(folder));
    EXPECT_EQ(expectWholeWhereMarked(out()), 1);
  }
}

TEST_F(Layouts, AJobGoesOnInTheLayoutThatItBeganIn) {
  start(
      R"({"batches": 1, "files": 3, "faults": [{"match": {"path": "part-00001"}, "times": -1, "do": {"status": 404}}]})");
  const Outcome failed = run(Layout::hive);
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(expectWholeWhereMarked(out()), 0);
  journey->world().change(R"({"faults": []})");
  Journey::Process process(*journey);
  const Outcome done = process.runner.advance(failed.job.id, {}, {});
  ASSERT_FALSE(done.error) << done.error->what();
  EXPECT_EQ(done.job.request.layout, Layout::hive);
  EXPECT_EQ(wholeFilesIn(hive()), 3U);
  EXPECT_FALSE(fs::exists(plain()));
}

TEST_F(Layouts, WhatLiesInTheOtherOneIsFoundThere) {
  for (const auto& [first, second] : {std::pair(Layout::plain, Layout::hive), {Layout::hive, Layout::plain}}) {
    SCOPED_TRACE(model::nameOf(first));
    start(R"({"batches": 1, "files": 2})");
    ASSERT_FALSE(run(first).error);
    const auto before = contentOf(out());
    const std::uint64_t bytes = served();
    const Outcome again = run(second);
    ASSERT_FALSE(again.error) << again.error->what();
    EXPECT_EQ(served(), bytes) << "it was fetched once more";
    EXPECT_EQ(contentOf(out()), before);
    EXPECT_FALSE(fs::exists(second == Layout::hive ? hive() : plain()));
    EXPECT_THAT(sync(second).jobs, IsEmpty());
    // What is half there in the other layout is not: the new job has a folder of its own.
    fs::remove(folderOf(again.job, again.job.batches.front().id) / "_SUCCESS");
    fs::remove(folderOf(again.job, again.job.batches.front().id) / "_manifest.json");
    loseDatabase();
    ASSERT_FALSE(run(second).error);
    EXPECT_EQ(wholeFilesIn(second == Layout::hive ? hive() : plain()), 2U);
  }
}

TEST_F(Layouts, AnOldFolderIsReadAndSyncedAsBefore) {
  for (const bool withRecord : {true, false}) {
    SCOPED_TRACE(withRecord ? "with its record" : "without a record");
    start(R"({"batches": 2, "files": 2})");
    ASSERT_FALSE(sync(Layout::plain).error);
    const auto before = contentOf(out());
    for (const fs::path& batch : foldersWithManifest(out())) makeOld(batch);
    ASSERT_THAT(foldersWithManifest(out()), SizeIs(2));
    EXPECT_THAT(readManifest(foldersWithManifest(out()).front()).files, SizeIs(2));
    if (!withRecord) loseDatabase();
    const std::uint64_t bytes = served();
    const SyncResult result = sync(Layout::plain);
    ASSERT_FALSE(result.error) << result.error->what();
    EXPECT_EQ(served(), bytes) << "files were fetched again";
    EXPECT_EQ(contentOf(out()), before);
    // With a record nothing is done; without one the files are held against the manifest, which gets its new name.
    EXPECT_THAT(result.jobs, SizeIs(withRecord ? 0 : 2));
    for (const fs::path& batch : foldersWithManifest(out())) {
      EXPECT_EQ(fs::exists(batch / "manifest.json"), withRecord);
      EXPECT_EQ(fs::exists(batch / "_manifest.json"), !withRecord);
    }
    EXPECT_EQ(expectWholeWhereMarked(out()), withRecord ? 0 : 2);
  }
}

TEST_F(Layouts, AnOldManifestIsNeverLostWhereverTheProcessDies) {
  std::size_t calls = 0;
  std::size_t crashes = 0;
  for (std::size_t at = 0; at <= calls; ++at) {
    start(R"({"batches": 1, "files": 1})");
    ASSERT_FALSE(sync(Layout::plain).error);
    const fs::path batch = makeOld(foldersWithManifest(out()).at(0));
    loseDatabase();
    const std::uint64_t bytes = served();
    try {
      sync(Layout::plain, {}, at, at == 0 ? &calls : nullptr);
    } catch (const support::SimulatedCrash&) {
      ++crashes;
    }
    ASSERT_TRUE(manifestHead(batch)) << "crash at " << at;
    expectWholeWhereMarked(out());
    ASSERT_FALSE(sync(Layout::plain).error);
    EXPECT_FALSE(fs::exists(batch / "manifest.json")) << "crash at " << at;
    EXPECT_EQ(expectWholeWhereMarked(out()), 1) << "crash at " << at;
    EXPECT_EQ(served(), bytes) << "crash at " << at;
  }
  EXPECT_GT(crashes, calls / 2);
}

TEST_F(Layouts, TheNewNameWinsAndAStrangersFileStays) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(run(Layout::plain).error);
  const fs::path batch = foldersWithManifest(out()).at(0);
  std::ofstream(batch / "manifest.json") << "my own";
  EXPECT_THAT(readManifest(batch).files, SizeIs(1));
  ASSERT_FALSE(run(Layout::plain).error);
  EXPECT_EQ(textOf(batch / "manifest.json"), "my own");
}

TEST_F(Layouts, TheMarkGoesBeforeAFileIsFetchedAndComesBackWithTheManifest) {
  start(R"({"batches": 1, "files": 2})");
  const Outcome first = run(Layout::hive);
  ASSERT_FALSE(first.error);
  const fs::path batch = foldersWithManifest(out()).at(0);
  fs::remove(batch / readManifest(batch).files[1].path);
  // Whoever looks while a file is on its way.
  std::vector<int> seen;
  journey->onRequest = [&](const std::string& call) {
    if (call.find("path=") != call.npos) seen.push_back(fs::exists(batch / "_SUCCESS") ? 1 : 0);
  };
  ASSERT_FALSE(run(Layout::hive).error);
  ASSERT_FALSE(seen.empty());
  EXPECT_THAT(seen, testing::Each(0));
  EXPECT_EQ(expectWholeWhereMarked(out()), 1);
  // A run that finds all as it was takes nothing back.
  const auto written = fs::last_write_time(batch / "_SUCCESS");
  ASSERT_FALSE(run(Layout::hive).error);
  EXPECT_EQ(fs::last_write_time(batch / "_SUCCESS"), written);
}

TEST_F(Layouts, FilesOfThePlatformThatAreCalledLikeOursGoIntoFolders) {
  start(R"({"batches": 1, "files": 4, "file_names": ["_SUCCESS", "_manifest.json", "a.parquet", "_success"]})");
  std::vector<bool> early;
  journey->onRequest = [&](const std::string& call) {
    if (call.find("path=") == call.npos) return;
    for (const auto& entry : fs::recursive_directory_iterator(out())) {
      const bool onTop = entry.path().parent_path().parent_path() == plain();
      if (onTop && model::isOwnName(entry.path().filename().string())) early.push_back(true);
    }
  };
  const Outcome outcome = run(Layout::plain);
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_THAT(early, IsEmpty()) << "a file of the platform stood where our mark stands";
  const fs::path batch = foldersWithManifest(out()).at(0);
  EXPECT_EQ(fs::file_size(batch / "_SUCCESS"), 0U);
  const Manifest manifest = readManifest(batch);
  ASSERT_THAT(manifest.files, SizeIs(4));
  std::vector<std::string> paths;
  for (const ManifestFile& file : manifest.files) {
    paths.push_back(file.path);
    EXPECT_EQ(fs::file_size(batch / file.path), kFileBytes) << file.path;
  }
  EXPECT_THAT(paths, Contains(testing::EndsWith("/_SUCCESS")));
  EXPECT_THAT(paths, Contains(testing::EndsWith("/_manifest.json")));
  EXPECT_EQ(expectWholeWhereMarked(out()), 1);
  ASSERT_FALSE(run(Layout::plain).error);
  EXPECT_EQ(expectWholeWhereMarked(out()), 1);
}

TEST_F(Layouts, AMarkThatIsAFileOfAnOldBatchIsNotTouched) {
  start(R"({"batches": 1, "files": 2, "file_names": ["_SUCCESS"]})");
  ASSERT_FALSE(run(Layout::plain).error);
  const fs::path batch = foldersWithManifest(out()).at(0);
  // As version 0.1.0 put it.
  std::string inner;
  for (const ManifestFile& file : readManifest(batch).files) {
    if (file.path.ends_with("/_SUCCESS")) inner = file.path;
  }
  ASSERT_FALSE(inner.empty());
  makeOld(batch);
  fs::rename(batch / inner, batch / "_SUCCESS");
  std::string text = textOf(batch / "manifest.json");
  fs::resize_file(batch / "_SUCCESS", 0);
  unmarkWhole(batch, core::diskFileSystem());
  EXPECT_TRUE(fs::exists(batch / "_SUCCESS"));
}

TEST_F(Layouts, ReplacedBatchesLieOutsideTheDatasetsFolder) {
  for (const Layout layout : {Layout::plain, Layout::hive}) {
    SCOPED_TRACE(model::nameOf(layout));
    start(R"({"batches": 1, "files": 1})");
    ASSERT_FALSE(sync(layout).error);
    const fs::path old = foldersWithManifest(out()).at(0);
    post("/_simulator/batches", R"({"replay": true})");
    const SyncResult result = sync(layout);
    ASSERT_FALSE(result.error) << result.error->what();
    const fs::path aside = out() / ".replaced" / old.parent_path().filename() / old.filename();
    ASSERT_THAT(result.replaced, SizeIs(1));
    EXPECT_EQ(result.replaced[0].path, aside);
    EXPECT_TRUE(fs::exists(aside / "_manifest.json"));
    EXPECT_FALSE(fs::exists(aside / "_SUCCESS")) << "it is no batch to read any more";
    EXPECT_FALSE(fs::exists(old));
    EXPECT_EQ(datasetFolderAbove(aside), old.parent_path());
    // Whoever asks to be forgotten is, wherever the batch was put.
    post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 12"})");
    ASSERT_FALSE(sync(layout).error);
    EXPECT_FALSE(fs::exists(aside));
    EXPECT_EQ(expectWholeWhereMarked(out()), 1);
  }
}

TEST_F(Layouts, PrivacyDeletionsReachWhatAnEarlierVersionPutAside) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync(Layout::plain).error);
  const fs::path old = makeOld(foldersWithManifest(out()).at(0));
  post("/_simulator/batches", R"({"replay": true})");
  ASSERT_FALSE(sync(Layout::plain).error);
  moveAsideAsBefore(old.filename());
  EXPECT_EQ(datasetFolderAbove(plain() / ".replaced" / old.filename()), plain());
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 12"})");
  const SyncResult result = sync(Layout::hive);
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(namesIn(plain() / ".replaced"), IsEmpty());
  EXPECT_THAT(foldersWithManifest(out()), SizeIs(1));
}

TEST_F(Layouts, AFolderOfOneLayoutIsSyncedOnInTheOther) {
  start(R"({"batches": 1, "files": 1})");
  ASSERT_FALSE(sync(Layout::plain).error);
  const fs::path old = makeOld(foldersWithManifest(out()).at(0));
  const std::uint64_t bytes = served();
  post("/_simulator/batches", "{}");
  ASSERT_FALSE(sync(Layout::hive).error);
  EXPECT_EQ(served(), bytes + kFileBytes) << "what was here was fetched again";
  EXPECT_TRUE(fs::exists(old));
  EXPECT_EQ(foldersWithManifest(out()).size(), 2U);
  EXPECT_THAT(foldersWithManifest(hive()), SizeIs(1));
  EXPECT_TRUE(fs::is_symlink(hive() / "_latest"));
  // What is replaced goes, in whichever layout it lies.
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 7"})");
  const SyncResult result = sync(Layout::hive);
  ASSERT_FALSE(result.error) << result.error->what();
  EXPECT_THAT(foldersWithManifest(out()), SizeIs(testing::Lt(3U)));
  EXPECT_THAT(sync(Layout::plain).jobs, IsEmpty());
}

TEST_F(Layouts, PruningLeavesNothingOfEither) {
  for (const Layout layout : {Layout::plain, Layout::hive}) {
    SCOPED_TRACE(model::nameOf(layout));
    start(R"({"batches": 2, "files": 1})");
    model::ExportRequest older = request(layout);
    ASSERT_FALSE(sync(layout).error);
    journey->clock.advance(std::chrono::hours(24 * 30));
    post("/_simulator/batches", "{}");
    ASSERT_FALSE(sync(layout).error);
    ASSERT_EQ(expectWholeWhereMarked(out()), 3);
    journey->clock.advance(std::chrono::hours(1));
    Journey::Process process(*journey);
    store::PruneStore records(process.database);
    store::History history(process.database, {});
    const PruneResult result =
        engine::prune(records, history, process.locks, process.files,
                      {.before = journey->clock.now() - std::chrono::hours(24), .files = true}, {});
    EXPECT_THAT(result.pruned, SizeIs(2));
    EXPECT_EQ(result.files, 2U);
    const fs::path dataset = layout == Layout::hive ? hive() : plain();
    EXPECT_THAT(namesIn(dataset), SizeIs(2)) << "the newest batch and the link";
    EXPECT_EQ(expectWholeWhereMarked(out()), 1);
  }
}

TEST(LayoutNames, IdsThatMeanSomethingElseCantBeFolders) {
  for (const char* id : {"latest", "_latest", "_SUCCESS", "_manifest.json", "manifest.json", "dataset_id=x", "a=b",
                         ".replaced", "x.part", "..", "a/b", ""}) {
    EXPECT_FALSE(canBeFolder(id)) << id;
    EXPECT_THROW(batchFolder("/out", Layout::hive, model::DatasetId("d"), model::BatchId(id)), core::Error) << id;
    EXPECT_THROW(batchFolder("/out", Layout::plain, model::DatasetId(id), model::BatchId("b")), core::Error) << id;
  }
  EXPECT_EQ(batchFolder("/no/out", Layout::hive, model::DatasetId("d"), model::BatchId("b")),
            "/no/out/dataset_id=d/batch_id=b");
  EXPECT_EQ(idIn("/no/out/dataset_id=d"), "d");
  EXPECT_EQ(idIn("batch_id=b"), "b");
  EXPECT_EQ(idIn("b"), "b");
}

}  // namespace
}  // namespace caiexport::engine
