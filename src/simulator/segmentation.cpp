/// Segmentation: segment definitions, and who answers which call.
#include "simulator/segmentation.h"

#include <algorithm>

#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

/// Of its last evaluation; empty if there was none.
JsonObject metricsOf(const State& state, const Segment& segment) {
  const std::optional<SegmentJob> job = lastEvaluationOf(state, segment);
  if (!job || !state.scenario.definitionMetrics) return object();
  const std::int64_t members = membersOfEach(state);
  return object(
      {{"jobId", job->id},
       {"id", segment.id},
       {"type", "export"},
       {"data", object({{"totalProfiles", members}, {"totalProfilesByStatus", object({{"realized", members}})}})},
       {"updateEpoch", toMilliseconds(job->state.updated) / 1000}});
}

JsonObject shownSegment(const State& state, const Segment& segment) {
  const auto enabled = [](bool on) { return object({{"enabled", on}}); };
  JsonObject shown =
      object({{"id", segment.id},
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
              {"lifecycleState", "published"},
              {"updateEpoch", 1748000000},
              {"updateTime", 1748000000000}});
  if (const JsonObject metrics = metricsOf(state, segment); metrics->size() > 0) shown->set("metrics", metrics);
  return shown;
}

JsonObject shownAudience(const State& state, const Segment& segment) {
  JsonObject shown = shownSegment(state, segment);
  shown->set("audienceId", segment.id);
  shown->set("namespace", segment.space.empty() ? "AEPSegments" : segment.space);
  shown->set("originName", segment.space.empty() ? "REAL_TIME_CUSTOMER_PROFILE" : segment.origin);
  return shown;
}

struct Paged {
  JsonArray shown = array();
  std::uint64_t page = 0;
  std::uint64_t limit = 0;
  std::uint64_t total = 0;
};

Paged pageOf(State& state, const Call& call, const char* parameter, bool everyOrigin) {
  Paged paged{.page = numberIn(call, parameter, 0, 0, INT32_MAX), .limit = numberIn(call, "limit", 20, 1, 100)};
  for (const Segment& segment : state.segments) {
    if (segment.sandbox != call.sandbox || (!everyOrigin && !segment.space.empty())) continue;
    const std::uint64_t at = paged.total++;
    if (at / paged.limit == paged.page) {
      paged.shown->add(everyOrigin ? shownAudience(state, segment) : shownSegment(state, segment));
    }
  }
  return paged;
}

Response listSegments(State& state, const Call& call) {
  const Paged paged = pageOf(state, call, "page", false);
  const std::string next =
      nextPage(state, "page", "@/segment/definitions", "/segment/definitions", paged.page, paged.limit, paged.total);
  return jsonAnswer(200, object({{"segments", paged.shown},
                                 {"page", object({{"totalCount", paged.total},
                                                  {"totalPages", (paged.total + paged.limit - 1) / paged.limit},
                                                  {"sortField", "creationTime"},
                                                  {"sort", "desc"},
                                                  {"pageSize", paged.shown->size()},
                                                  {"limit", paged.limit}})},
                                 {"link", next.empty() ? object() : object({{"next", next}})}}));
}

Response audiences(State& state, const Call& call) {
  if (!state.scenario.audiences) return problem(403, "UPAPI-113740", "Forbidden", "audiences are not to be had here");
  if (!call.isGet()) return methodNotAllowed();
  if (call.path.size() == 2) {
    for (const Segment& segment : state.segments) {
      if (segment.id == call.path[1] && segment.sandbox == call.sandbox) {
        return jsonAnswer(200, shownAudience(state, segment));
      }
    }
    return problem(404, "SGMT-0404", "Audience not found", call.path[1] + " is not known");
  }
  const Paged paged = pageOf(state, call, "start", true);
  const std::string next = nextPage(state, "start", "@/audiences", "/audiences", paged.page, paged.limit, paged.total);
  JsonObject page = object({{"totalCount", paged.total}, {"pageSize", paged.shown->size()}});
  if (!next.empty()) page->set("next", std::to_string(paged.page + 1));
  return jsonAnswer(200, object({{"children", paged.shown},
                                 {"_page", page},
                                 {"_links", object({{"next", next.empty() ? object() : object({{"href", next}})}})}}));
}

Response definitions(State& state, const Call& call) {
  if (!call.isGet()) return methodNotAllowed();
  if (call.path.size() == 2) return listSegments(state, call);
  const Segment* segment = state.findSegment(call.path[2], call.sandbox);
  return segment == nullptr || !segment->space.empty()
             ? problem(404, "SGMT-0404", "Segment definition not found", call.path[2] + " is not known")
             : jsonAnswer(200, shownSegment(state, *segment));
}

}  // namespace

std::string nextPage(const State& state, const char* parameter, const std::string& live, const std::string& documented,
                     std::uint64_t page, std::uint64_t limit, std::uint64_t total) {
  if ((page + 1) * limit >= total || state.scenario.segmentLinks == "none") return {};
  return (state.scenario.segmentLinks == "live" ? live : documented) + "?" + parameter + "=" +
         std::to_string(page + 1) + "&limit=" + std::to_string(limit) + "&totalCount=" + std::to_string(total);
}

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
  if (finished) return;
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
  if (!call.path.empty() && call.path[0] == "audiences" && call.path.size() <= 2) {
    call.route = std::string("/data/core/ups/audiences") + (call.path.size() > 1 ? "/{id}" : "");
    return audiences(state, call);
  }
  const std::string kind = call.path.size() > 1 ? call.path[0] + "/" + call.path[1] : "";
  call.route = "/data/core/ups/" + kind + (call.path.size() > 2 && !call.path[2].empty() ? "/{id}" : "");
  // Export jobs' next links have a slash before the question mark.
  if (call.path.size() == 3 && call.path[2].empty()) call.path.pop_back();
  if (call.path.size() > 3) return notFound(call.rawPath);
  if (kind == "segment/definitions") return definitions(state, call);
  if (kind == "segment/jobs") return segmentJobs(state, call);
  return kind == "export/jobs" ? exportJobs(state, call) : notFound(call.rawPath);
}

}  // namespace caiexport::simulator
