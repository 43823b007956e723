#include "unreadable_batch.h"

#include <algorithm>

#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/plan.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::BatchId;

void record(StepContext& context, std::vector<Batch> batches, const std::string& what, const std::string& text) {
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, what, text);
  context.tools.store.finishStep(context.job.id, model::StepName::selectBatches, {.batches = std::move(batches)});
  // Those that are held are of the batches before.
  context.run.folders.clear();
}

std::string namesOf(const std::vector<Batch>& batches) {
  std::string text;
  for (const Batch& batch : batches) text += (text.empty() ? "" : ", ") + batch.id.value();
  return text;
}

Turn takeAbsorbed(StepContext& context, const UnreadableBatch& refused) {
  platform::Client& client = context.tools.client;
  const std::optional<Batch> now = client.findBatch(refused.batch(), context.stop);
  std::vector<BatchId> absorbed;
  if (now) absorbed = now->absorbed.empty() ? now->predecessors : now->absorbed;
  const std::vector<Batch> parts = absorbedBatches(client, context.job.datasetId, absorbed, context.stop);
  if (parts.empty()) {
    throw Error(Category::notFound, std::string(refused.what()) + "; none of the batches that it holds is to be had",
                {.requestId = refused.requestId(), .hint = "choose another batch (--batch)", .code = refused.code()});
  }
  std::vector<Batch> batches;
  const auto add = [&](const Batch& batch) {
    if (std::ranges::find(batches, batch.id, &Batch::id) == batches.end()) batches.push_back(batch);
  };
  for (const Batch& batch : context.job.batches) {
    if (batch.id != refused.batch()) add(batch);
  }
  std::ranges::for_each(parts, add);
  const model::BatchSelection& selection = context.job.request.batches;
  if (!selection.includeReplaced) {
    for (const BatchId& id : model::replacedAmong(batches))
      std::erase_if(batches, [&](const Batch& one) { return one.id == id; });
  }
  std::ranges::stable_sort(batches, std::ranges::greater(), &Batch::created);
  // Where the newest are wanted, they are the newest of what it holds.
  if (selection.batch.empty() && selection.limit && batches.size() > *selection.limit) batches.resize(*selection.limit);
  const std::string chosen = namesOf(batches);
  record(context, std::move(batches), "batch_consolidated",
         "batch " + refused.batch().value() +
             " is a consolidation batch, which Data Access does not read: what it holds is taken instead (" + chosen +
             ")");
  return {};
}

}  // namespace

void listBatch(platform::Client& client, const BatchId& batch,
               const std::function<void(std::vector<model::RemoteFile>&&)>& page, std::stop_token stop) {
  try {
    client.listFiles(batch, page, std::move(stop));
  } catch (const core::TransientError&) {
    throw;
  } catch (const Error& error) {
    const bool consolidation = error.code().starts_with("DTAC-4000");
    if (!consolidation && error.category() != Category::notFound && !error.code().starts_with("DTAC-4045")) throw;
    throw UnreadableBatch(batch, consolidation, error);
  }
}

void requireNoneWithdrawn(StepContext& context) {
  for (const Batch& batch : context.job.batches) {
    const auto became = whatBecameOf(context.tools.client, context.job.datasetId, batch.id, context.stop);
    if (became)
      throw UnreadableBatch(batch.id, false, Error(Category::notFound, "batch '" + batch.id.value() + "'" + *became));
  }
}

Turn chooseInstead(StepContext& context, const UnreadableBatch& refused) {
  if (refused.isConsolidation()) return takeAbsorbed(context, refused);
  const model::Job& job = context.job;
  const auto became = whatBecameOf(context.tools.client, job.datasetId, refused.batch(), context.stop);
  // Catalog has it still: what Data Access said is all that is known.
  if (!became) throw refused;
  const std::string text = "batch '" + refused.batch().value() + "'" + *became + " since it was chosen";
  const bool mayChoose = job.request.kind == model::Kind::dataset && job.request.batches.batch.empty();
  if (!mayChoose || context.run.chosenAgain) {
    throw Error(Category::notFound, text,
                {.requestId = refused.requestId(),
                 .hint = "start a new export to get the newest batch",
                 .code = refused.code()});
  }
  context.run.chosenAgain = true;
  std::vector<Batch> batches = chooseBatches(context.tools.client, job.request, context.stop,
                                             [&](const std::string& line) { context.tools.observer.notice(line); });
  if (!job.request.batches.includeReplaced) {
    for (const BatchId& id : model::replacedAmong(batches)) {
      std::erase_if(batches, [&](const Batch& batch) { return batch.id == id; });
    }
  }
  const std::string chosen = namesOf(batches);
  record(context, std::move(batches), "batch_chosen_again", text + ": chosen again: " + chosen);
  return {};
}

}  // namespace caiexport::engine
