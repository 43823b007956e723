#pragma once
/// Puts a superseded batch out of the way: recorded before and after, and right again after a crash at any point.

#include <cstdint>

#include "caiexport/model/replacement.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

/// The batch's folder; see batchFolder.
std::filesystem::path folderOf(const store::SyncPlace& place, const model::BatchId& batch);
/// A free name for the batch below kReplacedName.
std::filesystem::path asideFolder(const store::SyncPlace& place, const model::BatchId& batch);

struct Replaced {
  model::Replacement replacement = {};
  std::uint64_t left = 0;  ///< Files in its folder that no job made: they stay.
};

/// Does what the replacement says, or the rest of it. A path in a `remove` is where the batch was moved to earlier: it
/// goes too. Error(busy) if another process writes to the folder.
Replaced replaceBatch(const store::SyncPlace& place, model::Replacement replacement, store::SyncStore& records,
                      core::FileSystem& files);

}  // namespace caiexport::engine
