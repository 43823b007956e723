/// `failed`: batches that failed, why, and what the platform keeps of them.

#include <algorithm>
#include <array>
#include <vector>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/failed_files.h"
#include "caiexport/json/writer.h"
#include "cli/commands/commands.h"
#include "cli/output/job_output.h"
#include "cli/session.h"

namespace caiexport::cli {
namespace {

using core::Category;
using core::Error;
using platform::FailedBatch;

constexpr std::array<Option, 5> kWhat{{
    {"id", "ID", "the dataset (required)"},
    {"batch", "ID", "only this batch, whatever its status; a batch that succeeded may have refused rows too"},
    {"since", "TIME",
     "only batches created at TIME or later: a date (2026-11-24), a time (2026-11-24T10:00:00Z) or an age (7d for "
     "seven days ago)"},
    {"format", "text|json|csv", "how the result is printed on standard output [text]"},
    {"output", "DIR", "download what the platform keeps of each batch into DIR/<dataset id>.failed/<batch id>/"},
}};

enum class Format { text, json, csv };

struct FailedOptions {
  model::DatasetId dataset = {};
  model::BatchId batch = {};
  std::optional<core::TimePoint> since = {};
  bool fetches = false;
  Format format = Format::text;
};

/// A batch, and what became of its files where they are asked for.
struct Entry {
  FailedBatch batch = {};
  std::optional<engine::FetchedFailure> fetched = {};
  std::optional<Error> error = {};
};

FailedOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  refuseTogether(options, {"batch", "since"});
  for (const std::string_view name : {"connections", "connections-max", "max-rate"})
    requireWith(options, name, "output");
  FailedOptions parsed;
  parsed.dataset = model::DatasetId(requiredId(options, "id", "dataset id"));
  parsed.batch = model::BatchId(idOption(options, "batch", "batch id").value_or(""));
  parsed.since = timeOption(options, "since", core::systemClock().now());
  parsed.fetches = options.has("output");
  constexpr std::array<std::string_view, 3> kFormats{"text", "json", "csv"};
  parsed.format = enumOption<Format>(options, "format", kFormats);
  return parsed;
}

FailedBatch namedBatch(platform::Client& client, const FailedOptions& options, const std::string& sandbox,
                       Context& context) {
  const std::string name = "batch '" + options.batch.value() + "'";
  std::optional<FailedBatch> batch = client.findFailedBatch(options.batch, context.stop);
  if (!batch) throw Error(Category::notFound, name + " does not exist in sandbox '" + sandbox + "'");
  const bool isOfDataset =
      batch->datasets.empty() || std::ranges::find(batch->datasets, options.dataset) != batch->datasets.end();
  if (!isOfDataset) {
    throw Error(Category::notFound, name + " belongs to dataset '" +
                                        core::printable(batch->datasets.front().value(), 80) + "', not to '" +
                                        options.dataset.value() + "'");
  }
  if (platform::phaseOf(batch->status) != platform::BatchPhase::failed) {
    context.console.notice("caiexport: " + name + " did not fail: its status is " + core::printable(batch->status, 40));
  }
  return std::move(*batch);
}

std::vector<Entry> listFailed(platform::Client& client, const FailedOptions& options, const std::string& sandbox,
                              Context& context) {
  std::vector<Entry> entries;
  if (!options.batch.empty()) {
    entries.push_back({.batch = namedBatch(client, options, sandbox, context)});
    return entries;
  }
  client.forEachFailedBatch(
      options.dataset, options.since,
      [&](const FailedBatch& batch) {
        entries.push_back({.batch = batch});
        return true;
      },
      context.stop);
  // Pages are sorted each for itself.
  std::ranges::stable_sort(entries, std::ranges::greater(), [](const Entry& entry) { return entry.batch.created; });
  if (entries.empty() && !client.findDataset(options.dataset, context.stop)) {
    throw Error(Category::notFound,
                "dataset '" + options.dataset.value() + "' does not exist in sandbox '" + sandbox + "'",
                {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
  }
  return entries;
}

/// Of one batch: the next one may fare better, but for what concerns all of them.
void fetch(Entry& entry, const engine::FailureTools& tools, const model::DatasetId& dataset,
           const std::filesystem::path& output, Context& context) {
  try {
    entry.fetched = engine::fetchFailure(tools, entry.batch, dataset, output, context.stop);
    context.facts.files += entry.fetched->files;
    context.facts.bytes += entry.fetched->bytes;
  } catch (const Error& error) {
    const Category category = error.category();
    if (category == Category::interrupted || category == Category::auth || category == Category::permission ||
        category == Category::config || category == Category::internal) {
      throw;
    }
    entry.error = error;
  }
}

void printText(const std::vector<Entry>& entries, StandardOutput& out) {
  const std::size_t width = out.terminal() ? out.width() : 0;
  for (const Entry& entry : entries) {
    const FailedBatch& batch = entry.batch;
    std::string text;
    const auto line = [&](std::size_t indent, const std::string& words) {
      const bool fits = width == 0 || indent + words.size() <= width;
      text.append(indent, ' ').append(fits ? words : wrapped(words, width - indent - 2, indent + 2)).append("\n");
    };
    std::string head = core::printable(batch.id.value(), 200) + "  " +
                       (batch.created == core::TimePoint() ? "-" : core::formatTime(batch.created)) + "  " +
                       core::printable(batch.status, 40);
    if (!batch.createdClient.empty()) head += "  by " + core::printable(batch.createdClient, 80);
    if (batch.failedRecords) head += "  " + counted(*batch.failedRecords, "failed row", "failed rows");
    line(0, head);
    for (const platform::BatchError& error : batch.errors) {
      const std::string rows = error.rows.empty() ? "" : " (" + counted(error.rows.size(), "row", "rows") + ")";
      line(4, core::printable(error.code.empty() ? "-" : error.code, 80) + "  " + core::printable(error.description) +
                  rows);
    }
    if (!batch.flaw.empty()) line(4, "its entry in Catalog is not valid: " + core::printable(batch.flaw));
    if (batch.errors.empty()) line(4, "Catalog gives no reason");
    if (entry.fetched) {
      text += "    " + counted(entry.fetched->files, "file", "files") + ", " + core::formatBytes(entry.fetched->bytes) +
              (entry.fetched->files > 0 && entry.fetched->kept == entry.fetched->files ? ", here already" : "") +
              ", in " + core::printable(entry.fetched->folder.string()) + "\n";
    }
    if (!out.write(text)) return;
  }
}

void printJson(const std::vector<Entry>& entries, const FailedOptions& options, const CommandEnd& end,
               StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("dataset_id").value(options.dataset.value());
  json.key("batches").objects(entries, [&](const Entry& entry) {
    const FailedBatch& batch = entry.batch;
    json.key("batch_id").value(batch.id.value());
    json.key("status").value(batch.status);
    json.key("created").textOrNull(batch.created == core::TimePoint() ? "" : core::formatTime(batch.created));
    json.key("created_client").textOrNull(batch.createdClient);
    json.key("failed_records").value(batch.failedRecords);
    json.key("errors").beginArray();
    for (const platform::BatchError& error : batch.errors) engine::writeReason(json, error);
    json.endArray();
    json.key("flaw").textOrNull(batch.flaw);
    json.key("files").value(entry.fetched ? std::optional(entry.fetched->files) : std::nullopt);
    json.key("bytes").value(entry.fetched ? std::optional(entry.fetched->bytes) : std::nullopt);
    json.key("folder").textOrNull(entry.fetched ? entry.fetched->folder.string() : "");
    json.key("error");
    writeError(json, entry.error ? std::optional(recordOf(*entry.error)) : std::nullopt);
  });
  endDocument(json, end, out);
}

/// A line for each reason, and one for a batch without any.
void printCsv(const std::vector<Entry>& entries, StandardOutput& out) {
  out.write("batch_id,status,created,created_client,failed_records,code,description,rows\r\n");
  for (const Entry& entry : entries) {
    const FailedBatch& batch = entry.batch;
    const std::string head = csvField(batch.id.value()) + "," + csvField(batch.status) + "," +
                             (batch.created == core::TimePoint() ? "" : core::formatTime(batch.created)) + "," +
                             csvField(batch.createdClient) + "," +
                             (batch.failedRecords ? std::to_string(*batch.failedRecords) : "") + ",";
    const std::vector<platform::BatchError> none(1);
    for (const platform::BatchError& error : batch.errors.empty() ? none : batch.errors) {
      std::string rows;
      for (const std::string& row : error.rows) rows += (rows.empty() ? "" : " ") + row;
      if (!out.write(head + csvField(error.code) + "," + csvField(error.description) + "," + csvField(rows) + "\r\n"))
        return;
    }
  }
}

}  // namespace

const CommandPage& failedPage() {
  static const CommandPage page{
      .name = "failed",
      .summary = "list failed batches of a dataset, download what is kept of them",
      .arguments = "--id ID",
      .description =
          R"(Lists the batches of a dataset that failed or were abandoned, newest first, with the reasons that
Catalog gives. With --output it also downloads what Data Access keeps of each batch: the rows that
were refused, and notes about them.)",
      .groups = {{"What", kWhat}, connectionGroup(), platformGroup(), globalGroup()},
      .examples = {{"caiexport failed --id 5dd603781b95cc18a83d42ce --since 7d",
                    "what failed in the last week, and why"},
                   {"caiexport failed --id 5dd603781b95cc18a83d42ce --output /tmp/failed",
                    "the same, and download the rows that were refused"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 130}};
  return page;
}

CommandEnd runFailed(const ParsedOptions& options, Context& context) {
  const FailedOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  const std::filesystem::path output = parsed.fetches ? configuration.output() : std::filesystem::path();
  const PlatformSettings settings = configuration.platform();
  const transfer::DownloadSettings download = configuration.download();
  PlatformAccess access(settings, configuration.tokenCache(), context.log, download);
  std::vector<Entry> entries = listFailed(access.client(), parsed, settings.sandbox, context);
  CommandEnd end;
  if (parsed.fetches) {
    const engine::FailureTools tools{.client = access.client(),
                                     .files = core::diskFileSystem(),
                                     .clock = core::systemClock(),
                                     .random = core::systemRandom(),
                                     .log = context.log,
                                     .download = download};
    for (Entry& entry : entries) {
      fetch(entry, tools, parsed.dataset, output, context);
      // The program's last word is about the first.
      if (end && entry.error) context.console.notice(std::string("caiexport: ") + entry.error->what());
      if (!end) end = entry.error;
    }
  }
  if (parsed.format == Format::text) printText(entries, context.out);
  if (parsed.format == Format::json) printJson(entries, parsed, end, context.out);
  if (parsed.format == Format::csv) printCsv(entries, context.out);
  context.out.flush();
  if (entries.empty()) {
    context.console.notice("caiexport: dataset " + parsed.dataset.value() + " has no failed batch" +
                           (parsed.since ? " since " + core::formatTime(*parsed.since) : ""));
  }
  return end;
}

}  // namespace caiexport::cli
