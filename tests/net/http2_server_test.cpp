// The server that speaks HTTP/2 to the transport's tests does what it says, seen by nghttp2's client and by curl.
#include "support/http2_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "support/process.h"

namespace caiexport::support {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Pair;
using GoAway = Http2Answer::GoAway;

struct Answered {
  std::vector<std::string> statuses;  ///< Those of interim answers first.
  Http2Fields fields;                 ///< Trailers as well.
  std::string body;
  int dataFrames = 0;
  std::size_t padding = 0;
  std::optional<std::uint32_t> code;  ///< Of the end of the stream; 0 if it ended in order.
};

struct ClientWish {
  std::string protocols = "\x02h2";
  std::vector<nghttp2_settings_entry> settings = {};
  bool opensWindows = true;
};

/// A client on one connection. Everything happens in the calls of the test's thread.
class Client {
 public:
  explicit Client(const Http2Server& server, const ClientWish& wish = {}) : context_(SSL_CTX_new(TLS_client_method())) {
    descriptor_ = ::socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{30, 0};
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool connected = ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(wish.protocols.data()),
                        static_cast<unsigned>(wish.protocols.size()));
    SSL_set_fd(ssl_.get(), descriptor_);
    if (!connected || SSL_connect(ssl_.get()) != 1) {
      ::close(descriptor_);
      throw std::runtime_error("cannot connect");
    }
    makeSession(wish);
  }
  ~Client() {
    nghttp2_session_del(session_);
    ::close(descriptor_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::string protocol() const {
    const unsigned char* name = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &length);
    return {reinterpret_cast<const char*>(name), length};
  }
  nghttp2_session* session() { return session_; }
  std::map<int, Answered>& answers() { return answers_; }
  const std::vector<std::pair<int, std::uint32_t>>& goAways() const { return goAways_; }
  /// How many of this type came.
  int frames(nghttp2_frame_type type) { return frames_[type]; }
  std::uint32_t settingOfServer(nghttp2_settings_id id) const {
    return nghttp2_session_get_remote_settings(session_, id);
  }

  /// The stream's number.
  int request(const std::string& path, std::string body = {}) {
    const Http2Fields fields{{":method", body.empty() ? "GET" : "POST"},
                             {":scheme", "https"},
                             {":authority", "here"},
                             {":path", path},
                             {"x-from", "test"}};
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({bytesOf(name), bytesOf(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    nghttp2_data_provider provider{};
    provider.read_callback = [](nghttp2_session*, std::int32_t stream, std::uint8_t* into, std::size_t length,
                                std::uint32_t* flags, nghttp2_data_source*, void* self) {
      std::string& left = static_cast<Client*>(self)->bodies_[stream];
      const std::size_t bytes = left.copy(reinterpret_cast<char*>(into), length);
      left.erase(0, bytes);
      if (left.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(bytes);
    };
    const int stream = nghttp2_submit_request(session_, nullptr, list.data(), list.size(),
                                              body.empty() ? nullptr : &provider, nullptr);
    bodies_[stream] = std::move(body);
    return stream;
  }

  bool send() {
    const std::uint8_t* bytes = nullptr;
    ssize_t length = 0;
    while ((length = nghttp2_session_mem_send(session_, &bytes)) > 0) {
      if (SSL_write(ssl_.get(), bytes, static_cast<int>(length)) <= 0) return false;
    }
    return true;
  }

  void sendRaw(const std::string& bytes) { SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); }

  /// Sends and receives until it is so; false if either side ends the connection before.
  template <class Wish>
  bool until(Wish wish) {
    while (true) {
      if (!send()) return wish();
      if (wish()) return true;
      if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) return false;
      std::array<std::uint8_t, 4096> piece{};
      const int bytes = SSL_read(ssl_.get(), piece.data(), static_cast<int>(piece.size()));
      if (bytes <= 0 || nghttp2_session_mem_recv(session_, piece.data(), static_cast<std::size_t>(bytes)) < 0) {
        return wish();
      }
    }
  }
  bool untilEnded(int stream) {
    return until([&] { return answers_[stream].code.has_value(); });
  }
  /// True once the server has ended the connection.
  bool untilClosed() {
    until([] { return false; });
    std::uint8_t byte = 0;
    return SSL_read(ssl_.get(), &byte, 1) <= 0 && errno != EAGAIN;
  }
  Answered get(const std::string& path) {
    const int stream = request(path);
    untilEnded(stream);
    return answers_[stream];
  }

 private:
  static std::uint8_t* bytesOf(const std::string& text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  }
  static Client& of(void* self) { return *static_cast<Client*>(self); }

  void makeSession(const ClientWish& wish) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t nameLength,
                      const std::uint8_t* value, std::size_t valueLength, std::uint8_t, void* self) {
          Answered& answer = of(self).answers_[frame->hd.stream_id];
          const std::string field(reinterpret_cast<const char*>(name), nameLength);
          std::string content(reinterpret_cast<const char*>(value), valueLength);
          if (field == ":status") {
            answer.statuses.push_back(content);
          } else {
            answer.fields.emplace_back(field, content);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t length,
                      void* self) {
          of(self).answers_[stream].body.append(reinterpret_cast<const char*>(data), length);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          ++of(self).frames_[frame->hd.type];
          if (frame->hd.type == NGHTTP2_GOAWAY) {
            of(self).goAways_.emplace_back(frame->goaway.last_stream_id, frame->goaway.error_code);
          } else if (frame->hd.type == NGHTTP2_DATA) {
            ++of(self).answers_[frame->hd.stream_id].dataFrames;
            of(self).answers_[frame->hd.stream_id].padding += frame->data.padlen;
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self) {
          of(self).answers_[stream].code = code;
          return 0;
        });
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, wish.opensWindows ? 0 : 1);
    // Answers that break the rules are what the tests want to see.
    nghttp2_option_set_no_http_messaging(options, 1);
    nghttp2_session_client_new2(&session_, callbacks, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, wish.settings.data(), wish.settings.size());
  }

  net::testing::ServerContextPtr context_;
  int descriptor_ = -1;
  std::unique_ptr<SSL, net::testing::Freer<SSL_free>> ssl_;
  nghttp2_session* session_ = nullptr;
  std::map<int, std::string> bodies_;
  std::map<int, Answered> answers_;
  std::vector<std::pair<int, std::uint32_t>> goAways_;
  std::map<int, int> frames_;
};

Http2Server::Handler always(const Http2Answer& answer) {
  return [answer](const Http2Request&) { return answer; };
}

const Http2Connection& first(const Http2Report& report) {
  static const Http2Connection none;
  return report.connections.empty() ? none : report.connections.front();
}

TEST(Http2Server, AnswersSeveralStreamsOfAConnection) {
  Http2Server server([](const Http2Request& request) {
    return Http2Answer{.status = 201,
                       .headers = {{"x-said", fieldOf(request.headers, "x-from").value_or("")}},
                       .body = request.method + " " + request.scheme + "://" + request.authority + request.path + " " +
                               request.body + " on " + std::to_string(request.connection) + "/" +
                               std::to_string(request.stream)};
  });
  Client client(server);
  EXPECT_EQ(client.protocol(), "h2");
  const int one = client.request("/a");
  const int other = client.request("/b", "text");
  ASSERT_TRUE(client.untilEnded(one) && client.untilEnded(other));
  EXPECT_EQ(client.answers()[one].body, "GET https://here/a  on 1/1");
  EXPECT_EQ(client.answers()[other].body, "POST https://here/b text on 1/3");
  EXPECT_THAT(client.answers()[one].statuses, ElementsAre("201"));
  EXPECT_THAT(client.answers()[one].fields, ElementsAre(Pair("x-said", "test"), Pair("content-length", "26")));
  EXPECT_EQ(client.answers()[one].code, 0U);

  const Http2Report report = server.report();
  EXPECT_EQ(report.requests(), 2);
  EXPECT_EQ(report.received("HEADERS"), 2);
  EXPECT_THAT(report.violations(), IsEmpty());
  EXPECT_EQ(first(report).protocol, "h2");
  EXPECT_EQ(first(report).bodyBytes, 4U);
  EXPECT_GT(first(report).longestHeaderList, 5 * 32U);
}

TEST(Http2Server, AnswersInTheOrderThatATestWishes) {
  Event late;
  Http2Server server([&](const Http2Request& request) {
    return Http2Answer{.body = request.path, .waitFor = request.path == "/late" ? &late : nullptr};
  });
  Client client(server);
  const int one = client.request("/late");
  const int other = client.request("/soon");
  ASSERT_TRUE(client.untilEnded(other));
  EXPECT_THAT(client.answers()[one].statuses, IsEmpty());
  late.set();
  ASSERT_TRUE(client.untilEnded(one));
  EXPECT_EQ(client.answers()[one].body, "/late");
  EXPECT_EQ(server.report().mostStreamsOpen(), 2);
}

TEST(Http2Server, StopsInMidBodyUntilItIsReleased) {
  Event late;
  Http2Server server([&](const Http2Request& request) {
    if (request.path == "/soon") return Http2Answer{};
    return Http2Answer{.body = "0123456789", .waitFor = &late, .waitAfterBytes = 4};
  });
  Client client(server);
  const int one = client.request("/late");
  ASSERT_TRUE(client.until([&] { return client.answers()[one].body.size() == 4; }));
  EXPECT_EQ(client.get("/soon").code, 0U);
  EXPECT_EQ(client.answers()[one].body, "0123");
  late.set();
  ASSERT_TRUE(client.untilEnded(one));
  EXPECT_EQ(client.answers()[one].body, "0123456789");
}

TEST(Http2Server, PassesOnPiecesOfABodyAsTheyCome) {
  Event late;
  Http2Server server([&](const Http2Request& request) {
    Http2Answer answer{.body = "0", .cutCode = NGHTTP2_CONNECT_ERROR};
    answer.more = [&, count = 0, fails = request.path == "/cut"]() mutable -> Http2Piece {
      if (++count == 1) return {"1"};
      late.wait();
      if (count == 3) throw std::runtime_error("no more");
      return {"2", !fails};
    };
    return answer;
  });
  Client client(server);
  const int whole = client.request("/");
  const int cut = client.request("/cut");
  ASSERT_TRUE(client.until([&] { return client.answers()[whole].body + client.answers()[cut].body == "0101"; }));
  late.set();
  ASSERT_TRUE(client.untilEnded(whole) && client.untilEnded(cut));
  EXPECT_EQ(client.answers()[whole].body, "012");
  EXPECT_EQ(client.answers()[whole].code, NGHTTP2_NO_ERROR);
  EXPECT_EQ(client.answers()[cut].body, "012");
  EXPECT_EQ(client.answers()[cut].code, NGHTTP2_CONNECT_ERROR);
}

TEST(Http2Server, SendsAllThatCameBeforeACut) {
  Http2Server server([](const Http2Request&) {
    Http2Answer answer;
    answer.more = [begun = false]() mutable -> Http2Piece {
      if (std::exchange(begun, true)) throw std::runtime_error("no more");
      return {"0123"};
    };
    return answer;
  });
  const Answered answer = Client(server).get("/");
  EXPECT_EQ(answer.body, "0123");
  EXPECT_EQ(answer.code, NGHTTP2_INTERNAL_ERROR);
}

TEST(Http2Server, TellsAHandlerThatNobodyWaitsForItAnyMore) {
  Event never;
  Event told;
  Http2Server server([&](const Http2Request& request) {
    never.wait(request.ended);
    told.set();
    return Http2Answer{};
  });
  Client client(server);
  const int stream = client.request("/");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return report.requests() == 1; }));
  nghttp2_submit_rst_stream(client.session(), NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  client.send();
  EXPECT_TRUE(told.wait());
}

TEST(Http2Server, GoesWithoutWaitingForAnswersThatAreHeldBack) {
  Event never;
  Http2Server server(always({.waitFor = &never}));
  Client client(server);
  client.request("/");
  client.send();
  EXPECT_TRUE(server.waitUntil([](const Http2Report& report) { return report.requests() == 1; }));
}

TEST(Http2Server, ResetsAStreamAtOnce) {
  Http2Server server(always({.resetCode = NGHTTP2_REFUSED_STREAM}));
  Client client(server);
  const Answered answer = client.get("/");
  EXPECT_EQ(answer.code, NGHTTP2_REFUSED_STREAM);
  EXPECT_THAT(answer.statuses, IsEmpty());
  EXPECT_THAT(server.report().violations(), IsEmpty());
}

TEST(Http2Server, ResetsAStreamAfterSoManyBytes) {
  for (const std::size_t bytes : {0U, 5U, 10U}) {
    Http2Server server(always({.body = "0123456789", .cutAfterBytes = bytes, .cutCode = NGHTTP2_ENHANCE_YOUR_CALM}));
    Client client(server);
    const Answered answer = client.get("/");
    EXPECT_EQ(answer.code, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(answer.body, std::string("0123456789").substr(0, bytes));
    EXPECT_THAT(answer.fields, Contains(Pair("content-length", "10")));
    EXPECT_EQ(client.get("/").code, NGHTTP2_ENHANCE_YOUR_CALM) << "the connection stays";
  }
}

TEST(Http2Server, EndsAStreamTooEarly) {
  Http2Server server(always({.body = "0123456789", .endAfterBytes = 3}));
  const Answered answer = Client(server).get("/");
  EXPECT_EQ(answer.code, 0U);
  EXPECT_EQ(answer.body, "012");
  EXPECT_THAT(answer.fields, Contains(Pair("content-length", "10")));
}

TEST(Http2Server, ClosesTheConnectionAfterSoManyBytes) {
  for (const std::size_t bytes : {0U, 5U, 10U}) {
    Http2Server server(always({.body = "0123456789", .closeAfterBytes = bytes}));
    Client client(server);
    const int stream = client.request("/");
    EXPECT_TRUE(client.untilClosed());
    EXPECT_EQ(client.answers()[stream].code, std::nullopt);
    EXPECT_THAT(client.answers()[stream].statuses, ElementsAre("200"));
    EXPECT_EQ(client.answers()[stream].body, std::string("0123456789").substr(0, bytes));
  }
}

TEST(Http2Server, ClosesTheConnectionInThePlaceOfAnAnswer) {
  Http2Server server(always({.close = true}));
  Client client(server);
  const int stream = client.request("/");
  EXPECT_TRUE(client.untilClosed());
  EXPECT_THAT(client.answers()[stream].statuses, IsEmpty());
}

TEST(Http2Server, SaysGoodbyeBehindAStreamOrBeforeIt) {
  {
    Http2Server server(always({.body = "last", .goAway = GoAway::servesThis}));
    Client client(server);
    EXPECT_EQ(client.get("/").body, "last");
    EXPECT_TRUE(client.untilClosed());
    EXPECT_THAT(client.goAways(), ElementsAre(Pair(1, NGHTTP2_NO_ERROR)));
  }
  Http2Server server([](const Http2Request& request) {
    if (request.path == "/first") return Http2Answer{.body = "first"};
    return Http2Answer{.goAway = GoAway::refusesThis, .goAwayCode = NGHTTP2_ENHANCE_YOUR_CALM};
  });
  Client client(server);
  EXPECT_EQ(client.get("/first").body, "first");
  const int refused = client.request("/second");
  EXPECT_TRUE(client.untilClosed());
  EXPECT_THAT(client.goAways(), ElementsAre(Pair(1, NGHTTP2_ENHANCE_YOUR_CALM)));
  EXPECT_THAT(client.answers()[refused].statuses, IsEmpty());
}

TEST(Http2Server, SaysGoodbyeAtAnyTime) {
  Event late;
  Http2Server server(always({.body = "late", .waitFor = &late}));
  Client client(server);
  const int stream = client.request("/");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return report.requests() == 1; }));
  server.sendGoAway();
  ASSERT_TRUE(client.until([&] { return !client.goAways().empty(); }));
  late.set();
  ASSERT_TRUE(client.untilEnded(stream));
  EXPECT_EQ(client.answers()[stream].body, "late");
  EXPECT_TRUE(client.untilClosed());
  EXPECT_THAT(client.goAways(), ElementsAre(Pair(stream, NGHTTP2_NO_ERROR)));
}

TEST(Http2Server, LimitsStreamsAlsoInMidConnection) {
  Http2Server server(always({}), {.maxStreams = 7, .maxHeaderList = 9000});
  Client client(server);
  client.get("/");
  EXPECT_EQ(client.settingOfServer(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 7U);
  EXPECT_EQ(client.settingOfServer(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), 9000U);
  server.setMaxStreams(0);
  EXPECT_TRUE(client.until([&] { return client.settingOfServer(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 0; }));
  client.send();
  EXPECT_TRUE(server.waitUntil([](const Http2Report& report) { return first(report).settingsAcks == 2; }));
  // And for those that come later.
  Client later(server);
  EXPECT_TRUE(later.until([&] { return later.settingOfServer(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 0; }));
}

TEST(Http2Server, TellsOfStreamsBeyondItsLimit) {
  Event late;
  Http2Server server(always({.waitFor = &late}), {.maxStreams = 1});
  Client client(server);
  client.request("/");
  // Before the client has seen the setting.
  const int second = client.request("/");
  ASSERT_TRUE(client.untilEnded(second));
  EXPECT_EQ(client.answers()[second].code, NGHTTP2_REFUSED_STREAM);
  EXPECT_THAT(server.report().violations(), ElementsAre(HasSubstr("HEADERS on stream 3")));
  EXPECT_EQ(server.report().mostStreamsOpen(), 1);
}

TEST(Http2Server, WaitsForTheClientsWindow) {
  Http2Server server(always({.body = "0123456789"}));
  Client client(server, {.settings = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 6}}, .opensWindows = false});
  const int stream = client.request("/");
  ASSERT_TRUE(client.until([&] { return client.answers()[stream].body.size() == 6; }));
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return first(report).stalled; }));
  EXPECT_THAT(first(server.report()).settings, ElementsAre(Pair(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 6)));
  nghttp2_session_consume_stream(client.session(), stream, 6);
  ASSERT_TRUE(client.untilEnded(stream));
  EXPECT_EQ(client.answers()[stream].body, "0123456789");
  EXPECT_TRUE(server.waitUntil([](const Http2Report& report) { return !first(report).stalled; }));
  const Http2Report report = server.report();
  EXPECT_EQ(first(report).stalls, 1);
  EXPECT_THAT(first(report).windowOpened, ElementsAre(Pair(stream, 6)));
}

TEST(Http2Server, OpensItsOwnWindowWhenItIsTold) {
  Http2Server server([](const Http2Request& request) { return Http2Answer{.body = request.body}; },
                     {.initialWindow = 4, .opensWindows = false});
  Client client(server);
  ASSERT_TRUE(client.until([&] { return client.settingOfServer(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) == 4; }));
  const int stream = client.request("/", "01234567");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return first(report).bodyBytes == 4; }));
  EXPECT_EQ(server.report().requests(), 0);
  server.openWindows();
  ASSERT_TRUE(client.untilEnded(stream));
  EXPECT_EQ(client.answers()[stream].body, "01234567");
  EXPECT_THAT(server.report().violations(), IsEmpty());
}

TEST(Http2Server, TellsOfBytesBeyondItsWindow) {
  Http2Server server(always({}), {.initialWindow = 4, .opensWindows = false});
  Client client(server);
  ASSERT_TRUE(client.until([&] { return client.settingOfServer(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) == 4; }));
  const int stream = client.request("/", "01234567");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return first(report).bodyBytes == 4; }));
  client.sendRaw(std::string("\x00\x00\x04\x00\x01\x00\x00\x00", 8) + static_cast<char>(stream) + "4567");
  EXPECT_TRUE(client.untilEnded(stream));
  EXPECT_EQ(client.answers()[stream].code, NGHTTP2_FLOW_CONTROL_ERROR);
  EXPECT_THAT(server.report().violations(), ElementsAre(HasSubstr("FLOW_CONTROL_ERROR")));
}

TEST(Http2Server, SendsInterimAnswersTrailersPaddingAndSmallFrames) {
  Http2Server server(always({.headers = {{"x-head", "1"}},
                             .body = "0123456789",
                             .declareLength = false,
                             .trailers = {{"x-trailer", "2"}},
                             .informational = {100, 103},
                             .dataFrame = 3,
                             .padding = 20}));
  const Answered answer = Client(server).get("/");
  EXPECT_THAT(answer.statuses, ElementsAre("100", "103", "200"));
  EXPECT_THAT(answer.fields, ElementsAre(Pair("x-head", "1"), Pair("x-trailer", "2")));
  EXPECT_EQ(answer.body, "0123456789");
  EXPECT_EQ(answer.dataFrames, 4);
  EXPECT_GE(answer.padding, 4 * 19U);
  EXPECT_EQ(answer.code, 0U);
}

TEST(Http2Server, SendsAnAnswerWithoutAStatus) {
  Http2Server server(always({.status = 0, .body = "who?"}));
  const Answered answer = Client(server).get("/");
  EXPECT_THAT(answer.statuses, IsEmpty());
  EXPECT_EQ(answer.body, "who?");
}

TEST(Http2Server, CountsAcknowledgements) {
  Http2Server server(always({}));
  Client client(server);
  client.get("/");
  server.sendPings(20);
  server.sendSettings(10);
  // With the first SETTINGS of the server and its acknowledgement.
  ASSERT_TRUE(client.until([&] { return client.frames(NGHTTP2_PING) == 20 && client.frames(NGHTTP2_SETTINGS) == 12; }));
  EXPECT_TRUE(server.waitUntil(
      [](const Http2Report& report) { return first(report).pingAcks == 20 && first(report).settingsAcks == 11; }));
  EXPECT_THAT(first(server.report()).sent, IsSupersetOf({Pair("PING", 20), Pair("SETTINGS", 12)}));
}

TEST(Http2Server, TellsWhatTheClientResets) {
  Http2Server server(always({.never = true}));
  Client client(server);
  const int stream = client.request("/");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return report.requests() == 1; }));
  EXPECT_EQ(first(server.report()).streamsOpen, 1);
  nghttp2_submit_rst_stream(client.session(), NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  client.send();
  nghttp2_session_terminate_session(client.session(), NGHTTP2_INTERNAL_ERROR);
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return !first(report).goAways.empty(); }));
  const Http2Report report = server.report();
  EXPECT_EQ(first(report).streamsOpen, 0);
  EXPECT_THAT(report.resets(), ElementsAre(Pair(stream, NGHTTP2_CANCEL)));
  EXPECT_THAT(first(report).goAways, ElementsAre(NGHTTP2_INTERNAL_ERROR));
}

TEST(Http2Server, SendsWhatIsNoHttp2) {
  Http2Server garbage(always({}), {.garbage = "HTTP/1.1 400 Bad Request\r\n\r\n"});
  Client first(garbage);
  const int stream = first.request("/");
  EXPECT_FALSE(first.untilEnded(stream));

  Http2Server server(always({.never = true}));
  Client client(server);
  client.request("/");
  client.send();
  ASSERT_TRUE(server.waitUntil([](const Http2Report& report) { return report.requests() == 1; }));
  // DATA on stream 0.
  server.sendRaw(std::string("\x00\x00\x01\x00\x00\x00\x00\x00\x00", 9) + "x");
  client.until([] { return false; });
  EXPECT_TRUE(server.waitUntil([](const Http2Report& report) { return !report.connections[0].goAways.empty(); }));
  EXPECT_THAT(server.report().connections[0].goAways, ElementsAre(NGHTTP2_PROTOCOL_ERROR));
}

TEST(Http2Server, EndsConnectionsAndTakesNoMore) {
  Http2Server server(always({}));
  Client client(server);
  client.get("/");
  server.stopListening();
  EXPECT_THROW(Client{server}, std::runtime_error);
  server.closeConnections();
  EXPECT_TRUE(client.untilClosed());
  EXPECT_TRUE(server.waitUntil([](const Http2Report& report) { return !first(report).open; }));
}

TEST(Http2Server, NegotiatesAsItIsTold) {
  const std::string both = "\x02h2\x08http/1.1";
  const std::string old = "\x08http/1.1";
  const auto negotiated = [](Http2Alpn alpn, const std::string& offered) {
    Http2Server server(always({}), {.alpn = alpn});
    return Client(server, {.protocols = offered}).protocol();
  };
  EXPECT_EQ(negotiated(Http2Alpn::http2, both), "h2");
  EXPECT_EQ(negotiated(Http2Alpn::http2, old), "http/1.1");
  EXPECT_EQ(negotiated(Http2Alpn::http11, both), "http/1.1");
  EXPECT_EQ(negotiated(Http2Alpn::silent, both), "");
}

/// What curl says at the end of the options, and what it got.
std::string curl(const std::vector<std::string>& options) {
  const TempDirectory folder;
  std::vector<std::string> words{
      "-sS", "--noproxy", "*", "--max-time", "60", "--cacert", net::testing::testAuthority().file().string()};
  words.insert(words.end(), options.begin(), options.end());
  Process process("/usr/bin/curl", words, {}, folder / "curl");
  process.wait();
  return process.output() + process.errors();
}

TEST(Http2Server, SpeaksWithCurlInEitherProtocol) {
  const auto echo = [](const Http2Request& request) {
    return Http2Answer{.body = request.method + request.body + "\n"};
  };
  for (const Http2Alpn alpn : {Http2Alpn::http2, Http2Alpn::http11, Http2Alpn::silent}) {
    Http2Server server(echo, {.alpn = alpn});
    const std::string version = alpn == Http2Alpn::http2 ? "2" : "1.1";
    EXPECT_EQ(curl({"--http2", "-d", "text", "-w", "%{http_version} %{http_code}", server.url()}),
              "POSTtext\n" + version + " 200");
    EXPECT_EQ(curl({"--http1.1", "-w", "%{http_version}", server.url()}), "GET\n1.1");
    EXPECT_EQ(server.report().requests(), 2);
    EXPECT_THAT(server.report().violations(), IsEmpty());
  }
}

TEST(Http2Server, CutsAnswersOfHttp11Too) {
  Http2Server server(always({.body = "0123456789", .closeAfterBytes = 4}), {.alpn = Http2Alpn::http11});
  EXPECT_THAT(curl({server.url()}), HasSubstr("0123curl: "));
  Http2Server other(always({.body = "0123456789", .cutAfterBytes = 4}), {.alpn = Http2Alpn::http11});
  EXPECT_EQ(curl({other.url()}), "0123456789") << "HTTP/1.1 has no streams that could be reset";
}

}  // namespace
}  // namespace caiexport::support
