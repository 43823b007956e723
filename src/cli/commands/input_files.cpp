#include "input_files.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "caiexport/reader/tables.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "cli/record.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

/// A few names out of many.
std::string named(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, names.size()); ++i) {
    text.append(i == 0 ? "" : ", ").append(core::printable(names[i], 80));
  }
  return names.size() > kNamed ? text + ", ..." : text;
}

// The platform's folder that a file was in; empty where it is not known.
std::string placeOf(const model::FileRecord& file) {
  return file.remote.batchId.value() + "/" + file.remote.datasetFileId.value();
}
std::string placeOf(const engine::ManifestFile& file) {
  return file.datasetFileId;
}
std::string placeOf(const fs::path& /*file*/) {
  return {};
}

/// Batches also hold files that are no tables. `isCounted`: the record says that the file is one.
template <class File, class Path, class Counted>
void keepTables(std::vector<File>& files, const Path& pathOf, const Counted& isCounted, const std::string& where,
                InputSet& set) {
  reader::TableFinder tables;
  for (const File& file : files) tables.note(pathOf(file), placeOf(file));
  std::vector<std::string> others;
  std::vector<std::string> uncommitted;
  std::erase_if(files, [&](const File& file) {
    if (isCounted(file)) return false;
    const fs::path path = pathOf(file);
    const reader::Content content = tables.contentOf(path, placeOf(file));
    if (content == reader::Content::other) others.push_back(path.filename().string());
    if (content == reader::Content::uncommitted) uncommitted.push_back(path.filename().string());
    return content != reader::Content::table;
  });
  const auto tell = [&](const std::vector<std::string>& names, const std::string& why) {
    if (names.empty()) return;
    set.notices.push_back(where + ": " + counted(names.size(), "file is", "files are") + " left out, " + why + ": " +
                          named(names));
  };
  tell(others, "being no Parquet");
  tell(uncommitted, "because the batch's commit markers do not name them");
}

void addBatch(const model::Batch& batch, InputSet& set) {
  if (std::ranges::find(set.batches, batch.id, &model::Batch::id) == set.batches.end()) set.batches.push_back(batch);
}

void describe(InputSet& set, const std::string& what) {
  set.description.append(set.description.empty() ? "" : ", ").append(what);
}

void dropReplaced(InputSet& set) {
  set.replaced = model::replacedAmong(set.batches);
  for (const model::BatchId& id : set.replaced) {
    std::erase_if(set.files, [&](const reader::InputFile& file) { return file.batchId == id.value(); });
    std::erase_if(set.batches, [&](const model::Batch& batch) { return batch.id == id; });
    set.notices.push_back("batch " + id.value() + " is left out: a newer batch replaces it");
  }
}

/// Each file once, by whatever path, link or second name it was given; of copies of a batch the first.
void dropRepeated(InputSet& set) {
  std::set<fs::path> paths;
  std::set<std::pair<std::uint64_t, std::uint64_t>> linked;
  std::set<std::pair<std::string, std::string>> places;
  std::vector<std::string> copies;
  std::erase_if(set.files, [&](const reader::InputFile& file) {
    std::error_code error;
    const fs::path canonical = fs::weakly_canonical(file.path, error);
    const fs::path& path = error ? file.path : canonical;
    if (!paths.insert(path).second) return true;
    const auto identity = core::diskFileSystem().identityOf(path);
    if (identity && identity->links > 1 && !linked.emplace(identity->device, identity->inode).second) return true;
    if (file.batchId.empty() || places.emplace(file.batchId, file.label).second) return false;
    copies.push_back(file.path.string());
    return true;
  });
  if (copies.empty()) return;
  set.notices.push_back(
      counted(copies.size(), "file is", "files are") +
      " left out, because the same files of the same batches are read from another place: " + named(copies));
}

void noteSeveralBatches(InputSet& set) {
  if (set.batches.size() < 2) return;
  std::vector<std::string> ids;
  for (const model::Batch& batch : set.batches) ids.push_back(batch.id.value());
  set.notices.push_back(std::to_string(set.batches.size()) + " batches are read as one set: " + named(ids) +
                        "; a customer may be in several of them, so there may be fewer customers than rows");
  if (set.datasets.size() < 2) return;
  const std::vector<std::string> datasets(set.datasets.begin(), set.datasets.end());
  set.notices.push_back("the batches are of " + std::to_string(datasets.size()) + " datasets, " + named(datasets) +
                        ": their scores may be those of different models");
}

/// The folder with the folders of batches that the files lie in; empty where that can't be told.
fs::path datasetFolderOf(const InputSet& set) {
  for (const reader::InputFile& file : set.files) {
    std::error_code ignored;
    fs::path folder = fs::absolute(file.path, ignored).parent_path();
    while (!file.batchId.empty() && folder.has_relative_path()) {
      if (engine::idIn(folder) == file.batchId) return folder.parent_path();
      folder = folder.parent_path();
    }
  }
  return {};
}

[[noreturn]] void throwNothing(const fs::path& folder) {
  throw Error(Category::notFound, "there is nothing to read in " + core::printable(folder.string()),
              {.hint = "name a batch folder, or a folder that holds batch folders or Parquet files"});
}

}  // namespace

bool isPutAway(const model::Job& job, const model::Replacement& one) {
  if (one.action == model::ReplaceAction::keep || one.action == model::ReplaceAction::skip) return false;
  std::error_code ignored;
  return model::isPrivacyDeletion(one.reason) || !fs::exists(recordedFolder(job, one.batch), ignored);
}

InputFinder::InputFinder(Configuration& configuration, Batches batches)
    : configuration_(configuration), batches_(batches) {}
InputFinder::~InputFinder() = default;

Record* InputFinder::recordIfAny() {
  if (looked_) return record_.get();
  looked_ = true;
  try {
    record_ = Record::open(configuration_.database());
  } catch (const Error&) {
    record_.reset();
  }
  return record_.get();
}

std::vector<InputFinder::Known> InputFinder::knownIn(const fs::path& folder) {
  std::vector<Known> found;
  for (const fs::path& place : engine::foldersWithManifest(folder)) {
    engine::Manifest manifest = engine::readManifest(place);
    model::Batch batch = batchOf(manifest);
    found.push_back({.manifest = std::move(manifest), .batch = std::move(batch)});
  }
  return found;
}

std::vector<model::BatchId> InputFinder::replacedIn(const std::vector<Known>& known) {
  std::vector<model::Batch> all;
  all.reserve(known.size());
  for (const Known& each : known) all.push_back(each.batch);
  return model::replacedAmong(all);
}

std::vector<engine::Manifest> InputFinder::olderThan(const fs::path& dataset, const InputSet& now) {
  std::optional<core::TimePoint> oldest;
  for (const model::Batch& batch : now.batches) {
    if (batch.created != core::TimePoint() && (!oldest || batch.created < *oldest)) oldest = batch.created;
  }
  if (dataset.empty() || !oldest) return {};
  std::vector<Known> found = knownIn(dataset);
  const std::vector<model::BatchId> replaced = replacedIn(found);
  std::erase_if(found, [&](const Known& each) {
    const bool isOlder = each.batch.created != core::TimePoint() && each.batch.created < *oldest;
    return !isOlder || std::ranges::find(replaced, each.batch.id) != replaced.end();
  });
  std::ranges::sort(found,
                    [](const Known& one, const Known& other) { return other.batch.created < one.batch.created; });
  std::vector<engine::Manifest> manifests;
  manifests.reserve(found.size());
  for (Known& each : found) manifests.push_back(std::move(each.manifest));
  return manifests;
}

std::string InputFinder::datasetOf(const InputSet& set) {
  return engine::idIn(datasetFolderOf(set));
}

std::vector<InputSet> InputFinder::findEarlier(const InputSet& now, std::size_t most) {
  std::vector<InputSet> sets;
  for (const engine::Manifest& manifest : olderThan(datasetFolderOf(now), now)) {
    if (sets.size() == most) break;
    sets.push_back(find({manifest.folder.string()}));
  }
  return sets;
}

InputSet InputFinder::findAgainst(const std::string& what, const InputSet& now) {
  const fs::path dataset = datasetFolderOf(now);
  if (what == "previous") {
    const std::vector<engine::Manifest> older = olderThan(dataset, now);
    if (!older.empty()) return find({older.front().folder.string()});
    throw Error(
        Category::notFound,
        "there is no batch that is older than " + core::printable(now.description, 200) + " beside it",
        {.hint = "caiexport dataset --id ID --limit 2 downloads the newest two; or name the job, folder or file to "
                 "compare with"});
  }
  std::error_code ignored;
  const bool mayBeBatch = !isJob(what) && !fs::exists(what, ignored) && !dataset.empty() && what.find('/') == what.npos;
  if (mayBeBatch) {
    for (const fs::path& name : engine::namesOf(model::BatchId(what))) {
      if (fs::is_directory(dataset / name, ignored)) return find({(dataset / name).string()});
    }
  }
  return find({what});
}

bool InputFinder::isJob(const std::string& argument) {
  std::error_code ignored;
  return core::parseUnsigned(argument).has_value() && !fs::exists(argument, ignored);
}

store::JobView InputFinder::job(const std::string& argument) {
  const model::JobId number = jobNumber(argument);
  if (!record_) {
    record_ = Record::open(configuration_.database());
    looked_ = true;
  }
  if (!record_) {
    throw Error(Category::notFound, "there is no job " + argument + ": no job has been made yet",
                {.hint = "is --database the right file?"});
  }
  return record_->history().job(number);
}

std::vector<model::FileRecord> InputFinder::filesOf(const model::Job& job, std::uint64_t& missing) {
  std::vector<model::FileRecord> files;
  record_->history().forEachFile(job.id, [&](const model::FileRecord& file) {
    const bool here = file.state == model::FileState::downloaded || file.state == model::FileState::verified;
    if (here) {
      files.push_back(file);
    } else {
      ++missing;
    }
  });
  return files;
}

std::vector<model::Replacement> InputFinder::replacementsOf(const model::Job& job) {
  return record_->history().replacementsOf(job);
}

std::vector<store::Delivery> InputFinder::deliveredAway(const model::Job& job) {
  std::vector<store::Delivery> away = record_->history().deliveriesOf(job);
  std::erase_if(away, [&](const store::Delivery& one) {
    std::error_code ignored;
    return one.state != store::DeliveryState::whole || one.deletedFrom != job.request.output ||
           fs::exists(recordedFolder(job, one.batch), ignored);
  });
  return away;
}

/// What was deleted here on purpose is told, and not missed.
void InputFinder::dropDelivered(store::JobView& view, std::vector<model::FileRecord>& files, InputSet& set) {
  for (const store::Delivery& one : deliveredAway(view.job)) {
    std::erase_if(files, [&](const model::FileRecord& file) { return file.remote.batchId == one.batch; });
    std::erase_if(view.job.batches, [&](const model::Batch& batch) { return batch.id == one.batch; });
    const std::string text = "batch " + one.batch.value() + " is at " + core::printable(one.target, 200) +
                             ", and was deleted here after it had been delivered";
    if (files.empty()) {
      throw Error(Category::notFound, "job " + std::to_string(model::numberOf(view.job.id)) + " can't be read: " + text,
                  {.hint = "read it there, or fetch it again: caiexport dataset --id " + view.job.datasetId.value() +
                           " --batch " + one.batch.value()});
    }
    set.notices.push_back(text);
  }
}

/// What `sync` put away is read only by the name of its folder.
void InputFinder::dropPutAway(store::JobView& view, std::vector<model::FileRecord>& files, InputSet& set) {
  for (const model::Replacement& one : replacementsOf(view.job)) {
    if (!isPutAway(view.job, one)) continue;
    std::erase_if(files, [&](const model::FileRecord& file) { return file.remote.batchId == one.batch; });
    std::erase_if(view.job.batches, [&](const model::Batch& batch) { return batch.id == one.batch; });
    const std::string text = "batch " + one.batch.value() + " is " + replacementText(one);
    if (files.empty()) {
      throw Error(Category::notFound, "job " + std::to_string(model::numberOf(view.job.id)) + " can't be read: " + text,
                  {.hint = one.path.empty() ? "caiexport history lists the jobs; a later one has the batch that "
                                              "replaced it"
                                            : "name its folder to read it nevertheless"});
    }
    set.notices.push_back(text);
  }
}

std::string InputFinder::wayTo(const store::JobView& view, const std::string& argument) {
  const std::optional<store::JobView> last = record_->history().newestWithFiles();
  std::string hint = view.status == model::JobStatus::succeeded ? "" : "caiexport resume " + argument + " continues it";
  if (last) {
    hint += (hint.empty() ? "" : "; ") + std::string("--last takes job ") +
            std::to_string(model::numberOf(last->job.id)) + ", the newest one that has files";
  }
  return hint;
}

void InputFinder::addJob(const std::string& argument, InputSet& set) {
  store::JobView view = job(argument);
  std::uint64_t missing = 0;
  std::vector<model::FileRecord> files = filesOf(view.job, missing);
  if (!files.empty()) dropDelivered(view, files, set);
  if (!files.empty()) dropPutAway(view, files, set);
  if (files.empty()) {
    throw Error(Category::notFound, "job " + argument + " has no files on disk", {.hint = wayTo(view, argument)});
  }
  if (missing > 0) {
    set.notices.push_back("job " + argument + " is not complete: " + std::to_string(missing) +
                          " of its files are missing");
  }
  if (view.status != model::JobStatus::succeeded && view.job.error) {
    set.notices.push_back("job " + argument + " did not succeed, its files are read all the same: " +
                          core::printable(view.job.error->message, 300));
  }
  keepTables(
      files, [&](const model::FileRecord& file) { return pathOf(view.job, file); },
      [](const model::FileRecord& file) { return file.records.has_value(); }, "job " + argument, set);
  set.datasets.insert(view.job.datasetId.value());
  std::map<std::string, core::TimePoint> created;
  for (const model::Batch& batch : view.job.batches) {
    addBatch(batch, set);
    created.emplace(batch.id.value(), batch.created);
  }
  for (const model::FileRecord& file : files) {
    const auto time = created.find(file.remote.batchId.value());
    set.files.push_back({.path = pathOf(view.job, file),
                         .batchId = file.remote.batchId.value(),
                         .batchCreated = time == created.end() ? std::nullopt : std::optional(time->second),
                         .label = file.path});
  }
  describe(set, "job " + argument);
}

/// What the record, or else the manifest, knows of the batch: when it was made, and what it replaces.
model::Batch InputFinder::batchOf(const engine::Manifest& manifest) {
  model::Batch unknown{.id = model::BatchId(manifest.batchId),
                       .created = manifest.created.value_or(core::TimePoint()),
                       .predecessors = manifest.replaces};
  Record* record = manifest.job > 0 ? recordIfAny() : nullptr;
  if (record == nullptr) return unknown;
  try {
    const store::JobView view = record->history().job(model::JobId(manifest.job));
    const auto found = std::ranges::find(view.job.batches, unknown.id, &model::Batch::id);
    // Another database's job may bear the same number.
    if (found != view.job.batches.end() && view.job.datasetId.value() == manifest.datasetId) return *found;
  } catch (const Error&) {
    return unknown;
  }
  return unknown;
}

void InputFinder::addManifest(const engine::Manifest& manifest, const model::Batch& batch, InputSet& set) {
  std::vector<engine::ManifestFile> files = manifest.files;
  keepTables(
      files, [&](const engine::ManifestFile& file) { return manifest.folder / file.path; },
      [](const engine::ManifestFile& file) { return file.records.has_value(); },
      "batch " + core::printable(manifest.batchId, 80), set);
  set.datasets.insert(manifest.datasetId);
  if (const auto file = engine::manifestIn(manifest.folder)) set.manifests.push_back(*file);
  addBatch(batch, set);
  const bool known = batch.created != core::TimePoint();
  for (const engine::ManifestFile& file : files) {
    set.files.push_back({.path = manifest.folder / file.path,
                         .batchId = manifest.batchId,
                         .batchCreated = known ? std::optional(batch.created) : std::nullopt,
                         .label = file.path});
  }
}

void InputFinder::addLooseFiles(const fs::path& folder, InputSet& set) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  if (error) core::throwIoError("read the folder", folder, error.value());
  for (; entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    if (error) core::throwIoError("read the folder", folder, error.value());
    const bool isFolder = entries->is_directory(error);
    if (isFolder && reader::isOfBooks(entries->path().filename().string())) {
      entries.disable_recursion_pending();
      set.notices.push_back(core::printable(entries->path().string()) + " is left out: it holds no rows of its own");
    } else if (engine::isPassedOver(entries->path())) {
      if (isFolder) entries.disable_recursion_pending();
    } else if (entries->is_regular_file(error)) {
      found.push_back(entries->path());
    }
  }
  std::ranges::sort(found);
  keepTables(
      found, [](const fs::path& file) { return file; }, [](const fs::path&) { return false; },
      core::printable(folder.string()), set);
  if (found.empty()) throwNothing(folder);
  for (const fs::path& file : found)
    set.files.push_back({.path = file, .label = file.lexically_relative(folder).string()});
}

/// Batches of one export are one result; those of a dataset are one each, of different days.
bool InputFinder::isOneExport(const engine::Manifest& one, const engine::Manifest& other) {
  Record* record = one.job > 0 && one.job == other.job ? recordIfAny() : nullptr;
  if (record == nullptr) return false;
  try {
    const model::Job job = record->history().job(model::JobId(one.job)).job;
    return job.request.kind == model::Kind::segment && job.datasetId.value() == one.datasetId;
  } catch (const Error&) {
    return false;
  }
}

/// Of each dataset the newest batch that is not superseded: the same people are in the older ones too.
void InputFinder::keepNewest(std::vector<Known>& batches, const fs::path& folder, InputSet& set) {
  const std::vector<model::BatchId> replaced = replacedIn(batches);
  std::map<std::string, const Known*> newest;
  std::map<std::string, std::uint64_t> count;
  const auto isNewer = [](const Known& one, const Known& other) {
    return std::tie(one.batch.created, one.batch.id) > std::tie(other.batch.created, other.batch.id);
  };
  for (const Known& each : batches) {
    if (std::ranges::find(replaced, each.batch.id) != replaced.end()) continue;
    ++count[each.manifest.datasetId];
    const Known*& chosen = newest[each.manifest.datasetId];
    if (chosen == nullptr || isNewer(each, *chosen)) chosen = &each;
  }
  std::vector<Known> kept;
  for (const Known& each : batches) {
    const auto chosen = newest.find(each.manifest.datasetId);
    if (chosen == newest.end()) continue;
    if (&each == chosen->second || isOneExport(each.manifest, chosen->second->manifest)) kept.push_back(each);
  }
  for (const auto& [dataset, chosen] : newest) {
    if (count[dataset] == 1) continue;
    const bool known = chosen->batch.created != core::TimePoint();
    if (!known) {
      throwUsage("caiexport cannot tell which of the " + std::to_string(count[dataset]) + " batches in " +
                     core::printable(folder.string()) + " is the newest",
                 "name the folder of one batch, or read them all with --all-batches");
    }
    const std::size_t read = static_cast<std::size_t>(std::ranges::count(
        kept, dataset, [](const Known& each) -> const std::string& { return each.manifest.datasetId; }));
    if (read == count[dataset]) continue;
    set.notices.push_back("of " + std::to_string(count[dataset]) + " batches in " + core::printable(folder.string()) +
                          " the newest is read, " + core::printable(chosen->batch.id.value(), 80) + " of " +
                          core::formatTime(chosen->batch.created) + "; --all-batches reads them all");
  }
  batches = std::move(kept);
}

void InputFinder::addFolder(const fs::path& folder, InputSet& set) {
  std::vector<Known> found = knownIn(folder);
  if (found.empty()) addLooseFiles(folder, set);
  if (batches_ == Batches::newest && found.size() > 1) keepNewest(found, folder, set);
  for (const Known& each : found) addManifest(each.manifest, each.batch, set);
  describe(set, folder.string());
}

void InputFinder::addFile(const fs::path& file, InputSet& set) {
  set.files.push_back({.path = file});
  describe(set, file.string());
}

InputSet InputFinder::completed(InputSet set) {
  dropReplaced(set);
  dropRepeated(set);
  // Oldest batch first, whatever the order of folders; files of unknown age last, in their order.
  std::ranges::stable_sort(
      set.files, {}, [](const reader::InputFile& file) { return file.batchCreated.value_or(core::TimePoint::max()); });
  noteSeveralBatches(set);
  return set;
}

std::string InputFinder::lastJob() {
  record_ = Record::open(configuration_.database());
  looked_ = true;
  const std::optional<store::JobView> last = record_ ? record_->history().newestWithFiles() : std::nullopt;
  if (last) return std::to_string(model::numberOf(last->job.id));
  throw Error(Category::notFound, "no job has files yet", {.hint = "is --database the right file?"});
}

InputSet InputFinder::findLast() {
  InputSet set;
  addJob(lastJob(), set);
  return completed(std::move(set));
}

InputSet InputFinder::find(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    throwUsage("name what to read: a job number, a folder or files", "caiexport history lists the jobs");
  }
  InputSet set;
  for (const std::string& argument : arguments) {
    std::error_code ignored;
    const fs::file_status status = fs::status(argument, ignored);
    if (isJob(argument)) {
      addJob(argument, set);
    } else if (fs::is_directory(status)) {
      addFolder(argument, set);
    } else if (fs::exists(status)) {
      addFile(argument, set);
    } else {
      throw Error(Category::notFound, "there is no file, folder or job '" + core::printable(argument, 200) + "'");
    }
  }
  return completed(std::move(set));
}

}  // namespace caiexport::cli
