// Poco's sockets, contexts and exceptions are the base, but not its HTTP session: HTTPClientSession (1.11) repeats
// requests by itself, ends broken bodies like complete ones, rewrites header values and counts its timeouts double, and
// each of these would need a way around it. The few pages of HTTP/1.1 that a client needs are in http_message.cpp.
#include "poco_transport_connection.h"

#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "attempt_failure.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "http_message.h"
#include "poco_transport_connect.h"
#include "poco_transport_tls.h"
#include "proxy.h"

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
ResponseHead readTunnelAnswer(Connection& connection, core::SteadyTime until, const StopSignal& stop) {
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

}  // namespace

Connection::Connection(const StreamSocket& socket) : socket_(socket) {}

Connection::~Connection() {
  clearTlsErrors();
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
                                             const StopSignal& stop) {
  const Origin& origin = target.origin;
  const auto addresses = target.proxy != nullptr ? lookUp(target.proxy->host, target.proxy->port, limit, stop)
                                                 : lookUp(origin.host, origin.port, limit, stop);
  const core::SteadyTime until = std::chrono::steady_clock::now() + limit;
  std::unique_ptr<Connection> connection(new Connection(connectTcp(addresses, until, stop)));
  if (target.mostUnreadBytes > 0) connection->socket_.setReceiveBufferSize(asLength(target.mostUnreadBytes));
  if (target.proxy != nullptr) connection->openTunnel(target, until, stop);
  if (origin.scheme == "https") connection->startTls(contexts.forHost(origin.host), origin.host, until, stop);
  return connection;
}

void Connection::openTunnel(const Target& target, core::SteadyTime until, const StopSignal& stop) {
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
                          const StopSignal& stop) {
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
  clearTlsErrors();
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

bool Connection::waitToRead(core::SteadyTime until, const StopSignal& stop) {
  return waitFor(descriptor(), eventsToWaitFor_, until, stop);
}

void Connection::write(std::string_view bytes, core::Duration longestSilence, const StopSignal& stop) {
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
  clearTlsErrors();
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

}  // namespace caiexport::net
