// Small files from far away: what a worker will fetch next is told to the source before an answer is here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "caiexport/core/log.h"
#include "caiexport/transfer/downloader.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;
using ::testing::IsEmpty;
using testing::ItemList;
using testing::itemOf;
using testing::Ledger;
using testing::MemorySource;
using ::testing::SizeIs;

/// Keeps what each thread was told that it will fetch next, and sees to it that this comes true.
class AheadSource final : public ByteSource {
 public:
  explicit AheadSource(MemorySource::Behaviour behave = {}) : memory_(std::move(behave)) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
             std::stop_token stop) override {
    {
      const std::lock_guard lock(mutex_);
      alone_.push_back(file.name);
      keepPromise(file.name);
    }
    memory_.fetch(file, range, sink, std::move(stop));
  }

  void fetchOneOfMany(const model::RemoteFile& file, std::span<const model::RemoteFile* const> next,
                      model::ByteSink& sink, std::stop_token stop) override {
    {
      const std::lock_guard lock(mutex_);
      ofMany_.push_back(file.name);
      keepPromise(file.name);
      std::vector<std::string>& promised = promised_[std::this_thread::get_id()];
      for (std::size_t i = 0; i < promised.size(); ++i) {
        EXPECT_TRUE(i < next.size() && next[i]->name == promised[i]) << "another order";
      }
      promised.clear();
      for (const model::RemoteFile* one : next) promised.push_back(one->name);
      most_ = std::max(most_, next.size());
      told_.insert(promised.begin(), promised.end());
    }
    memory_.fetch(file, {0, file.lengthBytes}, sink, std::move(stop));
  }

  void prepareForMany(unsigned connections) override { prepared_ = connections; }

  unsigned prepared() const { return prepared_; }
  std::vector<std::string> alone() const { return alone_; }
  std::vector<std::string> ofMany() const { return ofMany_; }
  std::set<std::string> told() const { return told_; }
  std::size_t most() const { return most_; }

 private:
  void keepPromise(const std::string& name) {
    std::vector<std::string>& promised = promised_[std::this_thread::get_id()];
    if (promised.empty()) return;
    EXPECT_EQ(promised.front(), name);
    promised.erase(promised.begin());
  }

  MemorySource memory_;
  std::mutex mutex_;
  std::map<std::thread::id, std::vector<std::string>> promised_;
  std::vector<std::string> alone_;
  std::vector<std::string> ofMany_;
  std::set<std::string> told_;
  std::size_t most_ = 0;
  unsigned prepared_ = 0;
};

/// The platform answers after so long.
class FeedFrom final : public ItemFeed {
 public:
  FeedFrom(std::vector<DownloadItem> items, milliseconds away) : list_(std::move(items)), away_(away) {}
  std::optional<DownloadItem> next() override { return list_.next(); }
  std::optional<std::chrono::nanoseconds> latency() const override { return away_; }
  std::optional<std::uint64_t> bytesAFile() const override { return expected; }

  std::optional<std::uint64_t> expected = {};

 private:
  ItemList list_;
  milliseconds away_;
};

class AheadTest : public ::testing::Test {
 protected:
  AheadTest() { settings_.connections = 4; }

  DownloadSummary run(AheadSource& source, std::uint64_t lengthBytes, milliseconds away = milliseconds(50)) {
    std::vector<DownloadItem> items;
    for (int i = 0; i < 100; ++i) items.push_back(itemOf(i, lengthBytes, folder_ / "out"));
    FeedFrom feed(std::move(items), away);
    feed.expected = expected_;
    Downloader downloader(source, files_, clock_, random_, core::nullLog(), settings_);
    return downloader.run(feed, ledger_, progress_, {});
  }

  support::TempDirectory folder_;
  testing::UnsyncedFileSystem files_;
  support::FakeClock clock_;
  support::FixedRandom random_;
  DownloadSettings settings_;
  Ledger ledger_;
  DownloadProgress progress_;
  std::optional<std::uint64_t> expected_ = {};  ///< What is said of the files before they are listed.
};

TEST_F(AheadTest, SmallFilesFromFarAwayAreToldBeforehand) {
  AheadSource source;
  EXPECT_EQ(run(source, 4000).completed, 100U);
  EXPECT_THAT(source.ofMany(), SizeIs(100));
  EXPECT_THAT(source.alone(), IsEmpty());
  EXPECT_EQ(source.most(), 5U);
  // At the end each connection takes one, so that all are busy.
  EXPECT_GT(source.told().size(), 50U);
  EXPECT_LT(source.told().size(), 97U);
}

TEST_F(AheadTest, ConnectionsAreOpenedWhileSuchFilesAreListed) {
  AheadSource unknown;
  run(unknown, 4000);
  EXPECT_EQ(unknown.prepared(), 0U);
  expected_ = 4000;
  AheadSource near;
  run(near, 4000, milliseconds(1));
  EXPECT_EQ(near.prepared(), 0U);
  AheadSource far;
  run(far, 4000);
  EXPECT_EQ(far.prepared(), 4U);
  settings_.connections.reset();
  AheadSource adapting;
  run(adapting, 4000);
  EXPECT_EQ(adapting.prepared(), 32U);
  expected_ = 1U << 20U;
  AheadSource large;
  run(large, 4000);
  EXPECT_EQ(large.prepared(), 0U);
}

TEST_F(AheadTest, WhatIsNearIsFetchedOneByOne) {
  AheadSource source;
  EXPECT_EQ(run(source, 4000, milliseconds(1)).completed, 100U);
  EXPECT_THAT(source.alone(), SizeIs(100));
}

TEST_F(AheadTest, SoIsWhatIsLarge) {
  AheadSource source;
  EXPECT_EQ(run(source, (128U << 10U) + 1).completed, 100U);
  EXPECT_THAT(source.ofMany(), IsEmpty());
}

TEST_F(AheadTest, SoIsWhatIsSlowOnPurpose) {
  settings_.mostBytesPerSecond = 100U << 20U;
  AheadSource source;
  EXPECT_EQ(run(source, 4000).completed, 100U);
  EXPECT_THAT(source.ofMany(), IsEmpty());
}

TEST_F(AheadTest, AfterARefusalOnlyWhatWasToldAlreadyIsFetchedSo) {
  std::atomic<int> calls = 0;
  AheadSource source([&](const testing::Call&, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (++calls == 1) throw core::TransientError("too many requests", {.throttled = true});
    return false;
  });
  EXPECT_EQ(run(source, 4000).completed, 100U);
  EXPECT_GE(source.alone().size(), 60U);
}

TEST_F(AheadTest, AFailureTakesNothingElseAway) {
  AheadSource source(
      [](const testing::Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
        if (call.name == "f5") throw core::Error(core::Category::notFound, "gone");
        return false;
      });
  const DownloadSummary summary = run(source, 4000);
  EXPECT_EQ(summary.completed, 99U);
  EXPECT_EQ(summary.failed, 1U);
}

}  // namespace
}  // namespace caiexport::transfer
