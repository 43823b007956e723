#include "net/connection.h"

#include <gtest/gtest.h>

namespace caiexport::net {
namespace {

using std::chrono::seconds;

struct Item {
  int number;
};

class IdlePoolTest : public ::testing::Test {
 protected:
  void put(int number, seconds at, const std::string& key = "a") {
    pool_.put(key, std::make_unique<Item>(Item{number}), start_ + at);
  }
  int take(seconds at, const std::string& key = "a") {
    const auto item = pool_.take(key, start_ + at);
    return item ? item->number : 0;
  }

  const core::SteadyTime start_ = core::SteadyTime(seconds(1000));
  IdlePool<Item> pool_{{.mostPerKey = 3, .longestIdle = seconds(50)}};
};

TEST_F(IdlePoolTest, GivesOutTheLatestFirst) {
  put(1, seconds(0));
  put(2, seconds(1));
  EXPECT_EQ(take(seconds(2)), 2);
  EXPECT_EQ(take(seconds(2)), 1);
  EXPECT_EQ(take(seconds(2)), 0);
}

TEST_F(IdlePoolTest, KeepsOriginsApart) {
  put(1, seconds(0), "a");
  EXPECT_EQ(take(seconds(0), "b"), 0);
  EXPECT_EQ(take(seconds(0), "a"), 1);
}

TEST_F(IdlePoolTest, DropsWhatWasIdleTooLong) {
  put(1, seconds(0));
  put(2, seconds(10));
  EXPECT_EQ(take(seconds(50)), 2);
  EXPECT_EQ(take(seconds(50)), 0);
}

TEST_F(IdlePoolTest, IsBoundedAndDropsTheOldest) {
  for (int number = 1; number <= 5; ++number) put(number, seconds(number));
  EXPECT_EQ(take(seconds(6)), 5);
  EXPECT_EQ(take(seconds(6)), 4);
  EXPECT_EQ(take(seconds(6)), 3);
  EXPECT_EQ(take(seconds(6)), 0);
}

}  // namespace
}  // namespace caiexport::net
