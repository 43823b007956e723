#pragma once
/// HTTP/2 (RFC 9113) on one connection: a request and its answer, and requests whose answers are waited for later.
/// Frames are nghttp2's.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"
#include "connection.h"

struct nghttp2_session;

namespace caiexport::net {

class Answer;

/// For one thread at a time. What was asked ahead comes into memory, at most 128 KiB of each answer, until its turn is
/// there. Failures are AttemptFailure, core::Interrupted after a stop request, and whatever a sink throws; the
/// connection is of no further use then, nor is what was asked ahead on it.
class Http2Connection {
 public:
  /// `connection` speaks HTTP/2, and nothing has been sent on it. `secrets` outlives this.
  Http2Connection(std::unique_ptr<Connection> connection, std::string userAgent, core::Duration readTimeout,
                  const core::KnownSecrets& secrets);
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  /// Sends the request, unless it was asked ahead, and those of `request.next` that were not, and returns its answer.
  HttpResponse run(const HttpRequest& request, const Url& url, BodySink* sink, const core::StopSignal& stop);

  /// Whether any byte of the last answer came, also after a failure.
  bool answerBegan() const { return answerBegan_; }
  std::uint64_t bodyBytes() const { return bodyBytes_; }
  /// How many requests the last run() sent.
  unsigned requestsSent() const { return requestsSent_; }

  bool asked(const std::string& url) const;
  bool hasAsked() const { return !streams_.empty(); }
  /// Between two answers: whether the server takes another request. Reads what it has sent, without waiting.
  bool isOpen() noexcept;

 private:
  struct Stream;
  struct Callbacks;

  Stream& submit(const HttpRequest& request, const Url& url);
  void askNext(const HttpRequest& request, const core::StopSignal& stop);
  void receive(Stream& stream, Answer& answer, const core::StopSignal& stop);
  void deliver(Stream& stream, Answer& answer);
  /// Waits for bytes of any stream, and takes what is there.
  void pump(const Stream& stream, const core::StopSignal& stop);
  Connection::ReadState readOnce();
  void flush(const core::StopSignal& stop);
  [[noreturn]] void throwEnded(const Stream& stream) const;
  std::string phase(const Stream& stream) const;

  const std::unique_ptr<Connection> connection_;
  const std::string userAgent_;
  const core::Duration readTimeout_;
  const core::KnownSecrets& secrets_;
  std::unique_ptr<nghttp2_session, void (*)(nghttp2_session*)> session_;
  std::map<std::int32_t, std::unique_ptr<Stream>> streams_;  ///< Asked, and not answered to the caller yet.
  const std::unique_ptr<char[]> buffer_;
  core::SteadyTime lastProgress_ = {};  ///< When anything of an answer came last.
  bool ended_ = false;                  ///< The server closed the connection.
  bool answerBegan_ = false;
  std::uint64_t bodyBytes_ = 0;
  unsigned requestsSent_ = 0;
};

/// Connections between two requests, and origins that are not to be offered HTTP/2 again. Thread safe.
class Http2Pool {
 public:
  /// The one on which `url` was asked ahead, else one on which nothing is; nothing if there is none. Whether it still
  /// works is for the caller to find out.
  std::unique_ptr<Http2Connection> take(const std::string& origin, const std::string& url, core::SteadyTime now,
                                        const std::stop_token& stop);
  void put(const std::string& origin, std::unique_ptr<Http2Connection> connection, core::SteadyTime now);
  void clear();

  /// So many more are being opened: as many callers of take() wait for one rather than open another.
  void announce(const std::string& origin, unsigned connections);
  /// One of those was put, or will never be.
  void arrived(const std::string& origin);

  void avoid(const std::string& origin);
  bool isAvoided(const std::string& origin) const;

 private:
  struct Entry {
    std::string origin;
    std::unique_ptr<Http2Connection> connection;
    core::SteadyTime since;
  };

  std::vector<Entry>::iterator find(const std::string& origin, const std::string& url);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  struct Announced {
    unsigned connections = 0;
    unsigned waiting = 0;
  };
  std::map<std::string, Announced> announced_;
  std::vector<Entry> entries_;
  std::vector<std::string> avoided_;
};

}  // namespace caiexport::net
