#pragma once
/// A server for tests that speaks HTTP/2 (RFC 9113) over TLS on 127.0.0.1, with each fault that a test asks for. Frames
/// are nghttp2's, TLS is OpenSSL's; it shares nothing with the code under test.

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/raw_server.h"

namespace caiexport::support {

using net::testing::Event;

/// Names and values, in the order in which they are sent; names in lower case.
using Http2Fields = std::vector<std::pair<std::string, std::string>>;

/// The value of the first field with this name, or nothing.
std::optional<std::string> fieldOf(const Http2Fields& fields, std::string_view name);

/// The fields of a head of HTTP/1.1, up to an empty line; names in lower case.
Http2Fields fieldsFrom(std::istream& head);

struct Http2Request {
  int connection = 0;  ///< From 1, in the order in which they were accepted.
  int stream = 0;      ///< 0 where the client speaks HTTP/1.1.
  std::string method = {};
  std::string scheme = {};
  std::string authority = {};
  std::string path = {};
  Http2Fields headers = {};  ///< Without the pseudo-header fields above.
  std::string body = {};
  std::stop_token ended = {};  ///< Stopped once nobody waits for the answer: the stream has ended, or the server goes.
};

/// Of a body that is not known as a whole when its answer begins.
struct Http2Piece {
  std::string bytes = {};
  bool isLast = false;
};

/// What becomes of one request. Error codes are nghttp2's (NGHTTP2_REFUSED_STREAM, ...).
/// Where the client speaks HTTP/1.1, only these count: status, headers, body, declareLength, waitFor, waitAfterBytes,
/// more, closeAfterBytes, close, never.
struct Http2Answer {
  /// 0 sends an answer without `:status`, which is malformed.
  int status = 200;
  Http2Fields headers = {};
  std::string body = {};
  /// Called for what follows `body`, piece by piece, until the last one; if it throws, the stream is reset with
  /// cutCode. The length is then not declared by itself, and faults that count bytes are not for such bodies.
  std::function<Http2Piece()> more = {};
  /// Sends `content-length`, unless the headers have one already.
  bool declareLength = true;
  Http2Fields trailers = {};
  /// Statuses (100, 103) of interim answers that go before.
  std::vector<int> informational = {};

  /// The greatest DATA frame, and how many bytes of padding each frame of the answer gets (up to 256).
  std::size_t dataFrame = 16384;
  std::size_t padding = 0;

  /// The answer waits for this event, so that a test can order the answers of several streams as it likes; with
  /// waitAfterBytes the head and so many bytes of the body go out before. The event must outlive the server.
  Event* waitFor = nullptr;
  std::optional<std::size_t> waitAfterBytes = {};

  // Faults. "After so many bytes" is counted in bytes of the body; 0 is behind the head.
  /// RST_STREAM with cutCode.
  std::optional<std::size_t> cutAfterBytes = {};
  std::uint32_t cutCode = NGHTTP2_INTERNAL_ERROR;
  /// The end of the TCP connection, without a word of TLS or HTTP/2.
  std::optional<std::size_t> closeAfterBytes = {};
  /// END_STREAM, although `content-length` tells more.
  std::optional<std::size_t> endAfterBytes = {};
  /// RST_STREAM in the place of an answer.
  std::optional<std::uint32_t> resetCode = {};
  /// GOAWAY before the answer: this stream is the last one that is served, or the first one that is not.
  enum class GoAway { none, servesThis, refusesThis } goAway = GoAway::none;
  std::uint32_t goAwayCode = NGHTTP2_NO_ERROR;
  /// The TCP connection ends in the place of an answer.
  bool close = false;
  /// No answer at all; the stream stays open.
  bool never = false;
};

/// What the server says to a client that offers protocols (ALPN).
enum class Http2Alpn {
  http2,   ///< `h2` where it is offered, else `http/1.1`.
  http11,  ///< `http/1.1`, whatever is offered.
  silent,  ///< No answer; HTTP/1.1 is spoken.
};

struct Http2ServerSettings {
  Http2Alpn alpn = Http2Alpn::http2;
  /// SETTINGS_MAX_CONCURRENT_STREAMS. 100, as is usual; nothing for no such setting.
  std::optional<std::uint32_t> maxStreams = 100;
  /// SETTINGS_INITIAL_WINDOW_SIZE: how much of a request's body may come before the server gives way to more.
  std::optional<std::uint32_t> initialWindow = {};
  /// SETTINGS_MAX_HEADER_LIST_SIZE; only told, so that a test can see what comes of it.
  std::optional<std::uint32_t> maxHeaderList = {};
  /// False: WINDOW_UPDATE goes out only when a test calls openWindows().
  bool opensWindows = true;
  /// Sent in the place of all HTTP/2.
  std::string garbage = {};
  /// Who the server is; goodServerContext() if not given.
  net::testing::ServerContextPtr tls = {};
};

/// What the server saw of a connection. Types of frames are the RFC's words: "DATA", "HEADERS", "RST_STREAM", ...
struct Http2Connection {
  bool open = false;
  std::string protocol;  ///< "h2" or "http/1.1"; empty before TLS is done.
  int requests = 0;      ///< Of which the head and the whole body came.
  int streamsOpen = 0;
  int mostStreamsOpen = 0;
  std::size_t bodyBytes = 0;            ///< Of requests.
  std::size_t longestHeaderList = 0;    ///< As SETTINGS_MAX_HEADER_LIST_SIZE counts it.
  std::map<std::string, int> received;  ///< Frames by type. CONTINUATION is a part of its HEADERS.
  std::map<std::string, int> sent;
  std::map<int, std::uint32_t> settings;  ///< The client's values by identifier (NGHTTP2_SETTINGS_...).
  int settingsAcks = 0;
  int pingAcks = 0;
  std::map<int, std::uint64_t> windowOpened;          ///< Sums of WINDOW_UPDATE by stream, 0 for the connection.
  bool stalled = false;                               ///< There is something to send, and the client's window is shut.
  int stalls = 0;                                     ///< How often it came to that.
  std::vector<std::pair<int, std::uint32_t>> resets;  ///< The client's RST_STREAM: stream and code.
  std::vector<std::uint32_t> goAways;                 ///< Codes of the client's GOAWAY.
  /// What the client did against the RFC or the server's settings: more streams than it may open, more bytes than the
  /// window has, frames that are malformed.
  std::vector<std::string> violations;
};

struct Http2Report {
  /// Connection 1 is the first one.
  std::vector<Http2Connection> connections;

  int requests() const;
  int mostStreamsOpen() const;
  int received(const std::string& frameType) const;
  /// Of all connections: stream and code.
  std::vector<std::pair<int, std::uint32_t>> resets() const;
  std::vector<std::string> violations() const;
};

class Http2Server {
 public:
  /// Called on a thread of its own for each request, so it may block; it must return once `ended` of the request is
  /// stopped.
  using Handler = std::function<Http2Answer(const Http2Request&)>;

  explicit Http2Server(Handler handler, Http2ServerSettings settings = {});
  /// Ends all connections and threads, answers that wait included.
  ~Http2Server();
  Http2Server(const Http2Server&) = delete;
  Http2Server& operator=(const Http2Server&) = delete;

  std::uint16_t port() const;
  std::string url(const std::string& path = "/", const std::string& host = "127.0.0.1") const;

  Http2Report report() const;
  /// Waits until the report is as wished; false after a time that only a broken test needs. The wish looks at its
  /// report alone: the server waits for it.
  bool waitUntil(const std::function<bool(const Http2Report&)>& wish) const;

  // What follows goes to every connection that speaks HTTP/2 and is open now.
  /// SETTINGS_MAX_CONCURRENT_STREAMS from now on, for later connections as well.
  void setMaxStreams(std::uint32_t streams);
  void sendPings(int count = 1);
  /// So many SETTINGS frames that change nothing, each of which wants an acknowledgement.
  void sendSettings(int count);
  /// The last stream that is served is the newest one, if no other is given.
  void sendGoAway(std::uint32_t code = NGHTTP2_NO_ERROR, std::optional<std::int32_t> lastStream = {});
  /// Bytes between two frames: whatever nghttp2 would not send.
  void sendRaw(const std::string& bytes);
  /// WINDOW_UPDATE for all that came, where opensWindows is false.
  void openWindows();
  /// The end of the TCP connections, without a word of TLS or HTTP/2.
  void closeConnections();
  /// From here on connects are refused. Connections stay.
  void stopListening();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caiexport::support
