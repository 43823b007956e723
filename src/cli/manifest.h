#pragma once
/// manifest.json, read back.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace caiexport::cli {

struct ManifestFile {
  std::string path;  ///< Relative to the folder, without `..`.
  std::uint64_t bytes = 0;
  std::string sha256;  ///< Empty if it is not told.
  std::optional<std::uint64_t> records;
};

struct Manifest {
  std::filesystem::path folder;  ///< Where it lies.
  std::int64_t job = 0;          ///< 0 if it is not told.
  std::string datasetId;
  std::string batchId;
  std::optional<std::uint64_t> records;
  std::vector<ManifestFile> files;
};

inline constexpr const char* kManifestName = "manifest.json";

/// Error(verification) for one that is broken, or that names files outside its folder; Error(io).
Manifest readManifest(const std::filesystem::path& folder);

/// `folder` itself, or what lies at most two levels below, wherever a manifest is; names that begin with a dot are not
/// entered. Sorted.
std::vector<std::filesystem::path> foldersWithManifest(const std::filesystem::path& folder);

/// Not to be read: hidden, or incomplete.
bool isPassedOver(const std::filesystem::path& name);

}  // namespace caiexport::cli
