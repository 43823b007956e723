#include "caiexport/engine/batch_choice.h"

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::DatasetId;
using model::ExportRequest;
using platform::BatchPhase;
using platform::Client;

platform::BatchQuery queryFor(const ExportRequest& request) {
  const model::BatchSelection& selection = request.batches;
  return {.dataset = DatasetId(request.sourceId),
          .createdClient = selection.createdClient,
          .since = selection.since,
          .until = selection.until};
}

std::string describeFilters(const ExportRequest& request) {
  const model::BatchSelection& selection = request.batches;
  std::string text = "sandbox '" + request.sandbox + "', status success or active";
  text += selection.createdClient.empty() ? ", any client" : ", created by " + selection.createdClient;
  if (selection.since) text += ", created at or after " + core::formatTime(*selection.since);
  if (selection.until) text += ", created before " + core::formatTime(*selection.until);
  return text;
}

/// The newest batch that the filters leave out: the likely reason why there was none.
std::string nearestMiss(Client& client, const ExportRequest& request, std::stop_token stop) {
  std::string text;
  client.forEachBatch(
      {.dataset = DatasetId(request.sourceId), .statuses = {}},
      [&](const Batch& batch) {
        text = "its newest batch of any kind is " + batch.id.value() + ", status " + core::printable(batch.status, 40) +
               ", created " + core::formatTime(batch.created) + " by " + core::printable(batch.createdClient, 80) +
               "; ";
        return false;
      },
      stop);
  return text;
}

[[noreturn]] void throwNoBatch(Client& client, const ExportRequest& request, std::stop_token stop) {
  if (!client.findDataset(DatasetId(request.sourceId), stop)) {
    throw Error(Category::notFound,
                "dataset '" + request.sourceId + "' does not exist in sandbox '" + request.sandbox + "'",
                {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
  }
  throw Error(Category::notFound,
              "dataset '" + request.sourceId + "' has no batch to download (" + describeFilters(request) + ")",
              {.hint = nearestMiss(client, request, stop) +
                       "scoring takes up to 24 hours after an instance is made; the scores may be in another sandbox "
                       "(--sandbox); another client may have made them (--created-client any)"});
}

std::vector<Batch> newestBatches(Client& client, const ExportRequest& request, std::stop_token stop) {
  std::vector<Batch> batches;
  const std::optional<std::uint32_t> limit = request.batches.limit;
  client.forEachBatch(
      queryFor(request),
      [&](const Batch& batch) {
        batches.push_back(batch);
        return !limit || batches.size() < *limit;
      },
      stop);
  return batches;
}

void requireOfDataset(const Batch& batch, const DatasetId& dataset) {
  if (batch.datasets.empty() || std::ranges::find(batch.datasets, dataset) != batch.datasets.end()) return;
  throw Error(Category::notFound, "batch '" + batch.id.value() + "' belongs to dataset '" +
                                      batch.datasets.front().value() + "', not to '" + dataset.value() + "'");
}

Batch namedBatch(Client& client, const ExportRequest& request, std::stop_token stop) {
  const model::BatchId& id = request.batches.batch;
  const std::optional<Batch> batch = client.findBatch(id, stop);
  if (!batch) {
    throw Error(Category::notFound, "batch '" + id.value() + "' does not exist in sandbox '" + request.sandbox + "'");
  }
  requireOfDataset(*batch, DatasetId(request.sourceId));
  if (platform::phaseOf(batch->status) == BatchPhase::readable) return *batch;
  throw Error(
      Category::notFound,
      "batch '" + id.value() + "' can't be read: its status is " + core::printable(batch->status, 40),
      {.hint = platform::phaseOf(batch->status) == BatchPhase::moving ? "the platform is still at work on it; try later"
                                                                      : "choose another batch"});
}

}  // namespace

std::vector<Batch> chooseBatches(Client& client, const ExportRequest& request, std::stop_token stop) {
  if (!request.batches.batch.empty()) return {namedBatch(client, request, stop)};
  std::vector<Batch> batches = newestBatches(client, request, stop);
  if (batches.empty()) throwNoBatch(client, request, stop);
  return batches;
}

}  // namespace caiexport::engine
