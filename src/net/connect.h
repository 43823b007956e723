#pragma once
/// From a host name to a socket that is connected and trusted: look-up, TCP, TLS. Every wait has its own deadline and
/// ends at once on a stop request.

namespace Poco {
class Exception;
}

#include <Poco/Net/Context.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/core/secret.h"
#include "http_message.h"

namespace caiexport::net {

/// Waits until the descriptor is ready for `events` (those of poll()). False when `until` passes first.
/// core::Interrupted after a stop request.
bool waitFor(int descriptor, short events, core::SteadyTime until, const core::StopSignal& stop);

/// All addresses of a host in the order in which the system wants them tried. For a loopback name (isLoopback) only
/// loopback addresses. Ends at once on a stop request; `limit` bounds the look-up. AttemptFailure if there is none.
std::vector<Poco::Net::SocketAddress> lookUp(const std::string& host, std::uint16_t port, core::Duration limit,
                                             const core::StopSignal& stop);

/// The first of the addresses that answers; each gets an equal share of the time left. The socket is non-blocking.
/// AttemptFailure that names every address and why it failed.
Poco::Net::StreamSocket connectTcp(const std::vector<Poco::Net::SocketAddress>& addresses, core::SteadyTime until,
                                   const core::StopSignal& stop);

/// Thread safe. A context per host, because the name to verify is set in the context itself: Poco 1.11 skips its own
/// name check when a handshake outlasts the connect timeout (pocoproject/poco#5485).
class TlsContexts {
 public:
  /// Error(config) if the CA file can't be read or holds no certificate. `mostUnreadBytes`: what a connection may read
  /// ahead, 0 for no limit.
  TlsContexts(std::optional<std::filesystem::path> caFile, std::uint64_t mostUnreadBytes);
  /// `offersHttp2`: by ALPN (RFC 7301), beside HTTP/1.1; what the server chose, the thread of the handshake is told by
  /// chosenHttp2().
  Poco::Net::Context::Ptr forHost(const std::string& host, bool offersHttp2);

 private:
  Poco::Net::Context::Ptr make(const std::string& host, bool offersHttp2) const;

  const std::optional<std::filesystem::path> caFile_;
  const std::size_t readAheadBytes_;
  std::mutex mutex_;
  std::map<std::pair<std::string, bool>, Poco::Net::Context::Ptr> contexts_;
};

/// Whether the last handshake of this thread that offered HTTP/2 chose it.
bool chosenHttp2();

/// Call before each TLS operation: OpenSSL and Poco judge a failed call by the thread's error queue and by errno, and
/// both may still hold an older failure (SSL_get_error(3ssl)).
void clearTlsErrors();

/// Whether the failure is an end of the connection without TLS's own closing message.
bool isUncleanEnd(const Poco::Exception& exception);

/// What a failed handshake with `host` means.
AttemptFailure describeHandshakeFailure(const Poco::Exception& exception, const std::string& host);

/// What HTTPS_PROXY and NO_PROXY mean.

struct Proxy {
  std::string host;
  std::uint16_t port = 0;
  core::Secret authorization = {};         ///< Value of Proxy-Authorization; empty without credentials.
  std::vector<core::Secret> secrets = {};  ///< What of the credentials nobody may repeat.
};

/// `[http://][user:password@]host[:port][/]`; nothing for an empty text. Error(config), which shows no part of the
/// text, for anything else: proxies that want TLS or SOCKS themselves are not supported.
std::optional<Proxy> parseProxy(std::string_view text);

/// The list in NO_PROXY: `*`, hosts, domains (`corp` and `.corp` both mean corp and all below it), addresses, CIDR
/// blocks for hosts given as addresses, each but the blocks also with `:port`.
class NoProxy {
 public:
  explicit NoProxy(std::string_view list);
  /// `host` in lower case, IPv6 without brackets.
  bool matches(std::string_view host, std::uint16_t port) const;

 private:
  struct Rule {
    std::string host;                    ///< Lower case, no leading dot, no brackets; the address of a block.
    std::optional<std::uint16_t> port;   ///< Any port if absent.
    std::optional<unsigned> prefixBits;  ///< Of a CIDR block.
  };
  static Rule parseRule(std::string_view text);
  static bool matchesRule(const Rule& rule, std::string_view host);

  std::vector<Rule> rules_;
  bool all_ = false;
};

}  // namespace caiexport::net
