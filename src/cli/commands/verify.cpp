#include "verify.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/json/writer.h"
#include "caiexport/transfer/downloader.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "cli/record.h"
#include "commands.h"
#include "input_files.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

using core::Category;
using core::Error;

void expect(Expectation& expectation, ExpectedBatch batch) {
  expectation.files += batch.files.size();
  for (const ExpectedFile& file : batch.files) expectation.bytes += file.bytes;
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
  const fs::path folder = fs::weakly_canonical(batch.folder, ignored);
  const fs::path dataset = engine::datasetFolderAbove(folder);
  const bool aside = engine::isAside(folder);
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

/// Empty, or with tables in it: no folder that somebody made for notes.
bool mayBeBatch(const fs::path& folder) {
  std::uint64_t files = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error)) continue;
    ++files;
    const std::string ending = entry->path().extension().string();
    if (ending == ".parquet" || ending == ".part") return true;
  }
  return files == 0;
}

bool isAtWork(const fs::path& folder) {
  try {
    const core::DirectoryLock lock(folder);
    return false;
  } catch (const Error& error) {
    return error.category() == Category::busy;
  }
}

/// Beside the batch: a download that did not end or failed its checks, or whose manifest is lost.
void noteUnknown(const fs::path& batch, std::set<fs::path>& looked, Expectation& expectation) {
  const fs::path dataset = batch.parent_path();
  if (!looked.insert(dataset).second) return;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dataset, error)) {
    const bool folder = entry.is_directory(error) && !entry.is_symlink(error) && !engine::isPassedOver(entry.path());
    if (!folder || engine::manifestIn(entry.path())) continue;
    if (mayBeBatch(entry.path()) && !isAtWork(entry.path())) expectation.unknown.push_back(entry.path());
  }
  std::ranges::sort(expectation.unknown);
}

// --- the command

constexpr std::array<Option, 2> kHow{{
    {"last", "", "the newest job that has files"},
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

Expectation find(const ParsedOptions& options, Context& context) {
  const std::vector<std::string>& arguments = options.arguments();
  const bool last = options.has("last");
  if (last && !arguments.empty()) throwUsage("--last and a job or folder contradict each other");
  if (!last && arguments.size() != 1) throwUsage("give one job number or one folder");
  std::error_code ignored;
  if (!last && fs::is_directory(arguments.front(), ignored)) return expectedInFolder(arguments.front());
  if (!last && !InputFinder::isJob(arguments.front())) {
    throw Error(Category::notFound, "there is no folder or job '" + core::printable(arguments.front(), 200) + "'");
  }
  Configuration configuration(options, context.environment);
  InputFinder finder(configuration);
  return expectedOfJob(finder, last ? finder.lastJob() : arguments.front());
}

CommandEnd verdict(const Expectation& expectation, const VerifyReport& report) {
  if (report.problems.empty()) return {};
  const std::size_t count = report.problems.size();
  const std::string wayOn =
      expectation.job
          ? "caiexport resume " + std::to_string(*expectation.job) + " downloads again what is gone or was changed"
          : "export again into another --output, or move wrong files away and export again";
  return core::Error(core::Category::verification,
                     std::to_string(count) + (count == 1 ? " difference" : " differences") +
                         " between what is on disk and what was recorded",
                     {.hint = wayOn});
}

void printJson(const Expectation& expectation, const VerifyReport& report, const CommandEnd& end, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("job").value(expectation.job);
  json.key("batch_ids").array(expectation.batches, [](const ExpectedBatch& batch) { return batch.batchId; });
  json.key("files").value(report.files);
  json.key("bytes").value(report.bytes);
  json.key("records").value(report.records);
  json.key("not_counted").array(report.notCounted, [](const fs::path& path) { return path.string(); });
  json.key("replaced");
  writeReplacements(json, expectation.replaced);
  json.key("problems").objects(report.problems, [&](const Problem& problem) {
    json.key("path").value(problem.path.string());
    json.key("batch_id").value(problem.batchId);
    json.key("problem").value(nameOf(problem.difference));
    json.key("detail").value(problem.detail);
  });
  endDocument(json, end, out);
}

void printText(const Expectation& expectation, const VerifyReport& report, StandardOutput& out) {
  for (const model::Replacement& one : expectation.replaced) {
    out.write("batch " + core::printable(one.batch.value(), 80) + ": " + replacementText(one) + "\n");
  }
  for (const store::Delivery& one : expectation.delivered) {
    out.write("batch " + core::printable(one.batch.value(), 80) + ": delivered to " + core::printable(one.target, 200) +
              ", and deleted here after that\n");
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

Expectation expectedOfJob(InputFinder& finder, const std::string& argument) {
  const store::JobView view = finder.job(argument);
  std::uint64_t missing = 0;
  std::map<std::string, ExpectedBatch> byBatch;
  for (const model::Batch& batch : view.job.batches) {
    ExpectedBatch& expected = byBatch[batch.id.value()];
    expected = {.folder = recordedFolder(view.job, batch.id),
                .batchId = batch.id.value(),
                .files = {},
                .records = batch.records};
  }
  std::vector<model::Replacement> replaced = finder.replacementsOf(view.job);
  std::erase_if(replaced, [&](const model::Replacement& one) {
    return one.action != model::ReplaceAction::keep && one.action != model::ReplaceAction::skip &&
           !isPutAway(view.job, one);
  });
  for (const model::Replacement& one : replaced) {
    if (one.action == model::ReplaceAction::aside) byBatch[one.batch.value()].folder = one.path;
  }
  for (const model::FileRecord& file : finder.filesOf(view.job, missing)) {
    ExpectedBatch& expected = byBatch[file.remote.batchId.value()];
    // What was counted stands: where another number had been promised, it was accepted.
    if (file.records) expected.records.reset();
    expected.files.push_back({.path = file.path,
                              .bytes = file.remote.lengthBytes,
                              .sha256 = file.sha256,
                              .records = file.records,
                              .id = file.id,
                              .place = file.remote.datasetFileId.value()});
  }
  Expectation expectation;
  expectation.job = model::numberOf(view.job.id);
  expectation.replaced = replaced;
  expectation.delivered = finder.deliveredAway(view.job);
  for (const model::Batch& batch : view.job.batches) {
    const bool away =
        std::ranges::find(expectation.delivered, batch.id, &store::Delivery::batch) != expectation.delivered.end();
    if (!away && !isDeleted(replaced, batch.id)) expect(expectation, std::move(byBatch[batch.id.value()]));
  }
  if (missing > 0 || (expectation.files == 0 && replaced.empty() && expectation.delivered.empty())) {
    throw Error(Category::notFound,
                "job " + argument + " has not downloaded all its files: there is nothing to verify yet",
                {.hint = "caiexport resume " + argument});
  }
  return expectation;
}

Expectation expectedInFolder(const fs::path& folder) {
  Expectation expectation;
  std::map<fs::path, Heirs> heirs;
  std::set<fs::path> looked;
  for (const fs::path& place : engine::foldersWithManifest(folder)) {
    engine::Manifest manifest = engine::readManifest(place);
    ExpectedBatch batch{.folder = place, .batchId = manifest.batchId, .files = {}, .records = manifest.records};
    for (engine::ManifestFile& file : manifest.files) {
      batch.files.push_back({.path = std::move(file.path),
                             .bytes = file.bytes,
                             .sha256 = std::move(file.sha256),
                             .records = file.records,
                             .place = std::move(file.datasetFileId)});
    }
    if (place != folder) noteUnknown(place, looked, expectation);
    noteReplaced(batch, heirs, expectation);
    expect(expectation, std::move(batch));
  }
  if (expectation.batches.empty()) {
    throw Error(Category::notFound,
                "there is no " + std::string(engine::kManifestName) + " in " + core::printable(folder.string()) +
                    ", so it is not known what should be there",
                {.hint = "name a batch folder, or a job"});
  }
  return expectation;
}

std::string_view nameOf(Difference difference) {
  constexpr std::array<std::string_view, 3> kNames{"missing", "changed", "foreign"};
  return kNames[static_cast<std::size_t>(difference)];
}

VerifyCheck::VerifyCheck(OpenReader openReader, std::function<void(std::uint64_t)> progress, std::stop_token stop,
                         Look look)
    : openReader_(std::move(openReader)), progress_(std::move(progress)), stop_(std::move(stop)), look_(look) {}

void VerifyCheck::add(const ExpectedBatch& batch, const fs::path& path, Difference difference, std::string detail,
                      std::int64_t file) {
  report_.problems.push_back(
      {.path = path, .batchId = batch.batchId, .difference = difference, .detail = std::move(detail), .file = file});
}

void VerifyCheck::check(const ExpectedBatch& batch) {
  tables_ = {};
  if (look_ == Look::contents) {
    for (const ExpectedFile& file : batch.files) tables_.note(batch.folder / file.path, file.place);
  }
  std::uint64_t counted = 0;
  std::uint64_t tables = 0;
  bool wrong = false;
  const std::size_t uncountedBefore = report_.notCounted.size();
  for (const ExpectedFile& file : batch.files) {
    if (stop_.stop_requested()) throw core::Interrupted();
    const fs::path path = batch.folder / file.path;
    std::optional<std::uint64_t> rows;
    if (fs::symlink_status(path).type() == fs::file_type::not_found) {
      add(batch, path, Difference::missing, "", file.id);
      wrong = true;
    } else if (std::string detail = differenceOf(path, file, rows); !detail.empty()) {
      add(batch, path, Difference::changed, std::move(detail), file.id);
      wrong = true;
    }
    if (rows) {
      counted += *rows;
      ++tables;
    }
    progress_(++report_.files);
  }
  // A file that is no table does not excuse the others; one that is wrong is told already.
  const bool all = tables > 0 || report_.notCounted.size() == uncountedBefore;
  if (look_ == Look::contents && !wrong && all && batch.records && counted != *batch.records) {
    add(batch, batch.folder, Difference::changed,
        "the batch was promised with " + std::to_string(*batch.records) + " records, its files hold " +
            std::to_string(counted));
  }
  findForeign(batch);
}

std::string VerifyCheck::differenceOf(const fs::path& path, const ExpectedFile& file,
                                      std::optional<std::uint64_t>& rows) {
  const std::optional<std::uint64_t> bytes = core::diskFileSystem().sizeOf(path);
  if (!bytes) return "it is no regular file any more";
  report_.bytes += *bytes;
  if (*bytes != file.bytes) {
    return "it has " + std::to_string(*bytes) + " bytes, not " + std::to_string(file.bytes);
  }
  if (look_ == Look::sizes) return "";
  if (!file.sha256.empty()) {
    const std::string hash = transfer::sha256OfFile(path, stop_);
    if (hash != file.sha256) return "its SHA-256 is " + hash + ", not " + file.sha256;
    if (file.records && file.id != 0) {
      // The job counted the rows of these bytes: to do it again costs ten times as much as to hash them. What a
      // manifest says of rows, somebody may have written.
      rows = file.records;
      report_.records += *rows;
      return "";
    }
  }
  // What was counted once is a table, whatever it is now.
  const reader::Content content = file.records ? reader::Content::table : tables_.contentOf(path, file.place);
  if (content == reader::Content::table) {
    std::string detail = wrongRows(path, file, rows);
    // Its bytes are those that were recorded, by a job that counted no rows (`--verify size`): it never was a table.
    const bool neverCounted = !rows && !file.records && !file.sha256.empty();
    if (!neverCounted) return detail;
  }
  if (content != reader::Content::marker) report_.notCounted.push_back(path);
  return "";
}

std::string VerifyCheck::wrongRows(const fs::path& path, const ExpectedFile& file, std::optional<std::uint64_t>& rows) {
  if (!reader_) reader_ = openReader_();
  try {
    rows = reader_->inspect(path, reader::Depth::footer, stop_).rows;
  } catch (const Error& error) {
    if (error.category() != Category::verification) throw;
    return error.what();
  }
  report_.records += *rows;
  if (!file.records || *rows == *file.records) return "";
  return "it holds " + std::to_string(*rows) + " records, not " + std::to_string(*file.records);
}

void VerifyCheck::findForeign(const ExpectedBatch& batch) {
  std::error_code error;
  if (!fs::is_directory(batch.folder, error)) return;
  std::set<std::string> expected;
  for (const std::string_view own : {engine::kManifestName, engine::kOldManifestName, engine::kSuccessName}) {
    expected.emplace(own);
  }
  for (const ExpectedFile& file : batch.files) expected.insert(file.path);
  std::vector<fs::path> foreign;
  fs::recursive_directory_iterator entries(batch.folder, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const bool folder = entries->is_directory(error) && !entries->is_symlink(error);
    if (engine::isPassedOver(entries->path())) {
      if (folder) entries.disable_recursion_pending();
    } else if (!folder && expected.erase(entries->path().lexically_relative(batch.folder).string()) == 0) {
      foreign.push_back(entries->path());
    }
  }
  dropRenamed(foreign, batch, expected);
  if (error) core::throwIoError("read the folder", batch.folder, error.value());
  std::ranges::sort(foreign);
  for (const fs::path& path : foreign) add(batch, path, Difference::foreign, "");
}

/// Some file systems keep names as they like: in small letters, or with accents as letters of their own. A file that is
/// found under its recorded name is the one that is listed under another.
void VerifyCheck::dropRenamed(std::vector<fs::path>& foreign, const ExpectedBatch& batch,
                              const std::set<std::string>& notListed) {
  if (foreign.empty()) return;
  core::FileSystem& files = core::diskFileSystem();
  std::set<std::pair<std::uint64_t, std::uint64_t>> recorded;
  for (const std::string& name : notListed) {
    if (const auto there = files.identityOf(batch.folder / name)) recorded.emplace(there->device, there->inode);
  }
  // Once each: a second name of the same file is foreign.
  std::erase_if(foreign, [&](const fs::path& path) {
    const auto identity = files.identityOf(path);
    return identity && recorded.erase({identity->device, identity->inode}) > 0;
  });
}

VerifyReport checkAll(const Expectation& expectation, VerifyCheck::Look look, Context& context) {
  const std::string of = " of " + grouped(expectation.files) + " files";
  const auto showCount = [&, last = core::SteadyTime()](std::uint64_t done) mutable {
    const core::SteadyTime now = core::systemClock().steadyNow();
    if (now - last < std::chrono::milliseconds(100)) return;
    last = now;
    context.console.live("verifying: " + grouped(done) + of);
  };
  VerifyCheck check([] { return reader::openReader({}); }, showCount, context.stop, look);
  for (const ExpectedBatch& batch : expectation.batches) check.check(batch);
  context.console.live({});
  VerifyReport report = check.report();
  for (const fs::path& folder : expectation.unknown) {
    report.problems.push_back({.path = folder / engine::kManifestName,
                               .batchId = folder.filename().string(),
                               .difference = Difference::missing,
                               .detail = "so it is not known what should be there: its download did not end, or "
                                         "failed its checks"});
  }
  return report;
}

const CommandPage& verifyPage() {
  static const CommandPage page{
      .name = "verify",
      .summary = "check files on disk against what was recorded",
      .arguments = "JOB|DIR|--last",
      .description =
          R"(Checks the files of a job against its record, or those of a folder against its manifest.json: size,
SHA-256 and number of rows. Names files that are missing, changed, or do not belong there.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport verify 12", "the files of job 12"},
                   {"caiexport verify /data/scores/5dd603781b95cc18a83d42ce", "all batches in a folder"}},
      .exitCodes = {0, 1, 2, 4, 7, 8, 9, 130}};
  return page;
}

CommandEnd runVerify(const ParsedOptions& options, Context& context) {
  const TextOrJson format = formatOption(options);
  const Expectation expectation = find(options, context);
  const VerifyReport report = checkAll(expectation, VerifyCheck::Look::contents, context);
  CommandEnd end = verdict(expectation, report);
  format == TextOrJson::json ? printJson(expectation, report, end, context.out)
                             : printText(expectation, report, context.out);
  return end;
}

}  // namespace caiexport::cli
