// The transport over HTTP/2, against a server that shares nothing with it: what is asked ahead, and what goes wrong.
#include "support/http2_server.h"

#include <array>
#include <optional>
#include <stop_token>

#include "fixture.h"

namespace caiexport::net {
namespace {

using namespace testing;
using support::Http2Alpn;
using support::Http2Answer;
using support::Http2Report;
using support::Http2Request;
using support::Http2Server;
using support::Http2ServerSettings;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Another for each path.
std::string bodyOf(const std::string& path, std::size_t bytes = 4000) {
  std::string body;
  while (body.size() < bytes) body += path + "\n";
  body.resize(bytes);
  return body;
}

Http2Answer answerTo(const Http2Request& request) {
  return {.headers = {{"x-path", request.path}}, .body = bodyOf(request.path)};
}

class Http2Test : public ::testing::Test {
 protected:
  /// `paths`: this one, and what follows.
  static HttpRequest oneOf(const Http2Server& server, const std::vector<std::string>& paths) {
    HttpRequest request{.url = server.url(paths.front()), .oneOfMany = true};
    for (std::size_t i = 1; i < paths.size(); ++i) {
      request.next.push_back({.url = server.url(paths[i]), .oneOfMany = true});
    }
    return request;
  }
  std::string fetch(const Http2Server& server, const std::vector<std::string>& paths) {
    CollectingSink sink;
    transport_.send(oneOf(server, paths), &sink, {});
    return sink.bytes;
  }
  static std::string protocolOf(const Http2Server& server, std::size_t connection) {
    return server.report().connections.at(connection - 1).protocol;
  }
  /// The first answer fails so; what follows must come as ever, over HTTP/1.1.
  Failure failureOfFirst(Http2Answer first, std::string* arrived = nullptr) {
    first.body = bodyOf("/a");
    Http2Server server([&](const Http2Request& request) { return request.stream == 1 ? first : answerTo(request); });
    CollectingSink sink;
    const Failure failure = failureOf([&] { transport_.send(oneOf(server, {"/a", "/b"}), &sink, {}); });
    if (arrived != nullptr) *arrived = sink.bytes;
    EXPECT_TRUE(bodyOf("/a").starts_with(sink.bytes));
    EXPECT_EQ(fetch(server, {"/b", "/c"}), bodyOf("/b"));
    EXPECT_EQ(fetch(server, {"/c"}), bodyOf("/c"));
    EXPECT_EQ(protocolOf(server, server.report().connections.size()), "http/1.1");
    EXPECT_THAT(server.report().violations(), IsEmpty());
    return failure;
  }
  /// The first request is not answered over HTTP/2, but its answer comes.
  void expectAnsweredAnyway(const Http2Server& server) {
    EXPECT_EQ(fetch(server, {"/a", "/b"}), bodyOf("/a"));
    EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
    EXPECT_THAT(server.report().violations(), IsEmpty());
  }

  RecordingLog log_;
  PocoTransport transport_{calmSettings(), log_};
};

TEST_F(Http2Test, AsksForWhatFollowsBeforeAnAnswerIsHere) {
  Event allAsked;
  std::atomic<int> asked = 0;
  Http2Server server([&](const Http2Request& request) {
    if (++asked == 3) allAsked.set();
    Http2Answer answer = answerTo(request);
    answer.waitFor = &allAsked;
    return answer;
  });
  EXPECT_EQ(fetch(server, {"/a", "/b", "/c"}), bodyOf("/a"));
  EXPECT_EQ(fetch(server, {"/b", "/c"}), bodyOf("/b"));
  EXPECT_EQ(fetch(server, {"/c"}), bodyOf("/c"));
  const Http2Report report = server.report();
  EXPECT_EQ(report.connections.size(), 1U);
  EXPECT_EQ(report.requests(), 3);
  EXPECT_EQ(report.mostStreamsOpen(), 3);
  EXPECT_THAT(report.violations(), IsEmpty());
  EXPECT_EQ(transport_.statistics().requestsSent, 3U);
  EXPECT_EQ(transport_.statistics().connectionsOpened, 1U);
}

TEST_F(Http2Test, TakesAnswersInAnyOrder) {
  Event lastIsOut;
  Http2Server server([&](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    if (request.path != "/c") answer.waitFor = &lastIsOut;
    return answer;
  });
  std::jthread release([&] {
    EXPECT_TRUE(server.waitUntil([](const Http2Report& report) {
      return !report.connections.empty() && report.connections[0].sent.contains("DATA");
    }));
    lastIsOut.set();
  });
  for (const auto& paths : {std::vector<std::string>{"/a", "/b", "/c"}, {"/b", "/c"}, {"/c"}}) {
    EXPECT_EQ(fetch(server, paths), bodyOf(paths.front()));
  }
  EXPECT_EQ(server.report().requests(), 3);
}

TEST_F(Http2Test, SendsTheRequestAsGiven) {
  Http2Request received;
  Http2Server server([&](const Http2Request& request) {
    received = request;
    return answerTo(request);
  });
  HttpRequest request = oneOf(server, {"/a%2Fb?q=%2B,"});
  request.headers.add("X-Api-Key", "key");
  const HttpResponse response = transport_.send(request, {});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("X-Path"), "/a%2Fb?q=%2B,");
  EXPECT_EQ(response.body, bodyOf("/a%2Fb?q=%2B,"));
  EXPECT_EQ(received.method, "GET");
  EXPECT_EQ(received.scheme, "https");
  EXPECT_EQ(received.authority, "127.0.0.1:" + std::to_string(server.port()));
  EXPECT_EQ(received.path, "/a%2Fb?q=%2B,");
  EXPECT_EQ(received.headers,
            (support::Http2Fields{{"x-api-key", "key"}, {"user-agent", "caiexport"}, {"accept-encoding", "identity"}}));
}

TEST_F(Http2Test, OffersItForOneOfManyAlone) {
  Http2Server server(answerTo);
  EXPECT_EQ(get(transport_, server.url("/list")).body, bodyOf("/list"));
  EXPECT_EQ(protocolOf(server, 1), "http/1.1");
  EXPECT_EQ(fetch(server, {"/a"}), bodyOf("/a"));
  EXPECT_EQ(protocolOf(server, 2), "h2");
  // And what is none does not wait behind others.
  EXPECT_EQ(get(transport_, server.url("/list")).body, bodyOf("/list"));
  EXPECT_EQ(server.report().connections.size(), 2U);
}

TEST_F(Http2Test, TheServersChoiceOfHttp11Holds) {
  for (const Http2Alpn alpn : {Http2Alpn::http11, Http2Alpn::silent}) {
    Http2Server server(answerTo, {.alpn = alpn});
    EXPECT_EQ(fetch(server, {"/a", "/b"}), bodyOf("/a"));
    EXPECT_EQ(fetch(server, {"/b", "/c"}), bodyOf("/b"));
    EXPECT_EQ(fetch(server, {"/c"}), bodyOf("/c"));
    const Http2Report report = server.report();
    EXPECT_EQ(report.requests(), 3);
    EXPECT_EQ(report.connections.size(), 1U) << "the connection was good";
  }
}

TEST_F(Http2Test, WhatWasAskedIsSentAnewWhereItsConnectionIsGone) {
  Http2Server server(answerTo);
  EXPECT_EQ(fetch(server, {"/a", "/b", "/c"}), bodyOf("/a"));
  server.closeConnections();
  EXPECT_EQ(fetch(server, {"/b", "/c"}), bodyOf("/b"));
  EXPECT_EQ(fetch(server, {"/c"}), bodyOf("/c"));
}

TEST_F(Http2Test, WhatIsPreparedIsUsedAndNothingElseOpened) {
  Http2Server server(answerTo);
  transport_.prepareForMany(server.url(), 3);
  std::vector<std::jthread> threads;
  for (const char* path : {"/a", "/b", "/c"}) {
    threads.emplace_back([&, path] { EXPECT_EQ(fetch(server, {path}), bodyOf(path)); });
  }
  threads.clear();
  EXPECT_LE(server.report().connections.size(), 3U);
  EXPECT_EQ(server.report().requests(), 3);
}

TEST_F(Http2Test, WhatCannotBePreparedIsToldByTheRequest) {
  Http2Server server(answerTo);
  server.stopListening();
  transport_.prepareForMany(server.url(), 3);
  EXPECT_THAT(failureOf([&] { fetch(server, {"/a"}); }).message, HasSubstr("refused"));
  transport_.prepareForMany("no url", 3);
}

TEST_F(Http2Test, WhatIsPreparedForHttp11IsUsedToo) {
  Http2Server server(answerTo, {.alpn = Http2Alpn::http11});
  transport_.prepareForMany(server.url(), 1);
  EXPECT_EQ(fetch(server, {"/a", "/b"}), bodyOf("/a"));
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
  EXPECT_EQ(server.report().connections.size(), 1U);
}

TEST_F(Http2Test, PreparingEndsWithTheTransport) {
  RawServer silent([](Peer& peer) { peer.readToEnd(); });
  PocoTransport transport(calmSettings(), log_);
  transport.prepareForMany("https://127.0.0.1:" + std::to_string(silent.port()), 3);
}

TEST_F(Http2Test, TheLogTellsWhichVersionARequestTook) {
  Http2Server server(answerTo);
  fetch(server, {"/a", "/b"});
  fetch(server, {"/b"});
  transport_.send({.url = server.url("/c")}, {});
  Http2Server gone(answerTo);
  gone.stopListening();
  failureOf([&] { fetch(gone, {"/d"}); });
  EXPECT_THAT(log_.lines(),
              ElementsAre(HasSubstr("connection=new http=2"), HasSubstr("connection=reused http=2"),
                          HasSubstr("connection=new http=1.1"), HasSubstr("connection=new http= error=")));
}

TEST_F(Http2Test, TheLogTellsTheVersionThatCameThrough) {
  Http2Server refusing([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    if (request.stream > 0) answer.resetCode = NGHTTP2_REFUSED_STREAM;
    return answer;
  });
  fetch(refusing, {"/a"});
  Http2Server broken([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    answer.cutAfterBytes = 1500;
    return answer;
  });
  failureOf([&] { fetch(broken, {"/a"}); });
  EXPECT_THAT(log_.lines(), ElementsAre(HasSubstr("status=200 "), HasSubstr("http=2 error=")));
  EXPECT_THAT(log_.lines().front(), HasSubstr("http=1.1"));
}

TEST_F(Http2Test, AnErrorAnswerIsAnAnswer) {
  Http2Server server([](const Http2Request& request) {
    if (request.path != "/a") return answerTo(request);
    return Http2Answer{.status = 429, .headers = {{"retry-after", "7"}}, .body = "{\"error_code\":\"429050\"}"};
  });
  class NeverBegun final : public BodySink {
   public:
    bool begin(const HttpResponse& head, std::optional<std::uint64_t>) override { return head.status == 200; }
    void write(std::span<const std::byte>) override { ADD_FAILURE() << "an error is no data"; }
  } sink;
  const HttpResponse response = transport_.send(oneOf(server, {"/a", "/b"}), &sink, {});
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.headers.get("Retry-After"), "7");
  EXPECT_EQ(response.body, "{\"error_code\":\"429050\"}");
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
  EXPECT_EQ(server.report().connections.size(), 1U);
}

TEST_F(Http2Test, SecretsAreTakenOut) {
  transport_.keepSecret("s3cr3t-of-some-length");
  Http2Server server([](const Http2Request&) {
    return Http2Answer{
        .status = 400, .headers = {{"x-echo", "got s3cr3t-of-some-length"}}, .body = "you sent s3cr3t-of-some-length"};
  });
  HttpRequest request = oneOf(server, {"/a"});
  request.headers.add("Authorization", "Bearer s3cr3t-of-some-length");
  const HttpResponse response = transport_.send(request, {});
  EXPECT_EQ(response.body, "you sent ***");
  EXPECT_EQ(response.headers.get("X-Echo"), "got ***");
}

TEST_F(Http2Test, SkipsInterimAnswersTrailersAndPadding) {
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    answer.informational = {100, 103};
    answer.trailers = {{"x-path", "of a trailer"}};
    answer.dataFrame = 100;
    answer.padding = 200;
    return answer;
  });
  CollectingSink sink;
  const HttpResponse response = transport_.send(oneOf(server, {"/a", "/b"}), &sink, {});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("X-Path"), "/a");
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(sink.declared, 4000U);
  EXPECT_EQ(sink.bytes, bodyOf("/a"));
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
}

TEST_F(Http2Test, AnAnswerWithoutALengthIsWholeWhenItsStreamEnds) {
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    answer.declareLength = false;
    return answer;
  });
  CollectingSink sink;
  transport_.send(oneOf(server, {"/a"}), &sink, {});
  EXPECT_EQ(sink.declared, std::nullopt);
  EXPECT_EQ(sink.bytes, bodyOf("/a"));
}

TEST_F(Http2Test, WhatComesAheadIsBoundedByItsWindow) {
  constexpr std::size_t kBytes = 3U << 20U;
  Http2Server server([&](const Http2Request& request) { return Http2Answer{.body = bodyOf(request.path, kBytes)}; });
  EXPECT_EQ(fetch(server, {"/a", "/b"}), bodyOf("/a", kBytes));
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b", kBytes));
  const Http2Report report = server.report();
  EXPECT_GT(report.connections.at(0).stalls, 0) << "all of it came into memory";
  EXPECT_EQ(report.connections.at(0).settings.at(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 128U << 10U);
  EXPECT_EQ(report.connections.at(0).settings.at(NGHTTP2_SETTINGS_ENABLE_PUSH), 0U);
}

TEST_F(Http2Test, KeepsToTheNumberOfStreamsThatTheServerAllows) {
  Http2Server server(answerTo, {.maxStreams = 1});
  for (const auto& paths : {std::vector<std::string>{"/a", "/b", "/c"}, {"/b", "/c"}, {"/c"}}) {
    EXPECT_EQ(fetch(server, paths), bodyOf(paths.front()));
  }
  // Those that were sent before the server could say so were refused; from then on it is known.
  const std::size_t refused = server.report().violations().size();
  for (const auto& paths : {std::vector<std::string>{"/d", "/e", "/f"}, {"/e", "/f"}, {"/f"}}) {
    EXPECT_EQ(fetch(server, paths), bodyOf(paths.front()));
  }
  EXPECT_EQ(server.report().violations().size(), refused);
}

TEST_F(Http2Test, ARefusedRequestGoesOverHttp11) {
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    if (request.stream > 0) answer.resetCode = NGHTTP2_REFUSED_STREAM;
    return answer;
  });
  expectAnsweredAnyway(server);
}

TEST_F(Http2Test, WhatIsNoHttp2GoesOverHttp11) {
  for (const std::string& garbage : {std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), std::string(200, '\xff')}) {
    Http2Server server(answerTo, {.garbage = garbage});
    expectAnsweredAnyway(server);
  }
}

TEST_F(Http2Test, AfterAGoAwayWhatItServesIsTaken) {
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    if (request.path == "/a" && request.stream == 1) answer.goAway = Http2Answer::GoAway::servesThis;
    return answer;
  });
  EXPECT_EQ(fetch(server, {"/a", "/b"}), bodyOf("/a"));
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
}

TEST_F(Http2Test, AfterAGoAwayWhatItDoesNotServeIsAskedAnew) {
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    if (request.stream == 1 && request.connection == 1) answer.goAway = Http2Answer::GoAway::refusesThis;
    return answer;
  });
  expectAnsweredAnyway(server);
}

TEST_F(Http2Test, AResetInTheMiddleIsAFailureThatMayPass) {
  std::string arrived;
  const Failure failure = failureOfFirst({.cutAfterBytes = 1500}, &arrived);
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, AllOf(HasSubstr("in the body after 1500 bytes"), HasSubstr("INTERNAL_ERROR")));
  EXPECT_EQ(arrived, bodyOf("/a").substr(0, 1500));
}

TEST_F(Http2Test, ALostConnectionIsAFailureThatMayPass) {
  const Failure failure = failureOfFirst({.closeAfterBytes = 1500});
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, AnyOf(HasSubstr("was closed in the body"), HasSubstr("was reset")));
}

TEST_F(Http2Test, AnAnswerThatEndsBeforeItsLengthIsNotWhole) {
  const Failure failure = failureOfFirst({.endAfterBytes = 1500});
  EXPECT_TRUE(failure.transient);
  EXPECT_THAT(failure.message, AllOf(HasSubstr("ended its answer in the body after"), HasSubstr("PROTOCOL_ERROR")));
}

TEST_F(Http2Test, AHeadThatBreaksTheRulesIsAFailure) {
  const std::vector<Http2Answer> answers{{.status = 0},
                                         {.headers = {{"connection", "close"}}},
                                         {.headers = support::Http2Fields(300, {"x-more", "y"})},
                                         {.informational = std::vector<int>(30, 103)}};
  for (const Http2Answer& answer : answers) {
    SCOPED_TRACE(&answer - answers.data());
    const Failure failure = failureOfFirst(answer);
    EXPECT_TRUE(failure.transient);
    EXPECT_THAT(failure.message, HasSubstr("ended its answer while waiting for the answer (HTTP/2: "));
  }
}

TEST_F(Http2Test, AnAnswerThatDoesNotComeIsTimedOut) {
  TransportSettings settings = calmSettings();
  settings.readTimeout = std::chrono::milliseconds(200);
  PocoTransport transport(settings, log_);
  Http2Server server([](const Http2Request& request) {
    Http2Answer answer = answerTo(request);
    answer.never = request.path == "/a";
    return answer;
  });
  const Failure failure = failureOf([&] { transport.send(oneOf(server, {"/a", "/b"}), {}); });
  EXPECT_TRUE(failure.transient);
  EXPECT_THAT(failure.message, HasSubstr("timed out while waiting for the answer"));
  EXPECT_THAT(failure.hint, HasSubstr("--read-timeout"));
}

TEST_F(Http2Test, PingsAreNoProgress) {
  TransportSettings settings = calmSettings();
  settings.readTimeout = std::chrono::milliseconds(300);
  PocoTransport transport(settings, log_);
  Http2Server server([](const Http2Request&) { return Http2Answer{.never = true}; });
  // One after another, until the client has had enough.
  const std::jthread pinging([&] {
    const auto isThere = [](const Http2Report& report) { return report.requests() == 1; };
    EXPECT_TRUE(server.waitUntil(isThere));
    for (int pings = 1; server.report().connections[0].open; ++pings) {
      server.sendPings();
      EXPECT_TRUE(server.waitUntil([&](const Http2Report& report) {
        return report.connections[0].pingAcks >= pings || !report.connections[0].open;
      }));
    }
  });
  EXPECT_THAT(failureOf([&] { transport.send(oneOf(server, {"/a"}), {}); }).message, HasSubstr("timed out"));
}

TEST_F(Http2Test, AStopEndsTheWait) {
  std::stop_source stop;
  Http2Server server([&](const Http2Request&) {
    stop.request_stop();
    return Http2Answer{.never = true};
  });
  EXPECT_EQ(failureOf([&] {
              transport_.send(oneOf(server, {"/a", "/b"}), nullptr, stop.get_token());
            }).category,
            core::Category::interrupted);
}

TEST_F(Http2Test, WhatASinkThrowsComesThrough) {
  class Full final : public BodySink {
   public:
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    void write(std::span<const std::byte>) override { throw core::Error(core::Category::io, "disk full"); }
  } full;
  Http2Server server(answerTo);
  EXPECT_EQ(failureOf([&] { transport_.send(oneOf(server, {"/a", "/b"}), &full, {}); }).message, "disk full");
  EXPECT_EQ(fetch(server, {"/b"}), bodyOf("/b"));
}

TEST_F(Http2Test, AnAnswerInMemoryIsBounded) {
  Http2Server server([](const Http2Request& request) { return Http2Answer{.body = bodyOf(request.path, 5000)}; });
  HttpRequest request = oneOf(server, {"/a"});
  request.mostBodyBytes = 4999;
  EXPECT_THAT(failureOf([&] { transport_.send(request, {}); }).message, HasSubstr("larger than expected"));
}

}  // namespace
}  // namespace caiexport::net
