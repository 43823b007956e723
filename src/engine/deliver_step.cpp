/// Sends the batches of a job to where it is to deliver them, and deletes them here if that was asked for.

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/delivery.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/store/job_store.h"
#include "folders.h"
#include "replacing.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

const DeliveryTools& toolsOf(const StepContext& context) {
  if (context.tools.delivery != nullptr) return *context.tools.delivery;
  throw core::Error(core::Category::internal, "a job that delivers is run without the means to deliver");
}

store::SyncPlace placeOf(const model::Job& job) {
  return {.orgId = job.request.orgId,
          .sandbox = job.request.sandbox,
          .dataset = job.datasetId,
          .output = job.request.output};
}

void deleteHere(StepContext& context, const store::Delivery& delivery) {
  const store::SyncPlace place = placeOf(context.job);
  store::DeliveryStore& records = toolsOf(context).records;
  // Before anything goes: whoever finds it gone knows why.
  records.recordDeleted(delivery.id, place.output);
  const std::vector<std::string> paths = records.paths(delivery.id);
  for (const std::filesystem::path& folder : batchFolders(place.output, place.dataset, delivery.batch)) {
    const Removed removed = deleteFolder(folder, paths, context.tools.files);
    mendLatest(folder.parent_path(), context.tools.files,
               [&](std::string_view text) { context.tools.observer.notice(text); });
    if (removed.left == 0) continue;
    context.tools.observer.notice(core::printable(folder.string()) + " holds " + std::to_string(removed.left) +
                                  " files that caiexport did not make; they stay");
  }
}

}  // namespace

bool isDeliveredAlready(StepContext& context) {
  const model::ExportRequest& request = context.job.request;
  if (request.deliver.empty() || !request.deleteAfterDelivery || context.job.batches.empty()) return false;
  const store::SyncPlace place = placeOf(context.job);
  store::DeliveryStore& records = toolsOf(context).records;
  for (const model::Batch& batch : context.job.batches) {
    const std::optional<store::Delivery> delivery = records.find(place, batch.id, request.deliver);
    const bool away = delivery && delivery->state == store::DeliveryState::whole &&
                      delivery->deletedFrom == place.output &&
                      batchFolders(place.output, place.dataset, batch.id).empty();
    if (!away) return false;
  }
  if (!std::exchange(context.run.deliveryTold, true)) {
    const std::string text =
        "all that was chosen is at " + request.deliver + " already, and was deleted here after that";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "delivered_before", text);
  }
  return true;
}

Turn deliverFiles(StepContext& context) {
  const model::Job& job = context.job;
  const DeliveryTools& tools = toolsOf(context);
  const store::SyncPlace place = placeOf(job);
  const auto deliveryOf = [&](const model::Batch& batch) {
    return tools.records.find(place, batch.id, job.request.deliver);
  };
  // A run that was killed while it deleted what it had delivered.
  const auto isGoing = [&](const model::Batch& batch) {
    const auto delivery = deliveryOf(batch);
    return delivery && delivery->state == store::DeliveryState::whole && delivery->deletedFrom == place.output;
  };
  std::optional<Delivery> delivery;
  for (const model::Batch& batch : job.batches) {
    if (isGoing(batch)) continue;
    holdFolders(context);
    if (!delivery) delivery.emplace(tools, job.request.deliver, context.stop);
    delivery->bring(place, readManifest(folderOf(job, batch.id)));
    context.tools.store.addEvent(job.id, context.step.name, "delivered",
                                 batch.id.value() + " to " + job.request.deliver);
  }
  if (job.request.deleteAfterDelivery) {
    // Each is held while it is deleted.
    context.run.folders.clear();
    for (const model::Batch& batch : job.batches) deleteHere(context, *deliveryOf(batch));
  }
  context.tools.store.finishStep(job.id, context.step.name, {});
  return {};
}

}  // namespace caiexport::engine
