/// Catalog: its query language (simple filters, `property`, `orderBy`, `limit`, `start`, `properties`), batches and
/// datasets.
#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "caiexport/core/text.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

/// One entry of a list, as queries see it.
struct CatalogEntry {
  std::string id = {};
  /// As it is shown: made when it is needed, since a list may have 100,000 entries and shows a hundred.
  std::function<JsonObject()> shown = {};
  /// What is known of it without showing it, and what is not shown but can be asked for; nothing for all else.
  std::function<std::optional<std::string>(const std::string& name)> known = {};
};

[[noreturn]] void badRequest(const std::string& detail) {
  throw Refused{placeholderProblem(400, "BadRequestError", detail)};
}

std::optional<std::string> attribute(const CatalogEntry& entry, const std::string& name) {
  if (auto known = entry.known(name)) return known;
  const JsonObject shown = entry.shown();
  if (!shown->has(name)) return std::nullopt;
  const Json value = shown->get(name);
  return value.isString() || value.isNumeric() || value.isBoolean() ? std::optional(value.convert<std::string>())
                                                                    : std::optional(textOf(value));
}

/// Catalog's wildcards: `*` matches anything, `**` is a star. The whole text must match.
bool matchesWildcard(const std::string& text, const std::string& wildcard) {
  std::string expression = "\\A";
  for (std::size_t at = 0; at < wildcard.size(); ++at) {
    const bool star = wildcard[at] == '*';
    if (star && at + 1 < wildcard.size() && wildcard[at + 1] == '*') {
      expression += "\\*";
      ++at;
    } else if (star) {
      expression += "[\\s\\S]*";
    } else {
      const bool plain = std::isalnum(static_cast<unsigned char>(wildcard[at])) != 0 || (wildcard[at] & 0x80) != 0;
      expression += plain ? std::string(1, wildcard[at]) : "\\" + std::string(1, wildcard[at]);
    }
  }
  return Pattern(expression + "\\z").occursIn(text);
}

bool isOneOf(const std::string& value, const std::string& list) {
  for (const std::string& wanted : core::splitList(list)) {
    if (wanted.find('*') == std::string::npos ? value == wanted : matchesWildcard(value, wanted)) return true;
  }
  return false;
}

/// `a,b`: any of them. `!a,b`: none of them.
bool passesSimple(const CatalogEntry& entry, const std::string& name, const std::string& wanted) {
  const std::string value = attribute(entry, name).value_or("");
  return wanted.starts_with('!') ? !isOneOf(value, wanted.substr(1)) : isOneOf(value, wanted);
}

std::int64_t asNumber(const std::string& text) {
  const bool negative = text.starts_with('-');
  const auto number = core::parseUnsigned(negative ? std::string_view(text).substr(1) : std::string_view(text));
  if (!number) badRequest("'" + text + "' is not a number of milliseconds");
  return negative ? -static_cast<std::int64_t>(*number) : static_cast<std::int64_t>(*number);
}

/// Both bounds are exclusive.
bool passesCreated(const CatalogEntry& entry, const std::string& name, const std::string& wanted) {
  const std::int64_t created = asNumber(attribute(entry, "created").value_or("0"));
  return name == "createdAfter" ? created > asNumber(wanted) : created < asNumber(wanted);
}

/// Numbers by value, all else as text; an absent value comes first.
int compareValues(const std::optional<std::string>& left, const std::optional<std::string>& right) {
  const std::string leftText = left.value_or("");
  const std::string rightText = right.value_or("");
  if (core::parseUnsigned(leftText).has_value() && core::parseUnsigned(rightText).has_value()) {
    const std::uint64_t leftNumber = core::parseUnsigned(leftText).value_or(0);
    const std::uint64_t rightNumber = core::parseUnsigned(rightText).value_or(0);
    return leftNumber < rightNumber ? -1 : (leftNumber > rightNumber ? 1 : 0);
  }
  return leftText.compare(rightText);
}

/// `name`, `!name`, or a name, a relation and a value.
struct Condition {
  std::string name = {};
  std::string relation = {};
  std::string value = {};
};

Condition readCondition(const std::string& text) {
  const std::size_t begin = text.starts_with('!') ? 1 : 0;
  const std::size_t end = std::min(text.find_first_of("~=!<>", begin), text.size());
  Condition condition{
      .name = text.substr(begin, end - begin), .relation = begin == 1 ? "absent" : "present", .value = {}};
  const std::string rest = text.substr(end);
  for (const std::string_view relation : {"~", "==", "!=", "<=", ">=", "<", ">"}) {
    if (rest.starts_with(relation)) {
      condition.relation = relation;
      condition.value = rest.substr(relation.size());
      break;
    }
  }
  const bool hasRelation = condition.relation != "absent" && condition.relation != "present";
  if (condition.name.empty() || hasRelation == rest.empty() || (hasRelation && begin == 1)) {
    badRequest("property condition '" + text + "' can't be read");
  }
  return condition;
}

bool found(const std::string& value, const std::string& expression) {
  try {
    return Pattern(expression).occursIn(value);
  } catch (const std::invalid_argument& error) {
    badRequest(error.what());
  }
}

bool holds(const std::string& relation, int order) {
  return (relation == "==" && order == 0) || (relation == "!=" && order != 0) || (relation == "<" && order < 0) ||
         (relation == "<=" && order <= 0) || (relation == ">" && order > 0) || (relation == ">=" && order >= 0);
}

bool passesProperty(const CatalogEntry& entry, const std::string& text) {
  const Condition condition = readCondition(text);
  const auto value = attribute(entry, condition.name);
  if (condition.relation == "present" || condition.relation == "absent") {
    return value.has_value() == (condition.relation == "present");
  }
  if (!value) return false;
  return condition.relation == "~" ? found(*value, condition.value)
                                   : holds(condition.relation, compareValues(value, condition.value));
}

constexpr std::array kLanguageNames = {"limit", "start", "orderBy", "properties"};

bool passes(const CatalogEntry& entry, const std::string& name, const std::string& value) {
  if (std::find(kLanguageNames.begin(), kLanguageNames.end(), name) != kLanguageNames.end()) return true;
  if (name == "createdAfter" || name == "createdBefore") return passesCreated(entry, name, value);
  return name == "property" ? passesProperty(entry, value) : passesSimple(entry, name, value);
}

void checkNames(const Call& call, const std::vector<std::string>& filters) {
  for (const auto& [name, value] : call.query.pairs()) {
    const bool known = std::find(kLanguageNames.begin(), kLanguageNames.end(), name) != kLanguageNames.end() ||
                       std::find(filters.begin(), filters.end(), name) != filters.end() || name == "property";
    if (!known) badRequest("unknown parameter '" + name + "'");
  }
}

struct SortKey {
  std::string name;
  bool descending = false;
};

std::vector<SortKey> sortKeys(const Call& call) {
  std::vector<SortKey> keys;
  for (const std::string& element : core::splitList(call.query.get("orderBy").value_or(""))) {
    const std::size_t colon = element.find(':');
    const std::string direction = colon == std::string::npos ? "asc" : element.substr(0, colon);
    if (direction != "asc" && direction != "desc") badRequest("orderBy takes asc:NAME or desc:NAME");
    keys.push_back(
        {.name = colon == std::string::npos ? element : element.substr(colon + 1), .descending = direction == "desc"});
  }
  return keys;
}

/// The entries, in the order asked for.
std::vector<CatalogEntry> ordered(std::vector<CatalogEntry> entries, const std::vector<SortKey>& keys) {
  using Values = std::vector<std::optional<std::string>>;
  std::vector<std::pair<Values, std::size_t>> places;
  for (std::size_t at = 0; at < entries.size(); ++at) {
    Values values;
    for (const SortKey& key : keys) values.push_back(attribute(entries[at], key.name));
    places.emplace_back(std::move(values), at);
  }
  std::stable_sort(places.begin(), places.end(), [&](const auto& left, const auto& right) {
    for (std::size_t at = 0; at < keys.size(); ++at) {
      const int compared = compareValues(left.first[at], right.first[at]);
      if (compared != 0) return keys[at].descending ? compared > 0 : compared < 0;
    }
    return false;
  });
  std::vector<CatalogEntry> sorted;
  sorted.reserve(places.size());
  for (const auto& [values, at] : places) sorted.push_back(std::move(entries[at]));
  return sorted;
}

JsonObject project(const JsonObject& whole, const std::optional<std::string>& properties) {
  if (!properties) return whole;
  JsonObject some = object();
  for (const std::string& name : core::splitList(*properties)) {
    if (whole->has(name)) some->set(name, whole->get(name));
  }
  return some;
}

/// How many entries a page has. Throws Refused with 400 for a parameter that is neither one of `filters`, which the
/// resource can be filtered by, nor of the language.
std::uint64_t pageSize(const State& state, const Call& call, const std::vector<std::string>& filters) {
  checkNames(call, filters);
  const std::uint64_t limit = numberIn(call, "limit", 20, 1, 100);
  if (state.scenario.slowPages > 0 && limit >= state.scenario.slowPages) {
    throw Refused{
        jsonAnswer(504, object({{"message", "This request timed out on database, please optimize your request"}}))};
  }
  return std::min(limit, state.scenario.catalogPage);
}

/// The entries that the query lets pass, in the order that it asks for.
std::vector<CatalogEntry> chosen(const State& state, const Call& call, std::vector<CatalogEntry> entries) {
  const auto& ignored = state.scenario.ignoredFilters;
  std::erase_if(entries, [&](const CatalogEntry& entry) {
    const auto& pairs = call.query.pairs();
    return !std::all_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
      return std::find(ignored.begin(), ignored.end(), pair.first) != ignored.end() ||
             passes(entry, pair.first, pair.second);
    });
  });
  return ordered(std::move(entries), sortKeys(call));
}

/// One page of `total` entries: an object keyed by id, in order.
template <class EntryAt>
JsonObject page(const Call& call, std::uint64_t limit, std::size_t total, const EntryAt& entryAt) {
  std::uint64_t start = numberIn(call, "start", 0, 0, INT64_MAX);
  if (call.list.repeatPage) start = 0;
  start =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, static_cast<std::int64_t>(start) + call.list.shiftStart));
  const auto properties = call.query.get("properties");
  JsonObject answer = object();
  for (std::uint64_t at = start; at < total && at - start < limit; ++at) {
    const auto [id, shown] = entryAt(at);
    answer->set(id, project(shown, properties));
  }
  return answer;
}

JsonObject metricsOf(const State& state, const Batch& batch) {
  const auto records = static_cast<std::int64_t>(batch.data.records) + state.scenario.reportedRecordsDelta;
  const auto files = static_cast<std::int64_t>(batch.data.files);
  if (state.scenario.metricsForm == "none") return object();
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
  if (!batch.externalId.empty()) shown->set("externalId", batch.externalId);
  if (!batch.predecessors.empty() || !batch.predecessorsByExternalId.empty()) {
    shown->set("replay", object({{"predecessors", listOf(batch.predecessors, std::identity())},
                                 {"predecessorsByExternalId", listOf(batch.predecessorsByExternalId, std::identity())},
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

/// All of it that does not differ from page to page.
std::string queryOf(const Call& call) {
  std::string query = call.sandbox;
  for (const auto& [name, value] : call.query.pairs()) {
    if (name != "start" && name != "limit" && name != "properties") {
      query.append("\n").append(name).append("=").append(value);
    }
  }
  return query;
}

std::optional<std::string> knownOf(const Batch& batch, const std::string& status, const std::string& name) {
  if (name == "dataSet") return batch.datasetId;
  if (name == "batch") return batch.id;
  if (name == "status") return status;
  if (name == "created") return std::to_string(toMilliseconds(batch.created));
  if (name == "createdClient") return batch.createdClient;
  return std::nullopt;
}

ListedBatches batchList(State& state, const Call& call, const std::string& query) {
  const std::vector<std::string>& ignored = state.scenario.ignoredFilters;
  const bool anyDataset = std::find(ignored.begin(), ignored.end(), "dataSet") != ignored.end();
  const auto dataset = anyDataset ? std::nullopt : call.query.get("dataSet");
  const std::unordered_set<std::string> superseded = supersededIn(state);
  ListedBatches listed{.query = query};
  std::vector<CatalogEntry> entries;
  std::unordered_map<std::string, std::size_t> placeOf;
  for (Batch& batch : state.batches) {
    if (batch.sandbox != call.sandbox || (dataset && *dataset != batch.datasetId)) continue;
    listed.lasts = listed.lasts && batch.hiddenLookUps == 0 && batch.earlyStatuses.empty();
    auto status = statusAtLookUp(batch);
    if (!status) continue;
    if (superseded.contains(batch.id)) status = state.scenario.supersededStatus;
    placeOf.emplace(batch.id, listed.batches.size());
    listed.batches.emplace_back(&batch, *status);
    entries.push_back({.id = batch.id,
                       .shown = [&state, &batch, status] { return shownBatch(state, batch, *status); },
                       .known = [&batch, status](const std::string& name) { return knownOf(batch, *status, name); }});
  }
  // A list may lag behind: the last ones made are not in it yet.
  entries.resize(entries.size() - std::min<std::size_t>(entries.size(), state.scenario.hiddenBatches));
  std::vector<std::pair<const Batch*, std::string>> batches;
  const auto answered = chosen(state, call, std::move(entries));
  batches.reserve(answered.size());
  for (const CatalogEntry& entry : answered) batches.push_back(listed.batches[placeOf.at(entry.id)]);
  listed.batches = std::move(batches);
  return listed;
}

Response listBatches(State& state, const Call& call) {
  static const std::vector<std::string> filters = {"created",     "updated", "createdClient", "createdUser",
                                                   "updatedUser", "version", "status",        "externalId",
                                                   "batch",       "dataSet", "createdAfter",  "createdBefore"};
  const std::uint64_t limit = pageSize(state, call, filters);
  const std::string query = queryOf(call);
  // A list of 100,000 batches has a thousand pages.
  if (!state.listed || state.listed->query != query) state.listed = batchList(state, call, query);
  const ListedBatches& listed = *state.listed;
  Response response = jsonAnswer(200, page(call, limit, listed.batches.size(), [&](std::uint64_t at) {
                                   const auto& [batch, status] = listed.batches[at];
                                   return std::pair(batch->id, shownBatch(state, *batch, status));
                                 }));
  if (!listed.lasts) state.listed.reset();
  return response;
}

Response oneBatch(State& state, const Call& call) {
  Batch* batch = state.findBatch(call.path[1], call.sandbox);
  const auto status = batch != nullptr ? statusAtLookUp(*batch) : std::nullopt;
  if (!status) return notFound("batch " + call.path[1]);
  const bool superseded = supersededIn(state).contains(batch->id);
  return jsonAnswer(
      200,
      object({{batch->id.c_str(), shownBatch(state, *batch, superseded ? state.scenario.supersededStatus : *status)}}));
}

const Batch* newestBatch(const State& state, const std::string& datasetId, bool good) {
  return newestOf(state.batches, [&](const Batch& batch) {
    return batch.datasetId == datasetId && (batch.status == "success" || batch.status == "active") == good;
  });
}

Response lastBatches(State& state, const Call& call) {
  JsonObject answer = object();
  for (const std::string& id : core::splitList(call.query.get("dataSetId").value_or(""))) {
    if (state.findDataset(id, call.sandbox) == nullptr) continue;
    const Batch* good = newestBatch(state, id, true);
    const Batch* bad = newestBatch(state, id, false);
    const Batch* last = bad != nullptr && (good == nullptr || good->created < bad->created) ? bad : good;
    JsonObject shown = object();
    if (last != nullptr) {
      shown->set("lastBatchId", last->id);
      shown->set("lastBatchStatus", last->status);
    }
    if (good != nullptr) shown->set("lastSuccessfulBatchId", good->id);
    if (bad != nullptr) shown->set("lastFailedBatchId", bad->id);
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
  if (dataset.id == kScoreDatasetId && state.scenario.trackingBatches) {
    shown->set("tags", object({{"adobe/siphon/table/format", array({"delta"})},
                               {"unifiedProfile", array({"enabled:true"})},
                               {"unifiedIdentity", array({"enabled:true"})}}));
    shown->set("classification", object({{"dataBehavior", "record"}, {"managedBy", "SYSTEM"}}));
  }
  if (dataset.id == kScoreDatasetId && state.scenario.snapshot) {
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
  const std::uint64_t limit = pageSize(state, call, filters);
  std::vector<CatalogEntry> entries;
  for (const Dataset& dataset : state.datasets) {
    if (dataset.sandbox == call.sandbox) {
      entries.push_back(
          {.id = dataset.id,
           .shown = [&] { return shownDataset(state, dataset); },
           .known = [&dataset](
                        const std::string& name) { return name == "id" ? std::optional(dataset.id) : std::nullopt; }});
    }
  }
  entries = chosen(state, call, std::move(entries));
  return jsonAnswer(200, page(call, limit, entries.size(),
                              [&](std::uint64_t at) { return std::pair(entries[at].id, entries[at].shown()); }));
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
    badRequest("name, schemaRef.id and schemaRef.contentType are required");
  }
  const bool taken = std::any_of(state.datasets.begin(), state.datasets.end(), [&](const Dataset& dataset) {
    return dataset.sandbox == call.sandbox && dataset.name == *name;
  });
  if (taken && state.scenario.duplicateDatasetName == "refuse") badRequest("dataset name '" + *name + "' is taken");
  Dataset dataset{.sandbox = call.sandbox,
                  .name = *name,
                  .description = stringIn(body, "description").value_or(""),
                  .schemaId = *stringIn(schema, "id"),
                  .contentType = *stringIn(schema, "contentType"),
                  .tags = objectIn(body, "tags"),
                  .created = state.now(),
                  .createdClient = state.scenario.clientId};
  if (dataset.tags) checkTags(dataset.tags);
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
  if (state.findDataset(id, call.sandbox) == nullptr) return jsonAnswer(200, array());
  std::erase_if(state.datasets, [&](const Dataset& dataset) { return dataset.id == id; });
  state.batches.remove_if([&](const Batch& batch) { return batch.datasetId == id; });
  ++state.statistics.datasetsDeleted;
  return jsonAnswer(200, array({"@/dataSets/" + id}));
}

Response datasets(State& state, const Call& call) {
  const bool one = call.path.size() == 2;
  if (call.isGet()) return one ? oneDataset(state, call) : listDatasets(state, call);
  if (call.request.method == "POST" && !one) return createDataset(state, call);
  return call.request.method == "DELETE" && one ? deleteDataset(state, call) : methodNotAllowed();
}

}  // namespace

Response catalog(State& state, Call& call) {
  const std::string resource = call.path.empty() ? "" : call.path[0];
  call.route = "/data/foundation/catalog/" + resource + (call.path.size() > 1 ? "/{id}" : "");
  if (call.path.size() > 2) return notFound(call.rawPath);
  if (resource == "dataSets") return datasets(state, call);
  if (resource != "batches" && resource != "lastBatches") return notFound(call.rawPath);
  if (!call.isGet()) return methodNotAllowed();
  if (resource == "lastBatches") return lastBatches(state, call);
  return call.path.size() == 2 ? oneBatch(state, call) : listBatches(state, call);
}

}  // namespace caiexport::simulator
