/// The head of an audience export: what happens on the platform before there is a batch to read.

#include <algorithm>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "create_once.h"
#include "guards.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using platform::RemotePhase;

// The `Date` header has whole seconds and machines of one platform differ by a little.
constexpr std::chrono::seconds kClockSlack{5};
// Datasets are found by the job's UUID; the time only bounds how far back the list is read.
constexpr std::chrono::minutes kDatasetSlack{10};

std::string describe(const std::vector<platform::RemoteJobProblem>& problems) {
  std::string text;
  for (const platform::RemoteJobProblem& problem : problems) {
    if (!text.empty()) text += "; ";
    text += problem.code.empty() ? problem.message : problem.code + " " + problem.message;
  }
  return core::printable(text, 1000);
}

core::TimePoint notBefore(const StepContext& context) {
  return context.step.intendedAt.value_or(context.job.createdAt) - kClockSlack;
}

// --- evaluate_segment

store::StepResult resultOf(const platform::SegmentJob& job) {
  return {.segmentJobId = job.id, .remoteStatus = job.status};
}

std::vector<store::StepResult> findOwnSegmentJobs(StepContext& context) {
  const model::SegmentId segment(context.job.request.sourceId);
  std::vector<store::StepResult> found;
  context.tools.client.forEachSegmentJob(
      [&](const platform::SegmentJob& job) {
        if (job.created < notBefore(context)) return false;
        const bool same = job.segments.size() == 1 && job.segments.front() == segment;
        if (same && !context.tools.store.isSegmentJobOfAnother(job.id, context.job.id)) found.push_back(resultOf(job));
        return true;
      },
      context.stop);
  return found;
}

Turn startEvaluation(StepContext& context) {
  const model::SegmentId segment(context.job.request.sourceId);
  const store::StepResult started =
      doOnce(context, {.what = "evaluate the segment",
                       .prepare = [&] { requireSegment(context); },
                       .create = [&] { return resultOf(context.tools.client.startSegmentJob(segment, context.stop)); },
                       .lookUp = [&] { return findOwnSegmentJobs(context); }});
  context.tools.store.recordRemoteJob(context.job.id, started);
  return pollAgain(context, started.remoteStatus);
}

[[noreturn]] void throwRemoteEnd(const std::string& what, const std::string& status,
                                 const std::vector<platform::RemoteJobProblem>& problems, const std::string& requestId,
                                 const std::string& hint) {
  std::string message = what + " ended as " + core::printable(status, 60);
  if (!problems.empty()) message += ": " + describe(problems);
  throw Error(Category::remoteFailed, message, {.requestId = requestId, .hint = hint});
}

void reportProblems(StepContext& context, const std::string& what,
                    const std::vector<platform::RemoteJobProblem>& problems) {
  if (problems.empty()) return;
  const std::string text = what + " succeeded but reports errors: " + describe(problems);
  context.tools.store.addEvent(context.job.id, context.step.name, "remote_errors", text);
  context.tools.observer.notice(text);
}

// --- create_dataset

std::string datasetNameFor(const model::Job& job, const SegmentFacts& segment) {
  if (!job.request.segment.datasetName.empty()) return job.request.segment.datasetName;
  return "caiexport " + segment.name + " " + job.uuid;
}

void addIfOurs(const platform::Dataset& dataset, const std::string& uuid, std::vector<store::StepResult>& found) {
  if (dataset.description.find(uuid) == std::string::npos && dataset.name.find(uuid) == std::string::npos) return;
  const bool known =
      std::ranges::any_of(found, [&](const store::StepResult& other) { return other.datasetId == dataset.id; });
  if (!known) found.push_back({.datasetId = dataset.id, .datasetCreated = true});
}

std::vector<store::StepResult> findOwnDatasets(StepContext& context) {
  const model::Job& job = context.job;
  std::vector<store::StepResult> found;
  const std::string name = datasetNameFor(job, requireSegment(context));
  for (const platform::Dataset& dataset : context.tools.client.findDatasetsByName(name, context.stop)) {
    addIfOurs(dataset, job.uuid, found);
  }
  // The segment may have been renamed since, so the newest datasets are searched for the UUID too.
  const core::TimePoint oldest = notBefore(context) - kDatasetSlack;
  context.tools.client.forEachDataset(
      [&](const platform::Dataset& dataset) {
        if (dataset.created < oldest) return false;
        addIfOurs(dataset, job.uuid, found);
        return true;
      },
      context.stop);
  return found;
}

/// The newest that an earlier job made for this segment and that still exists.
std::optional<model::DatasetId> reusableDataset(StepContext& context) {
  for (const model::DatasetId& id : context.tools.store.datasetsMadeFor(context.job)) {
    if (context.tools.client.findDataset(id, context.stop)) return id;
  }
  return std::nullopt;
}

bool reuseDataset(StepContext& context) {
  // With an intent on record one of our own may exist already.
  if (!context.job.request.segment.reuse || context.step.intendedAt) return false;
  const std::optional<model::DatasetId> found = reusableDataset(context);
  if (!found) {
    context.tools.observer.notice("no earlier job made a dataset for this segment that still exists: making one");
    return false;
  }
  context.tools.store.addEvent(context.job.id, context.step.name, "dataset_reused", found->value());
  context.tools.store.finishStep(context.job.id, context.step.name, {.datasetId = *found});
  context.tools.observer.notice("exporting into dataset " + found->value() + ", which an earlier job made");
  return true;
}

// --- start_export

/// When the segment's newest segment job that succeeded was done; nothing if there is none among the newest, or this
/// caller may not see them.
std::optional<core::TimePoint> lastEvaluation(StepContext& context) {
  constexpr int kMostLookedAt = 1000;
  const model::SegmentId segment(context.job.request.sourceId);
  const model::SegmentId all("*");  // the scheduled evaluation of every segment
  std::optional<core::TimePoint> evaluated;
  int looked = 0;
  try {
    context.tools.client.forEachSegmentJob(
        [&](const platform::SegmentJob& job) {
          const bool meant =
              std::ranges::any_of(job.segments, [&](const model::SegmentId& id) { return id == segment || id == all; });
          if (meant && job.phase == RemotePhase::succeeded) evaluated = job.updated.value_or(job.created);
          return !evaluated && ++looked < kMostLookedAt;
        },
        context.stop);
  } catch (const Error& error) {
    switch (error.category()) {
      case Category::permission:
      case Category::notFound:
      case Category::tooOld:
      case Category::remoteFailed:
      case Category::protocol:
        context.tools.store.addEvent(context.job.id, context.step.name, "evaluation_unknown", error.what());
        return std::nullopt;
      case Category::usage:
      case Category::config:
      case Category::auth:
      case Category::timedOut:
      case Category::unavailable:
      case Category::verification:
      case Category::io:
      case Category::busy:
      case Category::blocked:
      case Category::interrupted:
      case Category::internal:
        throw;
    }
  }
  return evaluated;
}

/// Members are those of the last evaluation: nobody shall export last month's unknowingly.
void tellEvaluation(StepContext& context) {
  std::optional<core::TimePoint> evaluated = context.job.evaluatedAt;
  if (!evaluated) evaluated = lastEvaluation(context);
  if (evaluated && !context.job.evaluatedAt) {
    context.tools.store.recordRemoteJob(context.job.id, {.evaluatedAt = evaluated});
  }
  const std::string segment = "segment " + context.job.request.sourceId;
  const core::TimePoint now = context.tools.client.serverNow();
  const std::optional<core::Duration>& maxAge = context.job.request.guards.maxAge;
  if (evaluated) {
    requireFresh(maxAge, segment + " was last evaluated", *evaluated, now);
    context.tools.observer.notice(segment + " was last evaluated " + core::formatTime(*evaluated) + ", " +
                                  core::formatDuration(std::max(now - *evaluated, core::Duration::zero())) + " ago");
    return;
  }
  const std::string unknown = "when " + segment + " was last evaluated is not known";
  if (maxAge) {
    throw Error(Category::tooOld, unknown + ": its age can't be held against --max-age; nothing was exported",
                {.hint = "--evaluate counts its members anew"});
  }
  context.tools.observer.notice(unknown + " (--evaluate counts its members anew)");
}

platform::NewExportJob exportJobFor(const model::Job& job) {
  const model::SegmentOptions& options = job.request.segment;
  return {.dataset = job.datasetId,
          .segment = model::SegmentId(job.request.sourceId),
          .segmentNamespace = options.segmentNamespace,
          .statuses = options.statuses,
          .fields = options.fields,
          .mergePolicyId = options.mergePolicyId,
          .mergePolicyVersion = options.mergePolicyVersion};
}

bool sameSet(std::vector<std::string> left, std::vector<std::string> right) {
  std::ranges::sort(left);
  std::ranges::sort(right);
  return left == right;
}

bool isWhatWasAskedFor(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  if (candidate.dataset != asked.dataset || candidate.filters.size() != 1) return false;
  const platform::ExportJob::Filter& filter = candidate.filters.front();
  return filter.segment == asked.segment &&
         core::toLower(filter.segmentNamespace) == core::toLower(asked.segmentNamespace) &&
         sameSet(filter.statuses, asked.statuses) && sameSet(candidate.fields, asked.fields);
}

store::StepResult resultOf(const platform::ExportJob& job) {
  return {.exportJobId = job.id, .remoteStatus = job.status};
}

std::vector<store::StepResult> findOwnExportJobs(StepContext& context) {
  const platform::NewExportJob asked = exportJobFor(context.job);
  std::vector<store::StepResult> found;
  context.tools.client.forEachExportJob(
      [&](const platform::ExportJob& job) {
        if (job.created < notBefore(context)) return false;
        if (isWhatWasAskedFor(job, asked) && !context.tools.store.isExportJobOfAnother(job.id, context.job.id)) {
          found.push_back(resultOf(job));
        }
        return true;
      },
      context.stop);
  return found;
}

void requireDataset(StepContext& context) {
  if (context.tools.client.findDataset(context.job.datasetId, context.stop)) return;
  throw Error(Category::notFound,
              "dataset '" + context.job.datasetId.value() + "', the target of the export, does not exist in sandbox '" +
                  context.job.request.sandbox + "'",
              {.hint = "check --dataset and --sandbox"});
}

}  // namespace

SegmentFacts requireSegment(StepContext& context) {
  const model::ExportRequest& request = context.job.request;
  const std::optional<platform::SegmentDefinition> segment =
      context.tools.client.findSegment(model::SegmentId(request.sourceId), context.stop);
  if (segment) return {segment->name};
  throw Error(
      Category::notFound,
      "segment '" + request.sourceId + "' does not exist in sandbox '" + request.sandbox + "'; nothing was created",
      {.hint = "copy the id from the segment's page in Experience Platform, and check --sandbox"});
}

Turn evaluateSegment(StepContext& context) {
  if (context.job.segmentJobId.empty()) return startEvaluation(context);
  const auto job = context.tools.client.findSegmentJob(context.job.segmentJobId, context.stop);
  const std::string what = "segment job " + context.job.segmentJobId.value();
  if (!job) throw Error(Category::remoteFailed, what + " is not known to the platform any more");
  switch (job->phase) {
    case RemotePhase::moving:
      return pollAgain(context, job->status);
    case RemotePhase::succeeded:
      reportProblems(context, what, job->problems);
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

Turn createDataset(StepContext& context) {
  if (reuseDataset(context)) return {};
  SegmentFacts segment;
  store::StepResult result = doOnce(
      context, {.what = "create the dataset",
                .prepare = [&] { segment = requireSegment(context); },
                .create =
                    [&] {
                      const model::DatasetId id = context.tools.client.createDataset(
                          {.name = datasetNameFor(context.job, segment),
                           .description = "Audience export of segment " + segment.name + " (" +
                                          context.job.request.sourceId + ") by caiexport, job " + context.job.uuid},
                          context.stop);
                      return store::StepResult{.datasetId = id, .datasetCreated = true};
                    },
                .lookUp = [&] { return findOwnDatasets(context); }});
  context.tools.store.finishStep(context.job.id, context.step.name, result);
  return {};
}

Turn startExport(StepContext& context) {
  // An export that may have been started already is not held back by its age.
  if (!context.step.intendedAt) tellEvaluation(context);
  const store::StepResult result = doOnce(
      context,
      {.what = "export the segment",
       .prepare =
           [&] {
             if (context.job.datasetCreated) return;  // both were checked when it was created
             requireSegment(context);
             requireDataset(context);
           },
       .create = [&] { return resultOf(context.tools.client.startExportJob(exportJobFor(context.job), context.stop)); },
       .lookUp = [&] { return findOwnExportJobs(context); }});
  context.tools.store.finishStep(context.job.id, context.step.name, result);
  return {};
}

Turn awaitExport(StepContext& context) {
  const auto job = context.tools.client.findExportJob(context.job.exportJobId, context.stop);
  const std::string what = "export job " + context.job.exportJobId.value();
  if (!job) throw Error(Category::remoteFailed, what + " is not known to the platform any more");
  switch (job->phase) {
    case RemotePhase::moving:
      return pollAgain(context, job->status);
    case RemotePhase::succeeded:
      break;
    case RemotePhase::failed:
    case RemotePhase::cancelled:
      throwRemoteEnd(
          what, job->status, job->problems, job->requestId,
          "the dataset " + context.job.datasetId.value() + " is kept; start a new export when the cause is gone");
  }
  reportProblems(context, what, job->problems);
  std::vector<model::Batch> batches;
  for (const model::BatchId& id : job->batches) batches.push_back({.id = id});
  context.tools.store.finishStep(
      context.job.id, context.step.name,
      {.batches = std::move(batches), .reportedProfiles = job->exportedProfiles, .remoteStatus = job->status});
  return {};
}

Turn deleteDataset(StepContext& context) {
  if (context.job.datasetCreated) {
    context.tools.client.deleteDataset(context.job.datasetId, context.stop);
    context.tools.store.addEvent(context.job.id, context.step.name, "dataset_deleted", context.job.datasetId.value());
  }
  context.tools.store.finishStep(context.job.id, context.step.name, {});
  return {};
}

}  // namespace caiexport::engine
