#pragma once
/// Remote effects that must happen once: record what there was before and the intent, do, record the result; after a
/// doubt, look before acting.

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/engine/runner.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
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

// --- Whether something that the platform has answers to what a job asked for.

/// The export that the job asks for.
platform::NewExportJob exportJobFor(const model::Job& job);

/// Into the same dataset, of the same segments, in the same scope. A merge policy that was not asked for may be any:
/// the platform fills it in.
bool isWhatWasAskedFor(const platform::ExportJob& candidate, const platform::NewExportJob& asked);

/// Of the same segments, whatever else.
bool isOfSameSegments(const platform::ExportJob& candidate, const platform::NewExportJob& asked);

/// A dataset that a job makes bears its UUID.
bool bears(const platform::Dataset& dataset, const std::string& uuid);

/// The segments of the job, sorted.
std::vector<model::SegmentId> sortedSegmentsOf(const model::ExportRequest& request);

/// A person says which of the platform's things the job has made: records `id` as the result of the step.
/// Error(notFound) if there is none; Error(usage) if this job can't have made it: it is of other segments or another
/// dataset, or another job's.
void adopt(Tools& tools, const model::Job& job, model::StepName step, const std::string& id, std::stop_token stop);

}  // namespace caiexport::engine
