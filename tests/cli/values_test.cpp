#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "support/fake_clock.h"

namespace caiexport::cli {
namespace {

using testing::ElementsAre;

ParsedOptions with(const std::string& name, const std::string& value) {
  ParsedOptions options;
  options.add(name, value);
  return options;
}

template <class Call>
bool isUsageError(Call call) {
  try {
    call();
  } catch (const core::Error& error) {
    return error.category() == core::Category::usage &&
           std::string_view(error.what()).find("--x") != std::string_view::npos;
  }
  return false;
}

TEST(OptionValues, AreNothingWhereNotGiven) {
  const ParsedOptions none;
  EXPECT_FALSE(numberOption(none, "x", 0, 9));
  EXPECT_FALSE(durationOption(none, "x"));
  EXPECT_FALSE(timeOption(none, "x", {}));
  EXPECT_FALSE(bytesOption(none, "x"));
  EXPECT_FALSE(textOption(none, "x"));
  EXPECT_TRUE(listOption(none, "x").empty());
}

TEST(OptionValues, Numbers) {
  EXPECT_EQ(numberOption(with("x", "3"), "x", 1, 3), 3U);
  for (const char* bad : {"0", "4", "-1", "", "3x", "3.0", "18446744073709551616"}) {
    EXPECT_TRUE(isUsageError([&] { numberOption(with("x", bad), "x", 1, 3); })) << bad;
  }
}

TEST(OptionValues, Durations) {
  EXPECT_EQ(durationOption(with("x", "45s"), "x"), std::chrono::seconds(45));
  EXPECT_EQ(durationOption(with("x", "10m"), "x"), std::chrono::minutes(10));
  EXPECT_EQ(durationOption(with("x", "0.25"), "x"), std::chrono::milliseconds(250));
  for (const char* bad : {"", "soon", "1m30s", "-1s", "1 s", "1w"}) {
    EXPECT_TRUE(isUsageError([&] { durationOption(with("x", bad), "x"); })) << bad;
  }
}

TEST(OptionValues, Times) {
  const core::TimePoint now = support::FakeClock().now();
  EXPECT_EQ(timeOption(with("x", "7d"), "x", now), now - std::chrono::days(7));
  EXPECT_EQ(timeOption(with("x", "2026-11-24"), "x", {}), now);
  EXPECT_EQ(timeOption(with("x", "2026-11-24T01:00:00+01:00"), "x", {}), now);
  for (const char* bad : {"", "yesterday", "2026-13-01", "24.11.2026"}) {
    EXPECT_TRUE(isUsageError([&] { timeOption(with("x", bad), "x", now); })) << bad;
  }
}

TEST(OptionValues, SizesListsTextsAndWords) {
  EXPECT_EQ(bytesOption(with("x", "2G"), "x"), 2ULL << 30U);
  EXPECT_TRUE(isUsageError([] { bytesOption(with("x", "0"), "x"); }));
  EXPECT_TRUE(isUsageError([] { bytesOption(with("x", "fast"), "x"); }));
  EXPECT_THAT(listOption(with("x", "a, b.c,,d"), "x"), ElementsAre("a", "b.c", "d"));
  EXPECT_TRUE(isUsageError([] { listOption(with("x", " , "), "x"); }));
  EXPECT_TRUE(isUsageError([] { textOption(with("x", "a\nb"), "x"); }));
  EXPECT_EQ(textOption(with("x", "caf\u00e9 1"), "x"), "caf\u00e9 1");
  constexpr std::array<std::string_view, 2> kWords{"text", "json"};
  EXPECT_EQ(wordOption(ParsedOptions(), "x", kWords), "text");
  EXPECT_EQ(wordOption(with("x", "json"), "x", kWords), "json");
  EXPECT_TRUE(isUsageError([&] { wordOption(with("x", "JSON"), "x", kWords); }));
}

TEST(OptionValues, JobNumbers) {
  EXPECT_EQ(jobNumber("12"), model::JobId(12));
  for (const char* bad : {"", "0", "-1", "1x", "9223372036854775808", "99999999999999999999"}) {
    EXPECT_THROW(jobNumber(bad), core::Error) << bad;
  }
}

}  // namespace
}  // namespace caiexport::cli
