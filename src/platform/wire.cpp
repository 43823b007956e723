#include "wire.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"

namespace caiexport::platform {
namespace {

/// Segment jobs: "Segmentation Service API", enum of `status`. How a cancelled export job is called is not documented.
RemotePhase phaseFrom(const std::string& status) {
  const std::string word = core::toLower(status);
  if (word == "succeeded") return RemotePhase::succeeded;
  if (word == "failed") return RemotePhase::failed;
  if (word == "cancelled" || word == "canceled") return RemotePhase::cancelled;
  return RemotePhase::moving;
}

/// One text or an array of them; missing: none.
std::vector<std::string> textsFrom(const Json& value) {
  std::vector<std::string> result;
  if (value.isArray()) {
    for (const Json& element : value.elements()) result.push_back(element.text());
  } else if (value.exists()) {
    result.push_back(value.text());
  }
  return result;
}

/// The same of a value that may have any form: what is no text, or empty, is passed over.
std::vector<std::string> looseTexts(const Json& value) {
  std::vector<std::string> result;
  const std::vector<Json> elements = value.isArray() ? value.elements() : std::vector<Json>{value};
  for (const Json& element : elements) {
    std::string text = element.textIfAny().value_or("");
    if (!text.empty()) result.push_back(std::move(text));
  }
  return result;
}

std::vector<RemoteJobProblem> problemsFrom(const Json& errors) {
  std::vector<RemoteJobProblem> result;
  if (!errors.isArray()) return result;
  for (const Json& error : errors.elements()) {
    std::string text = firstText(error, {"msg", "message", "description"});
    if (text.empty()) text = error.textIfAny().value_or("");
    result.push_back({.code = error.at("code").textIfAny().value_or(""), .message = std::move(text)});
  }
  return result;
}

std::optional<std::uint64_t> recordsFrom(const Json& batch) {
  // Two vocabularies: "Download scores in Customer AI" and "View dataset data using Data Access API".
  const Json metrics = batch.at("metrics");
  for (const Json& value : {metrics.at("outputRecordCount"), metrics.at("recordsWritten"), batch.at("recordCount")}) {
    const auto count = value.unsignedIfAny();
    // More than any table holds is no count.
    if (count && *count <= std::numeric_limits<std::int64_t>::max()) return count;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> bytesAFileFrom(const Json& metrics) {
  const auto bytes = metrics.at("outputByteSize").unsignedIfAny();
  const auto files = metrics.at("outputFileCount").unsignedIfAny();
  if (!bytes || !files || *files == 0) return std::nullopt;
  return *bytes / *files;
}

void addBatch(const Json& id, std::vector<model::BatchId>& batches) {
  // An empty one occurs in failed jobs.
  if (id.textOrEmpty().empty()) return;
  model::BatchId batch(id.id());
  if (std::ranges::find(batches, batch) == batches.end()) batches.push_back(std::move(batch));
}

/// An array of objects or of ids, an object that is one entry, or an object of entries by some key.
void addBatches(const Json& value, std::vector<model::BatchId>& batches, int level = 0) {
  constexpr int kMostLevels = 3;
  if (!value.exists() || level > kMostLevels) return;
  if (value.isArray()) {
    for (const Json& element : value.elements()) {
      element.isObject() ? addBatches(element, batches, level + 1) : addBatch(element, batches);
    }
  } else if (value.isObject() && value.at("batchId").exists()) {
    addBatch(value.at("batchId"), batches);
  } else if (value.isObject()) {
    for (const auto& [key, member] : value.members()) {
      if (member.isObject() || member.isArray()) addBatches(member, batches, level + 1);
    }
  }
}

/// The datasets that a batch belongs to; whether it names another batch too.
bool readRelated(const Json& related, std::vector<model::DatasetId>& datasets) {
  if (!related.isArray()) return false;
  bool namesBatch = false;
  for (const Json& one : related.elements()) {
    const std::string type = core::toLower(one.at("type").textIfAny().value_or(""));
    const std::string id = one.at("id").textIfAny().value_or("");
    if (type == "dataset" && !id.empty()) datasets.emplace_back(id);
    if (type == "batch") namesBatch = true;
  }
  return namesBatch;
}

core::TimePoint tolerantTime(const Json& value) {
  try {
    return value.timeIfAny().value_or(core::TimePoint());
  } catch (const core::Error&) {
    return {};
  }
}

/// A profile snapshot has the merge policy that it shows among its tags.
bool isSnapshot(const Json& dataset) {
  if (core::toLower(dataset.at("createdClient").textIfAny().value_or("")).find("profile_snapshot") !=
          std::string::npos ||
      core::toLower(dataset.at("createdUser").textIfAny().value_or("")).find("unifiedprofile_export@") !=
          std::string::npos) {
    return true;
  }
  const Json tags = dataset.at("tags");
  const auto members = tags.isObject() ? tags.members() : std::vector<std::pair<std::string, Json>>{{"", tags}};
  return std::ranges::any_of(members, [](const auto& member) {
    return core::toLower(member.first).starts_with("mergepolicyid") ||
           std::ranges::any_of(looseTexts(member.second), [](const std::string& text) {
             return core::toLower(text).starts_with("mergepolicyid:");
           });
  });
}

/// Seen in answers of 2024 to 2026; no document tells. See docs/platform.md.
model::BatchKind kindOf(const Json& batch, const std::string& createdClient, bool namesBatch) {
  const std::string client = core::toLower(createdClient);
  for (const std::string& word : looseTexts(batch.at("tags").at("acp_workflow"))) {
    if (core::toLower(word).find("consolidation") != std::string::npos) return model::BatchKind::consolidation;
  }
  if (client.find("compaction") != std::string::npos) return model::BatchKind::consolidation;
  const bool profiles = client == "acp_core_identity_data" || client == "acp_core_ups_ingest_controller";
  return namesBatch || profiles ? model::BatchKind::tracking : model::BatchKind::ordinary;
}

ExportJob::Filter filterFrom(const Json& segment) {
  return {.segment = model::SegmentId(segment.at("segmentId").textOrEmpty()),
          .segmentNamespace = segment.at("segmentNs").textOrEmpty(),
          .statuses = textsFrom(segment.at("status"))};
}

std::vector<ExportJob::Filter> filtersFrom(const Json& segments) {
  std::vector<ExportJob::Filter> result;
  if (segments.isObject()) return {filterFrom(segments)};
  if (!segments.exists()) return result;
  for (const Json& segment : segments.elements()) result.push_back(filterFrom(segment));
  return result;
}

std::vector<std::string> fieldsFrom(const Json& fields) {
  return fields.isText() ? core::splitList(fields.text()) : textsFrom(fields);
}

/// RFC 3339. What can't be read is a time that nobody asked for.
std::optional<core::TimePoint> rfcTimeFrom(const Json& value) {
  const auto text = value.textIfAny();
  if (!text) return std::nullopt;
  const auto time = core::parseTime(*text, {});
  return time ? time : core::TimePoint::min();
}

ExportScope scopeFrom(const Json& job) {
  const Json filter = job.at("filter");
  const Json qualified = filter.at("segmentQualificationTime");
  const Json events = job.at("additionalFields").at("eventList");
  const Json version = job.at("mergePolicy").at("version");
  ExportScope scope{.fields = fieldsFrom(job.at("fields")),
                    .mergePolicyId = job.at("mergePolicy").at("id").textIfAny().value_or("")};
  if (const auto number = version.unsignedIfAny()) scope.mergePolicyVersion = static_cast<std::int64_t>(*number);
  scope.qualifiedSince = rfcTimeFrom(qualified.at("startTime"));
  scope.qualifiedUntil = rfcTimeFrom(qualified.at("endTime"));
  scope.ingestedSince = rfcTimeFrom(filter.at("fromIngestTimestamp"));
  scope.emptyProfiles = filter.at("emptyProfiles").flagIfAny().value_or(false);
  if (events.exists()) scope.eventFields = fieldsFrom(events.at("fields"));
  scope.eventsSince = rfcTimeFrom(events.at("filter").at("fromIngestTimestamp"));
  scope.eventsUntil = rfcTimeFrom(events.at("filter").at("toIngestTimestamp"));
  return scope;
}

std::optional<core::TimePoint> updatedFrom(const Json& value) {
  if (const auto time = value.at("updateTime").timeIfAny()) return time;
  return value.at("updateEpoch").timeIfAny(std::chrono::seconds(1));
}

/// The document that `write` writes. Error(usage) if a text in it is not UTF-8.
std::string written(const std::function<void(json::Writer&)>& write) {
  std::string text;
  json::Writer json(text, json::Spacing::compact);
  write(json);
  if (json.isFaithful()) return text;
  throw core::Error(core::Category::usage, "a name, field or id is not valid UTF-8: " + core::printable(text, 200));
}

}  // namespace

void forEachKeyed(const Json& answer, const std::function<void(const Json& id, const Json& value)>& visit) {
  if (answer.isArray()) {
    for (const Json& element : answer.elements()) visit(element.at("id"), element);
    return;
  }
  const auto members = answer.members();
  const bool none =
      !members.empty() && std::ranges::none_of(members, [](const auto& m) { return m.second.isObject(); });
  // One odd entry is the matter of whoever reads it; where all are odd, this is no list.
  if (none) members.front().second.fail("is not an object, as the entries of this list are");
  for (const auto& [key, value] : members) visit(answer.key(key), value);
}

Json onlyEntry(const Json& answer, const std::string& id) {
  if (answer.at(id).isObject()) return answer.at(id);
  if (answer.isArray()) {
    const std::vector<Json> elements = answer.elements();
    if (elements.empty()) return answer.at(id);
    if (elements.size() > 1 || elements.front().at("id").textIfAny().value_or(id) != id) {
      answer.fail("is about something else than '" + core::printable(id, 80) + "'");
    }
    return elements.front();
  }
  const auto members = answer.members();
  if (members.empty()) return answer.at(id);
  const bool bare = !std::ranges::all_of(members, [](const auto& member) { return member.second.isObject(); });
  if (!bare || answer.at("id").textIfAny().value_or(id) != id) {
    answer.fail("is about something else than '" + core::printable(id, 80) + "'");
  }
  return answer;
}

model::Batch batchFrom(const std::string& id, const Json& value) {
  model::Batch batch{.id = model::BatchId(id)};
  batch.status = value.at("status").text();
  batch.created = value.at("created").time();
  // It would be older than whatever is asked for, and pass for fetched long ago.
  if (batch.created <= core::TimePoint()) {
    value.at("created").fail("is no time at which a batch was created: '" + value.at("created").text() + "'");
  }
  batch.createdClient = value.at("createdClient").textOrEmpty();
  batch.createdUser = value.at("createdUser").textIfAny().value_or("");
  batch.records = recordsFrom(value);
  batch.bytesAFile = bytesAFileFrom(value.at("metrics"));
  const bool namesBatch = readRelated(value.at("relatedObjects"), batch.datasets);
  const Json replay = value.at("replay");
  // What can't be an id names no batch.
  for (const std::string& predecessor : looseTexts(replay.at("predecessors"))) {
    if (model::isWellFormedId(predecessor)) batch.predecessors.emplace_back(predecessor);
  }
  batch.replayReason = replay.at("reason").textOrEmpty();
  batch.externalId = value.at("externalId").textIfAny().value_or("");
  batch.predecessorsByExternalId = looseTexts(replay.at("predecessorsByExternalId"));
  batch.kind = kindOf(value, batch.createdClient, namesBatch);
  if (batch.kind != model::BatchKind::ordinary) {
    batch.absorbed = std::exchange(batch.predecessors, {});
    batch.predecessorsByExternalId.clear();
  }
  return batch;
}

model::Batch batchListed(const Json& key, const Json& value) {
  try {
    if (!value.isObject()) value.fail("is not an object, as the entries of this list are");
    return batchFrom(key.id(), value);
  } catch (const core::Error& error) {
    if (error.category() != core::Category::protocol) throw;
    model::Batch batch{.id = model::BatchId(key.textIfAny().value_or("")), .flaw = error.what()};
    batch.status = value.at("status").textIfAny().value_or("");
    batch.createdClient = value.at("createdClient").textIfAny().value_or("");
    readRelated(value.at("relatedObjects"), batch.datasets);
    // Nothing rather than a time that no batch can have: that would be older than whatever is asked for.
    batch.created = std::max(tolerantTime(value.at("created")), core::TimePoint());
    return batch;
  }
}

FailedBatch failedBatchFrom(model::Batch batch, const Json& value) {
  FailedBatch failed{{std::move(batch)}, {}, {}};
  const Json errors = value.at("errors");
  std::vector<Json> listed;
  if (errors.isArray()) listed = errors.elements();
  if (errors.isObject()) listed.push_back(errors);
  for (const Json& error : listed) {
    BatchError one{.code = error.at("code").textIfAny().value_or(""),
                   .description = firstText(error, {"description", "message", "msg"})};
    if (one.description.empty()) one.description = error.textIfAny().value_or("");
    one.rows = looseTexts(error.at("rows"));
    failed.errors.push_back(std::move(one));
  }
  const Json metrics = value.at("metrics");
  for (const Json& count :
       {value.at("failedRecordCount"), metrics.at("failedRecordCount"), metrics.at("recordsFailed")}) {
    if (!failed.failedRecords) failed.failedRecords = count.unsignedIfAny();
  }
  return failed;
}

Dataset datasetFrom(const std::string& id, const Json& value) {
  return {.id = model::DatasetId(id),
          .name = value.at("name").textIfAny().value_or(""),
          .description = value.at("description").textIfAny().value_or(""),
          .schemaId = value.at("schemaRef").at("id").textIfAny().value_or(""),
          .created = tolerantTime(value.at("created")),
          .snapshot = isSnapshot(value)};
}

namespace {

SegmentDefinition definitionFrom(const Json& id, const Json& value) {
  SegmentDefinition segment{.id = model::SegmentId(id.id()),
                            .name = value.at("name").textOrEmpty(),
                            .mergePolicyId = value.at("mergePolicyId").textIfAny().value_or(""),
                            .updated = updatedFrom(value)};
  segment.state = value.at("lifecycleState").textIfAny().value_or("");
  // Its last evaluation, where there was one.
  const Json metrics = value.at("metrics");
  segment.evaluatedAt = updatedFrom(metrics);
  segment.members = metrics.at("data").at("totalProfiles").unsignedIfAny();
  return segment;
}

/// What segment jobs and export jobs have in common.
template <class Job>
void readProgress(const Json& value, Job& job) {
  job.status = value.at("status").text();
  job.phase = phaseFrom(job.status);
  job.created = value.at("creationTime").timeIfAny().value_or(core::TimePoint());
  job.updated = updatedFrom(value);
  job.problems = problemsFrom(value.at("errors"));
  job.requestId = value.at("requestId").textIfAny().value_or("");
}

}  // namespace

SegmentDefinition segmentFrom(const Json& value) {
  return definitionFrom(value.at("id"), value);
}

SegmentDefinition audienceFrom(const Json& value) {
  SegmentDefinition audience =
      definitionFrom(value.at("audienceId").exists() ? value.at("audienceId") : value.at("id"), value);
  audience.segmentNamespace = value.at("namespace").textIfAny().value_or("");
  audience.origin = value.at("originName").textIfAny().value_or("");
  return audience;
}

SegmentJob segmentJobFrom(const Json& value) {
  SegmentJob job{.id = model::SegmentJobId(value.at("id").id())};
  readProgress(value, job);
  const Json segments = value.at("segments");
  if (segments.isArray()) {
    for (const Json& segment : segments.elements()) {
      if (auto id = segment.at("segmentId").textIfAny()) job.segments.emplace_back(std::move(*id));
    }
  }
  const Json counted = value.at("metrics").at("segmentedProfileCounter");
  if (counted.isObject()) {
    for (const auto& [segment, number] : counted.members()) job.evaluated.emplace_back(segment);
  }
  return job;
}

ExportJob exportJobFrom(const Json& value) {
  ExportJob job{.id = model::ExportJobId(value.at("id").id())};
  readProgress(value, job);
  const Json destination = value.at("destination");
  const Json dataset = destination.at("datasetId");
  job.dataset = model::DatasetId((dataset.exists() ? dataset : destination.at("dataSetId")).textOrEmpty());
  job.filters = filtersFrom(value.at("filter").at("segments"));
  job.scope = scopeFrom(value);
  job.segmentPerBatch = destination.at("segmentPerBatch").flagIfAny();
  job.schemaName = value.at("schema").at("name").textIfAny().value_or("");
  addBatch(destination.at("batchId"), job.batches);
  addBatches(destination.at("batches"), job.batches);
  job.exportedProfiles = value.at("metrics").at("totalExportedProfileCounter").unsignedIfAny();
  return job;
}

model::DatasetId newDatasetIdFrom(const Json& answer) {
  const std::vector<Json> elements = answer.elements();
  if (elements.size() != 1) answer.fail("names " + std::to_string(elements.size()) + " datasets, not one");
  const std::string link = elements.front().text();
  const std::string id = link.substr(link.rfind('/') + 1);
  if (!link.starts_with('@') || !model::isWellFormedId(id)) {
    elements.front().fail("names no dataset: '" + core::printable(link, 120) + "'");
  }
  return model::DatasetId(id);
}

std::string bodyOf(const NewDataset& dataset) {
  return written([&](json::Writer& json) {
    json.beginObject();
    json.key("name").value(dataset.name);
    if (!dataset.description.empty()) json.key("description").value(dataset.description);
    json.key("schemaRef").beginObject();
    json.key("id").value(kProfileUnionSchema);
    json.key("contentType").value("application/vnd.adobe.xed+json;version=1");
    json.endObject();
    json.endObject();
  });
}

std::string bodyOf(std::span<const model::SegmentId> segments) {
  return written([&](json::Writer& json) {
    json.beginArray();
    for (const model::SegmentId& segment : segments) {
      json.beginObject().key("segmentId").value(segment.value()).endObject();
    }
    json.endArray();
  });
}

namespace {

void writeSegments(json::Writer& json, const NewExportJob& job) {
  json.key("segments").beginArray();
  for (const model::SegmentId& id : job.segments) {
    json.beginObject();
    json.key("segmentId").value(id.value());
    json.key("segmentNs").value(job.segmentNamespace);
    if (!job.statuses.empty()) {
      json.key("status").beginArray();
      for (const std::string& status : job.statuses) json.value(status);
      json.endArray();
    }
    json.endObject();
  }
  json.endArray();
}

struct Bound {
  const char* name;
  const std::optional<core::TimePoint>& time;
};

/// Nothing if neither bound is given.
void writeSpan(json::Writer& json, const char* name, const Bound& since, const Bound& until) {
  if (!since.time && !until.time) return;
  json.key(name).beginObject();
  for (const Bound* bound : {&since, &until}) {
    if (bound->time) json.key(bound->name).value(core::formatTime(*bound->time));
  }
  json.endObject();
}

void writeFilter(json::Writer& json, const NewExportJob& job) {
  const ExportScope& scope = job.scope;
  json.key("filter").beginObject();
  writeSegments(json, job);
  writeSpan(json, "segmentQualificationTime", {"startTime", scope.qualifiedSince}, {"endTime", scope.qualifiedUntil});
  if (scope.ingestedSince) json.key("fromIngestTimestamp").value(core::formatTime(*scope.ingestedSince));
  if (scope.emptyProfiles) json.key("emptyProfiles").value(true);
  json.endObject();
}

void writeEvents(json::Writer& json, const ExportScope& scope) {
  json.key("additionalFields").beginObject().key("eventList").beginObject();
  json.key("fields").value(core::joined(scope.eventFields, ","));
  writeSpan(json, "filter", {"fromIngestTimestamp", scope.eventsSince}, {"toIngestTimestamp", scope.eventsUntil});
  json.endObject().endObject();
}

}  // namespace

std::string bodyOf(const NewExportJob& job) {
  const ExportScope& scope = job.scope;
  return written([&](json::Writer& json) {
    json.beginObject();
    if (!scope.fields.empty()) json.key("fields").value(core::joined(scope.fields, ","));
    if (!scope.mergePolicyId.empty()) {
      json.key("mergePolicy").beginObject();
      json.key("id").value(scope.mergePolicyId);
      if (scope.mergePolicyVersion) json.key("version").value(std::int64_t{*scope.mergePolicyVersion});
      json.endObject();
    }
    writeFilter(json, job);
    if (!scope.eventFields.empty()) writeEvents(json, scope);
    json.key("destination").beginObject();
    json.key("datasetId").value(job.dataset.value());
    json.key("segmentPerBatch").value(job.segmentPerBatch);
    json.endObject();
    json.key("schema").beginObject().key("name").value(job.schemaName).endObject();
    json.endObject();
  });
}

}  // namespace caiexport::platform
