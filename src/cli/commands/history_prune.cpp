#include "caiexport/cli/terminal.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/prune.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/prune_store.h"
#include "cli/config/config.h"
#include "cli/option_values.h"
#include "cli/output/job_text.h"
#include "cli/record.h"
#include "history_actions.h"

namespace caiexport::cli {
namespace {

using core::Category;
using core::Error;

engine::PruneRequest parse(const ParsedOptions& options) {
  if (options.arguments().size() != 1) {
    throw Error(Category::usage, "history prune takes no job numbers: it goes by --before TIME");
  }
  const auto before = timeOption(options, "before", core::systemClock().now());
  if (!before) {
    throw Error(Category::usage, "history prune wants --before TIME",
                {.hint = "caiexport history prune --before 365d --dry-run"});
  }
  return {.before = *before, .files = options.has("files"), .dryRun = options.has("dry-run")};
}

engine::PruneResult prune(const std::filesystem::path& file, const engine::PruneRequest& request, Context& context) {
  const std::unique_ptr<Record> record =
      Record::open(file, request.dryRun ? Record::Mode::readOnly : Record::Mode::readWrite);
  if (!record) return {};
  store::PruneStore records(record->database());
  return engine::prune(records, record->history(), record->locks(), core::diskFileSystem(), request, context.stop);
}

void printJson(const engine::PruneRequest& request, const engine::PruneResult& result, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("dry_run").value(request.dryRun);
  json.key("before").value(core::formatTime(request.before));
  json.key("pruned").beginArray();
  for (const model::JobId job : result.pruned) json.value(model::numberOf(job));
  json.endArray();
  json.key("kept").beginArray();
  for (const auto& kept : result.kept) {
    json.beginObject();
    json.key("job").value(model::numberOf(kept.job));
    json.key("why").value(kept.why);
    json.endObject();
  }
  json.endArray();
  json.key("files").value(result.files);
  json.key("bytes").value(result.bytes);
  json.key("kept_files").beginArray();
  for (const auto& kept : result.keptFiles) {
    json.beginObject();
    json.key("path").value(kept.path.string());
    json.key("why").value(kept.why);
    json.endObject();
  }
  json.endArray();
  json.key("error").null();
  json.endObject();
  out.write("\n");
}

void printText(const engine::PruneRequest& request, const engine::PruneResult& result, StandardOutput& out) {
  for (const auto& kept : result.kept) {
    out.write("job " + std::to_string(model::numberOf(kept.job)) + " stays: " + kept.why + "\n");
  }
  for (const auto& kept : result.keptFiles) {
    out.write("file stays: " + core::printable(kept.path.string()) + ": " + kept.why + "\n");
  }
  std::string text = counted(result.pruned.size(), "job", "jobs");
  if (request.files) text += " and " + counted(result.files, "file", "files") + ", " + core::formatBytes(result.bytes);
  out.write(text + (request.dryRun ? " would be removed; nothing was\n" : " removed\n"));
}

}  // namespace

CommandEnd pruneJobs(const ParsedOptions& options, TextOrJson format, Context& context) {
  const engine::PruneRequest request = parse(options);
  Configuration configuration(options, context.environment);
  const engine::PruneResult result = prune(configuration.database(), request, context);
  if (format == TextOrJson::json) {
    printJson(request, result, context.out);
  } else {
    printText(request, result, context.out);
  }
  return {};
}

}  // namespace caiexport::cli
