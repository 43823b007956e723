/// Segmentation: segment definitions, jobs that evaluate them, and who answers which call.
#include <algorithm>

#include "caiexport/core/text.h"
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

/// What leads to the page after `page`: a path that is not the real one, as the platform has it, or the documented one.
std::string nextPage(const State& state, const char* parameter, const std::string& live, const std::string& documented,
                     std::uint64_t page, std::uint64_t limit, std::uint64_t total) {
  if ((page + 1) * limit >= total || state.scenario.segmentLinks == "none") return {};
  return (state.scenario.segmentLinks == "live" ? live : documented) + "?" + parameter + "=" +
         std::to_string(page + 1) + "&limit=" + std::to_string(limit) + "&totalCount=" + std::to_string(total);
}

/// A page of a list, and what leads to the next one: nothing at the end.
Response childrenAnswer(const JsonArray& children, std::uint64_t total, const std::string& next, std::uint64_t number) {
  JsonObject page = object({{"totalCount", total}, {"pageSize", children->size()}});
  if (!next.empty()) page->set("next", std::to_string(number));
  return jsonAnswer(200, object({{"_page", page},
                                 {"children", children},
                                 {"_links", object({{"next", next.empty() ? object() : object({{"href", next}})}})}}));
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
    const Segment* segment = state.findSegment(call.path[1], call.sandbox);
    if (segment != nullptr) return jsonAnswer(200, shownAudience(state, *segment));
    return problem(404, "SGMT-0404", "Audience not found", call.path[1] + " is not known");
  }
  const Paged paged = pageOf(state, call, "start", true);
  const std::string next = nextPage(state, "start", "@/audiences", "/audiences", paged.page, paged.limit, paged.total);
  return childrenAnswer(paged.shown, paged.total, next, paged.page + 1);
}

Response definitions(State& state, const Call& call) {
  if (!call.isGet()) return methodNotAllowed();
  if (call.path.size() == 2) return listSegments(state, call);
  const Segment* segment = state.findSegment(call.path[2], call.sandbox);
  return segment == nullptr || !segment->space.empty()
             ? problem(404, "SGMT-0404", "Segment definition not found", call.path[2] + " is not known")
             : jsonAnswer(200, shownSegment(state, *segment));
}

std::string newJobId(State& state) {
  return "d3b4a50d-dfea-43eb-9fca-" + paddedHex(++state.lastNumber, 12);
}

/// The scheduled evaluation of every segment, at two in the night. `age` 0 is the last one.
SegmentJob nightly(const State& state, const std::string& sandbox, std::uint64_t age) {
  auto at = std::chrono::floor<std::chrono::days>(state.now()) + std::chrono::hours(2);
  if (at > state.now()) at -= std::chrono::days(1);
  const core::TimePoint when = at - std::chrono::days(age);
  const auto day = std::chrono::floor<std::chrono::days>(when).time_since_epoch().count();
  SegmentJob job{.id = "a7d1c6f0-0000-4000-8000-" + paddedHex(static_cast<std::uint64_t>(day), 12),
                 .sandbox = sandbox,
                 .state = {.status = "SUCCEEDED", .created = when - std::chrono::minutes(30), .updated = when},
                 .segmentIds = {"*"}};
  return job;
}

/// All jobs of a sandbox, oldest first.
std::vector<SegmentJob> jobsOf(const State& state, const std::string& sandbox) {
  std::vector<SegmentJob> jobs;
  for (std::uint64_t age = state.scenario.nightlyEvaluations; age-- > 0;) jobs.push_back(nightly(state, sandbox, age));
  for (const SegmentJob& job : state.segmentJobs) {
    if (job.sandbox == sandbox) jobs.push_back(job);
  }
  std::ranges::stable_sort(jobs, {}, [](const SegmentJob& job) { return job.state.created; });
  return jobs;
}

std::vector<std::string> countedBy(const State& state, const SegmentJob& job) {
  if (job.segmentIds != std::vector<std::string>{"*"}) return job.segmentIds;
  std::vector<std::string> ids;
  for (const Segment& segment : state.segments) ids.push_back(segment.id);
  for (std::uint64_t number = 0; number < state.scenario.audiencesEvaluated; ++number) {
    ids.push_back("5c1f3a52-77d4-4c8e-9b1d-" + paddedHex(number, 12));
  }
  return ids;
}

JsonObject metricsOf(const State& state, const SegmentJob& job) {
  JsonObject metrics = object({{"totalTime", timeSpan(job.state)}});
  if (job.state.status == "SUCCEEDED") {
    const std::int64_t members = membersOfEach(state);
    JsonObject counters = object();
    JsonObject byNamespace = object();
    JsonObject byStatus = object();
    for (const std::string& id : countedBy(state, job)) {
      counters->set(id, members);
      byNamespace->set(id, object({{"ECID", members}, {"CRMID", members / 2}}));
      byStatus->set(id, object({{"realized", members}, {"exited", 0}}));
    }
    metrics->set("totalProfiles", static_cast<std::int64_t>(state.scenario.records));
    metrics->set("segmentedProfileCounter", counters);
    metrics->set("segmentedProfileByNamespaceCounter", byNamespace);
    metrics->set("segmentedProfileByStatusCounter", byStatus);
  }
  return metrics;
}

JsonObject shownJob(const State& state, const SegmentJob& job) {
  const JsonArray segments = listOf(job.segmentIds, [](const std::string& id) { return object({{"segmentId", id}}); });
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

/// Of the scenario's clock, in UTC.
void checkQuota(const State& state, const Call& call) {
  if (state.scenario.b2bSimplification) {
    throw Refused{problem(400, "UPAPI-054554", "Bad Request",
                          "Non-scheduled segment jobs are not allowed for orgs enabled for B2B simplification.")};
  }
  const auto day = std::chrono::floor<std::chrono::days>(state.now());
  const std::chrono::sys_days year = std::chrono::year_month_day(day).year() / std::chrono::January / 1;
  const auto since = [&](core::TimePoint begin) {
    return static_cast<std::uint64_t>(std::ranges::count_if(state.segmentJobs, [&](const SegmentJob& job) {
      return job.sandbox == call.sandbox && job.state.created >= begin;
    }));
  };
  if (since(day) >= state.scenario.evaluationsADay || since(year) >= state.scenario.evaluationsAYear) {
    throw Refused{problem(403, "UPAPI-000000", "Forbidden", "the limit of evaluations on demand is reached")};
  }
}

Response create(State& state, const Call& call) {
  checkQuota(state, call);
  SegmentJob job;
  job.sandbox = call.sandbox;
  job.segmentIds = checkedSegments(state, call, segmentsIn(bodyOf(call)));
  job.id = newJobId(state);
  job.state.created = job.state.updated = state.now();
  ++state.statistics.segmentJobsAccepted;
  state.segmentJobs.push_back(job);
  return jsonAnswer(200, shownJob(state, job));
}

bool hasSegment(const SegmentJob& job, const std::string& property) {
  constexpr std::string_view kPrefix = "segments~segmentId==";
  return !property.starts_with(kPrefix) || std::find(job.segmentIds.begin(), job.segmentIds.end(),
                                                     property.substr(kPrefix.size())) != job.segmentIds.end();
}

/// Oldest first where no order is asked for; pages are numbered from 0. An empty next object means the end.
Response list(State& state, const Call& call) {
  const std::uint64_t limit = numberIn(call, "limit", 20, 1, 100);
  const std::uint64_t page = numberIn(call, "start", 0, 0, INT32_MAX);
  std::vector<SegmentJob> all;
  for (SegmentJob& job : jobsOf(state, call.sandbox)) {
    const bool wanted = call.query.get("status").value_or(job.state.status) == job.state.status &&
                        hasSegment(job, call.query.get("property").value_or(""));
    if (wanted) all.push_back(std::move(job));
  }
  if (!state.scenario.ignoreSort && core::toLower(call.query.get("sort").value_or("")).ends_with(":desc")) {
    std::ranges::reverse(all);
  }
  JsonArray children = array();
  for (std::uint64_t at = page * limit; at < all.size() && children->size() < limit; ++at) {
    children->add(shownJob(state, all[at]));
  }
  const std::string next = nextPage(state, "start", "@/segmentJobs", "/segment/jobs", page, limit, all.size());
  return childrenAnswer(children, all.size(), next, page + 1);
}

Response one(State& state, const Call& call, SegmentJob& job) {
  if (call.isGet()) {
    moveOn(job.state, state.scenario.segmentJobPolls, state.scenario.segmentJobResult, state.scenario.unknownStatus,
           state.now());
    return jsonAnswer(200, shownJob(state, job));
  }
  if (call.request.method != "DELETE") return methodNotAllowed();
  job.state.status = "CANCELLING";
  return cancelAnswer(state, "Segment job");
}

Response segmentJobs(State& state, Call& call) {
  if (call.path.size() == 2) {
    return call.request.method == "POST" ? create(state, call)
                                         : (call.isGet() ? list(state, call) : methodNotAllowed());
  }
  for (SegmentJob& job : state.segmentJobs) {
    if (job.id == call.path[2] && job.sandbox == call.sandbox) return one(state, call, job);
  }
  return problem(404, "SGMT-0404", "Segment job not found", call.path[2] + " is not known");
}

}  // namespace

std::vector<std::string> checkedSegments(State& state, const Call& call, const JsonArray& list) {
  std::vector<std::string> ids;
  for (const Json& each : list ? *list : Poco::JSON::Array()) {
    const JsonObject element = asObject(each);
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

std::int64_t membersOfEach(const State& state) {
  const std::uint64_t members = state.scenario.exportProfiles;
  return static_cast<std::int64_t>(members > 0 ? members : state.scenario.records / 4);
}

std::optional<SegmentJob> lastEvaluationOf(const State& state, const Segment& segment) {
  std::optional<SegmentJob> last;
  for (const SegmentJob& job : jobsOf(state, segment.sandbox)) {
    const std::vector<std::string> counted = countedBy(state, job);
    const bool counts = job.state.status == "SUCCEEDED" && std::ranges::find(counted, segment.id) != counted.end();
    if (counts && (!last || job.state.updated > last->state.updated)) last = job;
  }
  return last;
}

}  // namespace caiexport::simulator
