#pragma once
/// Trust: one TLS context per host, and certificate failures in plain words.

#include <Poco/Net/Context.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "attempt_failure.h"

namespace Poco {
class Exception;
}

namespace caiexport::net {

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
