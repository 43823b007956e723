#pragma once
/// One wait for a lock of another process.

#include <optional>

#include "caiexport/core/clock.h"

namespace caiexport::store {

/// As waitForLocksUntil() says.
bool isToStop() noexcept;

class Patience {
 public:
  Patience();
  /// Whether to try again.
  bool lasts() noexcept;

 private:
  core::SteadyTime since_;
  std::optional<core::SteadyTime> stoppedAt_;
};

}  // namespace caiexport::store
