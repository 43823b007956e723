// Files that are rewritten while they are fetched, or between two runs: each is of one version in the end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "caiexport/model/job.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr std::uint64_t kFileBytes = 20'000;

class FileVersions : public testing::TestWithParam<std::string> {
 protected:
  FileVersions() {
    journey_.download = {.connections = 1, .rangeBytes = 4000, .recordEveryBytes = 4000, .tailBytes = 500};
  }

  void rewrite(unsigned version) { journey_.world().change(R"({"file_version": )" + std::to_string(version) + "}"); }

  /// What an undisturbed download of that version brings.
  std::map<std::string, std::string> expected(unsigned version) {
    rewrite(version);
    journey_.onRequest = {};
    model::ExportRequest request = journey_.datasetRequest();
    request.output = journey_.directory / ("expected" + std::to_string(version));
    Journey::Process process(journey_);
    const model::Job job = process.runner.create(request);
    EXPECT_FALSE(process.runner.advance(job.id, {}, {}).error);
    return contentOf(request.output);
  }

  std::map<std::string, std::string> found() const { return contentOf(journey_.directory / "out"); }

  /// Calls `then` before the n-th request for bytes of a file.
  void atFileRequest(unsigned n, std::function<void()> then) {
    count_ = 0;
    journey_.onRequest = [this, n, then = std::move(then)](const std::string& call) {
      if (call.starts_with("before GET") && call.find("path=") != std::string::npos && ++count_ == n) then();
    };
  }

  Journey journey_{R"({"files": 2, "file_validators": ")" + GetParam() + R"("})", kFileBytes};
  unsigned count_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Servers, FileVersions, testing::Values("none", "etag", "last_modified"),
                         [](const auto& row) { return row.param; });

TEST_P(FileVersions, ARewriteInMidRunNeverMixes) {
  const auto first = expected(0);
  const auto second = expected(1);
  ASSERT_NE(first, second);
  for (unsigned moment = 1; moment <= 16; ++moment) {
    SCOPED_TRACE(moment);
    std::filesystem::remove_all(journey_.directory / "out");
    rewrite(0);
    atFileRequest(moment, [&] { rewrite(1); });
    Journey::Process process(journey_);
    const model::Job job = process.runner.create(journey_.datasetRequest());
    const Outcome outcome = process.runner.advance(job.id, {}, {});
    ASSERT_FALSE(outcome.error) << outcome.error->what();
    for (const auto& [name, content] : found())
      EXPECT_TRUE(content == first.at(name) || content == second.at(name)) << name;
  }
}

TEST_P(FileVersions, ARewriteBetweenTwoRunsNeverMixes) {
  const auto second = expected(1);
  rewrite(0);
  std::stop_source stop;
  atFileRequest(5, [&] { stop.request_stop(); });
  Journey::Process process(journey_);
  const model::Job job = process.runner.create(journey_.datasetRequest());
  ASSERT_TRUE(process.runner.advance(job.id, {}, stop.get_token()).error);
  const auto files = process.store.files(job.id, 0, 10, {});
  ASSERT_TRUE(std::ranges::any_of(files, [](const auto& file) { return !file.done.empty() && file.part.sum; }));
  rewrite(1);
  journey_.onRequest = {};
  const Outcome outcome = process.runner.advance(job.id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(found(), second);
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("is downloaded again from its start")));
}

TEST_P(FileVersions, WithoutARewriteAResumedFileIsGoneOnWith) {
  const auto first = expected(0);
  std::stop_source stop;
  atFileRequest(5, [&] { stop.request_stop(); });
  Journey::Process process(journey_);
  const std::uint64_t before = journey_.world().statistics().fileBytesServed;
  const model::Job job = process.runner.create(journey_.datasetRequest());
  ASSERT_TRUE(process.runner.advance(job.id, {}, stop.get_token()).error);
  journey_.onRequest = {};
  const Outcome outcome = process.runner.advance(job.id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(found(), first);
  // One range that was under way, and the ends of two files once more.
  EXPECT_LE(journey_.world().statistics().fileBytesServed - before, 2 * kFileBytes + 6000U + 2 * 500U);
}

TEST_P(FileVersions, AFileOfSeveralRunsIsReadInFullWhereItsVersionHasNoName) {
  const auto first = expected(0);
  std::stop_source stop;
  atFileRequest(5, [&] { stop.request_stop(); });
  std::map<std::string, reader::Depth> depths;
  unsigned broken = 0;
  journey_.onInspect = [&](const std::filesystem::path& file, reader::Depth depth) {
    depths[file.filename().string()] = depth;
    if (depth == reader::Depth::full && broken++ == 0) {
      throw core::Error(core::Category::verification, "a page can't be read");
    }
  };
  Journey::Process process(journey_);
  journey_.world().change(R"({"metrics_form": "none"})");
  model::ExportRequest request = journey_.datasetRequest();
  request.verify = model::VerifyLevel::footer;
  const model::Job job = process.runner.create(request);
  ASSERT_TRUE(process.runner.advance(job.id, {}, stop.get_token()).error);
  journey_.onRequest = {};
  const Outcome outcome = process.runner.advance(job.id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(found(), first);
  ASSERT_EQ(depths.size(), 2U);
  // Found broken, it came anew in one run.
  EXPECT_EQ(broken, GetParam() == "none" ? 1U : 0U);
  for (const auto& [file, depth] : depths) EXPECT_EQ(depth, reader::Depth::footer) << file;
}

TEST_P(FileVersions, WhatHasTurnedUpUnderAFinalNameIsNeverTakenForOurs) {
  const auto first = expected(0);
  // With the files recorded in parts, and as a whole only.
  for (const std::uint64_t rangeBytes : {4000U, 1U << 20U}) {
    SCOPED_TRACE(rangeBytes);
    journey_.download.rangeBytes = rangeBytes;
    model::ExportRequest request = journey_.datasetRequest();
    request.output = journey_.directory / ("out" + std::to_string(rangeBytes));
    const std::string foreign(kFileBytes, 'f');
    std::string name;
    atFileRequest(2, [&] {
      for (const auto& [file, content] : first) {
        if (!std::filesystem::exists(request.output / file)) name = file;
      }
      std::ofstream(request.output / name) << foreign;
    });
    Journey::Process process(journey_);
    const model::Job job = process.runner.create(request);
    for (int run = 0; run < 3; ++run) {
      const Outcome outcome = process.runner.advance(job.id, {}, {});
      ASSERT_TRUE(outcome.error);
      EXPECT_EQ(outcome.error->category(), core::Category::io) << outcome.error->what();
      EXPECT_TRUE(contentOf(request.output).at(name) == foreign);
      journey_.onRequest = {};
    }
    std::filesystem::remove(request.output / name);
    const Outcome outcome = process.runner.advance(job.id, {}, {});
    ASSERT_FALSE(outcome.error) << outcome.error->what();
    EXPECT_EQ(contentOf(request.output), first);
  }
}

TEST_P(FileVersions, FilesMovedElsewhereAreGoneOnWith) {
  const auto first = expected(0);
  std::stop_source stop;
  atFileRequest(5, [&] { stop.request_stop(); });
  Journey::Process process(journey_);
  const model::Job job = process.runner.create(journey_.datasetRequest());
  ASSERT_TRUE(process.runner.advance(job.id, {}, stop.get_token()).error);
  journey_.onRequest = {};
  std::filesystem::copy(journey_.directory / "out", journey_.directory / "moved",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(journey_.directory / "out");
  process.runner.moveTo(job.id, journey_.directory / "moved");
  const std::uint64_t before = journey_.world().statistics().fileBytesServed;
  ASSERT_FALSE(process.runner.advance(job.id, {}, {}).error);
  EXPECT_EQ(contentOf(journey_.directory / "moved"), first);
  EXPECT_LT(journey_.world().statistics().fileBytesServed - before, 2 * kFileBytes - 4000U);
  EXPECT_TRUE(found().empty());

  // Of one that is done all must be there.
  EXPECT_THROW(process.runner.moveTo(job.id, journey_.directory / "nowhere"), core::Error);
  std::filesystem::rename(journey_.directory / "moved", journey_.directory / "again");
  process.runner.moveTo(job.id, journey_.directory / "again");
  EXPECT_EQ(process.store.load(job.id).request.output, journey_.directory / "again");
}

TEST(Repairs, AllThatIsWrongAtOnce) {
  Journey journey(R"({"files": 12})");
  Journey::Process process(journey);
  const model::Job job = process.runner.create(journey.datasetRequest());
  // Before anything is verified, all files go.
  process.onStoreCall = [&](std::string_view call, bool committed) {
    if (call != "finishStep" || !committed) return;
    const model::Job now = process.store.load(job.id);
    if (model::currentStep(now.steps) != model::StepName::verifyFiles || !process.observer.notices.empty()) return;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(journey.directory / "out")) {
      if (entry.path().extension() == ".parquet") std::filesystem::remove(entry.path());
    }
  };
  const Outcome outcome = process.runner.advance(job.id, {}, {});
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  EXPECT_EQ(wholeFilesIn(journey.directory / "out"), 12U);
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("12 files are downloaded again; the first:")));
}

TEST(AcceptedRows, AreOnRecord) {
  Journey journey;
  journey.rowsPerFile = 7;
  Journey::Process process(journey);
  model::ExportRequest request = journey.datasetRequest();
  request.verify = model::VerifyLevel::footer;
  const model::Job job = process.runner.create(request);
  const Outcome refused = process.runner.advance(job.id, {}, {});
  ASSERT_TRUE(refused.error);
  EXPECT_THAT(refused.error->hint(), HasSubstr("--accept-rows"));
  EXPECT_THAT(refused.error->hint(), HasSubstr("deletions"));
  const Outcome accepted = process.runner.advance(job.id, {.acceptRows = true}, {});
  ASSERT_FALSE(accepted.error) << accepted.error->what();
  EXPECT_EQ(accepted.job.records, accepted.job.fileCount * 7);
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("accepted by --accept-rows")));
}

}  // namespace
}  // namespace caiexport::engine
