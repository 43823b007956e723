/// Which batches an export job has written: those that it names, or else what appeared in its target since.

#include <algorithm>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using platform::BatchPhase;
using platform::RemotePhase;

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

// --- batches that the job names

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
  for (const model::BatchId& id : job->batches) {
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

// --- batches that nobody names

/// Jobs that write, or may have written, into the same dataset, and whose batches can't be told from ours.
class Rivals {
 public:
  explicit Rivals(StepContext& context, const std::vector<std::string>& endedBefore) {
    context.tools.client.forEachExportJob(
        [&](const platform::ExportJob& job) {
          if (job.dataset != context.job.datasetId || job.id == context.job.exportJobId) return true;
          for (const model::BatchId& batch : job.batches) theirs_.push_back(batch);
          const bool wroteNothing = job.phase == RemotePhase::failed || job.phase == RemotePhase::cancelled;
          const bool ended = std::ranges::find(endedBefore, job.id.value()) != endedBefore.end();
          if (!job.batches.empty() || wroteNothing || ended) return true;
          const std::vector<model::BatchId> known = context.tools.store.batchesOfExportJob(context.job.id, job.id);
          theirs_.insert(theirs_.end(), known.begin(), known.end());
          if (known.empty()) nameless_ = job.id;
          return true;
        },
        context.stop);
  }

  bool own(const model::BatchId& batch) const { return std::ranges::find(theirs_, batch) != theirs_.end(); }
  /// One that names no batch either.
  const model::ExportJobId& nameless() const { return nameless_; }

 private:
  std::vector<model::BatchId> theirs_;
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

}  // namespace

void throwNothingExported(const model::Job& job) {
  throw Error(
      Category::notFound,
      "the export of segment '" + job.request.sourceId + "' holds no customers: nothing to download",
      {.hint = "check that the segment was evaluated (--evaluate), and that it has members of the chosen --status"});
}

namespace {

/// A batch that nobody names and that failed may be another writer's: it is passed over where the others hold all that
/// was exported.
std::optional<std::vector<Batch>> readableOfNameless(StepContext& context, std::vector<Batch> found) {
  std::vector<Batch> good = found;
  std::erase_if(good, [](const Batch& batch) { return platform::phaseOf(batch.status) == BatchPhase::failed; });
  const std::optional<std::uint64_t> promised = promisedBy(good);
  const std::optional<std::uint64_t> exported = context.job.reportedProfiles;
  const bool whole = !good.empty() && promised && exported && *promised >= *exported;
  return readableOf(whole ? good : found);
}

}  // namespace

Turn selectOfExport(StepContext& context) {
  const model::Job& job = context.job;
  const bool named = !job.batches.empty();
  std::optional<std::vector<Batch>> batches;
  if (named) {
    batches = readNamed(context);
  } else {
    std::vector<Batch> found = appearedSince(context);
    if (found.empty() && job.reportedProfiles == 0U) throwNothingExported(job);
    if (!found.empty()) batches = readableOfNameless(context, std::move(found));
  }
  if (!batches) return pollAgain(context, "batch not readable yet");
  if (!isComplete(context, *batches, named)) return pollAgain(context, "batches not complete yet");
  context.tools.store.finishStep(job.id, context.step.name, {.batches = std::move(batches)});
  return {};
}

}  // namespace caiexport::engine
