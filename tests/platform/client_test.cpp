/// What holds for every call: headers, tokens, retries, errors.

#include "fixture.h"

namespace caiexport::platform {
namespace {

using namespace std::chrono_literals;
using core::Category;
using support::headers;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kBatch = "/data/foundation/catalog/batches/B1";
constexpr const char* kDatasets = "/data/foundation/catalog/dataSets";
constexpr const char* kBatchAnswer = R"({"B1": {"status": "success", "created": 1764000000000}})";

class CallTest : public ClientTest {
 protected:
  std::optional<model::Batch> find() { return client.findBatch(model::BatchId("B1"), stop); }
  model::DatasetId create() { return client.createDataset({.name = "N", .description = "D"}, stop); }
  core::Error refusal(Category category) {
    return failureOf(category, [&] { find(); });
  }
};

TEST_F(CallTest, SendsTheFourHeaders) {
  transport.on("GET", kBatch).answers(200, kBatchAnswer);
  ASSERT_TRUE(find());
  const net::HttpRequest request = transport.requests().at(0);
  EXPECT_EQ(request.headers.get("Authorization"), "Bearer token-1");
  EXPECT_EQ(request.headers.get("x-api-key"), "the-client");
  EXPECT_EQ(request.headers.get("x-gw-ims-org-id"), "ORG@AdobeOrg");
  EXPECT_EQ(request.headers.get("x-sandbox-name"), "prod");
  EXPECT_EQ(request.headers.get("Accept"), "application/json");
  EXPECT_FALSE(request.headers.get("Content-Type"));
  EXPECT_FALSE(request.once);
}

TEST_F(CallTest, RefusesSettingsThatWouldInjectHeaders) {
  const auto build = [&](ClientSettings settings) {
    Client(std::move(settings), transport, tokens, clock, random, log);
  };
  const std::string evil = "x\r\nAuthorization: y";
  const std::string url = "https://platform.example";
  failureOf(Category::config, [&] { build({.baseUrl = url, .apiKey = evil}); });
  failureOf(Category::config, [&] { build({.baseUrl = url, .orgId = evil}); });
  failureOf(Category::config, [&] { build({.baseUrl = url, .sandbox = evil}); });
  failureOf(Category::config, [&] { build({.baseUrl = "https://h\r\nX: y"}); });
}

TEST_F(CallTest, EncodesIdsSoThatNothingElseIsAsked) {
  transport.on("GET", "/data/foundation/catalog/batches/..%2F%3Fa%23%0D%0AX%3A%20y")
      .answers(404, R"({"title": "NotFoundError"})");
  EXPECT_FALSE(client.findBatch(model::BatchId("../?a#\r\nX: y"), stop));
}

TEST_F(CallTest, RepeatsTransientFailuresWithFullJitter) {
  transport.on("GET", kBatch).breaks().answers(500).answers(502).answers(503).answers(408).answers(200, kBatchAnswer);
  ASSERT_TRUE(find());
  EXPECT_THAT(clock.sleeps(), ElementsAre(500ms, 1s, 2s, 4s, 8s));
  EXPECT_THAT(log.all(),
              HasSubstr("warning retry what=find batch B1 try=1 tries=6 wait_ms=500 reason=the connection was reset"));
  EXPECT_THAT(log.all(), HasSubstr("answered by 502"));
}

TEST_F(CallTest, GivesUpWhenTheTriesAreUsedUp) {
  transport.on("GET", kBatch)
      .answers(503, R"({"message": "busy"})", headers({{"X-Request-Id", "rq-9"}, {"Retry-After", "7"}}))
      .forEver();
  const auto error = failureOf<core::TransientError>(Category::unavailable, [&] { find(); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("cannot find batch B1 (6 tries)"), HasSubstr("503 (busy; request id rq-9)"),
                                  HasSubstr("GET https://platform.example/data/foundation/catalog/batches/B1")));
  EXPECT_EQ(error.requestId(), "rq-9");
  EXPECT_TRUE(error.cause().throttled);
  EXPECT_EQ(error.cause().retryAfter, 7s);
  EXPECT_EQ(transport.requestCount(), 6U);
  EXPECT_THAT(clock.sleeps(), ElementsAre(7s, 7s, 7s, 7s, 7s));
}

TEST_F(CallTest, ObeysEveryFormOfRetryAfter) {
  transport.on("GET", kBatch)
      .answers(429, R"({"error_code": "429050", "message": "Too many"})", headers({{"Retry-After", "38"}}))
      .answers(429, "",
               headers({{"Retry-After", "Tue, 24 Nov 2026 00:01:00 GMT"}, {"Date", "Tue, 24 Nov 2026 00:00:48 GMT"}}))
      .answers(429, R"([{"message": "m", "retryAfterMs": "250", "statusCode": "429"}])")
      .answers(429, "", headers({{"Retry-After", "86400"}}))
      .answers(200, kBatchAnswer);
  ASSERT_TRUE(find());
  // A wish of less than a second does not shorten the wait of that try.
  EXPECT_THAT(clock.sleeps(), ElementsAre(38s, 12s, 2s, 5min));
}

TEST_F(CallTest, StopsWaitingOnRequest) {
  transport.on("GET", kBatch).answers(503).answers(503);
  clock.stopAtSleep(2, stopSource);
  failureOf(Category::interrupted, [&] { find(); });
}

TEST_F(CallTest, AsksNothingAfterAStop) {
  stopSource.request_stop();
  failureOf(Category::interrupted, [&] { find(); });
  EXPECT_EQ(transport.requestCount(), 0U);
}

TEST_F(CallTest, RenewsTheTokenOncePerRequest) {
  transport.on("GET", kBatch).answers(401, R"({"error_code": "401013", "message": "bad"})").answers(200, kBatchAnswer);
  ASSERT_TRUE(find());
  EXPECT_EQ(transport.requests().at(1).headers.get("Authorization"), "Bearer token-2");
  EXPECT_TRUE(clock.sleeps().empty());
}

TEST_F(CallTest, FailsWhenTheRenewedTokenIsRefusedToo) {
  transport.on("GET", kBatch).answers(401).answers(401, R"({"error_code": "401013", "message": "not valid"})");
  const auto error = refusal(Category::auth);
  EXPECT_THAT(error.what(), HasSubstr("401 (401013: not valid)"));
  EXPECT_NE(error.hint(), "");
}

TEST_F(CallTest, FailsAtOnceWhenTheTokenCannotBeRenewed) {
  tokens.renewable = false;
  transport.on("GET", kBatch).answers(401);
  refusal(Category::auth);
}

TEST_F(CallTest, TakesNoAnswerToSomethingElseForThePlatformsOwn) {
  for (const int status : {201, 202, 203, 204, 205, 206, 207, 226, 299}) {
    transport.on("GET", kBatch).answers(status, kBatchAnswer);
    const auto error = refusal(Category::protocol);
    EXPECT_THAT(error.what(), HasSubstr("which is not an answer to this request")) << status;
    EXPECT_THAT(error.hint(), HasSubstr("proxy")) << status;
  }
}

TEST_F(CallTest, SaysWhatARefusalMeans) {
  struct Case {
    int status;
    const char* code;
    Category category;
    const char* hint;
  };
  for (const Case& c :
       {Case{403, "403010", Category::permission, "Authorization"},
        Case{403, "403000", Category::permission, "client_id"}, Case{403, "403003", Category::permission, "client_id"},
        Case{400, "400003", Category::config, "org_id"}, Case{403, "403025", Category::permission, "org_id"},
        Case{403, "403027", Category::permission, "org_id"}, Case{409, "", Category::remoteFailed, ""},
        Case{501, "", Category::unavailable, ""}, Case{199, "", Category::protocol, ""}}) {
    transport.on("GET", kBatch)
        .answers(c.status, std::string(R"({"error_code": ")") + c.code + R"(", "message": "words"})");
    const auto error = refusal(c.category);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(std::to_string(c.status)), HasSubstr(c.code), HasSubstr("words")));
    EXPECT_THAT(error.hint(), HasSubstr(c.hint));
  }
}

TEST_F(CallTest, NeverFollowsARedirect) {
  transport.on("GET", kBatch).answers(302, "", headers({{"Location", "https://evil.example/x?canary"}}));
  transport.on("GET", kBatch).answers(307, "", headers({{"Location", "https://user:canary@platform.example/"}}));
  transport.on("GET", kBatch).answers(304);
  EXPECT_THAT(refusal(Category::protocol).what(), AllOf(HasSubstr("https://evil.example"), Not(HasSubstr("canary"))));
  EXPECT_THAT(refusal(Category::protocol).what(), Not(HasSubstr("canary")));
  refusal(Category::protocol);
  EXPECT_EQ(transport.requestCount(), 3U);
}

TEST_F(CallTest, NeverShowsTheToken) {
  transport.on("GET", kBatch).answers(403, R"({"message": "Oauth token token-1 is odd"})");
  transport.on("GET", kBatch).answers(503, "you sent token-1").answers(400, "Authorization: Bearer token-1");
  transport.on("GET", kBatch).answers(200, "Authorization: Bearer token-1");
  std::string shown = refusal(Category::permission).what();
  shown += refusal(Category::remoteFailed).what();
  shown += refusal(Category::protocol).what();
  EXPECT_THAT(shown, HasSubstr("Oauth token *** is odd"));
  EXPECT_THAT(shown + log.all(), Not(HasSubstr("token-1")));
}

TEST_F(CallTest, ShowsAnAnswerThatIsNotJson) {
  transport.on("GET", kBatch).answers(200, "<html>portal</html>", headers({{"Content-Type", "text/html"}}));
  EXPECT_THAT(refusal(Category::protocol).what(),
              AllOf(HasSubstr("cannot find batch B1"), HasSubstr("text/html"), HasSubstr("<html>portal")));
}

TEST_F(CallTest, RefusesAnAnswerWithoutBounds) {
  transport.on("GET", kBatch).answers(200, "{\"x\": \"" + std::string(50U << 20U, 'x') + "\"}");
  refusal(Category::protocol);
}

TEST_F(CallTest, KnowsTheServersTime) {
  EXPECT_EQ(client.serverNow(), clock.now());
  EXPECT_FALSE(client.clockSkew());
  transport.on("GET", kBatch)
      .answers(404, R"({"title": "NotFoundError"})", headers({{"Date", "Mon, 23 Nov 2026 23:58:00 GMT"}}));
  find();
  EXPECT_EQ(client.clockSkew(), core::Duration(2min));
  clock.advance(30s);
  EXPECT_EQ(client.serverNow(), clock.now() - 2min);
}

TEST_F(CallTest, KnowsTheShortestAnswer) {
  EXPECT_FALSE(client.shortestAnswer());
  const auto after = [&](core::Duration wait) {
    return [&, wait](const net::HttpRequest&) {
      clock.advance(wait);
      return support::reply(404, R"({"title": "NotFoundError"})");
    };
  };
  transport.on("GET", kBatch).answers(after(80ms)).answers(after(50ms)).answers(after(60ms));
  for (int i = 0; i < 3; ++i) find();
  EXPECT_EQ(client.shortestAnswer(), std::chrono::nanoseconds(50ms));
}

// --- create-once calls

TEST_F(CallTest, CreatesOnAConnectionOfItsOwn) {
  transport.on("POST", kDatasets).answers(201, R"(["@/dataSets/D1"])");
  EXPECT_EQ(create().value(), "D1");
  EXPECT_TRUE(transport.requests().at(0).once);
  EXPECT_EQ(transport.requests().at(0).headers.get("Content-Type"), "application/json");
}

TEST_F(CallTest, CreatesAgainOnlyWhileNothingWasTaken) {
  transport.on("POST", kDatasets)
      .breaks(false)
      .answers(429)
      .answers(401, R"({"error_code": "401013"})")
      .answers(201, R"(["@/datasets/D1"])");
  EXPECT_EQ(create().value(), "D1");
  EXPECT_THAT(clock.sleeps(), ElementsAre(500ms, 1s));
}

TEST_F(CallTest, IsInDoubtWheneverTheRequestMayHaveBeenTaken) {
  const auto doubtful = [&](auto&& prepare) {
    const std::size_t before = transport.requestCount();
    prepare(transport.on("POST", kDatasets));
    const auto error = failureOf<InDoubt>(Category::unavailable, [&] { create(); });
    EXPECT_EQ(transport.requestCount(), before + 1) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("create the dataset 'N'"));
    EXPECT_NE(error.hint(), "");
  };
  using Stub = support::FakeTransport::Stub;
  doubtful([](Stub& stub) { stub.breaks(true); });
  for (const int status : {408, 500, 501, 502, 503, 504, 303, 100, 203, 205, 206, 600}) {
    doubtful([&](Stub& stub) { stub.answers(status, "", headers({{"X-Request-Id", "rq"}})); });
  }
  // A page of a proxy, which may stand in the place of an answer that was lost.
  for (const int status : {302, 400, 401, 403, 404}) {
    doubtful([&](Stub& stub) { stub.answers(status, "<html><h1>nginx</h1>"); });
  }
  for (const char* body : {"", "<html>", "{}", "[]", "[1", R"(["@/dataSets/"])", R"(["@/dataSets/a", "@/dataSets/b"])",
                           R"(["@/dataSets/a b"])", R"(["D1"])"}) {
    doubtful([&](Stub& stub) { stub.answers(201, body); });
  }
  doubtful([](Stub& stub) {
    stub.answers([](const net::HttpRequest&) -> support::Reply { throw core::Error(Category::protocol, "garbled"); });
  });
  doubtful(
      [](Stub& stub) { stub.answers([](const net::HttpRequest&) -> support::Reply { throw core::Interrupted(); }); });
}

TEST_F(CallTest, IsSureThatARefusedCreationWasNotDone) {
  struct Case {
    int status;
    Category category;
  };
  for (const Case c :
       {Case{400, Category::remoteFailed}, Case{403, Category::permission}, Case{404, Category::notFound},
        Case{409, Category::remoteFailed}, Case{302, Category::protocol}}) {
    transport.on("POST", kDatasets).answers(c.status, R"({"title": "ForbiddenError", "detail": "words"})");
    const auto error = failureOf(c.category, [&] { create(); });
    EXPECT_THAT(error.what(), HasSubstr("words"));
  }
}

TEST_F(CallTest, StopsBeforeACreationWithoutDoubt) {
  transport.on("POST", kDatasets).answers(429);
  clock.stopAtSleep(1, stopSource);
  failureOf(Category::interrupted, [&] { create(); });
}

TEST_F(CallTest, ThrottledCreationEndsAsNotTaken) {
  transport.on("POST", kDatasets).answers(429).forEver();
  const auto error = failureOf<core::TransientError>(Category::unavailable, [&] { create(); });
  EXPECT_FALSE(error.cause().mayHaveArrived);
  EXPECT_EQ(transport.requestCount(), 6U);
}

TEST_F(CallTest, ACertificateProblemIsNoDoubt) {
  transport.on("POST", kDatasets).answers([](const net::HttpRequest&) -> support::Reply {
    throw core::Error(Category::config, "certificate has expired");
  });
  EXPECT_THAT(failureOf(Category::config, [&] { create(); }).what(), HasSubstr("expired"));
}

}  // namespace
}  // namespace caiexport::platform
