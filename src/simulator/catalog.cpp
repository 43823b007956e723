/// Catalog: batches and datasets.
#include <algorithm>
#include <unordered_set>

#include "caiexport/core/text.h"
#include "simulator/catalog_query.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

JsonObject metricsOf(const State& state, const Batch& batch) {
  const auto records = static_cast<std::int64_t>(recordsOf(batch)) + state.scenario.reportedRecordsDelta;
  const auto files = static_cast<std::int64_t>(batch.data.files);
  if (state.scenario.metricsForm == "none") {
    return object();
  }
  if (state.scenario.metricsForm == "negative") {
    return object({{"outputRecordCount", -1}, {"outputFileCount", -1}, {"inputFileCount", -1}});
  }
  if (state.scenario.metricsForm == "written") {
    return object({{"recordsRead", records},
                   {"recordsWritten", records},
                   {"recordsFailed", 0},
                   {"startTime", toMilliseconds(batch.created)},
                   {"endTime", toMilliseconds(batch.created) + 40000}});
  }
  // Adobe's own numbers do not add up to the file lengths either.
  return object({{"inputByteSize", records * 128 + 667},
                 {"inputFileCount", -1},
                 {"inputRecordCount", records},
                 {"outputByteSize", records * 128 + 128},
                 {"outputFileCount", files},
                 {"outputRecordCount", records},
                 {"partitionCount", 1}});
}

JsonArray textArray(const std::vector<std::string>& texts) {
  JsonArray list = array();
  for (const std::string& text : texts) {
    list->add(text);
  }
  return list;
}

JsonObject shownBatch(const State& state, const Batch& batch, const std::string& status) {
  const std::int64_t created = toMilliseconds(batch.created);
  JsonObject shown =
      object({{"id", batch.id},
              {"imsOrg", state.scenario.organization},
              {"status", status},
              {"created", created},
              {"updated", created + 60000},
              {"started", created + 1000},
              {"completed", created + 60000},
              {"createdClient", batch.createdClient},
              {"createdUser", batch.createdUser.empty() ? batch.createdClient + "@AdobeID" : batch.createdUser},
              {"updatedUser", batch.createdClient + "@AdobeID"},
              {"version", "1.0.5"},
              {"sandboxId", "sandbox-" + batch.sandbox},
              {"inputFormat", object({{"format", "parquet"}})},
              {"relatedObjects", array({object({{"type", "dataSet"}, {"id", batch.datasetId}})})},
              {"metrics", metricsOf(state, batch)}});
  if (!batch.relatedBatch.empty()) {
    shown->set("relatedObjects", array({object({{"type", "dataSet"}, {"id", batch.datasetId}}),
                                        object({{"type", "batch"}, {"id", batch.relatedBatch}})}));
  }
  if (batch.consolidation && state.scenario.consolidationMarked) {
    shown->set("tags", object({{"acp_workflow", array({"Batch_Consolidation"})}}));
  }
  if (!batch.externalId.empty()) {
    shown->set("externalId", batch.externalId);
  }
  if (!batch.predecessors.empty() || !batch.predecessorsByExternalId.empty()) {
    shown->set("replay", object({{"predecessors", textArray(batch.predecessors)},
                                 {"predecessorsByExternalId", textArray(batch.predecessorsByExternalId)},
                                 {"predecessorListingType", "IMMEDIATE"},
                                 {"reason", batch.replayReason}}));
  }
  if (status == "failed") {
    shown->set("errors",
               array({object({{"code", "ACP-9999"}, {"description", "scoring failed"}, {"rows", array({"1", "2"})}})}));
    shown->set("failedRecordCount", rowsRefused(state.scenario));
  }
  return shown;
}

/// A look-up brings a new batch nearer to being shown: ingestion may end later than the job that caused it.
std::optional<std::string> statusAtLookUp(Batch& batch) {
  if (batch.hiddenLookUps > 0) {
    --batch.hiddenLookUps;
    return std::nullopt;
  }
  if (!batch.earlyStatuses.empty()) {
    const std::string early = batch.earlyStatuses.front();
    batch.earlyStatuses.pop_front();
    return early;
  }
  return batch.status;
}

/// What readable batches replace, where the scenario says that it is not what it was.
std::unordered_set<std::string> supersededIn(const State& state) {
  std::unordered_set<std::string> ids;
  for (const Batch& batch : state.batches) {
    if (!state.scenario.supersededStatus.empty() && !batch.consolidation && batch.status == "success") {
      ids.insert(batch.predecessors.begin(), batch.predecessors.end());
    }
  }
  return ids;
}

Response listBatches(State& state, const Call& call) {
  static const std::vector<std::string> filters = {"created",     "updated", "createdClient", "createdUser",
                                                   "updatedUser", "version", "status",        "externalId",
                                                   "batch",       "dataSet", "createdAfter",  "createdBefore"};
  const std::vector<std::string>& ignored = state.scenario.ignoredFilters;
  const bool anyDataset = std::find(ignored.begin(), ignored.end(), "dataSet") != ignored.end();
  const auto dataset = anyDataset ? std::nullopt : call.query.get("dataSet");
  const std::unordered_set<std::string> superseded = supersededIn(state);
  std::vector<CatalogEntry> entries;
  for (Batch& batch : state.batches) {
    const bool asked = batch.sandbox == call.sandbox && (!dataset || *dataset == batch.datasetId);
    const auto status = asked ? statusAtLookUp(batch) : std::nullopt;
    if (status) {
      entries.push_back(
          {.id = batch.id,
           .shown = shownBatch(state, batch, superseded.contains(batch.id) ? state.scenario.supersededStatus : *status),
           .hidden = {{"dataSet", batch.datasetId}, {"batch", batch.id}}});
    }
  }
  // A list may lag behind: the last ones made are not in it yet.
  entries.resize(entries.size() - std::min<std::size_t>(entries.size(), state.scenario.hiddenBatches));
  return jsonAnswer(200, answerQuery(state, call, std::move(entries), filters));
}

Response oneBatch(State& state, const Call& call) {
  Batch* batch = state.findBatch(call.path[1], call.sandbox);
  const auto status = batch != nullptr ? statusAtLookUp(*batch) : std::nullopt;
  if (!status) {
    return notFound("batch " + call.path[1]);
  }
  const bool superseded = supersededIn(state).contains(batch->id);
  return jsonAnswer(
      200,
      object({{batch->id.c_str(), shownBatch(state, *batch, superseded ? state.scenario.supersededStatus : *status)}}));
}

const Batch* newestBatch(const State& state, const std::string& datasetId, bool good) {
  const Batch* newest = nullptr;
  for (const Batch& batch : state.batches) {
    const bool readable = batch.status == "success" || batch.status == "active";
    if (batch.datasetId == datasetId && readable == good && (newest == nullptr || newest->created <= batch.created)) {
      newest = &batch;
    }
  }
  return newest;
}

Response lastBatches(State& state, const Call& call) {
  JsonObject answer = object();
  for (const std::string& id : core::splitList(call.query.get("dataSetId").value_or(""))) {
    if (state.findDataset(id, call.sandbox) == nullptr) {
      continue;
    }
    const Batch* good = newestBatch(state, id, true);
    const Batch* bad = newestBatch(state, id, false);
    const Batch* last = bad != nullptr && (good == nullptr || good->created < bad->created) ? bad : good;
    JsonObject shown = object();
    if (last != nullptr) {
      shown->set("lastBatchId", last->id);
      shown->set("lastBatchStatus", last->status);
    }
    if (good != nullptr) {
      shown->set("lastSuccessfulBatchId", good->id);
    }
    if (bad != nullptr) {
      shown->set("lastFailedBatchId", bad->id);
    }
    answer->set(id, shown);
  }
  return jsonAnswer(200, answer);
}

JsonObject shownDataset(const State& state, const Dataset& dataset) {
  const std::int64_t created = toMilliseconds(dataset.created);
  JsonObject shown = object({{"name", dataset.name},
                             {"description", dataset.description},
                             {"imsOrg", state.scenario.organization},
                             {"sandboxId", "sandbox-" + dataset.sandbox},
                             {"created", created},
                             {"updated", created},
                             {"createdClient", dataset.createdClient},
                             {"createdUser", dataset.createdClient + "@AdobeID"},
                             {"version", "1.0.0"},
                             {"state", "DRAFT"},
                             {"viewId", dataset.id + "v"},
                             {"files", "@/dataSets/" + dataset.id + "/views/" + dataset.id + "v/files"},
                             {"fileDescription", object({{"format", "parquet"}})},
                             {"schemaRef", object({{"id", dataset.schemaId}, {"contentType", dataset.contentType}})},
                             {"tags", dataset.tags ? dataset.tags : object()}});
  if (dataset.id == scoreDatasetId && state.scenario.trackingBatches) {
    shown->set("tags", object({{"adobe/siphon/table/format", array({"delta"})},
                               {"unifiedProfile", array({"enabled:true"})},
                               {"unifiedIdentity", array({"enabled:true"})}}));
    shown->set("classification", object({{"dataBehavior", "record"}, {"managedBy", "SYSTEM"}}));
  }
  if (dataset.id == scoreDatasetId && state.scenario.snapshot) {
    shown->set("tags", object({{"mergePolicyId", array({"b5f2a1de-0000-4000-8000-000000000001"})}}));
  }
  if (const Batch* last = newestBatch(state, dataset.id, true)) {
    shown->set("lastBatchId", last->id);
    shown->set("lastBatchStatus", last->status);
    shown->set("lastSuccessfulBatch", last->id);
  }
  return shown;
}

Response listDatasets(State& state, const Call& call) {
  static const std::vector<std::string> filters = {"name",          "description",  "created",       "updated",
                                                   "createdClient", "createdUser",  "updatedUser",   "version",
                                                   "state",         "createdAfter", "createdBefore", "id"};
  std::vector<CatalogEntry> entries;
  for (const Dataset& dataset : state.datasets) {
    if (dataset.sandbox == call.sandbox) {
      entries.push_back({.id = dataset.id, .shown = shownDataset(state, dataset), .hidden = {{"id", dataset.id}}});
    }
  }
  return jsonAnswer(200, answerQuery(state, call, std::move(entries), filters));
}

Response oneDataset(State& state, const Call& call) {
  const Dataset* dataset = state.findDataset(call.path[1], call.sandbox);
  return dataset == nullptr ? notFound("dataset " + call.path[1])
                            : jsonAnswer(200, object({{dataset->id.c_str(), shownDataset(state, *dataset)}}));
}

void checkTags(const JsonObject& tags) {
  for (const std::string& name : tags->getNames()) {
    if (name.starts_with("adobe/")) {
      throw Refused{placeholderProblem(403, "ForbiddenError",
                                       "Not permitted to create or modify tags for namespace(" + name + ").")};
    }
  }
}

Dataset readDataset(State& state, const Call& call) {
  const JsonObject body = asObject(bodyOf(call));
  const auto name = body ? stringIn(body, "name") : std::nullopt;
  const JsonObject schema = body ? objectIn(body, "schemaRef") : JsonObject{};
  if (!name || name->empty() || !schema || !stringIn(schema, "id") || !stringIn(schema, "contentType")) {
    throw Refused{
        placeholderProblem(400, "BadRequestError", "name, schemaRef.id and schemaRef.contentType are required")};
  }
  const bool taken = std::any_of(state.datasets.begin(), state.datasets.end(), [&](const Dataset& dataset) {
    return dataset.sandbox == call.sandbox && dataset.name == *name;
  });
  if (taken && state.scenario.duplicateDatasetName == "refuse") {
    throw Refused{placeholderProblem(400, "BadRequestError", "dataset name '" + *name + "' is taken")};
  }
  Dataset dataset{.sandbox = call.sandbox,
                  .name = *name,
                  .description = stringIn(body, "description").value_or(""),
                  .schemaId = *stringIn(schema, "id"),
                  .contentType = *stringIn(schema, "contentType"),
                  .tags = objectIn(body, "tags"),
                  .created = state.now(),
                  .createdClient = state.scenario.clientId};
  if (dataset.tags) {
    checkTags(dataset.tags);
  }
  return dataset;
}

std::string newDatasetId(State& state) {
  const std::string number = std::to_string(++state.lastNumber);
  return "6" + std::string(23 - number.size(), '0') + number;
}

Response createDataset(State& state, const Call& call) {
  Dataset dataset = readDataset(state, call);
  dataset.id = newDatasetId(state);
  ++state.statistics.datasetsCreated;
  const std::string link = (state.scenario.datasetReply == "lower" ? "@/datasets/" : "@/dataSets/") + dataset.id;
  Response response = jsonAnswer(201, array({link}));
  response.setHeader("Location", "/data/foundation/catalog/dataSets/" + dataset.id);
  state.datasets.push_back(std::move(dataset));
  return response;
}

/// An unknown id is no error: the answer is an empty list.
Response deleteDataset(State& state, const Call& call) {
  const std::string id = call.path[1];
  if (state.findDataset(id, call.sandbox) == nullptr) {
    return jsonAnswer(200, array());
  }
  std::erase_if(state.datasets, [&](const Dataset& dataset) { return dataset.id == id; });
  state.batches.remove_if([&](const Batch& batch) { return batch.datasetId == id; });
  ++state.statistics.datasetsDeleted;
  return jsonAnswer(200, array({"@/dataSets/" + id}));
}

Response datasets(State& state, const Call& call) {
  const bool one = call.path.size() == 2;
  if (call.isGet()) {
    return one ? oneDataset(state, call) : listDatasets(state, call);
  }
  if (call.request.method == "POST" && !one) {
    return createDataset(state, call);
  }
  return call.request.method == "DELETE" && one ? deleteDataset(state, call) : methodNotAllowed();
}

}  // namespace

Response catalog(State& state, Call& call) {
  const std::string resource = call.path.empty() ? "" : call.path[0];
  call.route = "/data/foundation/catalog/" + resource + (call.path.size() > 1 ? "/{id}" : "");
  if (call.path.size() > 2) {
    return notFound(call.rawPath);
  }
  if (resource == "dataSets") {
    return datasets(state, call);
  }
  if (resource != "batches" && resource != "lastBatches") {
    return notFound(call.rawPath);
  }
  if (!call.isGet()) {
    return methodNotAllowed();
  }
  if (resource == "lastBatches") {
    return lastBatches(state, call);
  }
  return call.path.size() == 2 ? oneBatch(state, call) : listBatches(state, call);
}

}  // namespace caiexport::simulator
