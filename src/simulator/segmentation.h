#pragma once
/// What export jobs and segment jobs have in common.

#include <optional>
#include <string>
#include <vector>

#include "simulator/service.h"

namespace caiexport::simulator {

Response exportJobs(State& state, Call& call);
Response segmentJobs(State& state, Call& call);

/// The job that counted the segment's members last; nothing if none has.
std::optional<SegmentJob> lastEvaluationOf(const State& state, const Segment& segment);
/// How many members every segment has.
std::int64_t membersOfEach(const State& state);

/// What leads to the page after `page`: a path that is not the real one, as the platform has it, or the documented one.
std::string nextPage(const State& state, const char* parameter, const std::string& live, const std::string& documented,
                     std::uint64_t page, std::uint64_t limit, std::uint64_t total);

/// The ids of `[{"segmentId": ...}]`; throws Refused for one that is not known (`*` stands for all).
std::vector<std::string> checkedSegments(State& state, const Call& call, const JsonArray& list);

/// A poll moves a job on: to `result` once there were `pollsNeeded`, to CANCELLED from CANCELLING.
void moveOn(JobState& job, std::uint64_t pollsNeeded, const std::string& result, const std::string& unknownStatus,
            core::TimePoint now);

JsonObject timeSpan(const JobState& job);
JsonArray jobErrors(const std::string& message);
Response cancelAnswer(const State& state, const std::string& what);

}  // namespace caiexport::simulator
