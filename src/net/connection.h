#pragma once
/// One connection to a server (TCP, perhaps a proxy's tunnel, perhaps TLS), the exchange of a request and its answer on
/// it, and where it waits for the next one.

#include <Poco/Net/StreamSocket.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"
#include "connect.h"

namespace caiexport::net {

struct Proxy;

/// Where the head of an answer arrives, and what comes with it. Kept with the connection: each answer needs one.
class Inbox {
 public:
  /// What came and was not dropped.
  std::span<char> bytes() { return {buffer_.get() + begin_, end_ - begin_}; }
  /// The room that is left right behind it.
  std::size_t left() const { return size_ - end_; }
  /// The same, at least for one byte. May move what came.
  std::span<char> room();
  void add(std::size_t bytes) { end_ += bytes; }
  /// At the front.
  void drop(std::size_t bytes) { begin_ += bytes; }
  void clear() { begin_ = end_ = 0; }

 private:
  std::unique_ptr<char[]> buffer_;
  std::size_t size_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

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
    bool offersHttp2 = false;
  };

  /// Name look-up, then TCP, tunnel and TLS handshake within `limit`.
  static std::unique_ptr<Connection> open(const Target& target, TlsContexts& contexts, core::Duration limit,
                                          const core::StopSignal& stop);
  /// Over a socket that is connected and does not block, without TLS.
  explicit Connection(const Poco::Net::StreamSocket& socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The server chose it, of what was offered.
  bool speaksHttp2() const { return speaksHttp2_; }

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
  bool waitToRead(core::SteadyTime until, const core::StopSignal& stop);

  /// `longestSilence` is how long the peer may take none of the bytes.
  void write(std::string_view bytes, core::Duration longestSilence, const core::StopSignal& stop);

  /// Whether an idle connection is still open with nothing to read, as it must be between two answers.
  bool isIdle() noexcept;

  /// Of whoever uses the connection at the moment.
  Inbox& inbox() { return inbox_; }

 private:
  void openTunnel(const Target& target, core::SteadyTime until, const core::StopSignal& stop);
  void startTls(const Poco::Net::Context::Ptr& context, const std::string& host, core::SteadyTime until,
                const core::StopSignal& stop);
  std::size_t tryWrite(std::string_view bytes);
  int descriptor() const;

  Poco::Net::StreamSocket socket_;
  bool secure_ = false;
  bool speaksHttp2_ = false;
  short eventsToWaitFor_ = 0;  ///< After wouldBlock; TLS may have to write before it can read.
  Inbox inbox_;
};

/// A connection that is opened ahead of the first request to its origin, by a thread of its own. Thread safe but
/// for begin(), whose first call counts.
class ConnectionAhead {
 public:
  using Open = std::function<std::unique_ptr<Connection>(const core::StopSignal& stop)>;
  void begin(std::string origin, Open open);
  /// For the first who asks for one to there: waits until it is open, and throws what kept it from that. Nothing for
  /// all others.
  std::unique_ptr<Connection> take(const std::string& origin, const std::stop_token& stop);

 private:
  void run(const Open& open, std::stop_token stop) noexcept;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string origin_;  ///< Empty: none, or it is taken.
  bool done_ = false;
  std::unique_ptr<Connection> connection_;
  std::exception_ptr failure_;
  std::jthread thread_;  ///< Last: it uses the others.
};

/// For one use. Failures are AttemptFailure, core::Interrupted after a stop request, and whatever a sink throws; the
/// connection is of no further use then.
class Exchange {
 public:
  Exchange(Connection& connection, core::Duration readTimeout, const core::KnownSecrets& secrets,
           const core::StopSignal& stop)
      : connection_(connection), readTimeout_(readTimeout), secrets_(secrets), stop_(stop) {}

  /// `head` as writeHead() made it. The sink may be null.
  HttpResponse run(const HttpRequest& request, std::string_view head, BodySink* sink);

  /// Whether any byte of an answer came, also after a failure.
  bool answerBegan() const { return answerBegan_; }
  std::uint64_t bodyBytes() const { return bodyBytes_; }
  /// After success: whether the connection may carry another request.
  bool reusable() const { return reusable_; }

 private:
  Connection& connection_;
  const core::Duration readTimeout_;
  const core::KnownSecrets& secrets_;
  const core::StopSignal& stop_;
  bool answerBegan_ = false;
  bool reusable_ = false;
  std::uint64_t bodyBytes_ = 0;
};

/// How long a connection may wait for its next request: below the 60 s after which common load balancers close it.
inline constexpr core::Duration kLongestIdle = std::chrono::seconds(50);

/// Connections that wait for their next request. Thread safe. The one that was used last is given out first: it is the
/// least likely to be closed already, and the others can grow old and go.
template <class Kept>
class IdlePool {
 public:
  struct Limits {
    std::size_t mostPerKey = 64;
    core::Duration longestIdle = kLongestIdle;
  };

  IdlePool() : IdlePool(Limits{}) {}
  explicit IdlePool(Limits limits) : limits_(limits) {}

  /// Nothing if none is there. Whether it still works is for the caller to find out.
  std::unique_ptr<Kept> take(const std::string& key, core::SteadyTime now) {
    std::vector<Entry> dropped;  // Destroyed, which may do I/O, after the lock is gone.
    const std::lock_guard lock(mutex_);
    std::vector<Entry>& idle = idle_[key];
    dropExpired(idle, now, dropped);
    if (idle.empty()) return nullptr;
    std::unique_ptr<Kept> connection = std::move(idle.back().connection);
    idle.pop_back();
    return connection;
  }

  void put(const std::string& key, std::unique_ptr<Kept> connection, core::SteadyTime now) {
    std::vector<Entry> dropped;
    const std::lock_guard lock(mutex_);
    for (auto& [otherKey, idle] : idle_) dropExpired(idle, now, dropped);
    std::vector<Entry>& idle = idle_[key];
    if (idle.size() >= limits_.mostPerKey) {
      dropped.push_back(std::move(idle.front()));
      idle.erase(idle.begin());
    }
    idle.push_back({std::move(connection), now});
  }

  void clear() {
    std::map<std::string, std::vector<Entry>> dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(idle_);
  }

 private:
  struct Entry {
    std::unique_ptr<Kept> connection;
    core::SteadyTime since;
  };

  void dropExpired(std::vector<Entry>& idle, core::SteadyTime now, std::vector<Entry>& dropped) {
    auto fresh = idle.begin();  // Oldest first.
    while (fresh != idle.end() && now - fresh->since >= limits_.longestIdle) ++fresh;
    std::move(idle.begin(), fresh, std::back_inserter(dropped));
    idle.erase(idle.begin(), fresh);
  }

  const Limits limits_;
  std::mutex mutex_;
  std::map<std::string, std::vector<Entry>> idle_;
};

}  // namespace caiexport::net
