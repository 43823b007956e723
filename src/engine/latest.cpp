#include "latest.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
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

/// When its batch was created, and its name: the greater one is the newer.
using Age = std::tuple<core::TimePoint, fs::path>;

/// Nothing where no batch is whole.
std::optional<Age> ageOf(const fs::path& folder) {
  std::error_code error;
  if (isPassedOver(folder) || !fs::is_directory(fs::symlink_status(folder, error))) return std::nullopt;
  const std::optional<Manifest> manifest = manifestHead(folder);
  if (!manifest) return std::nullopt;
  return Age(manifest->created.value_or(core::TimePoint()), folder.filename());
}

std::optional<fs::path> newestOf(const std::vector<fs::path>& folders) {
  std::optional<Age> newest;
  for (const fs::path& folder : folders) newest = std::max(newest, ageOf(folder));
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

/// For as long as one process looks and switches, others wait: what they bring would be overwritten unseen. Null where
/// the file system has no such lock, or somebody keeps it for long.
std::unique_ptr<core::DirectoryLock> lockOf(const fs::path& datasetFolder) {
  constexpr int kTries = 100;
  for (int tries = 0; tries < kTries; ++tries) {
    try {
      return std::make_unique<core::DirectoryLock>(datasetFolder);
    } catch (const core::Error& error) {
      if (error.category() != core::Category::busy) return nullptr;
    }
    core::systemClock().sleep(std::chrono::milliseconds(20), {});
  }
  return nullptr;
}

/// False if that is not to be tried again.
bool pointTo(const fs::path& newest, const fs::path& link, core::FileSystem& files,
             const std::function<void(std::string_view)>& tell) {
  const fs::path temporary = link.parent_path() / (std::string(kTemporary) + std::to_string(::getpid()));
  files.remove(temporary);
  if (!files.createLink(newest, temporary)) {
    tell("this file system has no symbolic links: there is no '" + core::printable(link.string()) + "'");
    return false;
  }
  files.rename(temporary, link);
  files.syncDirectory(link.parent_path());
  return true;
}

/// What the link names; nothing if it is none, or leads nowhere.
std::optional<fs::path> namedBy(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  const fs::path folder = link.parent_path() / target;
  if (error || folder.parent_path() != link.parent_path() || !ageOf(folder)) return std::nullopt;
  return folder;
}

}  // namespace

void switchLatest(const fs::path& datasetFolder, core::FileSystem& files,
                  const std::function<void(std::string_view)>& tell) {
  const fs::path link = datasetFolder / kLatestName;
  removeLeftovers(datasetFolder, files);
  const auto lock = lockOf(datasetFolder);
  // Looked at again after each switch: without the lock another process may have brought a newer batch meanwhile.
  for (;;) {
    std::error_code error;
    const fs::file_status there = fs::symlink_status(link, error);
    const bool isLink = fs::is_symlink(there);
    if (fs::exists(there) && !isLink) {
      tell("'" + core::printable(link.string()) + "' is not a link: it is left as it is");
      return;
    }
    const std::optional<fs::path> newest = newestOf(entriesOf(datasetFolder));
    if (!newest && isLink) {
      files.remove(link);
      files.syncDirectory(datasetFolder);
    }
    if (!newest || (isLink && fs::read_symlink(link, error) == *newest)) return;
    if (!pointTo(*newest, link, files, tell)) return;
  }
}

void bringLatest(const fs::path& batchFolder, core::FileSystem& files,
                 const std::function<void(std::string_view)>& tell) {
  const fs::path link = batchFolder.parent_path() / kLatestName;
  {
    const auto lock = lockOf(link.parent_path());
    const std::optional<fs::path> named = namedBy(link);
    if (lock && named) {
      const std::optional<fs::path> newest = newestOf({*named, batchFolder});
      if (newest && *newest != named->filename()) pointTo(*newest, link, files, tell);
      return;
    }
  }
  switchLatest(batchFolder.parent_path(), files, tell);
}

void mendLatest(const fs::path& datasetFolder, core::FileSystem& files,
                const std::function<void(std::string_view)>& tell) {
  if (!namedBy(datasetFolder / kLatestName)) switchLatest(datasetFolder, files, tell);
}

}  // namespace caiexport::engine
