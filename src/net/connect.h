#pragma once
/// From a host name to a socket that is connected and trusted: look-up, TCP, TLS. Every wait has its own deadline and
/// ends at once on a stop request.

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
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/descriptors.h"
#include "http_message.h"

namespace Poco {
class Exception;
}

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
  Poco::Net::Context::Ptr forHost(const std::string& host);

 private:
  Poco::Net::Context::Ptr make(const std::string& host) const;

  const std::optional<std::filesystem::path> caFile_;
  const std::size_t readAheadBytes_;
  std::mutex mutex_;
  std::map<std::string, Poco::Net::Context::Ptr> contexts_;
};

/// Call before each TLS operation: OpenSSL and Poco judge a failed call by the thread's error queue and by errno, and
/// both may still hold an older failure (SSL_get_error(3ssl)).
void clearTlsErrors();

/// Whether the failure is an end of the connection without TLS's own closing message.
bool isUncleanEnd(const Poco::Exception& exception);

/// What a failed handshake with `host` means.
AttemptFailure describeHandshakeFailure(const Poco::Exception& exception, const std::string& host);

}  // namespace caiexport::net
