#include "simulator/scenario.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

/// Decides on several other keys, which may then say otherwise.
constexpr const char* kWorld = "world";

struct Key {
  std::function<void(Scenario&, const std::string& key, const Json& value)> apply;
  bool shape = false;
};

Key count(std::uint64_t Scenario::*member, std::uint64_t least = 0) {
  return {.apply = [member, least](Scenario& scenario, const std::string& key, const Json& value) {
    scenario.*member = readCount(key, value);
    if (scenario.*member < least) refuseKey(key, "must be at least " + std::to_string(least));
  }};
}

template <class Value>
Key plain(Value Scenario::*member, Value (*read)(const std::string&, const Json&)) {
  return {.apply = [member, read](Scenario& scenario, const std::string& key, const Json& value) {
    scenario.*member = read(key, value);
  }};
}

Key namedTexts(std::map<std::string, std::string> Scenario::*member) {
  return {.apply = [member](Scenario& scenario, const std::string& key, const Json& value) {
    const JsonObject given = asObject(value);
    if (!given) refuseKey(key, "must be an object of texts");
    (scenario.*member).clear();
    for (const std::string& name : given->getNames()) (scenario.*member)[name] = readText(key, given->get(name));
  }};
}

/// Any text, or one of `allowed` where that is given.
Key text(std::string Scenario::*member, const std::vector<std::string>& allowed = {}) {
  return {.apply = [member, allowed](Scenario& scenario, const std::string& key, const Json& value) {
    const std::string given = readText(key, value);
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), given) == allowed.end()) {
      refuseKey(key, "must be one of " + core::joined(allowed, ", "));
    }
    scenario.*member = given;
  }};
}

Key shape(Key key) {
  key.shape = true;
  return key;
}

void applyFaults(Scenario& scenario, const std::string& key, const Json& value) {
  const JsonArray list = asArray(value);
  if (!list) refuseKey(key, "must be a list of objects");
  scenario.faults.clear();
  for (const Json& rule : *list) scenario.faults.push_back(parseFaultRule(rule));
}

/// `live`: what recorded answers show beside the score batches; `plain`: what documents alone have.
void applyWorld(Scenario& scenario, const std::string& key, const Json& value) {
  const std::string world = readText(key, value);
  if (world != "live" && world != "plain") refuseKey(key, "must be one of live, plain");
  const bool live = world == "live";
  scenario.trackingBatches = live;
  scenario.consolidations = live ? 1 : 0;
  scenario.supersededBatches = live ? 1 : 0;
  scenario.supersededStatus = live ? "inactive" : "";
}

const std::map<std::string, Key>& keys() {
  static const std::map<std::string, Key> table = {
      {"client_id", text(&Scenario::clientId)},
      {"client_secret", text(&Scenario::clientSecret)},
      {"organization", text(&Scenario::organization)},
      {"access_token", text(&Scenario::accessToken)},
      {"sandboxes", plain(&Scenario::sandboxes, readTexts)},
      {"token_lifetime_seconds", count(&Scenario::tokenLifetimeSeconds)},
      {kWorld, shape({.apply = applyWorld})},
      {"batches", shape(count(&Scenario::batches))},
      {"batch_spacing_seconds", shape(count(&Scenario::batchSpacingSeconds, 1))},
      {"failed_batches", shape(count(&Scenario::failedBatches))},
      {"failed_files", count(&Scenario::failedFiles)},
      {"files", shape(count(&Scenario::files))},
      {"older_batch_files", shape(count(&Scenario::olderBatchFiles))},
      {"dataset_files", shape(count(&Scenario::datasetFiles, 1))},
      {"nested_directories", shape(count(&Scenario::nestedDirectories))},
      {"records", shape(count(&Scenario::records))},
      {"file_bytes", shape(count(&Scenario::fileBytes))},
      {"success_marker", shape(plain(&Scenario::successMarker, readFlag))},
      {"duplicate_names", shape(plain(&Scenario::duplicateNames, readFlag))},
      {"files_beside", shape(namedTexts(&Scenario::filesBeside))},
      {"file_names", shape(plain(&Scenario::fileNames, readTexts))},
      {"created_client", shape(text(&Scenario::createdClient))},
      {"replay", shape(plain(&Scenario::replay, readFlag))},
      {"tracking_batches", shape(plain(&Scenario::trackingBatches, readFlag))},
      {"consolidations", shape(count(&Scenario::consolidations))},
      {"superseded_batches", shape(count(&Scenario::supersededBatches))},
      {"consolidation_marked", plain(&Scenario::consolidationMarked, readFlag)},
      {"partition_folders", shape(plain(&Scenario::partitionFolders, readFlag))},
      {"snapshot", shape(plain(&Scenario::snapshot, readFlag))},
      {"superseded_status", text(&Scenario::supersededStatus)},
      {"slow_pages", count(&Scenario::slowPages)},
      {"catalog_page", count(&Scenario::catalogPage, 1)},
      {"ignored_filters", plain(&Scenario::ignoredFilters, readTexts)},
      {"other_datasets", count(&Scenario::otherDatasets)},
      {"other_segments", count(&Scenario::otherSegments)},
      {"lengths_as_numbers", plain(&Scenario::lengthsAsNumbers, readFlag)},
      {"href_port", text(&Scenario::hrefPort, {"own", "explicit", "alternate"})},
      {"href_origin", text(&Scenario::hrefOrigin)},
      {"count_meaning", text(&Scenario::countMeaning, {"mixed", "total", "page"})},
      {"page_limit", count(&Scenario::pageLimit, 1)},
      {"bare_arrays", plain(&Scenario::bareArrays, readFlag)},
      {"raw_single_file", plain(&Scenario::rawSingleFile, readFlag)},
      {"file_validators", text(&Scenario::fileValidators, {"none", "etag", "last_modified"})},
      {"file_version", count(&Scenario::fileVersion)},
      {"directory_cycle", plain(&Scenario::directoryCycle, readFlag)},
      {"listed_length_delta", plain(&Scenario::listedLengthDelta, readInteger)},
      {"metrics_form", text(&Scenario::metricsForm, {"output", "written", "negative", "none"})},
      {"reported_records_delta", plain(&Scenario::reportedRecordsDelta, readInteger)},
      {"batch_status", text(&Scenario::batchStatus)},
      {"dataset_reply", text(&Scenario::datasetReply, {"camel", "lower"})},
      {"duplicate_dataset_name", text(&Scenario::duplicateDatasetName, {"refuse", "accept"})},
      {"dataset_id_key", text(&Scenario::datasetIdKey, {"datasetId", "dataSetId"})},
      {"batches_form", text(&Scenario::batchesForm, {"id", "array", "object", "none"})},
      {"export_polls", count(&Scenario::exportPolls)},
      {"export_result",
       text(&Scenario::exportResult, {"SUCCEEDED", "SUCCEEDED_WITH_ERRORS", "FAILED", "CANCELLED", "VANISHED"})},
      {"export_profiles", count(&Scenario::exportProfiles)},
      {"export_files", count(&Scenario::exportFiles)},
      {"reported_profiles_delta", plain(&Scenario::reportedProfilesDelta, readInteger)},
      {"batch_visible_after_polls", count(&Scenario::batchVisibleAfterPolls)},
      {"early_batch_statuses", plain(&Scenario::earlyBatchStatuses, readTexts)},
      {"unknown_status", text(&Scenario::unknownStatus)},
      {"segment_job_polls", count(&Scenario::segmentJobPolls)},
      {"segment_job_result", text(&Scenario::segmentJobResult, {"SUCCEEDED", "FAILED", "CANCELLED"})},
      {"nightly_evaluations", count(&Scenario::nightlyEvaluations)},
      {"audiences_evaluated", count(&Scenario::audiencesEvaluated)},
      {"evaluations_a_day", count(&Scenario::evaluationsADay)},
      {"evaluations_a_year", count(&Scenario::evaluationsAYear)},
      {"b2b_simplification", plain(&Scenario::b2bSimplification, readFlag)},
      {"ignore_sort", plain(&Scenario::ignoreSort, readFlag)},
      {"hidden_batches", count(&Scenario::hiddenBatches)},
      {"definition_metrics", plain(&Scenario::definitionMetrics, readFlag)},
      {"audiences", plain(&Scenario::audiences, readFlag)},
      {"segment_links", text(&Scenario::segmentLinks, {"live", "documented", "none"})},
      {"delete_reply", text(&Scenario::deleteReply, {"200", "202", "204"})},
      {"faults", {.apply = applyFaults}},
  };
  return table;
}

}  // namespace

bool applyScenario(Scenario& scenario, const std::string& json) {
  JsonObject parsed;
  try {
    parsed = asObject(parseJson(json));
  } catch (const std::invalid_argument& error) {
    refuseKey("the text", std::string("is not JSON: ") + error.what());
  }
  if (!parsed) refuseKey("the text", "must be a JSON object");
  Scenario changed = scenario;
  bool reshaped = false;
  std::vector<std::string> names = parsed->getNames();
  std::stable_partition(names.begin(), names.end(), [](const std::string& name) { return name == kWorld; });
  for (const std::string& key : names) {
    const auto known = keys().find(key);
    if (known == keys().end()) {
      if (key == "description") continue;
      refuseKey("'" + key + "'", "is not a key");
    }
    known->second.apply(changed, key, parsed->get(key));
    reshaped = reshaped || known->second.shape;
  }
  scenario = std::move(changed);
  return reshaped;
}

Scenario loadScenario(const std::string& nameOrFile) {
  Scenario scenario;
  applyScenario(scenario, R"({"world": "live"})");
  for (const BuiltinScenario& builtin : builtinScenarios()) {
    if (builtin.name == nameOrFile) {
      applyScenario(scenario, std::string(builtin.json));
      return scenario;
    }
  }
  if (!std::filesystem::is_regular_file(nameOrFile)) {
    throw core::Error(core::Category::usage, "scenario '" + nameOrFile + "' is neither built in nor a file",
                      {.hint = "caiexport-simulator --list-scenarios prints the names"});
  }
  applyScenario(scenario, core::readFile(nameOrFile));
  return scenario;
}

std::string descriptionOf(const BuiltinScenario& scenario) {
  return stringIn(asObject(parseJson(std::string(scenario.json))), "description").value_or("");
}

}  // namespace caiexport::simulator
