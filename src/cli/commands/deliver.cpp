/// `deliver`: sends what is here, and verified, to a store.

#include <array>
#include <set>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/delivery.h"
#include "caiexport/json/writer.h"
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

constexpr std::array<Option, 1> kHow{{
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

/// A batch's folder, and whose it is by the record.
struct Source {
  engine::Manifest manifest;
  store::SyncPlace place;
  CommandEnd error = {};
};

/// Those of the job that are here, and not out of the way.
std::vector<Source> ofJob(InputFinder& finder, const std::string& argument) {
  const store::JobView view = finder.job(argument);
  const std::vector<model::Replacement> replaced = finder.replacementsOf(view.job);
  std::vector<Source> sources;
  for (const model::Batch& batch : view.job.batches) {
    const auto out = [&](const model::Replacement& one) { return one.batch == batch.id && isPutAway(view.job, one); };
    const fs::path folder = recordedFolder(view.job, batch.id);
    if (std::ranges::any_of(replaced, out) || !engine::manifestIn(folder)) continue;
    sources.push_back({.manifest = engine::readManifest(folder),
                       .place = {.orgId = view.job.request.orgId,
                                 .sandbox = view.job.request.sandbox,
                                 .dataset = view.job.datasetId,
                                 .output = view.job.request.output}});
  }
  if (!sources.empty()) return sources;
  throw Error(Category::notFound, "job " + argument + " has no verified batch on disk: there is nothing to deliver",
              {.hint = "caiexport show " + argument + " says what became of it"});
}

std::vector<Source> inFolder(const fs::path& folder, Configuration& configuration) {
  const auto setting = [&](std::string_view key) {
    const std::optional<Setting> found = configuration.find(key);
    return found ? found->value : std::string();
  };
  std::vector<Source> sources;
  for (const fs::path& place : engine::foldersWithManifest(folder)) {
    Source source{.manifest = engine::readManifest(place), .place = {}};
    source.place = {.orgId = setting("org_id"),
                    .sandbox = setting("sandbox"),
                    .dataset = model::DatasetId(source.manifest.datasetId),
                    .output = engine::datasetFolderAbove(place).parent_path()};
    sources.push_back(std::move(source));
  }
  if (!sources.empty()) return sources;
  throw Error(Category::notFound,
              "there is no " + std::string(engine::kManifestName) + " in " + core::printable(folder.string()) +
                  ": there is nothing to deliver",
              {.hint = "name a batch's folder, a folder above it, or a job"});
}

void printJson(const std::vector<Source>& sources, const std::string& target, const CommandEnd& end,
               StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("target").value(target);
  json.key("batches").objects(sources, [&](const Source& one) {
    json.key("dataset_id").value(one.manifest.datasetId);
    json.key("batch_id").value(one.manifest.batchId);
    json.key("folder").value(one.manifest.folder.string());
    json.key("files").value(static_cast<std::uint64_t>(one.manifest.files.size()));
    json.key("whole").value(!one.error);
    json.key("problem").textOrNull(one.error ? one.error->what() : "");
  });
  endDocument(json, end, out);
}

void printText(const std::vector<Source>& sources, const std::string& target, StandardOutput& out) {
  for (const Source& one : sources) {
    if (one.error) continue;
    out.write("batch " + core::printable(one.manifest.batchId, 80) + " of dataset " +
              core::printable(one.manifest.datasetId, 80) + ": " +
              counted(one.manifest.files.size(), "file is", "files are") + " at " + core::printable(target, 200) +
              "\n");
  }
}

}  // namespace

const CommandPage& deliverPage() {
  static const CommandPage page{
      .name = "deliver",
      .summary = "send verified batches to a store of objects",
      .arguments = "JOB|DIR TARGET",
      .description =
          R"(Sends the batches of a job, or those in a folder, to TARGET (rclone:REMOTE:PATH), as --deliver of
`dataset`, `segment` and `sync` does: the files, compared with what was recorded, then
_manifest.json, then _SUCCESS, in dataset_id=ID/batch_id=ID. What is there already is not sent
again. Needs rclone, and no credentials of the platform.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport deliver 12 rclone:lake:bucket/scores", "the batches of job 12"},
                   {"caiexport deliver /data/scores rclone:lake:bucket/scores", "all that is in that folder"}},
      .exitCodes = {0, 1, 2, 3, 4, 7, 8, 9, 10, 130}};
  return page;
}

CommandEnd runDeliver(const ParsedOptions& options, Context& context) {
  const std::vector<std::string>& arguments = options.arguments();
  const TextOrJson format = formatOption(options);
  if (arguments.size() != 2) throw Error(Category::usage, "give one job number or one folder, and a target");
  const objects::Target target = objects::Target::parse(arguments[1]);
  Configuration configuration(options, context.environment);
  std::error_code ignored;
  const bool isFolder = fs::is_directory(arguments[0], ignored);
  if (!isFolder && !InputFinder::isJob(arguments[0])) {
    throw Error(Category::notFound, "there is no folder or job '" + core::printable(arguments[0], 200) + "'");
  }
  std::vector<Source> sources;
  if (isFolder) {
    sources = inFolder(arguments[0], configuration);
  } else {
    // Its look at the record ends before the record is opened to be written.
    InputFinder finder(configuration);
    sources = ofJob(finder, arguments[0]);
  }
  Record record(configuration.database(), Record::Mode::readWrite);
  store::DeliveryStore records(record.database(), core::systemClock());
  const engine::DeliveryTools tools{
      .records = records,
      .clock = core::systemClock(),
      .random = core::systemRandom(),
      .open = [](const std::string& text) { return objects::openRclone(objects::Target::parse(text), {}); },
      .tell = [&](std::string_view text) { context.console.notice("caiexport: " + core::printable(text)); }};
  engine::Delivery delivery(tools, target.text(), context.stop);
  std::set<fs::path> outputs;
  for (const Source& one : sources) {
    if (outputs.insert(one.place.output).second) delivery.requireReady(one.place.output);
  }
  CommandEnd end;
  for (Source& one : sources) {
    try {
      const core::DirectoryLock lock(one.manifest.folder);
      delivery.bring(one.place, one.manifest);
    } catch (const Error& error) {
      one.error = error;
      if (end) context.console.notice(std::string("caiexport: ") + error.what());
      if (!end) end = error;
      // What concerns all ends it; what is wrong with one batch does not.
      if (error.category() != Category::verification && error.category() != Category::busy) break;
    }
  }
  if (format == TextOrJson::json) printJson(sources, target.text(), end, context.out);
  if (format == TextOrJson::text && context.console.level() != Console::Level::quiet) {
    printText(sources, target.text(), context.out);
  }
  return end;
}

}  // namespace caiexport::cli
