#include "commands.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/engine/layout.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/job.h"
#include "caiexport/reader/table.h"
#include "cli/output/job_output.h"
#include "cli/session.h"

namespace caiexport::cli {
namespace {

// Entries of a page of Data Access, at the most.
constexpr std::uint64_t kPage = 100;

struct PreviewedBatch {
  model::Batch batch;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

/// What would be fetched.
struct Preview {
  std::vector<PreviewedBatch> batches;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t requests = 0;  ///< About: ranges grow and shrink with the rate.
};

void add(Preview& preview, platform::Client& client, model::Batch batch, std::uint64_t rangeBytes,
         const std::stop_token& stop) {
  PreviewedBatch asked{.batch = std::move(batch)};
  std::set<model::DatasetFileId> lists;
  std::uint64_t ranges = 0;
  client.listFiles(
      asked.batch.id,
      [&](std::vector<model::RemoteFile>&& page) {
        for (const model::RemoteFile& file : page) {
          ++asked.files;
          asked.bytes += file.lengthBytes;
          ranges += std::max<std::uint64_t>(1, (file.lengthBytes + rangeBytes - 1) / rangeBytes);
          lists.insert(file.datasetFileId);
        }
      },
      stop);
  // The batch, its list, the list of each of its dataset files, the data.
  const std::uint64_t pages = (asked.files + kPage - 1) / kPage;
  preview.requests += 1 + 1 + std::max<std::uint64_t>(lists.size(), pages) + ranges;
  preview.files += asked.files;
  preview.bytes += asked.bytes;
  preview.batches.push_back(std::move(asked));
}

using Tell = std::function<void(const std::string&)>;

Tell tellOn(Context& context) {
  return [&context](const std::string& text) { context.console.notice("caiexport: " + text); };
}

void writeBatches(json::Writer& json, const Preview& preview) {
  json.key("batches").objects(preview.batches, [&](const PreviewedBatch& one) {
    json.key("batch_id").value(one.batch.id.value());
    json.key("created").value(core::formatTime(one.batch.created));
    json.key("files").value(one.files);
    json.key("bytes").value(one.bytes);
    json.key("records").value(one.batch.records);
  });
}

void printTable(const Preview& preview, StandardOutput& out) {
  reader::Table table{.columns = {{"batch", "", false},
                                  {"created", "", false},
                                  {"files", "", true},
                                  {"size", "", true},
                                  {"promised", "", true}}};
  for (const PreviewedBatch& one : preview.batches) {
    table.rows.push_back({core::printable(one.batch.id.value(), 80), core::formatTime(one.batch.created),
                          grouped(one.files), core::formatBytes(one.bytes),
                          one.batch.records ? grouped(*one.batch.records) : "-"});
  }
  if (!table.rows.empty()) out.write(reader::renderTable(table, out.width()));
}

std::string placeText(const model::ExportRequest& request) {
  const std::filesystem::path folder =
      engine::datasetFolder(request.output, request.layout, model::DatasetId(request.sourceId));
  return core::printable(folder.string()) + "; nothing was made\n";
}

// --- dataset

/// What another batch supersedes is left out.
void printDataset(const Preview& preview, std::span<const model::BatchId> replaced, const model::ExportRequest& request,
                  TextOrJson format, StandardOutput& out) {
  if (format == TextOrJson::text) {
    printTable(preview, out);
    for (const model::BatchId& id : replaced) {
      out.write("left out, because a newer batch replaces it: " + core::printable(id.value(), 80) + "\n");
    }
    out.write(grouped(preview.files) + " files, " + core::formatBytes(preview.bytes) + " would go to " +
              placeText(request));
    return;
  }
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("job").null();
  json.key("dry_run").value(true);
  json.key("dataset_id").value(request.sourceId);
  json.key("files").value(preview.files);
  json.key("bytes").value(preview.bytes);
  json.key("output").value(request.output.string());
  writeBatches(json, preview);
  json.key("replaced").array(replaced, [](const model::BatchId& id) { return id.value(); });
  json.key("error").null();
  json.endObject();
  out.write("\n");
}

// --- sync

struct SyncPreview {
  Preview preview;
  engine::SyncPlan plan;
  std::vector<model::Replacement> replaced;
  std::optional<std::uint64_t> records = 0;
  std::optional<double> rate;  ///< Bytes per second.
  CommandEnd error;            ///< Of --max-age, as the run would end.

  std::optional<core::Duration> time() const {
    if (!rate || *rate <= 0) return std::nullopt;
    const double milliseconds = 1000.0 * static_cast<double>(preview.bytes) / *rate;
    return core::Duration(static_cast<core::Duration::rep>(std::ceil(milliseconds)));
  }
};

SyncPreview lookAt(Configuration& configuration, const engine::SyncRequest& request, Context& context) {
  const PlatformSettings settings = configuration.platform();
  PlatformAccess access(settings, configuration.tokenCache(), context.log);
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  std::optional<store::SyncStore> records;
  std::optional<store::DeliveryStore> deliveries;
  if (record) {
    records.emplace(record->database(), core::systemClock());
    deliveries.emplace(record->database(), core::systemClock());
  }
  SyncPreview preview;
  preview.plan = engine::planSync(
      access.client(), {.sync = records ? &*records : nullptr, .deliveries = deliveries ? &*deliveries : nullptr},
      request, context.stop);
  if (records) preview.rate = records->measuredRate(request.job.orgId);
  const std::uint64_t rangeBytes = configuration.download().rangeBytes;
  const Tell tell = tellOn(context);
  std::ranges::for_each(preview.plan.notices, tell);
  std::vector<model::Batch> missing = preview.plan.missing;
  for (std::size_t at = 0; at < missing.size();) {
    const model::Batch batch = missing[at];
    try {
      add(preview.preview, access.client(), batch, rangeBytes, context.stop);
      preview.records =
          preview.records && batch.records ? std::optional(*preview.records + *batch.records) : std::nullopt;
      ++at;
    } catch (const core::Error& error) {
      if (!core::factsOf(error.category()).concernsOneBatch) throw;
      missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(at));
      std::vector<model::Batch> parts;
      if (engine::isRefusedConsolidation(error)) {
        parts = engine::partsOf(access.client(), model::DatasetId(request.job.sourceId), batch.id, tell, context.stop);
      }
      if (parts.empty()) {
        if (!preview.error) preview.error = error;
        continue;
      }
      tell(engine::takenInstead(batch.id, parts));
      // Those that are here, or come anyway, are not asked for twice.
      for (const model::Batch& part : parts) {
        const auto& listed = preview.plan.listed;
        if (std::ranges::find(listed, part.id, &model::Batch::id) == listed.end()) missing.push_back(part);
      }
    }
  }
  std::optional<model::Batch> newest;
  if (!preview.plan.listed.empty()) newest = preview.plan.listed.back();
  try {
    engine::requireNewest(request, newest, preview.plan.mark, access.client());
  } catch (const core::Error& error) {
    preview.error = error;
  }
  for (const model::Batch& flawed : preview.plan.flawed) {
    if (!preview.error) {
      preview.error = engine::notFetched(preview.plan, flawed, model::DatasetId(request.job.sourceId));
    }
  }
  for (const engine::PlannedReplacement& planned : preview.plan.replacements) {
    preview.replaced.push_back(planned.replacement);
  }
  return preview;
}

void printJson(const SyncPreview& preview, const engine::SyncRequest& request, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("dry_run").value(true);
  json.key("dataset_id").value(request.job.sourceId);
  json.key("output").value(request.job.output.string());
  writeBatches(json, preview.preview);
  json.key("not_fetched").objects(preview.plan.flawed, [&](const model::Batch& flawed) {
    json.key("batch_id").value(flawed.id.value());
    json.key("why").value(flawed.flaw);
  });
  json.key("replaced");
  writeReplacements(json, preview.replaced);
  json.key("files").value(preview.preview.files);
  json.key("bytes").value(preview.preview.bytes);
  json.key("records").value(preview.records);
  json.key("requests").value(preview.preview.requests);
  json.key("bytes_per_second")
      .value(preview.rate ? std::optional(static_cast<std::uint64_t>(*preview.rate)) : std::nullopt);
  json.key("seconds");
  if (const auto time = preview.time()) {
    json.number(std::to_string(static_cast<double>(time->count()) / 1000.0));
  } else {
    json.null();
  }
  json.key("mark");
  writeMark(json, preview.plan.mark);
  endDocument(json, preview.error, out);
}

void printText(const SyncPreview& preview, const engine::SyncRequest& request, StandardOutput& out) {
  printTable(preview.preview, out);
  for (const model::Replacement& one : preview.replaced) {
    out.write(core::printable(one.batch.value(), 80) + " would be " + replacementText(one) + "\n");
  }
  for (const model::Batch& flawed : preview.plan.flawed) {
    out.write(core::printable(flawed.id.value(), 80) + " would not be downloaded: " + core::printable(flawed.flaw) +
              "\n");
  }
  if (preview.preview.batches.empty()) {
    out.write("nothing new; nothing was made\n");
    return;
  }
  std::string text = counted(preview.preview.batches.size(), "batch", "batches") + ", " +
                     grouped(preview.preview.files) + " files, " + core::formatBytes(preview.preview.bytes);
  if (preview.records) text += ", " + grouped(*preview.records) + " records promised";
  text += ", about " + grouped(preview.preview.requests) + " requests";
  const auto time = preview.time();
  text += time ? ", about " + core::formatDuration(*time) + " at the last measured rate (" +
                     core::formatBytes(static_cast<std::uint64_t>(*preview.rate)) + "/s)"
               : "; how long it takes is known only after a first download";
  out.write(text + "\nThey would go to " + placeText(request.job));
}

void sayUncounted(const model::Guards& guards, Console& console) {
  if (!guards.minRecords && !guards.maxChangePercent) return;
  console.notice("caiexport: --min-records and --max-change are not checked by a dry run: it counts no rows");
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

CommandEnd previewDataset(Configuration& configuration, model::ExportRequest request, TextOrJson format,
                          Context& context) {
  const PlatformSettings settings = configuration.platform();
  settings.stamp(request);
  PlatformAccess access(settings, configuration.tokenCache(), context.log);
  platform::Client& client = access.client();
  const Tell tell = tellOn(context);
  const model::DatasetId dataset(request.sourceId);
  const bool includeReplaced = request.batches.includeReplaced;
  std::vector<model::Batch> batches = engine::chooseBatches(client, request, context.stop, tell);
  client.resolvePredecessors(batches, dataset, context.stop);
  const auto newest = std::ranges::max_element(batches, {}, &model::Batch::created);
  engine::requireFresh(request.guards.maxAge,
                       "the newest batch of dataset " + request.sourceId + ", " + newest->id.value() + ", was created",
                       newest->created, client);
  std::vector<model::BatchId> replaced;
  if (!includeReplaced) replaced = model::replacedAmong(batches);
  std::erase_if(batches,
                [&](const model::Batch& batch) { return std::ranges::find(replaced, batch.id) != replaced.end(); });
  Preview preview;
  const std::uint64_t rangeBytes = configuration.download().rangeBytes;
  for (std::size_t at = 0; at < batches.size();) {
    const model::BatchId id = batches[at].id;
    try {
      add(preview, client, batches[at], rangeBytes, context.stop);
      ++at;
    } catch (const core::Error& error) {
      if (!engine::isRefusedConsolidation(error)) throw;
      const std::vector<model::Batch> parts = engine::partsOf(client, dataset, id, tell, context.stop);
      if (parts.empty()) throw;
      tell(engine::takenInstead(id, parts));
      batches = engine::withParts(std::move(batches), id, parts, includeReplaced);
      // The order is another one now.
      preview = {};
      at = 0;
    }
  }
  sayUncounted(request.guards, context.console);
  printDataset(preview, replaced, request, format, context.out);
  return {};
}

CommandEnd previewSync(Configuration& configuration, engine::SyncRequest request, TextOrJson format, Context& context) {
  configuration.platform().stamp(request.job);
  const SyncPreview preview = lookAt(configuration, request, context);
  sayUncounted(request.job.guards, context.console);
  format == TextOrJson::json ? printJson(preview, request, context.out) : printText(preview, request, context.out);
  return preview.error;
}

}  // namespace caiexport::cli
