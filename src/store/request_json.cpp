#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/json/document.h"
#include "caiexport/json/writer.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using json::Document;
using json::Kind;
using Index = Document::Index;

// --- writing

/// Members of one object.
class Writer {
 public:
  explicit Writer(json::Writer& json) : json_(json) {}

  Writer& put(const char* key, const std::vector<std::string>& values) {
    json_.key(key).beginArray();
    for (const std::string& value : values) json_.value(value);
    json_.endArray();
    return checked(key);
  }
  Writer& put(const char* key, core::Duration value) { return put(key, static_cast<std::int64_t>(value.count())); }
  Writer& put(const char* key, core::TimePoint value) { return put(key, value.time_since_epoch()); }
  template <class Value>
  Writer& put(const char* key, const std::optional<Value>& value) {
    if (value) return put(key, *value);
    json_.key(key).null();
    return *this;
  }
  template <class Value>
  Writer& put(const char* key, const Value& value) {
    json_.key(key).value(value);
    return checked(key);
  }
  template <class Part, class Write>
  Writer& putPart(const char* key, const Part& part, const Write& write) {
    json_.key(key).beginObject();
    write(part, *this);
    json_.endObject();
    return *this;
  }

 private:
  Writer& checked(const char* key) {
    if (json_.isFaithful()) return *this;
    throw core::Error(core::Category::internal, std::string("the request's ") + key + " is not UTF-8");
  }

  json::Writer& json_;
};

void writeBatches(const model::BatchSelection& batches, Writer& out) {
  out.put("batch", batches.batch.value());
  out.put("limit", batches.limit ? std::optional<std::int64_t>(*batches.limit) : std::nullopt);
  out.put("since", batches.since).put("until", batches.until);
  out.put("created_client", batches.createdClient).put("include_replaced", batches.includeReplaced);
}

void writeSegment(const model::SegmentOptions& segment, Writer& out) {
  out.put("target_dataset", segment.targetDataset.value()).put("dataset_name", segment.datasetName);
  out.put("fields", segment.fields).put("statuses", segment.statuses);
  out.put("merge_policy_id", segment.mergePolicyId).put("merge_policy_version", segment.mergePolicyVersion);
  out.put("namespace", segment.segmentNamespace).put("evaluate", segment.evaluate);
  out.put("poll_interval_ms", segment.pollInterval).put("poll_max_ms", segment.pollMax);
  out.put("timeout_ms", segment.timeout).put("wait", segment.wait).put("delete_dataset", segment.deleteDataset);
  out.put("reuse", segment.reuse).put("wait_for_evaluation", segment.waitForEvaluation);
  out.put("qualified_since", segment.qualifiedSince).put("qualified_until", segment.qualifiedUntil);
  out.put("ingested_since", segment.ingestedSince).put("empty_profiles", segment.emptyProfiles);
  out.put("event_fields", segment.eventFields);
  out.put("events_since", segment.eventsSince).put("events_until", segment.eventsUntil);
  out.put("segment_per_batch", segment.segmentPerBatch).put("schema_name", segment.schemaName);
}

void writeGuards(const model::Guards& guards, Writer& out) {
  out.put("max_age_ms", guards.maxAge);
  out.put("min_records",
          guards.minRecords ? std::optional(static_cast<std::int64_t>(*guards.minRecords)) : std::nullopt);
  out.put("max_change_percent", guards.maxChangePercent);
}

// --- reading

[[noreturn]] void refuse(const std::string& what) {
  throw core::Error(core::Category::io, "cannot read a request in the job database: " + what);
}

/// Members of one object, of the types that are asked for; what is null or absent leaves the value as it is.
class Reader {
 public:
  explicit Reader(const Document& document, std::optional<Index> object) : document_(document), object_(object) {}

  void get(const char* key, std::string& into) const {
    if (const Index value = given(key)) into = textOf(value, key);
  }
  void get(const char* key, bool& into) const {
    const Index value = given(key);
    if (value == 0) return;
    if (document_.kind(value) != Kind::boolean) refuse(std::string(key) + " is not true or false");
    into = document_.boolean(value);
  }
  void get(const char* key, std::int64_t& into) const {
    const Index value = given(key);
    if (value == 0) return;
    if (document_.kind(value) != Kind::integer) refuse(std::string(key) + " is not a whole number");
    into = document_.integer(value);
  }
  void get(const char* key, std::uint32_t& into) const {
    std::int64_t number = into;
    get(key, number);
    if (number < 0 || number > std::numeric_limits<std::uint32_t>::max()) refuse(std::string(key) + " is out of range");
    into = static_cast<std::uint32_t>(number);
  }
  void get(const char* key, double& into) const {
    const Index value = given(key);
    if (value == 0) return;
    if (document_.kind(value) == Kind::integer) {
      into = static_cast<double>(document_.integer(value));
    } else if (document_.kind(value) == Kind::real) {
      into = document_.real(value);
    } else {
      refuse(std::string(key) + " is not a number");
    }
  }
  void get(const char* key, core::Duration& into) const {
    std::int64_t count = into.count();
    get(key, count);
    into = core::Duration(count);
  }
  void get(const char* key, core::TimePoint& into) const {
    core::Duration sinceEpoch = into.time_since_epoch();
    get(key, sinceEpoch);
    into = core::TimePoint(sinceEpoch);
  }
  void get(const char* key, std::vector<std::string>& into) const {
    const Index array = member(key);
    if (array == 0) return;
    if (document_.kind(array) != Kind::array) refuse(std::string(key) + " is not a list");
    into.clear();
    for (const Index element : document_.elements(array)) into.push_back(textOf(element, key));
  }
  template <class Tag>
  void get(const char* key, model::Id<Tag>& into) const {
    std::string value = into.value();
    get(key, value);
    into = model::Id<Tag>(std::move(value));
  }
  /// null is a value here: nothing.
  template <class Value>
  void get(const char* key, std::optional<Value>& into) const {
    const Index value = member(key);
    if (value == 0) return;
    into.reset();
    if (document_.kind(value) != Kind::null) get(key, into.emplace());
  }
  /// An empty one if it is absent.
  Reader part(const char* key) const {
    const Index object = member(key);
    if (object == 0) return Reader(document_, std::nullopt);
    if (document_.kind(object) != Kind::object) refuse(std::string(key) + " is not an object");
    return Reader(document_, object);
  }

 private:
  /// 0: there is none.
  Index member(const char* key) const { return object_ ? document_.member(*object_, key) : 0; }
  /// 0: there is none, or it is null.
  Index given(const char* key) const {
    const Index value = member(key);
    return value != 0 && document_.kind(value) == Kind::null ? 0 : value;
  }
  std::string textOf(Index value, const char* key) const {
    if (document_.kind(value) != Kind::text)
      refuse(std::string(key) + " is not a text, or holds something that is none");
    return std::string(document_.text(value));
  }

  const Document& document_;
  std::optional<Index> object_;
};

void readBatches(const Reader& in, model::BatchSelection& batches) {
  in.get("batch", batches.batch);
  in.get("limit", batches.limit);
  in.get("since", batches.since);
  in.get("until", batches.until);
  in.get("created_client", batches.createdClient);
  in.get("include_replaced", batches.includeReplaced);
}

void readSegment(const Reader& in, model::SegmentOptions& segment) {
  in.get("target_dataset", segment.targetDataset);
  in.get("dataset_name", segment.datasetName);
  in.get("fields", segment.fields);
  in.get("statuses", segment.statuses);
  in.get("merge_policy_id", segment.mergePolicyId);
  in.get("merge_policy_version", segment.mergePolicyVersion);
  in.get("namespace", segment.segmentNamespace);
  in.get("evaluate", segment.evaluate);
  in.get("poll_interval_ms", segment.pollInterval);
  in.get("poll_max_ms", segment.pollMax);
  in.get("timeout_ms", segment.timeout);
  in.get("wait", segment.wait);
  in.get("delete_dataset", segment.deleteDataset);
  in.get("reuse", segment.reuse);
  in.get("wait_for_evaluation", segment.waitForEvaluation);
  in.get("qualified_since", segment.qualifiedSince);
  in.get("qualified_until", segment.qualifiedUntil);
  in.get("ingested_since", segment.ingestedSince);
  in.get("empty_profiles", segment.emptyProfiles);
  in.get("event_fields", segment.eventFields);
  in.get("events_since", segment.eventsSince);
  in.get("events_until", segment.eventsUntil);
  in.get("segment_per_batch", segment.segmentPerBatch);
  in.get("schema_name", segment.schemaName);
}

void readGuards(const Reader& in, model::Guards& guards) {
  in.get("max_age_ms", guards.maxAge);
  std::optional<std::int64_t> records;
  in.get("min_records", records);
  if (records && *records < 0) refuse("min_records is below 0");
  if (records) guards.minRecords = static_cast<std::uint64_t>(*records);
  in.get("max_change_percent", guards.maxChangePercent);
}

}  // namespace

std::string requestToJson(const model::ExportRequest& request) {
  std::string text;
  json::Writer json(text, json::Spacing::compact);
  json.beginObject();
  Writer out(json);
  out.put("base_url", request.baseUrl).put("verify", nameOf(request.verify));
  out.put("download", request.download).put("force", request.force).put("layout", nameOf(request.layout));
  out.put("deliver", request.deliver).put("delete_after_delivery", request.deleteAfterDelivery);
  out.putPart("batches", request.batches, writeBatches).putPart("segment", request.segment, writeSegment);
  out.putPart("guards", request.guards, writeGuards);
  json.endObject();
  return text;
}

void requestFromJson(const std::string& json, model::ExportRequest& request) {
  const Document::Parsed parsed = Document::parse(json);
  if (!parsed.document) refuse("it is not JSON");
  if (parsed.document->kind(0) != Kind::object) refuse("it is not an object");
  const Reader in(*parsed.document, 0);
  in.get("base_url", request.baseUrl);
  in.get("download", request.download);
  in.get("force", request.force);
  std::string verify(nameOf(request.verify));
  in.get("verify", verify);
  const auto level = model::verifyLevelFrom(verify);
  if (!level) refuse("verify is \"" + verify + "\"");
  request.verify = *level;
  std::string name(nameOf(request.layout));
  in.get("layout", name);
  const auto layout = model::layoutFrom(name);
  if (!layout) refuse("layout is \"" + name + "\"");
  request.layout = *layout;
  in.get("deliver", request.deliver);
  in.get("delete_after_delivery", request.deleteAfterDelivery);
  readBatches(in.part("batches"), request.batches);
  readSegment(in.part("segment"), request.segment);
  readGuards(in.part("guards"), request.guards);
}

}  // namespace caiexport::store
