#pragma once
/// One client connection: requests in, the World's answers out, faults included.

#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/TCPServerConnection.h>

#include <chrono>
#include <mutex>
#include <set>
#include <stop_token>

namespace caiexport::simulator {

class World;

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

}  // namespace caiexport::simulator
