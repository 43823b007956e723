#pragma once
/// Puts a superseded batch out of the way: recorded before and after, and right again after a crash at any point.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "caiexport/engine/sync.h"
#include "caiexport/model/replacement.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

/// Where the batch lies, in either layout. Error(protocol) if the platform's ids can't be folder names.
std::vector<std::filesystem::path> foldersOf(const store::SyncPlace& place, const model::BatchId& batch);
/// Where copies of it lie that were put aside. Error(io) if that is behind a link.
std::vector<std::filesystem::path> asideCopies(const store::SyncPlace& place, const model::BatchId& batch);
/// Whether it lies in another folder that the record knows of, put aside or not.
bool liesElsewhere(const store::SyncPlace& place, const model::BatchId& batch, store::SyncStore& records);

/// Does what the replacement says, or the rest of it. A `remove` deletes every copy at the place, those put aside too;
/// `everywhere`: also in the other folders that the record knows of. Only when all are gone is it recorded as done.
/// Never goes through a link. Error(busy) if another process writes to a folder; Error(io).
/// `withdraw`: takes it away from the targets that it was delivered to, too, unless it is kept; says from which.
Replaced replaceBatch(const store::SyncPlace& place, model::Replacement replacement, bool everywhere,
                      store::SyncStore& records, core::FileSystem& files,
                      const std::function<std::vector<std::string>()>& withdraw);

/// Deletes the batch's folder: files that its manifest names, or `recorded`. Others stay, and the folder with them.
/// Error(busy) if another process writes to it; Error(io) for a link.
Removed deleteFolder(const std::filesystem::path& folder, const std::vector<std::string>& recorded,
                     core::FileSystem& files);

}  // namespace caiexport::engine
