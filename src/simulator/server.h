#pragma once
/// The World behind a socket.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace caiexport::simulator {

class World;

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;            ///< 0: a free one.
  std::string certificateFile = {};  ///< With the key: TLS. PEM, the whole chain.
  std::string keyFile = {};
  std::string tlsMin = {};  ///< 1.0, 1.1, 1.2, 1.3; empty: 1.2.
  std::string tlsMax = {};  ///< Empty: the newest.
  std::chrono::milliseconds handshakeDelay{0};
};

/// Listens from construction on; serves on its own threads until it goes. The destructor breaks open connections.
class Server {
 public:
  /// core::Error(io) if the port can't be had, core::Error(config) if certificate or key can't be used.
  Server(World& world, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  /// `http://127.0.0.1:PORT`, or https.
  std::string url() const;

 private:
  struct Running;
  std::unique_ptr<Running> running_;
};

}  // namespace caiexport::simulator
