#pragma once
/// Writes a response as it is meant to go over the wire: whole, or as badly as its Transport says.

#include <Poco/Net/StreamSocket.h>

#include <cstddef>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "simulator/message.h"

namespace caiexport::simulator {

class World;

class ResponseWriter {
 public:
  ResponseWriter(const Poco::Net::StreamSocket& socket, World& world, std::stop_token stop)
      : socket_(socket), world_(world), stop_(std::move(stop)), begun_(core::systemClock().steadyNow()) {}

  /// True if the connection may carry another request. Poco exceptions when the client has gone.
  bool write(const Response& response, bool headOnly, bool keepAlive);

 private:
  void writeHead(const Response& response, bool keepAlive);
  bool writeBody(const Response& response);
  void limitSending(const Transport& transport);
  bool pace(const Transport& transport, std::uint64_t sent);
  bool stall(const Transport& transport);
  void sendPiece(std::span<const std::byte> piece, bool chunked);
  void send(std::span<const std::byte> bytes);
  void send(std::string_view text) { send(std::as_bytes(std::span(text))); }
  void flush();
  void end(Transport::Ending ending);
  void sendExtra(std::uint64_t bytes);

  Poco::Net::StreamSocket socket_;
  World& world_;
  std::stop_token stop_;
  core::SteadyTime begun_;
  std::string pending_ = {};  ///< The head, until it can go out together with the begin of the body.
};

}  // namespace caiexport::simulator
