#pragma once
/// What a run does with the folders of its batches (see layout.h): holds them, keeps names in them apart, and has the
/// link to the newest batch follow.

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/engine/layout.h"
#include "caiexport/model/ids.h"
#include "caiexport/store/job_store.h"

namespace caiexport::core {
class FileSystem;
}

namespace caiexport::engine {

struct StepContext;

/// Error(io) for a link in place of one of the job's own folders, which would take the data elsewhere.
void refuseLink(const std::filesystem::path& folder);

/// Takes the locks of the batch folders, unless this run has them.
void holdFolders(StepContext& context);

/// All files of the batch are listed: what lies at a path that changes with that is moved, and the list recorded as
/// complete.
void settleListing(StepContext& context, const model::BatchId& batch,
                   std::span<const store::JobStore::Displaced> displaced);

// --- Names as the file system sees them: some take two names for one (ignoring case, or normalising letters), and a
// folder can't bear the name of a file.

/// Whether the file system takes different names in this folder for the same. Leaves nothing behind.
bool foldsNames(core::FileSystem& files, const std::filesystem::path& folder);

/// The same of the job's folders; asked once in a run, since all of them lie in one.
bool folderFolds(StepContext& context);

/// Records what the names of a batch's files need, all of which are listed.
void settleNames(StepContext& context, const model::BatchId& batch);

/// What workers of a shared job left of files that others fetched: `.part` files of its tag with a fence behind it.
void removeFencedParts(core::FileSystem& files, const std::filesystem::path& folder, const std::string& tag);

/// What a run left of that, and of aliasesOf, that was killed meanwhile.
void removeProbes(core::FileSystem& files, const std::filesystem::path& folder);

/// What the files of a batch need so that no two of them, and no folder or manifest, get in each other's way: those of
/// which the record says otherwise. `folds`: as foldsNames(folder).
std::vector<store::JobStore::Alias> aliasesOf(core::FileSystem& files, const std::filesystem::path& folder, bool folds,
                                              std::span<const store::JobStore::ListedName> names);

// --- The link to the newest batch: `latest`, or what latestIn() calls it.

/// Makes `latest` name the batch folder with a manifest whose batch is the newest by `created`; in one step, so that a
/// reader meets the old or the new one. Never goes to an older batch while the one it names is there. What stands in
/// the way (something else of that name, a file system without links) is reported, but is no failure.
void switchLatest(const std::filesystem::path& datasetFolder, core::FileSystem& files,
                  const std::function<void(std::string_view)>& tell);

/// The same for a batch that was just brought, by comparing it with the one that `latest` names alone: of many batches
/// that come one by one each takes the same time. Where `latest` leads nowhere all are looked at.
void bringLatest(const std::filesystem::path& batchFolder, core::FileSystem& files,
                 const std::function<void(std::string_view)>& tell);

/// After a batch is gone: all are looked at only where `latest` leads nowhere now.
void mendLatest(const std::filesystem::path& datasetFolder, core::FileSystem& files,
                const std::function<void(std::string_view)>& tell);

}  // namespace caiexport::engine
