/// The head of an audience export: what happens on the platform before there is a batch to read.

#include <algorithm>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "create_once.h"

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

// --- start_export

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
      context.tools.store.finishStep(context.job.id, context.step.name, {.remoteStatus = job->status});
      return {};
    case RemotePhase::failed:
    case RemotePhase::cancelled:
      break;
  }
  throwRemoteEnd(what, job->status, job->problems, job->requestId,
                 "start again without --evaluate, or look at the segment");
}

Turn createDataset(StepContext& context) {
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
