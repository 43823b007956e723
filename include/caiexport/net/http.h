#pragma once
/// HTTP as the floors above need it: whole requests, streamed answers, one transport interface.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/secret.h"

namespace caiexport::net {

/// Names of fields compare without case.
bool isSameName(std::string_view fieldName, std::string_view name);

/// Header fields in order.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;  ///< Name and value.

  Headers() = default;
  explicit Headers(std::vector<Field> fields) : fields_(std::move(fields)) {}

  void reserve(std::size_t fields) { fields_.reserve(fields); }
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  /// Hands each value to `change`.
  template <class Change>
  void changeValues(const Change& change) {
    for (auto& [name, value] : fields_) change(value);
  }
  /// Replaces every field of that name.
  void set(std::string_view name, std::string value);
  /// The value of the first field of that name; null if there is none.
  const std::string* find(std::string_view name) const;
  /// The same for keeps.
  std::optional<std::string> get(std::string_view name) const;
  const std::vector<Field>& all() const { return fields_; }

 private:
  std::vector<Field> fields_;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url = {};  ///< Absolute; sent exactly as given. Blanks, control and non-ASCII bytes are refused.
  /// The transport adds Host, Content-Length, and unless given User-Agent and `Accept-Encoding: identity`. Its own
  /// fields (Host, Content-Length, Connection, Transfer-Encoding and their like) and values with control characters
  /// are refused with Error(config), which never shows a value.
  Headers headers = {};
  std::string body = {};
  /// For a request whose effect must happen once: it goes out on a fresh connection, on one only, and nothing in the
  /// transport ever sends it a second time.
  bool once = false;
  /// An answer kept in memory may not be larger than this (Error(protocol) otherwise).
  std::uint64_t mostBodyBytes = 64U << 20U;
  /// The body of a good answer is one itself (a token), and comes as it was sent.
  bool answersSecret = false;
  /// A GET of one of many small answers from far away. Where the server speaks HTTP/2 it goes over that, together with
  /// `next`: what the same thread will send right after it, in that order, of the same kind. Each of these must still
  /// be sent by send(), which then only waits for its answer: it takes no round trip of its own.
  bool oneOfMany = false;
  std::vector<HttpRequest> next = {};
};

struct HttpResponse {
  int status = 0;
  std::string reason = {};
  Headers headers = {};
  std::string body = {};  ///< Empty where a BodySink took it.
};

/// Takes the body of an answer while it arrives. All calls come from the thread that called send().
class BodySink {
 public:
  virtual ~BodySink() = default;
  /// Called once with the final status and headers (interim 1xx answers are skipped). True: the body comes to write().
  /// False: it goes to HttpResponse::body (that is what an error answer wants). `bodyBytes` is the declared length, if
  /// there is one.
  virtual bool begin(const HttpResponse& head, std::optional<std::uint64_t> bodyBytes) = 0;
  /// Asked before each read of the body: how many of at most `bytes` bytes, and at least one, may be read now. May
  /// wait, for a limit on the rate, and throw like write().
  virtual std::size_t room(std::size_t bytes) { return bytes; }
  /// May throw to end the transfer; the connection is then discarded.
  virtual void write(std::span<const std::byte> data) = 0;
};

/// Sends requests. Thread safe: any number of threads may send at once; connections are kept alive and shared.
///
/// Any complete HTTP answer is a response, whatever its status; redirects are returned, not followed.
/// A failure below HTTP is core::TransientError (refused, reset, timeout, a body shorter than declared or cut between
/// chunks) with `mayHaveArrived` set truthfully: false only if look-up, connect, proxy or TLS handshake failed and the
/// request went out on no connection before. An answer that breaks HTTP (conflicting lengths, an unknown transfer
/// coding) is core::Error(protocol); a failed certificate check, a refused proxy login, a bad CA file or plain http to
/// another machine is core::Error(config); a stop request ends in core::Interrupted. Bytes after the declared length
/// belong to no answer: the answer is complete, and its connection is not used again.
/// An idle connection that turns out to be closed before any byte of the answer came is replaced once by a fresh one
/// for GET, HEAD, PUT and DELETE; nothing else is ever sent twice.
/// Bytes that a sink has received before a failure are as the server sent them.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  virtual HttpResponse send(const HttpRequest& request, BodySink* sink, std::stop_token stop) = 0;
  HttpResponse send(const HttpRequest& request, std::stop_token stop) {
    return send(request, nullptr, std::move(stop));
  }

  /// Requests that are one of many (HttpRequest::oneOfMany) are about to go to the origin of `url`, so many at a time:
  /// opens connections for them, on threads of its own. What goes wrong shows when one of them needs a connection.
  virtual void prepareForMany(std::string_view url, unsigned connections) noexcept {
    static_cast<void>(url);
    static_cast<void>(connections);
  }

  /// Some servers repeat what they were sent. From now on `***` stands in the place of this secret, however it is
  /// spelt, in all that comes back: reason, header values, bodies kept in memory, and messages of failures. What goes
  /// to a sink is data, and is left alone. This is the one gate for text from outside: what is behind it may be shown,
  /// recorded and logged.
  void keepSecret(std::string_view secret) { secrets_.add(secret); }
  std::string withoutSecrets(std::string text) const { return secrets_.without(std::move(text)); }

 protected:
  const core::KnownSecrets& secrets() const { return secrets_; }

 private:
  core::KnownSecrets secrets_;
};

/// Scheme, host and port of a URL; two are the same origin if all three are equal (a default port equals none).
struct Origin {
  std::string scheme;  ///< Lower case.
  std::string host;    ///< Lower case, IPv6 without brackets.
  std::uint16_t port = 0;
  bool operator==(const Origin&) const = default;
  std::string toString() const;  ///< `https://host[:port]`, default ports left out.
};

/// A URL taken apart without changing any of its bytes.
struct Url {
  Origin origin;
  std::string target;  ///< Path and query exactly as given; at least "/".
};

/// Error(protocol) for anything but http/https with a host of allowed characters, without user info, backslash,
/// fragment, blanks, control or non-ASCII bytes.
Url parseUrl(std::string_view text);

/// A possibly relative reference (RFC 3986) against an absolute base, as an absolute URL without fragment. But for `.`
/// and `..` segments, the bytes of the reference's path and query stay as they are. Error(protocol) as parseUrl().
std::string resolveReference(std::string_view base, std::string_view reference);

/// True for localhost, 127.0.0.0/8 and ::1.
bool isLoopback(std::string_view host);

}  // namespace caiexport::net
