#include "platform/json.h"

#include "caiexport/net/http.h"
#include "fixture.h"

namespace caiexport::platform {
namespace {

using core::Category;
using testing::HasSubstr;

Json parsed(const std::string& body) {
  return Json::parse({.status = 200, .headers = support::headers({{"Content-Type", "text/html"}}), .body = body},
                     "GET https://platform.example/x");
}

std::string refusal(const std::string& body) {
  return failureOf(Category::protocol, [&] { parsed(body); }).what();
}

TEST(JsonTest, ReadsNumbersAndStringsAlike) {
  const Json json =
      parsed(R"({"a": 701, "b": "701", "c": 701.0, "d": 18446744073709551615, "e": "18446744073709551615"})");
  EXPECT_EQ(json.at("a").text(), "701");
  EXPECT_EQ(json.at("b").text(), "701");
  EXPECT_EQ(json.at("c").text(), "701");
  EXPECT_EQ(json.at("a").unsignedNumber(), 701U);
  EXPECT_EQ(json.at("c").unsignedNumber(), 701U);
  EXPECT_EQ(json.at("d").unsignedNumber(), 18446744073709551615U);
  EXPECT_EQ(json.at("e").unsignedNumber(), 18446744073709551615U);
  EXPECT_EQ(json.at("a").id(), "701");
}

TEST(JsonTest, NeverWrapsOrRounds) {
  const Json json = parsed(
      R"({"big": 18446744073709551616, "low": -9223372036854775809, "half": 1.5, "negative": -1, "huge": 1e400,
          "exponent": 1e3, "word": "12x", "bool": true})");
  for (const char* name : {"big", "low", "half", "negative", "huge", "word", "bool"}) {
    const auto error = failureOf(Category::protocol, [&] { json.at(name).unsignedNumber(); });
    EXPECT_THAT(error.what(), HasSubstr("GET https://platform.example/x")) << name;
    EXPECT_THAT(error.what(), HasSubstr(name));
    EXPECT_FALSE(json.at(name).unsignedIfAny()) << name;
  }
  EXPECT_EQ(json.at("big").text(), "18446744073709551616");
  EXPECT_EQ(json.at("exponent").unsignedNumber(), 1000U);
}

TEST(JsonTest, NumbersInsideStringsStayAsTheyAre) {
  const Json json =
      parsed(R"({"a\"18446744073709551616": "\\", "b": "x 99999999999999999999 \" 1e999", "c": [1e400, {}]})");
  EXPECT_EQ(json.at("b").text(), "x 99999999999999999999 \" 1e999");
  EXPECT_EQ(json.members().front().first, "a\"18446744073709551616");
}

TEST(JsonTest, KeepsTheOrderOfKeysAndTakesTheLastDuplicate) {
  const Json json = parsed(R"({"z": 1, "a": 2, "z": 3})");
  ASSERT_EQ(json.members().size(), 2U);
  EXPECT_EQ(json.members()[0].first, "z");
  EXPECT_EQ(json.at("z").text(), "3");
}

TEST(JsonTest, MissingNullAndEmptyObjectAreTheSame) {
  const Json json = parsed(R"({"null": null, "empty": {}, "text": ""})");
  EXPECT_FALSE(json.at("absent").exists());
  EXPECT_FALSE(json.at("null").exists());
  EXPECT_FALSE(json.at("empty").exists());
  EXPECT_TRUE(json.at("text").exists());
  EXPECT_FALSE(json.at("text").at("below").exists());
  EXPECT_THAT(failureOf(Category::protocol, [&] { json.at("null").text(); }).what(),
              HasSubstr("field null is missing"));
  EXPECT_EQ(json.at("empty").textOrEmpty(), "");
  failureOf(Category::protocol, [&] { parsed(R"({"a": [1]})").at("a").textOrEmpty(); });
}

TEST(JsonTest, NamesThePlaceOfAMistypedField) {
  const Json json = parsed(R"({"data": [{"length": "1"}, {"length": {"x": 1}}]})");
  const auto error =
      failureOf(Category::protocol, [&] { json.at("data").elements()[1].at("length").unsignedNumber(); });
  EXPECT_STREQ(error.what(),
               "GET https://platform.example/x: the answer's field data[1].length is neither a string nor a number");
  failureOf(Category::protocol, [&] { json.elements(); });
  failureOf(Category::protocol, [&] { json.at("data").members(); });
  failureOf(Category::protocol, [&] { json.at("nothing").elements(); });
}

TEST(JsonTest, ReadsTimes) {
  const Json json =
      parsed(R"({"ms": 1764000000123, "text": "1764000000123", "s": 1764000000, "far": 99999999999999999})");
  const core::TimePoint expected{core::Duration(1764000000123)};
  EXPECT_EQ(json.at("ms").time(), expected);
  EXPECT_EQ(json.at("text").time(), expected);
  EXPECT_EQ(json.at("s").timeIfAny(std::chrono::seconds(1)), core::TimePoint(core::Duration(1764000000000)));
  failureOf(Category::protocol, [&] { json.at("far").time(); });
  failureOf(Category::protocol, [&] { json.at("far").timeIfAny(std::chrono::seconds(1)); });
  failureOf(Category::protocol, [&] { json.at("absent").time(); });
  EXPECT_FALSE(json.at("absent").timeIfAny());
}

TEST(JsonTest, RefusesIdsThatCannotStandInAPath) {
  for (const char* id : {"a/b", "..", "", "a b", "a\\u0000b", "a\\r\\nX: y"}) {
    failureOf(Category::protocol, [&] { parsed(std::string(R"({"id": ")") + id + "\"}").at("id").id(); });
  }
}

TEST(JsonTest, ShowsTheBeginningOfWhatIsNotJson) {
  const std::string message = refusal("<html>\n  <b>Bad\x1b[31m Gateway</b>" + std::string(500, 'x'));
  EXPECT_THAT(message,
              HasSubstr("is not JSON, or it is cut (content type text/html): '<html> <b>Bad\\x1b[31m Gateway"));
  EXPECT_LT(message.size(), 400U);
  EXPECT_THAT(refusal(""), HasSubstr("it is empty"));
}

TEST(JsonTest, NeverShowsABearer) {
  EXPECT_THAT(refusal("GET / HTTP/1.1\nAuthorization: Bearer canary-token\nX: y"),
              testing::AllOf(HasSubstr("Authorization: Bearer ***"), testing::Not(HasSubstr("canary"))));
}

TEST(JsonTest, RefusesWhatIsCutOrFollowedByMore) {
  refusal(R"({"a": 1)");
  refusal(R"({"a": "x)");
  refusal(R"({"a": 1} {)");
  refusal("[1, 2");
  refusal("42");
  refusal("{\"a\": \"\xff\"}");
  refusal("{\"a\": -}");
  refusal("{\"a\": 0123456789012345678901234567890}");
}

TEST(JsonTest, RefusesDeepNestingWithoutRecursion) {
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("nested deeper than 128 levels"));
  refusal(std::string(129, '[') + std::string(129, ']'));
  EXPECT_TRUE(parsed(std::string(128, '[') + std::string(128, ']')).isArray());
}

}  // namespace
}  // namespace caiexport::platform
