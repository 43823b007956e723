#include "platform/problem.h"

#include "fixture.h"

namespace caiexport::platform {
namespace {

using namespace std::chrono_literals;

const core::TimePoint kNow{core::Duration(784111777000)};  // 1994-11-06 08:49:37

TEST(ClassifyTest, KnowsTheOutcomeOfEveryStatus) {
  for (int status = 100; status < 600; ++status) {
    const Outcome outcome = classify({.status = status}, kNow).outcome;
    if (status >= 200 && status < 300) {
      EXPECT_EQ(outcome, Outcome::success) << status;
    } else if (status == 401) {
      EXPECT_EQ(outcome, Outcome::authExpired);
    } else if (status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504)) {
      EXPECT_EQ(outcome, Outcome::transient) << status;
    } else {
      EXPECT_EQ(outcome, Outcome::permanent) << status;
    }
  }
  EXPECT_TRUE(classify({.status = 429}, kNow).throttled);
  EXPECT_TRUE(classify({.status = 503}, kNow).throttled);
  EXPECT_FALSE(classify({.status = 500}, kNow).throttled);
}

std::optional<core::Duration> wish(std::string retryAfter, std::string date = {}, std::string body = {}) {
  net::HttpResponse response{.status = 429, .body = std::move(body)};
  if (!retryAfter.empty()) response.headers.add("retry-after", std::move(retryAfter));
  if (!date.empty()) response.headers.add("Date", std::move(date));
  return classify(response, kNow).retryAfter;
}

TEST(RetryAfterTest, ReadsSeconds) {
  EXPECT_EQ(wish("38"), 38s);
  EXPECT_EQ(wish(" 0 "), 0s);
  EXPECT_EQ(wish("99999999999999999999999"), 24h);
  EXPECT_EQ(wish("-1"), std::nullopt);
  EXPECT_EQ(wish("1.5"), std::nullopt);
  EXPECT_EQ(wish("soon"), std::nullopt);
  EXPECT_EQ(wish(""), std::nullopt);
}

TEST(RetryAfterTest, ReadsDatesAgainstTheAnswersOwnDate) {
  EXPECT_EQ(wish("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:50:27 GMT"), 10s);
  EXPECT_EQ(wish("Sun, 06 Nov 1994 08:50:37 GMT"), 60s);
  EXPECT_EQ(wish("Sun, 06 Nov 1994 08:00:00 GMT"), 0s);
  EXPECT_EQ(wish("Sun, 06 Nov 2094 08:00:00 GMT"), 24h);
}

TEST(RetryAfterTest, ReadsTheBodyWhereTheHeaderIsMissing) {
  const char* body = R"([{"message": "m", "retryAfterMs": "500", "statusCode": "429"}])";
  EXPECT_EQ(wish("", "", body), 500ms);
  EXPECT_EQ(wish("2", "", body), 2s);
}

TEST(HttpDateTest, ReadsTheThreeForms) {
  EXPECT_EQ(parseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), kNow);
  EXPECT_EQ(parseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT"), kNow);
  EXPECT_EQ(parseHttpDate("Sun Nov  6 08:49:37 1994"), kNow);
}

TEST(HttpDateTest, RefusesEverythingElse) {
  for (const char* text :
       {"", "x", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nix 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT", "2026-11-24T10:00:00Z"}) {
    EXPECT_EQ(parseHttpDate(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace caiexport::platform
