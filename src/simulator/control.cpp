/// The simulator's own resources under /_simulator: no authentication, for tests.
#include <algorithm>

#include "caiexport/core/error.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

JsonObject counted(const std::map<std::string, std::uint64_t>& counters) {
  JsonObject shown = object();
  for (const auto& [name, count] : counters) shown->set(name, count);
  return shown;
}

JsonObject commandOf(const Call& call) {
  JsonObject command = asObject(parseJson(call.request.body));
  if (!command) refuseKey("the body", "must be a JSON object");
  return command;
}

std::vector<std::string> textsIn(const JsonObject& command, const char* key) {
  const JsonArray named = command->has(key) ? arrayIn(command, key) : JsonArray();
  std::vector<std::string> texts;
  for (const Json& text : named ? *named : Poco::JSON::Array()) texts.push_back(text.convert<std::string>());
  return texts;
}

std::vector<std::string> predecessorsIn(const JsonObject& command, const std::string& last) {
  std::vector<std::string> ids = textsIn(command, "predecessors");
  const bool replay = command->has("replay") && readFlag("replay", command->get("replay"));
  if (replay && ids.empty() && !last.empty()) ids.push_back(last);
  return ids;
}

/// `{"count": 2, "replay": true, "reason": "...", "predecessors": ["..."], "predecessors_by_external_id": ["..."],
/// "external_id": "...", "created_client": "...", "status": "success", "files": 3, "records": 100}`, all optional: new
/// score batches.
Response addBatches(State& state, const JsonObject& command) {
  const auto number = [&](const char* key, std::uint64_t otherwise) {
    return command->has(key) ? readCount(key, command->get(key)) : otherwise;
  };
  JsonArray ids = array();
  for (std::uint64_t count = number("count", 1); count > 0; --count) {
    const Batch* last = newestOf(state.batches, [](const Batch& batch) {
      return batch.datasetId == kScoreDatasetId && batch.status != "failed" && batch.isOrdinary();
    });
    const core::TimePoint soonest = last != nullptr ? last->created + std::chrono::seconds(1) : state.now();
    const std::string predecessor = last != nullptr ? last->id : "";
    Batch& batch =
        addBatch(state, {.datasetId = kScoreDatasetId,
                         .idPrefix = "01JXSC",
                         .createdClient = stringIn(command, "created_client").value_or(state.scenario.createdClient),
                         .status = stringIn(command, "status").value_or(state.scenario.batchStatus),
                         .created = std::max(state.now(), soonest),
                         .data = {.seed = ++state.lastScoreSeed,
                                  .records = number("records", state.scenario.records),
                                  .files = number("files", state.scenario.files)}});
    batch.predecessors = predecessorsIn(command, predecessor);
    batch.replayReason = stringIn(command, "reason").value_or(batch.replayReason);
    batch.externalId = stringIn(command, "external_id").value_or("");
    batch.predecessorsByExternalId = textsIn(command, "predecessors_by_external_id");
    ids->add(batch.id);
  }
  return jsonAnswer(200, object({{"batches", ids}}));
}

/// `{"id": X}` removes a batch, `{"id": X, "status": S}` gives it another status, `{"id": X, "predecessors": [...]}`
/// others that it replaces.
Response changeBatch(State& state, const JsonObject& command) {
  const std::string id = stringIn(command, "id").value_or("");
  const auto status = stringIn(command, "status");
  std::uint64_t found = 0;
  for (auto batch = state.batches.begin(); batch != state.batches.end();) {
    const bool meant = batch->id == id;
    found += meant ? 1 : 0;
    batch->status = meant && status ? *status : batch->status;
    const bool replays = command->has("predecessors");
    batch->predecessors = meant && replays ? textsIn(command, "predecessors") : batch->predecessors;
    batch = meant && !status && !replays ? state.batches.erase(batch) : std::next(batch);
  }
  return found > 0 ? jsonAnswer(200, object({{"id", id}})) : notFound("batch " + id);
}

Response post(State& state, const Call& call) {
  if (call.rawPath == "/_simulator/scenario") {
    changeScenario(state, call.request.body);
    return jsonAnswer(200, object({{"changed", true}}));
  }
  const JsonObject command = commandOf(call);
  if (call.rawPath == "/_simulator/advance") {
    state.advanced += std::chrono::seconds(readCount("seconds", command->get("seconds")));
    return jsonAnswer(200, object({{"now", toMilliseconds(state.now())}}));
  }
  if (call.rawPath == "/_simulator/batches") return addBatches(state, command);
  return call.rawPath == "/_simulator/batch" ? changeBatch(state, command) : notFound(call.rawPath);
}

}  // namespace

void changeScenario(State& state, const std::string& json) {
  if (applyScenario(state.scenario, json)) rebuildScoreBatches(state);
}

JsonObject shownState(const State& state) {
  const Statistics& statistics = state.statistics;
  JsonObject answers = object();
  for (const auto& [status, count] : statistics.answers) answers->set(std::to_string(status), count);
  return object(
      {{"now", toMilliseconds(state.now())},
       {"tokens_issued", statistics.tokensIssued},
       {"datasets_created", statistics.datasetsCreated},
       {"datasets_deleted", statistics.datasetsDeleted},
       {"export_jobs_accepted", statistics.exportJobsAccepted},
       {"segment_jobs_accepted", statistics.segmentJobsAccepted},
       {"unfiltered_exports", statistics.unfilteredExports},
       {"faults_fired", statistics.faultsFired},
       {"bytes_served", statistics.bytesServed},
       {"file_bytes_served", statistics.fileBytesServed},
       {"connections", statistics.connections},
       {"handshakes", statistics.handshakes},
       {"requests_in_flight", statistics.requestsInFlight},
       {"most_in_flight", statistics.mostInFlight},
       {"requests", counted(statistics.requests)},
       {"answers", answers},
       {"faults",
        listOf(
            state.scenario.faults,
            [](const FaultRule& rule) {
              return object({{"method", rule.method}, {"path", rule.path}, {"seen", rule.seen}, {"fired", rule.fired}});
            })},
       {"datasets", listOf(state.datasets,
                           [](const Dataset& dataset) {
                             return object({{"id", dataset.id},
                                            {"name", dataset.name},
                                            {"description", dataset.description},
                                            {"sandbox", dataset.sandbox}});
                           })},
       {"batches", listOf(state.batches,
                          [](const Batch& batch) {
                            return object({{"id", batch.id},
                                           {"dataset", batch.datasetId},
                                           {"status", batch.status},
                                           {"created", toMilliseconds(batch.created)},
                                           {"files", batch.data.files},
                                           {"records", batch.data.records}});
                          })},
       {"segments", listOf(state.segments,
                           [](const Segment& segment) {
                             return object({{"id", segment.id}, {"name", segment.name}});
                           })},
       {"export_jobs",
        listOf(state.exportJobs,
               [](const ExportJob& job) {
                 return object({{"id", job.number}, {"status", job.state.status}, {"dataset", job.datasetId}});
               })},
       {"segment_jobs", listOf(state.segmentJobs, [](const SegmentJob& job) {
          return object({{"id", job.id}, {"status", job.state.status}});
        })}});
}

Response control(State& state, Call& call) {
  if (call.rawPath == "/_simulator/state") return jsonAnswer(200, shownState(state));
  if (call.request.method != "POST") return methodNotAllowed();
  try {
    return post(state, call);
  } catch (const core::Error& error) {
    return placeholderProblem(400, "BadRequestError", error.what());
  } catch (const std::invalid_argument& error) {
    return placeholderProblem(400, "BadRequestError", error.what());
  }
}

}  // namespace caiexport::simulator
