// What a small file costs beside its bytes: who finishes it, and how many of them share a record.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>

#include "caiexport/core/log.h"
#include "caiexport/transfer/downloader.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

using std::chrono::milliseconds;
using testing::Call;
using testing::itemOf;
using testing::Ledger;
using testing::MemorySource;
using ::testing::SizeIs;

/// Something that happens, or not.
class Event {
 public:
  void happen(const std::string& what) {
    const std::lock_guard lock(mutex_);
    happened_.insert(what);
    changed_.notify_all();
  }
  bool has(const std::string& what) {
    const std::lock_guard lock(mutex_);
    return happened_.contains(what);
  }
  /// Whether it does within a time that only a fault takes.
  bool comes(const std::string& what) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return happened_.contains(what); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> happened_;
};

/// Tells which files have their final names; its syncs take as long as is said.
class Disk final : public testing::UnsyncedFileSystem {
 public:
  Disk(support::FakeClock& clock, Event& renamed) : clock_(clock), renamed_(renamed) {}

  std::atomic<milliseconds> syncTakes = milliseconds(0);

  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    return std::make_unique<File>(*this, UnsyncedFileSystem::open(path, mode));
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    UnsyncedFileSystem::rename(from, to);
    renamed_.happen(to.filename().string());
  }

 private:
  class File final : public core::WritableFile {
   public:
    File(Disk& disk, std::unique_ptr<core::WritableFile> file) : disk_(disk), file_(std::move(file)) {}
    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override { file_->writeAt(offset, data); }
    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }
    void resize(std::uint64_t bytes) override { file_->resize(bytes); }
    void sync() override { disk_.clock_.advance(disk_.syncTakes.load()); }

   private:
    Disk& disk_;
    std::unique_ptr<core::WritableFile> file_;
  };

  support::FakeClock& clock_;
  Event& renamed_;
};

/// All files (up to 31, or the downloader does not ask for more) are known before the first is fetched.
class KnownFiles final : public ItemFeed {
 public:
  KnownFiles(std::vector<DownloadItem> items, milliseconds away) : items_(std::move(items)), away_(away) {}

  std::optional<DownloadItem> next() override {
    if (given_ == items_.size()) {
      all.happen("given");
      return std::nullopt;
    }
    return items_[given_++];
  }
  std::optional<std::chrono::nanoseconds> latency() const override { return away_; }

  Event all;

 private:
  std::vector<DownloadItem> items_;
  std::size_t given_ = 0;
  milliseconds away_;
};

class HandingOver : public ::testing::Test {
 protected:
  HandingOver() {
    settings_.connections = 1;
    settings_.tailBytes = 0;
  }

  /// `fetched` is told of each file, before its bytes come.
  void run(int files, const std::function<void(const std::string& name)>& fetched, milliseconds away = {}) {
    std::vector<DownloadItem> items;
    for (int key = 1; key <= files; ++key) items.push_back(itemOf(key, 500, folder_ / "out"));
    KnownFiles feed(items, away);
    MemorySource source([&](const Call& call, const std::string&, model::ByteSink&, std::stop_token) {
      EXPECT_TRUE(feed.all.comes("given"));
      fetched(call.name);
      return false;
    });
    Downloader(source, disk_, clock_, random_, core::nullLog(), settings_).run(feed, ledger_, progress_, {});
    ASSERT_THAT(ledger_.completions, SizeIs(files));
    for (const DownloadItem& each : items) {
      EXPECT_EQ(testing::readAll(each.target), testing::contentOf(each.remote.name, 500));
    }
  }

  static std::string before(const std::string& name) { return "f" + std::to_string(std::stoi(name.substr(1)) - 1); }

  support::TempDirectory folder_;
  support::FakeClock clock_;
  support::FixedRandom random_;
  Event renamed_;
  Disk disk_{clock_, renamed_};
  DownloadSettings settings_;
  Ledger ledger_;
  DownloadProgress progress_;
};

TEST_F(HandingOver, WhoFetchesASmallFileFinishesIt) {
  run(8, [&](const std::string& name) {
    if (name == "f1") return;
    EXPECT_TRUE(renamed_.has(before(name))) << "when " << name << " is fetched";
  });
}

TEST_F(HandingOver, FromFarAwayTheConnectionAsksForTheNext) {
  const auto waits = [&](const std::string& name) {
    if (name == "f1") return;
    EXPECT_TRUE(renamed_.comes(before(name))) << "while " << name << " is fetched";
  };
  run(4, waits, milliseconds(50));
}

TEST_F(HandingOver, WhereTheDiskTakesLongTheConnectionAsksForTheNext) {
  disk_.syncTakes = milliseconds(5);
  run(4, [&](const std::string& name) {
    if (name == "f1") return;  // It shows how long it takes.
    EXPECT_TRUE(renamed_.comes(before(name))) << "while " << name << " is fetched";
  });
}

TEST_F(HandingOver, SmallFilesShareARecord) {
  run(24, [](const std::string&) {});
  // Eight may be begun with one connection.
  EXPECT_LE(ledger_.calls.size(), 8U) << ::testing::PrintToString(ledger_.calls);
}

TEST_F(HandingOver, AFileThatIsHereIsRecordedThoughAnotherDoesNotCome) {
  Event recorded;
  ledger_.before = [&](const std::string& call) { recorded.happen(call); };
  run(2, [&](const std::string& name) {
    if (name == "f2") {
      EXPECT_TRUE(recorded.comes("completed 1"));
    }
  });
}

}  // namespace
}  // namespace caiexport::transfer
