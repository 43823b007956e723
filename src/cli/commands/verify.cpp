#include <algorithm>
#include <array>
#include <map>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/config/config.h"
#include "cli/option_values.h"
#include "cli/output/job_json.h"
#include "cli/output/job_text.h"
#include "cli/record.h"
#include "cli/run_job.h"
#include "commands.h"
#include "input_files.h"
#include "verify_check.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Option, 2> kHow{{
    {"last", "", "the newest job that brought files"},
    {"format", "text|json", "of the result on standard output [text]"},
}};

struct Expectation {
  std::optional<std::int64_t> job;
  std::vector<ExpectedBatch> batches;
  std::uint64_t files = 0;
  std::vector<model::Replacement> replaced;
};

void expect(Expectation& expectation, ExpectedBatch batch) {
  expectation.files += batch.files.size();
  expectation.batches.push_back(std::move(batch));
}

bool isDeleted(std::span<const model::Replacement> replaced, const model::BatchId& batch) {
  return std::ranges::any_of(replaced, [&](const model::Replacement& one) {
    return one.batch == batch && one.action == model::ReplaceAction::remove;
  });
}

/// What the manifests of a dataset's folder name as replaced, by what.
using Heirs = std::map<model::BatchId, model::BatchId>;

Heirs heirsIn(const fs::path& datasetFolder) {
  Heirs heirs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(datasetFolder, error)) {
    const auto manifest = engine::manifestHead(entry.path());
    if (!manifest) continue;
    for (const model::BatchId& id : manifest->replaces) heirs.emplace(id, model::BatchId(manifest->batchId));
  }
  return heirs;
}

/// A batch folder whose neighbours say that one of them replaces it.
void noteReplaced(const ExpectedBatch& batch, std::map<fs::path, Heirs>& heirs, Expectation& expectation) {
  std::error_code ignored;
  fs::path dataset = fs::weakly_canonical(batch.folder, ignored).parent_path();
  const bool aside = dataset.filename() == engine::kReplacedName;
  if (aside) dataset = dataset.parent_path();
  if (!heirs.contains(dataset)) heirs.emplace(dataset, heirsIn(dataset));
  const auto heir = heirs.at(dataset).find(model::BatchId(batch.batchId));
  if (heir == heirs.at(dataset).end()) return;
  model::Replacement replacement;
  replacement.batch = heir->first;
  replacement.by = heir->second;
  replacement.action = aside ? model::ReplaceAction::aside : model::ReplaceAction::keep;
  if (aside) replacement.path = batch.folder;
  expectation.replaced.push_back(std::move(replacement));
}

Expectation ofJob(InputFinder& finder, const std::string& argument) {
  const store::JobView view = finder.job(argument);
  std::uint64_t missing = 0;
  std::map<std::string, ExpectedBatch> byBatch;
  for (const model::Batch& batch : view.job.batches) {
    ExpectedBatch& expected = byBatch[batch.id.value()];
    expected = {
        .folder = batchFolder(view.job, batch.id), .batchId = batch.id.value(), .files = {}, .records = batch.records};
  }
  const std::vector<model::Replacement> replaced = finder.replacementsOf(view.job);
  for (const model::Replacement& one : replaced) {
    if (one.action == model::ReplaceAction::aside) byBatch[one.batch.value()].folder = one.path;
  }
  for (const model::FileRecord& file : finder.filesOf(view.job, missing)) {
    byBatch[file.remote.batchId.value()].files.push_back(
        {.path = file.path, .bytes = file.remote.lengthBytes, .sha256 = file.sha256, .records = file.records});
  }
  Expectation expectation;
  expectation.job = model::numberOf(view.job.id);
  expectation.replaced = replaced;
  for (const model::Batch& batch : view.job.batches) {
    if (!isDeleted(replaced, batch.id)) expect(expectation, std::move(byBatch[batch.id.value()]));
  }
  if (missing > 0 || (expectation.files == 0 && replaced.empty())) {
    throw core::Error(core::Category::notFound,
                      "job " + argument + " has not brought all its files to disk: there is nothing to verify yet",
                      {.hint = "caiexport resume " + argument});
  }
  return expectation;
}

Expectation ofFolder(const fs::path& folder) {
  Expectation expectation;
  std::map<fs::path, Heirs> heirs;
  for (const fs::path& place : engine::foldersWithManifest(folder)) {
    engine::Manifest manifest = engine::readManifest(place);
    ExpectedBatch batch{.folder = place, .batchId = manifest.batchId, .files = {}, .records = manifest.records};
    for (engine::ManifestFile& file : manifest.files) {
      batch.files.push_back({.path = std::move(file.path),
                             .bytes = file.bytes,
                             .sha256 = std::move(file.sha256),
                             .records = file.records});
    }
    noteReplaced(batch, heirs, expectation);
    expect(expectation, std::move(batch));
  }
  if (expectation.batches.empty()) {
    throw core::Error(core::Category::notFound,
                      "there is no " + std::string(engine::kManifestName) + " in " + core::printable(folder.string()) +
                          ", so it is not known what should be there",
                      {.hint = "name a batch folder, or a job"});
  }
  return expectation;
}

Expectation find(const ParsedOptions& options, Context& context) {
  if (options.has("last")) {
    if (!options.arguments().empty()) {
      throw core::Error(core::Category::usage, "--last and a job or folder contradict each other");
    }
    Configuration configuration(options, context.environment);
    InputFinder finder(configuration);
    return ofJob(finder, finder.lastJob());
  }
  if (options.arguments().size() != 1) throw core::Error(core::Category::usage, "give one job number or one folder");
  const std::string& argument = options.arguments().front();
  std::error_code ignored;
  if (fs::is_directory(argument, ignored)) return ofFolder(argument);
  if (!InputFinder::isJob(argument)) {
    throw core::Error(core::Category::notFound, "there is no folder or job '" + core::printable(argument, 200) + "'");
  }
  Configuration configuration(options, context.environment);
  InputFinder finder(configuration);
  return ofJob(finder, argument);
}

/// Shows the number of files done, at most ten times a second.
std::function<void(std::uint64_t)> liveCount(std::uint64_t files, Console& console) {
  return [&console, of = " of " + grouped(files) + " files", last = core::SteadyTime()](std::uint64_t done) mutable {
    const core::SteadyTime now = core::systemClock().steadyNow();
    if (now - last < std::chrono::milliseconds(100)) return;
    last = now;
    console.live("verifying: " + grouped(done) + of);
  };
}

CommandEnd verdict(const VerifyReport& report) {
  if (report.problems.empty()) return {};
  const std::size_t count = report.problems.size();
  return core::Error(core::Category::verification,
                     std::to_string(count) + (count == 1 ? " difference" : " differences") +
                         " between what is on disk and what was recorded",
                     {.hint = "export again into another --output, or move wrong files away and export again"});
}

void printJson(const Expectation& expectation, const VerifyReport& report, const CommandEnd& end, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("job").value(expectation.job);
  json.key("batch_ids").beginArray();
  for (const ExpectedBatch& batch : expectation.batches) json.value(batch.batchId);
  json.endArray();
  json.key("files").value(report.files);
  json.key("bytes").value(report.bytes);
  json.key("records").value(report.records);
  json.key("not_counted").beginArray();
  for (const fs::path& path : report.notCounted) json.value(path.string());
  json.endArray();
  json.key("replaced");
  writeReplacements(json, expectation.replaced);
  json.key("problems").beginArray();
  for (const Problem& problem : report.problems) {
    json.beginObject();
    json.key("path").value(problem.path.string());
    json.key("batch_id").value(problem.batchId);
    json.key("problem").value(nameOf(problem.difference));
    json.key("detail").value(problem.detail);
    json.endObject();
  }
  json.endArray();
  json.key("error");
  writeError(json, end ? std::optional(recordOf(*end)) : std::nullopt);
  json.endObject();
  out.write("\n");
}

void printText(const Expectation& expectation, const VerifyReport& report, StandardOutput& out) {
  for (const model::Replacement& one : expectation.replaced) {
    out.write("batch " + core::printable(one.batch.value(), 80) + ": " + replacementText(one) + "\n");
  }
  for (const Problem& problem : report.problems) {
    out.write(std::string(nameOf(problem.difference)) + "  " + core::printable(problem.path.string()) +
              (problem.detail.empty() ? "" : ": " + core::printable(problem.detail)) + "\n");
  }
  for (const fs::path& path : report.notCounted) {
    out.write("not counted  " + core::printable(path.string()) + ": it is no table of this batch\n");
  }
  if (!report.problems.empty()) return;
  if (expectation.batches.empty()) {
    out.write("nothing is left to verify\n");
    return;
  }
  std::string text = "all " + grouped(report.files) + " files are as recorded: " + core::formatBytes(report.bytes);
  if (report.records > 0) text += ", " + recordsText(report.records, expectation.batches.size());
  out.write(text + "\n");
}

}  // namespace

const CommandPage& verifyPage() {
  static const CommandPage page{
      .name = "verify",
      .summary = "check files on disk against what was recorded",
      .arguments = "JOB|DIR|--last",
      .description =
          "Repeats the checks of a job from its record, or of a folder from its manifest.json alone: size, "
          "SHA-256, rows. Names missing, changed and foreign files.",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport verify 12", "the files of job 12"},
                   {"caiexport verify /data/scores/5dd603781b95cc18a83d42ce", "every batch below a folder"}},
      .exitCodes = {0, 1, 2, 4, 8, 9, 130}};
  return page;
}

CommandEnd runVerify(const ParsedOptions& options, Context& context) {
  const TextOrJson format = formatOption(options);
  const Expectation expectation = find(options, context);
  VerifyCheck check([] { return reader::openReader({}); }, liveCount(expectation.files, context.console), context.stop);
  for (const ExpectedBatch& batch : expectation.batches) check.check(batch);
  context.console.live({});

  CommandEnd end = verdict(check.report());
  if (format == TextOrJson::json) {
    printJson(expectation, check.report(), end, context.out);
  } else {
    printText(expectation, check.report(), context.out);
  }
  return end;
}

}  // namespace caiexport::cli
