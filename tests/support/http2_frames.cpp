/// What the client sends, as nghttp2 takes it apart: requests, and all else that the report tells.

#include <algorithm>
#include <array>
#include <utility>

#include "support/http2_connection.h"

namespace caiexport::support::http2 {
namespace {

/// What RFC 9113 (6.5.2) adds to each field of a header list.
constexpr std::size_t kFieldOverhead = 32;

std::string nameOfFrame(std::uint8_t type) {
  static constexpr std::array kNames{"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                     "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};
  return type < kNames.size() ? kNames.at(type) : "type " + std::to_string(type);
}

}  // namespace

void Connection::makeSession() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                                          [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
                                                            if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
                                                              of(self).beginStream(frame->hd.stream_id);
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

void Connection::submitFirstSettings() {
  const Http2ServerSettings& wished = shared_.settings;
  std::vector<nghttp2_settings_entry> entries;
  if (wished.maxStreams) entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, *wished.maxStreams});
  if (wished.initialWindow) entries.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, *wished.initialWindow});
  if (wished.maxHeaderList) entries.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, *wished.maxHeaderList});
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
}

void Connection::check(int result, const std::string& what) {
  if (result != 0) violated("the server could not send " + what + ": " + nghttp2_strerror(result));
}

void Connection::beginStream(std::int32_t id) {
  Stream& stream = streams_[id];
  stream.request.connection = peer_.number();
  stream.request.stream = id;
  stream.request.ended = stream.ended.get_token();
  note([&](Http2Connection& seen) { seen.mostStreamsOpen = std::max(seen.mostStreamsOpen, ++seen.streamsOpen); });
}

void Connection::endStream(std::int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.ended.request_stop();
  streams_.erase(found);
  note([](Http2Connection& seen) { --seen.streamsOpen; });
}

void Connection::takeField(std::int32_t id, std::string name, std::string value) {
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

void Connection::takeBody(std::int32_t id, const std::string& bytes) {
  if (!shared_.settings.opensWindows) kept_ += bytes.size();
  const auto found = streams_.find(id);
  if (found != streams_.end()) {
    found->second.request.body += bytes;
    if (!shared_.settings.opensWindows) found->second.kept += bytes.size();
  }
  note([&](Http2Connection& seen) { seen.bodyBytes += bytes.size(); });
}

void Connection::takeFrame(const nghttp2_frame& frame) {
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
        seen.windowOpened[frame.hd.stream_id] += static_cast<std::uint64_t>(frame.window_update.window_size_increment);
        break;
      default:
        break;
    }
  });
  const bool carriesRequest = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
  if (carriesRequest && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) handle(frame.hd.stream_id);
}

void Connection::sentFrame(const nghttp2_frame& frame) {
  note([&](Http2Connection& seen) { ++seen.sent[nameOfFrame(frame.hd.type)]; });
  if (frame.hd.type == NGHTTP2_GOAWAY && !goAwayIsOurs_ && frame.goaway.error_code != NGHTTP2_NO_ERROR) {
    violated(std::string("the server ended the connection: ") + nghttp2_http2_strerror(frame.goaway.error_code) + " " +
             textOf(frame.goaway.opaque_data, frame.goaway.opaque_data_len));
  }
  const auto found = streams_.find(frame.hd.stream_id);
  if (frame.hd.type == NGHTTP2_RST_STREAM && found != streams_.end() && !found->second.resetIsOurs) {
    violated("the server reset stream " + std::to_string(frame.hd.stream_id) + ": " +
             nghttp2_http2_strerror(frame.rst_stream.error_code));
  }
}

void Connection::noteStall() {
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

void Connection::violated(const std::string& how) {
  note([&](Http2Connection& seen) { seen.violations.push_back(how); });
}

}  // namespace caiexport::support::http2
