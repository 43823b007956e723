#pragma once
/// A server that does exactly what a test tells it to, byte by byte. Shares nothing with the code under test.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.h"

namespace caiexport::net::testing {

/// Something that happens once; for threads that wait for each other.
class Event {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    happened_ = true;
    changed_.notify_all();
  }
  /// False after a time that only a broken test needs.
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return happened_; });
  }
  /// False if the stop comes first.
  bool wait(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    return changed_.wait(lock, stop, [&] { return happened_; });
  }
  bool happened() {
    const std::lock_guard lock(mutex_);
    return happened_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool happened_ = false;
};

/// The server's end of one connection.
class Peer {
 public:
  Peer(int descriptor, int number) : descriptor_(descriptor), number_(number) {
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Peer() { release(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Which connection of the server this is, from 1.
  int number() const { return number_; }
  int descriptor() const { return descriptor_; }
  /// Null before startTls().
  SSL* tls() const { return ssl_; }

  bool startTls(SSL_CTX* context) {
    ssl_ = SSL_new(context);
    SSL_set_fd(ssl_, descriptor_);
    return SSL_accept(ssl_) == 1;
  }

  /// Head and body (by Content-Length) of the next request; empty at the end of the connection.
  std::string readRequest() {
    while (true) {
      const std::size_t end = received_.find("\r\n\r\n");
      if (end != std::string::npos && received_.size() >= end + 4 + bodyLength(end)) {
        return take(end + 4 + bodyLength(end));
      }
      std::array<char, 4096> piece{};
      const int bytes = receive(piece.data(), static_cast<int>(piece.size()));
      if (bytes <= 0) return {};
      received_.append(piece.data(), static_cast<std::size_t>(bytes));
    }
  }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const long sent = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                        : ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// Reads until the client is gone; what it sent.
  std::string readToEnd() {
    std::array<char, 4096> piece{};
    for (int bytes = 1; bytes > 0;) {
      bytes = receive(piece.data(), static_cast<int>(piece.size()));
      if (bytes > 0) received_.append(piece.data(), static_cast<std::size_t>(bytes));
    }
    return take(received_.size());
  }

  /// TLS's closing message (if there is TLS), then the end of the connection.
  void close() {
    if (ssl_ != nullptr) SSL_shutdown(ssl_);
    cut();
  }
  /// The end of the connection without TLS's closing message.
  void cut() {
    ::shutdown(descriptor_, SHUT_WR);
    release();
  }
  void reset() {
    const linger at{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at, sizeof at);
    release();
  }

 private:
  friend class RawServer;

  int receive(char* into, int bytes) {
    return ssl_ != nullptr ? SSL_read(ssl_, into, bytes)
                           : static_cast<int>(::recv(descriptor_, into, static_cast<std::size_t>(bytes), 0));
  }

  std::size_t bodyLength(std::size_t headEnd) const {
    const std::size_t field = received_.find("Content-Length: ");
    return field < headEnd ? std::stoul(received_.substr(field + 16, 20)) : 0;
  }

  std::string take(std::size_t bytes) {
    std::string taken = received_.substr(0, bytes);
    received_.erase(0, bytes);
    return taken;
  }

  /// Wakes a blocked call; from any thread.
  void wake() {
    const std::lock_guard lock(mutex_);
    if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    SSL_free(std::exchange(ssl_, nullptr));
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

  std::mutex mutex_;
  int descriptor_;
  const int number_;
  SSL* ssl_ = nullptr;
  std::string received_;
};

/// Runs `handler` on a thread of its own for each connection; the connection ends with it. The handler must return once
/// the client is gone or the server is destroyed, which ends all connections.
class RawServer {
 public:
  using Handler = std::function<void(Peer&)>;
  struct Options {
    ServerContextPtr tls = {};
    const char* address = "127.0.0.1";
    Handler beforeTls = {};
  };

  explicit RawServer(Handler handler) : RawServer(std::move(handler), Options{}) {}
  RawServer(Handler handler, Options options) : handler_(std::move(handler)), options_(std::move(options)) {
    const bool ipv6 = std::string_view(options_.address).find(':') != std::string_view::npos;
    listener_ = ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    const bool bound = ipv6 ? bindIpv6() : bindIpv4();
    if (!bound || ::listen(listener_, 64) != 0) {
      ::close(listener_);
      throw std::runtime_error("cannot listen");
    }
    acceptor_ = std::thread([this] { acceptAll(); });
  }
  ~RawServer() {
    stopListening();
    acceptor_.join();
    ::close(listener_);
    for (const auto& peer : peers_) peer->wake();
    for (std::thread& thread : threads_) thread.join();
  }
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  /// From here on connects are refused. Connections stay.
  void stopListening() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
  }
  std::uint16_t port() const { return port_; }
  std::string url(const std::string& path = "/", const std::string& host = "127.0.0.1") const {
    return (options_.tls ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
  }
  int connections() const { return connections_; }

 private:
  bool bindIpv4() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, options_.address, &address.sin_addr);
    return bindTo(address) && readPort(address, address.sin_port);
  }
  bool bindIpv6() {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    inet_pton(AF_INET6, options_.address, &address.sin6_addr);
    return bindTo(address) && readPort(address, address.sin6_port);
  }
  template <class Address>
  bool bindTo(Address& address) {
    return ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  template <class Address>
  bool readPort(Address& address, const in_port_t& port) {
    socklen_t length = sizeof address;
    if (::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return false;
    port_ = ntohs(port);
    return true;
  }

  void acceptAll() {
    while (!stopping_) {
      const int descriptor = ::accept(listener_, nullptr, nullptr);
      if (descriptor < 0) continue;
      peers_.push_back(std::make_unique<Peer>(descriptor, ++connections_));
      threads_.emplace_back([this, peer = peers_.back().get()] { serve(*peer); });
    }
  }

  void serve(Peer& peer) {
    if (options_.beforeTls) options_.beforeTls(peer);
    if (!options_.tls || peer.startTls(options_.tls.get())) handler_(peer);
    peer.cut();
  }

  const Handler handler_;
  const Options options_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> connections_ = 0;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

/// Answers every request of a connection with the same bytes.
inline RawServer::Handler answering(std::string answer) {
  return [answer = std::move(answer)](Peer& peer) {
    while (!peer.readRequest().empty() && peer.send(answer)) continue;
  };
}

/// Answers the first request and ends the connection in order.
inline RawServer::Handler answeringOnce(std::string answer) {
  return [answer = std::move(answer)](Peer& peer) {
    peer.readRequest();
    peer.send(answer);
    peer.close();
  };
}

}  // namespace caiexport::net::testing
