#pragma once
/// Remote effects that must happen once: record the intent, do, record the result; after a doubt, look before acting.

#include <functional>
#include <vector>

#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {

struct OnceEffect {
  std::string what;  ///< "create the dataset", for messages.
  /// Checks everything that can be checked before the effect; throws what is wrong.
  std::function<void()> prepare;
  /// The one request. InDoubt if it may have been taken; any other core::Error says that it was not.
  std::function<store::StepResult()> create;
  /// What the platform has that this job's request must have made.
  std::function<std::vector<store::StepResult>()> lookUp;
};

/// Does the effect, or finds that it was done; the result is not recorded yet. Error(blocked) if that can't be decided.
store::StepResult doOnce(StepContext& context, const OnceEffect& effect);

}  // namespace caiexport::engine
