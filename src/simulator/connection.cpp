#include "simulator/connection.h"

#include <Poco/Exception.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponseImpl.h>
#include <Poco/Net/HTTPServerSession.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/SocketImpl.h>
#include <Poco/StreamCopier.h>

#include "caiexport/core/clock.h"
#include "simulator/response_writer.h"
#include "simulator/world.h"

namespace caiexport::simulator {
namespace {

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
  for (const auto& [name, value] : from) {
    request.headers.emplace_back(name, value);
  }
  Poco::StreamCopier::copyToString(from.stream(), request.body);
  return request;
}

bool answerNext(Poco::Net::HTTPServerSession& session, const Poco::Net::StreamSocket& socket,
                ConnectionContext& context) {
  Poco::Net::HTTPServerResponseImpl unused(session);
  Poco::Net::HTTPServerRequestImpl incoming(unused, session, context.parameters.get());
  const InFlight inFlight(context.world);
  if (incoming.getExpectContinue()) {
    unused.sendContinue();
  }
  const bool keepAlive = incoming.getKeepAlive();
  const Request request = readRequest(incoming, context.secure);
  ResponseWriter writer(socket, context.world, context.stop.get_token());
  return writer.write(context.world.handle(request), request.method == "HEAD", keepAlive);
}

}  // namespace

bool Connection::begin() {
  // A connection that comes in while the server stops may have missed being shut down.
  if (context_.stop.stop_requested()) {
    return false;
  }
  context_.world.countConnection();
  if (context_.handshakeDelay.count() > 0 &&
      !core::systemClock().sleep(context_.handshakeDelay, context_.stop.get_token())) {
    return false;
  }
  if (context_.secure) {
    Poco::Net::SecureStreamSocket secure(socket());
    if (secure.completeHandshake() != 1) {
      return false;
    }
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
    if (!keepAlive) {
      return;
    }
  }
}

void Connection::run() {
  const Registered registered(context_, socket().impl()->sockfd());
  try {
    if (begin()) {
      serve();
    }
    socket().shutdown();
  } catch (const Poco::Exception&) {
    // The client has gone, or spoke no HTTP.
  } catch (const std::exception&) {
    // A file could not be read; the client sees the connection end.
  }
}

}  // namespace caiexport::simulator
