#include <gmock/gmock.h>

#include "simulator/platform.h"

namespace caiexport::simulator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string rule(const std::string& action, const std::string& more = R"("times": 1)") {
  return R"({"faults": [{"match": {"path": "/data/"}, )" + more + R"(, "do": )" + action + "}]}";
}

std::vector<int> statuses(Platform& platform, int requests) {
  std::vector<int> found;
  found.reserve(static_cast<std::size_t>(requests));
  for (int number = 0; number < requests; ++number) {
    found.push_back(platform.get(scoreBatches).status);
  }
  return found;
}

TEST(FaultRules, SkipEveryAndTimes) {
  Platform platform(rule(R"({"status": 503})", R"("skip": 1, "every": 2, "times": 2)"));
  EXPECT_THAT(statuses(platform, 7), ElementsAre(200, 503, 200, 503, 200, 200, 200));
  EXPECT_EQ(platform.world.statistics().faultsFired, 2U);
}

TEST(FaultRules, MeetOnceUnlessToldOtherwise) {
  Platform once(R"({"faults": [{"do": {"status": 500}}]})");
  EXPECT_THAT(statuses(once, 3), ElementsAre(500, 200, 200));
  Platform ever(R"({"faults": [{"times": -1, "do": {"status": 500}}]})");
  EXPECT_THAT(statuses(ever, 3), ElementsAre(500, 500, 500));
}

TEST(FaultRules, MatchMethodPathAndHeader) {
  Platform platform(R"({"faults": [
    {"match": {"method": "POST"}, "times": -1, "do": {"status": 501}},
    {"match": {"path": "limit=7$"}, "times": -1, "do": {"status": 502}},
    {"match": {"header": "Range"}, "times": -1, "do": {"status": 503}}]})");
  EXPECT_EQ(platform.get(scoreBatches).status, 200);
  EXPECT_EQ(platform.post(scoreBatches, "{}").status, 501);
  EXPECT_EQ(platform.get(scoreBatches + "&limit=7").status, 502);
  Headers headers = goodHeaders();
  headers.emplace_back("Range", "bytes=0-1");
  EXPECT_EQ(platform.send("GET", scoreBatches, headers).status, 503);
  // The simulator's own resources are never met.
  EXPECT_EQ(platform.control("advance", R"({"seconds": 1})").status, 200);
}

TEST(FaultRules, AnswerWithStatusHeadersAndBody) {
  Platform platform(
      rule(R"({"status": 429, "retry_after": 7, "headers": {"X-Extra": "1"}, "body": {"error_code": "429050"}})"));
  const Response answer = platform.get(scoreBatches);
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(headerOf(answer.headers, "Retry-After"), "7");
  EXPECT_EQ(headerOf(answer.headers, "X-Extra"), "1");
  EXPECT_EQ(answer.body, R"({"error_code":"429050"})");
}

TEST(FaultRules, RetryAfterAsADate) {
  Platform platform(rule(R"({"status": 503, "retry_after": "date+90"})"));
  EXPECT_EQ(headerOf(platform.get(scoreBatches).headers, "Retry-After"), "Tue, 24 Nov 2026 00:01:30 GMT");
}

TEST(FaultRules, BodiesOfAllKinds) {
  Platform html(rule(R"({"body_html": "<html>no</html>"})"));
  EXPECT_EQ(headerOf(html.get(scoreBatches).headers, "Content-Type"), "text/html");
  Platform huge(rule(R"({"huge_json": 100000})"));
  const Response large = huge.get(scoreBatches);
  EXPECT_EQ(large.body.size(), 100000U);
  EXPECT_NO_THROW(parseJson(large.body));
  Platform deep(rule(R"({"deep_json": 100000})"));
  EXPECT_THAT(deep.get(scoreBatches).body, HasSubstr("[[[[[[[["));
  Platform elsewhere(rule(R"({"redirect": {"status": 307, "location": "{scheme}://evil.test{target}"}})"));
  const Response redirect = elsewhere.get(scoreBatches);
  EXPECT_EQ(redirect.status, 307);
  EXPECT_EQ(headerOf(redirect.headers, "Location"), "https://evil.test" + scoreBatches);
}

TEST(FaultRules, ALostAnswerWasCarriedOutOrNot) {
  const auto created = [](const std::string& action) {
    Platform platform(R"({"faults": [{"match": {"method": "POST"}, "do": )" + action + "}]}");
    const Response answer =
        platform.post("/data/foundation/catalog/dataSets", R"({"name":"a","schemaRef":{"id":"x","contentType":"y"}})");
    EXPECT_TRUE(answer.transport.answerLost || answer.status == 500);
    return platform.world.statistics().datasetsCreated;
  };
  EXPECT_EQ(created(R"({"take_then_lose": true})"), 1U);
  EXPECT_EQ(created(R"({"close_without_answer": true})"), 0U);
  EXPECT_EQ(created(R"({"reset_before_headers": true})"), 0U);
  EXPECT_EQ(created(R"({"status": 500})"), 0U);
  EXPECT_EQ(created(R"({"status": 500, "carry_out": true})"), 1U);
}

/// A directory of 250 files, paged by 100.
struct Lists : testing::Test {
  Platform platform{R"({"files": 250, "success_marker": false})"};
  std::string directory;

  void SetUp() override {
    const std::string batch =
        keysOf(jsonIn(platform.get(scoreBatches + "&status=success&orderBy=desc:created&limit=1")))[0];
    directory = "/data/foundation/export/files/" + batch + "-1";
    platform.get("/data/foundation/export/batches/" + batch + "/files");
  }

  JsonObject faulty(const std::string& target, const std::string& action) {
    platform.world.change(rule(action));
    return jsonIn(platform.get(target));
  }

  std::string firstName(const JsonObject& page) { return *stringIn(arrayIn(page, "data")->getObject(0), "name"); }
  std::string secondPage() { return targetOf(nextLink(jsonIn(platform.get(directory)))); }
};

TEST_F(Lists, NextThatLoops) {
  const std::string second = secondPage();
  EXPECT_EQ(targetOf(nextLink(faulty(second, R"({"loop_next": true})"))), second);
}

TEST_F(Lists, EmptyPageWithNext) {
  const JsonObject page = faulty(directory, R"({"empty_page_with_next": true})");
  EXPECT_EQ(arrayIn(page, "data")->size(), 0U);
  EXPECT_NE(nextLink(page), "");
}

TEST_F(Lists, FirstPageAgainButGoingOn) {
  const std::string second = secondPage();
  const JsonObject page = faulty(second, R"({"repeat_page": true})");
  EXPECT_THAT(firstName(page), HasSubstr("part-00000-"));
  EXPECT_THAT(nextLink(page), HasSubstr("part-00200-"));
}

TEST_F(Lists, EntriesThatCameOrWent) {
  const std::string second = secondPage();
  EXPECT_THAT(firstName(faulty(second, R"({"shift_start": 2})")), HasSubstr("part-00102-"));
  EXPECT_THAT(firstName(faulty(second, R"({"shift_start": -2})")), HasSubstr("part-00098-"));
}

TEST_F(Lists, WrongRanges) {
  const std::string file = targetOf(selfLink(arrayIn(jsonIn(platform.get(directory)), "data")->getObject(0)));
  const std::string whole = bodyText(platform.get(file));
  Headers headers = goodHeaders();
  headers.emplace_back("Range", "bytes=100-199");
  const auto ranged = [&](const std::string& action) {
    platform.world.change(rule(action));
    return platform.send("GET", file, headers);
  };
  const Response shifted = ranged(R"({"wrong_range": {"shift": 50}})");
  EXPECT_EQ(headerOf(shifted.headers, "Content-Range"), "bytes 150-249/1000");
  EXPECT_EQ(bodyText(shifted), whole.substr(150, 100));
  const Response shorter = ranged(R"({"wrong_range": {"shorter": 40}})");
  EXPECT_EQ(headerOf(shorter.headers, "Content-Range"), "bytes 100-159/1000");
  EXPECT_EQ(bodyText(shorter).size(), 60U);
  const Response ignored = ranged(R"({"ignore_range": true})");
  EXPECT_EQ(ignored.status, 200);
  EXPECT_EQ(bodyText(ignored), whole);
}

}  // namespace
}  // namespace caiexport::simulator
