/// When the members of a segment were last counted, and having them counted anew. Evaluations are rationed.

#include <algorithm>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/platform/client.h"
#include "create_once.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using platform::RemotePhase;

bool isOneOf(const std::vector<model::SegmentId>& segments, const model::SegmentId& segment) {
  return std::ranges::find(segments, segment) != segments.end();
}

/// The newest segment job that succeeded and counted this one's members. The list is asked for newest first; it is read
/// on until its order can be relied on, or to its end.
std::optional<core::TimePoint> evaluationByJobs(StepContext& context, const model::SegmentId& segment) {
  constexpr int kToTrustTheOrder = 5;
  constexpr int kMostLookedAt = 1000;
  const model::SegmentId all("*");  // the scheduled evaluation of every segment
  std::optional<core::TimePoint> newest;
  std::optional<core::TimePoint> previous;
  bool sorted = true;
  int looked = 0;
  context.tools.client.forEachEvaluation(
      [&](const platform::SegmentJob& job) {
        const core::TimePoint at = job.updated.value_or(job.created);
        sorted = sorted && (!previous || at <= *previous);
        previous = at;
        // Asked for every segment, it counted those that its counters name: one made later is not among them.
        const bool countedAll = job.evaluated.empty() && isOneOf(job.segments, all);
        const bool meant = isOneOf(job.evaluated, segment) || isOneOf(job.segments, segment) || countedAll;
        if (meant && job.phase == RemotePhase::succeeded) newest = std::max(newest.value_or(at), at);
        ++looked;
        return looked < kMostLookedAt && !(newest && sorted && looked >= kToTrustTheOrder);
      },
      context.stop);
  return newest;
}

/// Nothing if there is none, or this caller may not see it.
std::optional<core::TimePoint> lastEvaluation(StepContext& context, const SegmentFacts& facts) {
  if (facts.evaluatedAt) return facts.evaluatedAt;
  if (core::toLower(context.job.request.segment.segmentNamespace) != "ups") return std::nullopt;
  std::optional<core::TimePoint> oldest;
  try {
    for (const model::SegmentId& segment : model::segmentsOf(context.job.request)) {
      const auto at = evaluationByJobs(context, segment);
      if (!at) return std::nullopt;
      oldest = std::min(oldest.value_or(*at), *at);
    }
  } catch (const Error& error) {
    if (!core::factsOf(error.category()).mayStayUnanswered) throw;
    context.tools.store.addEvent(context.job.id, context.step.name, "evaluation_unknown", error.what());
    return std::nullopt;
  }
  return oldest;
}

// --- asking for one

std::vector<Candidate> segmentJobsLikeOurs(StepContext& context) {
  const std::vector<model::SegmentId> wanted = sortedSegmentsOf(context.job.request);
  std::vector<Candidate> found;
  context.tools.client.forEachSegmentJob(
      [&](const platform::SegmentJob& job) {
        std::vector<model::SegmentId> segments = job.segments;
        std::ranges::sort(segments);
        if (segments != wanted || context.tools.store.isSegmentJobOfAnother(job.id, context.job.id)) return true;
        found.push_back({.id = job.id.value(),
                         .result = {.segmentJobId = job.id, .remoteStatus = job.status},
                         .created = job.created});
        return true;
      },
      context.stop);
  return found;
}

std::string ordinal(std::uint64_t number) {
  const std::uint64_t last = number % 10;
  const bool teen = number % 100 / 10 == 1;
  return std::to_string(number) + (teen || last > 3 || last == 0 ? "th" : last == 1 ? "st" : last == 2 ? "nd" : "rd");
}

/// Days and years by the platform's clock, in UTC.
void announceEvaluation(StepContext& context) {
  const auto today = std::chrono::floor<std::chrono::days>(context.tools.client.serverNow());
  const std::chrono::sys_days year = std::chrono::year_month_day(today).year() / std::chrono::January / 1;
  const std::uint64_t ofDay = context.tools.store.evaluationsSince(context.job.id, today);
  const std::uint64_t ofYear = context.tools.store.evaluationsSince(context.job.id, year);
  const std::string text = "asking for an evaluation: the " + ordinal(ofDay + 1) + " today, the " +
                           ordinal(ofYear + 1) + " this year that this database knows of (the platform allows 2 a " +
                           "day, and 50 a year in a production sandbox; --wait-for-evaluation takes the nightly one, "
                           "which is free)";
  context.tools.store.addEvent(context.job.id, context.step.name, "evaluation_counted", text);
  context.tools.observer.notice(text);
}

store::StepResult askForEvaluation(StepContext& context) {
  const std::vector<model::SegmentId> segments = model::segmentsOf(context.job.request);
  try {
    const platform::SegmentJob job = context.tools.client.startSegmentJob(segments, context.stop);
    return {.segmentJobId = job.id, .remoteStatus = job.status};
  } catch (const platform::InDoubt&) {
    throw;
  } catch (const Error& error) {
    const bool refused = error.category() == Category::remoteFailed || error.category() == Category::permission;
    if (!refused) throw;
    throw Error(error.category(), error.what(),
                {.requestId = error.requestId(),
                 .hint = "a production sandbox allows 2 evaluations a day and 50 a year, and they need the permission "
                         "\"Evaluate Segment to an Audience\"; use --wait-for-evaluation to wait for the nightly one, "
                         "or leave out --evaluate to export the members of the last one"});
  }
}

Turn startEvaluation(StepContext& context) {
  const store::StepResult started = doOnce(context, {.what = "evaluate the segment",
                                                     .prepare =
                                                         [&] {
                                                           requireSegments(context);
                                                           announceEvaluation(context);
                                                         },
                                                     .create = [&] { return askForEvaluation(context); },
                                                     .lookUp = [&] { return segmentJobsLikeOurs(context); },
                                                     .before =
                                                         [&] {
                                                           store::SeenBefore before;
                                                           for (const Candidate& job : segmentJobsLikeOurs(context)) {
                                                             before.jobs.push_back(job.id);
                                                           }
                                                           return before;
                                                         },
                                                     .rationed = true});
  context.tools.store.countEvaluation(context.job.id, *started.segmentJobId, context.tools.client.serverNow());
  context.tools.store.recordRemoteJob(context.job.id, started);
  return pollAgain(context, started.remoteStatus);
}

// --- waiting for one that comes anyway

Turn waitForEvaluation(StepContext& context) {
  context.run.segments.reset();
  const SegmentFacts& facts = requireSegments(context);
  const std::optional<core::TimePoint> last = lastEvaluation(context, facts);
  std::optional<core::TimePoint> since = context.job.evaluationSince;
  if (!since) {
    // Where no answer tells the platform's time, any other evaluation than the last one is new.
    since = context.tools.client.clockSkew() ? context.tools.client.serverNow() : last.value_or(core::TimePoint());
    context.tools.store.recordRemoteJob(context.job.id, {.evaluationSince = since});
    context.tools.observer.notice("waiting for an evaluation of segment " + context.job.request.sourceId +
                                  " newer than " + core::formatTime(*since));
  }
  if (!last || *last <= *since) {
    return pollAgain(context, last ? "last evaluated " + core::formatTime(*last) : "not evaluated yet");
  }
  context.tools.store.finishStep(context.job.id, context.step.name,
                                 {.evaluatedAt = last, .expectedProfiles = facts.members});
  return {};
}

}  // namespace

void tellEvaluation(StepContext& context) {
  if (std::exchange(context.run.evaluationTold, true)) return;
  const SegmentFacts& facts = requireSegments(context);
  const bool fresh = context.job.evaluatedAt.has_value();  // by a step of this job
  const std::optional<core::TimePoint> evaluated = fresh ? context.job.evaluatedAt : lastEvaluation(context, facts);
  // What a definition said before the evaluation that this job asked for was another number.
  const std::optional<std::uint64_t> members =
      // Definitions tell whole seconds.
      facts.evaluatedAt && evaluated && *facts.evaluatedAt + std::chrono::seconds(1) > *evaluated ? facts.members
                                                                                                  : std::nullopt;
  context.tools.store.recordRemoteJob(context.job.id, {.evaluatedAt = evaluated, .expectedProfiles = members});
  const std::string segment = "segment " + context.job.request.sourceId;
  const core::TimePoint now = context.tools.client.serverNow();
  const std::optional<core::Duration>& maxAge = context.job.request.guards.maxAge;
  if (evaluated) {
    requireFresh(maxAge, segment + " was last evaluated", *evaluated, context.tools.client);
    const std::string expected = members ? "; it had " + std::to_string(*members) + " members then" : "";
    context.tools.observer.notice(segment + " was last evaluated " + core::formatTime(*evaluated) + ", " +
                                  core::formatDuration(std::max(now - *evaluated, core::Duration::zero())) + " ago" +
                                  expected);
    return;
  }
  const std::string unknown = "when " + segment + " was last evaluated is not known";
  if (maxAge) {
    throw Error(Category::tooOld,
                unknown + ": its age is unknown, so --max-age cannot be checked; nothing was exported",
                {.hint = "--evaluate evaluates it now; --wait-for-evaluation waits until the platform does"});
  }
  context.tools.observer.notice(unknown + " (--evaluate evaluates it now)");
}

Turn evaluateSegment(StepContext& context) {
  if (context.job.request.segment.waitForEvaluation) return waitForEvaluation(context);
  if (context.job.segmentJobId.empty()) return startEvaluation(context);
  const auto job = context.tools.client.findSegmentJob(context.job.segmentJobId, context.stop);
  const std::string what = "segment job " + context.job.segmentJobId.value();
  if (!job) throw Error(Category::remoteFailed, what + " is not known to the platform any more");
  switch (job->phase) {
    case RemotePhase::moving:
      return pollAgain(context, job->status);
    case RemotePhase::succeeded:
      reportProblems(context, what, job->problems);
      context.run.segments.reset();
      context.tools.store.finishStep(context.job.id, context.step.name,
                                     {.evaluatedAt = job->updated.value_or(job->created), .remoteStatus = job->status});
      return {};
    case RemotePhase::failed:
    case RemotePhase::cancelled:
      break;
  }
  throwRemoteEnd(what, job->status, job->problems, job->requestId,
                 "start again without --evaluate, or look at the segment");
}

}  // namespace caiexport::engine
