#include "transfer/part_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "caiexport/core/error.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;
using testing::bytesOf;
using testing::contentOf;
using testing::readAll;
using testing::writeAll;
using Ranges = std::vector<ByteRange>;

std::string hashOf(const std::string& content) {
  core::Sha256 hash;
  hash.update(bytesOf(content, 0, content.size()));
  return hash.finish();
}

class PartFileTest : public ::testing::Test {
 protected:
  void write(PartFile& part, const std::string& content, std::uint64_t first, std::uint64_t end) {
    part.write(first, bytesOf(content, first, end));
  }

  support::TempDirectory folder_;
  support::RecordingFileSystem files_;
  std::filesystem::path target_ = folder_ / "a";
};

TEST_F(PartFileTest, WritesInOrderHashesWithoutReadingAndRenames) {
  const std::string content = contentOf("a", 10'000);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 0, 4000);
  write(part, content, 4000, 10'000);
  EXPECT_EQ(part.bytesBehind(), 0U);
  EXPECT_EQ(part.sync().ranges, (Ranges{{0, 10'000}}));
  EXPECT_EQ(part.sha256(), hashOf(content));
  part.publish(target_, true, "", {});
  EXPECT_EQ(readAll(target_), content);
  EXPECT_EQ(files_.calls(), (std::vector<std::string>{"open a.part", "write a.part 0+4000", "write a.part 4000+6000",
                                                      "sync a.part", "rename a.part a"}));
}

TEST_F(PartFileTest, HashesBytesThatCameOutOfOrderFromTheDisk) {
  // Larger than the distance that a writer closes by himself.
  const std::string content = contentOf("a", 5U << 20U);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 2U << 20U, 5U << 20U);
  EXPECT_EQ(part.bytesBehind(), 0U);
  write(part, content, 0, 2U << 20U);
  EXPECT_EQ(part.bytesBehind(), 3U << 20U);
  part.hash(false, {});
  EXPECT_EQ(part.sha256(), hashOf(content));
}

TEST_F(PartFileTest, AWriterClosesAShortGap) {
  const std::string content = contentOf("a", 3000);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 1000, 2000);
  write(part, content, 0, 1000);
  EXPECT_EQ(part.bytesBehind(), 1000U);
  write(part, content, 2000, 3000);
  EXPECT_EQ(part.bytesBehind(), 0U);
  EXPECT_EQ(part.sha256(), hashOf(content));
}

TEST_F(PartFileTest, LeavesTheLastBitToTheWriter) {
  const std::string content = contentOf("a", 4U << 20U);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 1000, 2000);
  write(part, content, 0, 1000);
  part.hash(true, {});
  EXPECT_EQ(part.bytesBehind(), 1000U);
  part.hash(false, {});
  EXPECT_EQ(part.bytesBehind(), 0U);
}

TEST_F(PartFileTest, MergesRanges) {
  const std::string content = contentOf("a", 100);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 80, 90);
  write(part, content, 10, 20);
  write(part, content, 40, 50);
  EXPECT_EQ(part.written(), (Ranges{{10, 20}, {40, 50}, {80, 90}}));
  write(part, content, 20, 40);
  EXPECT_EQ(part.written(), (Ranges{{10, 50}, {80, 90}}));
  write(part, content, 0, 10);
  write(part, content, 50, 80);
  write(part, content, 90, 100);
  EXPECT_EQ(part.written(), (Ranges{{0, 100}}));
}

TEST_F(PartFileTest, AdoptsWhatAnEarlierRunWrote) {
  const std::string content = contentOf("a", 3000);
  writeAll(partPathFor(target_, ""), content.substr(0, 2000));
  PartFile part(files_, partPathFor(target_, ""), content.size());
  part.adopt({{0, 2000}}, {});
  part.preallocate();
  write(part, content, 2000, 3000);
  part.hash(false, {});
  EXPECT_EQ(part.sha256(), hashOf(content));
}

TEST_F(PartFileTest, PreallocatesAndCutsALongerLeftover) {
  const std::string content = contentOf("a", 100);
  writeAll(partPathFor(target_, ""), std::string(500, 'x'));
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 0, 100);
  part.close();
  EXPECT_EQ(readAll(partPathFor(target_, "")), content);

  PartFile other(files_, partPathFor(folder_ / "b", ""), 1000);
  other.preallocate();
  write(other, content, 0, 100);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "b.part"), 1000U);
}

TEST_F(PartFileTest, SyncsOnlyWhatWasWritten) {
  const std::string content = contentOf("a", 100);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  EXPECT_TRUE(part.sync().ranges.empty());
  write(part, content, 0, 50);
  EXPECT_EQ(part.unsyncedBytes(), 50U);
  EXPECT_EQ(part.sync().newBytes, 50U);
  EXPECT_EQ(part.unsyncedBytes(), 0U);
  EXPECT_EQ(part.sync().newBytes, 0U);
  EXPECT_EQ(files_.calls().size(), 3U);
}

TEST_F(PartFileTest, NoticesAFileThatBecameShorter) {
  const std::string content = contentOf("a", 4U << 20U);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  write(part, content, 2U << 20U, 4U << 20U);
  write(part, content, 0, 2U << 20U);
  std::filesystem::resize_file(partPathFor(target_, ""), 100);
  EXPECT_THROW(part.hash(false, {}), core::Error);
}

TEST_F(PartFileTest, RefusesALink) {
  writeAll(folder_ / "elsewhere", "precious");
  std::filesystem::create_symlink(folder_ / "elsewhere", partPathFor(target_, ""));
  PartFile part(files_, partPathFor(target_, ""), 3);
  EXPECT_THROW(write(part, "abc", 0, 3), core::Error);
  EXPECT_EQ(readAll(folder_ / "elsewhere"), "precious");
}

TEST_F(PartFileTest, ManyWritersAndAHasherAtOnce) {
  constexpr std::uint64_t kStripe = 64U << 10U;
  constexpr unsigned kWriters = 4;
  const std::string content = contentOf("a", 8U << 20U);
  PartFile part(files_, partPathFor(target_, ""), content.size());
  {
    std::vector<std::jthread> writers;
    for (unsigned w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        for (std::uint64_t at = w * kStripe; at < content.size(); at += kWriters * kStripe) {
          write(part, content, at, at + kStripe);
        }
      });
    }
    const std::jthread hasher([&](const std::stop_token& stop) {
      while (!stop.stop_requested() && part.written() != Ranges{{0, content.size()}}) part.hash(true, {});
    });
    writers.clear();
  }
  part.hash(false, {});
  EXPECT_EQ(part.sha256(), hashOf(content));
  part.publish(target_, true, "", {});
  EXPECT_EQ(readAll(target_), content);
}

}  // namespace
}  // namespace caiexport::transfer
