#include <algorithm>

#include "caiexport/core/text.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

[[noreturn]] void refuse(const std::string& detail) {
  throw Refused{problem(400, "UPEXP-0400", "Bad Request", detail)};
}

std::string newBatchId(State& state) {
  return "01JXEX" + padded(++state.lastNumber, 20);
}

JsonArray segmentList(const ExportJob& job) {
  const JsonObject filter = objectIn(job.request, "filter");
  return filter ? arrayIn(filter, "segments") : JsonArray{};
}

std::string namespaceOf(const JsonObject& segment) {
  return stringIn(segment, "segmentNs").value_or("ups");
}

Json statusOf(const JsonObject& segment) {
  return segment->has("status") ? segment->get("status") : Json(array({"realized", "existing"}));
}

/// The batches of a job in the guide's array form or the specification's object form; `status` is an array in one
/// element and a text in the next, as in Adobe's example.
Json batchesOf(const ExportJob& job, bool asObjectForm) {
  JsonArray list = array();
  JsonObject byId = object();
  const JsonArray segments = segmentList(job);
  for (std::size_t at = 0; at < job.batchIds.size(); ++at) {
    const JsonObject segment = segments ? asObject(segments->get(static_cast<unsigned>(at))) : JsonObject{};
    JsonObject shown = object();
    if (segment) {
      shown->set("segmentId", segment->get("segmentId"));
      shown->set("segmentNs", namespaceOf(segment));
      shown->set("status", at % 2 == 0 ? statusOf(segment) : Json("realized"));
    }
    shown->set("batchId", job.batchIds[at]);
    list->add(shown);
    byId->set(std::to_string(at), shown);
  }
  return asObjectForm && job.batchIds.size() == 1 ? Json(asObject(list->get(0)))
                                                  : (asObjectForm ? Json(byId) : Json(list));
}

JsonObject destinationOf(const State& state, const ExportJob& job) {
  const std::string& form = state.scenario.batchesForm;
  JsonObject shown =
      object({{state.scenario.datasetIdKey.c_str(), job.datasetId}, {"segmentPerBatch", job.perSegment}});
  if (form == "array" || (form == "id" && job.perSegment)) {
    shown->set("batches", batchesOf(job, false));
  } else if (form == "object") {
    shown->set("batches", batchesOf(job, true));
  } else if (form == "id") {
    shown->set("batchId", job.state.status == "FAILED" ? "" : job.batchIds.front());
  }
  return shown;
}

JsonObject metricsOf(const State& state, const ExportJob& job) {
  JsonObject metrics = object({{"totalTime", timeSpan(job.state)}, {"profileExportTime", timeSpan(job.state)}});
  if (job.state.status == "SUCCEEDED") {
    metrics->set("totalExportedProfileCounter",
                 static_cast<std::int64_t>(job.profiles) + state.scenario.reportedProfilesDelta);
    metrics->set("exportedProfileByNamespaceCounter", object({{"ECID", job.profiles}, {"CRMID", job.profiles / 2}}));
  }
  return metrics;
}

JsonArray errorsOf(const State& state, const ExportJob& job) {
  if (job.state.status == "FAILED") return jobErrors("Error in the export: no merge policy");
  const bool withErrors = state.scenario.exportResult == "SUCCEEDED_WITH_ERRORS" && job.state.status == "SUCCEEDED";
  return withErrors ? jobErrors("3 profiles with more than 50 identities were left out") : array();
}

JsonObject shownJob(const State& state, const ExportJob& job) {
  JsonObject shown = object({{"id", job.number}, {"jobType", "BATCH"}, {"destination", destinationOf(state, job)}});
  for (const char* key : {"fields", "filter", "additionalFields", "mergePolicy", "evaluationInfo", "schema"}) {
    if (job.request->has(key)) shown->set(key, job.request->get(key));
  }
  shown->set("profileInstanceId", "ups");
  shown->set("errors", errorsOf(state, job));
  shown->set("metrics", metricsOf(state, job));
  shown->set("computeGatewayJobId", object({{"exportJob", "f3058161-7349-4ca9-807d-212cee2c2e94"}}));
  shown->set("creationTime", toMilliseconds(job.state.created));
  shown->set("updateTime", toMilliseconds(job.state.updated));
  shown->set("imsOrgId", state.scenario.organization);
  shown->set("requestId", "sim-request-of-" + std::to_string(job.number));
  shown->set("status", job.state.status);
  return shown;
}

void checkFilter(const JsonObject& filter) {
  const JsonArray segments = arrayIn(filter, "segments");
  for (std::size_t at = 0; segments && at < segments->size(); ++at) {
    const JsonObject segment = asObject(segments->get(static_cast<unsigned>(at)));
    if (!segment || !stringIn(segment, "segmentId")) refuse("each of filter.segments needs segmentId");
    const JsonArray statuses = arrayIn(segment, "status");
    if (segment->has("status") && !statuses) refuse("filter.segments.status must be an array");
    for (std::size_t number = 0; statuses && number < statuses->size(); ++number) {
      const auto status = statuses->get(static_cast<unsigned>(number)).convert<std::string>();
      if (status != "realized" && status != "existing" && status != "exited") {
        refuse("'" + status + "' is not a status of a membership");
      }
    }
  }
}

void checkRequest(const JsonObject& body) {
  const JsonObject schema = objectIn(body, "schema");
  if (!schema || stringIn(schema, "name") != "_xdm.context.profile") refuse("schema.name must be _xdm.context.profile");
  if (body->has("fields") && !stringIn(body, "fields")) refuse("fields must be one text, separated by commas");
  if (const JsonObject filter = objectIn(body, "filter")) checkFilter(filter);
}

std::string checkedDataset(State& state, const Call& call, const JsonObject& body) {
  const JsonObject destination = objectIn(body, "destination");
  const auto id = destination ? stringIn(destination, "datasetId") : std::nullopt;
  if (!id || id->empty()) refuse("destination.datasetId is required");
  const Dataset* dataset = state.findDataset(*id, call.sandbox);
  if (dataset == nullptr) refuse("dataset " + *id + " does not exist");
  if (dataset->schemaId != kProfileUnionSchema)
    refuse("dataset " + *id + " is not of the schema " + kProfileUnionSchema);
  return *id;
}

Response create(State& state, const Call& call) {
  const JsonObject body = asObject(bodyOf(call));
  if (!body) refuse("the body must be an object");
  checkRequest(body);
  ExportJob job;
  job.sandbox = call.sandbox;
  job.request = body;
  job.datasetId = checkedDataset(state, call, body);
  job.segmentIds = checkedSegments(state, call, segmentList(job));
  const Json perSegment = objectIn(body, "destination")->get("segmentPerBatch");
  job.perSegment = perSegment.isBoolean() && perSegment.convert<bool>();
  job.profiles = static_cast<std::uint64_t>(membersOfEach(state));
  if (job.segmentIds.empty()) {
    // What the platform does then: it exports every profile.
    ++state.statistics.unfilteredExports;
    job.profiles = state.scenario.records;
  }
  const std::uint64_t batches = job.perSegment ? std::max<std::uint64_t>(1, job.segmentIds.size()) : 1;
  for (std::uint64_t number = 0; number < batches; ++number) job.batchIds.push_back(newBatchId(state));
  job.number = 701 + state.exportJobs.size();
  job.state.created = job.state.updated = state.now();
  ++state.statistics.exportJobsAccepted;
  state.exportJobs.push_back(job);
  return jsonAnswer(200, shownJob(state, job));
}

void addExportedBatches(State& state, const ExportJob& job) {
  for (std::size_t at = 0; at < job.batchIds.size(); ++at) {
    const std::string segment = at < job.segmentIds.size() ? job.segmentIds[at] : "";
    const std::uint64_t share = recordsInFile(job.profiles, job.batchIds.size(), at);
    Batch& batch = addBatch(state, {.datasetId = job.datasetId,
                                    .sandbox = job.sandbox,
                                    .createdClient = "acp_core_unifiedProfile_exports",
                                    .status = state.scenario.batchStatus,
                                    .created = state.now(),
                                    .data = {.seed = 0x10000 + job.number * 64 + at,
                                             .records = share,
                                             .files = state.scenario.exportFiles,
                                             .segmentId = segment}});
    batch.id = job.batchIds[at];
    batch.hiddenLookUps = state.scenario.batchVisibleAfterPolls;
    batch.earlyStatuses.assign(state.scenario.earlyBatchStatuses.begin(), state.scenario.earlyBatchStatuses.end());
  }
}

void poll(State& state, ExportJob& job) {
  const std::string before = job.state.status;
  const std::string& wish = state.scenario.exportResult;
  const bool vanishes = wish == "VANISHED";
  const std::string result = wish == "SUCCEEDED_WITH_ERRORS" || vanishes ? "SUCCEEDED" : wish;
  moveOn(job.state, state.scenario.exportPolls, result, state.scenario.unknownStatus, state.now());
  if (job.state.status == "SUCCEEDED" && before != "SUCCEEDED") {
    job.state.vanished = vanishes;
    if (!vanishes) addExportedBatches(state, job);
  }
}

Response one(State& state, const Call& call, ExportJob& job) {
  if (call.isGet()) {
    poll(state, job);
    return job.state.vanished ? problem(404, "UPEXP-0404", "Export job not found", "it was removed")
                              : jsonAnswer(200, shownJob(state, job));
  }
  if (call.request.method != "DELETE") return methodNotAllowed();
  if (job.state.status != "SUCCEEDED" && job.state.status != "FAILED" && job.state.status != "CANCELLED") {
    job.state.status = "CANCELLING";
  }
  return cancelAnswer(state, "Export job");
}

std::string cursorOf(const ExportJob& job) {
  return std::to_string(toMilliseconds(job.state.created)) + "_" + std::to_string(job.number);
}

/// Newest first; the cursor names the last job of a page.
Response list(State& state, const Call& call) {
  const std::uint64_t limit = numberIn(call, "limit", 100, 1, 100);
  const auto cursor = call.query.get("offset");
  const auto status = call.query.get("status");
  bool reached = !cursor || call.list.repeatPage;
  JsonArray records = array();
  JsonObject links = object();
  std::string last;
  for (auto job = state.exportJobs.rbegin(); job != state.exportJobs.rend(); ++job) {
    if (job->sandbox != call.sandbox || job->state.vanished || (status && *status != job->state.status)) continue;
    if (reached && records->size() == limit) {
      links->set("next", "/export/jobs/?limit=" + std::to_string(limit) +
                             "&offset=" + core::percentEncode(call.list.loopNext && cursor ? *cursor : last) +
                             (status ? "&status=" + core::percentEncode(*status) : ""));
      break;
    }
    if (reached) {
      records->add(shownJob(state, *job));
      last = cursorOf(*job);
    }
    reached = reached || cursorOf(*job) == *cursor;
  }
  return jsonAnswer(200, object({{"records", records},
                                 {"page", object({{"sortField", "createdTime"},
                                                  {"sort", "desc"},
                                                  {"pageOffset", last},
                                                  {"pageSize", records->size()}})},
                                 {"link", links}}));
}

}  // namespace

Response exportJobs(State& state, Call& call) {
  if (call.path.size() == 2) {
    return call.request.method == "POST" ? create(state, call)
                                         : (call.isGet() ? list(state, call) : methodNotAllowed());
  }
  for (ExportJob& job : state.exportJobs) {
    if (std::to_string(job.number) == call.path[2] && job.sandbox == call.sandbox) return one(state, call, job);
  }
  return problem(404, "UPEXP-0404", "Export job not found", call.path[2] + " is not known");
}

}  // namespace caiexport::simulator
