#include "platform/name_set.h"

#include <gtest/gtest.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "support/sanitizer.h"

namespace caiexport::platform {
namespace {

std::string nameOf(std::size_t number) {
  return "part-" + std::to_string(number) + "-tid-5614298703411200001-d0c6a1f4-c000.snappy.parquet";
}

TEST(NameSet, TellsWhatItHadFromWhatIsNew) {
  NameSet names;
  for (std::size_t number = 0; number < 30'000; ++number) {
    ASSERT_TRUE(names.insert(nameOf(number))) << number;
    ASSERT_FALSE(names.insert(nameOf(number))) << number;
    ASSERT_FALSE(names.insert(nameOf(number / 2))) << number;
  }
}

TEST(NameSet, OfAMillionNamesTakesElevenMebibytes) {
#if defined(__GLIBC__)
  if (support::kSanitized) GTEST_SKIP() << "NOT CHECKED: sanitizers have an allocator of their own";
  const auto used = [] { return mallinfo2().uordblks + mallinfo2().hblkhd; };
  const std::size_t before = used();
  NameSet names;
  for (std::size_t number = 0; number < 1'000'000; ++number) names.insert(nameOf(number));
  EXPECT_LT(used() - before, std::size_t{11} << 20U);
#else
  GTEST_SKIP() << "NOT CHECKED: this C library does not tell what is allocated";
#endif
}

}  // namespace
}  // namespace caiexport::platform
