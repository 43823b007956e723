#include "simulator/server.h"

#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponseImpl.h>
#include <Poco/Net/HTTPServerSession.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SecureServerSocket.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/SocketImpl.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnection.h>
#include <Poco/Net/TCPServerConnectionFactory.h>
#include <Poco/StreamCopier.h>
#include <Poco/ThreadPool.h>
#include <Poco/Timespan.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "simulator/world.h"

namespace caiexport::simulator {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kPieceBytes = std::size_t{256} << 10U;
/// A piece up to this size is copied to go out in one packet with the head.
constexpr std::size_t kJoinedBytes = std::size_t{16} << 10U;

bool hasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::string statusLine(int status) {
  const auto reason =
      Poco::Net::HTTPResponse::getReasonForStatus(static_cast<Poco::Net::HTTPResponse::HTTPStatus>(status));
  return "HTTP/1.1 " + std::to_string(status) + " " + reason + "\r\n";
}

bool isChunked(const Transport& transport) {
  return transport.chunked || transport.truncatedChunked;
}

/// Where the body as the client gets it ends.
std::uint64_t lastByte(const Response& response) {
  return std::min(response.bodyBytes(), response.transport.endAfterBytes.value_or(UINT64_MAX));
}

/// The size of the next piece: not beyond the point where something is to happen, and small enough for a slow pace.
std::size_t nextPiece(const Response& response, std::uint64_t sent) {
  const Transport& transport = response.transport;
  std::uint64_t length = std::min<std::uint64_t>(kPieceBytes, lastByte(response) - sent);
  if (transport.stallAfterBytes && sent < *transport.stallAfterBytes) {
    length = std::min(length, *transport.stallAfterBytes - sent);
  }
  if (transport.bytesPerSecond > 0) {
    length = std::min(length, std::max<std::uint64_t>(1, transport.bytesPerSecond / 50));
  }
  return length;
}

/// Writes a response as it is meant to go over the wire: whole, or as badly as its Transport says.
class ResponseWriter {
 public:
  ResponseWriter(const Poco::Net::StreamSocket& socket, World& world, std::stop_token stop)
      : socket_(socket), world_(world), stop_(std::move(stop)), begun_(core::systemClock().steadyNow()) {}

  /// True if the connection may carry another request. Poco exceptions when the client has gone.
  bool write(const Response& response, bool headOnly, bool keepAlive) {
    const Transport& transport = response.transport;
    if (transport.stallBeforeHeaders && !stall(transport)) return false;
    if (transport.answerLost) {
      end(transport.ending);
      return false;
    }
    const bool again = keepAlive && transport.extraBytes == 0 && !transport.truncatedChunked;
    writeHead(response, again);
    const bool complete = headOnly || !hasBody(response.status) || writeBody(response);
    flush();
    return complete && again && !transport.staleKeepAlive;
  }

 private:
  void writeHead(const Response& response, bool keepAlive) {
    const Transport& transport = response.transport;
    std::string head;
    for (int count = 0; transport.interimStatus != 0 && count < transport.interimCount; ++count) {
      head += statusLine(transport.interimStatus);
      head += "\r\n";
    }
    head += statusLine(response.status);
    for (const auto& [name, value] : response.headers) head.append(name).append(": ").append(value).append("\r\n");
    if (isChunked(transport)) {
      head += "Transfer-Encoding: chunked\r\n";
    } else if (hasBody(response.status) && !headerOf(response.headers, "Content-Length")) {
      head += "Content-Length: " + std::to_string(response.bodyBytes()) + "\r\n";
    }
    head += keepAlive ? "Connection: Keep-Alive\r\n\r\n" : "Connection: close\r\n\r\n";
    pending_ = std::move(head);
  }

  bool writeBody(const Response& response) {
    const Transport& transport = response.transport;
    const bool chunked = isChunked(transport);
    std::vector<std::byte> buffer;
    std::uint64_t sent = 0;
    while (true) {
      if (transport.stallAfterBytes == sent && !stall(transport)) return false;
      const std::size_t length = nextPiece(response, sent);
      if (length == 0) break;
      limitSending(transport);
      if (response.content) {
        buffer.resize(length);
        response.content->read(response.offsetBytes + sent, buffer);
        sendPiece(buffer, chunked);
      } else {
        sendPiece(std::as_bytes(std::span(response.body).subspan(sent, length)), chunked);
      }
      sent += length;
      world_.countServed(response, length);
      if (!pace(transport, sent)) {
        end(Transport::Ending::close);
        return false;
      }
    }
    if (transport.endAfterBytes || transport.truncatedChunked) {
      end(transport.ending == Transport::Ending::normal ? Transport::Ending::close : transport.ending);
      return false;
    }
    flush();
    if (chunked) send(std::string_view("0\r\n\r\n"));
    if (transport.extraBytes > 0) send(std::string(transport.extraBytes, 'x'));
    return true;
  }

  /// A client that reads slowly does not put off the cut.
  void limitSending(const Transport& transport) {
    if (transport.cutAfter) {
      const auto left =
          *transport.cutAfter - std::chrono::duration_cast<milliseconds>(core::systemClock().steadyNow() - begun_);
      socket_.setSendTimeout(Poco::Timespan(std::max<std::int64_t>(1, left.count()) * 1000));
    }
  }

  /// Waits as long as the pace wants it. False when the connection's time is over.
  bool pace(const Transport& transport, std::uint64_t sent) {
    core::Clock& clock = core::systemClock();
    const auto elapsed = [&] { return std::chrono::duration_cast<milliseconds>(clock.steadyNow() - begun_); };
    if (transport.bytesPerSecond > 0) {
      const milliseconds due(sent * 1000 / transport.bytesPerSecond);
      milliseconds wait = std::max(milliseconds(0), due - elapsed());
      if (transport.cutAfter) wait = std::min(wait, std::max(milliseconds(0), *transport.cutAfter - elapsed()));
      if (wait.count() > 0 && !clock.sleep(wait, stop_)) return false;
    }
    return !transport.cutAfter || elapsed() < *transport.cutAfter;
  }

  /// Sends nothing until the time is over (true), or the client leaves or the server stops (false).
  bool stall(const Transport& transport) {
    flush();
    core::Clock& clock = core::systemClock();
    const core::SteadyTime from = clock.steadyNow();
    const auto over = [&](std::optional<milliseconds> limit, core::SteadyTime since) {
      return limit && clock.steadyNow() - since >= *limit;
    };
    while (!stop_.stop_requested()) {
      if (over(transport.stallFor, from)) return true;
      if (over(transport.cutAfter, begun_)) {
        end(Transport::Ending::close);
        return false;
      }
      pollfd watched{.fd = socket_.impl()->sockfd(), .events = POLLRDHUP, .revents = 0};
      if (::poll(&watched, 1, 20) > 0) return false;
    }
    return false;
  }

  void sendPiece(std::span<const std::byte> piece, bool chunked) {
    if (!chunked && piece.size() <= kJoinedBytes && !pending_.empty()) {
      pending_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      flush();
      return;
    }
    flush();
    if (!chunked) {
      send(piece);
      return;
    }
    std::array<char, 24> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", piece.size());
    send(std::string_view(size.data()));
    send(piece);
    send(std::string_view("\r\n"));
  }

  void send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const int length = static_cast<int>(std::min<std::size_t>(bytes.size(), kPieceBytes));
      const int sent = socket_.sendBytes(bytes.data(), length);
      // Over TLS a failure may come as a negative number instead of an exception (pocoproject/poco issue 3790).
      if (sent <= 0) throw Poco::Net::NetException("the client has gone");
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
  }

  void send(std::string_view text) { send(std::as_bytes(std::span(text))); }
  void flush() {
    const std::string out = std::exchange(pending_, {});
    send(out);
  }

  void end(Transport::Ending ending) {
    flush();
    if (ending != Transport::Ending::reset) {
      socket_.shutdown();
      return;
    }
    // The socket must be closed with unread lingering data dropped, and without TLS's farewell. Poco sends that
    // farewell when it closes, so the descriptor is pointed elsewhere first.
    socket_.setLinger(true, 0);
    const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere >= 0) {
      ::dup2(nowhere, socket_.impl()->sockfd());
      ::close(nowhere);
    }
  }

  Poco::Net::StreamSocket socket_;
  World& world_;
  std::stop_token stop_;
  core::SteadyTime begun_;
  std::string pending_ = {};  ///< The head, until it can go out together with the begin of the body.
};

constexpr int kMostThreads = 128;
constexpr int kMostQueued = 1024;

/// What the connections of a server share.
struct ConnectionContext {
  World& world;
  Poco::Net::HTTPServerParams::Ptr parameters;
  bool secure = false;
  std::chrono::milliseconds handshakeDelay{0};
  std::stop_source stop = {};
  std::mutex mutex = {};
  std::set<int> open = {};  ///< Sockets to be shut down when the server stops.

  void remember(int socket, bool isOpen) {
    const std::lock_guard lock(mutex);
    if (isOpen) {
      open.insert(socket);
    } else {
      open.erase(socket);
    }
  }
};

/// Does something at the end of a block.
template <class Function>
class AtEnd {
 public:
  explicit AtEnd(Function function) : function_(std::move(function)) {}
  ~AtEnd() { function_(); }
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  Function function_;
};

/// Links that the answer tells begin as the client's do, which may speak TLS to a program that stands before this one.
Request readRequest(Poco::Net::HTTPServerRequestImpl& from, bool secure) {
  secure = secure || from.get("X-Forwarded-Proto", "") == "https";
  Request request{.method = from.getMethod(), .target = from.getURI(), .scheme = secure ? "https" : "http"};
  for (const auto& [name, value] : from) request.headers.emplace_back(name, value);
  Poco::StreamCopier::copyToString(from.stream(), request.body);
  return request;
}

bool answerNext(Poco::Net::HTTPServerSession& session, const Poco::Net::StreamSocket& socket,
                ConnectionContext& context) {
  Poco::Net::HTTPServerResponseImpl unused(session);
  Poco::Net::HTTPServerRequestImpl incoming(unused, session, context.parameters.get());
  context.world.requestBegins();
  const AtEnd ended([&] { context.world.requestEnds(); });
  if (incoming.getExpectContinue()) unused.sendContinue();
  const bool keepAlive = incoming.getKeepAlive();
  const Request request = readRequest(incoming, context.secure);
  ResponseWriter writer(socket, context.world, context.stop.get_token());
  return writer.write(context.world.handle(request), request.method == "HEAD", keepAlive);
}

/// One client connection: requests in, the World's answers out, faults included.
class Connection final : public Poco::Net::TCPServerConnection {
 public:
  Connection(const Poco::Net::StreamSocket& socket, ConnectionContext& context)
      : TCPServerConnection(socket), context_(context) {}

  void run() override {
    context_.remember(socket().impl()->sockfd(), true);
    const AtEnd closed([this, number = socket().impl()->sockfd()] { context_.remember(number, false); });
    try {
      if (begin()) serve();
      socket().shutdown();
    } catch (const Poco::Exception&) {
      // The client has gone, or spoke no HTTP.
    } catch (const std::exception&) {
      // A file could not be read; the client sees the connection end.
    }
  }

 private:
  bool begin() {
    // A connection that comes in while the server stops may have missed being shut down.
    if (context_.stop.stop_requested()) return false;
    context_.world.countConnection();
    if (context_.handshakeDelay.count() > 0 &&
        !core::systemClock().sleep(context_.handshakeDelay, context_.stop.get_token())) {
      return false;
    }
    if (context_.secure) {
      Poco::Net::SecureStreamSocket secure(socket());
      if (secure.completeHandshake() != 1) return false;
      context_.world.countHandshake();
    }
    socket().setNoDelay(true);
    return true;
  }

  void serve() {
    Poco::Net::HTTPServerSession session(socket(), context_.parameters);
    while (!context_.stop.stop_requested() && session.hasMoreRequests()) {
      const bool keepAlive = answerNext(session, socket(), context_);
      session.setKeepAlive(keepAlive);
      if (!keepAlive) return;
    }
  }

  ConnectionContext& context_;
};

class Factory final : public Poco::Net::TCPServerConnectionFactory {
 public:
  explicit Factory(ConnectionContext& context) : context_(context) {}

  Poco::Net::TCPServerConnection* createConnection(const Poco::Net::StreamSocket& socket) override {
    return new Connection(socket, context_);
  }

 private:
  ConnectionContext& context_;
};

const std::map<std::string, Poco::Net::Context::Protocols>& protocols() {
  using Poco::Net::Context;
  static const std::map<std::string, Context::Protocols> byVersion{{"1.0", Context::PROTO_TLSV1},
                                                                   {"1.1", Context::PROTO_TLSV1_1},
                                                                   {"1.2", Context::PROTO_TLSV1_2},
                                                                   {"1.3", Context::PROTO_TLSV1_3}};
  return byVersion;
}

int protocolsAbove(const std::string& version) {
  int above = 0;
  for (auto at = protocols().upper_bound(version); at != protocols().end(); ++at) above |= at->second;
  return above;
}

Poco::Net::Context::Ptr makeTls(const ServerOptions& options) {
  using Poco::Net::Context;
  // OpenSSL 3 refuses TLS 1.0 and 1.1 above security level 0.
  const bool old = options.tlsMax == "1.0" || options.tlsMax == "1.1";
  try {
    Context::Ptr tls = new Context(Context::TLS_SERVER_USE, options.keyFile, options.certificateFile, "",
                                   Context::VERIFY_NONE, 9, false, old ? "ALL:@SECLEVEL=0" : "HIGH:!aNULL");
    tls->requireMinimumProtocol(protocols().at(!options.tlsMin.empty() ? options.tlsMin : (old ? "1.0" : "1.2")));
    if (!options.tlsMax.empty()) tls->disableProtocols(protocolsAbove(options.tlsMax));
    return tls;
  } catch (const Poco::Exception& error) {
    throw core::Error(core::Category::config, "cannot use certificate " + options.certificateFile + " with key " +
                                                  options.keyFile + ": " + error.displayText());
  }
}

Poco::Net::ServerSocket listen(const ServerOptions& options) {
  const Poco::Net::Context::Ptr tls = options.certificateFile.empty() ? Poco::Net::Context::Ptr{} : makeTls(options);
  try {
    const Poco::Net::SocketAddress address(options.host, options.port);
    // Poco's sockets are handles: a copy as the base class shares the implementation, and with it TLS.
    // NOLINTNEXTLINE(cppcoreguidelines-slicing)
    Poco::Net::ServerSocket socket = tls ? Poco::Net::SecureServerSocket(tls) : Poco::Net::ServerSocket();
    // Poco's shorter forms set SO_REUSEPORT, by which two simulators would share one port.
    socket.bind(address, true, false);
    socket.listen(kMostQueued);
    return socket;
  } catch (const Poco::Exception& error) {
    throw core::Error(core::Category::io, "cannot listen on " + options.host + ", port " +
                                              std::to_string(options.port) + ": " + error.displayText());
  }
}

Poco::Net::HTTPServerParams::Ptr makeParameters() {
  Poco::Net::HTTPServerParams::Ptr parameters = new Poco::Net::HTTPServerParams;
  parameters->setMaxThreads(kMostThreads);
  parameters->setMaxQueued(kMostQueued);
  parameters->setKeepAlive(true);
  parameters->setMaxKeepAliveRequests(0);
  parameters->setKeepAliveTimeout(Poco::Timespan(60, 0));
  parameters->setTimeout(Poco::Timespan(300, 0));
  return parameters;
}

}  // namespace

struct Server::Running {
  Running(World& world, const ServerOptions& options)
      : context{.world = world,
                .parameters = makeParameters(),
                .secure = !options.certificateFile.empty(),
                .handshakeDelay = options.handshakeDelay},
        socket(listen(options)),
        threads(2, kMostThreads + 2),
        server(new Factory(context), threads, socket, context.parameters) {
    server.start();
  }

  ~Running() {
    server.stop();
    context.stop.request_stop();
    {
      const std::lock_guard lock(context.mutex);
      for (const int open : context.open) ::shutdown(open, SHUT_RDWR);
    }
    threads.joinAll();
  }

  ConnectionContext context;
  Poco::Net::ServerSocket socket;
  Poco::ThreadPool threads;
  Poco::Net::TCPServer server;
};

Server::Server(World& world, const ServerOptions& options) : running_(new Running(world, options)) {}

Server::~Server() = default;

std::uint16_t Server::port() const {
  return running_->socket.address().port();
}

std::string Server::url() const {
  const std::string scheme = running_->context.secure ? "https://" : "http://";
  return scheme + running_->socket.address().toString();
}

}  // namespace caiexport::simulator
