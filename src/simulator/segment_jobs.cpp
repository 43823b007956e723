#include <algorithm>

#include "simulator/numbering.h"
#include "simulator/segmentation.h"

namespace caiexport::simulator {
namespace {

std::string newJobId(State& state) {
  return "d3b4a50d-dfea-43eb-9fca-" + paddedHex(++state.lastNumber, 12);
}

JsonObject metricsOf(const State& state, const SegmentJob& job) {
  JsonObject metrics = object({{"totalTime", timeSpan(job.state)}});
  if (job.state.status == "SUCCEEDED") {
    const auto members = static_cast<std::int64_t>(state.scenario.records / 4);
    JsonObject counters = object();
    JsonObject byStatus = object();
    for (const std::string& id : job.segmentIds) {
      counters->set(id, members);
      byStatus->set(id, object({{"realized", members}, {"exited", 0}}));
    }
    metrics->set("totalProfiles", static_cast<std::int64_t>(state.scenario.records));
    metrics->set("segmentedProfileCounter", counters);
    metrics->set("segmentedProfileByStatusCounter", byStatus);
  }
  return metrics;
}

JsonObject shownJob(const State& state, const SegmentJob& job) {
  JsonArray segments = array();
  for (const std::string& id : job.segmentIds) {
    segments->add(object({{"segmentId", id}}));
  }
  const auto link = [&](const char* method) {
    return object({{"href", "/segment/jobs/" + job.id}, {"method", method}});
  };
  return object({{"id", job.id},
                 {"imsOrgId", state.scenario.organization},
                 {"status", job.state.status},
                 {"batchId", "678f53bc-e21d-4c47-a7ec-5ad0064f8e4c"},
                 {"computeJobId", 8811},
                 {"computeGatewayJobId", "9ea97b25-a0f5-410e-ae87-b2d85e58f399"},
                 {"segments", segments},
                 {"metrics", metricsOf(state, job)},
                 {"errors", job.state.status == "FAILED" ? jobErrors("evaluation failed") : array()},
                 {"requestId", "sim-request-of-" + job.id},
                 {"source", "api"},
                 {"_links", object({{"cancel", link("DELETE")}, {"checkStatus", link("GET")}})},
                 {"profileInstanceId", "ups"},
                 {"creationTime", toMilliseconds(job.state.created)},
                 {"updateTime", toMilliseconds(job.state.updated)},
                 {"updateEpoch", toMilliseconds(job.state.updated) / 1000}});
}

/// `[{"segmentId": X}]`, or an object with `segments` for more than 1500 of them.
JsonArray segmentsIn(const Json& body) {
  const JsonObject wrapped = asObject(body);
  JsonArray list = wrapped ? arrayIn(wrapped, "segments") : asArray(body);
  if (!list || list->size() == 0) {
    throw Refused{problem(400, "UPSRV-0400", "Bad Request", "the body must be an array of objects with segmentId")};
  }
  return list;
}

Response create(State& state, const Call& call) {
  SegmentJob job{.sandbox = call.sandbox, .segmentIds = checkedSegments(state, call, segmentsIn(bodyOf(call)))};
  job.id = newJobId(state);
  job.state.created = job.state.updated = state.now();
  ++state.statistics.segmentJobsAccepted;
  state.segmentJobs.push_back(job);
  return jsonAnswer(200, shownJob(state, job));
}

bool hasSegment(const SegmentJob& job, const std::string& property) {
  constexpr std::string_view prefix = "segments~segmentId==";
  return !property.starts_with(prefix) || std::find(job.segmentIds.begin(), job.segmentIds.end(),
                                                    property.substr(prefix.size())) != job.segmentIds.end();
}

/// Newest first. An empty next object means the end.
Response list(State& state, const Call& call) {
  const std::uint64_t limit = numberIn(call, "limit", 100, 1, 100);
  const std::uint64_t start = numberIn(call, "start", 0, 0, INT32_MAX);
  std::vector<const SegmentJob*> all;
  for (auto job = state.segmentJobs.rbegin(); job != state.segmentJobs.rend(); ++job) {
    const bool wanted = call.query.get("status").value_or(job->state.status) == job->state.status &&
                        hasSegment(*job, call.query.get("property").value_or(""));
    if (job->sandbox == call.sandbox && wanted) {
      all.push_back(&*job);
    }
  }
  JsonArray children = array();
  for (std::uint64_t at = start; at < all.size() && at - start < limit; ++at) {
    children->add(shownJob(state, *all[at]));
  }
  JsonObject next = object();
  if (start + limit < all.size()) {
    next->set("href", "/segment/jobs?start=" + std::to_string(start + limit) + "&limit=" + std::to_string(limit));
  }
  return jsonAnswer(200, object({{"_page", object({{"totalCount", all.size()}, {"pageSize", children->size()}})},
                                 {"children", children},
                                 {"_links", object({{"next", next}})}}));
}

Response one(State& state, const Call& call, SegmentJob& job) {
  if (call.isGet()) {
    moveOn(job.state, state.scenario.segmentJobPolls, state.scenario.segmentJobResult, state.scenario.unknownStatus,
           state.now());
    return jsonAnswer(200, shownJob(state, job));
  }
  if (call.request.method != "DELETE") {
    return methodNotAllowed();
  }
  job.state.status = "CANCELLING";
  return cancelAnswer(state, "Segment job");
}

}  // namespace

Response segmentJobs(State& state, Call& call) {
  if (call.path.size() == 2) {
    return call.request.method == "POST" ? create(state, call)
                                         : (call.isGet() ? list(state, call) : methodNotAllowed());
  }
  for (SegmentJob& job : state.segmentJobs) {
    if (job.id == call.path[2] && job.sandbox == call.sandbox) {
      return one(state, call, job);
    }
  }
  return problem(404, "SGMT-0404", "Segment job not found", call.path[2] + " is not known");
}

}  // namespace caiexport::simulator
