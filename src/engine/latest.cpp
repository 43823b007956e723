#include "latest.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <tuple>
#include <vector>

#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporary = ".latest.";

std::vector<fs::path> entriesOf(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) entries.push_back(entry.path());
  return entries;
}

/// The name of the newest batch's folder.
std::optional<fs::path> newestBatch(const fs::path& datasetFolder) {
  std::optional<std::tuple<core::TimePoint, fs::path>> newest;
  for (const fs::path& entry : entriesOf(datasetFolder)) {
    std::error_code error;
    if (isPassedOver(entry) || !fs::is_directory(fs::symlink_status(entry, error))) continue;
    const std::optional<Manifest> manifest = manifestHead(entry);
    if (!manifest) continue;
    std::tuple<core::TimePoint, fs::path> found(manifest->created.value_or(core::TimePoint()), entry.filename());
    if (!newest || *newest < found) newest = std::move(found);
  }
  return newest ? std::optional(std::get<1>(*newest)) : std::nullopt;
}

/// What processes left that were killed between making the new link and putting it in place.
void removeLeftovers(const fs::path& datasetFolder, core::FileSystem& files) {
  for (const fs::path& entry : entriesOf(datasetFolder)) {
    const std::string name = entry.filename().string();
    if (!name.starts_with(kTemporary)) continue;
    const auto process = core::parseUnsigned(std::string_view(name).substr(kTemporary.size()));
    const bool gone = process && ::kill(static_cast<pid_t>(*process), 0) != 0 && errno == ESRCH;
    if (gone) files.remove(entry);
  }
}

}  // namespace

void switchLatest(const fs::path& datasetFolder, core::FileSystem& files,
                  const std::function<void(std::string_view)>& tell) {
  const fs::path link = datasetFolder / kLatestName;
  const fs::path temporary = datasetFolder / (std::string(kTemporary) + std::to_string(::getpid()));
  removeLeftovers(datasetFolder, files);
  // Looked at again after each switch: another process may have brought a newer batch meanwhile.
  for (;;) {
    std::error_code error;
    const fs::file_status there = fs::symlink_status(link, error);
    const bool isLink = fs::is_symlink(there);
    if (fs::exists(there) && !isLink) {
      tell("'" + core::printable(link.string()) + "' is no link: it is left as it is");
      return;
    }
    const std::optional<fs::path> newest = newestBatch(datasetFolder);
    if (!newest && isLink) {
      files.remove(link);
      files.syncDirectory(datasetFolder);
    }
    if (!newest || (isLink && fs::read_symlink(link, error) == *newest)) return;
    files.remove(temporary);
    if (!files.createLink(*newest, temporary)) {
      tell("this file system has no symbolic links: there is no '" + core::printable(link.string()) + "'");
      return;
    }
    files.rename(temporary, link);
    files.syncDirectory(datasetFolder);
  }
}

}  // namespace caiexport::engine
