#pragma once
/// A transport without a network: a registry of stubs. A request that no stub expects fails the test, and so does a
/// stub that nobody used.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/net/http.h"

namespace caiexport::support {

/// What a stub answers.
struct Reply {
  net::HttpResponse response = {};
  bool declaresLength = true;                ///< The body's length is known when the answer begins.
  std::optional<std::size_t> cutAfter = {};  ///< Ends in a TransientError after so many bytes of the body.
};

inline Reply reply(int status, std::string body = {}, net::Headers headers = {}) {
  return {.response = {.status = status, .headers = std::move(headers), .body = std::move(body)}};
}

inline net::Headers headers(std::initializer_list<std::pair<std::string, std::string>> fields) {
  net::Headers result;
  for (const auto& [name, value] : fields) result.add(name, value);
  return result;
}

/// Matches a URL.
using UrlMatcher = std::function<bool(const net::Url& url)>;

/// Path and query, exactly.
inline UrlMatcher target(std::string text) {
  return [text = std::move(text)](const net::Url& url) { return url.target == text; };
}

/// The path, whatever the query.
inline UrlMatcher path(std::string text) {
  return [text = std::move(text)](const net::Url& url) { return url.target.substr(0, url.target.find('?')) == text; };
}

/// Thread safe. Answers of one stub are used up in the order in which they were given; among stubs that match, the one
/// registered first that has an answer left is taken.
class FakeTransport final : public net::HttpTransport {
 public:
  /// May throw what the transport's contract allows.
  using Answer = std::function<Reply(const net::HttpRequest& request)>;

  class Stub {
   public:
    Stub& answers(Answer answer) {
      answers_.push_back(std::move(answer));
      return *this;
    }
    Stub& answers(Reply answer) {
      return answers([answer = std::move(answer)](const net::HttpRequest&) { return answer; });
    }
    Stub& answers(int status, std::string body = {}, net::Headers fields = {}) {
      return answers(reply(status, std::move(body), std::move(fields)));
    }
    /// A failure below HTTP.
    Stub& breaks(bool mayHaveArrived = true) {
      return answers([mayHaveArrived](const net::HttpRequest&) -> Reply {
        throw core::TransientError("the connection was reset", {.mayHaveArrived = mayHaveArrived});
      });
    }
    /// The last answer is given for ever.
    Stub& forEver() {
      repeatsLast_ = true;
      return *this;
    }

   private:
    friend class FakeTransport;
    std::string name_;
    std::string method_;
    UrlMatcher matcher_;
    std::vector<Answer> answers_;
    std::size_t used_ = 0;
    bool repeatsLast_ = false;

    bool hasAnswer() const { return used_ < answers_.size() || (repeatsLast_ && !answers_.empty()); }
    const Answer& take() { return answers_[std::min(used_++, answers_.size() - 1)]; }
  };

  FakeTransport() = default;
  FakeTransport(const FakeTransport&) = delete;
  FakeTransport& operator=(const FakeTransport&) = delete;
  ~FakeTransport() override { verify(); }

  /// `name` is shown when the stub stays unused.
  Stub& on(std::string method, UrlMatcher matcher, std::string name = {}) {
    const std::lock_guard lock(mutex_);
    Stub& stub = stubs_.emplace_back();
    stub.name_ = std::move(name);
    stub.method_ = std::move(method);
    stub.matcher_ = std::move(matcher);
    return stub;
  }
  Stub& on(std::string method, const std::string& exactTarget) {
    return on(std::move(method), target(exactTarget), exactTarget);
  }

  /// Fails the test for each answer that nobody asked for, then forgets all stubs.
  void verify() {
    const std::lock_guard lock(mutex_);
    for (const Stub& stub : stubs_) {
      if (stub.used_ < stub.answers_.size()) {
        ADD_FAILURE() << "unused answers of the stub " << stub.method_ << " " << stub.name_ << ": " << stub.used_
                      << " of " << stub.answers_.size() << " were asked for";
      }
    }
    stubs_.clear();
  }

  std::vector<net::HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::size_t requestCount() const { return requests().size(); }

  using net::HttpTransport::send;
  net::HttpResponse send(const net::HttpRequest& request, net::BodySink* sink, std::stop_token stop) override {
    if (stop.stop_requested()) throw core::Interrupted();
    const Answer answer = take(request);
    Reply given = answer(request);
    const bool good = given.response.status / 100 == 2;
    if (!good || !request.answersSecret) takeSecretsFrom(given.response);
    if (sink != nullptr && deliver(given, *sink)) {
      given.response.body.clear();
      return given.response;
    }
    if (given.cutAfter) throw core::TransientError("the body was cut", {});
    if (given.response.body.size() > request.mostBodyBytes) {
      throw core::Error(core::Category::protocol, "the answer is larger than " + std::to_string(request.mostBodyBytes));
    }
    return given.response;
  }

 private:
  void takeSecretsFrom(net::HttpResponse& response) const {
    response.headers.changeValues([this](std::string& value) { value = withoutSecrets(std::move(value)); });
    response.body = withoutSecrets(std::move(response.body));
  }

  Answer take(const net::HttpRequest& request) {
    const net::Url url = net::parseUrl(request.url);
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    for (Stub& stub : stubs_) {
      if (stub.method_ == request.method && stub.hasAnswer() && stub.matcher_(url)) return stub.take();
    }
    ADD_FAILURE() << "no stub expects " << request.method << " " << request.url;
    throw core::Error(core::Category::internal, "no stub expects " + request.method + " " + request.url);
  }

  static bool deliver(const Reply& given, net::BodySink& sink) {
    const std::string& body = given.response.body;
    net::HttpResponse head = given.response;
    head.body.clear();
    if (!sink.begin(head, given.declaresLength ? std::optional<std::uint64_t>(body.size()) : std::nullopt))
      return false;
    constexpr std::size_t kPiece = 1000;
    const std::size_t end = std::min(given.cutAfter.value_or(body.size()), body.size());
    for (std::size_t at = 0; at < end; at += kPiece) {
      sink.write(std::as_bytes(std::span(body).subspan(at, std::min(kPiece, end - at))));
    }
    if (given.cutAfter) throw core::TransientError("the body was cut", {});
    return true;
  }

  mutable std::mutex mutex_;
  std::list<Stub> stubs_;
  std::vector<net::HttpRequest> requests_;
};

}  // namespace caiexport::support
