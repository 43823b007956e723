#pragma once
/// HTTP/1.1 on the level of bytes, without any I/O: heads, framing of bodies, chunks (RFC 9112).
/// What breaks the rules is AttemptFailure(protocol).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "caiexport/net/http.h"

namespace caiexport::net {

/// The longest head (status line and fields), and the most fields in it.
constexpr std::size_t kMostHeadBytes = 64U << 10U;
constexpr std::size_t kMostFields = 256;

struct ResponseHead {
  HttpResponse response;
  int minorVersion = 1;
};

/// Length of the head in what was received so far, its blank line included; nothing while it is incomplete.
std::optional<std::size_t> headLength(std::string_view received);

/// `head` is complete, as headLength() says.
ResponseHead parseHead(std::string_view head);

struct Framing {
  enum class Kind { none, length, chunked, untilClose };
  Kind kind = Kind::none;
  std::optional<std::uint64_t> declaredBytes = {};  ///< Content-Length, also of an answer without a body (HEAD).
};

/// How the body of the answer to a request of that method ends.
Framing framingOf(const ResponseHead& head, std::string_view method);

/// Whether the connection may carry another request after this answer.
bool keepsAlive(const ResponseHead& head);

/// Refuses with Error(config) what would let a value reach into other parts of the message: line breaks and other
/// control characters in header values, names and methods that are no tokens, and fields that belong to the transport
/// (Host, Content-Length, Transfer-Encoding, Connection and their like). Values are never shown.
void checkRequest(const HttpRequest& request);

/// Request line and fields of a checked request. `User-Agent` and `Accept-Encoding: identity` are added unless given.
std::string writeHead(const HttpRequest& request, const Url& url, std::string_view userAgent);

/// `host:port` as a CONNECT request wants it; IPv6 in brackets.
std::string hostAndPort(std::string_view host, std::uint16_t port);

/// The URL for messages and logs: values of query parameters that may be secrets are shown as `***`.
std::string displayUrl(std::string_view url);

/// Decodes a chunked body piece by piece.
class ChunkDecoder {
 public:
  struct Result {
    std::size_t payloadBytes;   ///< Now at the front of the piece.
    std::size_t consumedBytes;  ///< Less than the piece only when the body is complete.
  };
  /// Moves the payload inside `piece` to its front.
  Result decode(std::span<char> piece);
  bool complete() const { return state_ == State::complete; }

 private:
  enum class State { size, extension, sizeLf, data, dataCr, dataLf, trailerStart, trailer, lastLf, complete };

  void step(char c);
  void stepSize(char c);
  void countOverhead();

  State state_ = State::size;
  std::uint64_t remaining_ = 0;
  unsigned sizeDigits_ = 0;
  std::size_t overheadBytes_ = 0;
};

}  // namespace caiexport::net
