#include "caiexport/core/text.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace caiexport::core {
namespace {

TEST(Numbers, AreWholeTextsThatFit) {
  EXPECT_EQ(numberFrom<std::uint16_t>("65535"), 65535);
  EXPECT_EQ(numberFrom<std::int64_t>("-12"), -12);
  EXPECT_EQ(numberFrom<unsigned>("ff", 16), 255U);
  EXPECT_EQ(numberFrom<double>("1.5e3"), 1500.0);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "65536", "1.0", "x"}) {
    EXPECT_EQ(numberFrom<std::uint16_t>(text), std::nullopt) << text;
  }
}

TEST(Spreadsheets, RunWhatBeginsLikeAFormulaAndIsNoNumber) {
  for (const char* text : {"=1+1", " =1", "+A1", "-A1", "@SUM(A1)", "-nan(1)", "-inf", "\uFF1D1", "\t=1", "-"}) {
    EXPECT_TRUE(runsInSpreadsheets(text)) << text;
  }
  for (const char* text : {"", "-1.5e3", "+7", "a=1", "1=1", "\u00E9"}) {
    EXPECT_FALSE(runsInSpreadsheets(text)) << text;
  }
}

}  // namespace
}  // namespace caiexport::core
