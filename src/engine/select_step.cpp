#include "select_step.h"

#include <algorithm>
#include <map>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::BatchId;
using platform::BatchPhase;
using platform::RemotePhase;
using Forgotten = std::map<BatchId, BatchId>;

// --- batches that sync deleted because customers asked for their data to go: they do not come back by themselves

/// What stands for it now; nothing if that was deleted, too.
std::optional<Batch> heirOf(StepContext& context, const Forgotten& forgotten, const BatchId& id) {
  BatchId heir = forgotten.at(id);
  for (std::size_t steps = 0; forgotten.contains(heir); heir = forgotten.at(heir)) {
    if (++steps > forgotten.size()) return std::nullopt;  // they name one another
  }
  std::optional<Batch> now = context.tools.client.findBatch(heir, context.stop);
  if (!now || platform::phaseOf(now->status) != BatchPhase::readable) return std::nullopt;
  return now;
}

[[noreturn]] void refuse(const StepContext& context, const BatchId& id, const BatchId& heir) {
  const std::string dataset = "caiexport dataset --id " + context.job.datasetId.value() + " --batch ";
  throw Error(Category::notFound,
              "batch " + id.value() +
                  " is not fetched again: sync deleted it, because customers asked for their data "
                  "to go, and batch " +
                  heir.value() + " came in its place",
              {.hint = dataset + heir.value() + " fetches that one; with --batch " + id.value() +
                       " --force the deleted one comes back, with those people in it"});
}

/// In place of such a batch what replaced it, if that can be read; else nothing. Error(notFound) if one was asked for
/// by its id, or if nothing is left. With --force all stay.
std::vector<Batch> withoutForgotten(StepContext& context, std::vector<Batch> batches) {
  if (context.job.request.force) return batches;
  const Forgotten forgotten = context.tools.store.forgottenBatches(context.job);
  if (forgotten.empty()) return batches;
  std::vector<Batch> left;
  std::set<BatchId> known;
  const auto add = [&](const Batch& batch) {
    if (known.insert(batch.id).second) left.push_back(batch);
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

// --- of a dataset

auto passedOver(StepContext& context) {
  return [&context](const std::string& text) {
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_passed_over", text);
  };
}

/// A batch that another chosen one supersedes would count people twice.
std::vector<Batch> withoutReplaced(StepContext& context, std::vector<Batch> batches) {
  if (context.job.request.batches.includeReplaced) return batches;
  const std::vector<BatchId> replaced = model::replacedAmong(batches);
  for (const BatchId& id : replaced) {
    const std::string text =
        "batch " + id.value() + " is left out: a newer batch replaces it (--include-replaced keeps it)";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "batch_replaced", text);
  }
  const std::set<BatchId> left(replaced.begin(), replaced.end());
  std::erase_if(batches, [&](const Batch& batch) { return left.contains(batch.id); });
  return batches;
}

Turn selectOfDataset(StepContext& context) {
  std::vector<Batch> batches =
      chooseBatches(context.tools.client, context.job.request, context.stop, passedOver(context));
  context.tools.client.resolvePredecessors(batches, context.job.datasetId, context.stop);
  batches = withoutForgotten(context, withoutReplaced(context, std::move(batches)));
  const auto newest = std::ranges::max_element(batches, {}, &Batch::created);
  requireFresh(
      context.job.request.guards.maxAge,
      "the newest batch of dataset " + context.job.request.sourceId + ", " + newest->id.value() + ", was created",
      newest->created, context.tools.client);
  context.run.bytesAFile = newest->bytesAFile;
  context.tools.store.finishStep(context.job.id, context.step.name, {.batches = std::move(batches)});
  return {};
}

// --- of an export job: the batches that it names, or else what appeared in its target since

// A list that stays the same for so long is taken as it is, also where the platform had announced more.
constexpr std::chrono::minutes kLongestGrowth{5};
constexpr unsigned kEqualLooks = 2;

[[noreturn]] void throwBatchEnded(const Batch& batch) {
  throw Error(Category::remoteFailed,
              "batch '" + batch.id.value() + "' of the export ended as " + core::printable(batch.status, 40));
}

/// Nothing if a batch is not readable yet.
std::optional<std::vector<Batch>> readableOf(const std::vector<Batch>& batches) {
  for (const Batch& batch : batches) {
    switch (platform::phaseOf(batch.status)) {
      case BatchPhase::readable:
        break;
      case BatchPhase::moving:
      case BatchPhase::unknown:
        return std::nullopt;
      case BatchPhase::failed:
      case BatchPhase::withdrawn:
        throwBatchEnded(batch);
    }
  }
  return batches;
}

/// What all of them hold, as far as the platform tells.
std::optional<std::uint64_t> promisedBy(const std::vector<Batch>& batches) {
  std::uint64_t sum = 0;
  for (const Batch& batch : batches) {
    if (!batch.records) return std::nullopt;
    sum += *batch.records;
  }
  return sum;
}

/// Whether there is nothing more to come: all that the export job counted is there, or the list has stopped growing.
bool isComplete(StepContext& context, const std::vector<Batch>& batches, bool named) {
  const std::optional<std::uint64_t> promised = promisedBy(batches);
  const std::optional<std::uint64_t> exported = context.job.reportedProfiles;
  if (promised && exported && *promised >= *exported) return true;
  const model::ExportRequest& request = context.job.request;
  const bool lacksSegments =
      request.segment.segmentPerBatch && batches.size() < model::segmentsOf(request).size() && exported != 0U;
  if (named && !(promised && exported) && !lacksSegments) return true;
  RunState::Growth& growth = context.run.growth;
  const core::SteadyTime now = context.tools.clock.steadyNow();
  if (growth.batches != batches.size() || growth.looks == 0) growth = {.batches = batches.size(), .since = now};
  ++growth.looks;
  if (growth.looks <= kEqualLooks) return false;
  return named || !exported || !promised || now - growth.since >= kLongestGrowth;
}

/// When the export was asked for, by the platform's time. Machines of one platform differ by a little.
std::optional<core::TimePoint> beginning(const model::Job& job) {
  for (const model::Step& step : job.steps) {
    if (step.name == model::StepName::startExport && step.intendedAt) return *step.intendedAt - std::chrono::seconds(5);
  }
  return std::nullopt;
}

// --- ... that it names

[[noreturn]] void throwNotOurs(const model::Job& job, const Batch& batch, const std::string& why) {
  throw Error(Category::remoteFailed,
              "export job " + job.exportJobId.value() + " names batch '" + batch.id.value() + "', which " + why +
                  ": it can't be what was exported, so nothing was downloaded",
              {.hint = "look at the export job on the platform, then start a new export"});
}

/// What the export job names must be able to be what it wrote, as far as Catalog tells.
void requireOfThisExport(StepContext& context, const Batch& batch) {
  // Catalog's clock need not be that of the machine which answered when the export was asked for.
  constexpr std::chrono::minutes kClocksApart{5};
  const model::Job& job = context.job;
  if (!batch.datasets.empty() && std::ranges::find(batch.datasets, job.datasetId) == batch.datasets.end()) {
    throwNotOurs(job, batch,
                 "belongs to dataset '" + core::printable(batch.datasets.front().value(), 80) +
                     "', not to the target '" + job.datasetId.value() + "'");
  }
  if (batch.kind == model::BatchKind::tracking) throwNotOurs(job, batch, "only notes what became of another batch");
  if (batch.kind == model::BatchKind::consolidation) throwNotOurs(job, batch, "is a consolidation of other batches");
  const auto before = context.tools.store.seenBefore(job.id, model::StepName::startExport);
  if (before && std::ranges::find(before->batches, batch.id.value()) != before->batches.end()) {
    throwNotOurs(job, batch, "was in the target before the export began");
  }
  const std::optional<core::TimePoint> began = beginning(job);
  // Where no answer told the platform's time, it is not known when the export began.
  if (began && *began > core::TimePoint() && batch.created < *began - kClocksApart) {
    throwNotOurs(job, batch,
                 "was created " + core::formatTime(batch.created) + ", before the export began (" +
                     core::formatTime(*began) + ")");
  }
}

/// The list may have grown since the job was done.
std::vector<Batch> namedNow(StepContext& context) {
  std::vector<Batch> batches = context.job.batches;
  const auto job = context.tools.client.findExportJob(context.job.exportJobId, context.stop);
  if (!job) return batches;
  for (const BatchId& id : job->batches) {
    if (std::ranges::find(batches, id, &Batch::id) == batches.end()) batches.push_back({.id = id});
  }
  if (batches.size() > context.job.batches.size()) {
    context.tools.store.recordRemoteJob(context.job.id, {.batches = batches});
  }
  return batches;
}

/// Nothing if they are not all readable yet.
std::optional<std::vector<Batch>> readNamed(StepContext& context) {
  std::vector<Batch> batches;
  for (const Batch& named : context.run.growth.looks > 0 ? namedNow(context) : context.job.batches) {
    const std::optional<Batch> batch = context.tools.client.findBatch(named.id, context.stop);
    if (!batch) return std::nullopt;  // ingestion can end later than the job
    requireOfThisExport(context, *batch);
    batches.push_back(*batch);
  }
  return readableOf(batches);
}

// --- ... that nobody names

/// Jobs that write, or may have written, into the same dataset, and whose batches can't be told from ours.
class Rivals {
 public:
  explicit Rivals(StepContext& context, const std::vector<std::string>& endedBefore) {
    context.tools.client.forEachExportJob(
        [&](const platform::ExportJob& job) {
          if (job.dataset != context.job.datasetId || job.id == context.job.exportJobId) return true;
          for (const BatchId& batch : job.batches) theirs_.push_back(batch);
          const bool wroteNothing = job.phase == RemotePhase::failed || job.phase == RemotePhase::cancelled;
          const bool ended = std::ranges::find(endedBefore, job.id.value()) != endedBefore.end();
          if (!job.batches.empty() || wroteNothing || ended) return true;
          const std::vector<BatchId> known = context.tools.store.batchesOfExportJob(context.job.id, job.id);
          theirs_.insert(theirs_.end(), known.begin(), known.end());
          if (known.empty()) nameless_ = job.id;
          return true;
        },
        context.stop);
  }

  bool own(const BatchId& batch) const { return std::ranges::find(theirs_, batch) != theirs_.end(); }
  /// One that names no batch either.
  const model::ExportJobId& nameless() const { return nameless_; }

 private:
  std::vector<BatchId> theirs_;
  model::ExportJobId nameless_;
};

[[noreturn]] void throwCannotTell(const model::Job& job, const model::ExportJobId& rival) {
  throw Error(Category::remoteFailed,
              "export job " + job.exportJobId.value() + " names no batch, and export job " +
                  core::printable(rival.value(), 80) + " has written into the same dataset " + job.datasetId.value() +
                  ": caiexport cannot tell whose batch is whose, so nothing was downloaded",
              {.hint = "export again into a dataset of its own (without --dataset), or when the other job is done; to "
                       "download a batch that you know: caiexport dataset --id " +
                       job.datasetId.value() + " --created-client any --batch ID"});
}

std::vector<Batch> appearedSince(StepContext& context) {
  const model::Job& job = context.job;
  const auto before = context.tools.store.seenBefore(job.id, model::StepName::startExport);
  platform::BatchQuery query{.dataset = job.datasetId, .statuses = {}};
  if (!before && !job.datasetCreated) query.since = beginning(job);
  std::vector<Batch> batches;
  context.tools.client.forEachBatch(
      query,
      [&](const Batch& batch) {
        const bool wasThere = before && std::ranges::find(before->batches, batch.id.value()) != before->batches.end();
        if (!wasThere && platform::phaseOf(batch.status) != BatchPhase::withdrawn) batches.push_back(batch);
        return true;
      },
      context.stop);
  if (batches.empty()) return batches;
  const Rivals rivals(context, before ? before->ended : std::vector<std::string>());
  std::erase_if(batches, [&](const Batch& batch) { return rivals.own(batch.id); });
  if (!rivals.nameless().empty()) throwCannotTell(job, rivals.nameless());
  return batches;
}

/// A batch that nobody names and that failed may be another writer's: it is passed over where the others hold all that
/// was exported.
std::optional<std::vector<Batch>> readableOfNameless(StepContext& context, const std::vector<Batch>& found) {
  std::vector<Batch> good = found;
  std::erase_if(good, [](const Batch& batch) { return platform::phaseOf(batch.status) == BatchPhase::failed; });
  const std::optional<std::uint64_t> promised = promisedBy(good);
  const std::optional<std::uint64_t> exported = context.job.reportedProfiles;
  const bool whole = !good.empty() && promised && exported && *promised >= *exported;
  return readableOf(whole ? good : found);
}

Turn selectOfExport(StepContext& context) {
  const model::Job& job = context.job;
  const bool named = !job.batches.empty();
  std::optional<std::vector<Batch>> batches;
  if (named) {
    batches = readNamed(context);
  } else {
    std::vector<Batch> found = appearedSince(context);
    if (found.empty() && job.reportedProfiles == 0U) throwNothingExported(job);
    if (!found.empty()) batches = readableOfNameless(context, found);
  }
  if (!batches) return pollAgain(context, "batch not readable yet");
  if (!isComplete(context, *batches, named)) return pollAgain(context, "batches not complete yet");
  context.tools.store.finishStep(job.id, context.step.name, {.batches = std::move(batches)});
  return {};
}

// --- instead of what is not given

void record(StepContext& context, const std::vector<Batch>& batches, const std::string& what, const std::string& text) {
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, what, text);
  context.tools.store.finishStep(context.job.id, model::StepName::selectBatches, {.batches = batches});
  // Those that are held are of the batches before.
  context.run.letGoOfFolders();
}

std::string namesOf(const std::vector<Batch>& batches) {
  return core::joined(batches, ", ", [](const Batch& batch) { return batch.id.value(); });
}

Turn takeAbsorbed(StepContext& context, const UnreadableBatch& refused) {
  const std::vector<Batch> parts =
      partsOf(context.tools.client, context.job.datasetId, refused.batch(), passedOver(context), context.stop);
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

Turn selectBatches(StepContext& context) {
  return context.job.request.kind == model::Kind::dataset ? selectOfDataset(context) : selectOfExport(context);
}

void refuseForgotten(const StepContext& context) {
  if (context.job.request.force) return;
  const Forgotten forgotten = context.tools.store.forgottenBatches(context.job);
  if (forgotten.empty()) return;
  for (const Batch& batch : context.job.batches) {
    if (const auto found = forgotten.find(batch.id); found != forgotten.end()) refuse(context, batch.id, found->second);
  }
}

void requireStillReadable(StepContext& context, const Batch& chosen) {
  const auto became = whatBecameOf(context.tools.client, context.job.datasetId, chosen.id, context.stop);
  if (!became) return;
  throw Error(Category::notFound, "batch '" + chosen.id.value() + "'" + *became + " since it was chosen",
              {.hint = "start a new export to get the newest batch"});
}

void throwNothingExported(const model::Job& job) {
  throw Error(
      Category::notFound,
      "the export of segment '" + job.request.sourceId + "' holds no customers: nothing to download",
      {.hint = "check that the segment was evaluated (--evaluate), and that it has members of the chosen --status"});
}

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
