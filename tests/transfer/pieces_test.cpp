/// A file that is put together from pieces on disk, and the pieces themselves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "caiexport/core/encoding.h"
#include "caiexport/transfer/downloader.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

namespace fs = std::filesystem;

using core::Category;
using model::ByteRange;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kBytes = 10'000;

class PiecesTest : public ::testing::Test {
 protected:
  PiecesTest() {
    settings_.connections = 2;
    item_ = testing::itemOf(7, kBytes, folder_ / "out");
    item_.partTag = "0123abcd.3";
    fs::create_directories(folder_ / "out");
    content_ = testing::contentOf("f7", kBytes);
    // As workers bring them: two halves but for the end, then the end, then the end again.
    for (const ByteRange& range : {ByteRange{0, 5000}, {5000, 9000}, {9000, kBytes}, {9000, kBytes}}) {
      addPiece(range, content_.substr(range.first, range.sizeBytes()));
    }
  }
  void addPiece(ByteRange range, const std::string& bytes, const std::string& etag = "\"a\"") {
    core::Sha256 hash;
    hash.update(bytes);
    const fs::path path = partPathFor(item_.target, "0123abcd.3-" + std::to_string(item_.pieces.size()));
    testing::writeAll(path, bytes);
    item_.pieces.push_back({.path = path, .range = range, .sha256 = hash.finish(), .version = {.etag = etag}});
  }
  DownloadSummary run(std::vector<DownloadItem> items) {
    Downloader downloader(source_, files_, clock_, random_, core::nullLog(), settings_);
    testing::ItemList list(std::move(items));
    return downloader.run(list, ledger_, progress_, {});
  }
  void expectRefused(const std::string& why) {
    EXPECT_EQ(run({item_}).failed, 1U);
    ASSERT_TRUE(ledger_.failures.contains(7));
    EXPECT_EQ(ledger_.failures.at(7).category(), Category::verification);
    EXPECT_THAT(ledger_.failures.at(7).what(), HasSubstr(why));
    EXPECT_FALSE(fs::exists(item_.target));
    EXPECT_FALSE(fs::exists(partPathFor(item_.target, item_.partTag))) << "it is worth nothing";
  }

  support::TempDirectory folder_;
  testing::UnsyncedFileSystem files_;
  support::FakeClock clock_;
  support::FixedRandom random_;
  DownloadSettings settings_;
  testing::MemorySource source_;
  testing::Ledger ledger_;
  DownloadProgress progress_;
  DownloadItem item_;
  std::string content_;
};

TEST_F(PiecesTest, MakeTheFileWithoutTheSource) {
  EXPECT_EQ(run({item_}).completed, 1U);
  EXPECT_EQ(testing::readAll(item_.target), content_);
  ASSERT_TRUE(ledger_.completions.contains(7));
  EXPECT_EQ(ledger_.completions.at(7).sha256, sha256OfFile(item_.target, {}));
  EXPECT_EQ(ledger_.completions.at(7).version.etag, "\"a\"");
  EXPECT_FALSE(ledger_.completions.at(7).unproven);
  EXPECT_THAT(source_.calls(), IsEmpty());
  EXPECT_EQ(progress_.bytes, 0U) << "they came before, and were counted then";
  EXPECT_EQ(progress_.filesCompleted, 1U);
  EXPECT_TRUE(fs::exists(item_.pieces.front().path)) << "until it is on record they are needed";
}

/// Others may have put it together meanwhile.
TEST_F(PiecesTest, TheRecordIsAskedBeforeTheFileGetsItsName) {
  ledger_.before = [&](const std::string& call) {
    if (call == "ranges 7") throw core::Error(Category::unavailable, "another's by now");
  };
  EXPECT_THROW(run({item_}), core::Error);
  EXPECT_FALSE(fs::exists(item_.target));
}

TEST_F(PiecesTest, AnotherVersionInOneOfThemIsNoticed) {
  item_.pieces[1].version.etag = "\"b\"";
  expectRefused("was rewritten while it was downloaded (from \"a\" to \"b\")");
}

TEST_F(PiecesTest, AnEndThatIsAnotherAtLastIsNoticedWithoutVersions) {
  item_.pieces.pop_back();
  addPiece({9000, kBytes}, std::string(1000, 'x'));
  for (PieceOnDisk& piece : item_.pieces) piece.version = {};
  expectRefused("came again and are others");
}

TEST_F(PiecesTest, OneThatIsGoneIsNoticed) {
  fs::remove(item_.pieces[1].path);
  expectRefused("is not what was fetched");
}

TEST_F(PiecesTest, OneThatSomebodyWroteToIsNoticed) {
  testing::writeAll(item_.pieces[0].path, std::string(5000, 'x'));
  expectRefused("is not what was fetched");
}

TEST_F(PiecesTest, OneThatIsLongerIsNotWrittenBeyondItsPlace) {
  testing::writeAll(item_.pieces[2].path, std::string(5000, 'x'));
  expectRefused("is not what was fetched");
}

/// Nothing shows that what several runs brought is of one version.
TEST_F(PiecesTest, OfSeveralRunsWithoutVersionsTheyAreUnproven) {
  for (PieceOnDisk& piece : item_.pieces) piece.version = {};
  item_.part.severalRuns = true;
  EXPECT_EQ(run({item_}).completed, 1U);
  EXPECT_TRUE(ledger_.completions.at(7).unproven);
}

TEST_F(PiecesTest, WhatIsRecordedAsWholeIsNotPutTogetherAgain) {
  const fs::path part = partPathFor(item_.target, item_.partTag);
  ledger_.before = [&](const std::string& call) {
    if (call == "completed 7") throw core::Error(Category::unavailable, "cut off");
  };
  EXPECT_THROW(run({item_}), core::Error);
  fs::rename(item_.target, part);  // as if it had ended before
  item_.done = ledger_.done.at(7);
  item_.part = ledger_.facts.at(7);
  fs::remove(item_.pieces[0].path);
  ledger_.before = {};
  EXPECT_EQ(run({item_}).completed, 1U);
  EXPECT_EQ(testing::readAll(item_.target), content_);
}

TEST_F(PiecesTest, APieceHasASourceAndANameOfItsOwnAndIsNoFile) {
  DownloadItem piece = testing::itemOf(-1, 2000, folder_ / "out");
  piece.partTag = "0123abcd.3-1";
  piece.target = partPathFor(piece.target, piece.partTag);
  const auto own = std::make_shared<testing::MemorySource>();
  piece.source = own;
  EXPECT_EQ(partPathFor(piece.target, piece.partTag), piece.target);
  EXPECT_EQ(run({piece}).failed, 0U);
  EXPECT_EQ(testing::readAll(piece.target), testing::contentOf("f-1", 2000));
  EXPECT_EQ(own->bytesSent(), 2000U);
  EXPECT_THAT(source_.calls(), IsEmpty());
  EXPECT_EQ(progress_.filesCompleted, 0U);
  EXPECT_EQ(progress_.bytes, 2000U);
}

TEST(Fences, AreNumbersPerhapsOfPieces) {
  for (const char* good : {"1", "17", "17-42"}) EXPECT_TRUE(isFence(good)) << good;
  for (const char* bad : {"", "-", "17-", "-42", "17-42-1", "a", "17-a"}) EXPECT_FALSE(isFence(bad)) << bad;
}

}  // namespace
}  // namespace caiexport::transfer
