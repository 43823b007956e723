#include "answer.h"

#include <algorithm>
#include <utility>

#include "http_message.h"

namespace caiexport::net {

std::string inBytes(std::uint64_t bytes) {
  return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

void Answer::begin(std::optional<std::uint64_t> declaredBytes) {
  secrets_.hideIn(response_.reason);
  response_.headers.changeValues([&](std::string& value) { secrets_.hideIn(value, use()); });
  if (sink_ != nullptr && !sink_->begin(response_, declaredBytes)) sink_ = nullptr;
}

void Answer::expect(std::uint64_t bytes) const {
  if (sink_ != nullptr) return;
  checkRoom(bytes);
  response_.body.reserve(static_cast<std::size_t>(bytes));
}

void Answer::take(std::span<const char> bytes) {
  if (bytes.empty()) return;
  count_ += bytes.size();
  if (sink_ != nullptr) {
    sink_->write(std::as_bytes(bytes));
    return;
  }
  checkRoom(count_);
  response_.body.append(bytes.data(), bytes.size());
}

std::size_t Answer::room(std::size_t bytes) const {
  return sink_ == nullptr ? bytes : std::clamp<std::size_t>(sink_->room(bytes), 1, bytes);
}

void Answer::end() {
  if (sink_ == nullptr) decodeBody(response_, request_.mostBodyBytes);
  if (isGood() && request_.answersSecret) return;
  // What is no JSON is not read on, but shown.
  const bool isJson = response_.body.starts_with('{') || response_.body.starts_with('[');
  secrets_.hideIn(response_.body, isJson ? use() : core::KnownSecrets::Use::shown);
}

void Answer::checkRoom(std::uint64_t bytes) const {
  if (bytes <= request_.mostBodyBytes) return;
  throw AttemptFailure(AttemptFailure::Kind::protocol,
                       "the answer is larger than expected (more than " + inBytes(request_.mostBodyBytes) + ")");
}

}  // namespace caiexport::net
