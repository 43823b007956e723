#include "caiexport/json/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "caiexport/json/document.h"

namespace caiexport::json {
namespace {

using testing::HasSubstr;

TEST(JsonText, EscapesWhatJsonAndTerminalsMind) {
  EXPECT_EQ(json::quoted("plain \u00e9 \u4e16 \U0001F600"), "\"plain \u00e9 \u4e16 \U0001F600\"");
  EXPECT_EQ(json::quoted("\"\\\n\r\t"), "\"\\\"\\\\\\n\\r\\t\"");
  EXPECT_EQ(json::quoted(std::string_view("\0\x1b\x7f", 3)), "\"\\u0000\\u001b\\u007f\"");
  EXPECT_EQ(json::quoted("\u009b31m"), "\"\\u009b31m\"");
  EXPECT_EQ(json::quoted("a\u202eb\u2066c\u2028\ufeff"), R"("a\u202eb\u2066c\u2028\ufeff")");
  EXPECT_EQ(json::quoted("\U000E0041"), R"("\udb40\udc41")");
}

TEST(JsonText, ReplacesWhatIsNotUtf8) {
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\x80"}) {
    const std::string text = json::quoted("a" + std::string(bad) + "b");
    EXPECT_THAT(text, HasSubstr("\uFFFD")) << testing::PrintToString(bad);
    EXPECT_EQ(Document::parse("[" + text + "]").problem, Document::Problem::none);
  }
}

TEST(JsonWriter, PutsCommasWhereTheyBelong) {
  std::string text;
  Writer json([&](std::string_view piece) { text += piece; });
  json.beginObject();
  json.key("a").beginArray().value(std::uint64_t{18446744073709551615U}).null().value(true).endArray();
  json.key("b").beginObject().endObject();
  json.key("c").value(std::optional<std::string>());
  json.key("d").value(std::int64_t{-3});
  json.endObject();
  EXPECT_EQ(text, R"({"a": [18446744073709551615, null, true], "b": {}, "c": null, "d": -3})");
}

TEST(JsonWriter, CompactTextHasNoBlanks) {
  std::string text;
  Writer json(text, Spacing::compact);
  json.beginObject().key("a").beginArray().value("x y").value(false).endArray().key("b").null().endObject();
  EXPECT_EQ(text, R"({"a":["x y",false],"b":null})");
}

TEST(JsonWriter, LinesHoldOneElementEach) {
  std::string text;
  Writer json(text, Spacing::compact);
  json.beginLines();
  for (const std::int64_t number : {1, 2}) json.beginObject().key("n").value(number).endObject();
  json.endArray();
  EXPECT_EQ(text, "[\n  {\"n\":1},\n  {\"n\":2}\n]");
}

TEST(JsonWriter, NumbersReadBackTheSame) {
  std::string text;
  Writer json(text);
  json.beginArray().value(0.1).value(1e300).value(std::numeric_limits<double>::infinity()).endArray();
  EXPECT_EQ(text, "[0.1, 1e+300, null]");
}

TEST(JsonWriter, TellsWhetherATextHadToBeChanged) {
  std::string text;
  Writer json(text);
  json.beginArray().value("\u00e9\u202e\x01");
  EXPECT_TRUE(json.isFaithful());
  json.value("\xff").value("a").endArray();
  EXPECT_FALSE(json.isFaithful());
}

TEST(JsonWriter, EveryCharacterReadsBack) {
  std::string all;
  for (char c = 1; c < 127; ++c) all += c;
  all += "\u0080\u00e9\u2028\U0001F600";
  const Document::Parsed parsed = Document::parse("[" + json::quoted(all) + "]");
  ASSERT_EQ(parsed.problem, Document::Problem::none);
  EXPECT_EQ(parsed.document->text(parsed.document->elements(0).at(0)), all);
}

}  // namespace
}  // namespace caiexport::json
