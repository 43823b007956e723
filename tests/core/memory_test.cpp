#include "caiexport/core/memory.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <system_error>

namespace caiexport::core {
namespace {

TEST(ScarcityTest, IsWhatTheSystemCannotGive) {
  EXPECT_TRUE(isOutOfMemory(scarcityIn(std::bad_alloc()).value()));
  for (const std::errc code : {std::errc::resource_unavailable_try_again, std::errc::not_enough_memory}) {
    const std::optional<Error> scarce = scarcityIn(std::system_error(std::make_error_code(code)));
    ASSERT_TRUE(scarce);
    EXPECT_EQ(scarce->category(), Category::io);
    EXPECT_NE(scarce->hint(), "");
  }
  EXPECT_FALSE(scarcityIn(std::system_error(std::make_error_code(std::errc::no_such_file_or_directory))));
  EXPECT_FALSE(scarcityIn(std::runtime_error("a defect")));
}

}  // namespace
}  // namespace caiexport::core
