#include "create_once.h"

#include <algorithm>

#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Job;

constexpr int kLooks = 10;
// A list that is seen to lag is looked at for longer, but not for ever.
constexpr int kMostWindows = 4;
// In one run, each with a look-up after it; a platform that loses more answers is not well.
constexpr int kMostCreations = 2;

[[noreturn]] void throwBlocked(const StepContext& context, const OnceEffect& effect, const std::string& why) {
  const std::string job = std::to_string(model::numberOf(context.job.id));
  throw Error(
      Category::blocked,
      "job " + job + " asked the platform to " + effect.what + " and does not know whether that happened: " + why,
      {.hint = "check on the platform; if it did not happen: caiexport resume " + job +
               " --resubmit; if it did: caiexport resume " + job + " --adopt ID"});
}

/// How a candidate that was not there before lies to the intent, all in the platform's time.
enum class Age { older, near, ours };

Age ageOf(const std::optional<core::TimePoint>& created, core::TimePoint intended, bool seenBefore) {
  using std::chrono::hours;
  using std::chrono::seconds;
  if (!created || *created == core::TimePoint() || intended == core::TimePoint()) return Age::ours;
  const core::Duration earlier = intended - *created;
  // `Date` has whole seconds.
  if (earlier <= seconds(1)) return Age::ours;
  // Machines of one platform differ by a little: so close it may be somebody else's.
  if (earlier <= seconds(5)) return Age::near;
  // No list lags for an hour: then the clocks of the platform don't agree, and what was there before decides alone.
  return seenBefore && earlier > hours(1) ? Age::ours : Age::older;
}

/// The look for what an earlier request of the step may have made.
class LookUp {
 public:
  LookUp(StepContext& context, const OnceEffect& effect, core::TimePoint intended)
      : context_(context),
        tools_(context.tools),
        effect_(effect),
        intended_(intended),
        before_(tools_.store.seenBefore(context.job.id, context.step.name)),
        window_(tools_.lookUp * (effect.rationed ? 2 : 1)) {}

  /// What was found; nothing if the platform answered and had none.
  std::optional<store::StepResult> run() {
    tools_.store.addEvent(context_.job.id, context_.step.name, "look_up",
                          "this may have been done already: checking first");
    const core::SteadyTime last = tools_.clock.steadyNow() + window_ * kMostWindows;
    end_ = tools_.clock.steadyNow() + window_;
    for (;;) {
      look();
      if (found_ || tools_.clock.steadyNow() >= std::min(end_, last)) break;
      if (!tools_.clock.sleep(window_ / kLooks, context_.stop)) throw core::Interrupted();
    }
    if (found_) return found_;
    if (!doubtful_.empty()) throwBlocked(context_, effect_, doubtful_ + " looks the same, but may be somebody else's");
    if (!unclaimed_.empty()) {
      throwBlocked(
          context_, effect_,
          unclaimed_ + " looks the same, but it is also unknown what happened to another job's request for the same");
    }
    if (answered_) return std::nullopt;
    // A platform that is out of reach will be back: the intent stays, and `resume` looks again.
    if (failure_ && failure_->category() == Category::unavailable) throw *failure_;
    throwBlocked(context_, effect_, failure_ ? std::string("the look-up failed: ") + failure_->what() : "no answer");
  }

 private:
  void look() {
    try {
      std::vector<Candidate> candidates = effect_.lookUp();
      // The time runs from the first answer: nothing was looked at before.
      if (!answered_) end_ = tools_.clock.steadyNow() + window_;
      answered_ = true;
      judge(candidates);
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error& error) {
      if (error.category() == Category::blocked || error.category() == Category::io) throw;
      failure_ = error;
    }
  }

  void judge(std::vector<Candidate>& candidates) {
    std::erase_if(candidates, [&](const Candidate& candidate) { return wasThere(candidate); });
    std::vector<Candidate> ours;
    for (Candidate& candidate : candidates) {
      switch (ageOf(candidate.created, intended_, before_.has_value())) {
        case Age::ours:
          ours.push_back(std::move(candidate));
          break;
        case Age::near:
          doubtful_ = core::printable(candidate.id, 80);
          break;
        case Age::older:
          // It was there before the request and is shown only now: the list lags.
          end_ = tools_.clock.steadyNow() + window_;
          break;
      }
    }
    if (ours.size() > 1) {
      throwBlocked(context_, effect_, std::to_string(ours.size()) + " candidates match what was asked for");
    }
    unclaimed_.clear();
    if (ours.empty()) return;
    // Another job of this database may have taken it since the list was read, or may still come to know that it is its
    // own: the next look tells.
    if (tools_.store.claimRemoteJob(context_.job.id, ours.front().result)) {
      found_ = std::move(ours.front().result);
    } else {
      unclaimed_ = core::printable(ours.front().id, 80);
    }
  }

  bool wasThere(const Candidate& candidate) const {
    return before_ && std::ranges::find(before_->jobs, candidate.id) != before_->jobs.end();
  }

  StepContext& context_;
  Tools& tools_;
  const OnceEffect& effect_;
  core::TimePoint intended_;
  std::optional<store::SeenBefore> before_;
  core::Duration window_;
  core::SteadyTime end_ = {};
  bool answered_ = false;
  std::string doubtful_ = {};
  std::string unclaimed_ = {};  ///< Of the last look.
  std::optional<store::StepResult> found_ = {};
  std::optional<Error> failure_ = {};
};

/// The beginning of time where no answer has told the platform's: this machine's clock may be off by years.
core::TimePoint platformTime(const Tools& tools) {
  return tools.client.clockSkew() ? tools.client.serverNow() : core::TimePoint();
}

// --- whether something is what a job asked for

template <class Value>
bool sameSet(std::vector<Value> left, std::vector<Value> right) {
  std::ranges::sort(left);
  std::ranges::sort(right);
  return left == right;
}

bool sameFilters(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  std::vector<model::SegmentId> segments;
  for (const platform::ExportJob::Filter& filter : candidate.filters) {
    if (core::toLower(filter.segmentNamespace) != core::toLower(asked.segmentNamespace)) return false;
    if (!sameSet(filter.statuses, asked.statuses)) return false;
    segments.push_back(filter.segment);
  }
  return sameSet(segments, asked.segments);
}

/// The platform may fill in a merge policy that was not asked for, and its newest version.
bool sameScope(platform::ExportScope candidate, platform::ExportScope asked) {
  if (asked.mergePolicyId.empty()) candidate.mergePolicyId.clear();
  if (!asked.mergePolicyVersion) candidate.mergePolicyVersion.reset();
  for (platform::ExportScope* scope : {&candidate, &asked}) {
    std::ranges::sort(scope->fields);
    std::ranges::sort(scope->eventFields);
  }
  return candidate == asked;
}

// --- what a person says that a job has made

std::string namesOf(const std::vector<model::SegmentId>& segments) {
  std::string text;
  for (const model::SegmentId& segment : segments) {
    text += (text.empty() ? "'" : ", '") + core::printable(segment.value(), 80) + "'";
  }
  return text.empty() ? "no segment" : text;
}

[[noreturn]] void throwNotOurs(const Job& job, const std::string& what, const std::string& why) {
  const std::string number = std::to_string(model::numberOf(job.id));
  throw Error(Category::usage, what + " can't be what job " + number + " asked for: " + why + "; nothing was adopted",
              {.hint = "name the right one, or ask anew with: caiexport resume " + number + " --resubmit"});
}

void adoptExportJob(Tools& tools, const Job& job, const std::string& id, std::stop_token stop) {
  const auto found = tools.client.findExportJob(model::ExportJobId(id), std::move(stop));
  const std::string what = "export job '" + id + "'";
  if (!found) throw Error(Category::notFound, what + " does not exist");
  if (found->dataset != job.datasetId) {
    throwNotOurs(job, what,
                 "it writes into dataset '" + core::printable(found->dataset.value(), 80) + "', not into '" +
                     job.datasetId.value() + "'");
  }
  if (!isOfSameSegments(*found, exportJobFor(job))) {
    std::vector<model::SegmentId> segments;
    for (const platform::ExportJob::Filter& filter : found->filters) segments.push_back(filter.segment);
    throwNotOurs(job, what, "it exports " + namesOf(segments) + ", not " + namesOf(model::segmentsOf(job.request)));
  }
  if (tools.store.isExportJobOfAnother(found->id, job.id)) throwNotOurs(job, what, "another job made it");
  tools.store.finishStep(job.id, model::StepName::startExport,
                         {.exportJobId = found->id, .remoteStatus = found->status});
}

void adoptDataset(Tools& tools, const Job& job, const std::string& id, std::stop_token stop) {
  const auto found = tools.client.findDataset(model::DatasetId(id), std::move(stop));
  const std::string what = "dataset '" + id + "'";
  if (!found) throw Error(Category::notFound, what + " does not exist");
  // It would be deleted with --delete-dataset as one of ours.
  if (!bears(*found, job.uuid)) {
    throwNotOurs(job, what, "neither its name nor its description bears the job's mark " + job.uuid);
  }
  tools.store.finishStep(job.id, model::StepName::createDataset, {.datasetId = found->id, .datasetCreated = true});
}

void adoptSegmentJob(Tools& tools, const Job& job, const std::string& id, std::stop_token stop) {
  const auto found = tools.client.findSegmentJob(model::SegmentJobId(id), std::move(stop));
  const std::string what = "segment job '" + id + "'";
  if (!found) throw Error(Category::notFound, what + " does not exist");
  std::vector<model::SegmentId> segments = found->segments;
  std::ranges::sort(segments);
  const std::vector<model::SegmentId> wanted = sortedSegmentsOf(job.request);
  if (segments != wanted) throwNotOurs(job, what, "it evaluates " + namesOf(segments) + ", not " + namesOf(wanted));
  if (tools.store.isSegmentJobOfAnother(found->id, job.id)) throwNotOurs(job, what, "another job made it");
  tools.store.countEvaluation(job.id, found->id, found->created);
  tools.store.recordRemoteJob(job.id, {.segmentJobId = found->id, .remoteStatus = found->status});
  tools.store.setWaiting(job.id, model::StepName::evaluateSegment, found->status, std::nullopt);
}

}  // namespace

store::StepResult doOnce(StepContext& context, const OnceEffect& effect) {
  Tools& tools = context.tools;
  const model::JobId job = context.job.id;
  const model::StepName step = context.step.name;
  // Of the first request that is in doubt: whatever one of them made is not older.
  std::optional<core::TimePoint> intended = context.step.intendedAt;
  for (int creations = 0;;) {
    if (intended) {
      if (std::optional<store::StepResult> found = LookUp(context, effect, *intended).run()) {
        tools.store.addEvent(job, step, "adopted", effect.what + " had happened");
        return *found;
      }
      if (creations == kMostCreations) throwBlocked(context, effect, "the answer was lost again and again");
    }
    effect.prepare();
    std::optional<store::SeenBefore> before;
    // With a request in doubt, what is there now may be what that made.
    if (effect.before && !intended) before = effect.before();
    if (!intended) intended = platformTime(tools);
    tools.store.intend(job, step, *intended, true, before);
    try {
      ++creations;
      return effect.create();
    } catch (const platform::InDoubt& doubt) {
      tools.store.addEvent(job, step, "in_doubt", doubt.what());
      tools.log.write(core::LogLevel::warning, "in_doubt", {{"what", effect.what}, {"message", doubt.what()}});
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error&) {
      // Refused the second time, it may have been taken the first.
      if (creations == 1 && !context.step.intendedAt) tools.store.unblock(job, step);
      throw;
    }
  }
}

platform::NewExportJob exportJobFor(const model::Job& job) {
  const model::SegmentOptions& options = job.request.segment;
  return {.dataset = job.datasetId,
          .segments = model::segmentsOf(job.request),
          .segmentNamespace = options.segmentNamespace,
          .statuses = options.statuses,
          .scope = {.fields = options.fields,
                    .mergePolicyId = options.mergePolicyId,
                    .mergePolicyVersion = options.mergePolicyVersion,
                    .qualifiedSince = options.qualifiedSince,
                    .qualifiedUntil = options.qualifiedUntil,
                    .ingestedSince = options.ingestedSince,
                    .emptyProfiles = options.emptyProfiles,
                    .eventFields = options.eventFields,
                    .eventsSince = options.eventsSince,
                    .eventsUntil = options.eventsUntil},
          .segmentPerBatch = options.segmentPerBatch,
          .schemaName = options.schemaName};
}

bool isWhatWasAskedFor(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  return candidate.dataset == asked.dataset && sameFilters(candidate, asked) &&
         sameScope(candidate.scope, asked.scope) &&
         candidate.segmentPerBatch.value_or(asked.segmentPerBatch) == asked.segmentPerBatch &&
         (candidate.schemaName.empty() || candidate.schemaName == asked.schemaName);
}

bool isOfSameSegments(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  std::vector<model::SegmentId> segments;
  for (const platform::ExportJob::Filter& filter : candidate.filters) segments.push_back(filter.segment);
  return sameSet(segments, asked.segments);
}

bool bears(const platform::Dataset& dataset, const std::string& uuid) {
  return dataset.description.find(uuid) != std::string::npos || dataset.name.find(uuid) != std::string::npos;
}

std::vector<model::SegmentId> sortedSegmentsOf(const model::ExportRequest& request) {
  std::vector<model::SegmentId> segments = model::segmentsOf(request);
  std::ranges::sort(segments);
  return segments;
}

void adopt(Tools& tools, const Job& job, model::StepName step, const std::string& id, std::stop_token stop) {
  if (step == model::StepName::startExport) return adoptExportJob(tools, job, id, std::move(stop));
  if (step == model::StepName::createDataset) return adoptDataset(tools, job, id, std::move(stop));
  adoptSegmentJob(tools, job, id, std::move(stop));
}

}  // namespace caiexport::engine
