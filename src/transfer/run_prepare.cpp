/// How a file is begun: what is on disk of it decides what is left to do.
#include <utility>

#include "caiexport/core/file_system.h"
#include "caiexport/model/plan.h"
#include "run.h"

namespace caiexport::transfer {

using model::ByteRange;

/// Looks at what is on disk and decides what is to be done for the file.
void Run::prepare(const File& file) {
  if (keepsExisting(file)) return;
  DownloadItem& item = file->item;
  const std::uint64_t length = item.remote.lengthBytes;
  item.done = model::normalized(std::move(item.done), length);
  const std::vector<ByteRange> missing = model::missing(item.done, length);
  if (!item.done.empty()) {
    const auto size = at_.files.sizeOf(PartFile::pathFor(item.target));
    if (!size && missing.empty() && finishRenamed(file)) return;
    if (!size || *size < item.done.back().end) {
      // The record must be gone before the file is there again: it would vouch for bytes that never came.
      const std::lock_guard lock(mutex_);
      push({.kind = Result::Kind::restarted, .file = file});
      return;
    }
  }
  makeFolder(PartFile::folderOf(item.target));
  if (item.done.empty() && length > 0) {
    const std::lock_guard lock(mutex_);
    if (length > schedule_.rangeBytes()) file->part.preallocate();
    schedule_.open(file, missing);
    return;
  }
  file->part.adopt(item.done);
  for (const ByteRange& range : item.done) progress_.bytesKept += range.sizeBytes();
  file->part.preallocate();
  const std::lock_guard lock(mutex_);
  file->recorded = !item.done.empty();
  schedule_.open(file, missing);
  requestChore(file);
}

bool Run::keepsExisting(const File& file) {
  const DownloadItem& item = file->item;
  if (item.existingSha256.empty() || at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  if (sha256OfFile(item.target, inner_.get_token()) != item.existingSha256) return false;
  progress_.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed,
        .file = file,
        .completion = {.key = item.key, .sha256 = item.existingSha256, .transferred = false}});
  return true;
}

/// All bytes were recorded and the file has its final name already: the last run ended between renaming and recording.
bool Run::finishRenamed(const File& file) {
  const DownloadItem& item = file->item;
  if (at_.files.sizeOf(item.target) != item.remote.lengthBytes) return false;
  Completion completion{.key = item.key, .sha256 = sha256OfFile(item.target, inner_.get_token())};
  at_.files.syncDirectory(PartFile::folderOf(item.target));
  progress_.bytesKept += item.remote.lengthBytes;
  const std::lock_guard lock(mutex_);
  push({.kind = Result::Kind::completed, .file = file, .completion = std::move(completion)});
  return true;
}

void Run::makeFolder(const std::filesystem::path& folder) {
  const std::lock_guard lock(folderMutex_);
  if (folders_.contains(folder)) return;
  at_.files.createDirectories(folder);
  // A bound for memory only.
  if (folders_.size() > 1000) folders_.clear();
  folders_.insert(folder);
}

}  // namespace caiexport::transfer
