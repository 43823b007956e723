#pragma once
/// What an answer means for the request: done, to be asked again and when, refused; and what an error answer says,
/// whichever of Adobe's shapes it has, and what to do about it.

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"

namespace caiexport::core {
class Log;
}
namespace caiexport::net {
struct HttpResponse;
}

namespace caiexport::platform {

struct Problem {
  std::string code = {};       ///< Adobe's: "403003", "invalid_client", "UPAPI-113740-403"; may be empty.
  std::string text = {};       ///< One printable line; may be empty.
  std::string requestId = {};  ///< From the headers or the body.
  std::optional<core::Duration> retryAfter = {};  ///< `retryAfterMs` of the body.
};

/// Reads the body whatever its content type says. A body of no known shape is shown by its beginning.
Problem readProblem(const net::HttpResponse& response);

/// "403 Forbidden (403003: Api Key is invalid; request id abc)".
std::string describe(const net::HttpResponse& response, const Problem& problem);

/// Whether an error answer can be the platform's own word: JSON of one of Adobe's shapes, or nothing but its
/// request id. A page of a proxy, or of a wrong address, is neither.
bool isOfPlatform(const net::HttpResponse& response);

/// What a person can do about it; empty if nothing is known that helps.
std::string remedyFor(int status, const std::string& code);

// --- The question of the retry loop: what does this answer mean for the request?

enum class Outcome { success, authExpired, transient, permanent };

struct Verdict {
  Outcome outcome = Outcome::permanent;
  std::optional<core::Duration> retryAfter = {};  ///< What the server asked for.
  bool throttled = false;                         ///< 429 or 503.
};

/// `now` is this machine's clock; it counts only for a Retry-After date in an answer without a Date.
Verdict classify(const net::HttpResponse& response, core::TimePoint now);

/// `Retry-After` in seconds or as a date, else `retryAfterMs` of the body. Not negative.
std::optional<core::Duration> retryAfterOf(const net::HttpResponse& response, core::TimePoint now);

/// The three forms of RFC 9110, section 5.6.7. Nothing for anything else.
std::optional<core::TimePoint> parseHttpDate(std::string_view text);

/// What the two retry loops (API calls and the token call) share.
struct Retrying {
  core::RetryPolicy policy;
  core::Clock& clock;
  core::Random& random;
  core::Log& log;

  /// Waits before try number `triesMade` + 1. The TransientError again, with `what` and the number of tries, when the
  /// tries are used up; Interrupted after a stop request.
  void waitForNextTry(const std::string& what, int triesMade, const core::TransientError& failure,
                      std::stop_token stop) const;
};

/// Interrupted if a stop was requested.
void throwIfStopped(std::stop_token stop);

}  // namespace caiexport::platform
