#include "store/libpq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "caiexport/core/error.h"

namespace caiexport::store {
namespace {

using testing::HasSubstr;

core::Error refusalOf(const std::string& file) {
  try {
    const Libpq opened(file);
  } catch (const core::Error& error) {
    return error;
  }
  ADD_FAILURE() << file << " was taken";
  return {core::Category::internal, ""};
}

TEST(LibpqTest, AMissingLibraryIsAnErrorThatNamesWhatToInstall) {
  const core::Error error = refusalOf("libpq-that-nobody-has.so.5");
  EXPECT_EQ(error.category(), core::Category::config);
  EXPECT_THAT(error.what(), HasSubstr("libpq-that-nobody-has.so.5: cannot open"));
  EXPECT_THAT(error.hint(), HasSubstr("apt install libpq5"));
}

TEST(LibpqTest, ALibraryThatIsAnotherOneIsRefusedAtOnce) {
  const core::Error error = refusalOf("libc.so.6");
  EXPECT_EQ(error.category(), core::Category::config);
  EXPECT_THAT(error.what(), HasSubstr("libc.so.6 lacks the function PQ"));
  EXPECT_THAT(error.hint(), HasSubstr("apt install libpq5"));
}

TEST(LibpqTest, ThreadsThatNeedItAtOnceGetTheSame) {
  std::vector<const Libpq*> seen(8);
  {
    std::vector<std::jthread> threads;
    for (const Libpq*& one : seen) threads.emplace_back([&one] { one = &libpq(); });
  }
  EXPECT_THAT(seen, testing::Each(&libpq()));
}

}  // namespace
}  // namespace caiexport::store
