#include "retrying.h"

#include "caiexport/core/log.h"

namespace caiexport::platform {

void Retrying::waitForNextTry(const std::string& what, int triesMade, const core::TransientError& failure,
                              std::stop_token stop) const {
  throwIfStopped(stop);
  const auto wait = core::waitBeforeNextTry(policy, triesMade, failure.cause().retryAfter, random);
  if (!wait) {
    const std::string tries = triesMade == 1 ? "one try" : std::to_string(triesMade) + " tries";
    throw core::TransientError("cannot " + what + " (" + tries + "): " + failure.what(), failure.cause(),
                               {.requestId = failure.requestId(), .hint = failure.hint(), .code = failure.code()});
  }
  log.write(core::LogLevel::warning, "retry",
            {{"what", what},
             {"try", triesMade},
             {"tries", policy.furtherTries + 1},
             {"wait_ms", wait->count()},
             {"reason", failure.what()},
             {"request_id", failure.requestId()}});
  if (!clock.sleep(*wait, stop)) throw core::Interrupted();
}

void throwIfStopped(std::stop_token stop) {
  if (stop.stop_requested()) throw core::Interrupted();
}

}  // namespace caiexport::platform
