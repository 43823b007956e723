#pragma once
/// What export jobs and segment jobs have in common.

#include <string>
#include <vector>

#include "simulator/service.h"

namespace caiexport::simulator {

Response exportJobs(State& state, Call& call);
Response segmentJobs(State& state, Call& call);

/// The ids of `[{"segmentId": ...}]`; throws Refused for one that is not known (`*` stands for all).
std::vector<std::string> checkedSegments(State& state, const Call& call, const JsonArray& list);

/// A poll moves a job on: to `result` once there were `pollsNeeded`, to CANCELLED from CANCELLING.
void moveOn(JobState& job, std::uint64_t pollsNeeded, const std::string& result, const std::string& unknownStatus,
            core::TimePoint now);

JsonObject timeSpan(const JobState& job);
JsonArray jobErrors(const std::string& message);
Response cancelAnswer(const State& state, const std::string& what);

}  // namespace caiexport::simulator
