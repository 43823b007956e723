#include <algorithm>
#include <cmath>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

constexpr double kGrowth = 1.5;

core::Duration nextWait(const model::SegmentOptions& options, unsigned polls,
                        std::optional<core::Duration> retryAfter) {
  // The platform may ask for more patience than the interval, within reason, but not for less.
  constexpr core::Duration kLongestAsked = std::chrono::minutes(5);
  if (retryAfter) return std::max(options.pollInterval, std::min(*retryAfter, kLongestAsked));
  const double grown = static_cast<double>(options.pollInterval.count()) * std::pow(kGrowth, std::min(polls, 64U));
  const auto longest = static_cast<double>(std::max(options.pollMax, options.pollInterval).count());
  return core::Duration(static_cast<core::Duration::rep>(std::min(grown, longest)));
}

/// What is left of --timeout, by the clock that nobody sets. The wall clock's deadline is stored so that it outlives a
/// restart; a run that begins after it has passed (`resume` after exit 6) waits the whole time again.
std::optional<core::Duration> timeLeft(StepContext& context) {
  const std::optional<core::Duration> timeout = context.job.request.segment.timeout;
  if (!timeout) return std::nullopt;
  const core::SteadyTime now = context.tools.clock.steadyNow();
  if (context.run.polls == 0) {
    core::Duration left = *timeout;
    if (context.step.deadline) left = std::min(left, *context.step.deadline - context.tools.clock.now());
    if (left <= core::Duration::zero()) left = *timeout;
    // As if it had waited in this run what it has waited before it.
    context.run.waitingSince = now - (*timeout - left);
  }
  return *timeout - std::chrono::duration_cast<core::Duration>(now - context.run.waitingSince);
}

}  // namespace

Turn pollAgain(StepContext& context, std::string_view remoteStatus) {
  Tools& tools = context.tools;
  if (context.run.polls == 0) context.run.waitingSince = tools.clock.steadyNow();
  const std::optional<core::Duration> left = timeLeft(context);
  const std::string shown = core::printable(remoteStatus, 60);
  tools.store.setWaiting(context.job.id, context.step.name, shown,
                         left ? std::optional(tools.clock.now() + *left) : std::nullopt);
  if (left && *left <= core::Duration::zero()) {
    const std::string job = std::to_string(model::numberOf(context.job.id));
    throw core::Error(core::Category::timedOut,
                      "waited " + core::formatDuration(*context.job.request.segment.timeout) +
                          " for the platform, whose last status was " + shown + "; its job goes on",
                      {.hint = "caiexport resume " + job + " waits again; caiexport cancel " + job + " stops the job"});
  }
  core::Duration wait = nextWait(context.job.request.segment, context.run.polls, tools.client.lastRetryAfter());
  if (left) wait = std::min(wait, *left);
  ++context.run.polls;
  return {.wait = wait, .remoteStatus = shown};
}

}  // namespace caiexport::engine
