#include "caiexport/core/encoding.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::core {
namespace {

TEST(Hex, HasTwoDigitsForEachByte) {
  EXPECT_EQ(hexOf(std::string_view("\0\x0A\xFF", 3)), "000aff");
  EXPECT_EQ(hexOf(""), "");
  std::string text = "x";
  appendHex(text, "\xAB", HexDigits::upper);
  EXPECT_EQ(text, "xAB");
  EXPECT_EQ(hexValue('f'), 15U);
  EXPECT_EQ(hexValue('A'), 10U);
  EXPECT_EQ(hexValue('g'), std::nullopt);
  EXPECT_EQ(hexValue('\xFF'), std::nullopt);
}

TEST(PercentDecode, LeavesWhatIsNoEscape) {
  EXPECT_EQ(percentDecode("a%41%2fb%2F"), "aA/b/");
  EXPECT_EQ(percentDecode("100%"), "100%");
  EXPECT_EQ(percentDecode("%4"), "%4");
  EXPECT_EQ(percentDecode("%4g%zz%+1%-1"), "%4g%zz%+1%-1");
  EXPECT_EQ(percentDecode("%25%34%31"), "%41");
  EXPECT_EQ(percentDecode("a+b"), "a+b");
}

TEST(Fnv1a, GivesTheKnownHashes) {
  // Of the authors' test suite.
  EXPECT_EQ(fnv1a(""), 0xCBF29CE484222325U);
  EXPECT_EQ(fnv1a("a"), 0xAF63DC4C8601EC8CU);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171F73967E8U);
}

TEST(Grouped, SetsCommas) {
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'000), "1,000");
  EXPECT_EQ(grouped(18'446'744'073'709'551'615U), "18,446,744,073,709,551,615");
}

bool isReadable(int descriptor) {
  pollfd polled{descriptor, POLLIN, 0};
  return ::poll(&polled, 1, 0) == 1;
}

TEST(StopSignal, IsReadableOnceAStopIsRequested) {
  std::stop_source source;
  const StopSignal signal(source.get_token());
  EXPECT_FALSE(isReadable(signal.descriptor()));
  EXPECT_NO_THROW(signal.check());
  source.request_stop();
  EXPECT_TRUE(isReadable(signal.descriptor()));
  EXPECT_THROW(signal.check(), Interrupted);
}

TEST(StopSignal, LeavesNothingForTheNextOne) {
  {
    std::stop_source source;
    const StopSignal signal(source.get_token());
    source.request_stop();
  }
  const std::stop_source other;
  const StopSignal signal(other.get_token());
  EXPECT_FALSE(isReadable(signal.descriptor()));
}

TEST(StopSignal, KnowsAStopFromBefore) {
  std::stop_source source;
  source.request_stop();
  const StopSignal signal(source.get_token());
  EXPECT_TRUE(isReadable(signal.descriptor()));
}

TEST(StopSignal, NeedsNoPipeWhereNoStopCanCome) {
  EXPECT_EQ(StopSignal(std::stop_token()).descriptor(), -1);
}

}  // namespace
}  // namespace caiexport::core
