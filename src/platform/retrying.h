#pragma once
/// What the two retry loops (API calls and the token call) share.

#include <stop_token>
#include <string>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/retry.h"

namespace caiexport::core {
class Log;
}

namespace caiexport::platform {

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
