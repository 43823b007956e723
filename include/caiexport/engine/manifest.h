#pragma once
/// _manifest.json: what a batch folder holds, for those who read it without the database. Written, and read back.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/engine/layout.h"
#include "caiexport/model/job.h"

namespace caiexport::core {

class FileSystem;
}
namespace caiexport::store {
class JobStore;
}

namespace caiexport::engine {

struct ManifestFile {
  std::string path;  ///< Relative to the folder, without `..`.
  std::uint64_t bytes = 0;
  std::string sha256;  ///< Empty if the manifest does not give it.
  std::optional<std::uint64_t> records;
  std::string datasetFileId = {};  ///< The platform's folder that it was in; empty if it is not told.
};

struct Manifest {
  std::filesystem::path folder;  ///< Where it lies.
  std::int64_t job = 0;          ///< 0 if the manifest does not give it.
  std::string datasetId;
  std::string batchId;
  std::optional<core::TimePoint> created;  ///< When the platform made the batch.
  std::vector<model::BatchId> replaces;    ///< Its direct predecessors.
  std::optional<std::uint64_t> records;
  std::vector<ManifestFile> files;
};

/// `file` is where it lies. Error(verification) for one that is broken, or that names files outside its folder.
Manifest parseManifest(const std::string& text, const std::filesystem::path& file);

/// The same of a folder's manifest; Error(io) if it can't be read.
Manifest readManifest(const std::filesystem::path& folder);

/// All but its list of files, of a folder whose manifest may be long. Nothing if there is none, or it can't be read.
std::optional<Manifest> manifestHead(const std::filesystem::path& folder);

/// `folder` itself, or what lies at most two levels below, wherever a manifest is; names that begin with a dot are not
/// entered, nor is the link to the newest batch, which would show one of them twice. Sorted.
std::vector<std::filesystem::path> foldersWithManifest(const std::filesystem::path& folder);

/// Error(io) if the place of the batch's manifest is taken by something else; not with --force.
void requireOwnManifest(const model::Job& job, const model::BatchId& batch);

/// Writes the batch's manifest from the records, in one step, and marks the batch as whole. A manifest of its that has
/// the old name goes. Returns when all that is on the device.
void writeManifest(const model::Job& job, const model::Batch& batch, store::JobStore& store, core::FileSystem& files);

}  // namespace caiexport::engine
