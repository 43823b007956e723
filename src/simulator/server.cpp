#include "simulator/server.h"

#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
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
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnection.h>
#include <Poco/Net/TCPServerConnectionFactory.h>
#include <Poco/StreamCopier.h>
#include <Poco/ThreadPool.h>
#include <sys/socket.h>

#include <mutex>
#include <set>
#include <stop_token>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "simulator/response_writer.h"
#include "simulator/world.h"

namespace caiexport::simulator {
namespace {

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
};

/// Keeps a socket in the server's list while it is open.
class Registered {
 public:
  Registered(ConnectionContext& context, int socket) : context_(context), socket_(socket) {
    const std::lock_guard lock(context_.mutex);
    context_.open.insert(socket_);
  }
  ~Registered() {
    const std::lock_guard lock(context_.mutex);
    context_.open.erase(socket_);
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  ConnectionContext& context_;
  int socket_;
};

class InFlight {
 public:
  explicit InFlight(World& world) : world_(world) { world_.requestBegins(); }
  ~InFlight() { world_.requestEnds(); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  World& world_;
};

Request readRequest(Poco::Net::HTTPServerRequestImpl& from, bool secure) {
  Request request{.method = from.getMethod(), .target = from.getURI(), .scheme = secure ? "https" : "http"};
  for (const auto& [name, value] : from) request.headers.emplace_back(name, value);
  Poco::StreamCopier::copyToString(from.stream(), request.body);
  return request;
}

bool answerNext(Poco::Net::HTTPServerSession& session, const Poco::Net::StreamSocket& socket,
                ConnectionContext& context) {
  Poco::Net::HTTPServerResponseImpl unused(session);
  Poco::Net::HTTPServerRequestImpl incoming(unused, session, context.parameters.get());
  const InFlight inFlight(context.world);
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

  void run() override;

 private:
  bool begin();
  void serve();

  ConnectionContext& context_;
};

bool Connection::begin() {
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

void Connection::serve() {
  Poco::Net::HTTPServerSession session(socket(), context_.parameters);
  while (!context_.stop.stop_requested() && session.hasMoreRequests()) {
    const bool keepAlive = answerNext(session, socket(), context_);
    session.setKeepAlive(keepAlive);
    if (!keepAlive) return;
  }
}

void Connection::run() {
  const Registered registered(context_, socket().impl()->sockfd());
  try {
    if (begin()) serve();
    socket().shutdown();
  } catch (const Poco::Exception&) {
    // The client has gone, or spoke no HTTP.
  } catch (const std::exception&) {
    // A file could not be read; the client sees the connection end.
  }
}

class Factory final : public Poco::Net::TCPServerConnectionFactory {
 public:
  explicit Factory(ConnectionContext& context) : context_(context) {}

  Poco::Net::TCPServerConnection* createConnection(const Poco::Net::StreamSocket& socket) override {
    return new Connection(socket, context_);
  }

 private:
  ConnectionContext& context_;
};

int protocolAbove(const std::string& version) {
  using Poco::Net::Context;
  const int above13 = 0;
  const int above12 = above13 | Context::PROTO_TLSV1_3;
  const int above11 = above12 | Context::PROTO_TLSV1_2;
  const int above10 = above11 | Context::PROTO_TLSV1_1;
  return version == "1.0" ? above10 : (version == "1.1" ? above11 : (version == "1.2" ? above12 : above13));
}

Poco::Net::Context::Protocols protocolOf(const std::string& version) {
  using Poco::Net::Context;
  return version == "1.0" ? Context::PROTO_TLSV1
                          : (version == "1.1" ? Context::PROTO_TLSV1_1
                                              : (version == "1.3" ? Context::PROTO_TLSV1_3 : Context::PROTO_TLSV1_2));
}

Poco::Net::Context::Ptr makeTls(const ServerOptions& options) {
  using Poco::Net::Context;
  // OpenSSL 3 refuses TLS 1.0 and 1.1 above security level 0.
  const bool old = options.tlsMax == "1.0" || options.tlsMax == "1.1";
  try {
    Context::Ptr tls = new Context(Context::TLS_SERVER_USE, options.keyFile, options.certificateFile, "",
                                   Context::VERIFY_NONE, 9, false, old ? "ALL:@SECLEVEL=0" : "HIGH:!aNULL");
    tls->requireMinimumProtocol(protocolOf(!options.tlsMin.empty() ? options.tlsMin : (old ? "1.0" : "1.2")));
    if (!options.tlsMax.empty()) tls->disableProtocols(protocolAbove(options.tlsMax));
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
