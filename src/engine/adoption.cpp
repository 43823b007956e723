#include "adoption.h"

#include <algorithm>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "likeness.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Job;

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

void adopt(Tools& tools, const Job& job, model::StepName step, const std::string& id, std::stop_token stop) {
  if (step == model::StepName::startExport) return adoptExportJob(tools, job, id, std::move(stop));
  if (step == model::StepName::createDataset) return adoptDataset(tools, job, id, std::move(stop));
  adoptSegmentJob(tools, job, id, std::move(stop));
}

}  // namespace caiexport::engine
