#pragma once
/// One connection of the server that speaks HTTP/2 to tests. http2_connection.cpp has its thread and its socket,
/// http2_frames.cpp what the client sends and what is told of it, http2_answers.cpp the answers with their faults.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "support/http2_server.h"
#include "support/http2_threads.h"

namespace caiexport::support::http2 {

using net::testing::Peer;

std::string textOf(const std::uint8_t* bytes, std::size_t length);
/// Whether the answer gets a `content-length` that its headers lack.
bool declaresLength(const Http2Answer& answer);
/// How much of the body is sent.
std::size_t endOfBody(const Http2Answer& answer);

class Connection;

/// What the connections have in common.
struct Shared {
  Http2Server::Handler handler;
  Http2ServerSettings settings;
  std::stop_source stop = {};

  std::mutex mutex = {};
  std::condition_variable changed = {};
  Http2Report report = {};
  std::vector<Connection*> open = {};

  template <class Change>
  void change(int connection, Change make) {
    const std::lock_guard lock(mutex);
    const auto index = static_cast<std::size_t>(connection);
    if (report.connections.size() < index) report.connections.resize(index);
    make(report.connections[index - 1]);
    changed.notify_all();
  }
};

/// Told of a connection at its end.
void ended(Http2Connection& seen);

/// One connection of a client that speaks HTTP/2. All is done by the thread that runs it but for post().
class Connection {
 public:
  using Action = std::function<void(Connection&)>;

  Connection(Shared& shared, Peer& peer);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Until either side ends it.
  void run();
  /// From any thread.
  void post(Action action);

  void submitSettings(const std::vector<nghttp2_settings_entry>& entries);
  void submitPing();
  void submitGoAway(std::uint32_t code, std::optional<std::int32_t> lastStream);
  void sendRaw(const std::string& bytes) { gathered_ += bytes; }
  void openWindows();
  void close() { closing_ = true; }

 private:
  struct Stream {
    Http2Request request;
    std::size_t headerList = 0;
    std::size_t kept = 0;  ///< Bytes of the body for which no WINDOW_UPDATE went out.
    std::optional<Http2Answer> answer;
    std::size_t sent = 0;
    std::size_t released = 0;  ///< How much of the body may be sent by now.
    bool complete = true;      ///< No more is to come of the body.
    bool cut = false;          ///< Where it is complete, the stream is to be reset.
    std::stop_source ended;
    bool resetIsOurs = false;
  };

  // The thread and the socket: http2_connection.cpp

  void runPosted();
  /// True if there is more to send than was gathered.
  bool gather();
  /// As much as the socket takes; false if the connection is broken.
  bool send();
  /// All that came; false at the end of the connection.
  bool receive();
  bool wantsToWait(int result) const;
  void wait() const;
  /// What the client still sends is dropped: a socket that is closed over it would take back what was sent.
  void linger() const;

  // nghttp2, what comes, and what is told of it: http2_frames.cpp

  void makeSession();
  static Connection& of(void* self) { return *static_cast<Connection*>(self); }
  void submitFirstSettings();
  /// A refusal of nghttp2's to do what the test wants is told, too.
  void check(int result, const std::string& what);
  void beginStream(std::int32_t id);
  void endStream(std::int32_t id);
  void takeField(std::int32_t id, std::string name, std::string value);
  void takeBody(std::int32_t id, const std::string& bytes);
  void takeFrame(const nghttp2_frame& frame);
  void sentFrame(const nghttp2_frame& frame);
  /// Whether an answer waits for WINDOW_UPDATE.
  void noteStall();
  template <class Change>
  void note(Change change) {
    shared_.change(peer_.number(), change);
  }
  void violated(const std::string& how);

  // Answers and their faults: http2_answers.cpp

  /// The whole request is there.
  void handle(std::int32_t id);
  /// On a thread of its own.
  void answer(std::int32_t id, const Http2Request& request);
  void passOn(std::int32_t id, const std::function<Http2Piece()>& more);
  void begin(std::int32_t id, const Http2Answer& wished);
  void release(std::int32_t id);
  void add(std::int32_t id, const Http2Piece& piece);
  void cut(std::int32_t id);
  void reset(Stream& stream, std::uint32_t code);
  ssize_t giveBody(std::int32_t id, std::uint8_t* into, std::size_t length, std::uint32_t& flags);
  std::size_t paddingOf(std::int32_t id) const;

  Shared& shared_;
  Peer& peer_;
  Waker waker_;
  std::mutex postedMutex_;
  std::vector<Action> posted_;
  std::unique_ptr<Workers> workers_ = std::make_unique<Workers>();
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Stream> streams_;
  std::size_t kept_ = 0;
  bool goAwayIsOurs_ = false;
  bool stalled_ = false;
  bool closing_ = false;
  std::string gathered_;
  std::size_t sent_ = 0;
};

}  // namespace caiexport::support::http2
