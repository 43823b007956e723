#include <future>
#include <thread>

#include "caiexport/core/text.h"
#include "caiexport/store/prune_store.h"
#include "server/doubt_proxy.h"
#include "server/server_fixture.h"

namespace caiexport::store {
namespace {

using core::Category;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using Cut = support::DoubtProxy::Cut;

class TransactionsTest : public ServerTest {
 protected:
  /// Whose line can be cut.
  std::unique_ptr<Host> hostBehind(const support::DoubtProxy& proxy) {
    std::string address = schema_.location().address();
    address += "&host=" + core::percentEncode(proxy.folder());
    Location location = Location::ofServer(address);
    return std::make_unique<Host>(location, clock_);
  }
};

TEST_F(TransactionsTest, ALostConnectionIsMadeAnew) {
  const auto one = host();
  const model::JobId job = newJob(*one).id;
  cutOff(*one);
  EXPECT_EQ(one->store.load(job).id, job) << "while reading";
  cutOff(*one);
  one->store.beginAttempt(job, model::StepName::selectBatches);
  EXPECT_EQ(number("SELECT attempts FROM step WHERE position = 0"), 1) << "once";
}

TEST_F(TransactionsTest, WhatIsHeldStaysHeldOverALostConnection) {
  const auto one = host();
  ASSERT_FALSE(one->leases.tryLock(1));
  cutOff(*one);
  newJob(*one);
  EXPECT_TRUE(host()->leases.tryLock(1));
}

TEST_F(TransactionsTest, WhatWasCommittedUnheardIsNotDoneTwice) {
  support::DoubtProxy proxy;
  const auto one = hostBehind(proxy);
  const model::JobId job = newJob(*one).id;
  proxy.cutAt(Cut::afterCommit);
  one->store.beginAttempt(job, model::StepName::selectBatches);
  ASSERT_EQ(proxy.cuts(), 1);
  EXPECT_EQ(one->store.load(job).steps.at(0).attempts, 1U);
  proxy.cutAt(Cut::afterCommit);
  EXPECT_EQ(newJob(*one).id, model::JobId(model::numberOf(job) + 1));
  ASSERT_EQ(proxy.cuts(), 2);
  EXPECT_EQ(number("SELECT count(*) FROM job"), 2);
}

TEST_F(TransactionsTest, WhatNeverArrivedIsDoneAgain) {
  support::DoubtProxy proxy;
  const auto one = hostBehind(proxy);
  const model::JobId job = newJob(*one).id;
  proxy.cutAt(Cut::beforeCommit);
  one->store.beginAttempt(job, model::StepName::selectBatches);
  ASSERT_EQ(proxy.cuts(), 1);
  EXPECT_EQ(one->store.load(job).steps.at(0).attempts, 1U);
}

TEST_F(TransactionsTest, NoReceiptsAreLeft) {
  {
    const auto one = host();
    newJob(*one);
    EXPECT_EQ(number("SELECT count(*) FROM receipt"), 1);
    execute("INSERT INTO receipt (writer, number, at) VALUES ('killed', 1, 1)");
  }
  const auto one = host();
  newJob(*one);
  EXPECT_EQ(number("SELECT count(*) FROM receipt WHERE writer = 'killed'"), 0);
}

/// What BEGIN IMMEDIATE does for a file.
TEST_F(TransactionsTest, TwoHostsClaimOneExportJobForOneOfThem) {
  for (int round = 0; round < 10; ++round) {
    const auto one = host();
    const auto other = host();
    const model::JobId first = newJob(*one).id;
    const model::JobId second = newJob(*other).id;
    const StepResult result{.exportJobId = model::ExportJobId("export-" + std::to_string(round))};
    auto claimed = std::async(std::launch::async, [&] { return one->store.claimRemoteJob(first, result); });
    const bool too = other->store.claimRemoteJob(second, result);
    EXPECT_NE(claimed.get(), too) << "round " << round;
  }
}

TEST_F(TransactionsTest, AStepAndItsCancellationComeOneAfterTheOther) {
  for (int round = 0; round < 10; ++round) {
    const auto one = host();
    const auto other = host();
    const model::JobId job = newJob(*one).id;
    const auto plan = one->store.load(job).steps;
    for (std::size_t n = 0; n + 1 < plan.size(); ++n) one->store.finishStep(job, plan[n].name, {});
    auto cancelled = std::async(std::launch::async, [&] { return other->store.requestCancel(job); });
    one->store.finishStep(job, plan.back().name, {});
    cancelled.get();
    // Whichever was first: a job that is done tells of its success alone.
    EXPECT_FALSE(one->store.load(job).cancelRequested) << "round " << round;
  }
}

TEST_F(TransactionsTest, AServerThatStaysAwayEndsWithSeven) {
  auto proxy = std::make_unique<support::DoubtProxy>();
  std::string address = schema_.location().address() + "&host=" + core::percentEncode(proxy->folder());
  Location location = Location::ofServer(address);
  location.lease = seconds(1);
  Host one(location, clock_);
  const model::JobId job = newJob(one).id;
  proxy.reset();
  const core::SteadyTime since = core::systemClock().steadyNow();
  const core::Error error = errorOf([&] { one.store.beginAttempt(job, model::StepName::selectBatches); });
  EXPECT_EQ(error.category(), Category::unavailable) << error.what();
  EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  EXPECT_THAT(error.hint(), HasSubstr("the same command goes on"));
  const auto took = core::systemClock().steadyNow() - since;
  EXPECT_GE(took, seconds(1)) << "as long as a lease";
  EXPECT_LT(took, seconds(20));
}

TEST_F(TransactionsTest, APathThatIsNotUtf8IsRefusedAndNothingIsRecorded) {
  const auto one = host();
  model::ExportRequest request = datasetRequest();
  request.output = "/data/\xff\xfe";
  const core::Error error = errorOf([&] { one->store.createJob(request, "u", model::makePlan(request)); });
  EXPECT_EQ(error.category(), Category::config);
  EXPECT_THAT(error.what(), HasSubstr("\\xff\\xfe"));
  EXPECT_EQ(number("SELECT count(*) FROM job"), 0);
}

TEST_F(TransactionsTest, WordsOfAFailureThatAreNotUtf8AreKeptInOtherSpelling) {
  const auto one = host();
  const model::JobId job = newJob(*one).id;
  one->store.noteError(
      job, {.category = Category::io, .message = std::string("a\xff\0b", 4), .requestId = "\xfe", .hint = "h\xc3"});
  EXPECT_EQ(one->store.load(job).error->message, "a\\xff\\x00b");
  one->store.addEvent(job, {}, "x", "\xff");
}

TEST_F(TransactionsTest, AJobOfManyFilesIsListedInFewRoundTrips) {
  const auto one = host();
  const model::JobId job = newJob(*one).id;
  one->store.finishStep(job, model::StepName::selectBatches, {.batches = std::vector{batchNamed("b")}});
  std::vector<model::RemoteFile> page;
  for (int n = 0; n < 100; ++n) page.push_back(remoteFile("b", "d", "part-" + std::to_string(n)));
  one->store.beginListing(job, model::BatchId("b"));
  one->store.addFiles(job, page);
  const std::uint64_t before = one->database.server()->roundTrips();
  for (model::RemoteFile& file : page) file.name += "x";
  one->store.addFiles(job, page);
  EXPECT_LE(one->database.server()->roundTrips() - before, 10U);
  EXPECT_EQ(number("SELECT count(*) FROM file"), 200);
}

TEST_F(TransactionsTest, ManyRangesOfAFileAreRecordedInFewRoundTrips) {
  const auto one = host();
  const model::JobId job = newJob(*one).id;
  one->store.finishStep(job, model::StepName::selectBatches, {.batches = std::vector{batchNamed("b")}});
  one->store.beginListing(job, model::BatchId("b"));
  one->store.addFiles(job, std::vector{remoteFile("b", "d", "large", 10000)});
  const std::int64_t file = number("SELECT id FROM file");
  std::vector<model::ByteRange> done;
  for (std::uint64_t n = 0; n < 100; ++n) done.push_back({.first = 100 * n, .end = 100 * n + 50});
  one->store.recordRanges(file, done);
  const std::uint64_t before = one->database.server()->roundTrips();
  done.pop_back();
  one->store.recordRanges(file, done);
  EXPECT_LE(one->database.server()->roundTrips() - before, 20U);
  EXPECT_EQ(number("SELECT count(*) FROM file_range"), 99);
  EXPECT_EQ(one->store.files(job, 0, 1, {}).at(0).done, done);
}

}  // namespace
}  // namespace caiexport::store
