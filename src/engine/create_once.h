#pragma once
/// Remote effects that must happen once: record what there was before and the intent, do, record the result; after a
/// doubt, look before acting.

#include <functional>
#include <vector>

#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {

/// Something that the platform has and that answers to what was asked for.
struct Candidate {
  std::string id = {};
  store::StepResult result = {};
  /// By the platform, where others may have made the like; nothing if it can be nobody else's, or the platform does not
  /// tell.
  std::optional<core::TimePoint> created = {};
};

struct OnceEffect {
  std::string what;  ///< "create the dataset", for messages.
  /// Checks everything that can be checked before the effect; throws what is wrong.
  std::function<void()> prepare;
  /// The one request. InDoubt if it may have been taken; any other core::Error says that it was not.
  std::function<store::StepResult()> create;
  /// All that the platform has and that this job's request may have made, its lists read to their end.
  std::function<std::vector<Candidate>()> lookUp;
  /// What there is of the like already, asked for right before the request; absent where only this job can have made
  /// what lookUp finds.
  std::function<store::SeenBefore()> before = {};
  /// Each request counts against a quota: the look-up takes twice as long before another one is sent.
  bool rationed = false;
};

/// Does the effect, or finds that it was done; the result is not recorded yet. Error(blocked) if that can't be decided.
store::StepResult doOnce(StepContext& context, const OnceEffect& effect);

}  // namespace caiexport::engine
