#include "cancel.h"

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/runner.h"
#include "caiexport/model/plan.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {

using core::Category;
using core::Error;
using model::Job;
using model::StepName;

bool isAtWorkFor(const Job& job) {
  const std::optional<StepName> step = model::currentStep(job.steps);
  if (step == StepName::evaluateSegment) return !job.segmentJobId.empty();
  return step == StepName::awaitExport && !job.exportJobId.empty();
}

void cancelRemote(platform::Client& client, const Job& job, std::stop_token stop) {
  if (model::currentStep(job.steps) == StepName::evaluateSegment) {
    client.cancelSegmentJob(job.segmentJobId, std::move(stop));
  } else {
    client.cancelExportJob(job.exportJobId, std::move(stop));
  }
}

void makeSureCancelled(platform::Client& client, const Job& job, std::stop_token stop) {
  const bool evaluates = model::currentStep(job.steps) == StepName::evaluateSegment;
  const auto isMoving = [](const auto& found) {
    // `CANCELLING` and the like: it was asked and is on its way.
    const bool asked = found && core::toLower(found->status).starts_with("cancel");
    return found && found->phase == platform::RemotePhase::moving && !asked;
  };
  const bool moving = evaluates ? isMoving(client.findSegmentJob(job.segmentJobId, stop))
                                : isMoving(client.findExportJob(job.exportJobId, stop));
  if (moving) cancelRemote(client, job, std::move(stop));
}

Job cancelJob(const CancelTools& tools, model::JobId id, std::stop_token stop) {
  Job before = tools.store.load(id);
  if (before.cancelled) return before;
  const std::int64_t number = model::numberOf(id);
  const Error tooLate(Category::usage, "job " + std::to_string(number) + " is done: there is nothing to cancel");
  if (!model::currentStep(before.steps)) throw tooLate;
  // Settings that don't fit the job must stop this before anything is recorded.
  if (isAtWorkFor(before)) tools.connect(before);
  if (!tools.store.requestCancel(id)) throw tooLate;
  // Asked even when another process runs the job: that one stops, and the platform's job must stop too. It may have
  // started it only now.
  const Job job = tools.store.load(id);
  if (isAtWorkFor(job)) {
    platform::Client& client = tools.connect(job);
    // An earlier try may have reached the platform or not.
    if (before.cancelRequested) {
      makeSureCancelled(client, job, std::move(stop));
    } else {
      cancelRemote(client, job, std::move(stop));
    }
  }
  if (!tools.jobLocks.tryLock(number)) {
    tools.store.markCancelled(id, {.category = Category::remoteFailed, .message = "cancelled on request"});
    tools.jobLocks.unlock(number);
  }
  // The process that runs it may have brought it to its end meanwhile.
  Job after = tools.store.load(id);
  if (!after.cancelled && !model::currentStep(after.steps)) throw tooLate;
  return after;
}

}  // namespace caiexport::engine
