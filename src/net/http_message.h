#pragma once
/// HTTP/1.1 on the level of bytes, without any I/O: heads, framing of bodies, chunks (RFC 9112), content codings, and
/// the parts of a URL as messages hold them. What breaks the rules is AttemptFailure(protocol).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/net/http.h"

namespace caiexport::net {

/// Why one attempt to send a request failed, before the caller knows of it. The text follows "METHOD URL: ". The
/// transport makes the core error of it, since only the transport knows the request and whether any of it can have
/// arrived.
class AttemptFailure : public std::runtime_error {
 public:
  enum class Kind {
    transient,  ///< May pass.
    closed,     ///< May pass: the peer closed or reset the connection. All that a stale connection ever shows.
    timedOut,   ///< May pass: no answer came in the time that was given.
    protocol,   ///< The answer breaks HTTP.
    config,     ///< Something has to be set up differently.
    exhausted,  ///< This process may open no more files: may pass when others are closed.
  };

  AttemptFailure(Kind kind, const std::string& text, std::string hint = {})
      : std::runtime_error(text), kind_(kind), hint_(std::move(hint)) {}

  Kind kind() const { return kind_; }
  const std::string& hint() const { return hint_; }

 private:
  Kind kind_;
  std::string hint_;
};

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

/// For bodies that a server or a proxy on the way compressed though nobody asked it to: the body as it was before
/// `Content-Encoding: gzip` (or `deflate`), and without that field; nothing changes where there is none. AttemptFailure
/// for another coding and for one that is broken or cut (of an answer that is no success, the body is left empty
/// instead), and for a body of more than `mostBytes`: a small answer can unpack to any size.
void decodeBody(HttpResponse& response, std::uint64_t mostBytes);

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

/// The 4 or 16 bytes of an IPv4 or IPv6 address (without brackets); empty if the text is none.
std::vector<unsigned char> addressBytes(std::string_view text);

inline bool isAddress(std::string_view text) {
  return !addressBytes(text).empty();
}

}  // namespace caiexport::net
