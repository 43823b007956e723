#include <gtest/gtest.h>

#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "cli/commands/reading.h"
#include "support/process.h"

namespace caiexport::cli {
namespace {

/// What is written between two looks must still fit.
TEST(ReadWatchTest, StopsTheWorkBeforeAllOfItsMemoryIsTaken) {
  const std::uint64_t most = core::residentBytes() + (64U << 20U);
  const std::stop_source stop;
  ReadWatch watch(most, stop.get_token(), [](const core::Error&) {});
  EXPECT_FALSE(watch.isMemoryUsedUp());
  const std::vector<char> taken(most / 64 * 61 - core::residentBytes(), 1);
  EXPECT_TRUE(support::eventually([&] { return watch.isMemoryUsedUp(); }));
  EXPECT_LE(core::residentBytes(), most);
  EXPECT_EQ(taken.back(), 1);
}

}  // namespace
}  // namespace caiexport::cli
