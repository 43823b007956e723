#include "dry_run.h"

#include <algorithm>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/plan.h"
#include "cli/output/job_text.h"
#include "cli/session.h"

namespace caiexport::cli {
namespace {

using model::Batch;

struct PlannedBatch {
  Batch batch;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

struct DryRun {
  std::vector<PlannedBatch> batches;
  std::vector<model::BatchId> replaced;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

DryRun ask(platform::Client& client, const model::ExportRequest& request, const std::stop_token& stop) {
  std::vector<Batch> batches = engine::chooseBatches(client, request, stop);
  const auto newest = std::ranges::max_element(batches, {}, &Batch::created);
  engine::requireFresh(request.guards.maxAge,
                       "the newest batch of dataset " + request.sourceId + ", " + newest->id.value() + ", was created",
                       newest->created, client);
  DryRun plan;
  if (!request.batches.includeReplaced) plan.replaced = model::replacedAmong(batches);
  for (Batch& batch : batches) {
    if (std::ranges::find(plan.replaced, batch.id) != plan.replaced.end()) continue;
    PlannedBatch planned{.batch = std::move(batch)};
    client.listFiles(
        planned.batch.id,
        [&](std::vector<model::RemoteFile>&& page) {
          for (const model::RemoteFile& file : page) {
            ++planned.files;
            planned.bytes += file.lengthBytes;
          }
        },
        stop);
    plan.files += planned.files;
    plan.bytes += planned.bytes;
    plan.batches.push_back(std::move(planned));
  }
  return plan;
}

void printJson(const DryRun& plan, const model::ExportRequest& request, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("job").null();
  json.key("dry_run").value(true);
  json.key("dataset_id").value(request.sourceId);
  json.key("files").value(plan.files);
  json.key("bytes").value(plan.bytes);
  json.key("output").value(request.output.string());
  json.key("batches").beginArray();
  for (const PlannedBatch& planned : plan.batches) {
    json.beginObject();
    json.key("batch_id").value(planned.batch.id.value());
    json.key("created").value(core::formatTime(planned.batch.created));
    json.key("files").value(planned.files);
    json.key("bytes").value(planned.bytes);
    json.key("records").value(planned.batch.records);
    json.endObject();
  }
  json.endArray();
  json.key("replaced").beginArray();
  for (const model::BatchId& id : plan.replaced) json.value(id.value());
  json.endArray();
  json.key("error").null();
  json.endObject();
  out.write("\n");
}

void printText(const DryRun& plan, const model::ExportRequest& request, StandardOutput& out) {
  reader::Table table{.columns = {{"batch", "", false},
                                  {"created", "", false},
                                  {"files", "", true},
                                  {"size", "", true},
                                  {"promised", "", true}}};
  for (const PlannedBatch& planned : plan.batches) {
    table.rows.push_back({core::printable(planned.batch.id.value(), 80), core::formatTime(planned.batch.created),
                          grouped(planned.files), core::formatBytes(planned.bytes),
                          planned.batch.records ? grouped(*planned.batch.records) : "-"});
  }
  out.write(reader::renderTable(table, out.width()));
  for (const model::BatchId& id : plan.replaced) {
    out.write("left out, since another one supersedes it: " + core::printable(id.value(), 80) + "\n");
  }
  out.write(grouped(plan.files) + " files, " + core::formatBytes(plan.bytes) + " would go to " +
            core::printable((request.output / request.sourceId).string()) + "; nothing was made\n");
}

}  // namespace

CommandEnd runDryRun(Configuration& configuration, model::ExportRequest request, TextOrJson format, Context& context) {
  const PlatformSettings settings = configuration.platform();
  request.sandbox = settings.sandbox;
  Connection connection(settings, configuration.tokenCache(), context.log);
  const DryRun plan = ask(connection.client(), request, context.stop);
  if (format == TextOrJson::json) {
    printJson(plan, request, context.out);
  } else {
    printText(plan, request, context.out);
  }
  return {};
}

}  // namespace caiexport::cli
