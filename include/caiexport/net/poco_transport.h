#pragma once
/// The transport over Poco::Net and OpenSSL.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"

namespace caiexport::core {
class Log;
}

namespace caiexport::net {

/// What HTTPS_PROXY and NO_PROXY say. Every https request goes through the proxy's CONNECT unless NO_PROXY names its
/// host, loopback hosts included. Plain http, which is for loopback only, never goes through a proxy.
struct ProxySettings {
  std::string httpsProxy = {};  ///< `[http://][user:password@]host[:port]`, or empty. The credentials are secrets.
  std::string noProxy =
      {};  ///< Hosts, domain suffixes (`.corp`, `corp`), `*`, host:port, CIDR blocks; commas or blanks between.
  std::string ignored =
      {};  ///< A variable for other programs' proxies that is set while HTTPS_PROXY is not: ALL_PROXY.
};

struct TransportSettings {
  std::optional<std::filesystem::path> caFile = {};  ///< Instead of the system's trust store.
  /// For TCP, proxy and TLS handshake together; the name look-up has the same limit for itself.
  core::Duration connectTimeout = std::chrono::seconds(10);
  core::Duration readTimeout = std::chrono::seconds(60);  ///< Longest silence while an answer is awaited or read.
  /// How much each connection may take from the network before it is read; 0: as much as the system likes. For a limit
  /// on the rate, which counts what is read.
  std::uint64_t mostUnreadBytes = 0;
  ProxySettings proxy = {};
  std::string userAgent = "caiexport";
};

/// Reads HTTPS_PROXY, else https_proxy, and NO_PROXY, else no_proxy. Not while another thread changes the environment.
ProxySettings proxyFromEnvironment();

/// `host:port` of the proxy that requests to `url` go through, without its credentials; nothing: they go directly.
/// Error(config) for a malformed proxy.
std::optional<std::string> proxyFor(const ProxySettings& settings, std::string_view url);

struct TransportStatistics {
  std::uint64_t connectionsOpened = 0;
  std::uint64_t requestsSent = 0;
};

/// TLS 1.2 or newer, certificate and host name always verified. A failed request's message names method, URL (without
/// query values that may be secrets), what happened and in which phase. Each request is a "request" event at debug.
/// Relies on SIGPIPE being blocked or ignored, which Poco does for the main thread and all that it starts.
class PocoTransport final : public HttpTransport {
 public:
  /// Error(config) if the CA file can't be read or the proxy's address is malformed. The log must outlive the object.
  PocoTransport(TransportSettings settings, core::Log& log);
  ~PocoTransport() override;
  using HttpTransport::send;
  HttpResponse send(const HttpRequest& request, BodySink* sink, std::stop_token stop) override;
  /// Before the first request to an origin, whose URL this is, while something else is waited for: opens a connection
  /// to there meanwhile. Once at most. What goes wrong is the failure of the first request that could use it.
  void expect(std::string_view url) noexcept;
  void prepareForMany(std::string_view url, unsigned connections) noexcept override;
  TransportStatistics statistics() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace caiexport::net
