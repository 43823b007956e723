// Poco's sockets, contexts and exceptions are the base, but not its HTTP session: HTTPClientSession (1.11) repeats
// requests by itself, ends broken bodies like complete ones, rewrites header values and counts its timeouts double, and
// each of these would need a way around it. The few pages of HTTP/1.1 that a client needs are in http_message.cpp.
#include "connection.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <limits>
#include <optional>

#include "answer.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "connect.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;
using Poco::Net::SecureStreamSocket;
using Poco::Net::StreamSocket;

bool isReset(const Poco::Exception& e) {
  return dynamic_cast<const Poco::Net::ConnectionResetException*>(&e) != nullptr ||
         dynamic_cast<const Poco::Net::ConnectionAbortedException*>(&e) != nullptr || e.code() == EPIPE ||
         e.code() == ECONNRESET;
}

AttemptFailure describeFailure(const Poco::Exception& e) {
  if (isReset(e)) return {Kind::closed, "the connection was reset"};
  if (isUncleanEnd(e)) return {Kind::closed, "the connection was closed"};
  return {Kind::transient, "the connection failed: " + core::printable(e.displayText(), 200)};
}

bool wouldBlock(const Poco::Exception& e) {
  return e.code() == EAGAIN || e.code() == EWOULDBLOCK || e.code() == EINTR;
}

int asLength(std::size_t bytes) {
  return static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max()));
}

/// The head of the proxy's answer to CONNECT.
ResponseHead readTunnelAnswer(Connection& connection, core::SteadyTime until, const core::StopSignal& stop) {
  std::string received;
  std::array<char, 4096> piece{};
  while (true) {
    const Connection::ReadResult read = connection.tryRead(piece);
    if (read.state == Connection::ReadState::wouldBlock) {
      if (!connection.waitToRead(until, stop))
        throw AttemptFailure(Kind::transient, "timed out while waiting for the proxy's tunnel");
      continue;
    }
    if (read.state != Connection::ReadState::data)
      throw AttemptFailure(Kind::closed, "the proxy closed the connection");
    received.append(piece.data(), read.bytes);
    const std::optional<std::size_t> length = headLength(received);
    if (!length) continue;
    ResponseHead head = parseHead(std::string_view(received).substr(0, *length));
    // An interim answer may come first.
    const bool interim = head.response.status < 200;
    if (interim) received.erase(0, *length);
    if (interim && !received.empty())
      throw AttemptFailure(Kind::protocol, "the proxy answered with more than one interim answer");
    if (!interim && head.response.status < 300 && received.size() > *length) {
      throw AttemptFailure(Kind::protocol, "the proxy sent data into the tunnel");
    }
    if (!interim) return head;
  }
}

[[noreturn]] void throwTunnelRefused(const HttpResponse& answer, bool hadCredentials) {
  const std::string status = std::to_string(answer.status) + " " + core::printable(answer.reason, 100);
  if (answer.status == 407) {
    throw AttemptFailure(Kind::config, "the proxy wants other credentials: " + status,
                         hadCredentials ? "check user and password in HTTPS_PROXY (only the Basic method is supported)"
                                        : "put them into HTTPS_PROXY: http://user:password@host:port");
  }
  const bool mayPass = answer.status >= 500 || answer.status == 429 || answer.status == 408;
  throw AttemptFailure(mayPass ? Kind::transient : Kind::config, "the proxy refused to open a tunnel: " + status,
                       "ask who runs the proxy, or name the host in NO_PROXY");
}

constexpr std::size_t kHeadPieceBytes = 16U << 10U;
constexpr std::size_t kBodyPieceBytes = 256U << 10U;
/// A body up to this size goes out in one write with the head.
constexpr std::size_t kSmallBodyBytes = 64U << 10U;

/// Waits for bytes, and remembers how the connection ended.
class Source {
 public:
  Source(Connection& connection, core::Duration readTimeout, const core::StopSignal& stop)
      : connection_(connection), readTimeout_(readTimeout), stop_(stop) {}

  /// Waits for bytes and takes those that are there. 0 at the end of the connection.
  /// `phase` gives the text that says in a timeout's message what was being waited for.
  template <class Phase>
  std::size_t read(std::span<char> into, const Phase& phase) {
    if (pending_) std::rethrow_exception(std::exchange(pending_, nullptr));
    const core::SteadyTime until = std::chrono::steady_clock::now() + readTimeout_;
    while (!ended_) {
      const Connection::ReadResult read = tryRead(into);
      if (read.state != Connection::ReadState::wouldBlock) return read.bytes;
      if (!connection_.waitToRead(until, stop_)) {
        throw AttemptFailure(Kind::timedOut,
                             "timed out " + phase() + " (nothing came for " + core::formatDuration(readTimeout_) + ")",
                             "the read timeout (--read-timeout) may be too short");
      }
    }
    return 0;
  }

  /// The same, and takes what follows without waiting.
  template <class Phase>
  std::size_t fill(std::span<char> into, const Phase& phase) {
    std::size_t filled = read(into, phase);
    while (filled > 0 && filled < into.size() && !ended_) {
      const std::size_t more = readMore(into.subspan(filled));
      if (more == 0) break;
      filled += more;
    }
    return filled;
  }

  /// The end that was seen was a broken one.
  bool cut() const { return cut_; }

 private:
  Connection::ReadResult tryRead(std::span<char> into) {
    stop_.check();
    const Connection::ReadResult read = connection_.tryRead(into);
    ended_ = read.state == Connection::ReadState::end || read.state == Connection::ReadState::cut;
    cut_ = read.state == Connection::ReadState::cut;
    return read;
  }

  /// A failure is kept for the next call, so that the bytes before it are not lost.
  std::size_t readMore(std::span<char> into) {
    try {
      return tryRead(into).bytes;
    } catch (const AttemptFailure&) {
      pending_ = std::current_exception();
      return 0;
    }
  }

  Connection& connection_;
  const core::Duration readTimeout_;
  const core::StopSignal& stop_;
  bool ended_ = false;
  bool cut_ = false;
  std::exception_ptr pending_;
};

std::unique_ptr<char[]> makeBuffer(std::size_t bytes) {
  return std::make_unique_for_overwrite<char[]>(bytes);
}

/// What came with the head stays in the inbox.
ResponseHead readHead(Source& source, Inbox& inbox, bool& began) {
  for (int interim = 0; interim <= kMostInterimAnswers;) {
    const std::string_view received(inbox.bytes().data(), inbox.bytes().size());
    const std::optional<std::size_t> length = headLength(received);
    if (!length) {
      const std::size_t bytes = source.read(inbox.room(), [] { return std::string("while waiting for the answer"); });
      if (bytes == 0) {
        throw AttemptFailure(Kind::closed, began ? "the connection was closed in the middle of the answer's header"
                                                 : "the connection was closed before an answer came");
      }
      inbox.add(bytes);
      began = true;
      continue;
    }
    ResponseHead head = parseHead(received.substr(0, *length));
    inbox.drop(*length);
    if (head.response.status == 101)
      throw AttemptFailure(Kind::protocol, "the server switched protocols unasked (101)");
    if (head.response.status >= 200) return head;
    ++interim;
  }
  throw AttemptFailure(Kind::protocol,
                       "the server sent more than " + std::to_string(kMostInterimAnswers) + " interim answers");
}

/// In one piece, unless it comes slowly (kLongestUnseen). What there is of one that can't be had reaches the sink too.
/// `body` is the place of all of it; its first `filled` bytes are there already.
void readSmallBody(Source& source, std::span<char> body, std::size_t filled, Answer& answer) {
  std::size_t taken = 0;
  const auto handOn = [&] {
    const std::size_t begin = std::exchange(taken, filled);
    answer.take(body.subspan(begin, filled - begin));
  };
  auto lastSeen = std::chrono::steady_clock::now();
  try {
    while (filled < body.size()) {
      const auto phase = [&] { return "in the body after " + std::to_string(filled) + " of " + inBytes(body.size()); };
      const std::size_t bytes = source.fill(body.subspan(filled, answer.room(body.size() - filled)), phase);
      if (bytes == 0) throw AttemptFailure(Kind::closed, "the connection was closed " + phase());
      filled += bytes;
      const auto now = std::chrono::steady_clock::now();
      if (filled == body.size() || now - lastSeen < kLongestUnseen) continue;
      lastSeen = now;
      handOn();
    }
  } catch (...) {
    handOn();
    throw;
  }
  handOn();
}

void readLargeBody(Source& source, std::span<const char> first, std::uint64_t length, Answer& answer) {
  answer.take(first);
  const std::uint64_t toRead = length - first.size();
  const auto bufferBytes = static_cast<std::size_t>(std::min<std::uint64_t>(toRead, kBodyPieceBytes));
  const auto buffer = makeBuffer(bufferBytes);
  while (answer.count() < length) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(length - answer.count(), bufferBytes));
    const auto phase = [&] { return "in the body after " + std::to_string(answer.count()) + " of " + inBytes(length); };
    const std::size_t bytes = source.fill({buffer.get(), answer.room(wanted)}, phase);
    if (bytes == 0) throw AttemptFailure(Kind::closed, "the connection was closed " + phase());
    answer.take({buffer.get(), bytes});
  }
}

/// Returns whether nothing came beyond the declared length, which nobody asked for.
bool readByLength(Source& source, Inbox& inbox, std::uint64_t length, Answer& answer) {
  answer.expect(length);
  const std::size_t received = inbox.bytes().size();
  const auto filled = static_cast<std::size_t>(std::min<std::uint64_t>(received, length));
  const std::span<char> first = inbox.bytes().first(filled);
  if (length > kBodyPieceBytes) {
    readLargeBody(source, first, length, answer);
  } else if (length <= received + inbox.left()) {
    readSmallBody(source, {first.data(), static_cast<std::size_t>(length)}, filled, answer);
  } else {
    const auto buffer = makeBuffer(length);
    std::ranges::copy(first, buffer.get());
    readSmallBody(source, {buffer.get(), static_cast<std::size_t>(length)}, filled, answer);
  }
  return received == filled;
}

/// Returns whether nothing came after the last chunk.
bool readChunks(Source& source, std::span<char> rest, Answer& answer) {
  ChunkDecoder decoder;
  const auto decode = [&](std::span<char> piece) {
    const ChunkDecoder::Result result = decoder.decode(piece);
    answer.take(piece.first(result.payloadBytes));
    return result.consumedBytes == piece.size();
  };
  bool nothingElse = decode(rest);
  const auto buffer = makeBuffer(decoder.complete() ? 1 : kBodyPieceBytes);
  while (!decoder.complete()) {
    const auto phase = [&] { return "in the body after " + inBytes(answer.count()); };
    const std::size_t bytes = source.fill({buffer.get(), answer.room(kBodyPieceBytes)}, phase);
    if (bytes == 0)
      throw AttemptFailure(Kind::closed, "the connection was closed " + phase() + ", before its last chunk");
    nothingElse = decode({buffer.get(), bytes});
  }
  return nothingElse;
}

void readUntilClose(Source& source, std::span<const char> rest, Answer& answer) {
  answer.take(rest);
  const auto buffer = makeBuffer(kBodyPieceBytes);
  while (true) {
    const auto phase = [&] { return "in the body after " + inBytes(answer.count()); };
    const std::size_t bytes = source.fill({buffer.get(), answer.room(kBodyPieceBytes)}, phase);
    answer.take({buffer.get(), bytes});
    if (bytes > 0) continue;
    if (source.cut())
      throw AttemptFailure(Kind::closed, "the connection was cut " + phase() + ", without an orderly end");
    return;
  }
}

/// Returns whether the connection is ready for the next answer.
bool readBody(Source& source, const Framing& framing, Inbox& inbox, Answer& answer) {
  switch (framing.kind) {
    case Framing::Kind::none:
      return inbox.bytes().empty();
    case Framing::Kind::length:
      return readByLength(source, inbox, framing.declaredBytes.value_or(0), answer);
    case Framing::Kind::chunked:
      return readChunks(source, inbox.bytes(), answer);
    case Framing::Kind::untilClose:
      readUntilClose(source, inbox.bytes(), answer);
      return false;
  }
  return false;
}

}  // namespace

std::span<char> Inbox::room() {
  if (end_ == size_) {
    const std::size_t size = std::max(kHeadPieceBytes, 2 * size_);
    auto larger = makeBuffer(size);
    std::ranges::copy(bytes(), larger.get());
    end_ -= std::exchange(begin_, 0);
    size_ = size;
    buffer_ = std::move(larger);
  }
  return {buffer_.get() + end_, size_ - end_};
}

Connection::Connection(const StreamSocket& socket) : socket_(socket) {}

Connection::~Connection() {
  if (secure_) clearTlsErrors();
  try {
    socket_.close();
  } catch (const Poco::Exception&) {
    // Nothing is lost with it: every answer has been judged by then.
  }
}

int Connection::descriptor() const {
  return socket_.impl()->sockfd();
}

std::unique_ptr<Connection> Connection::open(const Target& target, TlsContexts& contexts, core::Duration limit,
                                             const core::StopSignal& stop) {
  const Origin& origin = target.origin;
  const auto addresses = target.proxy != nullptr ? lookUp(target.proxy->host, target.proxy->port, limit, stop)
                                                 : lookUp(origin.host, origin.port, limit, stop);
  const core::SteadyTime until = std::chrono::steady_clock::now() + limit;
  std::unique_ptr<Connection> connection(new Connection(connectTcp(addresses, until, stop)));
  if (target.mostUnreadBytes > 0) connection->socket_.setReceiveBufferSize(asLength(target.mostUnreadBytes));
  if (target.proxy != nullptr) connection->openTunnel(target, until, stop);
  if (origin.scheme == "https") {
    connection->startTls(contexts.forHost(origin.host, target.offersHttp2), origin.host, until, stop);
    connection->speaksHttp2_ = target.offersHttp2 && chosenHttp2();
  }
  return connection;
}

void Connection::openTunnel(const Target& target, core::SteadyTime until, const core::StopSignal& stop) {
  const std::string authority = hostAndPort(target.origin.host, target.origin.port);
  std::string request = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\nUser-Agent: ";
  request.append(target.userAgent).append("\r\n");
  const core::Secret& authorization = target.proxy->authorization;
  if (!authorization.empty()) request.append("Proxy-Authorization: ").append(authorization.reveal()).append("\r\n");
  request += "\r\n";
  write(request, std::chrono::ceil<core::Duration>(until - std::chrono::steady_clock::now()), stop);
  core::cleanse(request);
  const ResponseHead head = readTunnelAnswer(*this, until, stop);
  if (head.response.status / 100 != 2) throwTunnelRefused(head.response, !authorization.empty());
}

void Connection::startTls(const Poco::Net::Context::Ptr& context, const std::string& host, core::SteadyTime until,
                          const core::StopSignal& stop) {
  clearTlsErrors();
  try {
    // On a non-blocking socket attach() leaves the handshake to completeHandshake().
    SecureStreamSocket secure = SecureStreamSocket::attach(socket_, host, context);
    socket_ = secure;
    secure_ = true;
    while (true) {
      clearTlsErrors();
      const int result = secure.completeHandshake();
      if (result == 1) break;
      if (result == 0) throw AttemptFailure(Kind::closed, "the connection was closed during the TLS handshake");
      const short events = result == SecureStreamSocket::ERR_SSL_WANT_WRITE ? POLLOUT : POLLIN;
      if (!waitFor(descriptor(), events, until, stop))
        throw AttemptFailure(Kind::transient, "timed out in the TLS handshake");
    }
    // OpenSSL has checked the name already; this is a second, independent check.
    secure.verifyPeerCertificate(host);
    if (!secure.havePeerCertificate()) throw AttemptFailure(Kind::config, "the server showed no certificate");
  } catch (const Poco::Exception& e) {
    if (isReset(e)) throw AttemptFailure(Kind::closed, "the connection was reset during the TLS handshake");
    throw describeHandshakeFailure(e, host);
  }
}

Connection::ReadResult Connection::tryRead(std::span<char> into) {
  if (secure_) clearTlsErrors();
  try {
    const int result = socket_.receiveBytes(into.data(), asLength(into.size()));
    if (result > 0) return {ReadState::data, static_cast<std::size_t>(result)};
    if (result == 0) return {ReadState::end};
    eventsToWaitFor_ = secure_ && result == SecureStreamSocket::ERR_SSL_WANT_WRITE ? POLLOUT : POLLIN;
    return {ReadState::wouldBlock};
  } catch (const Poco::Exception& e) {
    if (secure_ && isUncleanEnd(e)) return {ReadState::cut};
    if (!wouldBlock(e)) throw describeFailure(e);
    eventsToWaitFor_ = POLLIN;
    return {ReadState::wouldBlock};
  }
}

bool Connection::waitToRead(core::SteadyTime until, const core::StopSignal& stop) {
  return waitFor(descriptor(), eventsToWaitFor_, until, stop);
}

void Connection::write(std::string_view bytes, core::Duration longestSilence, const core::StopSignal& stop) {
  while (!bytes.empty()) {
    stop.check();
    const std::size_t written = tryWrite(bytes);
    bytes.remove_prefix(written);
    if (written > 0) continue;
    const core::SteadyTime until = std::chrono::steady_clock::now() + longestSilence;
    if (!waitFor(descriptor(), eventsToWaitFor_, until, stop))
      throw AttemptFailure(Kind::transient, "timed out while sending the request");
  }
}

std::size_t Connection::tryWrite(std::string_view bytes) {
  if (secure_) clearTlsErrors();
  try {
    const int result = socket_.sendBytes(bytes.data(), asLength(bytes.size()));
    if (result > 0) return static_cast<std::size_t>(result);
    eventsToWaitFor_ = secure_ && result == SecureStreamSocket::ERR_SSL_WANT_READ ? POLLIN : POLLOUT;
  } catch (const Poco::Exception& e) {
    if (!wouldBlock(e)) throw describeFailure(e);
    eventsToWaitFor_ = POLLOUT;
  }
  return 0;
}

bool Connection::isIdle() noexcept {
  // A read rather than a poll: it also sees what TLS has buffered, and takes late session tickets off the socket, which
  // a poll would mistake for an answer.
  try {
    char byte = 0;
    return tryRead(std::span(&byte, 1)).state == ReadState::wouldBlock;
  } catch (const std::exception&) {
    return false;
  }
}

void ConnectionAhead::begin(std::string origin, Open open) {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this, open = std::move(open)](std::stop_token stop) { run(open, std::move(stop)); });
  const std::lock_guard lock(mutex_);
  origin_ = std::move(origin);
}

void ConnectionAhead::run(const Open& open, std::stop_token stop) noexcept {
  std::unique_ptr<Connection> connection;
  std::exception_ptr failure;
  try {
    connection = open(core::StopSignal(std::move(stop)));
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  connection_ = std::move(connection);
  failure_ = failure;
  done_ = true;
  changed_.notify_all();
}

std::unique_ptr<Connection> ConnectionAhead::take(const std::string& origin, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (origin_.empty() || origin_ != origin) return nullptr;
  origin_.clear();
  if (!changed_.wait(lock, stop, [this] { return done_; })) throw core::Interrupted();
  if (failure_) std::rethrow_exception(failure_);
  return std::move(connection_);
}

HttpResponse Exchange::run(const HttpRequest& request, std::string_view head, BodySink* sink) {
  if (request.body.empty() || request.body.size() > kSmallBodyBytes) {
    connection_.write(head, readTimeout_, stop_);
    connection_.write(request.body, readTimeout_, stop_);
  } else {
    connection_.write(std::string(head) + request.body, readTimeout_, stop_);
  }
  Source source(connection_, readTimeout_, stop_);
  Inbox& inbox = connection_.inbox();
  inbox.clear();
  ResponseHead answered = readHead(source, inbox, answerBegan_);
  const Framing framing = framingOf(answered, request.method);
  reusable_ = keepsAlive(answered);
  Answer answer(answered.response, request, secrets_, sink, bodyBytes_);
  answer.begin(framing.declaredBytes);
  const bool nothingElse = readBody(source, framing, inbox, answer);
  reusable_ = reusable_ && nothingElse;
  answer.end();
  return std::move(answered.response);
}

}  // namespace caiexport::net
