#include "shared_run.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/model/job.h"
#include "caiexport/store/share_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Job;
using model::StepName;
using model::StepState;

/// Between two looks, while files are about to be there, and while the platform is at work.
constexpr core::Duration kSoon = std::chrono::milliseconds(250);
constexpr core::Duration kLater = std::chrono::seconds(1);

Error errorOf(const Job& job) {
  if (!job.error) {
    return {Category::remoteFailed, "job " + std::to_string(model::numberOf(job.id)) + " was cancelled"};
  }
  return {job.error->category, job.error->message, {.requestId = job.error->requestId, .hint = job.error->hint}};
}

const model::Step* currentStepOf(const Job& job) {
  const std::optional<StepName> name = model::currentStep(job.steps);
  return name ? &*std::ranges::find(job.steps, *name, &model::Step::name) : nullptr;
}

class SharedRun {
 public:
  SharedRun(Tools& tools, model::JobId job, bool joins, const std::function<Outcome()>& runAsHead, std::stop_token stop)
      : tools_(tools), id_(job), joins_(joins), runAsHead_(runAsHead), stop_(std::move(stop)) {}

  Outcome toTheEnd() {
    tools_.share->enter(id_);
    for (;;) {
      // First: what a head that is gone by now wrote down is seen then.
      const bool hasHead = this->hasHead();
      Job job = tools_.store.load(id_);
      const model::Step* step = currentStepOf(job);
      if (step == nullptr) return {std::move(job), std::nullopt};
      if (!hasHead && hasEnded(job, *step)) return failed(std::move(job));
      if (!hasHead) {
        if (std::optional<Outcome> outcome = beHead()) return *std::move(outcome);
        continue;
      }
      sawHead_ = true;
      try {
        const core::Duration pause = help(job, *step);
        if (!tools_.clock.sleep(pause, stop_)) throw core::Interrupted();
      } catch (const Error& error) {
        if (error.category() == Category::interrupted && tools_.store.isCancelRequested(id_)) return cancelled();
        // Of this worker alone: the job goes on without it.
        return {std::move(job), error};
      }
    }
  }

 private:
  /// For all its workers. What only interrupted the last head is gone on with, and so is the fetching of files: the
  /// next head may reach what the last one could not.
  bool hasEnded(const Job& job, const model::Step& step) const {
    const bool ended = job.cancelled || step.state == StepState::failed || step.state == StepState::blocked;
    if (ended) return joins_ || sawHead_;
    return sawHead_ && job.error && job.error->category != Category::interrupted &&
           step.name != StepName::downloadFiles;
  }

  bool hasHead() const { return tools_.jobLocks.holder(model::numberOf(id_)).has_value(); }

  static Outcome failed(Job job) {
    Error error = errorOf(job);
    return {std::move(job), std::move(error)};
  }

  /// All are told to stop, and the head says how the job ends.
  Outcome cancelled() {
    for (;;) {
      const bool hasHead = this->hasHead();
      Job job = tools_.store.load(id_);
      if (job.cancelled) return failed(std::move(job));
      if (currentStepOf(job) == nullptr) return {std::move(job), std::nullopt};  // it was too late
      if (!hasHead) {
        if (std::optional<Outcome> outcome = beHead()) return *std::move(outcome);
      }
      tools_.clock.sleep(kSoon, {});
    }
  }

  /// Nothing if another worker was quicker.
  std::optional<Outcome> beHead() {
    try {
      return runAsHead_();
    } catch (const Error& error) {
      if (error.category() != Category::busy || !hasHead()) throw;
      return std::nullopt;
    }
  }

  /// Returns how long to wait then.
  core::Duration help(const Job& job, const model::Step& step) {
    if (step.name != StepName::downloadFiles) {
      const bool soon = step.name == StepName::listFiles || step.name == StepName::verifyFiles;
      return soon ? kSoon : kLater;
    }
    if (!std::exchange(told_, true)) tools_.observer.stepStarted(job, step.name);
    StepContext context{.tools = tools_, .job = job, .step = step, .run = state_, .stop = stop_};
    helpFetching(context);
    return kSoon;
  }

  Tools& tools_;
  const model::JobId id_;
  const bool joins_;
  const std::function<Outcome()>& runAsHead_;
  std::stop_token stop_;
  RunState state_;
  bool sawHead_ = false;
  bool told_ = false;
};

// --- one request under one key

/// Names what differs, one after another.
class Comparison {
 public:
  /// `apart`: how much later the second request was made than the first: an age (--since 7d) means another time then.
  explicit Comparison(core::Duration apart) : apart_(apart) {}

  template <class Value>
  void equal(const char* what, const Value& first, const Value& second) {
    if (difference_.empty() && !(first == second)) difference_ = what;
  }
  void sameTime(const char* what, const std::optional<core::TimePoint>& first,
                const std::optional<core::TimePoint>& second) {
    constexpr core::Duration kSlack = std::chrono::minutes(2);
    if (first && second) {
      const core::Duration between = *second - *first;
      if (between > apart_ - kSlack && between < apart_ + kSlack) return;
    }
    equal(what, first, second);
  }
  const std::string& difference() const { return difference_; }

 private:
  core::Duration apart_;
  std::string difference_;
};

void compareSegments(Comparison& compare, const model::SegmentOptions& a, const model::SegmentOptions& b) {
  compare.equal("--dataset", a.targetDataset, b.targetDataset);
  compare.equal("--reuse", a.reuse, b.reuse);
  compare.equal("--name", a.datasetName, b.datasetName);
  compare.equal("--fields", a.fields, b.fields);
  compare.equal("--status", a.statuses, b.statuses);
  compare.equal("--merge-policy", a.mergePolicyId, b.mergePolicyId);
  compare.equal("--merge-policy", a.mergePolicyVersion, b.mergePolicyVersion);
  compare.equal("--namespace", a.segmentNamespace, b.segmentNamespace);
  compare.equal("--evaluate", a.evaluate, b.evaluate);
  compare.equal("--wait-for-evaluation", a.waitForEvaluation, b.waitForEvaluation);
  compare.sameTime("--qualified-since", a.qualifiedSince, b.qualifiedSince);
  compare.sameTime("--qualified-until", a.qualifiedUntil, b.qualifiedUntil);
  compare.sameTime("--ingested-since", a.ingestedSince, b.ingestedSince);
  compare.equal("--empty-profiles", a.emptyProfiles, b.emptyProfiles);
  compare.equal("--events", a.eventFields, b.eventFields);
  compare.sameTime("--events-since", a.eventsSince, b.eventsSince);
  compare.sameTime("--events-until", a.eventsUntil, b.eventsUntil);
  compare.equal("--segment-per-batch", a.segmentPerBatch, b.segmentPerBatch);
  compare.equal("--schema", a.schemaName, b.schemaName);
  compare.equal("--delete-dataset", a.deleteDataset, b.deleteDataset);
}

std::string differenceBetween(const model::ExportRequest& a, const model::ExportRequest& b, core::Duration apart) {
  Comparison compare(apart);
  compare.equal("the command", a.kind, b.kind);
  compare.equal("--id", a.sourceId, b.sourceId);
  compare.equal("--base-url", a.baseUrl, b.baseUrl);
  compare.equal("--output", a.output, b.output);
  compare.equal("--layout", a.layout, b.layout);
  compare.equal("--deliver", a.deliver, b.deliver);
  compare.equal("--after-delivery", a.deleteAfterDelivery, b.deleteAfterDelivery);
  compare.equal("--batch", a.batches.batch, b.batches.batch);
  compare.equal("--limit", a.batches.limit, b.batches.limit);
  compare.sameTime("--since", a.batches.since, b.batches.since);
  compare.sameTime("--until", a.batches.until, b.batches.until);
  compare.equal("--created-client", a.batches.createdClient, b.batches.createdClient);
  compare.equal("--include-replaced", a.batches.includeReplaced, b.batches.includeReplaced);
  compareSegments(compare, a.segment, b.segment);
  compare.equal("--max-age, --min-records or --max-change", a.guards, b.guards);
  compare.equal("--verify", a.verify, b.verify);
  compare.equal("--no-download", a.download, b.download);
  compare.equal("--force", a.force, b.force);
  return compare.difference();
}

}  // namespace

Outcome runShared(Tools& tools, model::JobId job, bool joins, const std::function<Outcome()>& runAsHead,
                  std::stop_token stop) {
  return SharedRun(tools, job, joins, runAsHead, std::move(stop)).toTheEnd();
}

void requireSameRequest(const Job& job, const model::ExportRequest& request, const std::string& share,
                        core::TimePoint now) {
  const std::string difference =
      differenceBetween(job.request, request, std::chrono::duration_cast<core::Duration>(now - job.createdAt));
  if (difference.empty()) return;
  throw Error(Category::usage,
              "--share: job " + std::to_string(model::numberOf(job.id)) + " was made under the key '" + share +
                  "' for another request: " + difference + " differs",
              {.hint = "all workers of a key run the same command line; give another request another key"});
}

}  // namespace caiexport::engine
