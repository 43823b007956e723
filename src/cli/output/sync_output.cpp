#include "sync_output.h"

#include <set>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/history.h"
#include "job_json.h"
#include "job_text.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

fs::path datasetFolder(const engine::SyncRequest& request) {
  return request.job.output / request.job.sourceId;
}

/// What `latest` names; empty if there is none.
std::string latestIn(const fs::path& folder) {
  std::error_code error;
  const fs::path target = fs::read_symlink(folder / engine::kLatestName, error);
  return error ? "" : target.string();
}

CommandEnd withHint(const engine::SyncResult& result) {
  if (!result.error || !result.error->hint().empty()) return result.error;
  const bool stopped = result.error->category() == core::Category::interrupted;
  return core::Error(
      result.error->category(), result.error->what(),
      {.requestId = result.error->requestId(),
       .hint = stopped ? "what was downloaded is kept; the next sync continues" : "the next sync tries again"});
}

void printJson(store::History& history, const engine::SyncRequest& request, const engine::SyncResult& result,
               const CommandEnd& end, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("dataset_id").value(request.job.sourceId);
  json.key("org_id").value(request.job.orgId);
  json.key("sandbox").value(request.job.sandbox);
  json.key("output").value(request.job.output.string());
  json.key("jobs").beginArray();
  for (const model::JobId job : result.jobs) writeJob(json, history.job(job), JobDetail::result, history);
  json.endArray();
  json.key("replaced");
  writeReplacements(json, result.replaced);
  json.key("mark");
  writeMark(json, result.mark);
  json.key("latest").textOrNull(latestIn(datasetFolder(request)));
  json.key("error");
  writeError(json, end ? std::optional(recordOf(*end)) : std::nullopt);
  json.endObject();
  out.write("\n");
}

/// Of the batches, each once: several jobs may have brought the same one.
struct Totals {
  std::set<model::BatchId> batches;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
};

void addTo(Totals& totals, const model::Job& job, store::History& history) {
  std::set<model::BatchId> fresh;
  for (const model::Batch& batch : job.batches) {
    if (totals.batches.insert(batch.id).second) fresh.insert(batch.id);
  }
  if (fresh.size() == job.batches.size()) {
    totals.files += job.fileCount;
    totals.bytes += job.totalBytes;
    totals.records += job.records.value_or(0);
    return;
  }
  if (fresh.empty()) return;
  history.forEachFile(job.id, [&](const model::FileRecord& file) {
    if (!fresh.contains(file.remote.batchId)) return;
    ++totals.files;
    totals.bytes += file.remote.lengthBytes;
    totals.records += file.records.value_or(0);
  });
}

std::string jobLine(const store::JobView& view) {
  const model::Job& job = view.job;
  std::string batches;
  for (const model::Batch& batch : job.batches) batches += "  " + core::printable(batch.id.value(), 80);
  return "  job " + std::to_string(model::numberOf(job.id)) + batches + "  " + counted(job.fileCount, "file", "files") +
         ", " + core::formatBytes(job.totalBytes) +
         (job.records ? ", " + recordsText(*job.records, job.batches.size()) : "") + "\n";
}

std::string nothingNew(const engine::SyncResult& result) {
  if (!result.newest) return "nothing new: all its batches have been dealt with\n";
  return "nothing new; the newest batch, " + core::printable(result.newest->id.value(), 80) + ", was created " +
         core::formatTime(result.newest->created) + "\n";
}

void printText(store::History& history, const engine::SyncRequest& request, const engine::SyncResult& result,
               StandardOutput& out) {
  Totals totals;
  std::string lines;
  for (const model::JobId job : result.jobs) {
    const store::JobView view = history.job(job);
    if (view.status != model::JobStatus::succeeded) continue;
    lines += jobLine(view);
    addTo(totals, view.job, history);
  }
  for (const model::Replacement& one : result.replaced) {
    lines += "  " + core::printable(one.batch.value(), 80) + " " + replacementText(one) + "\n";
  }
  std::string text = "Dataset " + core::printable(request.job.sourceId, 80) + " (sandbox " +
                     core::printable(request.job.sandbox, 40) + "): ";
  if (lines.empty()) {
    // A run that failed before it found out says nothing about what is new.
    if (!result.error) out.write(text + nothingNew(result));
    return;
  }
  text += counted(totals.batches.size(), "new batch", "new batches");
  if (!totals.batches.empty()) {
    text += ", " + counted(totals.files, "file", "files") + ", " + core::formatBytes(totals.bytes);
    if (totals.records > 0) text += ", " + recordsText(totals.records, totals.batches.size());
  }
  out.write(text + "\n" + lines + "In " + core::printable(datasetFolder(request).string()) + "\n");
  if (!latestIn(datasetFolder(request)).empty() && !result.error) {
    out.write("Next: caiexport scores " + core::printable((datasetFolder(request) / engine::kLatestName).string()) +
              "\n");
  }
}

}  // namespace

void writeMark(json::Writer& json, const std::optional<store::SyncMark>& mark) {
  if (!mark) {
    json.null();
    return;
  }
  json.beginObject();
  json.key("batch_id").value(mark->batch.value());
  json.key("created").value(core::formatTime(mark->created));
  json.endObject();
}

CommandEnd printSync(store::History& history, const engine::SyncRequest& request, const engine::SyncResult& result,
                     TextOrJson format, Context& context) {
  CommandEnd end = withHint(result);
  if (format == TextOrJson::json) {
    printJson(history, request, result, end, context.out);
  } else if (context.console.level() != Console::Level::quiet) {
    printText(history, request, result, context.out);
  }
  return end;
}

}  // namespace caiexport::cli
