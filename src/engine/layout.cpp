#include "caiexport/engine/layout.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using model::Layout;

constexpr std::string_view kDatasetKey = "dataset_id=";
constexpr std::string_view kBatchKey = "batch_id=";
constexpr const char* kLatestName = "latest";
constexpr const char* kHiveLatestName = "_latest";
constexpr std::array kLayouts{Layout::plain, Layout::hive};

bool isThere(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string nameIn(Layout layout, std::string_view key, const std::string& id) {
  return layout == Layout::hive ? std::string(key) + id : id;
}

fs::path placeIn(Layout layout, const fs::path& output, const model::DatasetId& dataset, const model::BatchId& batch) {
  return datasetFolder(output, layout, dataset) / nameIn(layout, kBatchKey, batch.value());
}

/// Where the batch lies, or is to lie.
fs::path placeOf(const fs::path& output, Layout preferred, const model::DatasetId& dataset,
                 const model::BatchId& batch) {
  fs::path wanted = placeIn(preferred, output, dataset, batch);
  if (isThere(wanted)) return wanted;
  fs::path other = placeIn(preferred == Layout::hive ? Layout::plain : Layout::hive, output, dataset, batch);
  return manifestIn(other) ? other : wanted;
}

/// A mounted folder can't be moved out of what it is mounted in.
bool isMounted(const fs::path& folder) {
  struct stat inner {};
  struct stat outer {};
  return ::stat(folder.c_str(), &inner) == 0 && ::stat(folder.parent_path().c_str(), &outer) == 0 &&
         inner.st_dev != outer.st_dev;
}

/// Whether the platform has such a file in the batch; what no manifest tells of is not ours either.
bool isFileOfTheBatch(const fs::path& folder, std::string_view name) {
  if (!manifestIn(folder)) return true;
  try {
    return std::ranges::any_of(readManifest(folder).files, [&](const ManifestFile& file) { return file.path == name; });
  } catch (const core::Error&) {
    return false;
  }
}

}  // namespace

bool canBeFolder(const std::string& id) {
  return model::isWellFormedId(id) && !isPassedOver(id) && !model::isOwnName(id) && id != kLatestName &&
         id != kHiveLatestName && id.find('=') == id.npos;
}

fs::path datasetFolder(const fs::path& output, Layout layout, const model::DatasetId& dataset) {
  return output / nameIn(layout, kDatasetKey, dataset.value());
}

std::vector<fs::path> datasetFolders(const fs::path& output, const model::DatasetId& dataset) {
  std::vector<fs::path> folders;
  folders.reserve(kLayouts.size());
  for (const Layout layout : kLayouts) folders.push_back(datasetFolder(output, layout, dataset));
  std::erase_if(folders, [](const fs::path& folder) { return !isThere(folder); });
  return folders;
}

void requireFolderNames(const model::DatasetId& dataset, const model::BatchId& batch) {
  for (const std::string& id : {dataset.value(), batch.value()}) {
    if (!canBeFolder(id)) {
      throw core::Error(core::Category::protocol,
                        "the platform's id '" + core::printable(id, 80) + "' can't be the name of a folder");
    }
  }
}

fs::path batchFolder(const fs::path& output, Layout preferred, const model::DatasetId& dataset,
                     const model::BatchId& batch) {
  requireFolderNames(dataset, batch);
  return placeOf(output, preferred, dataset, batch);
}

fs::path folderOf(const model::Job& job, const model::BatchId& batch) {
  return batchFolder(job.request.output, job.request.layout, job.datasetId, batch);
}

const fs::path& BatchFolders::of(const model::BatchId& batch) {
  if (batch_ != batch) {
    folder_ = folderOf(job_, batch);
    batch_ = batch;
  }
  return folder_;
}

fs::path recordedFolder(const model::Job& job, const model::BatchId& batch) {
  return placeOf(job.request.output, job.request.layout, job.datasetId, batch);
}

fs::path folderOf(const model::Job& job) {
  if (job.batches.empty()) return datasetFolder(job.request.output, job.request.layout, job.datasetId);
  return recordedFolder(job, job.batches.front().id).parent_path();
}

std::vector<fs::path> batchFolders(const fs::path& output, const model::DatasetId& dataset,
                                   const model::BatchId& batch) {
  std::vector<fs::path> folders;
  folders.reserve(kLayouts.size());
  for (const Layout layout : kLayouts) folders.push_back(placeIn(layout, output, dataset, batch));
  std::erase_if(folders, [](const fs::path& folder) { return !isThere(folder); });
  return folders;
}

std::vector<fs::path> namesOf(const model::BatchId& batch) {
  std::vector<fs::path> names;
  names.reserve(kLayouts.size());
  for (const Layout layout : kLayouts) names.emplace_back(nameIn(layout, kBatchKey, batch.value()));
  return names;
}

std::string idIn(const fs::path& folder) {
  std::string name = folder.filename().string();
  for (const std::string_view key : {kDatasetKey, kBatchKey}) {
    if (name.starts_with(key)) return name.substr(key.size());
  }
  return name;
}

fs::path asideFolderOf(const fs::path& datasetFolder) {
  if (isMounted(datasetFolder)) return datasetFolder / kReplacedName;
  return datasetFolder.parent_path() / kReplacedName / datasetFolder.filename();
}

std::vector<fs::path> asideFolders(const fs::path& output, const model::DatasetId& dataset) {
  std::vector<fs::path> folders;
  for (const Layout layout : kLayouts) {
    const fs::path folder = datasetFolder(output, layout, dataset);
    folders.push_back(output / kReplacedName / folder.filename());
    folders.push_back(folder / kReplacedName);
  }
  return folders;
}

bool isAside(const fs::path& batchFolder) {
  const fs::path above = batchFolder.parent_path();
  return above.filename() == kReplacedName || above.parent_path().filename() == kReplacedName;
}

fs::path datasetFolderAbove(const fs::path& batchFolder) {
  fs::path above = batchFolder.parent_path();
  if (above.filename() == kReplacedName) return above.parent_path();
  if (above.parent_path().filename() == kReplacedName) return above.parent_path().parent_path() / above.filename();
  return above;
}

fs::path latestIn(const fs::path& datasetFolder) {
  const bool hive = datasetFolder.filename().string().starts_with(kDatasetKey);
  return datasetFolder / (hive ? kHiveLatestName : kLatestName);
}

bool isLatest(const fs::path& name) {
  return name.filename() == kLatestName || name.filename() == kHiveLatestName;
}

std::optional<fs::path> manifestIn(const fs::path& batchFolder) {
  std::error_code ignored;
  for (const std::string_view name : {kManifestName, kOldManifestName}) {
    if (fs::is_regular_file(batchFolder / name, ignored)) return batchFolder / name;
  }
  return std::nullopt;
}

bool isPassedOver(const fs::path& name) {
  const std::string last = name.filename().string();
  return last.empty() || last.front() == '.' || last.ends_with(".part");
}

void markWhole(const fs::path& batchFolder, core::FileSystem& files) {
  const fs::path mark = batchFolder / kSuccessName;
  const std::unique_ptr<core::WritableFile> file = files.create(mark);
  if (!file) return;
  file->sync();
  files.syncDirectory(batchFolder);
}

void unmarkWhole(const fs::path& batchFolder, core::FileSystem& files) {
  const fs::path mark = batchFolder / kSuccessName;
  if (files.sizeOf(mark) != 0U || isFileOfTheBatch(batchFolder, kSuccessName)) return;
  files.remove(mark);
  files.syncDirectory(batchFolder);
}

}  // namespace caiexport::engine
