#include "caiexport/cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "caiexport/core/error.h"

namespace caiexport::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::array<Option, 3> kOptions{{
    {"output", "DIR", "where"},
    {"limit", "N", "how many"},
    {"all", "", "everything"},
}};
const std::array<OptionGroup, 1> kGroups{{{"Some", kOptions}}};

ParsedOptions parse(const std::vector<std::string>& words) {
  ParsedOptions parsed;
  takeAllOptions(words, kGroups, parsed);
  return parsed;
}

std::string failureOf(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::usage);
    return error.what() + std::string(" | ") + error.hint();
  }
  return "no failure";
}

TEST(Options, TakeBothForms) {
  const ParsedOptions parsed = parse({"--output", "here", "--limit=3", "12", "--all"});
  EXPECT_EQ(parsed.value("output"), "here");
  EXPECT_EQ(parsed.value("limit"), "3");
  EXPECT_EQ(parsed.value("all"), "");
  EXPECT_FALSE(parsed.has("quiet"));
  EXPECT_THAT(parsed.arguments(), ElementsAre("12"));
}

TEST(Options, AreExactNames) {
  for (const char* word : {"--out", "--OUTPUT", "--outputx", "--output:x", "-output", "-o", "--"}) {
    const std::string text = failureOf({word, "x"});
    if (std::string_view(word) == "--") {
      EXPECT_EQ(text, "no failure");
    } else {
      EXPECT_THAT(text, HasSubstr("unknown option")) << word;
    }
  }
}

TEST(Options, NameTheNearestRealOne) {
  EXPECT_THAT(failureOf({"--ouput=x"}), HasSubstr("unknown option --ouput, did you mean '--output'?"));
  EXPECT_THAT(failureOf({"--lim"}), HasSubstr("did you mean '--limit'?"));
  EXPECT_THAT(failureOf({"--zzzzzz"}), testing::Not(HasSubstr("did you mean")));
}

TEST(Options, KeepEqualsSignsEmptyTextAndDashesInValues) {
  EXPECT_EQ(parse({"--output=a=b"}).value("output"), "a=b");
  EXPECT_EQ(parse({"--output="}).value("output"), "");
  EXPECT_EQ(parse({"--output", ""}).value("output"), "");
  EXPECT_EQ(parse({"--output=--all"}).value("output"), "--all");
  EXPECT_EQ(parse({"--limit", "-5"}).value("limit"), "-5");
}

TEST(Options, RefuseWhatIsMissingOrTooMuch) {
  EXPECT_THAT(failureOf({"--output"}), HasSubstr("--output needs a value: --output DIR"));
  EXPECT_THAT(failureOf({"--output", "--all"}), HasSubstr("given as --output=VALUE"));
  EXPECT_THAT(failureOf({"--all=yes"}), HasSubstr("--all takes no value"));
  EXPECT_THAT(failureOf({"--limit", "1", "--limit=1"}), HasSubstr("--limit is given twice"));
}

TEST(Options, EndAtTwoDashes) {
  EXPECT_THAT(parse({"--all", "--", "--output", "-", "--"}).arguments(), ElementsAre("--output", "-", "--"));
  EXPECT_THAT(parse({"-"}).arguments(), ElementsAre("-"));
}

TEST(Options, LeadingOnesStopAtThePlainWord) {
  const std::vector<std::string> words{"--limit", "3", "dataset", "--all"};
  std::span<const std::string> rest(words);
  ParsedOptions parsed;
  takeLeadingOptions(rest, kGroups, parsed);
  EXPECT_EQ(parsed.value("limit"), "3");
  EXPECT_FALSE(parsed.has("all"));
  EXPECT_THAT(std::vector<std::string>(rest.begin(), rest.end()), ElementsAre("dataset", "--all"));
}

TEST(Options, ControlCharactersOfAWordAreNotEchoed) {
  EXPECT_THAT(failureOf({"--\x1b[31m"}), HasSubstr("\\x1b"));
}

TEST(EditDistance, CountsSingleChanges) {
  EXPECT_EQ(editDistance("", ""), 0U);
  EXPECT_EQ(editDistance("abc", ""), 3U);
  EXPECT_EQ(editDistance("", "abc"), 3U);
  EXPECT_EQ(editDistance("kitten", "sitting"), 3U);
  EXPECT_EQ(editDistance("histroy", "history"), 1U);
  EXPECT_EQ(editDistance("same", "same"), 0U);
}

TEST(Nearest, AnswersOnlyWhereOneIsNear) {
  constexpr std::array<std::string_view, 4> kWords{"dataset", "segment", "history", "show"};
  EXPECT_EQ(nearest("datset", kWords), "dataset");
  EXPECT_EQ(nearest("SEGMENT", kWords), "segment");
  EXPECT_EQ(nearest("hist", kWords), "history");
  EXPECT_EQ(nearest("xyz", kWords), "");
  EXPECT_EQ(nearest("", kWords), "");
  EXPECT_EQ(nearest(std::string(10'000, 'a'), kWords), "");
}

TEST(HelpText, WrapsAndAligns) {
  EXPECT_EQ(wrapped("one two three", 7, 2), "one two\n  three");
  EXPECT_EQ(wrapped("averyveryverylongword x", 5, 1), "averyveryverylongword\n x");
  const std::string list = optionList(kGroups);
  EXPECT_THAT(list, HasSubstr("  --output DIR"));
}

}  // namespace
}  // namespace caiexport::cli
