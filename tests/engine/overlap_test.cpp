/// Files are fetched while others are still being listed: what comes first, names that turn out to collide, and
/// crashes.

#include <SQLiteCpp/Database.h>
#include <gmock/gmock.h>

#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "caiexport/model/job.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kFileBytes = 3000;

std::vector<std::string> keysOf(const std::map<std::string, std::string>& content) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : content) keys.push_back(key);
  return keys;
}

/// Lets a thread wait until others have done something so many times.
class Counter {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  /// False after a time that only a broken program needs.
  bool waitFor(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

bool isData(const std::string& call) {
  return call.find("path=") != std::string::npos;
}

TEST(Overlap, TheFirstByteIsAskedForBeforeTheLastPageIsListed) {
  Journey journey(R"({"files": 9, "page_limit": 3})", kFileBytes);
  journey.listedTogether = 3;
  Counter data;
  bool overlapped = false;
  int pages = 0;
  journey.onRequest = [&](const std::string& call) {
    if (isData(call)) return data.add();
    const bool page = call.starts_with("before ") && call.find("/export/files/") != std::string::npos;
    // The second page lets the first be handed on; so the third, the last one, can wait for data.
    if (page && ++pages == 3) overlapped = data.waitFor(1);
  };
  Journey::Process process(journey);
  const Outcome outcome = process.runner.advance(process.runner.create(journey.datasetRequest()).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_TRUE(overlapped);
  EXPECT_EQ(contentOf(journey.directory / "out").size(), 9U);
  EXPECT_EQ(journey.world().statistics().fileBytesServed, 9 * kFileBytes);
  EXPECT_EQ(outcome.job.fileCount, 9U);
  EXPECT_EQ(outcome.job.totalBytes, 9 * kFileBytes);
  EXPECT_THAT(process.observer.steps, ElementsAre("select_batches", "list_files", "download_files", "verify_files"));
}

/// A job that was stopped before or after its list was complete, as it is on record and, `older`, as versions that
/// began the two steps one after the other left it.
void resumesFrom(model::StepName stoppedIn, bool older) {
  Journey journey(R"({"files": 9, "page_limit": 3})", kFileBytes);
  journey.listedTogether = 3;
  std::stop_source stop;
  journey.onRequest = [&](const std::string& call) {
    const bool listing = call.starts_with("before ") && call.find("/export/files/") != std::string::npos;
    if (stoppedIn == model::StepName::listFiles ? listing : isData(call)) stop.request_stop();
  };
  model::JobId id{};
  {
    Journey::Process process(journey);
    id = process.runner.create(journey.datasetRequest()).id;
    if (stoppedIn == model::StepName::downloadFiles) journey.listedTogether = 9;
    process.runner.advance(id, {}, stop.get_token());
    if (older) {
      // The list's step is done or not; what came of the next one before it was, is not on record.
      process.database.connection().exec(
          "UPDATE step SET attempts = 0, started_at = NULL WHERE name = 'download_files' AND EXISTS (SELECT 1 FROM step"
          " AS list WHERE list.job = step.job AND list.name = 'list_files' AND list.state <> 'done')");
    }
  }
  journey.onRequest = {};
  Journey::Process process(journey);
  ASSERT_TRUE(model::currentStep(process.store.load(id).steps));
  const Outcome outcome = process.runner.advance(id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_FALSE(model::currentStep(outcome.job.steps));
  EXPECT_EQ(contentOf(journey.directory / "out").size(), 9U);
  EXPECT_EQ(process.observer.steps.back(), "verify_files");
}

TEST(Overlap, AJobThatWasStoppedWhileItListedGoesOn) {
  resumesFrom(model::StepName::listFiles, false);
  resumesFrom(model::StepName::listFiles, true);
}

TEST(Overlap, AJobThatWasStoppedWhileItDownloadedGoesOn) {
  resumesFrom(model::StepName::downloadFiles, false);
  resumesFrom(model::StepName::downloadFiles, true);
}

/// The rate of a finished download is what the preview counts with: its time begins with the first byte.
TEST(Overlap, BothStepsBeginTogether) {
  Journey journey(R"({"files": 9, "page_limit": 3})", kFileBytes);
  Journey::Process process(journey);
  const Outcome outcome = process.runner.advance(process.runner.create(journey.datasetRequest()).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  const auto step = [&](model::StepName name) {
    return *std::ranges::find(outcome.job.steps, name, &model::Step::name);
  };
  EXPECT_EQ(step(model::StepName::listFiles).attempts, 1U);
  EXPECT_EQ(step(model::StepName::downloadFiles).attempts, 1U);
  EXPECT_LE(step(model::StepName::downloadFiles).startedAt, step(model::StepName::listFiles).finishedAt);
}

TEST(Overlap, OneBatchIsFetchedWhileAnotherIsListed) {
  Journey journey(R"({"files": 2, "batches": 3})", kFileBytes);
  Counter data;
  std::vector<bool> overlapped;
  journey.onRequest = [&](const std::string& call) {
    if (isData(call)) return data.add();
    if (!call.starts_with("before ") || call.find("/batches/") == std::string::npos) return;
    if (call.find("/export/") == std::string::npos) return;
    overlapped.push_back(overlapped.empty() || data.waitFor(1));
  };
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.batches.limit = std::nullopt;
  const Outcome outcome = process.runner.advance(process.runner.create(request).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_THAT(overlapped, ElementsAre(true, true, true));
  EXPECT_EQ(outcome.job.fileCount, 6U);
}

TEST(Overlap, AFileThatIsHereAlreadyMovesWhenItsNameTurnsOutToCollide) {
  Journey undisturbed(R"({"files": 4, "dataset_files": 2, "duplicate_names": true})", kFileBytes);
  Journey::Process listsFirst(undisturbed);
  ASSERT_FALSE(listsFirst.runner.advance(listsFirst.runner.create(undisturbed.datasetRequest()).id, {}, {}).error);
  const auto expected = contentOf(undisturbed.directory / "out");
  ASSERT_EQ(expected.size(), 4U);

  Journey journey(R"({"files": 4, "dataset_files": 2, "duplicate_names": true, "page_limit": 1})", kFileBytes);
  journey.listedTogether = 1;
  Counter data;
  int pages = 0;
  journey.onRequest = [&](const std::string& call) {
    if (isData(call)) return call.starts_with("after ") ? data.add() : void();
    const bool page = call.starts_with("before ") && call.find("/export/files/") != std::string::npos;
    // The second file of the first directory is handed on when the first one of the second directory comes; the page
    // after that waits until the first file has arrived under its plain name.
    if (page && ++pages == 4) {
      EXPECT_TRUE(data.waitFor(1));
    }
  };
  Journey::Process process(journey);
  const Outcome outcome = process.runner.advance(process.runner.create(journey.datasetRequest()).id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(contentOf(journey.directory / "out"), expected);
  EXPECT_EQ(journey.world().statistics().fileBytesServed, 4 * kFileBytes) << "nothing is fetched twice";
}

constexpr std::size_t kParts = 8;

/// As CrashMatrix, with two batches of colliding names whose pages are handed on one file at a time.
class OverlapCrashMatrix : public testing::TestWithParam<std::size_t> {
 protected:
  static std::unique_ptr<Journey> newJourney() {
    auto journey = std::make_unique<Journey>(
        R"({"files": 4, "dataset_files": 2, "duplicate_names": true, "page_limit": 1, "batches": 2})", kFileBytes);
    journey->listedTogether = 1;
    return journey;
  }

  /// False if the process died on the way. `calls`: to the outside.
  static bool live(Journey& journey, std::size_t crashAt, std::size_t* calls = nullptr) {
    try {
      Journey::Process process(journey, crashAt);
      std::optional<model::JobId> job = process.store.newestJob();
      if (!job) {
        model::ExportRequest request = journey.datasetRequest();
        request.batches.limit = std::nullopt;
        job = process.runner.create(request).id;
      }
      const Outcome outcome = process.runner.advance(*job, {}, {});
      if (outcome.error) ADD_FAILURE() << "crash at " << crashAt << ": " << outcome.error->what();
      if (calls != nullptr) *calls = process.crash.passed();
      return true;
    } catch (const support::SimulatedCrash&) {
      return false;
    }
  }
};

TEST_P(OverlapCrashMatrix, EndsAsIfNothingHadHappened) {
  constexpr std::uint64_t kFiles = 8;
  const auto undisturbed = newJourney();
  std::size_t calls = 0;
  ASSERT_TRUE(live(*undisturbed, 0, &calls));
  const auto expected = contentOf(undisturbed->directory / "out");
  ASSERT_EQ(expected.size(), kFiles);
  ASSERT_THAT(keysOf(expected), Each(Not(HasSubstr(".part"))));
  std::size_t crashes = 0;
  for (std::size_t at = 1 + GetParam(); at <= calls; at += kParts) {
    const auto journey = newJourney();
    if (!live(*journey, at)) ++crashes;
    const std::uint64_t served = journey->world().statistics().fileBytesServed;
    const std::uint64_t recorded = recordedFilesOf(*journey);
    ASSERT_TRUE(live(*journey, 0)) << "crash at " << at;
    // Of what was not recorded nobody knows whether it is ours: it is fetched again, and compared.
    EXPECT_EQ(journey->world().statistics().fileBytesServed - served, (kFiles - recorded) * kFileBytes)
        << "crash at " << at;
    EXPECT_EQ(contentOf(journey->directory / "out"), expected) << "crash at " << at;
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(crashes, calls / kParts / 2) << "the matrix must crash";
}

INSTANTIATE_TEST_SUITE_P(Parts, OverlapCrashMatrix, testing::Range<std::size_t>(0, kParts));

}  // namespace
}  // namespace caiexport::engine
