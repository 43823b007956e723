#pragma once
/// The plan apart from the doing: which steps, in which order, and what may become of a step. Pure functions.

#include <optional>
#include <span>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::model {

/// The steps of a request, in order. Nothing later asks which path it was.
std::vector<StepName> makePlan(const ExportRequest& request);

/// Whether a step may go from one state to the other (a state may be entered again).
bool isLegalTransition(StepState from, StepState to);

/// The first step that is not done; nothing when all are.
std::optional<StepName> currentStep(std::span<const Step> steps);

/// What `steps`, `cancelled` and whether a process holds the job say together.
JobStatus statusOf(const Job& job, bool held);

/// Ids of batches that another batch of the list supersedes (`replay.predecessors`).
std::vector<BatchId> replacedAmong(std::span<const Batch> batches);

/// Ranges sorted, merged and cut to `lengthBytes`.
std::vector<ByteRange> normalized(std::vector<ByteRange> ranges, std::uint64_t lengthBytes);

/// What is missing between 0 and `lengthBytes`, given normalized ranges.
std::vector<ByteRange> missing(std::span<const ByteRange> done, std::uint64_t lengthBytes);

}  // namespace caiexport::model
