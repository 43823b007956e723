#pragma once
/// A client over a fake transport, with time and chance in the test's hands.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/platform/auth.h"
#include "caiexport/platform/client.h"
#include "support/fake_clock.h"
#include "support/fake_transport.h"
#include "support/fixed_random.h"

namespace caiexport::platform {

/// Keeps every event as one line: "warning retry what=... wait_ms=...". Thread safe.
class RecordingLog final : public core::Log {
 public:
  bool wants(core::LogLevel) const override { return true; }
  void write(core::LogLevel level, std::string_view event, std::initializer_list<Field> fields) override {
    static constexpr const char* kLevels[] = {"debug", "info", "warning", "error"};
    std::string line = kLevels[static_cast<int>(level)] + std::string(" ") + std::string(event);
    for (const auto& [name, value] : fields) line += " " + std::string(name) + "=" + value.text();
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  std::string all() const {
    std::string text;
    for (const std::string& line : lines()) text += line + "\n";
    return text;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// Calls `action`, which must throw an E of that category; returns a copy.
template <class E = core::Error, class Action>
E failureOf(core::Category category, const Action& action) {
  try {
    action();
  } catch (const E& error) {
    EXPECT_EQ(core::nameOf(error.category()), core::nameOf(category)) << error.what();
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  throw std::logic_error("nothing was thrown");
}

/// Tokens "token-1", "token-2", ...: a new one after each rejection.
class CountingTokens final : public TokenSource {
 public:
  core::Secret token(std::stop_token) override { return core::Secret("token-" + std::to_string(number_)); }
  bool reject(const core::Secret&) override {
    ++number_;
    return renewable;
  }
  bool renewable = true;

 private:
  int number_ = 1;
};

class ClientTest : public testing::Test {
 protected:
  support::FakeTransport transport;
  support::FakeClock clock;
  support::FixedRandom random{0.5};
  RecordingLog log;
  CountingTokens tokens;
  Client client{{.baseUrl = "https://platform.example",
                 .apiKey = "the-client",
                 .orgId = "ORG@AdobeOrg",
                 .sandbox = "prod",
                 .retry = {.furtherTries = 5, .firstWait = std::chrono::seconds(1)}},
                transport,
                tokens,
                clock,
                random,
                log};
  std::stop_source stopSource;
  std::stop_token stop = stopSource.get_token();
};

}  // namespace caiexport::platform
