#pragma once
/// One call of the platform: headers, token, retries, and errors that say all that is known; and the calls that read a
/// list to its end.

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"
#include "caiexport/platform/client.h"
#include "json.h"
#include "problem.h"

namespace caiexport::core {
class Secret;
}
namespace caiexport::net {
struct HttpResponse;
}

namespace caiexport::platform {

enum class Repeat {
  freely,  ///< Reads and deletes: by the policy.
  once,    ///< Creations: only while it is certain that the platform has not taken it; InDoubt otherwise.
  never,   ///< The caller repeats it himself.
};

struct Call {
  std::string what;  ///< Completes "cannot ...": "find batch X".
  std::string method = "GET";
  std::string url = {};
  std::string body = {};  ///< JSON.
  std::string accept = "application/json";
  std::string range = {};    ///< Value of the Range header; empty: none.
  std::string ifRange = {};  ///< And of If-Range.
  Repeat repeat = Repeat::freely;
  bool traced = false;        ///< Send an x-request-id (documented for the Segmentation service).
  bool mayBeMissing = false;  ///< 404 is an answer, not an error.
  bool oneOfMany = false;     ///< As net::HttpRequest::oneOfMany, and the URLs of what follows.
  std::vector<std::string> next = {};
  bool asksForLess = false;  ///< Comes through at once when the platform is too slow: the caller asks for less then.
};

/// Thread safe.
class Caller {
 public:
  Caller(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
         core::Random& random, core::Log& log);

  /// `path` under the base URL.
  std::string url(const std::string& path) const { return baseUrl_ + path; }
  const net::Origin& origin() const { return origin_; }
  core::Log& log() const { return retrying_.log; }

  /// The answer: 2xx, or 404 where the call says so. `sink` may be null.
  net::HttpResponse send(const Call& call, net::BodySink* sink, std::stop_token stop);
  net::HttpResponse send(const Call& call, std::stop_token stop) { return send(call, nullptr, stop); }
  void prepareForMany(unsigned connections) { transport_.prepareForMany(baseUrl_, connections); }
  /// The answer as JSON; `findJson`: nothing after a 404.
  Json getJson(const Call& call, std::stop_token stop) { return parse(call, send(call, stop)); }
  std::optional<Json> findJson(Call call, std::stop_token stop);
  /// A create-once call. What `read` finds wanting in the answer is in doubt too.
  template <class Read>
  auto create(Call call, std::stop_token stop, const Read& read) {
    call.repeat = Repeat::once;
    const net::HttpResponse response = send(call, stop);
    try {
      return read(parse(call, response));
    } catch (const core::Error& error) {
      if (error.category() != core::Category::protocol) throw;
      throwInDoubt(call, error.what(), {.requestId = error.requestId()});
    }
  }
  static Json parse(const Call& call, const net::HttpResponse& response);
  /// "GET https://...", printable.
  static std::string requestLine(const Call& call);

  core::TimePoint serverNow() const;
  std::optional<core::Duration> clockSkew() const;
  std::optional<std::chrono::nanoseconds> shortestAnswer() const;

 private:
  std::optional<net::HttpResponse> attempt(const Call& call, const core::Secret& token, bool& renewed,
                                           net::BodySink* sink, std::stop_token stop);
  net::HttpResponse exchange(const Call& call, const core::Secret& token, net::BodySink* sink, std::stop_token stop);
  net::HttpRequest requestFor(const Call& call, const core::Secret& token) const;
  void noteDate(const net::HttpResponse& response);
  void noteAnswer(std::chrono::nanoseconds took);
  static bool isAnswerTo(const Call& call, int status);
  [[noreturn]] void throwRefused(const Call& call, const net::HttpResponse& response) const;
  [[noreturn]] static void throwInDoubt(const Call& call, const std::string& reason, core::Error::Details details);

  std::string baseUrl_;
  net::Origin origin_;
  ClientSettings settings_;
  net::HttpTransport& transport_;
  TokenSource& tokens_;
  Retrying retrying_;
  /// Of this machine's clock against the server's, in milliseconds; kUnknownSkew before the first Date.
  std::atomic<core::Duration::rep> skewMs_;
  std::atomic<std::chrono::nanoseconds> shortestAnswer_ = std::chrono::nanoseconds::max();  ///< max: none yet.
};

/// Of a list that leads from page to page by opaque links.
struct Page {
  std::size_t entries = 0;               ///< How many the page had.
  std::size_t fresh = 0;                 ///< How many of them no earlier page had.
  std::optional<std::string> next = {};  ///< Absolute URL, checked; nothing: the list ends here.
  bool mayRepeat = false;                ///< Whoever reads the page sees to it that repeating ends.
};

/// Sends `call`, then what each page leads to. Error(protocol) if that would never end: the same link twice, a page
/// that repeats only what was there and leads on, or more than three empty pages in a row that lead on.
void followPages(Caller& caller, Call call,
                 const std::function<Page(const Call& call, const net::HttpResponse& response)>& read,
                 std::stop_token stop);

}  // namespace caiexport::platform
