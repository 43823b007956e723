#include "platform/problem.h"

#include "fixture.h"

namespace caiexport::platform {
namespace {

using testing::HasSubstr;

struct Family {
  const char* name;
  const char* body;
  const char* code;
  const char* text;
};

class ProblemFamilyTest : public testing::TestWithParam<Family> {};

TEST_P(ProblemFamilyTest, IsRead) {
  const Problem problem = readProblem({.status = 400, .body = GetParam().body});
  EXPECT_EQ(problem.code, GetParam().code);
  EXPECT_EQ(problem.text, GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    All, ProblemFamilyTest,
    testing::Values(
        Family{"gateway", R"({"error_code": "403003", "message": "Key not known"})", "403003", "Key not known"},
        Family{"placeholder",
               R"({"type": "/placeholder/type/uri", "status": 400, "title": "Bad", "detail": "No limit"})", "",
               "Bad: No limit"},
        Family{"problemJson",
               R"({"type": "https://ns.adobe.com/aep/errors/XYZ-0042-404", "title": "Gone", "status": 404,
                   "report": {"tenantInfo": {"sandboxName": "prod"}, "additionalContext": "in prod"}, "error-chain": []})",
               "XYZ-0042-404", "Gone: in prod"},
        Family{
            "reportErrors",
            R"({"type": "http://ns.adobe.com/aep/errors/A-1-400", "title": "T", "report": {"errors": ["first", "second"]}})",
            "A-1-400", "T: first"},
        Family{"inlet",
               R"({"type": "http://ns.adobe.com/adobecloud/problem/inlet", "title": "T", "report": {"message": "M"}})",
               "inlet", "T: M"},
        Family{"errorsByStatus", R"({"requestId": "r", "errors": {"403": [{"code": 403, "message": "Denied"}]}})", "",
               "Denied"},
        Family{"profile", R"({"message": "Slow down", "cause": "quota", "statusCode": "429"})", "", "Slow down: quota"},
        Family{"profileArray", R"([{"message": "Slow down", "cause": "quota", "retryAfterMs": "500"}])", "",
               "Slow down: quota"},
        Family{"jobErrors", R"({"errors": [{"code": "E1", "msg": "broke", "callStack": []}]})", "", "broke"},
        Family{"batchErrors", R"({"errors": [{"code": "106", "description": "bad rows", "rows": []}]})", "",
               "bad rows"},
        Family{"flow", R"({"errorMessage": "flow failed"})", "", "flow failed"},
        Family{"ims", R"({"error": "invalid_scope", "error_description": "no such scope"})", "invalid_scope",
               "no such scope"},
        Family{"successFlag", R"({"status": true, "message": "marked"})", "", "marked"},
        Family{"nestedError", R"({"error": {"code": "E7", "message": "inside"}})", "E7", "inside"},
        Family{"html", "<h1>Oops</h1>", "", "<h1>Oops</h1>"}, Family{"emptyBody", "", "", ""},
        Family{"emptyArray", "[]", "", "[]"}),
    [](const auto& family) { return std::string(family.param.name); });

TEST(ProblemTest, FindsTheRequestId) {
  const auto id = [](net::Headers headers, std::string body) {
    return readProblem({.status = 500, .headers = std::move(headers), .body = std::move(body)}).requestId;
  };
  EXPECT_EQ(id(support::headers({{"X-Request-Id", "h1"}}), R"({"requestId": "b1"})"), "h1");
  EXPECT_EQ(id({}, R"({"requestId": "b1"})"), "b1");
  EXPECT_EQ(id({}, R"({"report": {"requestId": "p1"}})"), "p1");
  EXPECT_EQ(id({}, R"({"message": "none"})"), "");
}

TEST(ProblemTest, ReadsTheWaitOfTheProfileForm) {
  const auto wait = [](const char* body) { return readProblem({.status = 429, .body = body}).retryAfter; };
  EXPECT_EQ(wait(R"([{"message": "m", "retryAfterMs": "500"}])"), core::Duration(500));
  EXPECT_EQ(wait(R"({"message": "m", "retryAfterMs": 1500})"), core::Duration(1500));
  EXPECT_EQ(wait(R"({"message": "m", "retryAfterMs": "soon"})"), std::nullopt);
  EXPECT_EQ(wait(R"({"message": "m", "retryAfterMs": 18446744073709551615})"), std::chrono::hours(24));
}

TEST(ProblemTest, DescribesInOnePrintableLine) {
  const net::HttpResponse response{.status = 403,
                                   .reason = "Forbidden",
                                   .headers = support::headers({{"x-request-id", "rq-1"}}),
                                   .body = "{\"error_code\": \"403003\", \"message\": \"Key\\u001b[2J\\nbad\"}"};
  EXPECT_EQ(describe(response, readProblem(response)), "403 Forbidden (403003: Key\\x1b[2J\\x0abad; request id rq-1)");
  EXPECT_EQ(describe({.status = 502}, {}), "502");
}

TEST(ProblemTest, KnowsARemedyForEveryGatewayCode) {
  for (const char* code : {"403010", "401013", "403000", "403003", "400003", "403025", "403027", "429050",
                           "invalid_client", "invalid_scope"}) {
    EXPECT_NE(remedyFor(418, code), "") << code;
  }
  EXPECT_THAT(remedyFor(403, "unknown"), HasSubstr("sandbox"));
  EXPECT_EQ(remedyFor(418, ""), "");
}

}  // namespace
}  // namespace caiexport::platform
