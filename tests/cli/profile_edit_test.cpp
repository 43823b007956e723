#include "cli/config/config.h"

#include <gtest/gtest.h>

#include <array>

#include "caiexport/core/error.h"

namespace caiexport::cli {
namespace {

TEST(WithProfile, MakesAFile) {
  EXPECT_EQ(withProfile("", "default", {{"a", "1"}, {"b", "2"}}, {}), "[default]\na = 1\nb = 2\n");
  EXPECT_EQ(withProfile("; head\n", "x", {{"a", "1"}}, {}), "; head\n\n[x]\na = 1\n");
}

TEST(WithProfile, ChangesOnlyWhatItIsAskedTo) {
  const std::string before =
      "; head\n"
      "[one]\n"
      "a = 1\n"
      "\n"
      "[ two ]\n"
      "; about a\n"
      "a=old\n"
      "c = keep ; all of it\n"
      "gone = x\n"
      "; end of two\n"
      "\n"
      "[three]\n"
      "gone = stays\n";
  const std::array<std::string_view, 1> removed{"gone"};
  EXPECT_EQ(withProfile(before, "two", {{"a", "new"}, {"b", "= odd; value"}}, removed),
            "; head\n"
            "[one]\n"
            "a = 1\n"
            "\n"
            "[ two ]\n"
            "; about a\n"
            "a = new\n"
            "c = keep ; all of it\n"
            "b = = odd; value\n"
            "; end of two\n"
            "\n"
            "[three]\n"
            "gone = stays\n");
}

TEST(WithProfile, FillsAnEmptyProfileAndAFileWithoutLineEnd) {
  EXPECT_EQ(withProfile("[one]\n\n[two]\nz = 9", "one", {{"a", "1"}}, {}), "[one]\na = 1\n\n[two]\nz = 9\n");
}

TEST(ProfileName, IsPlain) {
  EXPECT_NO_THROW(requireProfileName("prod-eu_1.x"));
  for (const char* name : {"", "a b", "a]b", "-x", "a\nb", "\xC3\xA4"}) {
    EXPECT_THROW(requireProfileName(name), core::Error) << name;
  }
}

TEST(ProfileValue, MustComeBackFromTheFile) {
  EXPECT_NO_THROW(requireWritableValue("output", "/a b/c"));
  for (const char* value : {" x", "x ", "a\nb", "a\tb\x7f"}) {
    try {
      requireWritableValue("client_secret", value);
      ADD_FAILURE() << value;
    } catch (const core::Error& error) {
      EXPECT_EQ(std::string(error.what()).find("a\nb"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace caiexport::cli
