/// Answers: what a handler wishes, with its delays and faults, as frames.

#include <algorithm>
#include <exception>
#include <utility>

#include "support/http2_connection.h"

namespace caiexport::support::http2 {
namespace {

constexpr std::size_t kGreatestPadding = 256;

/// nghttp2 copies what it is given, and does not change it.
nghttp2_nv fieldFor(const std::string& name, const std::string& value) {
  const auto bytesOf = [](const std::string& text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytesOf(name), bytesOf(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::vector<nghttp2_nv> fieldsFor(const Http2Fields& fields) {
  std::vector<nghttp2_nv> result;
  for (const auto& [name, value] : fields) result.push_back(fieldFor(name, value));
  return result;
}

}  // namespace

bool declaresLength(const Http2Answer& answer) {
  return answer.declareLength && !answer.more && answer.status >= 200 && answer.status != 204 &&
         !fieldOf(answer.headers, "content-length");
}

std::size_t endOfBody(const Http2Answer& answer) {
  std::size_t end = answer.body.size();
  for (const auto& fault : {answer.cutAfterBytes, answer.closeAfterBytes, answer.endAfterBytes}) {
    if (fault) end = std::min(end, *fault);
  }
  return end;
}

void Connection::handle(std::int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  note([&](Http2Connection& seen) {
    ++seen.requests;
    seen.longestHeaderList = std::max(seen.longestHeaderList, found->second.headerList);
  });
  workers_->run([this, id, request = found->second.request] { answer(id, request); });
}

void Connection::answer(std::int32_t id, const Http2Request& request) {
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

void Connection::passOn(std::int32_t id, const std::function<Http2Piece()>& more) {
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

void Connection::begin(std::int32_t id, const Http2Answer& wished) {
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

void Connection::release(std::int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.answer) return;
  found->second.released = found->second.answer->body.size();
  nghttp2_session_resume_data(session_, id);
}

void Connection::add(std::int32_t id, const Http2Piece& piece) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.answer) return;
  found->second.answer->body += piece.bytes;
  found->second.complete = piece.isLast;
  release(id);
}

void Connection::cut(std::int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.complete = true;
  found->second.cut = true;
  nghttp2_session_resume_data(session_, id);
}

void Connection::reset(Stream& stream, std::uint32_t code) {
  stream.resetIsOurs = true;
  check(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.request.stream, code), "RST_STREAM");
}

ssize_t Connection::giveBody(std::int32_t id, std::uint8_t* into, std::size_t length, std::uint32_t& flags) {
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
    check(nghttp2_submit_trailer(session_, id, fieldsFor(answer.trailers).data(), answer.trailers.size()), "trailers");
  }
  return static_cast<ssize_t>(bytes);
}

std::size_t Connection::paddingOf(std::int32_t id) const {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.answer) return 0;
  return std::min(found->second.answer->padding, kGreatestPadding);
}

}  // namespace caiexport::support::http2
