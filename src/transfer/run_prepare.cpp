/// How a file is begun: what is on disk of it decides what is left to do.
#include <algorithm>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/model/plan.h"
#include "part_file.h"
#include "run.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;

/// The end of what is here in front of each missing range: a file that was rewritten mostly shows by it.
std::vector<ByteRange> seamsBefore(const std::vector<ByteRange>& missing, const std::vector<ByteRange>& done,
                                   std::uint64_t mostBytes) {
  std::vector<ByteRange> seams;
  for (const ByteRange& gap : missing) {
    const auto before = std::ranges::find(done, gap.first, &ByteRange::end);
    if (before == done.end()) continue;
    seams.push_back({gap.first - std::min(mostBytes, before->sizeBytes()), gap.first});
  }
  return seams;
}

}  // namespace

/// Looks at what is on disk and decides what is to be done for the file.
void DownloadRun::prepare(const File& file) {
  if (keepsExisting(file)) return;
  DownloadItem& item = file->item;
  const std::uint64_t length = item.remote.lengthBytes;
  item.done = model::normalized(std::move(item.done), length);
  const std::vector<ByteRange> missing = model::missing(item.done, length);
  if (item.done.empty()) return prepareFresh(file);
  const bool isThere = at_.files.sizeOf(file->part.path()).has_value();
  if (!isThere && missing.empty() && finishRenamed(file)) return;
  if (std::string why = whyUseless(*file, missing.empty()); !why.empty()) {
    // The record must be gone before the file is there again: it would vouch for bytes that never came.
    const std::lock_guard lock(mutex_);
    push({.kind = Result::Kind::restarted, .file = file, .why = std::move(why)});
    return;
  }
  prepareResumed(file, missing);
}

void DownloadRun::prepareFresh(const File& file) {
  const std::uint64_t length = file->item.remote.lengthBytes;
  makeFolder(PartFile::folderOf(file->item.target));
  const std::lock_guard lock(mutex_);
  if (length == 0) {
    file->part.preallocate();
    return requestChore(file);
  }
  const std::uint64_t rangeBytes = schedule_.rangeBytes();
  if (length > rangeBytes) file->part.preallocate();
  const bool large = length > std::min(at_.settings.rangeBytes, rangeBytes + rangeBytes / 2);
  file->tailFirst = file->tailFirst || (large && !namesVersions_ && !file->ignoresRanges);
  if (at_.settings.tailBytes == 0 || length == 1) file->tailFirst = false;
  if (!file->tailFirst) return schedule_.open(file, {{0, length}});
  const ByteRange tail = tailOf(length, at_.settings.tailBytes);
  file->later = {{0, tail.first}};
  schedule_.open(file, {tail}, Purpose::tail);
}

void DownloadRun::prepareResumed(const File& file, const std::vector<ByteRange>& missing) {
  const DownloadItem& item = file->item;
  makeFolder(PartFile::folderOf(item.target));
  file->part.adopt(item.done, item.part.sum);
  file->versions.resume(item.part.version);
  for (const ByteRange& range : item.done) progress_.bytesKept += range.sizeBytes();
  file->part.preallocate();
  const std::lock_guard lock(mutex_);
  file->tailFirst = item.part.tailFirst;
  file->severalRuns = item.part.severalRuns || !missing.empty();
  file->seams = seamsBefore(missing, item.done, at_.settings.tailBytes);
  file->recorded = true;
  schedule_.open(file, missing);
  requestChore(file);
}

/// Why what an earlier run left of the file can't be used; nothing if it can.
std::string DownloadRun::whyUseless(const FileTask& file, bool allIsThere) const {
  const DownloadItem& item = file.item;
  const std::string name = core::printable(file.part.path().string());
  const auto size = at_.files.sizeOf(file.part.path());
  if (!size) return "'" + name + "' is gone";
  if (*size < item.done.back().end) return "'" + name + "' is shorter than it was";
  const auto identity = at_.files.identityOf(file.part.path());
  if (identity && identity->links > 1) return "'" + name + "' has other names as well (hard links)";
  if (at_.settings.tailBytes == 0 || allIsThere || item.part.tailFirst || !item.part.version.empty()) return {};
  return "nothing shows whether the file is still what it was when '" + name + "' was begun";
}

bool DownloadRun::keepsExisting(const File& file) {
  const DownloadItem& item = file->item;
  if (item.existingSha256.empty() || at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  if (sha256OfFile(item.target, inner_.get_token()) != item.existingSha256) {
    if (item.replaces) return false;
    throw core::Error(core::Category::io,
                      "'" + core::printable(item.target.string()) +
                          "' is there already, is not what its manifest says, and no job of this database made it",
                      {.hint = "move it away, choose another --output, or overwrite it with --force"});
  }
  // Begun by a run that did not find the file there.
  if (!item.done.empty()) file->part.discard();
  progress_.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed,
        .file = file,
        .completion = {.key = item.key, .sha256 = item.existingSha256, .transferred = false}});
  return true;
}

/// All bytes were recorded and the file has its final name already: the last run ended between renaming and recording.
bool DownloadRun::finishRenamed(const File& file) {
  const DownloadItem& item = file->item;
  if (at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  // Something else may have taken the name since.
  const ReadBack there = readBack(item.target, inner_.get_token());
  if (there.sum != item.part.sum) return false;
  Completion completion{
      .key = item.key, .sha256 = there.sha256, .unproven = item.part.severalRuns && item.part.version.empty()};
  at_.files.syncDirectory(PartFile::folderOf(item.target));
  progress_.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed, .file = file, .completion = std::move(completion)});
  return true;
}

void DownloadRun::makeFolder(const std::filesystem::path& folder) {
  const std::lock_guard lock(folderMutex_);
  if (folders_.contains(folder)) return;
  at_.files.createDirectories(folder);
  // A bound for memory only.
  if (folders_.size() > 1000) folders_.clear();
  folders_.insert(folder);
}

}  // namespace caiexport::transfer
