#include "caiexport/platform/auth.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include "fixture.h"
#include "support/temp_directory.h"

namespace caiexport::platform {
namespace {

using namespace std::chrono_literals;
using core::Category;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kToken = "/ims/token/v3";
constexpr const char* kSecret = "canary s/cret";
constexpr int kThreads = 16;

std::string granted(const std::string& token, const std::string& expiresIn = "86399") {
  return R"({"access_token": ")" + token + R"(", "token_type": "bearer", "expires_in": )" + expiresIn + "}";
}

class ImsTest : public testing::Test {
 protected:
  support::FakeTransport transport;
  support::FakeClock clock;
  support::FixedRandom random{0.5};
  RecordingLog log;
  support::TempDirectory temp;
  std::stop_source stopSource;
  ImsSettings settings{.imsUrl = "https://ims.example/",
                       .clientId = "id&1",
                       .clientSecret = core::Secret(kSecret),
                       .scopes = "openid,AdobeID",
                       .orgId = "ORG@AdobeOrg",
                       .retry = {.furtherTries = 3}};

  std::unique_ptr<ImsTokenSource> source() {
    return std::make_unique<ImsTokenSource>(settings, transport, clock, random, log);
  }
  std::string ask(TokenSource& from) { return std::string(from.token(stopSource.get_token()).reveal()); }
  support::FakeTransport::Stub& stub() { return transport.on("POST", kToken); }
  core::Error refusal(Category category) {
    const auto tokens = source();
    return failureOf(category, [&] { ask(*tokens); });
  }
};

TEST_F(ImsTest, PostsAForm) {
  stub().answers(200, granted("t1"));
  EXPECT_EQ(ask(*source()), "t1");
  const net::HttpRequest request = transport.requests().at(0);
  EXPECT_EQ(request.url, "https://ims.example/ims/token/v3");
  EXPECT_EQ(request.body,
            "grant_type=client_credentials&client_id=id%261&client_secret=canary%20s%2Fcret&scope=openid%2CAdobeID");
  EXPECT_EQ(request.headers.get("Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_FALSE(request.headers.get("Authorization"));
}

TEST_F(ImsTest, WhatCanBeDoneMeanwhileIsBegunOnceBeforeTheFirstTokenIsAskedFor) {
  std::vector<std::size_t> begun;
  settings.whileAsked = [&] { begun.push_back(transport.requests().size()); };
  stub().answers(503, "").answers(200, granted("t1")).answers(200, granted("t2"));
  const auto tokens = source();
  EXPECT_THAT(begun, IsEmpty());
  EXPECT_EQ(ask(*tokens), "t1");
  tokens->reject(core::Secret("t1"));
  EXPECT_EQ(ask(*tokens), "t2");
  EXPECT_THAT(begun, ElementsAre(0U));
}

TEST_F(ImsTest, IsAskedAgainFiveMinutesBeforeTheEnd) {
  stub().answers(200, granted("t1")).answers(200, granted("t2"));
  const auto tokens = source();
  EXPECT_EQ(ask(*tokens), "t1");
  clock.advance(86399s - 5min - 1ms);
  EXPECT_EQ(ask(*tokens), "t1");
  clock.advance(1ms);
  EXPECT_EQ(ask(*tokens), "t2");
}

TEST_F(ImsTest, AShortLifeIsRenewedATenthBeforeItsEnd) {
  stub().answers(200, granted("t1", "\"100\"")).answers(200, granted("t2"));
  const auto tokens = source();
  ask(*tokens);
  clock.advance(90s - 1ms);
  EXPECT_EQ(ask(*tokens), "t1");
  clock.advance(1ms);
  EXPECT_EQ(ask(*tokens), "t2");
}

TEST_F(ImsTest, TellsMillisecondsFromSeconds) {
  stub().answers(200, granted("t1", "86399992")).answers(200, granted("t2"));
  const auto tokens = source();
  ask(*tokens);
  clock.advance(86399992ms - 5min - 1ms);
  EXPECT_EQ(ask(*tokens), "t1");
  clock.advance(1ms);
  EXPECT_EQ(ask(*tokens), "t2");
}

TEST_F(ImsTest, ATokenThatIsOverAtOnceIsStillHandedOut) {
  stub().answers(200, granted("t1", "0")).answers(200, granted("t2", "0"));
  const auto tokens = source();
  EXPECT_EQ(ask(*tokens), "t1");
  EXPECT_EQ(ask(*tokens), "t2");
}

TEST_F(ImsTest, SaysWhatIsWrongWithTheCredentials) {
  stub().answers(400, R"({"error": "invalid_scope", "error_description": "no such scope"})",
                 support::headers({{"X-Request-Id", "rq"}}));
  const auto scope = refusal(Category::auth);
  EXPECT_THAT(scope.what(), AllOf(HasSubstr("cannot get an access token"),
                                  HasSubstr("400 (invalid_scope: no such scope; request id rq)"),
                                  HasSubstr("https://ims.example/ims/token/v3")));
  EXPECT_THAT(scope.hint(), HasSubstr("scopes"));
  EXPECT_EQ(scope.requestId(), "rq");
  stub().answers(401, R"({"error": "invalid_client", "error_description": "bad client"})");
  EXPECT_THAT(refusal(Category::auth).hint(), HasSubstr("client_secret"));
  stub().answers(403, R"({"error": "unauthorized_client"})");
  EXPECT_THAT(refusal(Category::auth).hint(), HasSubstr("Server-to-Server"));
  stub().answers(400, "");
  EXPECT_THAT(refusal(Category::auth).hint(), HasSubstr("client_id"));
  stub().answers(404, "");
  EXPECT_THAT(refusal(Category::auth).hint(), HasSubstr("ims_url"));
  stub().answers(302, "", support::headers({{"Location", "https://evil.example/"}}));
  EXPECT_THAT(refusal(Category::protocol).hint(), HasSubstr("ims_url"));
}

TEST_F(ImsTest, RepeatsTransientFailures) {
  stub().answers(503).breaks().answers(429, "", support::headers({{"Retry-After", "9"}})).answers(200, granted("t1"));
  EXPECT_EQ(ask(*source()), "t1");
  EXPECT_THAT(clock.sleeps(), ElementsAre(500ms, 1s, 9s));
}

TEST_F(ImsTest, GivesUpWhenImsIsOutOfReach) {
  stub().breaks().forEver();
  const auto tokens = source();
  const auto error = failureOf<core::TransientError>(Category::unavailable, [&] { ask(*tokens); });
  EXPECT_THAT(error.what(), HasSubstr("cannot get an access token (4 tries): the connection was reset"));
}

TEST_F(ImsTest, StopsOnRequest) {
  stub().answers(503);
  clock.stopAtSleep(1, stopSource);
  refusal(Category::interrupted);
}

TEST_F(ImsTest, RefusesAnswersThatHoldNoToken) {
  for (const std::string& body :
       {std::string("<html>canary-token"), std::string("{}"), std::string(R"({"access_token": "t"})"),
        granted("t", "-1"), granted("t", "{}"), granted(""), granted("a b"), granted("a\\r\\nX: y"),
        granted("t\\u0000"), std::string(R"({"access_token": ["canary-token"], "expires_in": 1})")}) {
    stub().answers(200, body);
    EXPECT_THAT(refusal(Category::protocol).what(), Not(HasSubstr("canary"))) << body;
  }
}

TEST_F(ImsTest, NeverShowsTheSecretOrTheToken) {
  settings.cacheDirectory = temp / "cache";
  const std::string echo = std::string(
      R"({"error": "invalid_client", "error_description": "secret canary s/cret (canary%20s%2Fcret) is wrong"})");
  stub().answers(503, echo).answers(401, echo).answers(200, granted("canary-token"));
  const auto tokens = source();
  const auto error = failureOf(Category::auth, [&] { ask(*tokens); });
  ask(*tokens);
  tokens->reject(core::Secret("canary-token"));
  EXPECT_THAT(error.what(), HasSubstr("secret *** (***) is wrong"));
  EXPECT_THAT(std::string(error.what()) + error.hint() + log.all(), Not(HasSubstr("canary")));
}

TEST_F(ImsTest, UsesTheCacheAcrossRuns) {
  settings.cacheDirectory = temp / "cache";
  stub().answers(200, granted("t1"));
  EXPECT_EQ(ask(*source()), "t1");
  EXPECT_EQ(ask(*source()), "t1");
  clock.advance(86399s - 1min);
  EXPECT_EQ(ask(*source()), "t1") << "a tenth of what is left is six seconds";
  EXPECT_EQ(transport.requestCount(), 1U);
  EXPECT_THAT(log.all(), AllOf(HasSubstr("token source=ims"), HasSubstr("token source=cache")));
}

TEST_F(ImsTest, ARotatedSecretTakesEffectAtOnce) {
  settings.cacheDirectory = temp / "cache";
  stub().answers(200, granted("t1")).answers(200, granted("t2"));
  EXPECT_EQ(ask(*source()), "t1");
  settings.clientSecret = core::Secret("new");
  EXPECT_EQ(ask(*source()), "t2");
}

TEST_F(ImsTest, ARejectedTokenLeavesTheCacheToo) {
  settings.cacheDirectory = temp / "cache";
  stub().answers(200, granted("t1")).answers(200, granted("t2"));
  const auto tokens = source();
  ask(*tokens);
  EXPECT_TRUE(tokens->reject(core::Secret("t1")));
  EXPECT_TRUE(std::filesystem::is_empty(temp / "cache"));
  EXPECT_EQ(ask(*tokens), "t2");
  EXPECT_EQ(ask(*source()), "t2");
}

TEST_F(ImsTest, TakesTheTokenThatAnotherProcessRenewed) {
  settings.cacheDirectory = temp / "cache";
  stub().answers(200, granted("t1")).answers(200, granted("t2"));
  const auto mine = source();
  const auto other = source();
  ask(*mine);
  ask(*other);
  other->reject(core::Secret("t1"));
  EXPECT_EQ(ask(*other), "t2");
  mine->reject(core::Secret("t1"));
  EXPECT_EQ(ask(*mine), "t2");
  EXPECT_EQ(transport.requestCount(), 2U);
}

TEST_F(ImsTest, AnUnwritableCacheIsNoError) {
  settings.cacheDirectory = "/proc/nothing/here";
  stub().answers(200, granted("t1"));
  EXPECT_EQ(ask(*source()), "t1");
}

// --- many threads

/// Runs `action` in 16 threads that start together.
template <class Action>
void inThreads(const Action& action) {
  std::atomic<int> ready = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++ready;
      while (ready < kThreads) std::this_thread::yield();
      action();
    });
  }
}

TEST_F(ImsTest, SixteenThreadsMakeOneRequest) {
  std::atomic<int> asking = 0;
  stub().answers([&](const net::HttpRequest&) {
    while (asking < kThreads) std::this_thread::yield();
    return support::reply(200, granted("t1"));
  });
  const auto tokens = source();
  std::atomic<int> right = 0;
  inThreads([&] {
    ++asking;
    if (ask(*tokens) == "t1") ++right;
  });
  EXPECT_EQ(right, kThreads);
  EXPECT_EQ(transport.requestCount(), 1U);
}

TEST_F(ImsTest, SixteenRejectionsMakeOneRenewal) {
  stub().answers(200, granted("t1")).answers(200, granted("t2"));
  const auto tokens = source();
  std::atomic<int> rejected = 0;
  std::atomic<int> right = 0;
  inThreads([&] {
    const core::Secret first(ask(*tokens));
    ++rejected;
    while (rejected < kThreads) std::this_thread::yield();
    if (tokens->reject(first) && ask(*tokens) == "t2") ++right;
  });
  EXPECT_EQ(right, kThreads);
  EXPECT_EQ(transport.requestCount(), 2U);
}

TEST_F(ImsTest, ThoseWhoWaitShareTheFailure) {
  std::atomic<int> asking = 0;
  stub().answers([&](const net::HttpRequest&) {
    while (asking < kThreads) std::this_thread::yield();
    return support::reply(401, R"({"error": "invalid_client"})");
  });
  // A thread that was late to wait asks for itself.
  stub().answers(401, R"({"error": "invalid_client"})").forEver();
  const auto tokens = source();
  std::atomic<int> failures = 0;
  inThreads([&] {
    ++asking;
    try {
      ask(*tokens);
    } catch (const core::Error& error) {
      if (error.category() == Category::auth && std::string(error.what()).find("invalid_client") != std::string::npos)
        ++failures;
    }
  });
  EXPECT_EQ(failures, kThreads);
  failureOf(Category::auth, [&] { ask(*tokens); });  // Later callers try anew.
}

TEST_F(ImsTest, AWaitingThreadObeysItsOwnStop) {
  std::atomic<bool> inRequest = false;
  std::atomic<bool> mayAnswer = false;
  stub().answers([&](const net::HttpRequest&) {
    inRequest = true;
    while (!mayAnswer) std::this_thread::yield();
    return support::reply(200, granted("t1"));
  });
  const auto tokens = source();
  std::jthread refresher([&] { EXPECT_EQ(ask(*tokens), "t1"); });
  while (!inRequest) std::this_thread::yield();
  std::stop_source own;
  std::jthread waiter([&] { failureOf(Category::interrupted, [&] { tokens->token(own.get_token()); }); });
  own.request_stop();
  waiter.join();
  mayAnswer = true;
}

TEST_F(ImsTest, AnInterruptedRefreshIsTakenOverByAnother) {
  std::atomic<bool> inRequest = false;
  std::atomic<int> asking = 0;
  stub()
      .answers([&](const net::HttpRequest&) -> support::Reply {
        inRequest = true;
        while (asking < 1) std::this_thread::yield();
        throw core::Interrupted();
      })
      .answers(200, granted("t1"));
  const auto tokens = source();
  std::jthread refresher([&] { failureOf(Category::interrupted, [&] { ask(*tokens); }); });
  while (!inRequest) std::this_thread::yield();
  ++asking;
  EXPECT_EQ(ask(*tokens), "t1");
}

// --- a ready-made token

TEST(FixedTokenTest, IsHandedOutAndCannotBeRenewed) {
  FixedTokenSource tokens(core::Secret("t"));
  EXPECT_EQ(tokens.token({}).reveal(), "t");
  EXPECT_FALSE(tokens.reject(core::Secret("t")));
}

TEST(FixedTokenTest, RefusesWhatCannotBeSent) {
  for (const char* token : {"", "canary\n", "canary token", "canary\r\nX: y", "canary\x80"}) {
    const auto error = failureOf(Category::config, [&] { FixedTokenSource{core::Secret(token)}; });
    EXPECT_THAT(error.what(), Not(HasSubstr("canary")));
  }
}

}  // namespace
}  // namespace caiexport::platform
