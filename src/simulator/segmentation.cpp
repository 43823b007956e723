/// Segmentation: segment definitions, and who answers which call.
#include "simulator/segmentation.h"

#include <algorithm>

#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

JsonObject shownSegment(const State& state, const Segment& segment) {
  const auto enabled = [](bool on) { return object({{"enabled", on}}); };
  return object(
      {{"id", segment.id},
       {"name", segment.name},
       {"description", segment.description},
       {"expression",
        object({{"type", "PQL"}, {"format", "pql/text"}, {"value", "_tenant.customerAI.churn_q3.score >= 75"}})},
       {"mergePolicyId", "8bf7b5b3-0cb8-4f14-a0f0-5fcf1d2c0f4f"},
       {"schema", object({{"name", "_xdm.context.profile"}})},
       {"evaluationInfo",
        object({{"batch", enabled(true)}, {"continuous", enabled(false)}, {"synchronous", enabled(false)}})},
       {"dataGovernancePolicy", object({{"excludeOptOut", true}})},
       {"ttlInDays", 60},
       {"sandbox", object({{"sandboxName", segment.sandbox}, {"type", "production"}, {"default", true}})},
       {"imsOrgId", state.scenario.organization},
       {"profileInstanceId", "ups"},
       {"creationTime", 1748000000000},
       {"updateEpoch", 1748000000},
       {"updateTime", 1748000000000}});
}

Response listSegments(State& state, const Call& call) {
  const std::uint64_t limit = numberIn(call, "limit", 20, 1, 100);
  const std::uint64_t start =
      numberIn(call, "start", 0, 0, INT32_MAX) + numberIn(call, "page", 0, 0, INT32_MAX) * limit;
  std::vector<const Segment*> all;
  for (const Segment& segment : state.segments) {
    if (segment.sandbox == call.sandbox) {
      all.push_back(&segment);
    }
  }
  JsonArray shown = array();
  for (std::uint64_t at = start; at < all.size() && at - start < limit; ++at) {
    shown->add(shownSegment(state, *all[at]));
  }
  return jsonAnswer(
      200, object({{"segments", shown},
                   {"page",
                    object({{"totalCount", all.size()},
                            {"totalPages", all.empty() ? 0 : (all.size() - 1) / std::max<std::uint64_t>(limit, 1) + 1},
                            {"sortField", "creationTime"},
                            {"sort", "desc"},
                            {"pageSize", shown->size()},
                            {"limit", limit}})},
                   {"link", object()}}));
}

Response definitions(State& state, const Call& call) {
  if (!call.isGet()) {
    return methodNotAllowed();
  }
  if (call.path.size() == 2) {
    return listSegments(state, call);
  }
  const Segment* segment = state.findSegment(call.path[2], call.sandbox);
  return segment == nullptr ? problem(404, "SGMT-0404", "Segment definition not found", call.path[2] + " is not known")
                            : jsonAnswer(200, shownSegment(state, *segment));
}

}  // namespace

std::vector<std::string> checkedSegments(State& state, const Call& call, const JsonArray& list) {
  std::vector<std::string> ids;
  for (std::size_t at = 0; list && at < list->size(); ++at) {
    const JsonObject element = asObject(list->get(static_cast<unsigned>(at)));
    const std::string id = element ? stringIn(element, "segmentId").value_or("") : "";
    if (id != "*" && state.findSegment(id, call.sandbox) == nullptr) {
      throw Refused{problem(400, "UPSRV-0400", "Bad Request", "segment '" + id + "' does not exist")};
    }
    ids.push_back(id);
  }
  return ids;
}

void moveOn(JobState& job, std::uint64_t pollsNeeded, const std::string& result, const std::string& unknownStatus,
            core::TimePoint now) {
  const bool finished = job.status == "SUCCEEDED" || job.status == "FAILED" || job.status == "CANCELLED";
  if (finished) {
    return;
  }
  ++job.polls;
  job.updated = now;
  if (job.status == "CANCELLING") {
    job.status = "CANCELLED";
  } else if (job.polls >= pollsNeeded) {
    job.status = result;
  } else {
    job.status = unknownStatus.empty() ? "PROCESSING" : unknownStatus;
  }
}

JsonObject timeSpan(const JobState& job) {
  const std::int64_t begin = toMilliseconds(job.created);
  JsonObject span = object({{"startTimeInMs", begin}});
  if (job.status == "SUCCEEDED") {
    span->set("endTimeInMs", toMilliseconds(job.updated));
    span->set("totalTimeInMs", toMilliseconds(job.updated) - begin);
  }
  return span;
}

JsonArray jobErrors(const std::string& message) {
  return array({object({{"code", "1000001"}, {"msg", message}, {"callStack", "com.adobe.simulator.Export"}})});
}

Response cancelAnswer(const State& state, const std::string& what) {
  const int status = std::stoi(state.scenario.deleteReply);
  return status == 204
             ? Response{.status = 204}
             : jsonAnswer(status, object({{"status", true}, {"message", what + " has been marked for cancelling"}}));
}

Response segmentation(State& state, Call& call) {
  const std::string kind = call.path.size() > 1 ? call.path[0] + "/" + call.path[1] : "";
  call.route = "/data/core/ups/" + kind + (call.path.size() > 2 && !call.path[2].empty() ? "/{id}" : "");
  // Export jobs' next links have a slash before the question mark.
  if (call.path.size() == 3 && call.path[2].empty()) {
    call.path.pop_back();
  }
  if (call.path.size() > 3) {
    return notFound(call.rawPath);
  }
  if (kind == "segment/definitions") {
    return definitions(state, call);
  }
  if (kind == "segment/jobs") {
    return segmentJobs(state, call);
  }
  return kind == "export/jobs" ? exportJobs(state, call) : notFound(call.rawPath);
}

}  // namespace caiexport::simulator
