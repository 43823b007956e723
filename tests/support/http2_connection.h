#pragma once
/// One connection of the server that speaks HTTP/2 to tests; http2_server.cpp alone uses it.

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>

#include "support/http2_server.h"

namespace caiexport::support::http2 {

using net::testing::Peer;

/// What is gathered before it is given to TLS.
constexpr std::size_t kGatheredBytes = std::size_t{64} << 10U;
/// What RFC 9113 (6.5.2) adds to each field of a header list.
constexpr std::size_t kFieldOverhead = 32;
constexpr std::size_t kGreatestPadding = 256;

inline std::string nameOfFrame(std::uint8_t type) {
  static constexpr std::array kNames{"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                     "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};
  return type < kNames.size() ? kNames.at(type) : "type " + std::to_string(type);
}

inline std::string textOf(const std::uint8_t* bytes, std::size_t length) {
  return {reinterpret_cast<const char*>(bytes), length};
}

/// nghttp2 copies what it is given, and does not change it.
inline nghttp2_nv fieldFor(const std::string& name, const std::string& value) {
  const auto bytesOf = [](const std::string& text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytesOf(name), bytesOf(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

inline std::vector<nghttp2_nv> fieldsFor(const Http2Fields& fields) {
  std::vector<nghttp2_nv> result;
  for (const auto& [name, value] : fields) result.push_back(fieldFor(name, value));
  return result;
}

inline bool declaresLength(const Http2Answer& answer) {
  return answer.declareLength && !answer.more && answer.status >= 200 && answer.status != 204 &&
         !fieldOf(answer.headers, "content-length");
}

/// How much of the body is sent.
inline std::size_t endOfBody(const Http2Answer& answer) {
  std::size_t end = answer.body.size();
  for (const auto& fault : {answer.cutAfterBytes, answer.closeAfterBytes, answer.endAfterBytes}) {
    if (fault) end = std::min(end, *fault);
  }
  return end;
}

/// Threads for the handlers of a connection, as many as there are requests at a time.
class Workers {
 public:
  using Task = std::function<void()>;

  Workers() = default;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void run(Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_) threads_.emplace_back([this] { work(); });
    changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [&] { return !tasks_.empty() || ending_; });
      --idle_;
      if (ending_) return;
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

/// Ends a poll() of another thread.
class Waker {
 public:
  Waker() {
    if (::pipe(ends_.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    for (const int end : ends_) ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  ~Waker() {
    for (const int end : ends_) ::close(end);
  }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  int descriptor() const { return ends_[0]; }
  /// A full pipe wakes as well.
  void wake() const { [[maybe_unused]] const auto written = ::write(ends_[1], "w", 1); }
  void clear() const {
    std::array<char, 256> bytes{};
    while (::read(ends_[0], bytes.data(), bytes.size()) > 0) continue;
  }

 private:
  std::array<int, 2> ends_{};
};

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

inline void ended(Http2Connection& seen) {
  seen.open = false;
  seen.streamsOpen = 0;
  seen.stalled = false;
}

/// One connection of a client that speaks HTTP/2. All is done by the thread that runs it but for post().
class Connection {
 public:
  using Action = std::function<void(Connection&)>;

  Connection(Shared& shared, Peer& peer) : shared_(shared), peer_(peer) {
    ::fcntl(peer_.descriptor(), F_SETFL, O_NONBLOCK);
    SSL_set_mode(peer_.tls(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    makeSession();
    const std::lock_guard lock(shared_.mutex);
    submitFirstSettings();
    shared_.open.push_back(this);
  }
  ~Connection() {
    {
      const std::lock_guard lock(shared_.mutex);
      std::erase(shared_.open, this);
    }
    for (auto& [id, stream] : streams_) stream.ended.request_stop();
    workers_.reset();
    nghttp2_session_del(session_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Until either side ends it.
  void run() {
    while (true) {
      waker_.clear();
      runPosted();
      const bool more = gather();
      if (!send()) return;
      if (sent_ == gathered_.size()) {
        if (closing_) return linger();
        if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
          SSL_shutdown(peer_.tls());
          return linger();
        }
      }
      noteStall();
      if (!more) wait();
      if (!receive()) return;
    }
  }

  /// From any thread.
  void post(Action action) {
    {
      const std::lock_guard lock(postedMutex_);
      posted_.push_back(std::move(action));
    }
    waker_.wake();
  }

  void submitSettings(const std::vector<nghttp2_settings_entry>& entries) {
    check(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size()), "SETTINGS");
  }
  void submitPing() { check(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr), "PING"); }
  void submitGoAway(std::uint32_t code, std::optional<std::int32_t> lastStream) {
    goAwayIsOurs_ = true;
    check(
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                              lastStream.value_or(nghttp2_session_get_last_proc_stream_id(session_)), code, nullptr, 0),
        "GOAWAY");
  }
  void sendRaw(const std::string& bytes) { gathered_ += bytes; }
  void openWindows() {
    for (auto& [id, stream] : streams_) nghttp2_session_consume_stream(session_, id, std::exchange(stream.kept, 0));
    nghttp2_session_consume_connection(session_, std::exchange(kept_, 0));
  }
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

  // nghttp2

  void makeSession() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) of(self).beginStream(frame->hd.stream_id);
          return 0;
        });
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t nameLength,
                      const std::uint8_t* value, std::size_t valueLength, std::uint8_t, void* self) {
          of(self).takeField(frame->hd.stream_id, textOf(name, nameLength), textOf(value, valueLength));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t length,
                      void* self) {
          of(self).takeBody(stream, textOf(data, length));
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
                                                           of(self).takeFrame(*frame);
                                                           return 0;
                                                         });
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, int error, void* self) {
          of(self).violated(nameOfFrame(frame->hd.type) + " on stream " + std::to_string(frame->hd.stream_id) + ": " +
                            nghttp2_strerror(error));
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks,
                                                         [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
                                                           of(self).sentFrame(*frame);
                                                           return 0;
                                                         });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, std::int32_t stream, std::uint32_t, void* self) {
          of(self).endStream(stream);
          return 0;
        });
    nghttp2_session_callbacks_set_select_padding_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, std::size_t greatest, void* self) {
          return static_cast<ssize_t>(std::min(frame->hd.length + of(self).paddingOf(frame->hd.stream_id), greatest));
        });
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, shared_.settings.opensWindows ? 0 : 1);
    nghttp2_session_server_new2(&session_, callbacks, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
  }

  static Connection& of(void* self) { return *static_cast<Connection*>(self); }

  void submitFirstSettings() {
    const Http2ServerSettings& wished = shared_.settings;
    std::vector<nghttp2_settings_entry> entries;
    if (wished.maxStreams) entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, *wished.maxStreams});
    if (wished.initialWindow) entries.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, *wished.initialWindow});
    if (wished.maxHeaderList) entries.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, *wished.maxHeaderList});
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
  }

  /// A refusal of nghttp2's to do what the test wants is told, too.
  void check(int result, const std::string& what) {
    if (result != 0) violated("the server could not send " + what + ": " + nghttp2_strerror(result));
  }

  // What comes

  void beginStream(std::int32_t id) {
    Stream& stream = streams_[id];
    stream.request.connection = peer_.number();
    stream.request.stream = id;
    stream.request.ended = stream.ended.get_token();
    note([&](Http2Connection& seen) { seen.mostStreamsOpen = std::max(seen.mostStreamsOpen, ++seen.streamsOpen); });
  }

  void endStream(std::int32_t id) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    found->second.ended.request_stop();
    streams_.erase(found);
    note([](Http2Connection& seen) { --seen.streamsOpen; });
  }

  void takeField(std::int32_t id, std::string name, std::string value) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Http2Request& request = found->second.request;
    found->second.headerList += name.size() + value.size() + kFieldOverhead;
    if (name == ":method") {
      request.method = std::move(value);
    } else if (name == ":scheme") {
      request.scheme = std::move(value);
    } else if (name == ":authority") {
      request.authority = std::move(value);
    } else if (name == ":path") {
      request.path = std::move(value);
    } else {
      request.headers.emplace_back(std::move(name), std::move(value));
    }
  }

  void takeBody(std::int32_t id, const std::string& bytes) {
    if (!shared_.settings.opensWindows) kept_ += bytes.size();
    const auto found = streams_.find(id);
    if (found != streams_.end()) {
      found->second.request.body += bytes;
      if (!shared_.settings.opensWindows) found->second.kept += bytes.size();
    }
    note([&](Http2Connection& seen) { seen.bodyBytes += bytes.size(); });
  }

  void takeFrame(const nghttp2_frame& frame) {
    note([&](Http2Connection& seen) {
      ++seen.received[nameOfFrame(frame.hd.type)];
      const bool acknowledges = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
      switch (frame.hd.type) {
        case NGHTTP2_SETTINGS:
          if (acknowledges) ++seen.settingsAcks;
          for (std::size_t i = 0; i < frame.settings.niv; ++i) {
            seen.settings[frame.settings.iv[i].settings_id] = frame.settings.iv[i].value;
          }
          break;
        case NGHTTP2_PING:
          if (acknowledges) ++seen.pingAcks;
          break;
        case NGHTTP2_RST_STREAM:
          seen.resets.emplace_back(frame.hd.stream_id, frame.rst_stream.error_code);
          break;
        case NGHTTP2_GOAWAY:
          seen.goAways.push_back(frame.goaway.error_code);
          break;
        case NGHTTP2_WINDOW_UPDATE:
          seen.windowOpened[frame.hd.stream_id] +=
              static_cast<std::uint64_t>(frame.window_update.window_size_increment);
          break;
        default:
          break;
      }
    });
    const bool carriesRequest = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
    if (carriesRequest && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) handle(frame.hd.stream_id);
  }

  /// The whole request is there.
  void handle(std::int32_t id) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    note([&](Http2Connection& seen) {
      ++seen.requests;
      seen.longestHeaderList = std::max(seen.longestHeaderList, found->second.headerList);
    });
    workers_->run([this, id, request = found->second.request] { answer(id, request); });
  }

  /// On a thread of its own.
  void answer(std::int32_t id, const Http2Request& request) {
    Http2Answer made;
    try {
      made = shared_.handler(request);
    } catch (const std::exception& e) {
      violated(std::string("the handler threw: ") + e.what());
      made.resetCode = NGHTTP2_INTERNAL_ERROR;
    }
    Event* const event = made.waitFor;
    const bool beginsBefore = made.waitAfterBytes.has_value();
    const auto more = made.more;
    if (event != nullptr && !beginsBefore && !event->wait(request.ended)) return;
    post([id, made = std::move(made)](Connection& connection) { connection.begin(id, made); });
    if (event != nullptr && beginsBefore) {
      if (!event->wait(request.ended)) return;
      post([id](Connection& connection) { connection.release(id); });
    }
    if (more) passOn(id, more);
  }

  void passOn(std::int32_t id, const std::function<Http2Piece()>& more) {
    try {
      for (bool isLast = false; !isLast;) {
        const Http2Piece piece = more();
        isLast = piece.isLast;
        post([id, piece](Connection& connection) { connection.add(id, piece); });
      }
    } catch (const std::exception&) {
      post([id](Connection& connection) { connection.cut(id); });
    }
  }

  // What goes

  void begin(std::int32_t id, const Http2Answer& wished) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    const Http2Answer& answer = stream.answer.emplace(wished);
    if (answer.goAway == Http2Answer::GoAway::servesThis) submitGoAway(answer.goAwayCode, id);
    if (answer.goAway == Http2Answer::GoAway::refusesThis) submitGoAway(answer.goAwayCode, std::max(id - 2, 0));
    if (answer.close) close();
    if (answer.goAway == Http2Answer::GoAway::refusesThis || answer.close || answer.never) return;
    if (answer.resetCode) return reset(stream, *answer.resetCode);
    for (const int status : answer.informational) {
      const std::string text = std::to_string(status);
      const std::string name = ":status";
      const nghttp2_nv field = fieldFor(name, text);
      check(nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, &field, 1, nullptr), "an interim answer");
    }
    Http2Fields fields;
    if (answer.status != 0) fields.emplace_back(":status", std::to_string(answer.status));
    fields.insert(fields.end(), answer.headers.begin(), answer.headers.end());
    if (declaresLength(answer)) fields.emplace_back("content-length", std::to_string(answer.body.size()));
    stream.complete = !answer.more;
    stream.released = answer.waitFor != nullptr && answer.waitAfterBytes ? *answer.waitAfterBytes : answer.body.size();
    nghttp2_data_provider body{};
    body.read_callback = [](nghttp2_session*, std::int32_t sender, std::uint8_t* into, std::size_t length,
                            std::uint32_t* flags, nghttp2_data_source*,
                            void* self) { return of(self).giveBody(sender, into, length, *flags); };
    const bool isEmpty =
        stream.request.method == "HEAD" || (answer.body.empty() && !answer.more && answer.trailers.empty() &&
                                            !answer.cutAfterBytes && !answer.closeAfterBytes);
    check(nghttp2_submit_response(session_, id, fieldsFor(fields).data(), fields.size(), isEmpty ? nullptr : &body),
          "an answer");
  }

  void release(std::int32_t id) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || !found->second.answer) return;
    found->second.released = found->second.answer->body.size();
    nghttp2_session_resume_data(session_, id);
  }

  void add(std::int32_t id, const Http2Piece& piece) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || !found->second.answer) return;
    found->second.answer->body += piece.bytes;
    found->second.complete = piece.isLast;
    release(id);
  }

  void cut(std::int32_t id) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    found->second.complete = true;
    found->second.cut = true;
    nghttp2_session_resume_data(session_, id);
  }

  void reset(Stream& stream, std::uint32_t code) {
    stream.resetIsOurs = true;
    check(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.request.stream, code), "RST_STREAM");
  }

  ssize_t giveBody(std::int32_t id, std::uint8_t* into, std::size_t length, std::uint32_t& flags) {
    Stream& stream = streams_.at(id);
    const Http2Answer& answer = *stream.answer;
    const std::size_t end = endOfBody(answer);
    const std::size_t bytes = std::min({length, answer.dataFrame, std::min(end, stream.released) - stream.sent});
    std::copy_n(answer.body.begin() + static_cast<std::ptrdiff_t>(stream.sent), bytes, into);
    stream.sent += bytes;
    const ssize_t asMuchAsThereIs = bytes > 0 ? static_cast<ssize_t>(bytes) : ssize_t{NGHTTP2_ERR_DEFERRED};
    if (stream.sent < end || stream.released < end || !stream.complete) return asMuchAsThereIs;
    if (stream.cut || answer.cutAfterBytes == end) {
      reset(stream, answer.cutCode);
      return asMuchAsThereIs;
    }
    if (answer.closeAfterBytes == end) {
      close();
      return asMuchAsThereIs;
    }
    flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!answer.trailers.empty()) {
      flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      check(nghttp2_submit_trailer(session_, id, fieldsFor(answer.trailers).data(), answer.trailers.size()),
            "trailers");
    }
    return static_cast<ssize_t>(bytes);
  }

  std::size_t paddingOf(std::int32_t id) const {
    const auto found = streams_.find(id);
    if (found == streams_.end() || !found->second.answer) return 0;
    return std::min(found->second.answer->padding, kGreatestPadding);
  }

  void sentFrame(const nghttp2_frame& frame) {
    note([&](Http2Connection& seen) { ++seen.sent[nameOfFrame(frame.hd.type)]; });
    if (frame.hd.type == NGHTTP2_GOAWAY && !goAwayIsOurs_ && frame.goaway.error_code != NGHTTP2_NO_ERROR) {
      violated(std::string("the server ended the connection: ") + nghttp2_http2_strerror(frame.goaway.error_code) +
               " " + textOf(frame.goaway.opaque_data, frame.goaway.opaque_data_len));
    }
    const auto found = streams_.find(frame.hd.stream_id);
    if (frame.hd.type == NGHTTP2_RST_STREAM && found != streams_.end() && !found->second.resetIsOurs) {
      violated("the server reset stream " + std::to_string(frame.hd.stream_id) + ": " +
               nghttp2_http2_strerror(frame.rst_stream.error_code));
    }
  }

  /// Whether an answer waits for WINDOW_UPDATE.
  void noteStall() {
    const bool connectionIsShut = nghttp2_session_get_remote_window_size(session_) <= 0;
    const bool stalled = std::any_of(streams_.begin(), streams_.end(), [&](const auto& entry) {
      const auto& [id, stream] = entry;
      return stream.answer && stream.sent < std::min(endOfBody(*stream.answer), stream.released) &&
             (connectionIsShut || nghttp2_session_get_stream_remote_window_size(session_, id) <= 0);
    });
    if (stalled == std::exchange(stalled_, stalled)) return;
    note([&](Http2Connection& seen) {
      seen.stalled = stalled;
      if (stalled) ++seen.stalls;
    });
  }

  template <class Change>
  void note(Change change) {
    shared_.change(peer_.number(), change);
  }
  void violated(const std::string& how) {
    note([&](Http2Connection& seen) { seen.violations.push_back(how); });
  }

  // The socket

  void runPosted() {
    std::vector<Action> actions;
    {
      const std::lock_guard lock(postedMutex_);
      actions.swap(posted_);
    }
    for (const Action& action : actions) action(*this);
  }

  /// True if there is more to send than was gathered.
  bool gather() {
    while (!closing_) {
      if (gathered_.size() >= kGatheredBytes) return true;
      const std::uint8_t* bytes = nullptr;
      const ssize_t length = nghttp2_session_mem_send(session_, &bytes);
      if (length <= 0) break;
      gathered_ += textOf(bytes, static_cast<std::size_t>(length));
    }
    return false;
  }

  /// As much as the socket takes; false if the connection is broken.
  bool send() {
    while (sent_ < gathered_.size()) {
      ERR_clear_error();
      const int bytes = SSL_write(peer_.tls(), gathered_.data() + sent_, static_cast<int>(gathered_.size() - sent_));
      if (bytes <= 0) return wantsToWait(bytes);
      sent_ += static_cast<std::size_t>(bytes);
    }
    gathered_.clear();
    sent_ = 0;
    return true;
  }

  /// All that came; false at the end of the connection.
  bool receive() {
    std::array<std::uint8_t, 16384> piece{};
    while (true) {
      ERR_clear_error();
      const int bytes = SSL_read(peer_.tls(), piece.data(), static_cast<int>(piece.size()));
      if (bytes <= 0) return wantsToWait(bytes);
      const ssize_t taken = nghttp2_session_mem_recv(session_, piece.data(), static_cast<std::size_t>(bytes));
      if (taken < 0) {
        violated(nghttp2_strerror(static_cast<int>(taken)));
        return false;
      }
    }
  }

  bool wantsToWait(int result) const {
    const int error = SSL_get_error(peer_.tls(), result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  void wait() const {
    const auto events = static_cast<short>(gathered_.empty() ? POLLIN : POLLIN | POLLOUT);
    std::array<pollfd, 2> sources{{{peer_.descriptor(), events, 0}, {waker_.descriptor(), POLLIN, 0}}};
    ::poll(sources.data(), sources.size(), -1);
  }

  /// What the client still sends is dropped: a socket that is closed over it would take back what was sent.
  void linger() const {
    shared_.change(peer_.number(), ended);
    ::shutdown(peer_.descriptor(), SHUT_WR);
    std::array<char, 4096> dropped{};
    pollfd source{peer_.descriptor(), POLLIN, 0};
    while (::poll(&source, 1, -1) >= 0 || errno == EINTR) {
      const ssize_t bytes = ::recv(peer_.descriptor(), dropped.data(), dropped.size(), 0);
      if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR)) return;
    }
  }

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
