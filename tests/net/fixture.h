#pragma once
/// What the transport's tests have in common.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/net/poco_transport.h"
#include "raw_server.h"

namespace caiexport::net::testing {

/// Long enough for a machine under load, so that only tests about timeouts meet one.
inline TransportSettings calmSettings() {
  return {.caFile = testAuthority().file(),
          .connectTimeout = std::chrono::seconds(30),
          .readTimeout = std::chrono::seconds(30)};
}

/// Keeps each event as `name key=value ...`.
class RecordingLog final : public core::Log {
 public:
  bool wants(core::LogLevel) const override { return true; }
  void write(core::LogLevel, std::string_view event, std::initializer_list<Field> fields) override {
    std::string line(event);
    for (const auto& [key, value] : fields) line.append(" ").append(key).append("=").append(value.text());
    const std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class CollectingSink final : public BodySink {
 public:
  bool begin(const HttpResponse& head, std::optional<std::uint64_t> bodyBytes) override {
    ++begins;
    status = head.status;
    declared = bodyBytes;
    return takes;
  }
  void write(std::span<const std::byte> data) override {
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  }

  bool takes = true;
  int begins = 0;
  int status = 0;
  std::optional<std::uint64_t> declared;
  std::string bytes;
};

/// A failure as a test wants to look at it.
struct Failure {
  core::Category category;
  bool transient;
  bool mayHaveArrived;
  std::string message;
  std::string hint;
};

/// Runs what must fail with core::Error.
template <class Action>
Failure failureOf(Action action) {
  try {
    action();
  } catch (const core::TransientError& e) {
    return {e.category(), true, e.cause().mayHaveArrived, e.what(), e.hint()};
  } catch (const core::Error& e) {
    return {e.category(), false, false, e.what(), e.hint()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

inline HttpResponse get(HttpTransport& transport, const std::string& url) {
  return transport.send({.url = url}, {});
}

}  // namespace caiexport::net::testing
