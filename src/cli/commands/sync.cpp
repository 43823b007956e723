#include <unistd.h>

#include <array>
#include <optional>
#include <set>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/engine/sync.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/history.h"
#include "cli/output/job_output.h"
#include "cli/record.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Option, 1> kWhat{{
    {"id", "ID", "the dataset (required); \"Access scores\" of a Customer AI instance shows its id"},
}};

constexpr std::array<Option, 3> kBatches{{
    kCreatedClientOption,
    {"since", "TIME", "only batches created at TIME or later"},
    {"replayed", "keep|aside|delete",
     R"(what to do with a batch that a newer one replaces [aside; delete after a privacy deletion])"},
}};

constexpr std::array<Option, 4> kHow{{
    kVerifyOption,
    kForceOption,
    {"dry-run", "", "only show what would be done and how long it would take; make nothing"},
    kFormatOption,
}};

struct SyncOptions {
  engine::SyncRequest request = {};
  bool dryRun = false;
  TextOrJson format = TextOrJson::text;
};

std::optional<model::ReplaceAction> parseReplayed(const ParsedOptions& options) {
  if (!options.has("replayed")) return std::nullopt;
  constexpr std::array<std::string_view, 3> kActions{"aside", "keep", "delete"};
  return model::replaceActionFrom(wordOption(options, "replayed", kActions));
}

SyncOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  SyncOptions parsed;
  parsed.dryRun = options.has("dry-run");
  parsed.format = formatOption(options);
  parsed.request.replayed = parseReplayed(options);
  model::ExportRequest& job = parsed.request.job;
  job.kind = model::Kind::dataset;
  job.sourceId = requiredId(options, "id", "dataset id");
  job.batches.since = timeOption(options, "since", core::systemClock().now());
  if (const auto client = textOption(options, "created-client")) {
    job.batches.createdClient = *client == "any" ? "" : *client;
  }
  job.verify = verifyOption(options);
  job.force = options.has("force");
  job.guards = guardOptions(options);
  // An old batch that comes late is no failure; the newest one is looked at when all are here.
  parsed.request.maxAge = std::exchange(job.guards.maxAge, std::nullopt);
  return parsed;
}

std::string about(const model::Replacement& one, bool privacy) {
  return std::string("caiexport: ") + (privacy ? "PRIVACY DELETION: " : "") + "batch " + one.by.value() +
         " replaces batch " + one.batch.value() + (privacy ? " (\"" + core::printable(one.reason, 200) + "\")" : "");
}

/// Only what is gone is said to be deleted.
void sayDeleted(Console& console, const engine::Replaced& done) {
  const std::string batch = done.replacement.batch.value();
  std::string text = about(done.replacement, true) + ": ";
  text += done.left() == 0 ? "the files of " + batch + " are deleted" : "NOT all files of " + batch + " are deleted";
  std::string_view separator = ": ";
  for (const engine::Removed& one : done.removed) {
    text +=
        std::string(separator) + counted(one.files, "file", "files") + " in " + core::printable(one.folder.string());
    separator = ", ";
  }
  console.line(text);
  for (const std::string& target : done.withdrawn) {
    console.line("caiexport: batch " + batch + " is deleted at " + core::printable(target, 200) + " as well");
  }
  for (const fs::path& output : done.notThere) {
    console.line("caiexport: batch " + batch + " was also written to " + core::printable(output.string()) +
                 ", which is not there now: if it is on a disk that is not connected, delete the batch there");
  }
}

/// What people must see, and --quiet must not hide.
void sayReplaced(Console& console, const engine::Replaced& done, bool privacy) {
  const model::Replacement& one = done.replacement;
  if (privacy && one.action == model::ReplaceAction::remove) sayDeleted(console, done);
  if (privacy && (one.action == model::ReplaceAction::aside || one.action == model::ReplaceAction::keep)) {
    console.line(about(one, true) + ": " + one.batch.value() +
                 " is NOT deleted, because of --replayed; it may hold customers who asked to be forgotten");
  }
  if (one.action == model::ReplaceAction::aside) {
    console.notice("caiexport: batch " + one.batch.value() + " is replaced by " + one.by.value() + ": moved to " +
                   core::printable(one.path.string()));
  }
  for (const engine::Removed& folder : done.removed) {
    if (folder.left == 0) continue;
    console.line("caiexport: batch " + one.batch.value() + ": " + core::printable(folder.folder.string()) + " holds " +
                 counted(folder.left, "file", "files") + " that caiexport did not make; " +
                 (folder.left == 1 ? "it stays" : "they stay") + ": check whether they hold data that must be deleted");
  }
}

void sayNotReplaced(Console& console, const model::Replacement& one, bool privacy, const core::Error& error) {
  console.line(about(one, privacy) + ", which is " +
               (one.action == model::ReplaceAction::remove ? "NOT deleted yet" : "not out of the way everywhere") +
               ": " + error.what());
}

store::SyncPlace placeOf(const model::ExportRequest& job) {
  return {.orgId = job.orgId, .sandbox = job.sandbox, .dataset = model::DatasetId(job.sourceId), .output = job.output};
}

store::RunOutcome outcomeOf(const core::Error& error) {
  store::RunOutcome outcome{.status = "failed", .error = recordOf(error)};
  // Another one is at work on the same: nothing is wrong with the dataset.
  if (error.category() == core::Category::busy) outcome.status = "skipped";
  if (error.category() == core::Category::interrupted) outcome.status = "interrupted";
  return outcome;
}

store::RunOutcome outcomeOf(const engine::SyncResult& result) {
  store::RunOutcome outcome{.status = "succeeded"};
  if (result.error) {
    outcome.error = recordOf(*result.error);
    outcome.status = result.error->category() == core::Category::interrupted ? "interrupted" : "failed";
  }
  outcome.jobs = result.jobs.size();
  outcome.job = result.jobs.empty() ? 0 : model::numberOf(result.jobs.back());
  outcome.replaced = result.replaced.size();
  outcome.newest = result.mark;
  if (result.newest) outcome.newest = store::SyncMark{.batch = result.newest->id, .created = result.newest->created};
  return outcome;
}

/// On the way out with a failure that matters more than one of the record.
void recordEnd(store::RunStore& runs, std::int64_t run, const store::RunOutcome& outcome) {
  try {
    runs.end(run, outcome);
  } catch (const core::Error&) {
    return;
  }
}

/// Settings or folders refused it before it could begin. What can't be recorded either is left: the error itself
/// matters more.
void recordFailedStart(Configuration& configuration, model::ExportRequest job, const core::Error& failure) {
  try {
    const std::optional<Setting> org = configuration.find("org_id");
    const std::optional<Setting> sandbox = configuration.find("sandbox");
    if (!org || !sandbox) return;
    // Nothing is made for a run that never got anywhere.
    const std::unique_ptr<Record> record = Record::open(configuration.database(), Record::Mode::readWrite);
    if (!record) return;
    job.orgId = org->value;
    job.sandbox = sandbox->value;
    store::RunStore runs(record->database(), core::systemClock());
    runs.end(runs.begin(placeOf(job), core::programVersion(), ::getpid()), outcomeOf(failure));
  } catch (const core::Error&) {
    return;
  }
}

// --- the result

fs::path datasetFolder(const engine::SyncRequest& request) {
  const model::ExportRequest& job = request.job;
  const model::DatasetId dataset(job.sourceId);
  const fs::path wanted = engine::datasetFolder(job.output, job.layout, dataset);
  const std::vector<fs::path> there = engine::datasetFolders(job.output, dataset);
  return there.size() == 1 ? there.front() : wanted;
}

/// What `latest` names; empty if there is none.
std::string latestIn(const fs::path& folder) {
  std::error_code error;
  const fs::path target = fs::read_symlink(engine::latestIn(folder), error);
  return error ? "" : engine::idIn(target);
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
  endDocument(json, end, out);
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
    out.write("Next: caiexport scores " + core::printable(engine::latestIn(datasetFolder(request)).string()) + "\n");
  }
}

/// Prints the result; gives back its failure, with a hint how to go on.
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

}  // namespace

const CommandPage& syncPage() {
  static const CommandPage page{
      .name = "sync",
      .summary = "download every batch that is not here yet",
      .arguments = "--id ID",
      .description =
          R"(Downloads every successful batch of a score dataset that is not in the folder yet, oldest first, and
moves batches aside that newer ones replace. Made for cron: it is no failure if there is nothing
new, a second run at the same time ends with exit code 10, and if a run is killed, the next one
continues.)",
      .groups = jobGroups({{"What", kWhat}, {"Batches", kBatches}}, kHow),
      .examples = {{"caiexport sync --id 5dd603781b95cc18a83d42ce --output /data/scores", "download what is new"},
                   {"caiexport sync --id 5dd603781b95cc18a83d42ce --dry-run",
                    "show what is new, and how long the download would take"},
                   {"caiexport sync --id 5dd603781b95cc18a83d42ce --quiet --max-age 8d --max-change 30%",
                    "for cron: also fail if scoring has stopped or the number of records looks wrong"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 130}};
  return page;
}

CommandEnd runSync(const ParsedOptions& options, Context& context) {
  SyncOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  model::ExportRequest& job = parsed.request.job;
  if (parsed.dryRun) {
    configuration.place(job);
    return previewSync(configuration, std::move(parsed.request), parsed.format, context);
  }
  std::optional<Session> opened;
  try {
    configuration.place(job);
    parsed.request.share = configuration.share().value_or("");
    opened.emplace(configuration, context);
    opened->requireTarget(job);
  } catch (const core::Error& error) {
    recordFailedStart(configuration, job, error);
    throw;
  }
  Session& session = *opened;
  session.settings().stamp(job);
  engine::Sync sync(
      session.tools(), session.syncStore(), [&](model::JobId number) { return session.run(number, {}); },
      {.replaced = [&](const engine::Replaced& done, bool privacy) { sayReplaced(context.console, done, privacy); },
       .notReplaced = [&](const model::Replacement& one, bool privacy,
                          const core::Error& error) { sayNotReplaced(context.console, one, privacy, error); }});
  const std::int64_t run = session.runStore().begin(placeOf(job), core::programVersion(), ::getpid());
  engine::SyncResult result;
  try {
    result = sync.run(parsed.request, context.stop);
  } catch (const core::Error& error) {
    recordEnd(session.runStore(), run, outcomeOf(error));
    throw;
  }
  try {
    session.runStore().end(run, outcomeOf(result));
  } catch (const core::Error& error) {
    // How the run itself ended is told first.
    if (!result.error) result.error = error;
  }
  for (const model::BatchId& id : result.movedAway) {
    context.console.notice("caiexport: batch " + id.value() +
                           " was downloaded earlier and is no longer in the folder; "
                           "caiexport dataset --id " +
                           job.sourceId + " --batch " + id.value() + " downloads it again");
  }
  return printSync(session.history(), parsed.request, result, parsed.format, context);
}

}  // namespace caiexport::cli
