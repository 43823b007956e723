#include "http_message.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <vector>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::net {
namespace {

[[noreturn]] void throwBroken(const std::string& text) {
  throw AttemptFailure(AttemptFailure::Kind::protocol, "the answer is not valid HTTP: " + text);
}

constexpr bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

constexpr core::ByteSet kTokenBytes([](char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || isDigit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
});
constexpr core::ByteSet kFieldBytes([](char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 || c == '\t') && byte != 0x7f;
});

bool isToken(std::string_view text) {
  return !text.empty() && kTokenBytes.hasAll(text);
}

std::string_view takeLine(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end, rest.size() - 1) + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void parseStatusLine(std::string_view line, ResponseHead& head) {
  // "HTTP/1.1 200" is the shortest; the reason is optional.
  const bool shaped = line.size() >= 12 && line.starts_with("HTTP/1.") && isDigit(line[7]) && line[8] == ' ' &&
                      std::all_of(line.begin() + 9, line.begin() + 12, isDigit) &&
                      (line.size() == 12 || line[12] == ' ');
  if (!shaped || line[9] == '0') throwBroken("it begins with \"" + core::printable(line, 60) + "\"");
  head.minorVersion = line[7] - '0';
  std::from_chars(line.data() + 9, line.data() + 12, head.response.status);
  if (line.size() > 13) head.response.reason = line.substr(13);
}

/// Most answers have fewer.
constexpr std::size_t kUsualFields = 16;

Headers parseFields(std::string_view rest) {
  std::vector<Headers::Field> fields;
  fields.reserve(kUsualFields);
  while (!rest.empty()) {
    const std::string_view line = takeLine(rest);
    if (line.empty()) break;
    if (!kFieldBytes.hasAll(line)) throwBroken("a header field holds control characters");
    if (line[0] == ' ' || line[0] == '\t') {
      // A folded line; RFC 9112, 5.2 says to read it as a blank.
      if (fields.empty()) throwBroken("its first header field begins with a blank");
      fields.back().second.append(" ").append(core::trim(line));
      continue;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !isToken(line.substr(0, colon))) throwBroken("a header line has no name");
    if (fields.size() == kMostFields) throwBroken("it has more than " + std::to_string(kMostFields) + " header fields");
    fields.emplace_back(line.substr(0, colon), core::trim(line.substr(colon + 1)));
  }
  return Headers(std::move(fields));
}

/// Calls `visit` with each value of a list field, also with empty ones.
template <class Visit>
void forEachItem(const Headers& headers, std::string_view name, const Visit& visit) {
  for (const auto& [fieldName, value] : headers.all()) {
    if (!isSameName(fieldName, name)) continue;
    std::string_view rest = value;
    while (true) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      visit(core::trim(rest.substr(0, comma)));
      if (comma == rest.size()) break;
      rest.remove_prefix(comma + 1);
    }
  }
}

std::optional<std::uint64_t> contentLength(const Headers& headers) {
  std::optional<std::uint64_t> length;
  forEachItem(headers, "content-length", [&](std::string_view item) {
    const auto value = core::numberFrom<std::uint64_t>(item);
    if (!value) throwBroken("its Content-Length is \"" + core::printable(core::toLower(item), 40) + "\"");
    if (length && *length != value) throwBroken("it has several Content-Length values that differ");
    length = value;
  });
  return length;
}

bool mayBeSecret(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kWords{"token",  "secret",     "sig", "password",
                                                          "passwd", "credential", "key", "auth"};
  const std::string lowered = core::toLower(name);
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return lowered.find(word) != std::string::npos; });
}

bool belongsToTransport(std::string_view name) {
  static constexpr std::array<std::string_view, 10> kNames{
      "host", "content-length", "transfer-encoding", "connection", "keep-alive",
      "te",   "trailer",        "upgrade",           "expect",     "proxy-authorization"};
  return std::ranges::any_of(
      kNames, [&](std::string_view known) { return name.size() == known.size() && isSameName(name, known); });
}

/// zlib's state, freed however the unpacking ends.
class Inflation {
 public:
  /// Takes gzip as well as zlib's own form.
  Inflation() { ready_ = inflateInit2(&stream_, MAX_WBITS + 32) == Z_OK; }
  ~Inflation() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;

  /// False if the bytes are damaged or end before their end.
  bool unpack(std::string& packed, std::string& body, std::uint64_t mostBytes) {
    std::array<unsigned char, 65536> piece{};
    stream_.next_in = reinterpret_cast<unsigned char*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());
    for (int result = Z_OK; ready_ && result == Z_OK;) {
      stream_.next_out = piece.data();
      stream_.avail_out = piece.size();
      result = inflate(&stream_, Z_NO_FLUSH);
      body.append(reinterpret_cast<const char*>(piece.data()), piece.size() - stream_.avail_out);
      if (body.size() > mostBytes) {
        throw AttemptFailure(AttemptFailure::Kind::protocol,
                             "the answer unpacks to more than " + core::formatBytes(mostBytes));
      }
      if (result == Z_STREAM_END) return stream_.avail_in == 0;
    }
    return false;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::optional<std::size_t> headLength(std::string_view received) {
  std::size_t position = 0;
  while ((position = received.find('\n', position)) != std::string_view::npos) {
    ++position;
    const std::string_view next = received.substr(position);
    if (next.starts_with('\n')) return position + 1;
    if (next.starts_with("\r\n")) return position + 2;
  }
  if (received.size() >= kMostHeadBytes)
    throwBroken("its header is longer than " + std::to_string(kMostHeadBytes >> 10U) + " KiB");
  return std::nullopt;
}

ResponseHead parseHead(std::string_view head) {
  ResponseHead result;
  const std::string_view statusLine = takeLine(head);
  parseStatusLine(statusLine, result);
  result.response.headers = parseFields(head);
  return result;
}

Framing framingOf(const ResponseHead& head, std::string_view method) {
  const Headers& headers = head.response.headers;
  std::size_t codings = 0;
  bool chunked = false;
  forEachItem(headers, "transfer-encoding", [&](std::string_view coding) {
    ++codings;
    chunked = isSameName(coding, "chunked");
  });
  const std::optional<std::uint64_t> length = contentLength(headers);
  const int status = head.response.status;
  if (method == "HEAD" || status == 204 || status == 304 || status < 200) return {Framing::Kind::none, length};
  if (codings > 0) {
    if (length) throwBroken("it has both Transfer-Encoding and Content-Length");
    if (codings > 1 || !chunked) {
      throwBroken("its Transfer-Encoding is unknown (only \"chunked\" is supported)");
    }
    if (head.minorVersion == 0) throwBroken("it is HTTP/1.0 with a Transfer-Encoding");
    return {Framing::Kind::chunked, std::nullopt};
  }
  return {length ? Framing::Kind::length : Framing::Kind::untilClose, length};
}

bool keepsAlive(const ResponseHead& head) {
  bool close = false;
  bool keep = false;
  forEachItem(head.response.headers, "connection", [&](std::string_view option) {
    close = close || isSameName(option, "close");
    keep = keep || isSameName(option, "keep-alive");
  });
  return !close && (keep || head.minorVersion >= 1);
}

ChunkDecoder::Result ChunkDecoder::decode(std::span<char> piece) {
  std::size_t out = 0;
  std::size_t in = 0;
  while (in < piece.size() && state_ != State::complete) {
    if (state_ != State::data) {
      step(piece[in++]);
      continue;
    }
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, piece.size() - in));
    std::memmove(piece.data() + out, piece.data() + in, bytes);
    out += bytes;
    in += bytes;
    remaining_ -= bytes;
    if (remaining_ == 0) state_ = State::dataCr;
  }
  return {out, in};
}

void ChunkDecoder::step(char c) {
  const auto expect = [&](char wanted, State next) {
    if (c != wanted) throwBroken("a chunk of its body does not end where its size says");
    state_ = next;
  };
  switch (state_) {
    case State::size:
      return stepSize(c);
    case State::extension:
      countOverhead();
      if (c == '\n') throwBroken("the size of a chunk of its body is malformed");
      if (c == '\r') state_ = State::sizeLf;
      return;
    case State::sizeLf:
      expect('\n', remaining_ == 0 ? State::trailerStart : State::data);
      sizeDigits_ = 0;
      return;
    case State::dataCr:
      return expect('\r', State::dataLf);
    case State::dataLf:
      overheadBytes_ = 0;
      return expect('\n', State::size);
    case State::trailerStart:
      countOverhead();
      state_ = c == '\r' ? State::lastLf : State::trailer;
      return;
    case State::trailer:
      countOverhead();
      if (c == '\n') state_ = State::trailerStart;
      return;
    case State::lastLf:
      return expect('\n', State::complete);
    case State::data:
    case State::complete:
      return;
  }
}

void ChunkDecoder::stepSize(char c) {
  unsigned digit = 0;
  const auto [end, error] = std::from_chars(&c, &c + 1, digit, 16);
  if (error == std::errc{}) {
    if (++sizeDigits_ > 16) throwBroken("the size of a chunk of its body is too large");
    remaining_ = remaining_ * 16 + digit;
    return;
  }
  if (sizeDigits_ == 0) throwBroken("a chunk of its body has no size");
  if (c == '\r') {
    state_ = State::sizeLf;
  } else if (c == ';' || c == ' ' || c == '\t') {
    state_ = State::extension;
  } else {
    throwBroken("the size of a chunk of its body is malformed");
  }
}

void ChunkDecoder::countOverhead() {
  if (++overheadBytes_ > kMostHeadBytes) throwBroken("the lines between the chunks of its body are too long");
}

void decodeBody(HttpResponse& response, std::uint64_t mostBytes) {
  const std::string coding = core::toLower(response.headers.get("Content-Encoding").value_or("identity"));
  if (coding == "identity" || coding.empty() || response.body.empty()) return;
  const bool known = coding == "gzip" || coding == "x-gzip" || coding == "deflate";
  std::string body;
  if (known && Inflation().unpack(response.body, body, mostBytes)) {
    response.body = std::move(body);
  } else if (response.status / 100 == 2) {
    throw AttemptFailure(AttemptFailure::Kind::protocol,
                         "the answer is packed with '" + core::printable(coding, 40) + "', " +
                             (known ? "and cannot be unpacked" : "which nobody asked for"));
  } else {
    // What the status says stands, whatever the text would have been.
    response.body.clear();
  }
  response.headers.set("Content-Encoding", "identity");
}

void checkRequest(const HttpRequest& request) {
  const auto refuse = [&](const std::string& why) {
    throw core::Error(core::Category::config, "a request can't be sent: " + why,
                      {.hint = "check identifiers, tokens and other settings for line breaks and control characters"});
  };
  if (!isToken(request.method)) refuse("its method is not a word");
  for (const auto& [name, value] : request.headers.all()) {
    if (!isToken(name)) refuse("the name of a header field holds characters that are not allowed there");
    if (!kFieldBytes.hasAll(value))
      refuse("the value of the header field " + name + " holds a line break or control character");
    if (belongsToTransport(name)) refuse("the header field " + name + " is set by the program itself");
  }
}

std::string writeHead(const HttpRequest& request, const Url& url, std::string_view userAgent) {
  const std::string origin = url.origin.toString();
  std::string head;
  std::size_t bytes = request.method.size() + url.target.size() + origin.size() + userAgent.size() + 128;
  for (const auto& [name, value] : request.headers.all()) bytes += name.size() + value.size() + 4;
  head.reserve(bytes);
  head.append(request.method).append(" ").append(url.target).append(" HTTP/1.1\r\n");
  const auto field = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  field("Host", std::string_view(origin).substr(origin.find("://") + 3));
  for (const auto& [name, value] : request.headers.all()) field(name, value);
  if (!request.headers.find("User-Agent")) field("User-Agent", userAgent);
  if (!request.headers.find("Accept-Encoding")) field("Accept-Encoding", "identity");
  // Without a length a server may wait for a body that never comes.
  const bool expectsBody = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (expectsBody || !request.body.empty()) field("Content-Length", std::to_string(request.body.size()));
  return head.append("\r\n");
}

std::string hostAndPort(std::string_view host, std::uint16_t port) {
  const bool ipv6 = host.find(':') != std::string_view::npos;
  const std::string text(host);
  return (ipv6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

std::string displayUrl(std::string_view url) {
  const std::size_t mark = url.find('?');
  std::string shown(url.substr(0, mark));
  if (mark == std::string_view::npos) return shown;
  std::string_view rest = url.substr(mark + 1);
  char separator = '?';
  while (true) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view parameter = rest.substr(0, end);
    const std::size_t equals = parameter.find('=');
    const std::string_view name = parameter.substr(0, equals);
    shown += separator;
    if (equals != std::string_view::npos && mayBeSecret(name)) {
      shown.append(name).append("=***");
    } else {
      shown.append(parameter);
    }
    if (end == rest.size()) return shown;
    rest.remove_prefix(end + 1);
    separator = '&';
  }
}

std::vector<unsigned char> addressBytes(std::string_view text) {
  const std::string terminated(text);
  std::vector<unsigned char> bytes(sizeof(in6_addr));
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(sizeof(in_addr));
  if (inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

}  // namespace caiexport::net
