/// What the platform keeps of failed batches, through the real client and downloader over a simulated platform.

#include "caiexport/engine/failed_files.h"

#include <gmock/gmock.h>

#include "caiexport/json/document.h"
#include "journey.h"

namespace caiexport::engine {
namespace {

using core::Category;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Key;
using testing::SizeIs;

constexpr const char* kBatch = "01JXSC00000000000000000002";
constexpr const char* kPart = "failed/part-00000-44c7b669-5e38-43fb-b56c-a0686dabb982-c000.json";

class FailedFiles : public testing::Test {
 protected:
  FetchedFailure fetch(std::size_t crashAt = 0) {
    Journey::Process process(journey, crashAt);
    const auto batch = process.client.findFailedBatch(model::BatchId(kBatch), {});
    passed = process.crash.passed();
    const auto fetched = fetchFailure({.client = process.client,
                                       .files = process.files,
                                       .clock = journey.clock,
                                       .random = journey.random,
                                       .log = core::nullLog(),
                                       .download = journey.download},
                                      batch.value(), model::DatasetId(kScoreDataset), out(), {});
    passed = process.crash.passed();
    return fetched;
  }
  std::filesystem::path out() const { return journey.directory / "out"; }
  std::filesystem::path folder() const { return out() / (std::string(kScoreDataset) + ".failed") / kBatch; }
  Category failure() {
    try {
      fetch();
    } catch (const core::Error& error) {
      message = error.what();
      return error.category();
    }
    ADD_FAILURE() << "nothing was thrown";
    return Category::internal;
  }

  Journey journey{R"({"batches": 1, "failed_files": 2})"};
  std::size_t passed = 0;
  std::string message;
};

TEST_F(FailedFiles, LieBelowABatchOfTheirOwnWithARecordOfWhatTheyAre) {
  const FetchedFailure fetched = fetch();
  EXPECT_EQ(fetched.folder, folder());
  EXPECT_EQ(fetched.files, 7U);
  EXPECT_EQ(fetched.kept, 0U);
  const auto content = contentOf(folder());
  EXPECT_THAT(content, SizeIs(8));
  EXPECT_THAT(content, AllOf(Contains(Key(kPart)), Contains(Key("meta/row_errors/conversion_errors_1.json")),
                             Contains(Key("meta/input_files/input_0.csv"))));
  EXPECT_EQ(content.at("meta/row_errors_sample.json"), "[{\"row\": 1}]") << "listed with length 0";
  EXPECT_THAT(content.at("batch.json"), AllOf(HasSubstr("ACP-9999"), HasSubstr("scoring failed"), HasSubstr(kPart)));
}

TEST_F(FailedFiles, AreFetchedOnceAndMendedAlone) {
  fetch();
  std::vector<std::string> fetched;
  journey.onRequest = [&](const std::string& call) {
    if (call.starts_with("before") && call.find("part-0000") != std::string::npos) fetched.push_back(call);
  };
  EXPECT_EQ(fetch().kept, 7U);
  EXPECT_THAT(fetched, SizeIs(0));
  std::ofstream(folder() / kPart, std::ios::app) << "more";
  EXPECT_EQ(fetch().kept, 6U);
  EXPECT_THAT(fetched, SizeIs(1));
  EXPECT_THAT(contentOf(folder()).at(kPart), testing::Not(HasSubstr("more")));
}

TEST_F(FailedFiles, OfOthersAreNotTouchedAndNothingIsFetchedThen) {
  std::filesystem::create_directories((folder() / kPart).parent_path());
  std::ofstream(folder() / kPart) << "mine";
  EXPECT_EQ(failure(), Category::io);
  EXPECT_THAT(message, HasSubstr("is there already and was not written by `failed`"));
  EXPECT_THAT(contentOf(folder()), SizeIs(1));
  std::filesystem::remove_all(folder());
  std::filesystem::create_directories(folder());
  std::ofstream(folder() / "batch.json") << R"({"batch_id": "another", "files": []})";
  EXPECT_EQ(failure(), Category::io);
  EXPECT_THAT(contentOf(folder()), SizeIs(1));
}

TEST_F(FailedFiles, DoNotGoThroughLinks) {
  std::filesystem::create_directories(folder());
  std::filesystem::create_directories(journey.directory / "elsewhere");
  std::filesystem::create_directory_symlink(journey.directory / "elsewhere", folder() / "meta");
  EXPECT_EQ(failure(), Category::io);
  EXPECT_THAT(message, HasSubstr("symbolic link"));
  EXPECT_THAT(contentOf(journey.directory / "elsewhere"), SizeIs(0));
}

/// Dies before and after each request and each change of a file.
TEST_F(FailedFiles, AreWholeAfterAnyCrashAndASecondRun) {
  journey.world().change(R"({"failed_files": 1})");
  fetch();
  const std::size_t points = passed;
  const auto wanted = contentOf(folder());
  ASSERT_GT(points, 40U);
  for (std::size_t at = 3; at <= points; ++at) {
    std::filesystem::remove_all(out());
    EXPECT_THROW(fetch(at), support::SimulatedCrash) << at;
    for (const auto& [path, content] : contentOf(folder())) {
      const bool complete = !path.ends_with(".part") && path != "batch.json";
      if (complete) {
        EXPECT_EQ(content, wanted.at(path)) << "half a file under its final name, crash " << at;
      }
    }
    EXPECT_EQ(fetch().files, 4U) << at;
    EXPECT_EQ(contentOf(folder()), wanted) << at;
  }
}

}  // namespace
}  // namespace caiexport::engine
