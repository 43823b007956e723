#include "forgotten.h"

#include <algorithm>
#include <map>

#include "caiexport/core/error.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using model::Batch;
using model::BatchId;
using Forgotten = std::map<BatchId, BatchId>;

/// What stands for it now; nothing if that was deleted, too.
std::optional<Batch> heirOf(StepContext& context, const Forgotten& forgotten, const BatchId& id) {
  BatchId heir = forgotten.at(id);
  for (std::size_t steps = 0; forgotten.contains(heir); heir = forgotten.at(heir)) {
    if (++steps > forgotten.size()) return std::nullopt;  // they name one another
  }
  std::optional<Batch> now = context.tools.client.findBatch(heir, context.stop);
  if (!now || platform::phaseOf(now->status) != platform::BatchPhase::readable) return std::nullopt;
  return now;
}

[[noreturn]] void refuse(const StepContext& context, const BatchId& id, const BatchId& heir) {
  const std::string dataset = "caiexport dataset --id " + context.job.datasetId.value() + " --batch ";
  throw core::Error(core::Category::notFound,
                    "batch " + id.value() +
                        " is not fetched again: sync deleted it, because customers asked for their data "
                        "to go, and batch " +
                        heir.value() + " came in its place",
                    {.hint = dataset + heir.value() + " fetches that one; with --batch " + id.value() +
                             " --force the deleted one comes back, with those people in it"});
}

}  // namespace

std::vector<Batch> withoutForgotten(StepContext& context, std::vector<Batch> batches) {
  if (context.job.request.force) return batches;
  const Forgotten forgotten = context.tools.store.forgottenBatches(context.job);
  std::vector<Batch> left;
  const auto add = [&](const Batch& batch) {
    if (std::ranges::find(left, batch.id, &Batch::id) == left.end()) left.push_back(batch);
  };
  for (const Batch& batch : batches) {
    if (!forgotten.contains(batch.id)) {
      add(batch);
      continue;
    }
    const bool named = !context.job.request.batches.batch.empty();
    const std::optional<Batch> heir = named ? std::nullopt : heirOf(context, forgotten, batch.id);
    if (!heir && (named || batches.size() == 1)) refuse(context, batch.id, forgotten.at(batch.id));
    const std::string text = "batch " + batch.id.value() +
                             " is left out: sync deleted it, because customers asked for their data to go" +
                             (heir ? "; batch " + heir->id.value() + ", which replaces it, is taken" : "");
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_replaced", text);
    if (heir) add(*heir);
  }
  if (left.empty() && !batches.empty()) refuse(context, batches.front().id, forgotten.at(batches.front().id));
  return left;
}

void refuseForgotten(const StepContext& context) {
  if (context.job.request.force) return;
  const Forgotten forgotten = context.tools.store.forgottenBatches(context.job);
  if (forgotten.empty()) return;
  for (const Batch& batch : context.job.batches) {
    if (const auto found = forgotten.find(batch.id); found != forgotten.end()) refuse(context, batch.id, found->second);
  }
}

}  // namespace caiexport::engine
