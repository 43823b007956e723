/// The crash matrix: the process dies at every call to the outside, for both paths; the next one finishes the job.

#include <gmock/gmock.h>

#include "engine/journey.h"

namespace caiexport::engine {
namespace {

// Small, but with every kind of call, and more than one listing page.
constexpr const char* kScenario = R"({"files": 3, "page_limit": 2, "export_files": 3})";
constexpr std::uint64_t kFileBytes = 3000;
constexpr std::uint64_t kFiles = 3;
// The matrix is cut into parts, so that ctest runs them side by side.
constexpr std::size_t kParts = 8;

class CrashMatrix : public testing::TestWithParam<std::tuple<model::Kind, std::size_t>> {
 protected:
  static model::ExportRequest requestOf(const Journey& journey) {
    return std::get<0>(GetParam()) == model::Kind::dataset ? journey.datasetRequest() : journey.segmentRequest();
  }

  static std::unique_ptr<Journey> newJourney() { return std::make_unique<Journey>(kScenario, kFileBytes); }

  /// Runs the newest job, or makes one; false if the process died on the way.
  static bool live(Journey& journey, std::size_t crashAt) {
    try {
      Journey::Process process(journey, crashAt);
      std::optional<model::JobId> job = process.store.newestJob();
      if (!job) job = process.runner.create(requestOf(journey)).id;
      const Outcome outcome = process.runner.advance(*job, {}, {});
      if (outcome.error) ADD_FAILURE() << "crash at " << crashAt << ": " << outcome.error->what();
      return true;
    } catch (const support::SimulatedCrash&) {
      return false;
    }
  }

  static std::size_t callsOfAnUndisturbedRun() {
    const auto journey = newJourney();
    Journey::Process process(*journey);
    const Outcome outcome = process.runner.advance(process.runner.create(requestOf(*journey)).id, {}, {});
    EXPECT_FALSE(outcome.error);
    return process.crash.passed();
  }

  static void expectOneOfEach(Journey& journey, std::size_t crashAt) {
    const bool segment = std::get<0>(GetParam()) == model::Kind::segment;
    const simulator::Statistics statistics = journey.world().statistics();
    EXPECT_EQ(statistics.datasetsCreated, segment ? 1U : 0U) << "crash at " << crashAt;
    EXPECT_EQ(statistics.exportJobsAccepted, segment ? 1U : 0U) << "crash at " << crashAt;
    EXPECT_EQ(statistics.unfilteredExports, 0U);
  }
};

TEST_P(CrashMatrix, EndsAsIfNothingHadHappened) {
  const std::size_t calls = callsOfAnUndisturbedRun();
  const auto undisturbed = newJourney();
  ASSERT_TRUE(live(*undisturbed, 0));
  const auto expected = contentOf(undisturbed->directory / "out");
  ASSERT_EQ(expected.size(), kFiles);
  std::size_t crashes = 0;
  for (std::size_t at = 1 + std::get<1>(GetParam()); at <= calls; at += kParts) {
    const auto journey = newJourney();
    if (!live(*journey, at)) ++crashes;
    expectWholeWhereMarked(journey->directory / "out");
    const std::uint64_t served = journey->world().statistics().fileBytesServed;
    const std::uint64_t recorded = recordedFilesOf(*journey);
    ASSERT_TRUE(live(*journey, 0)) << "crash at " << at;
    // Of what was not recorded nobody knows whether it is ours: it is fetched again, and compared.
    EXPECT_EQ(journey->world().statistics().fileBytesServed - served, (kFiles - recorded) * kFileBytes)
        << "crash at " << at;
    EXPECT_EQ(contentOf(journey->directory / "out"), expected) << "crash at " << at;
    EXPECT_EQ(expectWholeWhereMarked(journey->directory / "out"), 1) << "crash at " << at;
    expectOneOfEach(*journey, at);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(crashes, calls / kParts / 2) << "the matrix must crash";
}

INSTANTIATE_TEST_SUITE_P(BothPaths, CrashMatrix,
                         testing::Combine(testing::Values(model::Kind::dataset, model::Kind::segment),
                                          testing::Range<std::size_t>(0, kParts)));

/// A file that is begun again is not on record as begun for a while; what it became by then is still ours.
TEST(Crash, BeforeAFileThatWasBegunAgainIsRecordedLosesNothing) {
  Journey journey(
      R"({"files": 1, "faults": [{"match": {"method": "GET", "path": "path="}, "times": 3, "do": {"short_body": 500}}]})",
      87373);
  journey.download.connections = 1;
  bool begunAgain = false;
  {
    Journey::Process process(journey);
    process.onStoreCall = [&](std::string_view call, bool committed) {
      begunAgain = begunAgain || call == "forgetRanges";
      if (begunAgain && call == "recordDownloaded" && !committed) throw support::SimulatedCrash();
    };
    const model::JobId job = process.runner.create(journey.datasetRequest()).id;
    EXPECT_THROW(process.runner.advance(job, {}, {}), support::SimulatedCrash);
  }
  ASSERT_TRUE(begunAgain);
  Journey::Process process(journey);
  const Outcome outcome = process.runner.advance(*process.store.newestJob(), {}, {});
  EXPECT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(wholeFilesIn(journey.directory / "out"), 1U);
}

}  // namespace
}  // namespace caiexport::engine
