#include "caiexport/model/job.h"

#include <gtest/gtest.h>

#include "caiexport/core/error.h"

namespace caiexport::model {
namespace {

using enum StepName;

Job jobWith(std::vector<StepState> states) {
  Job job;
  const std::vector<StepName> names = makePlan({});
  for (std::size_t i = 0; i < states.size(); ++i) job.steps.push_back({.name = names.at(i), .state = states[i]});
  return job;
}

TEST(Plan, OfADatasetIsTheTailAlone) {
  EXPECT_EQ(makePlan({.kind = Kind::dataset}),
            (std::vector<StepName>{selectBatches, listFiles, downloadFiles, verifyFiles}));
}

TEST(Plan, OfASegmentHasTheHeadToo) {
  EXPECT_EQ(makePlan({.kind = Kind::segment}),
            (std::vector<StepName>{createDataset, startExport, awaitExport, selectBatches, listFiles, downloadFiles,
                                   verifyFiles}));
}

TEST(Plan, FollowsTheOptions) {
  ExportRequest request{.kind = Kind::segment};
  request.segment.evaluate = true;
  request.segment.targetDataset = DatasetId("d");
  request.download = false;
  EXPECT_EQ(makePlan(request),
            (std::vector<StepName>{evaluateSegment, startExport, awaitExport, selectBatches, listFiles}));
  request = {.kind = Kind::segment};
  request.segment.deleteDataset = true;
  EXPECT_EQ(makePlan(request).back(), deleteDataset);
}

TEST(Transitions, NeverLeaveDone) {
  using enum StepState;
  for (StepState to : {pending, intended, waiting, failed, blocked}) EXPECT_FALSE(isLegalTransition(done, to));
  EXPECT_TRUE(isLegalTransition(done, done));
}

TEST(Transitions, BlockOnlyWhatWasBegun) {
  EXPECT_FALSE(isLegalTransition(StepState::pending, StepState::blocked));
  EXPECT_TRUE(isLegalTransition(StepState::intended, StepState::blocked));
  EXPECT_FALSE(isLegalTransition(StepState::waiting, StepState::intended));
}

struct StatusCase {
  std::vector<StepState> states;
  bool held;
  std::uint32_t attempts;
  JobStatus expected;
};

class StatusOf : public testing::TestWithParam<StatusCase> {};

TEST_P(StatusOf, IsComputedFromTheSteps) {
  Job job = jobWith(GetParam().states);
  job.steps.front().attempts = GetParam().attempts;
  EXPECT_EQ(nameOf(statusOf(job, GetParam().held)), nameOf(GetParam().expected));
}

using enum StepState;
INSTANTIATE_TEST_SUITE_P(AllStatuses, StatusOf,
                         testing::Values(StatusCase{{pending, pending, pending, pending}, false, 0, JobStatus::pending},
                                         StatusCase{{pending, pending, pending, pending}, true, 0, JobStatus::running},
                                         StatusCase{
                                             {pending, pending, pending, pending}, false, 1, JobStatus::interrupted},
                                         StatusCase{{done, waiting, pending, pending}, false, 1, JobStatus::waiting},
                                         StatusCase{{done, waiting, pending, pending}, true, 1, JobStatus::waiting},
                                         StatusCase{{done, blocked, pending, pending}, false, 1, JobStatus::blocked},
                                         StatusCase{{done, failed, pending, pending}, false, 1, JobStatus::failed},
                                         StatusCase{{done, failed, pending, pending}, true, 1, JobStatus::running},
                                         StatusCase{{done, done, done, done}, false, 1, JobStatus::succeeded}));

TEST(StatusOf, ACancelledJobStaysCancelled) {
  Job job = jobWith({done, waiting, pending, pending});
  job.cancelled = true;
  EXPECT_EQ(statusOf(job, true), JobStatus::cancelled);
}

TEST(ReplacedAmong, NamesOnlyBatchesOfTheList) {
  const std::vector<Batch> batches{{.id = BatchId("c"), .predecessors = {BatchId("a"), BatchId("elsewhere")}},
                                   {.id = BatchId("b")},
                                   {.id = BatchId("a")}};
  EXPECT_EQ(replacedAmong(batches), std::vector<BatchId>{BatchId("a")});
}

TEST(ReplacedAmong, ABatchDoesNotReplaceItself) {
  const std::vector<Batch> batches{{.id = BatchId("a"), .predecessors = {BatchId("a")}}};
  EXPECT_TRUE(replacedAmong(batches).empty());
}

TEST(Ranges, AreMergedCutAndComplemented) {
  const std::vector<ByteRange> done = normalized({{50, 60}, {0, 10}, {5, 20}, {20, 30}, {90, 200}, {7, 7}}, 100);
  EXPECT_EQ(done, (std::vector<ByteRange>{{0, 30}, {50, 60}, {90, 100}}));
  EXPECT_EQ(missing(done, 100), (std::vector<ByteRange>{{30, 50}, {60, 90}}));
  EXPECT_EQ(missing({}, 5), (std::vector<ByteRange>{{0, 5}}));
  EXPECT_TRUE(missing({}, 0).empty());
}

TEST(Names, GoThereAndBack) {
  for (StepName name : makePlan({.kind = Kind::segment, .segment = {.evaluate = true, .deleteDataset = true}})) {
    EXPECT_EQ(stepNameFrom(nameOf(name)), name);
  }
  EXPECT_EQ(nameOf(StepName::downloadFiles), "download_files");
  EXPECT_FALSE(stepNameFrom("no_such_step"));
  EXPECT_FALSE(jobStatusFrom(""));
}

TEST(Ids, RefuseWhatCouldLeaveAFolderOrAnUrl) {
  for (const char* bad :
       {"", ".", "..", "a/b", "a\\b", "a b", "a\nb", "a?b", "a#b", "a%2fb", "\"", "\x7f", "\xc3\xa4"}) {
    EXPECT_FALSE(isWellFormedId(bad)) << bad;
    EXPECT_THROW(checkedId("dataset id", bad), core::Error) << bad;
  }
  EXPECT_FALSE(isWellFormedId(std::string(201, 'a')));
  EXPECT_EQ(checkedId("dataset id", "5f0000000000000000000001"), "5f0000000000000000000001");
  EXPECT_TRUE(isWellFormedId("035e2520-5e69-11ea-b624-51ecfeba55d0-1"));
}

}  // namespace
}  // namespace caiexport::model
