#include "http2.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "answer.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;

// What a server may send of each answer before it is taken, and of all of them.
constexpr std::uint32_t kStreamWindowBytes = 128U << 10U;
constexpr std::int32_t kConnectionWindowBytes = 4 << 20;
constexpr std::size_t kPieceBytes = 64U << 10U;

void check(ssize_t result, const char* what) {
  if (result >= 0) return;
  throw AttemptFailure(Kind::transient,
                       std::string("HTTP/2 failed to ") + what + ": " + nghttp2_strerror(static_cast<int>(result)));
}

std::string_view textOf(const std::uint8_t* bytes, std::size_t count) {
  return {reinterpret_cast<const char*>(bytes), count};
}

/// Names in lower case, as HTTP/2 wants them; kept alive until the request is submitted.
class FieldList {
 public:
  void add(std::string_view name, std::string_view value) { fields_.emplace_back(core::toLower(name), value); }

  std::vector<nghttp2_nv> view() {
    std::vector<nghttp2_nv> views;
    for (auto& [name, value] : fields_) {
      views.push_back({.name = reinterpret_cast<std::uint8_t*>(name.data()),
                       .value = reinterpret_cast<std::uint8_t*>(value.data()),
                       .namelen = name.size(),
                       .valuelen = value.size(),
                       .flags = NGHTTP2_NV_FLAG_NONE});
    }
    return views;
  }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

FieldList fieldsOf(const HttpRequest& request, const Url& url, std::string_view userAgent) {
  FieldList fields;
  const std::string origin = url.origin.toString();
  fields.add(":method", request.method);
  fields.add(":scheme", url.origin.scheme);
  fields.add(":authority", origin.substr(origin.find("://") + 3));
  fields.add(":path", url.target);
  for (const auto& [name, value] : request.headers.all()) fields.add(name, value);
  if (!request.headers.find("User-Agent")) fields.add("user-agent", userAgent);
  if (!request.headers.find("Accept-Encoding")) fields.add("accept-encoding", "identity");
  return fields;
}

}  // namespace

struct Http2Connection::Stream {
  std::int32_t id = 0;
  std::string url = {};
  ResponseHead head = {};
  std::size_t headBytes = 0;
  int interimAnswers = 0;
  bool hasHead = false;  ///< The final one.
  bool closed = false;
  std::uint32_t error = NGHTTP2_NO_ERROR;  ///< Once it is closed.
  std::string body = {};                   ///< What came and was not taken.
};

/// What nghttp2 calls while it takes a frame apart. They only note what came; nothing thrown may pass through C.
struct Http2Connection::Callbacks {
  static Stream* find(void* user, std::int32_t id) {
    auto& streams = static_cast<Http2Connection*>(user)->streams_;
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : found->second.get();
  }

  static void progress(void* user) {
    static_cast<Http2Connection*>(user)->lastProgress_ = std::chrono::steady_clock::now();
  }

  static int onHeader(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t nameBytes,
                      const std::uint8_t* value, std::size_t valueBytes, std::uint8_t, void* user) noexcept try {
    Stream* stream = find(user, frame->hd.stream_id);
    // What follows a body says nothing that anybody reads.
    if (stream == nullptr || stream->hasHead) return 0;
    HttpResponse& response = stream->head.response;
    stream->headBytes += nameBytes + valueBytes;
    if (stream->headBytes > kMostHeadBytes || response.headers.all().size() == kMostFields)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const std::string_view text = textOf(value, valueBytes);
    if (textOf(name, nameBytes) == ":status") {
      response.status = core::numberFrom<int>(text).value_or(0);
    } else {
      response.headers.add(std::string(textOf(name, nameBytes)), std::string(core::trim(text)));
    }
    return 0;
  } catch (const std::bad_alloc&) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int onFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    progress(user);
    Stream* stream = find(user, frame->hd.stream_id);
    if (stream == nullptr || stream->hasHead || frame->hd.type != NGHTTP2_HEADERS) return 0;
    stream->hasHead = stream->head.response.status >= 200;
    if (stream->hasHead) return 0;
    stream->head = {};
    if (++stream->interimAnswers > kMostInterimAnswers)
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  }

  static int onData(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                    std::size_t bytes, void* user) noexcept try {
    progress(user);
    // The stream's own window bounds what waits; the connection's must not be used up by answers that wait.
    nghttp2_session_consume_connection(session, bytes);
    if (Stream* stream = find(user, id)) stream->body.append(textOf(data, bytes));
    return 0;
  } catch (const std::bad_alloc&) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int onClose(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    Stream* stream = find(user, id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    stream->error = error;
    return 0;
  }

  static nghttp2_session* makeSession(Http2Connection* user) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    nghttp2_session* session = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose);
    nghttp2_option_set_no_auto_window_update(option, 1);
    const int result = nghttp2_session_client_new2(&session, callbacks, user, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (result != 0) throw std::bad_alloc();
    return session;
  }
};

Http2Connection::Http2Connection(std::unique_ptr<Connection> connection, std::string userAgent,
                                 core::Duration readTimeout, const core::KnownSecrets& secrets)
    : connection_(std::move(connection)),
      userAgent_(std::move(userAgent)),
      readTimeout_(readTimeout),
      secrets_(secrets),
      session_(Callbacks::makeSession(this), nghttp2_session_del),
      buffer_(std::make_unique_for_overwrite<char[]>(kPieceBytes)) {
  const std::array<nghttp2_settings_entry, 3> settings{{{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
                                                        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMostHeadBytes}}};
  check(nghttp2_submit_settings(session_.get(), NGHTTP2_FLAG_NONE, settings.data(), settings.size()), "begin");
  check(nghttp2_session_set_local_window_size(session_.get(), NGHTTP2_FLAG_NONE, 0, kConnectionWindowBytes), "begin");
}

Http2Connection::~Http2Connection() = default;

HttpResponse Http2Connection::run(const HttpRequest& request, const Url& url, BodySink* sink,
                                  const core::StopSignal& stop) {
  answerBegan_ = false;
  bodyBytes_ = 0;
  requestsSent_ = 0;
  lastProgress_ = std::chrono::steady_clock::now();
  const auto found =
      std::ranges::find_if(streams_, [&](const auto& entry) { return entry.second->url == request.url; });
  Stream& stream = found == streams_.end() ? submit(request, url) : *found->second;
  askNext(request, stop);
  flush(stop);
  while (!stream.hasHead && !stream.closed) pump(stream, stop);
  if (!stream.hasHead) throwEnded(stream);
  answerBegan_ = true;
  HttpResponse& response = stream.head.response;
  Answer answer(response, request, secrets_, sink, bodyBytes_);
  answer.begin(framingOf(stream.head, request.method).declaredBytes);
  receive(stream, answer, stop);
  answer.end();
  HttpResponse result = std::move(response);
  streams_.erase(stream.id);
  return result;
}

Http2Connection::Stream& Http2Connection::submit(const HttpRequest& request, const Url& url) {
  FieldList fields = fieldsOf(request, url, userAgent_);
  const std::vector<nghttp2_nv> views = fields.view();
  const std::int32_t id = nghttp2_submit_request(session_.get(), nullptr, views.data(), views.size(), nullptr, nullptr);
  check(id, "send a request");
  ++requestsSent_;
  std::unique_ptr<Stream>& stream = streams_[id];
  stream = std::make_unique<Stream>();
  stream->id = id;
  stream->url = request.url;
  return *stream;
}

void Http2Connection::askNext(const HttpRequest& request, const core::StopSignal& stop) {
  for (const HttpRequest& next : request.next) {
    if (asked(next.url) || nghttp2_session_check_request_allowed(session_.get()) == 0) continue;
    checkRequest(next);
    submit(next, parseUrl(next.url));
  }
  stop.check();
}

void Http2Connection::receive(Stream& stream, Answer& answer, const core::StopSignal& stop) {
  auto lastSeen = std::chrono::steady_clock::now();
  try {
    while (!stream.closed) {
      if (stream.body.size() >= kStreamWindowBytes / 2 ||
          std::chrono::steady_clock::now() - lastSeen >= kLongestUnseen) {
        lastSeen = std::chrono::steady_clock::now();
        deliver(stream, answer);
      }
      pump(stream, stop);
    }
    if (stream.error != NGHTTP2_NO_ERROR) throwEnded(stream);
  } catch (const AttemptFailure&) {
    // What there is of an answer that can't be had whole is as the server sent it.
    deliver(stream, answer);
    throw;
  }
  deliver(stream, answer);
}

void Http2Connection::deliver(Stream& stream, Answer& answer) {
  const std::string body = std::exchange(stream.body, {});
  for (std::span<const char> rest = body; !rest.empty();) {
    const std::size_t bytes = answer.room(rest.size());
    answer.take(rest.first(bytes));
    rest = rest.subspan(bytes);
  }
  if (!stream.closed) nghttp2_session_consume_stream(session_.get(), stream.id, body.size());
}

void Http2Connection::pump(const Stream& stream, const core::StopSignal& stop) {
  flush(stop);
  // An answer that breaks the rules ends when the server is told so.
  if (stream.closed) return;
  if (ended_) throw AttemptFailure(Kind::closed, "the connection was closed " + phase(stream));
  stop.check();
  if (readOnce() != Connection::ReadState::wouldBlock) return;
  if (connection_->waitToRead(lastProgress_ + readTimeout_, stop)) return;
  throw AttemptFailure(Kind::timedOut,
                       "timed out " + phase(stream) + " (nothing came for " + core::formatDuration(readTimeout_) + ")",
                       "the read timeout (--read-timeout) may be too short");
}

Connection::ReadState Http2Connection::readOnce() {
  const Connection::ReadResult read = connection_->tryRead({buffer_.get(), kPieceBytes});
  if (read.state == Connection::ReadState::end || read.state == Connection::ReadState::cut) ended_ = true;
  if (read.state != Connection::ReadState::data) return read.state;
  check(nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(buffer_.get()), read.bytes),
        "read what the server sent");
  return read.state;
}

void Http2Connection::flush(const core::StopSignal& stop) {
  std::string out;
  while (true) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t count = nghttp2_session_mem_send(session_.get(), &bytes);
    check(count, "write frames");
    if (count == 0) break;
    out.append(textOf(bytes, static_cast<std::size_t>(count)));
  }
  if (!out.empty()) connection_->write(out, readTimeout_, stop);
  // After what breaks the rules, nghttp2 has said good-bye to the server and reads no more.
  if (nghttp2_session_want_read(session_.get()) == 0) ended_ = true;
}

void Http2Connection::throwEnded(const Stream& stream) const {
  // Not processed in any way: RFC 9113, 8.7.
  const bool untouched = stream.error == NGHTTP2_REFUSED_STREAM;
  throw AttemptFailure(
      untouched ? Kind::closed : Kind::transient,
      "the server ended its answer " + phase(stream) + " (HTTP/2: " + nghttp2_http2_strerror(stream.error) + ")");
}

std::string Http2Connection::phase(const Stream& stream) const {
  return stream.hasHead ? "in the body after " + inBytes(bodyBytes_ + stream.body.size())
                        : "while waiting for the answer";
}

bool Http2Connection::asked(const std::string& url) const {
  return std::ranges::any_of(streams_, [&](const auto& entry) { return entry.second->url == url; });
}

bool Http2Connection::isOpen() noexcept {
  try {
    while (!ended_ && readOnce() == Connection::ReadState::data) {
    }
    return !ended_ && nghttp2_session_want_read(session_.get()) != 0 &&
           (hasAsked() || nghttp2_session_check_request_allowed(session_.get()) != 0);
  } catch (const std::exception&) {
    return false;
  }
}

std::unique_ptr<Http2Connection> Http2Pool::take(const std::string& origin, const std::string& url,
                                                 core::SteadyTime now, const std::stop_token& stop) {
  std::vector<Entry> dropped;  // Destroyed, which may do I/O, after the lock is gone.
  std::unique_lock lock(mutex_);
  const auto old = std::partition(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return now - entry.since < kLongestIdle; });
  std::move(old, entries_.end(), std::back_inserter(dropped));
  entries_.erase(old, entries_.end());
  auto found = find(origin, url);
  Announced& announced = announced_[origin];
  if (found == entries_.end() && announced.waiting < announced.connections) {
    ++announced.waiting;
    changed_.wait(lock, stop, [&] {
      found = find(origin, url);
      return found != entries_.end() || announced.connections == 0;
    });
    --announced.waiting;
    if (stop.stop_requested()) throw core::Interrupted();
  }
  if (found == entries_.end()) return nullptr;
  std::unique_ptr<Http2Connection> connection = std::move(found->connection);
  entries_.erase(found);
  return connection;
}

std::vector<Http2Pool::Entry>::iterator Http2Pool::find(const std::string& origin, const std::string& url) {
  const auto first = [&](const auto& fits) {
    return std::ranges::find_if(entries_,
                                [&](const Entry& entry) { return entry.origin == origin && fits(*entry.connection); });
  };
  const auto found = first([&](const Http2Connection& one) { return one.asked(url); });
  return found != entries_.end() ? found : first([](const Http2Connection& one) { return !one.hasAsked(); });
}

void Http2Pool::put(const std::string& origin, std::unique_ptr<Http2Connection> connection, core::SteadyTime now) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({origin, std::move(connection), now});
  changed_.notify_all();
}

void Http2Pool::announce(const std::string& origin, unsigned connections) {
  const std::lock_guard lock(mutex_);
  announced_[origin].connections += connections;
}

void Http2Pool::arrived(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  --announced_[origin].connections;
  changed_.notify_all();
}

void Http2Pool::clear() {
  std::vector<Entry> dropped;
  const std::lock_guard lock(mutex_);
  dropped.swap(entries_);
}

void Http2Pool::avoid(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(avoided_, origin) == avoided_.end()) avoided_.push_back(origin);
}

bool Http2Pool::isAvoided(const std::string& origin) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(avoided_, origin) != avoided_.end();
}

}  // namespace caiexport::net
