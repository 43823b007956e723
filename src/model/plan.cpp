#include "caiexport/model/plan.h"

#include <algorithm>
#include <set>

#include "caiexport/model/replacement.h"

#include "caiexport/core/text.h"

namespace caiexport::model {

std::vector<SegmentId> segmentsOf(const ExportRequest& request) {
  std::vector<SegmentId> segments;
  for (std::string& id : core::splitList(request.sourceId)) segments.emplace_back(std::move(id));
  return segments;
}

std::vector<StepName> makePlan(const ExportRequest& request) {
  std::vector<StepName> steps;
  const SegmentOptions& segment = request.segment;
  if (request.kind == Kind::segment) {
    if (segment.evaluate || segment.waitForEvaluation) steps.push_back(StepName::evaluateSegment);
    if (segment.targetDataset.empty()) steps.push_back(StepName::createDataset);
    steps.push_back(StepName::startExport);
    steps.push_back(StepName::awaitExport);
  }
  steps.push_back(StepName::selectBatches);
  steps.push_back(StepName::listFiles);
  if (request.download) {
    steps.push_back(StepName::downloadFiles);
    steps.push_back(StepName::verifyFiles);
  }
  if (request.kind == Kind::segment && segment.deleteDataset) steps.push_back(StepName::deleteDataset);
  return steps;
}

bool isLegalTransition(StepState from, StepState to) {
  switch (from) {
    case StepState::pending:
      return to != StepState::blocked;
    case StepState::intended:
      return true;
    case StepState::waiting:
      return to != StepState::pending && to != StepState::intended;
    case StepState::done:
      return to == StepState::done;
    case StepState::failed:
    case StepState::blocked:
      return true;  // `resume` may try again; a blocked step is decided by the user
  }
  return false;
}

std::optional<StepName> currentStep(std::span<const Step> steps) {
  for (const Step& step : steps) {
    if (step.state != StepState::done) return step.name;
  }
  return std::nullopt;
}

JobStatus statusOf(const Job& job, bool held) {
  if (job.cancelled) return JobStatus::cancelled;
  const auto unfinished =
      std::ranges::find_if(job.steps, [](const Step& step) { return step.state != StepState::done; });
  if (unfinished == job.steps.end()) return JobStatus::succeeded;
  if (unfinished->state == StepState::waiting) return JobStatus::waiting;
  if (held) return JobStatus::running;
  if (unfinished->state == StepState::blocked) return JobStatus::blocked;
  if (unfinished->state == StepState::failed) return JobStatus::failed;
  const bool untouched = std::ranges::all_of(job.steps, [](const Step& step) { return step.attempts == 0; });
  return untouched ? JobStatus::pending : JobStatus::interrupted;
}

std::vector<BatchId> replacedAmong(std::span<const Batch> batches) {
  std::set<BatchId> superseded;
  for (Superseded& one : supersededBy(batches)) superseded.insert(std::move(one.batch));
  std::vector<BatchId> replaced;
  for (const Batch& batch : batches) {
    if (superseded.contains(batch.id)) replaced.push_back(batch.id);
  }
  return replaced;
}

std::vector<ByteRange> normalized(std::vector<ByteRange> ranges, std::uint64_t lengthBytes) {
  std::ranges::sort(ranges, {}, &ByteRange::first);
  std::vector<ByteRange> merged;
  for (ByteRange range : ranges) {
    range.end = std::min(range.end, lengthBytes);
    if (range.first >= range.end) continue;
    if (!merged.empty() && range.first <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

std::vector<ByteRange> missing(std::span<const ByteRange> done, std::uint64_t lengthBytes) {
  std::vector<ByteRange> gaps;
  std::uint64_t reached = 0;
  for (const ByteRange& range : done) {
    if (range.first > reached) gaps.push_back({reached, range.first});
    reached = std::max(reached, range.end);
  }
  if (reached < lengthBytes) gaps.push_back({reached, lengthBytes});
  return gaps;
}

}  // namespace caiexport::model
