#include "job_json.h"

#include <algorithm>

#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/plan.h"
#include "caiexport/store/history.h"
#include "job_fields.h"

namespace caiexport::cli {
namespace {

void writeSteps(json::Writer& json, const model::Job& job) {
  json.key("steps").beginArray();
  for (const model::Step& step : job.steps) {
    json.beginObject();
    json.key("name").value(model::nameOf(step.name));
    json.key("state").value(model::nameOf(step.state));
    writeTime(json, "started_at", step.startedAt);
    writeTime(json, "finished_at", step.finishedAt);
    json.key("attempts").value(std::uint64_t{step.attempts});
    json.endObject();
  }
  json.endArray();
}

/// Where it is now: its batch may have been moved aside.
std::filesystem::path placeOf(const model::Job& job, const model::FileRecord& file,
                              std::span<const model::Replacement> replaced) {
  const auto moved = std::ranges::find(replaced, file.remote.batchId, &model::Replacement::batch);
  if (moved == replaced.end() || moved->action != model::ReplaceAction::aside) return pathOf(job, file);
  return moved->path / file.path;
}

void writeFile(json::Writer& json, const model::FileRecord& file, const std::filesystem::path& path) {
  json.beginObject();
  json.key("name").value(file.remote.name);
  json.key("path").value(path.string());
  json.key("batch_id").value(file.remote.batchId.value());
  json.key("dataset_file_id").value(file.remote.datasetFileId.value());
  json.key("bytes").value(file.remote.lengthBytes);
  json.key("sha256").textOrNull(file.sha256);
  json.key("records").value(file.records);
  json.key("state").value(model::nameOf(file.state));
  json.endObject();
}

void writeEvent(json::Writer& json, const model::Event& event) {
  json.beginObject();
  writeTime(json, "at", event.at);
  json.key("step");
  if (event.step) {
    json.value(model::nameOf(*event.step));
  } else {
    json.null();
  }
  json.key("what").value(event.what);
  json.key("detail").value(event.detail);
  json.endObject();
}

}  // namespace

std::filesystem::path batchFolder(const model::Job& job, const model::BatchId& batch) {
  return job.request.output / job.datasetId.value() / batch.value();
}

std::filesystem::path pathOf(const model::Job& job, const model::FileRecord& file) {
  return batchFolder(job, file.remote.batchId) / file.path;
}

void writeTime(json::Writer& json, std::string_view key, const std::optional<core::TimePoint>& time) {
  json.key(key);
  if (time) {
    json.value(core::formatTime(*time));
  } else {
    json.null();
  }
}

model::JobError recordOf(const core::Error& error) {
  return {.category = error.category(), .message = error.what(), .requestId = error.requestId(), .hint = error.hint()};
}

void writeReplacements(json::Writer& json, std::span<const model::Replacement> replacements) {
  json.beginArray();
  for (const model::Replacement& one : replacements) {
    json.beginObject();
    json.key("batch_id").value(one.batch.value());
    json.key("by").value(one.by.value());
    json.key("action").value(model::nameOf(one.action));
    json.key("path").textOrNull(one.path.string());
    json.endObject();
  }
  json.endArray();
}

void writeError(json::Writer& json, const std::optional<model::JobError>& error) {
  if (!error) {
    json.null();
    return;
  }
  json.beginObject();
  json.key("category").value(core::nameOf(error->category));
  json.key("message").value(error->message);
  json.key("request_id").textOrNull(error->requestId);
  json.key("hint").value(error->hint);
  json.endObject();
}

void writeFailure(json::Writer& json, const core::Error& error) {
  json.beginObject();
  json.key("job").null();
  json.key("error");
  writeError(json, recordOf(error));
  json.endObject();
}

void writeJob(json::Writer& json, const store::JobView& view, JobDetail detail, store::History& history,
              const std::optional<model::JobError>& error) {
  const model::Job& job = view.job;
  json.beginObject();
  writeJobFields(json, view);
  json.key("error");
  writeError(json, error ? error : job.error);
  if (detail != JobDetail::summary) {
    writeSteps(json, job);
    const std::vector<model::Replacement> replaced = history.replacementsOf(job);
    json.key("file_list").beginArray();
    history.forEachFile(job.id,
                        [&](const model::FileRecord& file) { writeFile(json, file, placeOf(job, file, replaced)); });
    json.endArray();
    json.key("replaced");
    writeReplacements(json, replaced);
  }
  if (detail == JobDetail::everything) {
    json.key("events").beginArray();
    history.forEachEvent(job.id, [&](const model::Event& event) { writeEvent(json, event); });
    json.endArray();
  }
  json.endObject();
}

}  // namespace caiexport::cli
