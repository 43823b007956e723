#pragma once
/// One connection to a server: TCP, perhaps a proxy's tunnel, perhaps TLS.

#include <Poco/Net/Context.h>
#include <Poco/Net/StreamSocket.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"
#include "poco_transport_wait.h"

namespace caiexport::net {

struct Proxy;
class TlsContexts;

/// For one thread at a time. Non-blocking underneath: a read is tried first and only then waited for, so that bytes
/// which TLS has decrypted already are never slept on, and each wait has its own deadline.
/// Failures are AttemptFailure, core::Interrupted after a stop request.
class Connection {
 public:
  struct Target {
    const Origin& origin;
    const Proxy* proxy;  ///< May be null.
    std::string_view userAgent;
    std::uint64_t mostUnreadBytes = 0;  ///< 0: no limit.
  };

  /// Name look-up, then TCP, tunnel and TLS handshake within `limit`.
  static std::unique_ptr<Connection> open(const Target& target, TlsContexts& contexts, core::Duration limit,
                                          const StopSignal& stop);
  /// Over a socket that is connected and does not block, without TLS.
  explicit Connection(const Poco::Net::StreamSocket& socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  enum class ReadState {
    data,
    wouldBlock,
    end,  ///< The peer ended the connection in order.
    cut,  ///< TLS only: the connection ended without TLS's closing message, so bytes may be missing.
  };
  struct ReadResult {
    ReadState state;
    std::size_t bytes = 0;
  };
  /// Reads what is there, without waiting.
  ReadResult tryRead(std::span<char> into);
  /// After wouldBlock: false when `until` passes first.
  bool waitToRead(core::SteadyTime until, const StopSignal& stop);

  /// `longestSilence` is how long the peer may take none of the bytes.
  void write(std::string_view bytes, core::Duration longestSilence, const StopSignal& stop);

  /// Whether an idle connection is still open with nothing to read, as it must be between two answers.
  bool isIdle() noexcept;

 private:
  void openTunnel(const Target& target, core::SteadyTime until, const StopSignal& stop);
  void startTls(const Poco::Net::Context::Ptr& context, const std::string& host, core::SteadyTime until,
                const StopSignal& stop);
  std::size_t tryWrite(std::string_view bytes);
  int descriptor() const;

  Poco::Net::StreamSocket socket_;
  bool secure_ = false;
  short eventsToWaitFor_ = 0;  ///< After wouldBlock; TLS may have to write before it can read.
};

}  // namespace caiexport::net
