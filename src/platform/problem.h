#pragma once
/// What an error answer says, whichever of Adobe's shapes it has, and what to do about it.

#include <optional>
#include <string>

#include "caiexport/core/clock.h"

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

}  // namespace caiexport::platform
