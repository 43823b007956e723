#pragma once
/// One question of the retry loop: what does this answer mean for the request?

#include <optional>
#include <string_view>

#include "caiexport/core/clock.h"

namespace caiexport::net {
struct HttpResponse;
}

namespace caiexport::platform {

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

}  // namespace caiexport::platform
