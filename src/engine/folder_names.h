#pragma once
/// Names as the file system sees them: some take two names for one (ignoring case, or normalising letters), and a
/// folder can't bear the name of a file.

#include <filesystem>
#include <span>
#include <vector>

#include "caiexport/store/job_store.h"

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

/// Whether the file system takes different names in this folder for the same. Leaves nothing behind.
bool foldsNames(core::FileSystem& files, const std::filesystem::path& folder);

/// What a run left of that, and of aliasesOf, that was killed meanwhile.
void removeProbes(core::FileSystem& files, const std::filesystem::path& folder);

/// What the files of a batch need so that no two of them, and no folder or manifest, get in each other's way: those of
/// which the record says otherwise. `folds`: as foldsNames(folder).
std::vector<store::JobStore::Alias> aliasesOf(core::FileSystem& files, const std::filesystem::path& folder, bool folds,
                                              std::span<const store::JobStore::ListedName> names);

}  // namespace caiexport::engine
