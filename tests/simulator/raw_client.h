#pragma once
/// A client that sees every byte and how a connection ended.

#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>

#include <array>
#include <string>

#include "simulator/platform.h"

namespace caiexport::simulator {

enum class End { closed, reset, open };

struct Received {
  std::string bytes = {};
  End end = End::open;

  std::string head() const { return bytes.substr(0, bytes.find("\r\n\r\n") + 2); }
  std::string body() const { return bytes.substr(bytes.find("\r\n\r\n") + 4); }
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(Poco::Net::SocketAddress("127.0.0.1", port)) { limitWait(); }
  RawClient(std::uint16_t port, const Poco::Net::Context::Ptr& tls)
      : socket_(Poco::Net::SecureStreamSocket(Poco::Net::SocketAddress("127.0.0.1", port), "localhost", tls)) {
    limitWait();
  }

  void send(const std::string& method, const std::string& target, const Headers& more = {},
            const std::string& body = {}) {
    std::string text = method + " " + target + " HTTP/1.1\r\n";
    for (const auto& [name, value] : goodHeaders()) {
      text += name + ": " + value + "\r\n";
    }
    for (const auto& [name, value] : more) {
      text += name + ": " + value + "\r\n";
    }
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    socket_.sendBytes(text.data(), static_cast<int>(text.size()));
  }

  /// Reads until the connection ends or at least so many bytes have come.
  Received receive(std::size_t enough = SIZE_MAX) {
    Received received;
    std::array<char, 65536> buffer{};
    try {
      while (received.bytes.size() < enough) {
        const int count = socket_.receiveBytes(buffer.data(), static_cast<int>(buffer.size()));
        if (count <= 0) {
          received.end = End::closed;
          break;
        }
        received.bytes.append(buffer.data(), static_cast<std::size_t>(count));
      }
    } catch (const Poco::Net::ConnectionResetException&) {
      received.end = End::reset;
    } catch (const Poco::Net::NetException&) {
      received.end = End::reset;
    }
    return received;
  }

  /// Reads the head and so many bytes of the body.
  Received receiveHeadAnd(std::size_t bodyBytes) {
    Received received = receive(1);
    while (received.end == End::open &&
           (received.bytes.find("\r\n\r\n") == std::string::npos || received.body().size() < bodyBytes)) {
      const Received more = receive(1);
      received.bytes += more.bytes;
      received.end = more.end;
    }
    return received;
  }

  /// Reads one response whose length its head tells; the connection may go on.
  Received receiveOne() {
    Received received;
    while (received.end == End::open && received.bytes.size() < whole(received.bytes)) {
      const Received more = receive(1);
      received.bytes += more.bytes;
      received.end = more.end;
    }
    return received;
  }

  /// Whether anything comes within that time.
  bool hears(Poco::Timespan within) { return socket_.poll(within, Poco::Net::Socket::SELECT_READ); }

  void close() { socket_.close(); }

 private:
  /// How long the response will be, as far as can be told.
  static std::size_t whole(const std::string& bytes) {
    const std::size_t end = bytes.find("\r\n\r\n");
    const std::size_t length = bytes.find("Content-Length: ");
    if (end == std::string::npos) {
      return SIZE_MAX;
    }
    return end + 4 + (length < end ? std::stoul(bytes.substr(length + 16)) : 0);
  }

  void limitWait() { socket_.setReceiveTimeout(Poco::Timespan(60, 0)); }

  Poco::Net::StreamSocket socket_;
};

}  // namespace caiexport::simulator
