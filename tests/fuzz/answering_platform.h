#pragma once
/// A client whose every request is answered by what the input says: "STATUS\nName: value\n...\n\nBODY".

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "caiexport/core/log.h"
#include "caiexport/net/http.h"
#include "caiexport/platform/auth.h"
#include "caiexport/platform/client.h"
#include "fuzz/target.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"

namespace caiexport::fuzz {

inline constexpr const char* kBaseUrl = "https://platform.example";

/// What net::HttpTransport may hand on: header names and values that http_message lets through.
inline net::HttpResponse answerFrom(std::string_view input) {
  net::HttpResponse answer{.status = 200};
  const std::string_view status = takeUntil(input, "\n");
  std::from_chars(status.data(), status.data() + status.size(), answer.status);
  if (answer.status < 200 || answer.status > 999) answer.status = 200;
  for (std::string_view field = takeUntil(input, "\n"); !field.empty(); field = takeUntil(input, "\n")) {
    const std::string_view name = takeUntil(field, ":");
    std::string value;
    for (const char c : field) {
      if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) value += c;
    }
    answer.headers.add(std::string(name), value);
  }
  answer.body = input;
  return answer;
}

class AnsweringTransport final : public net::HttpTransport {
 public:
  explicit AnsweringTransport(std::string_view input) : answer_(answerFrom(input)) {}

  using net::HttpTransport::send;
  net::HttpResponse send(const net::HttpRequest& request, net::BodySink* sink, std::stop_token) override {
    require(++requests_ < kMostRequests, "a list that never ends");
    require(net::parseUrl(request.url).origin == net::parseUrl(kBaseUrl).origin, "a token goes to another origin");
    for (const auto& [name, value] : request.headers.all()) {
      require(value.find_first_of("\r\n") == std::string::npos, "an answer reaches into a request's header");
    }
    if (sink == nullptr) return answer_;
    net::HttpResponse head = answer_;
    head.body.clear();
    const std::string_view body = answer_.body;
    if (!sink->begin(head, body.size())) return answer_;
    constexpr std::size_t kPiece = 7;
    for (std::size_t at = 0; at < body.size(); at += kPiece) {
      sink->write(std::as_bytes(std::span(body).subspan(at, std::min(kPiece, body.size() - at))));
    }
    return head;
  }

 private:
  static constexpr int kMostRequests = 5000;

  net::HttpResponse answer_;
  int requests_ = 0;
};

/// For one input.
struct AnsweringPlatform {
  explicit AnsweringPlatform(std::string_view input) : transport(input) {}

  /// Runs one operation of the client; it may refuse the answer.
  template <class Action>
  void attempt(const Action& action) {
    mayRefuse([&] { action(client); });
  }

  AnsweringTransport transport;
  support::FakeClock clock;
  support::FixedRandom random;
  platform::FixedTokenSource tokens{core::Secret("the-token")};
  platform::Client client{{.baseUrl = kBaseUrl,
                           .apiKey = "the-client",
                           .orgId = "ORG@AdobeOrg",
                           .sandbox = "prod",
                           .retry = {.furtherTries = 1}},
                          transport,
                          tokens,
                          clock,
                          random,
                          core::nullLog()};
};

}  // namespace caiexport::fuzz
