#include "caiexport/transfer/downloader.h"

#include <algorithm>

#include "caiexport/core/digest.h"
#include "run.h"

namespace caiexport::transfer {
namespace {

// Of one connection under a limit on the rate: what files of 64 KiB bring over a link of a quarter of a second.
constexpr std::uint64_t kLeastBytesPerSecond = 256U << 10U;

}  // namespace

DownloadSettings within(std::uint64_t descriptors, DownloadSettings settings) {
  // Folders that are synced, the list that is read beside, names that are looked up, the database's own files.
  constexpr std::uint64_t kOthers = 14;
  constexpr std::uint64_t kOfAConnection = 3;  // its socket, and the pipe by which it is stopped
  constexpr std::uint64_t kFilesOfAConnection = 2;
  const std::uint64_t left = descriptors - std::min(descriptors, kOthers);
  const auto most = static_cast<unsigned>(
      std::clamp<std::uint64_t>(left / (kOfAConnection + kFilesOfAConnection), 1, mostConnections(settings)));
  if (settings.connections) settings.connections = most;
  settings.connectionsMax = most;
  settings.connectionsStart = std::min(settings.connectionsStart, most);
  const std::uint64_t taken = std::min(left, most * kOfAConnection);
  settings.mostOpenFiles = static_cast<std::size_t>(std::max<std::uint64_t>(1, left - taken));
  return settings;
}

unsigned mostConnections(const DownloadSettings& settings) {
  if (settings.connections) return std::max(1U, *settings.connections);
  const auto most = std::max<std::uint64_t>(1, settings.connectionsMax);
  if (settings.mostBytesPerSecond == 0) return static_cast<unsigned>(most);
  return static_cast<unsigned>(std::clamp<std::uint64_t>(settings.mostBytesPerSecond / kLeastBytesPerSecond, 1, most));
}

std::filesystem::path partPathFor(const std::filesystem::path& target, const std::string& tag) {
  // What file systems allow for a name.
  constexpr std::size_t kMostNameBytes = 255;
  constexpr std::size_t kKeptBytes = 200;
  const std::string ending = (tag.empty() ? "" : "." + tag) + ".part";
  std::string name = target.filename().string();
  if (name.size() + ending.size() > kMostNameBytes) {
    core::Sha256 hash;
    hash.update(name);
    name.resize(kKeptBytes);
    name += "~" + hash.finish().substr(0, 16);
  }
  return target.parent_path() / (name + ending);
}

std::string partTagOf(const std::string& jobUuid) {
  constexpr std::size_t kLength = 8;
  return jobUuid.substr(0, kLength);
}

Downloader::Downloader(ByteSource& source, core::FileSystem& files, core::Clock& clock, core::Random& random,
                       core::Log& log, DownloadSettings settings)
    : source_(source), files_(files), clock_(clock), random_(random), log_(log), settings_(settings) {}

DownloadSummary Downloader::run(ItemFeed& feed, Observer& observer, DownloadProgress& progress, std::stop_token stop) {
  DownloadRun run({source_, files_, clock_, random_, log_, settings_}, observer, progress);
  return run.toTheEnd(feed, stop);
}

}  // namespace caiexport::transfer
