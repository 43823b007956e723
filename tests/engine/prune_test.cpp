/// Pruning: killed at any call, the next one finishes, and nothing goes that should stay.

#include "caiexport/engine/prune.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "caiexport/store/history.h"
#include "caiexport/store/prune_store.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::SizeIs;

class PruneJourney : public testing::Test {
 protected:
  /// Two jobs, each with a batch of two files; a foreign file lies beside those of the older one.
  void start() {
    journey = std::make_unique<Journey>(R"({"batches": 2, "files": 2})", 3000);
    Journey::Process process(*journey);
    for (const std::string& batch : batchesOldestFirst(process)) {
      model::ExportRequest request = journey->datasetRequest();
      request.batches.batch = model::BatchId(batch);
      ASSERT_FALSE(process.runner.advance(process.runner.create(request).id, {}, {}).error);
      if (!fs::exists(notes())) std::ofstream(notes() = folder() / batch / "notes.txt") << "mine";
    }
    journey->clock.advance(std::chrono::hours(1));
  }

  std::vector<std::string> batchesOldestFirst(Journey::Process& process) const {
    std::vector<std::string> ids;
    process.client.forEachBatch({.dataset = model::DatasetId(kScoreDataset)},
                                [&](const model::Batch& batch) {
                                  ids.insert(ids.begin(), batch.id.value());
                                  return true;
                                },
                                {});
    return ids;
  }

  PruneResult prune(std::size_t crashAt = 0, std::size_t* calls = nullptr) {
    Journey::Process process(*journey, crashAt);
    store::PruneStore records(process.database, [&](std::string_view, bool) { process.crash.pass(); });
    store::History history(process.database, {});
    PruneResult result = engine::prune(records, history, process.locks, process.files,
                                       {.before = journey->clock.now(), .files = true}, {});
    if (calls != nullptr) *calls = process.crash.passed();
    return result;
  }

  /// False if the process died on the way.
  bool live(std::size_t crashAt) {
    try {
      prune(crashAt);
      return true;
    } catch (const support::SimulatedCrash&) {
      return false;
    }
  }

  void expectPruned(std::size_t crashAt) {
    Journey::Process process(*journey);
    EXPECT_FALSE(process.store.find(model::JobId(1))) << "crash at " << crashAt;
    EXPECT_TRUE(process.store.find(model::JobId(2))) << "crash at " << crashAt;
    std::size_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder())) files += entry.is_regular_file() ? 1U : 0U;
    EXPECT_EQ(files, 5U) << "two files, their manifest, the mark, and the foreign one; crash at " << crashAt;
    EXPECT_TRUE(fs::exists(notes())) << "crash at " << crashAt;
    EXPECT_TRUE(fs::exists(folder() / "latest" / "_manifest.json")) << "crash at " << crashAt;
  }

  fs::path folder() const { return journey->directory / "out" / kScoreDataset; }
  fs::path& notes() { return notes_; }

  std::unique_ptr<Journey> journey;

 private:
  fs::path notes_;
};

TEST_F(PruneJourney, RemovesTheOlderJobAndItsFilesOnly) {
  start();
  const PruneResult result = prune();
  EXPECT_THAT(result.pruned, ElementsAre(model::JobId(1)));
  EXPECT_THAT(result.kept, SizeIs(1));
  EXPECT_EQ(result.files, 2U);
  EXPECT_EQ(result.bytes, 6000U);
  expectPruned(0);
}

TEST_F(PruneJourney, AJobThatAProcessHoldsStays) {
  start();
  // The lock of a job is that of a process: a child holds it.
  int ready[2];
  int done[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(done), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    core::LockTable locks(journey->directory / "jobs.db.lock");
    char byte = locks.tryLock(1) ? 'x' : '.';
    (void)!::write(ready[1], &byte, 1);
    ::close(done[1]);
    (void)!::read(done[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, '.');
  EXPECT_THAT(prune().pruned, SizeIs(0));
  for (const int end : {ready[0], ready[1], done[0], done[1]}) ::close(end);
  ::waitpid(child, nullptr, 0);
  EXPECT_THAT(prune().pruned, SizeIs(1));
}

TEST_F(PruneJourney, AFolderUnderTwoNamesIsOneFolder) {
  start();
  {
    // A job that stays has the older batch too, written through a link.
    fs::create_directory_symlink(journey->directory / "out", journey->directory / "link");
    Journey::Process process(*journey);
    model::ExportRequest request = journey->datasetRequest();
    request.batches.batch = model::BatchId(batchesOldestFirst(process).front());
    request.output = journey->directory / "link";
    const auto served = journey->world().statistics().fileBytesServed;
    const Outcome outcome = process.runner.advance(process.runner.create(request).id, {}, {});
    ASSERT_FALSE(outcome.error) << outcome.error->what();
    EXPECT_EQ(journey->world().statistics().fileBytesServed, served) << "all of it was known to be there";
  }
  const PruneResult result = prune();
  EXPECT_EQ(result.files, 2U) << "of the newer batch, which nothing else has";
  EXPECT_EQ(result.keptFiles.size(), 2U);
  EXPECT_TRUE(fs::exists(notes().parent_path() / "_manifest.json"));
}

TEST_F(PruneJourney, KilledAtAnyCallTheNextOneFinishes) {
  start();
  std::size_t calls = 0;
  prune(0, &calls);
  ASSERT_GT(calls, 5U);
  std::size_t crashes = 0;
  for (std::size_t at = 1; at <= calls; ++at) {
    notes().clear();
    start();
    if (!live(at)) ++crashes;
    ASSERT_TRUE(live(0)) << "crash at " << at;
    expectPruned(at);
    if (HasFailure()) return;
  }
  EXPECT_EQ(crashes, calls) << "the matrix must crash";
}

}  // namespace
}  // namespace caiexport::engine
