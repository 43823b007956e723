#include "caiexport/store/share_store.h"

#include <chrono>
#include <functional>
#include <iostream>
#include <set>
#include <thread>

#include "server/server_fixture.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// A host that works on a job.
struct WorkingHost {
  WorkingHost(const Location& location, core::Clock& clock, model::JobId id)
      : host(location, clock), share(host.database, host.leases), job(id) {
    share.enter(job);
  }
  std::vector<std::int64_t> take(std::size_t most) {
    std::vector<std::int64_t> files;
    for (const ShareStore::Taken& taken : share.take(job, most)) files.push_back(taken.file.id);
    return files;
  }
  void complete(std::span<const std::int64_t> files) {
    std::vector<JobStore::Downloaded> done;
    for (const std::int64_t file : files) done.push_back({.file = file, .sha256 = sha256Of('a')});
    host.store.recordDownloaded(done);
  }
  std::string worker() { return std::to_string(host.leases.worker()); }

  Host host;
  ShareStore share;
  model::JobId job;
};

class ShareStoreTest : public ServerTest {
 protected:
  /// Of so many files, all of them listed.
  model::JobId sharedJob(int files, const std::string& share = "key", std::uint64_t bytes = 1000) {
    const auto maker = host();
    const model::Job job =
        maker->store.createJob(datasetRequest(), "uuid-" + share, model::makePlan(datasetRequest()), share);
    maker->store.finishStep(job.id, model::StepName::selectBatches, {.batches = std::vector{batchNamed("b1")}});
    std::vector<model::RemoteFile> page;
    for (int n = 0; n < files; ++n)
      page.push_back(remoteFile("b1", "f" + std::to_string(n), "file-" + std::to_string(n), bytes));
    maker->store.beginListing(job.id, model::BatchId("b1"));
    maker->store.addFiles(job.id, page);
    maker->store.finishListing(job.id, model::BatchId("b1"));
    return job.id;
  }
  std::unique_ptr<WorkingHost> worker(model::JobId job) {
    return std::make_unique<WorkingHost>(location(), clock_, job);
  }
  /// As if it had not been heard of for longer than its lease; it does not know.
  void freeze(WorkingHost& one) { execute("UPDATE worker SET until = 1 WHERE id = " + one.worker()); }
  /// What never happens: to see what holds when nothing else does.
  void revive(WorkingHost& one) { execute("UPDATE worker SET until = 99999999999999 WHERE id = " + one.worker()); }
};

Category refusalOf(const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& error) {
    return error.category();
  }
  ADD_FAILURE() << "it was written";
  return Category::internal;
}

TEST_F(ShareStoreTest, OneKeyIsOneJob) {
  const auto one = host();
  const auto other = host();
  const auto plan = model::makePlan(datasetRequest());
  const model::Job job = one->store.createJob(datasetRequest(), "uuid-1", plan, "key");
  EXPECT_EQ(job.share, "key");
  EXPECT_EQ(other->store.createJob(datasetRequest(), "uuid-2", plan, "key").id, job.id);
  EXPECT_NE(other->store.createJob(datasetRequest(), "uuid-3", plan, "another").id, job.id);
  EXPECT_NE(other->store.createJob(datasetRequest(), "uuid-4", plan).id, job.id);
  model::ExportRequest elsewhere = datasetRequest();
  elsewhere.sandbox = "another";
  EXPECT_NE(other->store.createJob(elsewhere, "uuid-5", plan, "key").id, job.id);
}

/// And the tables, which nobody made before.
TEST_F(ShareStoreTest, ManyThatComeAtOnceMakeOneJob) {
  std::vector<std::int64_t> jobs(8);
  {
    std::vector<std::jthread> threads;
    for (std::size_t n = 0; n < jobs.size(); ++n) {
      threads.emplace_back([&, n] {
        Host one(location(), clock_);
        jobs[n] = model::numberOf(
            one.store.createJob(datasetRequest(), "uuid-" + std::to_string(n), model::makePlan(datasetRequest()), "key")
                .id);
      });
    }
  }
  EXPECT_THAT(std::set(jobs.begin(), jobs.end()), SizeIs(1));
  EXPECT_EQ(number("SELECT count(*) FROM job"), 1);
}

TEST_F(ShareStoreTest, NoFileIsTakenTwice) {
  const model::JobId job = sharedJob(10);
  const auto one = worker(job);
  const auto other = worker(job);
  const auto first = one->take(4);
  const auto second = other->take(4);
  EXPECT_THAT(first, SizeIs(4));
  EXPECT_THAT(second, SizeIs(4));
  EXPECT_LT(first.back(), second.front());
  EXPECT_THAT(one->take(4), SizeIs(2));
  EXPECT_THAT(other->take(4), IsEmpty());
  EXPECT_EQ(one->share.left(job).held, 10U);
  EXPECT_EQ(one->share.crew(job).workers, 2U);
}

TEST_F(ShareStoreTest, WhatAWorkerHeldThatIsGoneIsTakenOverFromItsStart) {
  const model::JobId job = sharedJob(4);
  const auto gone = worker(job);
  const auto other = worker(job);
  const auto held = gone->take(3);
  const model::ByteRange half{0, 500};
  gone->host.store.markStarted(held);
  gone->host.store.recordRanges(held.front(), {&half, 1}, {.sum = 7});
  EXPECT_THAT(other->take(4), SizeIs(1));
  freeze(*gone);
  EXPECT_EQ(other->share.left(job).free, 3U);
  const auto taken = other->share.take(job, 4);
  ASSERT_THAT(taken, SizeIs(3));
  for (const ShareStore::Taken& one : taken) {
    EXPECT_EQ(one.fence, other->host.leases.worker()) << "the .part file of the other may still be written to";
    EXPECT_THAT(one.file.done, IsEmpty());
  }
  EXPECT_EQ(number("SELECT count(*) FROM event WHERE what = 'files_taken_over'"), 1);
}

TEST_F(ShareStoreTest, WhatAWorkerHeldThatIsGoneIsTakenBeforeWhatNobodyHad) {
  const model::JobId job = sharedJob(6);
  const auto gone = worker(job);
  const auto other = worker(job);
  const auto held = gone->take(2);
  EXPECT_EQ(other->share.crew(job).workers, 2U);
  EXPECT_THAT(other->take(2), SizeIs(2));
  freeze(*gone);
  EXPECT_EQ(other->share.crew(job).workers, 1U);
  EXPECT_EQ(other->take(2), held);
}

TEST_F(ShareStoreTest, WhatIsGivenBackIsGoneOnWith) {
  const model::JobId job = sharedJob(2);
  const auto one = worker(job);
  const auto other = worker(job);
  const auto held = one->take(1);
  const model::ByteRange half{0, 500};
  one->host.store.recordRanges(held.front(), {&half, 1}, {.sum = 7});
  one->share.giveBack(held);
  const auto taken = other->share.take(job, 1);
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken.front().fence, one->host.leases.worker());
  EXPECT_THAT(taken.front().file.done, ElementsAre(half));
  // What is another's by now is left as it is.
  one->share.giveBack(held);
  EXPECT_THAT(one->take(2), SizeIs(1));
}

/// Each of the two conditions by itself: the row of the worker, which is the whole transaction's, and that of the file.
TEST_F(ShareStoreTest, WhoLostAFileWritesNothingOfIt) {
  const model::JobId job = sharedJob(1);
  const auto late = worker(job);
  const auto held = late->take(1);
  const std::int64_t file = held.front();
  late->host.store.markStarted(held);
  const auto other = worker(job);
  const auto requireAllRefused = [&](const std::string& state) {
    SCOPED_TRACE(state);
    const model::ByteRange half{0, 500};
    EXPECT_EQ(refusalOf([&] { late->host.store.markStarted(held); }), Category::unavailable);
    EXPECT_EQ(refusalOf([&] { late->host.store.recordRanges(file, {&half, 1}, {.sum = 7}); }), Category::unavailable);
    EXPECT_EQ(refusalOf([&] { late->host.store.forgetRanges(file); }), Category::unavailable);
    EXPECT_EQ(refusalOf([&] { late->complete(held); }), Category::unavailable);
    EXPECT_EQ(refusalOf([&] {
                late->share.recordFailure(file, {Category::unavailable, "x"}, true);
              }),
              Category::unavailable);
    EXPECT_EQ(number("SELECT count(*) FROM file_range"), 0);
    EXPECT_EQ(number("SELECT count(*) FROM file WHERE state = '" + state + "' AND failures IS NULL"), 1);
  };
  freeze(*late);
  ASSERT_THAT(other->take(1), SizeIs(1));
  requireAllRefused("partial");
  revive(*late);
  requireAllRefused("partial");
  other->complete(held);
  requireAllRefused("downloaded");
}

TEST_F(ShareStoreTest, OnlyWhoHoldsAFileMayRecordIt) {
  const model::JobId job = sharedJob(1);
  const auto one = worker(job);
  const auto held = one->take(1);
  one->share.giveBack(held);
  EXPECT_EQ(refusalOf([&] { one->complete(held); }), Category::unavailable);
  one->take(1);
  one->complete(held);
  // The head looks at what is here, whoever brought it.
  const auto head = worker(job);
  const JobStore::Verified good{.file = held.front(), .records = 3};
  head->host.store.recordVerified({&good, 1});
  EXPECT_EQ(number("SELECT count(*) FROM file WHERE state = 'verified' AND records = 3"), 1);
}

TEST_F(ShareStoreTest, AFileThatCannotBeHadIsGivenUp) {
  const model::JobId job = sharedJob(2);
  const auto one = worker(job);
  const auto held = one->take(1);
  one->share.recordFailure(held.front(), {Category::unavailable, "no answer"}, true);
  EXPECT_EQ(one->share.left(job).free, 2U) << "another worker may have it";
  for (int tries = 0; tries < 2; ++tries) {
    ASSERT_THAT(one->take(2), testing::Contains(held.front()));
    one->share.recordFailure(held.front(), {Category::verification, "not what was listed"}, false);
  }
  const ShareStore::Left left = one->share.left(job);
  EXPECT_EQ(left.givenUp, 1U);
  EXPECT_EQ(left.failure->category(), Category::verification);
  EXPECT_STREQ(left.failure->what(), "not what was listed");
  EXPECT_THAT(one->take(2), IsEmpty());
  one->share.enter(job);
  EXPECT_EQ(one->share.left(job).givenUp, 0U) << "nobody else works on it: it is tried anew";
}

TEST_F(ShareStoreTest, FewerAtATimeNearTheEnd) {
  const model::JobId job = sharedJob(100);
  const auto one = worker(job);
  EXPECT_EQ(one->share.portion(job, 2).files, 16U);
  one->take(80);
  EXPECT_EQ(one->share.portion(job, 2).files, 5U);
  EXPECT_EQ(one->share.portion(job, 100).files, 1U);
}

TEST_F(ShareStoreTest, AllHearThatOneWasAskedToGoSlower) {
  const model::JobId job = sharedJob(1);
  const auto one = worker(job);
  const auto other = worker(job);
  EXPECT_FALSE(other->share.crew(job).throttled);
  one->share.recordThrottled(job);
  EXPECT_TRUE(other->share.crew(job).throttled);
  execute("UPDATE job SET throttled_at = throttled_at - 60000");
  EXPECT_FALSE(other->share.crew(job).throttled);
}

/// One large file, which the first of the workers divides.
class PiecesTest : public ShareStoreTest {
 protected:
  static constexpr std::uint64_t kBytes = 100U << 20U;
  static constexpr std::uint64_t kEnd = kBytes - (256U << 10U);

  void SetUp() override {
    job_ = sharedJob(1, "key", kBytes);
    one_ = worker(job_);
    other_ = worker(job_);
    const auto held = one_->take(1);
    ASSERT_THAT(held, SizeIs(1));
    file_ = held.front();
    ASSERT_TRUE(one_->share.split(file_, 2));
  }
  std::vector<std::int64_t> keysOf(const std::vector<ShareStore::Taken>& taken) const {
    std::vector<std::int64_t> keys;
    for (const ShareStore::Taken& piece : taken) {
      EXPECT_EQ(piece.file.id, file_);
      keys.push_back(piece.piece->key);
    }
    return keys;
  }
  std::vector<std::int64_t> takePieces(WorkingHost& host, std::size_t most) {
    return keysOf(host.share.takePieces(job_, most));
  }
  static void bring(WorkingHost& host, std::span<const std::int64_t> pieces, const std::string& etag = {}) {
    for (const std::int64_t piece : pieces) EXPECT_TRUE(host.share.recordPiece(piece, sha256Of('b'), {.etag = etag}));
  }
  void bringAll(WorkingHost& host) {
    for (auto held = takePieces(host, 100); !held.empty(); held = takePieces(host, 100)) bring(host, held);
  }

  model::JobId job_;
  std::int64_t file_ = 0;
  std::unique_ptr<WorkingHost> one_;
  std::unique_ptr<WorkingHost> other_;
};

TEST_F(PiecesTest, TheEndIsFetchedFirstThenTheRestThenTheEndAgain) {
  EXPECT_THAT(one_->take(1), IsEmpty());
  EXPECT_EQ(one_->share.portion(job_, 2).pieces, 1U);
  const auto end = one_->share.takePieces(job_, 10);
  ASSERT_THAT(end, SizeIs(1));
  EXPECT_EQ(end.front().piece->range, (model::ByteRange{kEnd, kBytes}));
  EXPECT_THAT(takePieces(*other_, 10), IsEmpty());
  EXPECT_EQ(other_->share.left(job_).free, 0U);
  EXPECT_EQ(other_->share.left(job_).held, 1U);
  bring(*one_, keysOf(end));
  EXPECT_EQ(other_->share.portion(job_, 2).pieces, 2U);
  const auto rest = other_->share.takePieces(job_, 10);
  std::vector<model::ByteRange> ranges;
  for (const ShareStore::Taken& piece : rest) ranges.push_back(piece.piece->range);
  std::ranges::sort(ranges, {}, &model::ByteRange::first);
  EXPECT_THAT(ranges, SizeIs(7)) << "none smaller than 16 MiB but the last";
  EXPECT_THAT(model::missing(ranges, kEnd), IsEmpty());
  EXPECT_THAT(takePieces(*one_, 10), IsEmpty());
  bring(*other_, keysOf(rest));
  const auto again = one_->share.takePieces(job_, 10);
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again.front().piece->range, (model::ByteRange{kEnd, kBytes}));
  EXPECT_THAT(other_->take(1), IsEmpty());
  bring(*one_, keysOf(again));
  const auto whole = other_->share.take(job_, 1);
  ASSERT_THAT(whole, SizeIs(1));
  const std::vector<ShareStore::Piece>& pieces = whole.front().pieces;
  ASSERT_THAT(pieces, SizeIs(9));
  EXPECT_EQ(pieces.front().range.first, 0U);
  EXPECT_EQ(pieces.front().worker, other_->host.leases.worker());
  EXPECT_EQ(pieces.front().sha256, sha256Of('b'));
  EXPECT_EQ(pieces.back().worker, one_->host.leases.worker());
  const model::ByteRange all{0, kBytes};
  other_->host.store.recordRanges(file_, {&all, 1}, {.sum = 7});
  EXPECT_EQ(number("SELECT count(*) FROM file_piece"), 9) << "until it bears its name they are needed";
  other_->complete(std::vector{file_});
  EXPECT_EQ(number("SELECT count(*) FROM file_piece"), 0);
  EXPECT_EQ(one_->share.left(job_).held, 0U);
}

TEST_F(PiecesTest, APieceOfAWorkerThatIsGoneIsTakenOver) {
  const auto end = takePieces(*one_, 1);
  freeze(*one_);
  EXPECT_EQ(other_->share.left(job_).free, 1U);
  const auto taken = other_->share.takePieces(job_, 1);
  ASSERT_THAT(keysOf(taken), end);
  EXPECT_EQ(taken.front().fence, other_->host.leases.worker());
  EXPECT_EQ(number("SELECT count(*) FROM event WHERE what = 'files_taken_over'"), 1);
  EXPECT_EQ(refusalOf([&] { one_->share.recordPiece(end.front(), sha256Of('c'), {}); }), Category::unavailable);
  revive(*one_);
  EXPECT_FALSE(one_->share.recordPiece(end.front(), sha256Of('c'), {}));
  one_->share.recordFailure(end.front(), {Category::protocol, "x"}, false);
  bring(*other_, end);
  EXPECT_EQ(number("SELECT count(*) FROM file_piece WHERE sha256 = '" + sha256Of('b') + "'"), 1);
}

TEST_F(PiecesTest, WhatIsGivenBackIsForAnybody) {
  bring(*one_, takePieces(*one_, 1));
  const auto held = takePieces(*one_, 2);
  ASSERT_THAT(held, SizeIs(2));
  bring(*one_, std::span(held).first(1));
  one_->share.giveBack(held);
  EXPECT_THAT(takePieces(*other_, 100), SizeIs(6)) << "one is there";
  EXPECT_EQ(other_->host.store.fetched(job_).bytes, (256U << 10U) + (16U << 20U));
}

TEST_F(PiecesTest, OneThatCannotBeHadOftenIsGivenUp) {
  for (int tries = 0; tries < 3; ++tries) {
    ASSERT_EQ(one_->share.left(job_).free, 1U);
    one_->share.recordFailure(takePieces(*one_, 1).front(), {Category::unavailable, "no answer"}, true);
  }
  EXPECT_THAT(takePieces(*one_, 1), IsEmpty());
  EXPECT_EQ(one_->share.left(job_).givenUp, 1U);
  one_->share.forgetFailures(job_);
  bring(*one_, takePieces(*one_, 1));
  EXPECT_THAT(takePieces(*one_, 1), SizeIs(1));
}

TEST_F(PiecesTest, SuccessBetweenFailuresCounts) {
  bring(*one_, takePieces(*one_, 1));
  for (int tries = 0; tries < 4; ++tries) {
    const auto held = takePieces(*one_, 2);
    ASSERT_THAT(held, SizeIs(2));
    one_->share.recordFailure(held.front(), {Category::unavailable, "no answer"}, true);
    bring(*one_, std::span(held).last(1));
  }
  EXPECT_EQ(one_->share.left(job_).givenUp, 0U);
}

TEST_F(PiecesTest, WhereTheyAreNotWhatTheyShouldBeOneWorkerFetchesTheFile) {
  bring(*one_, takePieces(*one_, 1));
  const auto mine = takePieces(*one_, 1);
  const auto others = takePieces(*other_, 1);
  one_->share.recordFailure(mine.front(), {Category::protocol, "no ranges"}, false);
  EXPECT_FALSE(other_->share.recordPiece(others.front(), sha256Of('b'), {})) << "nobody needs it any more";
  const auto whole = other_->share.take(job_, 1);
  ASSERT_THAT(whole, SizeIs(1));
  EXPECT_THAT(whole.front().pieces, IsEmpty());
  EXPECT_FALSE(other_->share.split(file_, 2));
  EXPECT_EQ(other_->take(1), std::vector<std::int64_t>()) << "it is still held";
}

TEST_F(PiecesTest, WhatDoesNotFitTogetherIsFetchedByOneWorker) {
  bringAll(*one_);
  ASSERT_THAT(one_->take(1), SizeIs(1));
  one_->share.recordFailure(file_, {Category::verification, "it was rewritten"}, false);
  EXPECT_EQ(number("SELECT count(*) FROM file_piece"), 0);
  const auto whole = other_->share.take(job_, 1);
  ASSERT_THAT(whole, SizeIs(1));
  EXPECT_FALSE(other_->share.split(file_, 2));
}

TEST_F(PiecesTest, ThoseOfAnEarlierRunAreKnown) {
  bring(*one_, takePieces(*one_, 1));
  other_->share.enter(job_);
  EXPECT_EQ(number("SELECT count(*) FROM file_piece WHERE earlier = 1"), 0) << "another is at work";
  freeze(*one_);
  other_->share.enter(job_);
  bringAll(*other_);
  const auto whole = other_->share.take(job_, 1);
  ASSERT_THAT(whole, SizeIs(1));
  EXPECT_EQ(std::ranges::count(whole.front().pieces, true, &ShareStore::Piece::earlier), 1);
}

TEST_F(ShareStoreTest, AFileIsDividedIfItIsMoreThanAShare) {
  const model::JobId job = sharedJob(4, "key", 80U << 20U);
  const auto one = worker(job);
  const auto held = one->take(2);
  EXPECT_FALSE(one->share.split(held.front(), 4)) << "a quarter each";
  EXPECT_TRUE(one->share.split(held.front(), 5));
  EXPECT_FALSE(one->share.split(held.back(), 1)) << "a second worker would have more than this file";
  EXPECT_EQ(refusalOf([&] { one->share.split(held.front(), 5); }), Category::unavailable) << "it is not held any more";
  EXPECT_EQ(number("SELECT count(*) FROM event WHERE what = 'file_divided'"), 1);
}

TEST_F(ShareStoreTest, AListedLengthThatChangedMakesPiecesWorthless) {
  const model::JobId job = sharedJob(1, "key", 80U << 20U);
  const auto one = worker(job);
  ASSERT_TRUE(one->share.split(one->take(1).front(), 2));
  one->host.store.beginListing(job, model::BatchId("b1"));
  const std::vector page{remoteFile("b1", "f0", "file-0", 90U << 20U)};
  one->host.store.addFiles(job, page);
  EXPECT_EQ(number("SELECT count(*) FROM file_piece"), 0);
}

/// What costs is the commit, which waits for the disk, and the way to the server.
TEST_F(ShareStoreTest, ACommitIsPaidForManyFilesAtOnce) {
  constexpr int kFiles = 1000;
  const model::JobId job = sharedJob(kFiles);
  const auto one = worker(job);
  const auto commits = [&] { return number("SELECT max(number) FROM receipt"); };
  // The connection beside has few of its own.
  const std::int64_t before = commits();
  int recorded = 0;
  for (auto held = one->take(16); !held.empty(); held = one->take(16)) {
    one->host.store.markStarted(held);
    one->complete(held);
    recorded += static_cast<int>(held.size());
  }
  EXPECT_EQ(recorded, kFiles);
  EXPECT_LE(commits() - before, 3 * (kFiles / 16 + 1) + 4);
}

/// The rate is printed: how fast a machine is, is no property of the program.
TEST_F(ShareStoreTest, ManyWorkersTakeAllThereIs) {
  constexpr int kFiles = 10000;
  constexpr int kWorkers = 4;
  const model::JobId job = sharedJob(kFiles);
  std::vector<std::vector<std::int64_t>> fetched(kWorkers);
  const auto begun = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (std::vector<std::int64_t>& mine : fetched) {
      threads.emplace_back([&] {
        WorkingHost one(location(), clock_, job);
        for (auto held = one.take(16); !held.empty(); held = one.take(16)) {
          one.complete(held);
          mine.insert(mine.end(), held.begin(), held.end());
        }
      });
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::multiset<std::int64_t> all;
  for (const std::vector<std::int64_t>& mine : fetched) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kFiles));
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
  EXPECT_EQ(number("SELECT count(*) FROM file WHERE state = 'downloaded'"), kFiles);
  std::cout << "taken and recorded by " << kWorkers << " workers: " << static_cast<int>(kFiles / took.count())
            << " files a second\n";
}

}  // namespace
}  // namespace caiexport::store
