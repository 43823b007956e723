// A crash at every operation on files and at every record: the next run, with what was recorded, ends with the same
// files as an undisturbed one and fetches little again.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "caiexport/transfer/downloader.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"
#include "transfer/power_loss_file_system.h"

namespace caiexport::transfer {
namespace {

using testing::contentOf;
using testing::itemOf;
using testing::Ledger;
using testing::MemorySource;
using testing::readAll;

constexpr unsigned kConnections = 2;
constexpr std::uint64_t kRange = 1000;
constexpr std::uint64_t kLargestRange = kRange + kRange / 2;

enum class Loss { process, power };

class CrashTest : public ::testing::TestWithParam<Loss> {
 protected:
  CrashTest() {
    for (const std::uint64_t length : {5500U, 700U, 0U, 6100U, 1200U, 700U, 3000U}) {
      items_.push_back(itemOf(static_cast<std::int64_t>(items_.size()) + 1, length, folder_ / "out"));
      totalBytes_ += length;
    }
  }

  void download(core::FileSystem& files, MemorySource& source, Ledger& ledger) {
    std::vector<DownloadItem> open;
    for (DownloadItem item : items_) {
      if (ledger.completions.contains(item.key)) continue;
      item.done = ledger.done[item.key];
      item.part = ledger.facts[item.key];
      open.push_back(item);
    }
    support::FakeClock clock;
    support::FixedRandom random;
    Downloader downloader(
        source, files, clock, random, core::nullLog(),
        {.connections = kConnections, .rangeBytes = kRange, .recordEveryBytes = kRange, .tailBytes = 0});
    DownloadProgress progress;
    testing::ItemList list(open);
    downloader.run(list, ledger, progress, {});
  }

  /// Whether a crash happened.
  template <class Arm>
  bool crashOnceAndFinish(const Arm& arm) {
    std::filesystem::remove_all(folder_ / "out");
    testing::PowerLossFileSystem disk;
    support::RecordingFileSystem files(disk);
    Ledger ledger;
    arm(files, ledger);
    MemorySource source;
    bool crashed = false;
    try {
      download(files, source, ledger);
    } catch (const support::SimulatedCrash&) {
      crashed = true;
    }
    if (GetParam() == Loss::power) disk.cut();

    ledger.before = {};
    ledger.calls.clear();
    if (crashed) download(disk, source, ledger);
    expectAllThere(ledger);
    // DownloadSettings::recordEveryBytes, and one more range a connection that was begun below that limit.
    EXPECT_LE(source.bytesSent(),
              totalBytes_ + 2 * (kRange + kConnections * kLargestRange) + kConnections * kLargestRange);
    return crashed;
  }

  void expectAllThere(const Ledger& ledger) const {
    for (const DownloadItem& item : items_) {
      const std::string content = contentOf(item.remote.name, item.remote.lengthBytes);
      ASSERT_TRUE(ledger.completions.contains(item.key)) << item.key;
      ASSERT_EQ(readAll(item.target), content) << item.key;
      ASSERT_EQ(ledger.completions.at(item.key).sha256, sha256OfFile(item.target, {})) << item.key;
      ASSERT_FALSE(std::filesystem::exists(item.target.string() + ".part")) << item.key;
    }
    ASSERT_TRUE(ledger.failures.empty());
  }

  support::TempDirectory folder_;
  std::vector<DownloadItem> items_;
  std::uint64_t totalBytes_ = 0;
};

TEST_P(CrashTest, AtEveryOperationOnFiles) {
  std::size_t n = 0;
  bool crashed = true;
  while (crashed) {
    ++n;
    SCOPED_TRACE("crash at file operation " + std::to_string(n));
    crashed = crashOnceAndFinish([n](support::RecordingFileSystem& files, Ledger&) { files.crashAtCall(n); });
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  EXPECT_GT(n, 60U);
}

TEST_P(CrashTest, AtEveryRecord) {
  std::size_t n = 0;
  bool crashed = true;
  while (crashed) {
    ++n;
    SCOPED_TRACE("crash at record " + std::to_string(n));
    crashed = crashOnceAndFinish([n](support::RecordingFileSystem&, Ledger& ledger) {
      ledger.before = [n, &ledger](const std::string&) {
        if (ledger.calls.size() >= n) throw support::SimulatedCrash();
      };
    });
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  EXPECT_GT(n, 5U);
}

INSTANTIATE_TEST_SUITE_P(Losses, CrashTest, ::testing::Values(Loss::process, Loss::power),
                         [](const auto& each) { return each.param == Loss::process ? "Process" : "Power"; });

}  // namespace
}  // namespace caiexport::transfer
