#include "caiexport/transfer/downloader.h"
#include "caiexport/core/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <latch>

#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"
#include "transfer/part_file.h"

namespace caiexport::transfer {
namespace {

namespace fs = std::filesystem;

using model::ByteRange;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::bytesOf;
using testing::Call;
using testing::contentOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ItemList;
using testing::itemOf;
using testing::Ledger;
using testing::MemorySource;
using ::testing::Not;
using testing::readAll;
using testing::writeAll;
using Ranges = std::vector<ByteRange>;

constexpr std::uint64_t kRange = 1000;

core::TransientError connectionBroke(bool throttled = false, std::optional<milliseconds> retryAfter = {}) {
  return {"the connection broke", {.retryAfter = retryAfter, .throttled = throttled}};
}

class DownloaderTest : public ::testing::Test {
 protected:
  DownloaderTest() {
    settings_.connections = 3;
    settings_.rangeBytes = kRange;
    settings_.tailBytes = 0;
  }

  DownloadSummary run(ByteSource& source, std::vector<DownloadItem> items) {
    ItemList list(std::move(items));
    return run(source, list);
  }

  DownloadSummary run(ByteSource& source, ItemFeed& feed) {
    Downloader downloader(source, files_, clock_, random_, core::nullLog(), settings_);
    return downloader.run(feed, ledger_, progress_, stop_.get_token());
  }

  DownloadItem item(std::int64_t key, std::uint64_t lengthBytes) const {
    return itemOf(key, lengthBytes, folder_ / "out");
  }

  void expectComplete(const DownloadItem& item) {
    const std::string content = contentOf(item.remote.name, item.remote.lengthBytes);
    ASSERT_TRUE(ledger_.completions.contains(item.key)) << item.key;
    EXPECT_EQ(readAll(item.target), content) << item.key;
    EXPECT_EQ(ledger_.completions.at(item.key).sha256, sha256OfFile(item.target, {})) << item.key;
    EXPECT_FALSE(fs::exists(item.target.string() + ".part")) << item.key;
  }

  support::TempDirectory folder_;
  testing::UnsyncedFileSystem disk_;
  support::RecordingFileSystem files_{disk_};
  support::FakeClock clock_;
  support::FixedRandom random_;
  DownloadSettings settings_;
  Ledger ledger_;
  DownloadProgress progress_;
  std::stop_source stop_;
};

TEST_F(DownloaderTest, BringsFilesOfAllSizes) {
  MemorySource source;
  std::vector<DownloadItem> items;
  std::uint64_t total = 0;
  for (const std::uint64_t length : {0U, 1U, 999U, 1000U, 1001U, 1500U, 1501U, 2000U, 10'000U, 54'321U}) {
    items.push_back(item(static_cast<std::int64_t>(items.size()), length));
    total += length;
  }
  const DownloadSummary summary = run(source, items);
  for (const DownloadItem& each : items) expectComplete(each);
  EXPECT_EQ(summary.completed, items.size());
  EXPECT_EQ(summary.failed, 0U);
  EXPECT_EQ(summary.bytes, total);
  EXPECT_EQ(progress_.bytes, total);
  EXPECT_EQ(progress_.filesCompleted, items.size());
  EXPECT_EQ(progress_.connections, 0U);
  EXPECT_EQ(source.bytesSent(), total);
  EXPECT_LE(source.mostAtOnce(), 3U);
  EXPECT_FALSE(ledger_.sawOtherThreads());
}

TEST_F(DownloaderTest, NoItemsIsNoError) {
  MemorySource source;
  EXPECT_EQ(run(source, std::vector<DownloadItem>{}).completed, 0U);
}

TEST_F(DownloaderTest, AnswersOfAFewBytesUseUpTheTries) {
  settings_.connections = 1;
  for (const bool breaks : {false, true}) {
    SCOPED_TRACE(breaks);
    ledger_ = Ledger();
    MemorySource source([&](const Call& call, const std::string& content, model::ByteSink& sink, std::stop_token) {
      sink.begin(call.range.first, content.size());
      sink.write(bytesOf(content, call.range.first, call.range.first + 1));
      if (breaks) throw connectionBroke();
      return true;
    });
    EXPECT_EQ(run(source, {item(1, 10'000)}).failed, 1U);
    EXPECT_LT(source.calls().size(), 61U);
  }
}

TEST_F(DownloaderTest, AnEmptyFileNeedsNoFetch) {
  MemorySource source;
  run(source, {item(1, 0)});
  EXPECT_TRUE(source.calls().empty());
  EXPECT_EQ(fs::file_size(item(1, 0).target), 0U);
  EXPECT_EQ(ledger_.completions.at(1).sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_F(DownloaderTest, SmallFilesGoInOneRequestAndLargeOnesInRanges) {
  settings_.connections = 1;
  MemorySource source;
  run(source, {item(1, 1500), item(2, 3200)});
  std::vector<ByteRange> small;
  std::vector<ByteRange> large;
  for (const Call& call : source.calls()) (call.name == "f1" ? small : large).push_back(call.range);
  EXPECT_THAT(small, ElementsAre(ByteRange{0, 1500}));
  EXPECT_THAT(large, ElementsAre(ByteRange{0, 1000}, ByteRange{1000, 2000}, ByteRange{2000, 3200}));
}

// The crash order: https://man7.org/linux/man-pages/man2/fsync.2.html (a new name needs its folder synced).
TEST_F(DownloaderTest, SyncsBeforeItRenamesAndTheFolderAfterwards) {
  settings_.connections = 1;
  std::vector<std::string> order;
  ledger_.before = [&](const std::string& call) {
    order = files_.calls();
    order.push_back(call);
  };
  MemorySource source({}, 1000);
  run(source, {item(1, 1000)});
  EXPECT_THAT(order, ElementsAre("createDirectories out", "open f1.part", "write f1.part 0+1000", "sync f1.part",
                                 "rename f1.part f1", "syncDirectory out", "completed 1"));
}

TEST_F(DownloaderTest, AFileOfSeveralRangesIsRenamedOnlyAfterTheRecord) {
  settings_.connections = 1;
  std::size_t callsAtRecord = 0;
  ledger_.before = [&](const std::string& call) {
    if (call == "ranges 1") callsAtRecord = files_.calls().size();
  };
  MemorySource source({}, 1000);
  run(source, {item(1, 3000)});
  EXPECT_EQ(ledger_.done.at(1), (Ranges{{0, 3000}}));
  const std::vector<std::string> calls = files_.calls();
  EXPECT_THAT(calls, ElementsAre("createDirectories out", "open f1.part", "resize f1.part 3000", "write f1.part 0+1000",
                                 "write f1.part 1000+1000", "write f1.part 2000+1000", "sync f1.part",
                                 "rename f1.part f1", "syncDirectory out"));
  EXPECT_EQ(callsAtRecord, 7U);
  EXPECT_THAT(ledger_.calls, ElementsAre("ranges 1", "completed 1"));
}

TEST_F(DownloaderTest, RecordsALargeFileWhileItArrives) {
  settings_.connections = 1;
  settings_.recordEveryBytes = 4000;
  bool recorded = false;
  std::mutex mutex;
  std::condition_variable changed;
  ledger_.before = [&](const std::string&) {
    const std::lock_guard lock(mutex);
    recorded = true;
    changed.notify_all();
  };
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (call.range.first < 8000) return false;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return recorded; });
    return false;
  });
  run(source, {item(1, 20'000)});
  expectComplete(item(1, 20'000));
  EXPECT_GE(ledger_.calls.size(), 3U);
}

TEST_F(DownloaderTest, GoesOnWhereAnEarlierRunEnded) {
  DownloadItem resumed = item(1, 10'000);
  std::string onDisk = contentOf("f1", 10'000).substr(0, 6000);
  // Not recorded, so not to be trusted.
  onDisk.replace(2000, 1000, std::string(1000, '?'));
  fs::create_directories(folder_ / "out");
  writeAll(resumed.target.string() + ".part", onDisk);
  resumed.done = {{0, 2000}, {3000, 6000}};
  MemorySource source;
  run(source, {resumed});
  expectComplete(resumed);
  EXPECT_EQ(source.bytesSent(), 5000U);
}

TEST_F(DownloaderTest, RenamesAPartThatIsComplete) {
  DownloadItem resumed = item(1, 10'000);
  fs::create_directories(folder_ / "out");
  writeAll(resumed.target.string() + ".part", contentOf("f1", 10'000));
  resumed.done = {{0, 10'000}};
  MemorySource source;
  run(source, {resumed});
  expectComplete(resumed);
  EXPECT_TRUE(source.calls().empty());
}

TEST_F(DownloaderTest, TakesAFileThatWasRenamedButNotRecorded) {
  DownloadItem resumed = item(1, 10'000);
  fs::create_directories(folder_ / "out");
  writeAll(resumed.target, contentOf("f1", 10'000));
  resumed.done = {{0, 10'000}};
  resumed.part.sum = contentSum(0, std::as_bytes(std::span<const char>(contentOf("f1", 10'000))));
  MemorySource source;
  run(source, {resumed});
  expectComplete(resumed);
  EXPECT_TRUE(source.calls().empty());
  // The crash may have come before the folder was synced.
  EXPECT_THAT(files_.calls(), ElementsAre("syncDirectory out"));
}

TEST_F(DownloaderTest, StartsAgainWhenThePartIsGoneOrShorter) {
  DownloadItem gone = item(1, 5000);
  gone.done = {{0, 4000}};
  DownloadItem shorter = item(2, 5000);
  fs::create_directories(folder_ / "out");
  writeAll(shorter.target.string() + ".part", std::string(3999, 'x'));
  shorter.done = {{0, 4000}};
  ledger_.done = {{1, gone.done}, {2, shorter.done}};
  std::vector<std::string> openedBefore;
  ledger_.before = [&](const std::string& call) {
    if (!call.starts_with("restarted")) return;
    const std::string name = "open f" + call.substr(10) + ".part";
    for (const std::string& each : files_.calls()) {
      if (each == name) openedBefore.push_back(each);
    }
  };
  MemorySource source;
  run(source, {gone, shorter});
  expectComplete(gone);
  expectComplete(shorter);
  EXPECT_EQ(source.bytesSent(), 10'000U);
  EXPECT_EQ(std::count(ledger_.calls.begin(), ledger_.calls.end(), "restarted 1"), 1);
  EXPECT_EQ(std::count(ledger_.calls.begin(), ledger_.calls.end(), "restarted 2"), 1);
  // A record of bytes that are not there must not meet a new, longer part file.
  EXPECT_TRUE(openedBefore.empty());
}

TEST_F(DownloaderTest, KeepsAFileWithTheKnownHash) {
  DownloadItem known = item(1, 3000);
  DownloadItem changed = item(2, 3000);
  fs::create_directories(folder_ / "out");
  writeAll(known.target, contentOf("f1", 3000));
  known.existingSha256 = sha256OfFile(known.target, {});
  writeAll(changed.target, std::string(3000, 'x'));
  changed.existingSha256 = std::string(64, '0');
  MemorySource source;
  run(source, {known, changed});
  expectComplete(known);
  expectComplete(changed);
  EXPECT_FALSE(ledger_.completions.at(1).transferred);
  EXPECT_TRUE(ledger_.completions.at(2).transferred);
  EXPECT_EQ(source.bytesSent(), 3000U);
}

TEST_F(DownloaderTest, OverwritesALeftoverPart) {
  const DownloadItem fresh = item(1, 1200);
  fs::create_directories(folder_ / "out");
  writeAll(fresh.target.string() + ".part", std::string(9000, 'x'));
  MemorySource source;
  run(source, {fresh});
  expectComplete(fresh);
}

TEST_F(DownloaderTest, DoesNotFollowALinkInTheOutputFolder) {
  const DownloadItem fresh = item(1, 1200);
  fs::create_directories(folder_ / "out");
  writeAll(folder_ / "precious", "precious");
  fs::create_symlink(folder_ / "precious", fresh.target.string() + ".part");
  MemorySource source;
  EXPECT_THROW(run(source, {fresh}), core::Error);
  EXPECT_EQ(readAll(folder_ / "precious"), "precious");
}

// What the source does wrong.

TEST_F(DownloaderTest, RepeatsWithGrowingWaits) {
  settings_.connections = 1;
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.number <= 5) throw connectionBroke();
    return false;
  });
  const DownloadSummary summary = run(source, {item(1, 800)});
  expectComplete(item(1, 800));
  EXPECT_EQ(summary.failed, 0U);
  EXPECT_EQ(progress_.retries, 5U);
  EXPECT_THAT(clock_.sleeps(), ElementsAre(milliseconds(500), seconds(1), seconds(2), seconds(4), seconds(8)));
}

TEST_F(DownloaderTest, ObeysTheWishOfTheServer) {
  settings_.connections = 1;
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.number == 1) throw connectionBroke(true, seconds(7));
    if (call.number == 2) throw connectionBroke(true, std::chrono::hours(3));
    return false;
  });
  run(source, {item(1, 800)});
  expectComplete(item(1, 800));
  EXPECT_THAT(clock_.sleeps(), ElementsAre(seconds(7), std::chrono::minutes(5)));
}

TEST_F(DownloaderTest, ArrivedBytesResetTheCountOfTries) {
  settings_.connections = 1;
  // A byte hundred at a time, then nothing twice, over and over.
  MemorySource source(
      [](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) -> bool {
        if (call.number % 3 == 1) {
          sink.begin(call.range.first, content.size());
          sink.write(bytesOf(content, call.range.first, std::min(call.range.end, call.range.first + 100)));
        }
        throw connectionBroke();
      });
  run(source, {item(1, 800)});
  expectComplete(item(1, 800));
  for (const auto& sleep : clock_.sleeps()) EXPECT_LE(sleep, seconds(2));
  // Nothing that arrived is asked for again.
  EXPECT_EQ(source.calls().back().range, (ByteRange{700, 800}));
}

TEST_F(DownloaderTest, AWaitDoesNotHoldUpOtherRanges) {
  settings_.connections = 1;
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.number == 1) throw connectionBroke();
    return false;
  });
  run(source, {item(1, 800), item(2, 800)});
  const auto calls = source.calls();
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[1].name, "f2");
  EXPECT_EQ(calls[2].name, "f1");
}

TEST_F(DownloaderTest, AFileThatCantBeHadDoesNotStopTheOthers) {
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.name == "f2") throw core::Error(core::Category::notFound, "no such file", {.requestId = "r-1"});
    if (call.name == "f4") throw connectionBroke();
    return false;
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 10; ++key) items.push_back(item(key, 700));
  const DownloadSummary summary = run(source, items);
  EXPECT_EQ(summary.completed, 8U);
  EXPECT_EQ(summary.failed, 2U);
  ASSERT_TRUE(summary.firstError);
  EXPECT_EQ(ledger_.failures.at(2).category(), core::Category::notFound);
  EXPECT_EQ(ledger_.failures.at(2).requestId(), "r-1");
  EXPECT_EQ(ledger_.failures.at(4).category(), core::Category::unavailable);
  EXPECT_THAT(ledger_.failures.at(4).what(), HasSubstr("after 6 tries"));
  EXPECT_EQ(progress_.filesFailed, 2U);
}

TEST_F(DownloaderTest, WhatArrivedOfAFailedFileIsKeptForTheNextRun) {
  settings_.connections = 1;
  MemorySource broken([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.range.first >= 2000) throw connectionBroke();
    return false;
  });
  DownloadItem resumed = item(1, 5000);
  EXPECT_EQ(run(broken, {resumed}).failed, 1U);
  EXPECT_THAT(ledger_.calls, ElementsAre("ranges 1", "failed 1"));
  resumed.done = ledger_.done.at(1);
  EXPECT_EQ(resumed.done, (Ranges{{0, 2000}}));
  MemorySource source;
  run(source, {resumed});
  expectComplete(resumed);
  EXPECT_EQ(source.bytesSent(), 3000U);
}

TEST_F(DownloaderTest, GivesUpSoonOnADeadServer) {
  settings_.connections = 4;
  MemorySource source([](const Call&, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    throw connectionBroke();
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 5000; ++key) items.push_back(item(key, 700));
  const DownloadSummary summary = run(source, items);
  EXPECT_GT(summary.failed, 0U);
  EXPECT_EQ(summary.completed, 0U);
  ASSERT_TRUE(summary.firstError);
  EXPECT_EQ(summary.firstError->category(), core::Category::unavailable);
  EXPECT_TRUE(summary.gaveUp);
  EXPECT_LE(source.calls().size(), 200U);
}

TEST_F(DownloaderTest, AServerThatComesBackIsNotGivenUp) {
  settings_.connections = 4;
  std::mutex mutex;
  std::map<std::string, int> tries;
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    const std::lock_guard lock(mutex);
    if (tries.size() <= 8 && ++tries[call.name] <= 5) throw connectionBroke();
    return false;
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 100; ++key) items.push_back(item(key, 700));
  EXPECT_EQ(run(source, items).completed, 100U);
}

TEST_F(DownloaderTest, WithoutFurtherTriesOneBadFileFailsAlone) {
  settings_.connections = 1;
  settings_.retry.furtherTries = 0;
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.name == "f1") throw connectionBroke();
    return false;
  });
  const DownloadSummary summary = run(source, {item(1, 700), item(2, 700)});
  EXPECT_EQ(summary.failed, 1U);
  EXPECT_EQ(summary.completed, 1U);
  EXPECT_TRUE(clock_.sleeps().empty());
}

TEST_F(DownloaderTest, ASourceThatIgnoresRangesIsUsedFromWhereItOverlaps) {
  MemorySource* self = nullptr;
  MemorySource source(
      [&](const Call&, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
        sink.begin(0, content.size());
        self->send(content, {0, content.size()}, sink);
        return true;
      },
      10'000);
  self = &source;
  settings_.rangeBytes = 100'000;
  const DownloadItem large = item(1, 1'000'000);
  run(source, {large});
  expectComplete(large);
  // Once that is known the rest comes in one piece.
  EXPECT_LE(source.calls().size(), 2U * 3U);
}

TEST_F(DownloaderTest, UsesWhatIsOfUseOfOtherRanges) {
  settings_.connections = 2;
  MemorySource* self = nullptr;
  MemorySource source([&](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    // Shorter, earlier, later than asked, and what was asked.
    ByteRange range = call.range;
    if (call.number % 4 == 1) range.end -= std::min<std::uint64_t>(range.sizeBytes() - 1, 300);
    if (call.number % 4 == 2) range.first -= std::min<std::uint64_t>(range.first, 450);
    if (call.number % 4 == 3) range.first += std::min<std::uint64_t>(range.sizeBytes() - 1, 200);
    sink.begin(range.first, content.size());
    self->send(content, range, sink);
    return true;
  });
  self = &source;
  const DownloadItem large = item(1, 30'000);
  run(source, {large});
  expectComplete(large);
}

TEST_F(DownloaderTest, AnswersThatBringNothingAreFailedTries) {
  settings_.connections = 1;
  MemorySource source([](const Call&, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    sink.begin(0, content.size());
    return true;
  });
  EXPECT_EQ(run(source, {item(1, 800)}).failed, 1U);
  EXPECT_EQ(source.calls().size(), 6U);
  EXPECT_THAT(ledger_.failures.at(1).what(), HasSubstr("none of the bytes 0-800"));
}

TEST_F(DownloaderTest, AFileOfAnotherLengthFailsAndLeavesNothing) {
  MemorySource source([](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    if (call.range.first < 2000) return false;
    sink.begin(call.range.first, content.size() + 5);
    return true;
  });
  const DownloadItem changed = item(1, 5000);
  EXPECT_EQ(run(source, {changed, item(2, 100)}).failed, 1U);
  EXPECT_EQ(ledger_.failures.at(1).category(), core::Category::verification);
  EXPECT_FALSE(fs::exists(changed.target.string() + ".part"));
  expectComplete(item(2, 100));
}

TEST_F(DownloaderTest, AMissingPermissionEndsTheRunAndKeepsWhatCame) {
  settings_.connections = 1;
  MemorySource source([](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    if (call.number == 3) throw core::Error(core::Category::auth, "the token is not accepted");
    return false;
  });
  try {
    run(source, {item(1, 5000), item(2, 5000)});
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::auth);
  }
  EXPECT_EQ(source.calls().size(), 3U);
  EXPECT_EQ(ledger_.done.at(1), (Ranges{{0, 2000}}));
}

TEST_F(DownloaderTest, ThrottlingLowersTheNumberOfConnections) {
  settings_.connections = 8;
  std::mutex mutex;
  std::latch allBusy(8);
  std::map<std::thread::id, int> callsAfterwards;
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (call.number <= 8) allBusy.arrive_and_wait();
    if (call.number <= 4) throw connectionBroke(true, milliseconds(1));
    if (progress_.retries < 4) return false;
    const std::lock_guard lock(mutex);
    ++callsAfterwards[std::this_thread::get_id()];
    return false;
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 300; ++key) items.push_back(item(key, 700));
  EXPECT_EQ(run(source, items).completed, 300U);
  // A call may have been on its way when the number was lowered.
  const auto busy =
      std::count_if(callsAfterwards.begin(), callsAfterwards.end(), [](const auto& each) { return each.second > 1; });
  EXPECT_LE(busy, 4);
  EXPECT_GE(busy, 1);
}

/// Remembers to how many connections the run went down.
class FewerConnections final : public core::Log {
 public:
  bool wants(core::LogLevel /*level*/) const override { return true; }
  void write(core::LogLevel /*level*/, std::string_view event, std::initializer_list<Field> fields) override {
    const std::lock_guard lock(mutex_);
    if (event == "too_few_descriptors") seen_.push_back(fields.begin()->second.text());
  }
  std::vector<std::string> seen() const { return seen_; }

 private:
  std::mutex mutex_;
  std::vector<std::string> seen_;
};

TEST_F(DownloaderTest, TooFewDescriptorsLowerTheNumberOfConnections) {
  settings_.connections = 8;
  std::atomic<int> calls = 0;
  MemorySource source([&](const Call&, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (++calls <= 5) throw core::TooFewDescriptors("cannot connect: Too many open files");
    return false;
  });
  FewerConnections log;
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 300; ++key) items.push_back(item(key, 700));
  ItemList list(std::move(items));
  Downloader downloader(source, files_, clock_, random_, log, settings_);
  EXPECT_EQ(downloader.run(list, ledger_, progress_, stop_.get_token()).completed, 300U);
  EXPECT_THAT(log.seen(), ElementsAre("4", "2", "1", "1", "1"));
}

TEST_F(DownloaderTest, WithoutADescriptorForOneConnectionTheRunEnds) {
  settings_.connections = 4;
  MemorySource source([&](const Call&, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    throw core::TooFewDescriptors("cannot connect: Too many open files");
  });
  try {
    run(source, {item(1, 700), item(2, 700)});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
    EXPECT_NE(error.hint().find("ulimit -n"), std::string::npos);
  }
}

TEST(Descriptors, AreSharedByConnectionsAndFiles) {
  for (std::uint64_t left : {0U, 10U, 15U, 20U, 30U, 60U, 200U, 400U, 4000U}) {
    const DownloadSettings settings = within(left, {});
    const std::uint64_t connections = mostConnections(settings);
    EXPECT_GE(connections, 1U) << left;
    EXPECT_GE(settings.mostOpenFiles, 1U) << left;
    if (left >= 20) {
      EXPECT_LE(3 * connections + settings.mostOpenFiles + 14, left);
    }
  }
  EXPECT_EQ(mostConnections(within(4000, {})), 64U);
  EXPECT_EQ(mostConnections(within(4000, {.connections = 32})), 32U);
  EXPECT_EQ(mostConnections(within(30, {.connections = 32})), 3U);
}

TEST_F(DownloaderTest, KeepsToTheRate) {
  settings_.connections = 4;
  settings_.mostBytesPerSecond = 100'000;
  MemorySource source;
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 20; ++key) items.push_back(item(key, 50'000));
  const auto begun = clock_.steadyNow();
  run(source, items);
  const double passed = std::chrono::duration<double>(clock_.steadyNow() - begun).count();
  EXPECT_GE(passed, 10 * 0.95);
}

TEST_F(DownloaderTest, NoConnectionRunsAheadOfTheRate) {
  constexpr double kRate = 1'000'000;
  settings_.connections = 8;
  settings_.mostBytesPerSecond = static_cast<std::uint64_t>(kRate);
  settings_.rangeBytes = 8U << 20U;
  const auto begun = clock_.steadyNow();
  std::mutex mutex;
  std::uint64_t sent = 0;
  double mostAhead = 0;
  MemorySource source([&](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    sink.begin(call.range.first, content.size());
    for (std::uint64_t at = call.range.first; at < call.range.end;) {
      const std::uint64_t end = at + sink.room(std::min<std::uint64_t>(call.range.end - at, 256U << 10U));
      {
        const std::lock_guard lock(mutex);
        sent += end - at;
        const std::chrono::duration<double> passed = clock_.steadyNow() - begun;
        mostAhead = std::max(mostAhead, static_cast<double>(sent) - passed.count() * kRate);
      }
      sink.write(bytesOf(content, at, end));
      at = end;
    }
    return true;
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 10; ++key) items.push_back(item(key, 1'000'000));
  EXPECT_EQ(run(source, items).completed, 10U);
  // Paid to the nanosecond, but slept for in milliseconds.
  EXPECT_LE(mostAhead, kRate * 0.05) << "less than half a second's worth in ten seconds";
}

TEST_F(DownloaderTest, ALowRateNeedsFewConnections) {
  settings_.connections.reset();
  settings_.mostBytesPerSecond = 1U << 20U;
  EXPECT_EQ(mostConnections(settings_), 4U);
  MemorySource source;
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 20; ++key) items.push_back(item(key, 5'000));
  EXPECT_EQ(run(source, items).completed, 20U);
  EXPECT_LE(source.mostAtOnce(), 4U);
  settings_.connections = 16;
  EXPECT_EQ(mostConnections(settings_), 16U);
}

// Ends before the end.

TEST_F(DownloaderTest, AStopKeepsWhatArrived) {
  settings_.connections = 2;
  MemorySource source(
      [&](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) -> bool {
        if (call.number < 4) return false;
        sink.begin(call.range.first, content.size());
        sink.write(bytesOf(content, call.range.first, call.range.first + 10));
        stop_.request_stop();
        throw core::Interrupted();
      });
  std::vector<DownloadItem> items{item(1, 900), item(2, 20'000), item(3, 20'000)};
  EXPECT_THROW(run(source, items), core::Interrupted);
  EXPECT_FALSE(ledger_.sawOtherThreads());

  std::uint64_t kept = 0;
  for (DownloadItem& each : items) {
    each.done = ledger_.done[each.key];
    for (const ByteRange& range : each.done) kept += range.sizeBytes();
    if (ledger_.completions.contains(each.key)) kept += each.remote.lengthBytes;
  }
  EXPECT_EQ(kept, progress_.bytes);
  std::erase_if(items, [&](const DownloadItem& each) { return ledger_.completions.contains(each.key); });
  stop_ = std::stop_source();
  MemorySource again;
  run(again, items);
  for (const DownloadItem& each : items) expectComplete(each);
  EXPECT_EQ(again.bytesSent() + kept, 40'900U);
}

TEST_F(DownloaderTest, AStopEndsAWaitAtOnce) {
  settings_.connections = 1;
  MemorySource source([](const Call&, const std::string&, model::ByteSink&, const std::stop_token&) -> bool {
    throw connectionBroke();
  });
  clock_.stopAtSleep(2, stop_);
  EXPECT_THROW(run(source, {item(1, 900)}), core::Interrupted);
  EXPECT_EQ(clock_.sleeps().size(), 2U);
  EXPECT_EQ(source.calls().size(), 2U);
}

TEST_F(DownloaderTest, AStopReachesSourcesThatWait) {
  settings_.connections = 4;
  std::latch allWait(4);
  MemorySource source([&](const Call&, const std::string&, model::ByteSink&, const std::stop_token& stop) -> bool {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    allWait.count_down();
    changed.wait(lock, stop, [] { return false; });
    throw core::Interrupted();
  });
  const std::jthread stopper([&] {
    allWait.wait();
    stop_.request_stop();
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 8; ++key) items.push_back(item(key, 900));
  EXPECT_THROW(run(source, items), core::Interrupted);
}

TEST_F(DownloaderTest, AFullDiskEndsTheRunResumably) {
  settings_.connections = 1;
  files_.failAtCall(6, [] { throw core::Error(core::Category::io, "cannot write: no space left on device"); });
  MemorySource source({}, 1000);
  DownloadItem large = item(1, 10'000);
  try {
    run(source, {large});
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
    EXPECT_THAT(error.what(), HasSubstr("no space"));
  }
  large.done = ledger_.done.at(1);
  EXPECT_EQ(large.done, (Ranges{{0, 2000}}));
  MemorySource again;
  run(again, {large});
  expectComplete(large);
  EXPECT_EQ(again.bytesSent(), 8000U);
}

TEST_F(DownloaderTest, AFullDiskCountsWhateverTheSourceMakesOfIt) {
  settings_.connections = 1;
  files_.failAtCall(4, [] { throw core::Error(core::Category::io, "cannot write: no space left on device"); });
  MemorySource* self = nullptr;
  MemorySource source([&](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    try {
      sink.begin(call.range.first, content.size());
      self->send(content, call.range, sink);
    } catch (const std::exception&) {
      throw connectionBroke();
    }
    return true;
  });
  self = &source;
  try {
    run(source, {item(1, 10'000)});
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
  }
}

TEST_F(DownloaderTest, WhatTheObserverThrowsEndsTheRun) {
  ledger_.before = [](const std::string&) { throw core::Error(core::Category::io, "the database is full"); };
  MemorySource source;
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 50; ++key) items.push_back(item(key, 900));
  EXPECT_THROW(run(source, items), core::Error);
  EXPECT_EQ(ledger_.calls.size(), 1U);
}

TEST_F(DownloaderTest, WhatTheListingThrowsEndsTheRun) {
  MemorySource source;
  int asked = 0;
  ItemList list([&]() -> std::optional<DownloadItem> {
    if (++asked == 3) throw core::Error(core::Category::protocol, "the list loops");
    return item(asked, 900);
  });
  EXPECT_THROW(run(source, list), core::Error);
  EXPECT_EQ(asked, 3);
}

// Many files.

TEST_F(DownloaderTest, MemoryDoesNotGrowWithTheNumberOfFiles) {
  constexpr std::int64_t kFiles = 10'000;
  settings_.connections = 4;
  MemorySource source([](const Call& call, const std::string& content, model::ByteSink& sink, const std::stop_token&) {
    sink.begin(call.range.first, content.size());
    sink.write(bytesOf(content, call.range.first, call.range.end));
    return true;
  });
  std::int64_t given = 0;
  std::int64_t mostAhead = 0;
  std::size_t largestGroup = 0;
  ledger_.before = [&](const std::string& call) {
    largestGroup = std::max<std::size_t>(largestGroup, std::count(call.begin(), call.end(), ' '));
  };
  ItemList list([&]() -> std::optional<DownloadItem> {
    if (given == kFiles) return std::nullopt;
    mostAhead = std::max(mostAhead, given - static_cast<std::int64_t>(ledger_.completions.size()));
    ++given;
    DownloadItem next = itemOf(given, 64, folder_ / "out");
    // One name, and so one content, to keep the test's own memory flat.
    next.remote.name = "f";
    return next;
  });
  const DownloadSummary summary = run(source, list);
  EXPECT_EQ(summary.completed, static_cast<std::uint64_t>(kFiles));
  EXPECT_LE(mostAhead, 100);
  EXPECT_LE(largestGroup, 100U);
  EXPECT_EQ(readAll(folder_ / "out" / "f777"), contentOf("f", 64));
}

TEST_F(DownloaderTest, FetchesWhileTheListIsStillComing) {
  std::latch fetched(1);
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (call.number == 1) fetched.count_down();
    return false;
  });
  int asked = 0;
  ItemList list([&]() -> std::optional<DownloadItem> {
    if (asked == 2) return std::nullopt;
    if (asked == 1) fetched.wait();
    ++asked;
    return item(asked, 900);
  });
  run(source, list);
  expectComplete(item(1, 900));
  expectComplete(item(2, 900));
}

TEST_F(DownloaderTest, SeveralConnectionsShareOneLargeFile) {
  settings_.connections = 4;
  std::latch together(4);
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (call.number <= 4) together.arrive_and_wait();
    return false;
  });
  run(source, {item(1, 50'000)});
  expectComplete(item(1, 50'000));
  EXPECT_EQ(source.mostAtOnce(), 4U);
}

class FarList final : public ItemFeed {
 public:
  explicit FarList(std::vector<DownloadItem> items) : items_(std::move(items)) {}
  std::optional<DownloadItem> next() override { return items_.next(); }
  std::optional<std::chrono::nanoseconds> latency() const override { return milliseconds(50); }

 private:
  ItemList items_;
};

TEST_F(DownloaderTest, BeginsWithMoreConnectionsWhereTheSourceIsFar) {
  settings_.connections.reset();
  // More than the eight that a run begins with elsewhere.
  std::latch together(20);
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    if (call.number <= 20) together.arrive_and_wait();
    return false;
  });
  std::vector<DownloadItem> items;
  for (int key = 1; key <= 40; ++key) items.push_back(item(key, 700));
  FarList list(items);
  EXPECT_EQ(run(source, list).completed, 40U);
  EXPECT_GE(source.mostAtOnce(), 20U);
}

// Items that are still being found.

/// Hands out what other threads bring while the run is on.
class GrowingList final : public ItemFeed {
 public:
  explicit GrowingList(DownloadItem first) { items_.push_back(std::move(first)); }

  void begin(std::function<void()> wake) override { wake_ = std::move(wake); }
  void attend() override {
    ++attended;
    if (onAttend) onAttend();
  }
  std::optional<DownloadItem> next() override {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    DownloadItem item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  bool mayGrow() const override {
    const std::lock_guard lock(mutex_);
    return growing_;
  }
  void end() override { ++ended; }

  void bring(DownloadItem item, bool last) {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
      growing_ = !last;
    }
    wake_();
  }
  void wake() { wake_(); }

  std::function<void()> onAttend;
  int attended = 0;
  int ended = 0;

 private:
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::deque<DownloadItem> items_;
  bool growing_ = true;
};

TEST_F(DownloaderTest, FetchesWhileMoreItemsAreFound) {
  GrowingList list(item(1, 900));
  // Each file is found only when the one before is being fetched.
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, const std::stop_token&) {
    const auto key = static_cast<std::int64_t>(call.number) + 1;
    if (key <= 5) list.bring(item(key, 900), key == 5);
    return false;
  });
  EXPECT_EQ(run(source, list).completed, 5U);
  for (int key = 1; key <= 5; ++key) expectComplete(item(key, 900));
  EXPECT_GE(list.attended, 1);
  EXPECT_EQ(list.ended, 1);
  EXPECT_FALSE(ledger_.sawOtherThreads());
}

TEST_F(DownloaderTest, AFailureToFindMoreItemsEndsTheRunAndKeepsWhatArrived) {
  settings_.rangeBytes = 1'000'000;
  GrowingList list(item(1, 9'000));
  list.onAttend = [] { throw core::Error(core::Category::notFound, "the batch is gone"); };
  MemorySource source(
      [&](const Call&, const std::string& content, model::ByteSink& sink, const std::stop_token& stop) -> bool {
        sink.begin(0, content.size());
        sink.write(bytesOf(content, 0, 500));
        list.wake();
        while (!stop.stop_requested()) std::this_thread::yield();
        throw core::Interrupted();
      });
  try {
    run(source, list);
    FAIL() << "must throw";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::notFound);
  }
  EXPECT_EQ(list.ended, 1);
  EXPECT_EQ(ledger_.done[1], (std::vector<ByteRange>{{0, 500}}));
}

}  // namespace
}  // namespace caiexport::transfer
