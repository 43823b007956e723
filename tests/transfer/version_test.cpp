// Bytes of one file are of one version, whatever the source says about versions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>

#include "caiexport/transfer/downloader.h"
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
using testing::bytesOf;
using testing::Call;
using testing::contentOf;
using ::testing::HasSubstr;
using testing::ItemList;
using testing::itemOf;
using testing::Ledger;
using testing::MemorySource;
using testing::readAll;
using testing::writeAll;

constexpr std::uint64_t kLength = 10'000;
constexpr std::uint64_t kTail = 500;

enum class Names { etag, date, weak, nothing };

/// What a server says of its versions 1, 2, ...
model::FileVersion versionOf(Names names, unsigned version) {
  switch (names) {
    case Names::etag:
      return {.etag = "\"v" + std::to_string(version) + "\""};
    case Names::date:
      return {.lastModified = "Fri, 27 Nov 2026 10:00:0" + std::to_string(version) + " GMT"};
    case Names::weak:
      // Whatever changes, somebody thought it of no account.
      return {.etag = "W/\"always\""};
    case Names::nothing:
      break;
  }
  return {};
}

class VersionTest : public ::testing::TestWithParam<Names> {
 protected:
  VersionTest() {
    settings_.connections = 1;
    settings_.rangeBytes = 1000;
    settings_.tailBytes = kTail;
  }

  static std::string contentNow(unsigned version) { return contentOf("version" + std::to_string(version), kLength); }

  /// Serves the version that `version_` tells when a request begins; `before` may change it.
  MemorySource serving(std::function<void(const Call&)> before, std::function<bool(const Call&)> cuts = {}) {
    return MemorySource(
        [this, before, cuts](const Call& call, const std::string&, model::ByteSink& sink, std::stop_token) {
          before(call);
          const std::string content = contentNow(version_);
          sink.isOf(versionOf(names_, version_));
          sink.begin(call.range.first, content.size());
          const bool cut = cuts && cuts(call);
          const std::uint64_t end = cut ? (call.range.first + call.range.end) / 2 : call.range.end;
          for (std::uint64_t at = call.range.first; at < end; at += 100) {
            sink.write(bytesOf(content, at, std::min(at + 100, end)));
          }
          if (cut) throw core::TransientError("cut", {});
          return true;
        });
  }

  DownloadItem item() const { return itemOf(1, kLength, folder_ / "out"); }
  DownloadItem interrupted();

  DownloadSummary run(ByteSource& source, const DownloadItem& item) {
    Downloader downloader(source, files_, clock_, random_, core::nullLog(), settings_);
    ItemList list(std::vector<DownloadItem>{item});
    return downloader.run(list, ledger_, progress_, stop_.get_token());
  }

  void expectVersion(unsigned version) {
    ASSERT_TRUE(ledger_.completions.contains(1));
    EXPECT_TRUE(readAll(item().target) == contentNow(version)) << "bytes of another version";
    EXPECT_EQ(ledger_.completions.at(1).sha256, sha256OfFile(item().target, {}));
    EXPECT_EQ(progress_.bytes + progress_.bytesKept, kLength);
  }

  support::TempDirectory folder_;
  testing::UnsyncedFileSystem files_;
  support::FakeClock clock_;
  support::FixedRandom random_;
  DownloadSettings settings_;
  Ledger ledger_;
  DownloadProgress progress_;
  std::stop_source stop_;
  Names names_ = GetParam();
  std::atomic<unsigned> version_ = 1;
};

std::string nameOf(const ::testing::TestParamInfo<Names>& info) {
  switch (info.param) {
    case Names::etag:
      return "Etag";
    case Names::date:
      return "LastModified";
    case Names::weak:
      return "WeakEtag";
    case Names::nothing:
      break;
  }
  return "Nothing";
}

INSTANTIATE_TEST_SUITE_P(Servers, VersionTest, ::testing::Values(Names::etag, Names::date, Names::weak, Names::nothing),
                         nameOf);

TEST_P(VersionTest, AFileRewrittenBetweenTwoRangesIsFetchedAnew) {
  MemorySource source = serving([&](const Call& call) {
    if (call.number == 5) version_ = 2;
  });
  EXPECT_EQ(run(source, item()).completed, 1U);
  expectVersion(2);
  ASSERT_EQ(ledger_.restarts.size(), 1U);
  EXPECT_THAT(ledger_.restarts.front(), HasSubstr("rewritten while it was downloaded"));
}

TEST_P(VersionTest, EveryMomentOfTheRewriteIsNoticed) {
  for (std::size_t moment = 1; moment <= 14; ++moment) {
    SCOPED_TRACE(moment);
    fs::remove_all(folder_ / "out");
    ledger_ = Ledger();
    version_ = 1;
    progress_.bytes = 0;
    MemorySource source = serving([&](const Call& call) {
      if (call.number == moment) version_ = 2;
    });
    EXPECT_EQ(run(source, item()).completed, 1U);
    expectVersion(source.calls().size() >= moment ? 2 : 1);
  }
}

TEST_P(VersionTest, AFileRewrittenForEverIsGivenUpWithinTheBudget) {
  MemorySource source = serving([&](const Call&) { ++version_; });
  EXPECT_EQ(run(source, item()).failed, 1U);
  EXPECT_EQ(ledger_.failures.at(1).category(), core::Category::verification);
  EXPECT_EQ(ledger_.restarts.size(), 5U);
  EXPECT_LT(source.calls().size(), 100U);
  EXPECT_FALSE(fs::exists(item().target));
}

TEST_P(VersionTest, ASmallFileThatBreaksOffIsNotContinuedWithAnotherVersion) {
  settings_.rangeBytes = 1U << 20U;
  MemorySource source = serving(
      [&](const Call& call) {
        if (call.number == 2) version_ = 2;
      },
      [](const Call& call) { return call.number == 1; });
  EXPECT_EQ(run(source, item()).completed, 1U);
  expectVersion(2);
}

TEST_P(VersionTest, AFileOfWhichEveryAnswerIsCutIsStillHad) {
  MemorySource source = serving([](const Call&) {}, [](const Call& call) { return call.range.sizeBytes() > 400; });
  EXPECT_EQ(run(source, item()).completed, 1U);
  expectVersion(1);
}

TEST_P(VersionTest, AResumedFileIsOfOneVersion) {
  for (const unsigned later : {1U, 2U}) {
    SCOPED_TRACE(later);
    fs::remove_all(folder_ / "out");
    ledger_ = Ledger();
    stop_ = {};
    version_ = 1;
    MemorySource first = serving([&](const Call& call) {
      if (call.number == 6) stop_.request_stop();
      if (stop_.stop_requested()) throw core::Interrupted();
    });
    EXPECT_THROW(run(first, item()), core::Interrupted);
    DownloadItem resumed = item();
    resumed.done = ledger_.done.at(1);
    resumed.part = ledger_.facts.at(1);
    ASSERT_FALSE(resumed.done.empty());
    EXPECT_EQ(resumed.part.version, versionOf(names_, 1));
    stop_ = {};
    version_ = later;
    progress_.bytes = 0;
    progress_.bytesKept = 0;
    MemorySource second = serving([](const Call&) {});
    EXPECT_EQ(run(second, resumed).completed, 1U);
    expectVersion(later);
    EXPECT_EQ(ledger_.restarts.size(), later - 1);
  }
}

/// What a run leaves that is interrupted in the middle.
DownloadItem VersionTest::interrupted() {
  stop_ = {};
  MemorySource first = serving([&](const Call& call) {
    if (call.number == 6) stop_.request_stop();
    if (stop_.stop_requested()) throw core::Interrupted();
  });
  EXPECT_THROW(run(first, item()), core::Interrupted);
  DownloadItem resumed = item();
  resumed.done = ledger_.done.at(1);
  resumed.part = ledger_.facts.at(1);
  stop_ = {};
  progress_.bytes = 0;
  progress_.bytesKept = 0;
  return resumed;
}

TEST_P(VersionTest, AFileOfSeveralRunsIsUnprovenWhereItsVersionHasNoName) {
  const DownloadItem resumed = interrupted();
  EXPECT_FALSE(resumed.part.severalRuns);
  MemorySource source = serving([](const Call&) {});
  EXPECT_EQ(run(source, resumed).completed, 1U);
  EXPECT_EQ(ledger_.completions.at(1).unproven, names_ == Names::nothing || names_ == Names::weak);
  EXPECT_TRUE(ledger_.facts.at(1).severalRuns);
  fs::remove_all(folder_ / "out");
  EXPECT_EQ(run(source, item()).completed, 1U);
  EXPECT_FALSE(ledger_.completions.at(1).unproven) << "of one run";
}

TEST_P(VersionTest, ARewriteThatLeavesTheEndShowsAtTheSeam) {
  const std::string oldEnd = contentNow(1).substr(kLength - 2 * kTail);
  const auto withOldEnd = [&](const std::string& content) { return content.substr(0, kLength - 2 * kTail) + oldEnd; };
  const DownloadItem resumed = interrupted();
  version_ = 2;
  MemorySource source([&](const Call& call, const std::string&, model::ByteSink& sink, std::stop_token) {
    const std::string content = withOldEnd(contentNow(2));
    sink.isOf(versionOf(names_, 2));
    sink.begin(call.range.first, content.size());
    sink.write(bytesOf(content, call.range.first, call.range.end));
    return true;
  });
  EXPECT_EQ(run(source, resumed).completed, 1U);
  EXPECT_TRUE(readAll(item().target) == withOldEnd(contentNow(2))) << "bytes of two versions";
  EXPECT_EQ(ledger_.restarts.size(), 1U);
}

TEST_P(VersionTest, ASourceThatIgnoresRangesIsComparedAsItComesAgain) {
  std::size_t calls = 0;
  MemorySource source([&](const Call&, const std::string&, model::ByteSink& sink, std::stop_token) {
    if (++calls == 4) version_ = 2;
    const std::string content = contentNow(version_);
    sink.isOf(versionOf(names_, version_));
    sink.begin(0, content.size());
    for (std::uint64_t at = 0; at < kLength; at += 100) {
      if (calls < 6 && at == 1000 * calls) throw core::TransientError("cut", {});
      sink.write(bytesOf(content, at, at + 100));
    }
    return true;
  });
  EXPECT_EQ(run(source, item()).completed, 1U);
  expectVersion(2);
}

using PartTest = VersionTest;
INSTANTIATE_TEST_SUITE_P(Servers, PartTest, ::testing::Values(Names::etag, Names::nothing), nameOf);

/// Leaves a file of which some ranges are recorded, does something to it, goes on.
TEST_P(PartTest, WhatSomebodyElseLeftInTheFileIsNotUsed) {
  const auto other = [](char fill) { return std::string(kLength, fill); };
  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> deeds = {
      {"zeros of the right size, in place", [&](const fs::path& part) { writeAll(part, other('\0')); }},
      {"others of the right size, another file",
       [&](const fs::path& part) {
         fs::remove(part);
         writeAll(part, other('x'));
       }},
      {"holes",
       [](const fs::path& part) {
         fs::resize_file(part, 0);
         fs::resize_file(part, kLength);
       }},
      {"shorter", [](const fs::path& part) { fs::resize_file(part, 700); }},
      {"gone", [](const fs::path& part) { fs::remove(part); }},
      {"one byte", [](const fs::path& part) {
         std::string content = readAll(part);
         content[kLength - 1] = static_cast<char>(content[kLength - 1] + 1);
         writeAll(part, content);
       }}};
  for (const auto& [what, deed] : deeds) {
    SCOPED_TRACE(what);
    fs::remove_all(folder_ / "out");
    ledger_ = Ledger();
    stop_ = {};
    MemorySource first = serving([&](const Call& call) {
      if (call.number == 6) stop_.request_stop();
      if (stop_.stop_requested()) throw core::Interrupted();
    });
    DownloadItem resumed = item();
    resumed.partTag = "0a1b2c3d";
    EXPECT_THROW(run(first, resumed), core::Interrupted);
    resumed.done = ledger_.done.at(1);
    resumed.part = ledger_.facts.at(1);
    const fs::path part = partPathFor(resumed.target, resumed.partTag);
    ASSERT_EQ(fs::file_size(part), kLength);
    deed(part);
    stop_ = {};
    progress_.bytes = 0;
    progress_.bytesKept = 0;
    // The range in which the last byte lies was fetched by the first run only where the end comes first.
    const bool matters = what != "one byte" || resumed.done.back().end == kLength;
    MemorySource second = serving([](const Call&) {});
    EXPECT_EQ(run(second, resumed).completed, 1U);
    expectVersion(1);
    EXPECT_EQ(ledger_.restarts.size(), matters ? 1U : 0U);
    EXPECT_FALSE(fs::exists(part));
  }
}

TEST_P(PartTest, AHardLinkIsLeftAlone) {
  DownloadItem resumed = item();
  const fs::path part = partPathFor(resumed.target, "");
  fs::create_directories(part.parent_path());
  for (const bool recorded : {false, true}) {
    SCOPED_TRACE(recorded);
    writeAll(folder_ / "precious", std::string(kLength, 'p'));
    fs::create_hard_link(folder_ / "precious", part);
    if (recorded) {
      resumed.done = {{0, 3000}};
      resumed.part = {.sum = contentSum(0, bytesOf(std::string(3000, 'p'), 0, 3000)), .tailFirst = true};
    }
    MemorySource source = serving([](const Call&) {});
    EXPECT_EQ(run(source, resumed).completed, 1U);
    EXPECT_TRUE(readAll(resumed.target) == contentNow(1));
    EXPECT_EQ(readAll(folder_ / "precious"), std::string(kLength, 'p'));
    fs::remove(resumed.target);
    fs::remove(folder_ / "precious");
  }
}

TEST_P(PartTest, AFileThatTurnsUpMeanwhileIsNotOverwritten) {
  DownloadItem fresh = item();
  fresh.replaces = false;
  MemorySource source = serving([&](const Call&) { writeAll(fresh.target, "precious"); });
  EXPECT_THROW(run(source, fresh), core::Error);
  EXPECT_EQ(readAll(fresh.target), "precious");
  writeAll(fresh.target, std::string(kLength, 'p'));
  MemorySource another = serving([](const Call&) {});
  EXPECT_THROW(run(another, fresh), core::Error) << "of the right length";
  EXPECT_EQ(readAll(fresh.target), std::string(kLength, 'p'));
}

TEST_P(PartTest, WhatTurnsUpMeanwhileAndIsTheSameIsKept) {
  DownloadItem fresh = item();
  fresh.replaces = false;
  MemorySource source = serving([&](const Call&) { writeAll(fresh.target, contentNow(1)); });
  EXPECT_EQ(run(source, fresh).completed, 1U);
  expectVersion(1);
  EXPECT_FALSE(fs::exists(partPathFor(fresh.target, "")));
}

TEST_P(PartTest, WhatBearsTheFinalNameIsOursOnlyIfItHoldsWhatWasRecorded) {
  DownloadItem whole = item();
  whole.replaces = false;
  whole.done = {{0, kLength}};
  whole.part = {.sum = contentSum(0, bytesOf(contentNow(1), 0, kLength)), .version = versionOf(names_, 1)};
  fs::create_directories(whole.target.parent_path());
  writeAll(whole.target, contentNow(1));
  MemorySource source = serving([](const Call&) {});
  EXPECT_EQ(run(source, whole).completed, 1U);
  EXPECT_TRUE(source.calls().empty());

  writeAll(whole.target, std::string(kLength, 'p'));
  ledger_ = Ledger();
  EXPECT_THROW(run(source, whole), core::Error);
  EXPECT_TRUE(ledger_.completions.empty());
  EXPECT_EQ(readAll(whole.target), std::string(kLength, 'p'));
}

TEST_P(PartTest, AFileThatWasReplacedWhileItWasWrittenIsNotTakenForOurs) {
  const DownloadItem fresh = item();
  const fs::path part = partPathFor(fresh.target, "");
  support::RecordingFileSystem unused;
  MemorySource source = serving([&](const Call& call) {
    if (call.number != 3) return;
    fs::rename(part, folder_ / "moved");
    writeAll(part, std::string(kLength, 'x'));
  });
  Downloader downloader(source, core::diskFileSystem(), clock_, random_, core::nullLog(), settings_);
  ItemList list(std::vector<DownloadItem>{fresh});
  EXPECT_THROW(downloader.run(list, ledger_, progress_, {}), core::Error);
  EXPECT_FALSE(fs::exists(fresh.target));
}

TEST(ContentSum, IsTheSameInWhateverPieces) {
  const std::string content = contentOf("a", 1000);
  const std::uint64_t whole = contentSum(3, bytesOf(content, 0, 1000));
  for (std::uint64_t cut = 0; cut <= 40; ++cut) {
    EXPECT_EQ(contentSum(3 + cut, bytesOf(content, cut, 1000)) + contentSum(3, bytesOf(content, 0, cut)), whole);
  }
}

TEST(ContentSum, TellsBytesAndPlacesApart) {
  std::string content = contentOf("a", 100);
  const std::uint64_t sum = contentSum(0, bytesOf(content, 0, 100));
  for (std::size_t at = 0; at < content.size(); ++at) {
    std::string changed = content;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_NE(contentSum(0, bytesOf(changed, 0, 100)), sum) << at;
  }
  EXPECT_NE(contentSum(8, bytesOf(content, 0, 100)), sum);
  // Stored in databases.
  EXPECT_EQ(contentSum(5, bytesOf("caiexport", 0, 9)), 17658929250045840457U);
}

TEST(PartPath, IsAtMostAsLongAsNamesMayBe) {
  EXPECT_EQ(partPathFor("d/a.parquet", "0a1b2c3d"), "d/a.parquet.0a1b2c3d.part");
  const std::string longName(250, 'n');
  const std::string other = std::string(249, 'n') + "m";
  EXPECT_LE(partPathFor(longName, "0a1b2c3d").string().size(), 255U);
  EXPECT_NE(partPathFor(longName, "0a1b2c3d"), partPathFor(other, "0a1b2c3d"));
}

TEST(PartPath, LiesBesideItsTargetHoweverLongTheFolder) {
  const fs::path folder = "/" + std::string(200, 'd') + "/" + std::string(200, 'e');
  EXPECT_EQ(partPathFor(folder / "a.parquet", "0a1b2c3d"), folder / "a.parquet.0a1b2c3d.part");
  const fs::path part = partPathFor(folder / std::string(250, 'n'), "0a1b2c3d");
  EXPECT_EQ(part.parent_path(), folder);
  EXPECT_EQ(part.filename(), partPathFor(std::string(250, 'n'), "0a1b2c3d"));
  EXPECT_LE(part.filename().string().size(), 255U);
}

}  // namespace
}  // namespace caiexport::transfer
