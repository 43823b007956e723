/// The head of an audience export: what happens on the platform before there is a batch to read.

#include <algorithm>
#include <cmath>

#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "create_once.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using platform::RemotePhase;

std::string describe(std::span<const platform::RemoteJobProblem> problems) {
  std::string text;
  for (const platform::RemoteJobProblem& problem : problems) {
    if (!text.empty()) text += "; ";
    text += problem.code.empty() ? problem.message : problem.code + " " + problem.message;
  }
  return core::printable(text, 1000);
}

// --- create_dataset

std::string datasetNameFor(const model::Job& job, const SegmentFacts& segment) {
  if (!job.request.segment.datasetName.empty()) return job.request.segment.datasetName;
  return "caiexport " + segment.name + " " + job.uuid;
}

void addIfOurs(const platform::Dataset& dataset, const std::string& uuid, std::vector<Candidate>& found) {
  if (!bears(dataset, uuid)) return;
  const bool known = std::ranges::any_of(found, [&](const Candidate& other) { return other.id == dataset.id.value(); });
  if (known) return;
  found.push_back({.id = dataset.id.value(), .result = {.datasetId = dataset.id, .datasetCreated = true}});
}

/// They bear the job's UUID: nobody else's does, whenever they were made.
std::vector<Candidate> findOwnDatasets(StepContext& context) {
  const model::Job& job = context.job;
  std::vector<Candidate> found;
  const std::string name = datasetNameFor(job, requireSegments(context));
  for (const platform::Dataset& dataset : context.tools.client.findDatasetsByName(name, context.stop)) {
    addIfOurs(dataset, job.uuid, found);
  }
  if (!found.empty()) return found;
  // The segment may have been renamed since, so all are searched for the UUID.
  context.tools.client.forEachDataset(
      [&](const platform::Dataset& dataset) {
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

store::StepResult resultOf(const platform::ExportJob& job) {
  return {.exportJobId = job.id, .remoteStatus = job.status};
}

/// Empty where it is not known.
std::string mergePolicyOfSegments(StepContext& context) {
  try {
    return requireSegments(context).mergePolicyId;
  } catch (const Error& error) {
    // Deleted since; what was asked for is looked for all the same.
    if (error.category() != Category::notFound) throw;
    return {};
  }
}

/// Where none was asked for, the platform takes the segments' own; an export with another one is somebody else's.
bool mergesAsAsked(StepContext& context, const platform::NewExportJob& asked, const platform::ExportJob& job) {
  if (!asked.scope.mergePolicyId.empty() || job.scope.mergePolicyId.empty()) return true;
  const std::string own = mergePolicyOfSegments(context);
  return own.empty() || own == job.scope.mergePolicyId;
}

bool mayBeOurs(StepContext& context, const platform::NewExportJob& asked, const platform::ExportJob& job) {
  if (!isWhatWasAskedFor(job, asked) || context.tools.store.isExportJobOfAnother(job.id, context.job.id)) return false;
  // Into a dataset that this job made nobody else exports.
  return context.job.datasetCreated || mergesAsAsked(context, asked, job);
}

std::vector<Candidate> exportJobsLikeOurs(StepContext& context) {
  const platform::NewExportJob asked = exportJobFor(context.job);
  std::vector<Candidate> found;
  context.tools.client.forEachExportJob(
      [&](const platform::ExportJob& job) {
        if (!mayBeOurs(context, asked, job)) return true;
        found.push_back({.id = job.id.value(), .result = resultOf(job)});
        // Into a dataset that this job made nobody else exports.
        if (!context.job.datasetCreated) found.back().created = job.created;
        return true;
      },
      context.stop);
  return found;
}

/// Its batches, where it names none, are in the target's list by now.
bool hasLongEnded(StepContext& context, const platform::ExportJob& job) {
  if (job.phase != RemotePhase::succeeded) return false;
  return !job.updated || *job.updated < context.tools.client.serverNow() - std::chrono::minutes(10);
}

/// Jobs like ours, and what the shared target holds, before the request.
store::SeenBefore whatThereWas(StepContext& context) {
  const platform::NewExportJob asked = exportJobFor(context.job);
  store::SeenBefore before;
  context.tools.client.forEachExportJob(
      [&](const platform::ExportJob& job) {
        if (isWhatWasAskedFor(job, asked)) before.jobs.push_back(job.id.value());
        if (job.dataset == asked.dataset && hasLongEnded(context, job)) before.ended.push_back(job.id.value());
        return true;
      },
      context.stop);
  context.tools.client.forEachBatch(
      {.dataset = context.job.datasetId, .statuses = {}},
      [&](const model::Batch& batch) {
        before.batches.push_back(batch.id.value());
        return true;
      },
      context.stop);
  return before;
}

void requireDataset(StepContext& context) {
  if (context.tools.client.findDataset(context.job.datasetId, context.stop)) return;
  throw UnknownId("dataset '" + context.job.datasetId.value() +
                      "', the target of the export, does not exist in sandbox '" + context.job.request.sandbox + "'",
                  {.hint = "check --dataset and --sandbox"});
}

/// Definitions know the platform's own segments alone; other namespaces are audiences.
platform::SegmentDefinition requireOne(StepContext& context, const model::SegmentId& id) {
  const model::ExportRequest& request = context.job.request;
  const std::string& space = request.segment.segmentNamespace;
  const bool own = core::toLower(space) == "ups";
  const auto found =
      own ? context.tools.client.findSegment(id, context.stop) : context.tools.client.findAudience(id, context.stop);
  const std::string what = own ? "segment '" + id.value() + "'" : "audience '" + id.value() + "' of namespace " + space;
  if (!found) {
    throw UnknownId(
        what + " does not exist in sandbox '" + request.sandbox + "'; nothing was created",
        {.hint = own ? "copy the id from the segment's page in Experience Platform, and check --sandbox; an "
                       "audience of another origin needs its --namespace (caiexport segments lists them)"
                     : "caiexport segments lists audiences with their ids and namespaces; check --sandbox"});
  }
  const std::string& actual = found->segmentNamespace;
  if (!own && !actual.empty() && core::toLower(actual) != core::toLower(space)) {
    throw Error(Category::notFound,
                what + " is of namespace " + core::printable(actual, 60) + " there; nothing was created",
                {.hint = "export it with --namespace " + core::printable(actual, 60)});
  }
  return *found;
}

/// Of several segments the platform does not know by whose policy to merge.
void requireOneMergePolicy(const model::ExportRequest& request,
                           const std::vector<platform::SegmentDefinition>& segments) {
  if (!request.segment.mergePolicyId.empty()) return;
  for (const platform::SegmentDefinition& segment : segments) {
    if (segment.mergePolicyId == segments.front().mergePolicyId) continue;
    throw Error(Category::usage,
                "segments '" + segments.front().id.value() + "' and '" + segment.id.value() +
                    "' have different merge policies; nothing was created",
                {.hint = "choose one with --merge-policy ID, or export the segments one by one"});
  }
}

SegmentFacts takenTogether(const std::vector<platform::SegmentDefinition>& segments) {
  SegmentFacts facts{.name = segments.front().name,
                     .mergePolicyId = segments.front().mergePolicyId,
                     .evaluatedAt = segments.front().evaluatedAt};
  for (const platform::SegmentDefinition& segment : segments) {
    facts.evaluatedAt = segment.evaluatedAt && facts.evaluatedAt
                            ? std::optional(std::min(*segment.evaluatedAt, *facts.evaluatedAt))
                            : std::nullopt;
  }
  if (segments.size() == 1) facts.members = segments.front().members;
  if (segments.size() > 1) facts.name += " and " + std::to_string(segments.size() - 1) + " more";
  return facts;
}

// --- waiting for the platform

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

void throwRemoteEnd(const std::string& what, const std::string& status,
                    std::span<const platform::RemoteJobProblem> problems, const std::string& requestId,
                    const std::string& hint) {
  std::string message = what + " ended as " + core::printable(status, 60);
  if (!problems.empty()) message += ": " + describe(problems);
  throw Error(Category::remoteFailed, message, {.requestId = requestId, .hint = hint});
}

void reportProblems(StepContext& context, const std::string& what,
                    std::span<const platform::RemoteJobProblem> problems) {
  if (problems.empty()) return;
  const std::string text = what + " succeeded but reports errors: " + describe(problems);
  context.tools.store.addEvent(context.job.id, context.step.name, "remote_errors", text);
  context.tools.observer.notice(text);
}

Turn pollAgain(StepContext& context, std::string_view remoteStatus) {
  Tools& tools = context.tools;
  if (context.run.polls == 0) context.run.waitingSince = tools.clock.steadyNow();
  const std::optional<core::Duration> left = timeLeft(context);
  const std::string shown = core::printable(remoteStatus, 60);
  tools.store.setWaiting(context.job.id, context.step.name, shown,
                         left ? std::optional(tools.clock.now() + *left) : std::nullopt);
  if (left && *left <= core::Duration::zero()) {
    const std::string job = std::to_string(model::numberOf(context.job.id));
    throw Error(Category::timedOut,
                "waited " + core::formatDuration(*context.job.request.segment.timeout) +
                    " for the platform, whose last status was " + shown + "; its job goes on",
                {.hint = "caiexport resume " + job + " waits again; caiexport cancel " + job + " stops the job"});
  }
  core::Duration wait = nextWait(context.job.request.segment, context.run.polls, tools.client.lastRetryAfter());
  if (left) wait = std::min(wait, *left);
  ++context.run.polls;
  return {.wait = wait, .remoteStatus = shown};
}

const SegmentFacts& requireSegments(StepContext& context) {
  if (context.run.segments) return *context.run.segments;
  std::vector<platform::SegmentDefinition> segments;
  for (const model::SegmentId& id : model::segmentsOf(context.job.request)) {
    segments.push_back(requireOne(context, id));
  }
  requireOneMergePolicy(context.job.request, segments);
  return context.run.segments.emplace(takenTogether(segments));
}

Turn createDataset(StepContext& context) {
  // What is too old to be exported needs no dataset.
  if (!context.step.intendedAt) tellEvaluation(context);
  if (reuseDataset(context)) return {};
  SegmentFacts segment;
  store::StepResult result = doOnce(
      context, {.what = "create the dataset",
                .prepare = [&] { segment = requireSegments(context); },
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
             requireSegments(context);
             requireDataset(context);
           },
       .create = [&] { return resultOf(context.tools.client.startExportJob(exportJobFor(context.job), context.stop)); },
       .lookUp = [&] { return exportJobsLikeOurs(context); },
       .before =
           context.job.datasetCreated ? std::function<store::SeenBefore()>() : [&] { return whatThereWas(context); }});
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
    // It may be the only other copy.
    requireFilesBeforeDeletion(context);
    context.tools.client.deleteDataset(context.job.datasetId, context.stop);
    context.tools.store.addEvent(context.job.id, context.step.name, "dataset_deleted", context.job.datasetId.value());
  }
  context.tools.store.finishStep(context.job.id, context.step.name, {});
  return {};
}

}  // namespace caiexport::engine
