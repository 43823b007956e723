#include "transfer/part_file.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "caiexport/core/file_system.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"
#include "transfer/schedule.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;
using testing::bytesOf;
using testing::contentOf;
using Ranges = std::vector<ByteRange>;

constexpr std::uint64_t kLength = 1U << 20U;

class Counter final : public Arrivals {
 public:
  void onFirstByte() override { ++firstBytes; }
  void onBytes(std::uint64_t received, std::uint64_t kept) override {
    receivedBytes += received;
    keptBytes += kept;
  }
  int firstBytes = 0;
  std::uint64_t receivedBytes = 0;
  std::uint64_t keptBytes = 0;
};

class PieceSinkTest : public ::testing::Test {
 protected:
  PieceSinkTest()
      : file_(std::make_shared<FileTask>(core::diskFileSystem(), testing::itemOf(1, kLength, folder_.path()))) {}

  void ask(std::uint64_t first, std::uint64_t end) {
    piece_ = std::make_unique<Piece>(file_, ByteRange{first, end}, 0, core::SteadyTime{});
    sink_ = std::make_unique<PieceSink>(*piece_, counter_);
  }

  /// True when the sink ended the transfer.
  bool send(std::uint64_t first, std::uint64_t end, std::uint64_t chunkBytes = 1000) {
    try {
      sink_->begin(first, kLength);
      for (std::uint64_t at = first; at < end; at += chunkBytes) {
        sink_->write(bytesOf(content_, at, std::min(end, at + chunkBytes)));
      }
    } catch (const EnoughReceived&) {
      return true;
    }
    return false;
  }

  support::TempDirectory folder_;
  std::shared_ptr<FileTask> file_;
  std::unique_ptr<Piece> piece_;
  std::unique_ptr<PieceSink> sink_;
  Counter counter_;
  const std::string content_ = contentOf("f1", kLength);
};

TEST_F(PieceSinkTest, TakesTheRange) {
  ask(5000, 9000);
  EXPECT_FALSE(send(5000, 9000));
  EXPECT_EQ(file_->part.written(), (Ranges{{5000, 9000}}));
  EXPECT_EQ(piece_->rest().sizeBytes(), 0U);
  EXPECT_EQ(counter_.firstBytes, 1);
  EXPECT_FALSE(sink_->wholeFileComes());
}

TEST_F(PieceSinkTest, AShortAnswerLeavesTheRest) {
  ask(5000, 9000);
  EXPECT_FALSE(send(5000, 6500));
  EXPECT_EQ(piece_->rest(), (ByteRange{6500, 9000}));
  EXPECT_EQ(sink_->keptBytes(), 1500U);
}

TEST_F(PieceSinkTest, OfTheWholeFileItKeepsTheRangeAndEndsTheTransfer) {
  ask(500'000, 600'000);
  EXPECT_TRUE(send(0, kLength));
  EXPECT_EQ(file_->part.written(), (Ranges{{500'000, 600'000}}));
  EXPECT_TRUE(sink_->wholeFileComes());
  EXPECT_TRUE(sink_->enough());
  EXPECT_EQ(counter_.receivedBytes, 600'000U);
  EXPECT_FALSE(sink_->failure());
}

TEST_F(PieceSinkTest, ReadsAShortRemainderToItsEndToKeepTheConnection) {
  ask(0, kLength - 10'000);
  EXPECT_FALSE(send(0, kLength));
  EXPECT_EQ(file_->part.written(), (Ranges{{0, kLength - 10'000}}));
  EXPECT_TRUE(sink_->wholeFileComes());
}

TEST_F(PieceSinkTest, AnAnswerThatBeginsLaterLeavesAGap) {
  ask(5000, 9000);
  EXPECT_FALSE(send(6000, 9000));
  EXPECT_EQ(file_->part.written(), (Ranges{{6000, 9000}}));
  EXPECT_EQ(sink_->leftOut(), (Ranges{{5000, 6000}}));
}

TEST_F(PieceSinkTest, AnAnswerFromElsewhereBringsNothing) {
  ask(5000, 9000);
  EXPECT_FALSE(send(1000, 4000));
  EXPECT_EQ(sink_->keptBytes(), 0U);
  EXPECT_EQ(piece_->rest(), (ByteRange{5000, 9000}));

  ask(5000, 9000);
  EXPECT_TRUE(send(20'000, kLength));
  EXPECT_EQ(sink_->keptBytes(), 0U);
  EXPECT_EQ(sink_->leftOut(), (Ranges{{5000, 9000}}));
  EXPECT_TRUE(file_->part.written().empty());
}

TEST_F(PieceSinkTest, RefusesAFileOfAnotherLength) {
  ask(0, 1000);
  try {
    sink_->begin(0, kLength + 1);
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::verification);
    const std::string message = error.what();
    EXPECT_NE(message.find(std::to_string(kLength) + " bytes"), std::string::npos) << message;
    EXPECT_NE(message.find(std::to_string(kLength + 1) + " bytes"), std::string::npos) << message;
  }
  EXPECT_TRUE(sink_->failure());
}

TEST_F(PieceSinkTest, StopsWhereItsTailWasTakenAway) {
  ask(0, 500'000);
  sink_->begin(0, kLength);
  sink_->write(bytesOf(content_, 0, 1000));
  EXPECT_EQ(piece_->cutAt(100'000), (ByteRange{100'000, 500'000}));
  EXPECT_THROW(
      {
        for (std::uint64_t at = 1000; at < 500'000; at += 1000) sink_->write(bytesOf(content_, at, at + 1000));
      },
      EnoughReceived);
  EXPECT_EQ(file_->part.written(), (Ranges{{0, 100'000}}));
}

TEST_F(PieceSinkTest, ASourceMayBeginAgain) {
  ask(5000, 9000);
  EXPECT_FALSE(send(5000, 6000));
  EXPECT_FALSE(send(5000, 9000));
  EXPECT_EQ(file_->part.written(), (Ranges{{5000, 9000}}));
  EXPECT_EQ(sink_->keptBytes(), 4000U);
}

TEST_F(PieceSinkTest, AnOverlongAnswerIsCut) {
  ask(5000, 9000);
  EXPECT_TRUE(send(5000, 12'000));
  EXPECT_EQ(file_->part.written(), (Ranges{{5000, 9000}}));
  EXPECT_TRUE(sink_->wholeFileComes());
}

}  // namespace
}  // namespace caiexport::transfer
