#pragma once
/// What lies where below --output, and how it is called:
///
///     OUTPUT/<dataset>/<batch>/             a batch's files, _manifest.json, and _SUCCESS once all of them are whole
///     OUTPUT/<dataset>/latest               a link to the newest of its batches
///     OUTPUT/.replaced/<dataset>/<batch>/   what newer batches supersede
///
/// with the ids as names (plain), or `dataset_id=ID/batch_id=ID` and the link `_latest` (hive): readers of tables take
/// the first for partitions, and pass over files whose names begin with `_`. A batch is in one of the two; all that
/// looks for one looks in both.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

using model::kManifestName;
using model::kOldManifestName;
using model::kSuccessName;
/// Hidden, so that readers pass it over unless it is named. Earlier versions put one into each dataset's folder.
inline constexpr const char* kReplacedName = ".replaced";

// --- Folders.

/// Whether the id can be the name of a batch's folder: ids of the platform can, but for names that have a meaning of
/// their own in a dataset's folder (`latest`, or hidden ones).
bool canBeFolder(const std::string& id);
/// Error(protocol) unless both can.
void requireFolderNames(const model::DatasetId& dataset, const model::BatchId& batch);

/// OUTPUT/<dataset>. `layout` alone decides, whatever is there.
std::filesystem::path datasetFolder(const std::filesystem::path& output, model::Layout layout,
                                    const model::DatasetId& dataset);

/// Those of either layout that are there.
std::vector<std::filesystem::path> datasetFolders(const std::filesystem::path& output, const model::DatasetId& dataset);

/// OUTPUT/<dataset>/<batch>, in the layout in which the batch lies there already: in `preferred` if it is in neither,
/// or in both. Error(protocol) if the platform's ids can't be folder names.
std::filesystem::path batchFolder(const std::filesystem::path& output, model::Layout preferred,
                                  const model::DatasetId& dataset, const model::BatchId& batch);

/// The same for a batch of the job.
std::filesystem::path folderOf(const model::Job& job, const model::BatchId& batch);
/// The same for one file after another: files come batch by batch, so the last answer is kept. For one thread, while
/// nothing moves the folders. The job must outlive it.
class BatchFolders {
 public:
  explicit BatchFolders(const model::Job& job) : job_(job) {}
  const std::filesystem::path& of(const model::BatchId& batch);

 private:
  const model::Job& job_;
  std::optional<model::BatchId> batch_;
  std::filesystem::path folder_;
};

/// The same for what may have ids that can't be folders, of which there is nothing on disk.
std::filesystem::path recordedFolder(const model::Job& job, const model::BatchId& batch);
/// The folder above those of its batches.
std::filesystem::path folderOf(const model::Job& job);

/// Those of either layout that are there, the preferred one first.
std::vector<std::filesystem::path> batchFolders(const std::filesystem::path& output, const model::DatasetId& dataset,
                                                const model::BatchId& batch);

/// How a batch's folder may be called.
std::vector<std::filesystem::path> namesOf(const model::BatchId& batch);
/// The id that a folder's name gives, in either layout.
std::string idIn(const std::filesystem::path& folder);

/// Where batches of the dataset lie that were put aside: that of `datasetFolder`, and where earlier versions put them.
std::filesystem::path asideFolderOf(const std::filesystem::path& datasetFolder);
std::vector<std::filesystem::path> asideFolders(const std::filesystem::path& output, const model::DatasetId& dataset);
/// The dataset's folder that a batch folder is of, also one of those put aside.
std::filesystem::path datasetFolderAbove(const std::filesystem::path& batchFolder);
bool isAside(const std::filesystem::path& batchFolder);

/// The link to the newest batch.
std::filesystem::path latestIn(const std::filesystem::path& datasetFolder);
bool isLatest(const std::filesystem::path& name);

// --- What a batch folder holds besides the batch's files.

/// Where its manifest is: the new name wins. Nothing if there is none that is a regular file.
std::optional<std::filesystem::path> manifestIn(const std::filesystem::path& batchFolder);

/// Not to be read: hidden, or incomplete.
bool isPassedOver(const std::filesystem::path& name);

/// Says that all of the batch is here as its manifest tells; nothing may be written to the folder after that. Where
/// the platform's own file has that name, nothing is said.
void markWhole(const std::filesystem::path& batchFolder, core::FileSystem& files);
/// Takes that back: to be called before anything in the folder changes.
void unmarkWhole(const std::filesystem::path& batchFolder, core::FileSystem& files);

}  // namespace caiexport::engine
