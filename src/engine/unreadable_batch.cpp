#include "unreadable_batch.h"

#include <algorithm>

#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/plan.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "forgotten.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::BatchId;

void record(StepContext& context, const std::vector<Batch>& batches, const std::string& what, const std::string& text) {
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, what, text);
  context.tools.store.finishStep(context.job.id, model::StepName::selectBatches, {.batches = batches});
  // Those that are held are of the batches before.
  context.run.folders.clear();
}

std::string namesOf(const std::vector<Batch>& batches) {
  std::string text;
  for (const Batch& batch : batches) text += (text.empty() ? "" : ", ") + batch.id.value();
  return text;
}

Turn takeAbsorbed(StepContext& context, const UnreadableBatch& refused) {
  const auto tell = [&](const std::string& text) {
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_passed_over", text);
  };
  const std::vector<Batch> parts =
      partsOf(context.tools.client, context.job.datasetId, refused.batch(), tell, context.stop);
  if (parts.empty()) {
    throw Error(Category::notFound, std::string(refused.what()) + "; none of the batches that it holds can be read",
                {.requestId = refused.requestId(), .hint = "choose another batch (--batch)", .code = refused.code()});
  }
  std::vector<Batch> batches =
      withParts(context.job.batches, refused.batch(), parts, context.job.request.batches.includeReplaced);
  const std::string text = takenInstead(refused.batch(), parts);
  for (const Batch& part : parts) context.run.parts.insert(part.id);
  record(context, withoutForgotten(context, std::move(batches)), "batch_consolidated", text);
  return {};
}

/// A part that was replaced meanwhile takes nothing from the others.
Turn leaveOutPart(StepContext& context, const UnreadableBatch& refused, const std::string& became) {
  std::vector<Batch> batches = context.job.batches;
  std::erase_if(batches, [&](const Batch& batch) { return batch.id == refused.batch(); });
  record(context, batches, "batch_passed_over",
         "batch '" + refused.batch().value() + "', which a consolidation holds, is left out: it" + became);
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
    const bool consolidation = isRefusedConsolidation(error);
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
  if (context.run.parts.contains(refused.batch()) && job.batches.size() > 1) {
    return leaveOutPart(context, refused, *became);
  }
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
  batches = withoutForgotten(context, std::move(batches));
  record(context, batches, "batch_chosen_again", text + ": chosen again: " + namesOf(batches));
  return {};
}

}  // namespace caiexport::engine
