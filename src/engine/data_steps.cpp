/// The tail that both paths share: which batches, and what their folders are held to.

#include <algorithm>
#include <set>

#include "batch_folder.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/plan.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "forgotten.h"
#include "manifest_writer.h"
#include "steps.h"
#include "unreadable_batch.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using platform::BatchPhase;

/// A batch that another chosen one supersedes would count people twice.
std::vector<Batch> withoutReplaced(StepContext& context, std::vector<Batch> batches) {
  if (context.job.request.batches.includeReplaced) return batches;
  const std::vector<model::BatchId> replaced = model::replacedAmong(batches);
  for (const model::BatchId& id : replaced) {
    const std::string text =
        "batch " + id.value() + " is left out: a newer batch replaces it (--include-replaced keeps it)";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_replaced", text);
  }
  const std::set<model::BatchId> left(replaced.begin(), replaced.end());
  std::erase_if(batches, [&](const Batch& batch) { return left.contains(batch.id); });
  return batches;
}

Turn selectOfDataset(StepContext& context) {
  const auto tell = [&](const std::string& text) {
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_passed_over", text);
  };
  std::vector<Batch> batches = chooseBatches(context.tools.client, context.job.request, context.stop, tell);
  context.tools.client.resolvePredecessors(batches, context.job.datasetId, context.stop);
  batches = withoutForgotten(context, withoutReplaced(context, std::move(batches)));
  const auto newest = std::ranges::max_element(batches, {}, &Batch::created);
  requireFresh(
      context.job.request.guards.maxAge,
      "the newest batch of dataset " + context.job.request.sourceId + ", " + newest->id.value() + ", was created",
      newest->created, context.tools.client);
  context.tools.store.finishStep(context.job.id, context.step.name, {.batches = std::move(batches)});
  return {};
}

/// What lies at a path that is to change goes along. False if something foreign is in the way. Doing it again after a
/// crash does no harm: what was moved already lies where it should.
bool move(core::FileSystem& files, const std::string& tag, const std::filesystem::path& from,
          const std::filesystem::path& to) {
  const std::filesystem::path fromPart = transfer::partPathFor(from, tag);
  const std::filesystem::path toPart = transfer::partPathFor(to, tag);
  const bool whole = files.sizeOf(from).has_value();
  const bool part = files.sizeOf(fromPart).has_value();
  if (!whole && !part) return true;
  if (whole && files.sizeOf(to)) return false;
  files.createDirectories(to.parent_path());
  if (part) files.rename(fromPart, toPart);
  if (whole) files.rename(from, to);
  if (whole && !part) files.remove(toPart);
  files.syncDirectory(to.parent_path());
  files.syncDirectory(from.parent_path());
  return true;
}

}  // namespace

std::filesystem::path folderOf(const model::Job& job, const model::BatchId& batch) {
  return batchFolder(job.request.output, job.datasetId, batch);
}

Turn selectBatches(StepContext& context) {
  return context.job.request.kind == model::Kind::dataset ? selectOfDataset(context) : selectOfExport(context);
}

void requireStillReadable(StepContext& context, const Batch& chosen) {
  const auto became = whatBecameOf(context.tools.client, context.job.datasetId, chosen.id, context.stop);
  if (!became) return;
  throw Error(Category::notFound, "batch '" + chosen.id.value() + "'" + *became + " since it was chosen",
              {.hint = "start a new export to get the newest batch"});
}

void settleListing(StepContext& context, const model::BatchId& batch,
                   std::span<const store::JobStore::Displaced> displaced) {
  std::vector<std::int64_t> moved;
  if (!displaced.empty()) holdFolders(context);
  const std::filesystem::path folder = folderOf(context.job, batch);
  const std::string tag = transfer::partTagOf(context.job.uuid);
  for (const auto& file : displaced) {
    refuseLink((folder / file.to).parent_path());
    if (move(context.tools.files, tag, folder / file.from, folder / file.to)) moved.push_back(file.file);
  }
  context.tools.store.finishListing(context.job.id, batch, moved);
}

void refuseLink(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_symlink(std::filesystem::symlink_status(folder, ignored))) return;
  throw Error(
      Category::io,
      "'" + core::printable(folder.string()) + "' is a symbolic link, and caiexport does not write through links",
      {.hint = "remove the link, or choose another --output"});
}

void holdFolders(StepContext& context) {
  if (!context.run.folders.empty()) return;
  refuseForgotten(context);
  for (const Batch& batch : context.job.batches) {
    const std::filesystem::path folder = folderOf(context.job, batch.id);
    context.tools.files.createDirectories(folder);
    refuseLink(folder.parent_path());
    refuseLink(folder);
    context.run.folders.push_back(std::make_unique<core::DirectoryLock>(folder));
    requireOwnManifest(context.job, batch.id);
  }
}

}  // namespace caiexport::engine
