// The transport against a plain server on loopback: framing, deadlines, reuse, repetition.
#include <Poco/DeflatingStream.h>
#include <fcntl.h>
#include <poll.h>

#include <sstream>

#include "fixture.h"
#include "net/connect.h"
#include "net/http_message.h"

namespace caiexport::net {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kPatience = std::chrono::seconds(20);

class TransportTest : public ::testing::Test {
 protected:
  HttpResponse getFrom(RawServer& server) { return get(transport_, server.url()); }
  Failure failureFrom(const std::string& answer) {
    RawServer server(answeringOnce(answer));
    return failureOf([&] { getFrom(server); });
  }
  std::string bodyFrom(const std::string& answer) {
    RawServer server(answeringOnce(answer));
    return getFrom(server).body;
  }

  RecordingLog log_;
  PocoTransport transport_{calmSettings(), log_};
};

TEST_F(TransportTest, SendsTheRequestAsGiven) {
  std::string received;
  RawServer server([&](Peer& peer) {
    received = peer.readRequest();
    peer.send("HTTP/1.1 201 Made\r\nX-Id: 7\r\nContent-Length: 2\r\n\r\nok");
    peer.close();
  });
  HttpRequest request{.method = "POST", .url = server.url("/a%2Fb?q=%2B,"), .body = "body"};
  request.headers.add("X-Api-Key", "key");
  const HttpResponse response = transport_.send(request, {});
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.reason, "Made");
  EXPECT_EQ(response.headers.get("x-id"), "7");
  EXPECT_EQ(response.body, "ok");
  EXPECT_EQ(
      received,
      "POST /a%2Fb?q=%2B, HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) +
          "\r\nX-Api-Key: key\r\nUser-Agent: caiexport\r\nAccept-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody");
}

TEST_F(TransportTest, SendsALargeBody) {
  std::size_t received = 0;
  RawServer server([&](Peer& peer) {
    received = peer.readRequest().size();
    peer.send("HTTP/1.1 204 Done\r\n\r\n");
  });
  EXPECT_EQ(transport_.send({.method = "PUT", .url = server.url(), .body = std::string(8U << 20U, 'x')}, {}).status,
            204);
  EXPECT_GT(received, 8U << 20U);
}

TEST_F(TransportTest, ReadsABodyByItsLength) {
  EXPECT_EQ(bodyFrom("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "hello");
  EXPECT_EQ(bodyFrom("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "");
}

TEST_F(TransportTest, ReadsNoMoreThanTheSinkHasRoomFor) {
  class Narrow final : public BodySink {
   public:
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    std::size_t room(std::size_t bytes) override {
      ++asked;
      granted_ += std::min<std::size_t>(bytes, 1000);
      return std::min<std::size_t>(bytes, 1000);
    }
    void write(std::span<const std::byte> data) override {
      total += data.size();
      // What came with the head was not asked for.
      EXPECT_LE(total, granted_ + (16U << 10U));
    }
    std::size_t asked = 0;
    std::size_t total = 0;

   private:
    std::size_t granted_ = 0;
  };
  const std::string content(100'000, 'x');
  for (const std::string& framing : {"Content-Length: 100000\r\n\r\n" + content,
                                     "Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + content + "\r\n0\r\n\r\n",
                                     "Connection: close\r\n\r\n" + content}) {
    RawServer server(answeringOnce("HTTP/1.1 200 OK\r\n" + framing));
    Narrow sink;
    transport_.send({.url = server.url()}, &sink, {});
    EXPECT_EQ(sink.total, content.size());
    EXPECT_GE(sink.asked, 80U);
  }
}

/// How much a server can send before the client has read more than the first bytes.
std::uint64_t sentAheadOfTheReader(std::uint64_t mostUnreadBytes) {
  TransportSettings settings = calmSettings();
  settings.mostUnreadBytes = mostUnreadBytes;
  PocoTransport transport(settings, core::nullLog());
  Event full;
  std::uint64_t sent = 0;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    const int bytes = 4096;
    ::setsockopt(peer.descriptor(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    const std::string piece(1U << 10U, 'x');
    pollfd writable{.fd = peer.descriptor(), .events = POLLOUT, .revents = 0};
    // A machine so slow that it needs longer only makes the figure smaller.
    while (::poll(&writable, 1, 200) > 0) {
      const long now = ::send(peer.descriptor(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (now > 0) sent += static_cast<std::uint64_t>(now);
    }
    full.set();
    peer.reset();
  });
  class Stalled final : public BodySink {
   public:
    explicit Stalled(Event& until) : until_(until) {}
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    std::size_t room(std::size_t) override {
      until_.wait();
      return 1;
    }
    void write(std::span<const std::byte>) override {}

   private:
    Event& until_;
  };
  Stalled sink(full);
  EXPECT_THROW(transport.send({.url = server.url()}, &sink, {}), core::TransientError);
  return sent;
}

TEST_F(TransportTest, ALimitOnUnreadBytesHolds) {
  const std::uint64_t limited = sentAheadOfTheReader(8U << 10U);
  EXPECT_LE(limited, 40U << 10U);
  EXPECT_GT(sentAheadOfTheReader(0), limited + (16U << 10U)) << "the limit must be what holds it back";
}

TEST_F(TransportTest, ReadsAChunkedBody) {
  EXPECT_EQ(
      bodyFrom(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, w\r\n0\r\nTrailer: x\r\n\r\n"),
      "hello, w");
}

TEST_F(TransportTest, ReadsABodyThatEndsWithTheConnection) {
  EXPECT_EQ(bodyFrom("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"), "to the end");
}

TEST_F(TransportTest, SkipsInterimAnswers) {
  EXPECT_EQ(
      bodyFrom(
          "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
      "a");
  std::string endless;
  for (int i = 0; i < 100; ++i) endless += "HTTP/1.1 102 Wait\r\n\r\n";
  EXPECT_EQ(failureFrom(endless).category, core::Category::protocol);
  EXPECT_EQ(failureFrom("HTTP/1.1 101 Switch\r\n\r\n").category, core::Category::protocol);
}

TEST_F(TransportTest, ReportsAShortBody) {
  const Failure failure = failureFrom("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, AllOf(HasSubstr("GET http://127.0.0.1"), HasSubstr("after 5 of 10 bytes")));
}

TEST_F(TransportTest, ReportsACutChunkedBody) {
  for (const char* body : {"5\r\nhello\r\n", "5\r\nhel", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0", ""}) {
    const Failure failure = failureFrom("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body));
    EXPECT_TRUE(failure.transient) << body;
    EXPECT_THAT(failure.message, HasSubstr("before its last chunk"));
  }
}

TEST_F(TransportTest, ReportsAMissingOrHalfAnswer) {
  EXPECT_THAT(failureFrom("").message, HasSubstr("before an answer came"));
  EXPECT_THAT(failureFrom("HTTP/1.1 200 OK\r\nA: b").message, HasSubstr("in the middle of the answer's header"));
}

TEST_F(TransportTest, ReportsAnswersThatBreakHttp) {
  for (const char* answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "SSH-2.0-OpenSSH\r\n\r\n"}) {
    const Failure failure = failureFrom(answer);
    EXPECT_EQ(failure.category, core::Category::protocol) << answer;
    EXPECT_FALSE(failure.transient) << answer;
  }
}

/// What a proxy makes of a body that nobody asked it to pack.
std::string packed(const std::string& text, Poco::DeflatingStreamBuf::StreamType type) {
  std::ostringstream out;
  Poco::DeflatingOutputStream stream(out, type);
  stream << text;
  stream.close();
  return out.str();
}

std::string packedAnswer(const std::string& coding, const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

TEST_F(TransportTest, UnpacksABodyThatWasPackedUnasked) {
  const std::string text = "{\"data\": \"" + std::string(100'000, 'a') + "\"}";
  EXPECT_EQ(bodyFrom(packedAnswer("gzip", packed(text, Poco::DeflatingStreamBuf::STREAM_GZIP))), text);
  EXPECT_EQ(bodyFrom(packedAnswer("GZIP", packed("", Poco::DeflatingStreamBuf::STREAM_GZIP))), "");
  EXPECT_EQ(bodyFrom(packedAnswer("deflate", packed(text, Poco::DeflatingStreamBuf::STREAM_ZLIB))), text);
}

TEST_F(TransportTest, SaysWhatCannotBeUnpacked) {
  const std::string whole = packed("hello, world", Poco::DeflatingStreamBuf::STREAM_GZIP);
  for (const auto& [coding, body] : std::vector<std::pair<std::string, std::string>>{
           {"gzip", "not gzip at all"}, {"gzip", whole.substr(0, whole.size() / 2)}, {"br", "x"}}) {
    const Failure failure = failureFrom(packedAnswer(coding, body));
    EXPECT_EQ(failure.category, core::Category::protocol) << coding;
    EXPECT_THAT(failure.message, HasSubstr(coding));
  }
}

TEST_F(TransportTest, UnpacksNoMoreThanAnAnswerMayHold) {
  const std::string bomb = packed(std::string(70U << 20U, 'a'), Poco::DeflatingStreamBuf::STREAM_GZIP);
  EXPECT_THAT(failureFrom(packedAnswer("gzip", bomb)).message, HasSubstr("unpacks to more than"));
}

TEST_F(TransportTest, ReportsAReset) {
  RawServer server([](Peer& peer) {
    peer.readRequest();
    peer.reset();
  });
  const Failure failure = failureOf([&] { getFrom(server); });
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
}

TEST_F(TransportTest, DoesNotTakeAResetForTheEndOfABody) {
  Event sinkHasData;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    EXPECT_TRUE(sinkHasData.wait());
    peer.reset();
  });
  struct Sink final : BodySink {
    explicit Sink(Event& event) : event_(event) {}
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    void write(std::span<const std::byte>) override { event_.set(); }
    Event& event_;
  } sink(sinkHasData);
  EXPECT_TRUE(failureOf([&] { transport_.send({.url = server.url()}, &sink, {}); }).transient);
}

TEST_F(TransportTest, DoesNotForgetAResetBehindTheLastBytes) {
  Event wasReset;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    // More than is read together with the header, so that the rest and the reset are met in one go.
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + std::string(50'000, 'x'));
    peer.reset();
    wasReset.set();
  });
  struct Sink final : BodySink {
    explicit Sink(Event& event) : event_(event) {}
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return event_.wait(); }
    void write(std::span<const std::byte>) override {}
    Event& event_;
  } sink(wasReset);
  EXPECT_TRUE(failureOf([&] { transport_.send({.url = server.url()}, &sink, {}); }).transient);
}

TEST_F(TransportTest, CompletesAnOverlongBodyButDropsItsConnection) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, extra"));
  EXPECT_EQ(getFrom(server).body, "hello");
  EXPECT_EQ(getFrom(server).body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, FindsExtraBytesThatComeLater) {
  Event answered;
  Event extraSent;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    if (peer.number() > 1) return;
    EXPECT_TRUE(answered.wait());
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    extraSent.set();
    peer.readToEnd();
  });
  EXPECT_EQ(getFrom(server).body, "hello");
  answered.set();
  ASSERT_TRUE(extraSent.wait());
  EXPECT_EQ(getFrom(server).body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, KeepsAConnectionForGetHeadAndDownload) {
  RawServer server([](Peer& peer) {
    for (std::string request; !(request = peer.readRequest()).empty();) {
      const bool head = request.starts_with("HEAD");
      peer.send(head ? "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
                     : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    }
  });
  EXPECT_EQ(getFrom(server).body, "a");
  const HttpResponse head = transport_.send({.method = "HEAD", .url = server.url()}, {});
  EXPECT_EQ(head.headers.get("Content-Length"), "99");
  EXPECT_EQ(head.body, "");
  CollectingSink sink;
  transport_.send({.url = server.url()}, &sink, {});
  EXPECT_EQ(sink.bytes, "a");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(transport_.statistics().connectionsOpened, 1U);
  EXPECT_EQ(transport_.statistics().requestsSent, 3U);
}

TEST_F(TransportTest, ReadsHeadsAndBodiesOfEverySizeOnOneConnection) {
  std::vector<std::pair<std::string, std::string>> answers;
  for (const std::size_t field : {1U, 16'000U, 16'384U, 40'000U, 60'000U}) {
    for (const std::size_t bytes : {0U, 1U, 7'000U, 16'384U, 20'000U, 70'000U, 262'144U, 300'000U}) {
      answers.emplace_back(std::string(field, 'h'), std::string(bytes, static_cast<char>('a' + answers.size() % 26)));
    }
  }
  RawServer server([&](Peer& peer) {
    for (const auto& [field, body] : answers) {
      peer.readRequest();
      std::string answer = "HTTP/1.1 200 OK\r\nX-Long: ";
      answer.append(field).append("\r\nContent-Length: ").append(std::to_string(body.size()));
      peer.send(answer.append("\r\n\r\n").append(body));
    }
    peer.readToEnd();
  });
  for (const auto& [field, body] : answers) {
    CollectingSink sink;
    const HttpResponse response = transport_.send({.url = server.url()}, &sink, {});
    EXPECT_EQ(response.headers.get("X-Long"), field);
    EXPECT_TRUE(sink.bytes == body) << body.size() << " bytes with a field of " << field.size();
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(TransportTest, ObeysConnectionClose) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"));
  getFrom(server);
  getFrom(server);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, FindsAStaleConnectionBeforeUse) {
  Event closed;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    peer.close();
    closed.set();
  });
  getFrom(server);
  ASSERT_TRUE(closed.wait());
  // A POST would not be repeated, so this only works if the connection is found to be closed.
  EXPECT_EQ(transport_.send({.method = "POST", .url = server.url()}, {}).status, 200);
  EXPECT_EQ(transport_.statistics().requestsSent, 2U);
}

/// Answers the first request of the first connection, and closes it on reading the next one without an answer.
RawServer::Handler closingOnSecondRequest(std::atomic<int>& posts) {
  return [&posts](Peer& peer) {
    for (int requests = 1;; ++requests) {
      const std::string request = peer.readRequest();
      if (request.empty()) return;
      if (request.starts_with("POST")) ++posts;
      if (peer.number() == 1 && requests == 2) return;
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    }
  };
}

TEST_F(TransportTest, RepeatsAnIdempotentRequestOnceWhenAReusedConnectionCloses) {
  std::atomic<int> posts = 0;
  RawServer server(closingOnSecondRequest(posts));
  getFrom(server);
  EXPECT_EQ(getFrom(server).body, "a");
  EXPECT_EQ(transport_.statistics().connectionsOpened, 2U);
  EXPECT_EQ(transport_.statistics().requestsSent, 3U);
}

TEST_F(TransportTest, NeverRepeatsAPost) {
  std::atomic<int> posts = 0;
  RawServer server(closingOnSecondRequest(posts));
  getFrom(server);
  const Failure failure = failureOf([&] { transport_.send({.method = "POST", .url = server.url(), .body = "x"}, {}); });
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_EQ(posts, 1);
}

TEST_F(TransportTest, RepeatsNothingOnAFreshConnection) {
  RawServer server([](Peer& peer) { peer.readRequest(); });
  EXPECT_TRUE(failureOf([&] { getFrom(server); }).transient);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(TransportTest, DoesNotRepeatOnceAnAnswerBegan) {
  RawServer server([](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    peer.readRequest();
    peer.send("HTTP/1.1 2");
  });
  getFrom(server);
  EXPECT_TRUE(failureOf([&] { getFrom(server); }).transient);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(TransportTest, SendsOnceOnAFreshConnectionOnly) {
  std::atomic<int> posts = 0;
  RawServer server([&](Peer& peer) {
    for (std::string request; !(request = peer.readRequest()).empty();) {
      if (request.starts_with("POST")) {
        ++posts;
        EXPECT_EQ(peer.number(), 2);
        return;
      }
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    }
  });
  getFrom(server);
  const Failure failure =
      failureOf([&] { transport_.send({.method = "POST", .url = server.url(), .once = true}, {}); });
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_EQ(posts, 1);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, RemembersAfterARepetitionThatTheFirstMayHaveArrived) {
  RawServer* self = nullptr;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    peer.readRequest();
    self->stopListening();
  });
  self = &server;
  getFrom(server);
  const Failure failure = failureOf([&] { getFrom(server); });
  EXPECT_THAT(failure.message, HasSubstr("connection refused"));
  EXPECT_TRUE(failure.mayHaveArrived);
}

TEST_F(TransportTest, GivesTheBodyToTheSink) {
  const std::string body(1'000'000, 'x');
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body));
  CollectingSink sink;
  const HttpResponse response = transport_.send({.url = server.url()}, &sink, {});
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(sink.bytes, body);
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(sink.declared, 1'000'000U);
}

TEST_F(TransportTest, KeepsTheBodyThatTheSinkDoesNotWant) {
  RawServer server(answering("HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ngone"));
  CollectingSink sink;
  sink.takes = false;
  EXPECT_EQ(transport_.send({.url = server.url()}, &sink, {}).body, "gone");
  EXPECT_EQ(sink.status, 404);
  EXPECT_EQ(sink.bytes, "");
}

TEST_F(TransportTest, GivesTheSinkWhatCameBeforeAFailure) {
  RawServer server(answeringOnce("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
  CollectingSink sink;
  failureOf([&] { transport_.send({.url = server.url()}, &sink, {}); });
  EXPECT_EQ(sink.bytes, "hello");
}

TEST_F(TransportTest, ShowsTheSinkASmallBodyThatComesSlowly) {
  struct Watched final : BodySink {
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    void write(std::span<const std::byte> data) override {
      bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
      seen.set();
    }
    std::string bytes;
    Event seen;
  } sink;
  constexpr std::size_t kLength = 100000;
  const std::string body = std::string(kLength / 2, 'a') + std::string(kLength / 2, 'b');
  std::size_t sentBefore = 0;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    // Byte by byte until the sink has seen some of it; the pause only keeps the bytes from running out.
    pollfd nothing{.fd = -1, .events = 0, .revents = 0};
    for (; sentBefore < kLength - 1 && !sink.seen.happened(); ++sentBefore) {
      peer.send(body.substr(sentBefore, 1));
      ::poll(&nothing, 1, 1);
    }
    peer.send(body.substr(sentBefore));
  });
  transport_.send({.url = server.url()}, &sink, {});
  EXPECT_LT(sentBefore, kLength - 1);
  EXPECT_EQ(sink.bytes, body);
}

TEST_F(TransportTest, LetsASinkEndTheTransfer) {
  struct Full : std::exception {};
  struct Sink final : BodySink {
    bool begin(const HttpResponse&, std::optional<std::uint64_t>) override { return true; }
    void write(std::span<const std::byte>) override { throw Full(); }
  } sink;
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"));
  EXPECT_THROW(transport_.send({.url = server.url()}, &sink, {}), Full);
  EXPECT_EQ(getFrom(server).body, "abcd");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, LimitsBodiesInMemory) {
  for (const char* answer : {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
                             "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"}) {
    RawServer server(answeringOnce(answer));
    const auto send = [&](std::uint64_t most) {
      return transport_.send({.url = server.url(), .mostBodyBytes = most}, {}).body;
    };
    EXPECT_EQ(failureOf([&] { send(10); }).category, core::Category::protocol) << answer;
    EXPECT_EQ(send(11), "hello world");
  }
}

TEST_F(TransportTest, RefusesPlainHttpToOtherMachines) {
  for (const char* url :
       {"http://platform.adobe.io/", "http://192.0.2.1/", "http://127.1/", "http://localhost.example/"}) {
    const Failure failure = failureOf([&] { get(transport_, url); });
    EXPECT_EQ(failure.category, core::Category::config) << url;
    EXPECT_THAT(failure.hint, HasSubstr("https://"));
  }
  EXPECT_EQ(transport_.statistics().connectionsOpened, 0U);
}

TEST_F(TransportTest, RefusesInjectedHeadersBeforeConnecting) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  HttpRequest request{.url = server.url()};
  request.headers.add("X", "a\r\nEvil: b");
  EXPECT_EQ(failureOf([&] { transport_.send(request, {}); }).category, core::Category::config);
  EXPECT_EQ(failureOf([&] { get(transport_, server.url("/a b")); }).category, core::Category::protocol);
  EXPECT_EQ(transport_.statistics().connectionsOpened, 0U);
}

TEST_F(TransportTest, SaysThatAConnectionWasRefused) {
  std::string url;
  {
    const RawServer server(answering(""));
    url = server.url("/x?access_token=geheim");
  }
  const Failure failure = failureOf([&] { get(transport_, url); });
  EXPECT_TRUE(failure.transient);
  EXPECT_FALSE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message,
              AllOf(HasSubstr("connection refused"), HasSubstr("127.0.0.1"), Not(HasSubstr("geheim"))));
}

TEST_F(TransportTest, TriesEveryAddress) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
  std::uint16_t closedPort = 0;
  {
    const RawServer closed(answering(""));
    closedPort = closed.port();
  }
  const core::StopSignal stop({});
  const auto until = std::chrono::steady_clock::now() + kPatience;
  const Poco::Net::SocketAddress good("127.0.0.1", server.port());
  const Poco::Net::SocketAddress bad("127.0.0.1", closedPort);
  EXPECT_EQ(connectTcp({bad, good}, until, stop).peerAddress(), good);
  try {
    connectTcp({bad, bad}, until, stop);
    FAIL() << "connected";
  } catch (const AttemptFailure& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("; "));
  }
}

TEST_F(TransportTest, ReachesIpv6AndDualStackNames) {
  std::unique_ptr<RawServer> server;
  try {
    server = std::make_unique<RawServer>(answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
                                         RawServer::Options{.address = "::1"});
  } catch (const std::runtime_error&) {
    GTEST_SKIP() << "no IPv6 here";
  }
  EXPECT_EQ(get(transport_, server->url("/", "[::1]")).body, "a");
  RawServer onlyIpv4(answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"));
  EXPECT_EQ(get(transport_, onlyIpv4.url("/", "localhost")).body, "b");
}

TEST_F(TransportTest, SaysThatAHostIsUnknown) {
  const Failure failure = failureOf([&] { get(transport_, "https://no-such-host.invalid/"); });
  EXPECT_TRUE(failure.transient);
  EXPECT_FALSE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, HasSubstr("cannot look up no-such-host.invalid"));
}

class TimeoutTest : public ::testing::Test {
 protected:
  static TransportSettings shortSettings() {
    TransportSettings settings = calmSettings();
    settings.readTimeout = std::chrono::seconds(2);
    return settings;
  }

  PocoTransport transport_{shortSettings(), core::nullLog()};
};

TEST_F(TimeoutTest, IsTheLongestSilenceAndNotTwiceThat) {
  RawServer server([](Peer& peer) { peer.readToEnd(); });
  const auto start = std::chrono::steady_clock::now();
  const Failure failure = failureOf([&] { get(transport_, server.url()); });
  const auto elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(failure.transient);
  EXPECT_TRUE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, HasSubstr("timed out while waiting for the answer"));
  EXPECT_GE(elapsed, std::chrono::seconds(2));
  EXPECT_LT(elapsed, std::chrono::milliseconds(3900));
}

TEST_F(TimeoutTest, NamesTheProgressInTheBody) {
  RawServer server([](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    peer.readToEnd();
  });
  EXPECT_THAT(failureOf([&] { get(transport_, server.url()); }).message,
              HasSubstr("timed out in the body after 5 of 10 bytes"));
  EXPECT_EQ(server.connections(), 1);
}

/// A listener whose queue is full, so that connects hang.
class DeafListener {
 public:
  DeafListener() {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    for (int& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM, 0);
      ::fcntl(filler, F_SETFL, O_NONBLOCK);
      ::connect(filler, reinterpret_cast<sockaddr*>(&address), sizeof address);
    }
  }
  ~DeafListener() {
    for (const int filler : fillers_) ::close(filler);
    ::close(listener_);
  }
  DeafListener(const DeafListener&) = delete;
  DeafListener& operator=(const DeafListener&) = delete;
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  int listener_;
  std::uint16_t port_ = 0;
  std::array<int, 8> fillers_{};
};

TEST(ConnectTimeout, IsObeyed) {
  const DeafListener listener;
  TransportSettings settings = calmSettings();
  settings.connectTimeout = std::chrono::milliseconds(200);
  PocoTransport transport(settings, core::nullLog());
  const auto start = std::chrono::steady_clock::now();
  const Failure failure = failureOf([&] { get(transport, listener.url()); });
  EXPECT_TRUE(failure.transient);
  EXPECT_FALSE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, HasSubstr("cannot connect: timed out"));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
}

class StopTest : public TransportTest {
 protected:
  /// Sends until stopped, from a thread of its own; true if that ended as it should.
  void expectInterrupted(const std::string& url, const std::function<void()>& waitForTheMoment) {
    std::stop_source source;
    bool interrupted = false;
    const auto start = std::chrono::steady_clock::now();
    std::thread sender([&] {
      try {
        CollectingSink sink;
        transport_.send({.url = url}, &sink, source.get_token());
      } catch (const core::Interrupted&) {
        interrupted = true;
      }
    });
    waitForTheMoment();
    source.request_stop();
    sender.join();
    EXPECT_TRUE(interrupted);
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience);
  }
};

TEST_F(StopTest, EndsTheWaitForAnAnswer) {
  Event requested;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    requested.set();
    peer.readToEnd();
  });
  expectInterrupted(server.url(), [&] { EXPECT_TRUE(requested.wait()); });
}

TEST_F(StopTest, EndsAnEndlessBody) {
  Event flowing;
  RawServer server([&](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    const std::string piece(100'000, 'x');
    while (peer.send(piece)) flowing.set();
  });
  expectInterrupted(server.url(), [&] { EXPECT_TRUE(flowing.wait()); });
}

TEST_F(StopTest, EndsAConnect) {
  const DeafListener listener;
  expectInterrupted(listener.url(), [] {});
}

TEST_F(StopTest, PreventsEverythingIfItCameBefore) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(transport_.send({.url = server.url()}, source.get_token()), core::Interrupted);
  EXPECT_EQ(transport_.statistics().connectionsOpened, 0U);
}

TEST_F(TransportTest, LogsRequestsWithoutHeaderValues) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
  HttpRequest request{.url = server.url("/p?sig=geheim")};
  request.headers.add("Authorization", "Bearer geheim");
  transport_.send(request, {});
  transport_.send(request, {});
  const std::vector<std::string> lines = log_.lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], AllOf(HasSubstr("request method=GET"), HasSubstr("status=200"), HasSubstr("bytes=5"),
                              HasSubstr("connection=new"), Not(HasSubstr("geheim"))));
  EXPECT_THAT(lines[1], HasSubstr("connection=reused"));
}

TEST_F(TransportTest, ServesManyThreads) {
  RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) good += getFrom(server).body == "hello" ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
  EXPECT_LE(server.connections(), 8);
}

}  // namespace
}  // namespace caiexport::net
