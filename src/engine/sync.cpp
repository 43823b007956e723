#include "caiexport/engine/sync.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/engine/delivery.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "caiexport/store/share_store.h"
#include "folders.h"
#include "replacing.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::BatchId;
using model::JobId;

// In the job locks' file, far above the number of any job.
constexpr std::int64_t kFirstSyncLock = std::int64_t{1} << 62U;

// Of plans, in one run, where batches are replaced while they are fetched.
constexpr int kMostRounds = 20;

HeldLock lockOf(core::Locks& locks, std::int64_t source, const store::SyncPlace& place) {
  return {locks, kFirstSyncLock + source, "dataset '" + place.dataset.value() + "' is being synced",
          "under cron this is harmless: the next run continues"};
}

/// The key of a batch's job.
std::string shareOf(const SyncRequest& request, const BatchId& batch) {
  return request.share.empty() ? std::string() : request.share + "/" + batch.value();
}

/// One call of Sync::run.
class SyncRun {
 public:
  SyncRun(Tools& tools, store::SyncStore& records, const Sync::RunJob& runJob, const SyncEvents& events,
          const SyncRequest& request, std::stop_token stop)
      : tools_(tools),
        records_(records),
        runJob_(runJob),
        events_(events),
        request_(request),
        stop_(std::move(stop)),
        place_(placeOf(request.job)),
        lock_(lockOf(tools.jobLocks, records.sourceNumber(place_), place_)) {}

  SyncResult toTheEnd() {
    result_.mark = records_.mark(place_, request_.job.batches.createdClient);
    try {
      finishReplacements();
      resumeInterrupted();
      do {
        plan();
        deletePrivate();
        replaceAll();
        for (const Batch& batch : plan_.missing) {
          if (!planAgain_) fetch(batch);
        }
      } while (planAgain_ && ++rounds_ < kMostRounds);
      moveMark();
      for (const Batch& batch : plan_.flawed) note(notFetched(plan_, batch, place_.dataset));
      for (const UnknownPredecessor& one : plan_.unknown) noteUnknown(one);
      if (!result_.error) requireNewest(request_, result_.newest, result_.mark, tools_.client);
    } catch (const Error& error) {
      if (!result_.error) result_.error = error;
    }
    if (!result_.jobs.empty() || !result_.replaced.empty()) lookAtAllForLatest();
    return std::move(result_);
  }

 private:
  void tell(std::string_view text) { tools_.observer.notice(text); }

  store::DeliveryStore* deliveries() const { return tools_.delivery != nullptr ? &tools_.delivery->records : nullptr; }

  void stopIfAsked() const {
    if (stop_.stop_requested()) throw core::Interrupted();
  }

  void plan() {
    planAgain_ = false;
    plan_ = planSync(tools_.client, {.sync = &records_, .deliveries = deliveries()}, request_, stop_);
    if (rounds_ == 0) std::ranges::for_each(plan_.notices, [this](const std::string& notice) { tell(notice); });
    result_.mark = plan_.mark;
    // A mark of the future was set by a batch of the future.
    if (result_.mark && isOfTheFuture(result_.mark->created)) result_.mark.reset();
    if (plan_.snapshot && !plan_.mark && rounds_ == 0) tellOfSnapshot();
    result_.movedAway = plan_.movedAway;
    if (!plan_.listed.empty()) result_.newest = plan_.listed.back();
    missing_.clear();
    passed_ = 0;
    for (const Batch& batch : plan_.missing) missing_.insert(batch.id);
  }

  bool isOfTheFuture(core::TimePoint created) const { return created > tools_.client.serverNow() + kClockSlack; }

  void tellOfSnapshot() {
    const std::uint64_t records = result_.newest ? result_.newest->records.value_or(0) : 0;
    tell("dataset " + place_.dataset.value() +
         " is a profile snapshot: each day's batch holds all profiles and replaces the one before, so .replaced grows "
         "by a whole copy each day" +
         (records > 0 ? " (" + std::to_string(records) + " profiles now)" : std::string()) +
         "; --replayed delete keeps one copy");
  }

  void noteUnknown(const UnknownPredecessor& one) {
    note(Error(Category::verification,
               "batch " + one.heir.id.value() + " replaces one with the external id '" +
                   core::printable(one.externalId, 80) + "' for privacy's sake (\"" +
                   core::printable(one.heir.replayReason, 200) +
                   "\"), and neither Catalog nor the record tells which that is: it is NOT deleted",
               {.hint = "find out which batch it is, and delete it in " +
                        core::printable(datasetFolder(place_.output, request_.job.layout, place_.dataset).string()) +
                        " and wherever else it is; --replayed keep, once, then says that this is done"}));
  }

  // --- what an earlier run left

  void finishReplacements() {
    for (const model::Replacement& row : records_.replacements(place_)) {
      const bool privacy = model::isPrivacyDeletion(row.reason);
      if (row.action == model::ReplaceAction::remove && privacy) deleted_.insert(row.batch);
      if (!row.done && canBeFolder(row.batch.value())) carryOut({.replacement = row, .privacy = privacy});
    }
  }

  void resumeInterrupted() {
    for (const JobId job : records_.interruptedJobs(place_)) {
      if (holderOf(tools_.jobLocks, job)) continue;
      const model::ExportRequest before = tools_.store.load(job).request;
      // People who asked to be forgotten are not fetched once more.
      if (before.baseUrl != request_.job.baseUrl || deleted_.contains(before.batches.batch)) continue;
      stopIfAsked();
      const std::optional<Error> error = runOne(job);
      // Its batch may have been superseded since; the plan knows.
      if (error && error->category() == Category::notFound) {
        tell("job " + std::to_string(model::numberOf(job)) + " cannot continue: " + error->what());
      } else if (error) {
        for (const Batch& batch : tools_.store.load(job).batches) tried_.insert(batch.id);
        note(*error);
      } else {
        inDoubt_ = false;
      }
    }
  }

  /// The first failure is the one to report. One that does not concern the batch alone ends the run.
  void note(const Error& error) {
    if (!result_.error) result_.error = error;
    if (core::factsOf(error.category()).concernsOneBatch) {
      inDoubt_ = false;
      return;
    }
    // A single file or folder can meet that, too: the next batch tells.
    if (!mayConcernOneBatch(error) || std::exchange(inDoubt_, true)) throw error;
  }

  static bool mayConcernOneBatch(const Error& error) {
    switch (error.category()) {
      case Category::permission:
      case Category::timedOut:
      case Category::unavailable:
      case Category::io:
        return true;
      default:
        return core::factsOf(error.category()).concernsOneBatch;
    }
  }

  std::optional<Error> runOne(JobId job) {
    result_.jobs.push_back(job);
    try {
      return runJob_(job).error;
    } catch (const Error& error) {
      return error;  // nothing of it could be recorded
    }
  }

  // --- new batches

  JobId jobFor(const Batch& batch) {
    model::ExportRequest request = request_.job;
    request.batches = {};
    request.batches.batch = batch.id;
    if (const std::optional<JobId> failed = records_.failedJob(place_, batch.id)) {
      const model::ExportRequest before = tools_.store.load(*failed).request;
      const bool same = before.baseUrl == request.baseUrl && before.guards == request.guards &&
                        before.verify == request.verify && before.force == request.force &&
                        before.layout == request.layout && before.deliver == request.deliver &&
                        before.deleteAfterDelivery == request.deleteAfterDelivery;
      if (same) return *failed;
    }
    return tools_.store.createJob(request, core::newUuid(), model::makePlan(request), shareOf(request_, batch.id)).id;
  }

  /// Whether there is nothing to fetch: all people may be gone from what replaces a batch.
  bool isEmpty(const Batch& batch) {
    if (batch.records != 0U) return false;
    bool any = false;
    try {
      tools_.client.listFiles(
          batch.id, [&](std::vector<model::RemoteFile>&& page) { any = any || !page.empty(); }, stop_);
    } catch (const Error& error) {
      if (!mayConcernOneBatch(error)) throw;
      return false;  // its job meets the same, and records it
    }
    if (any) return false;
    if (!result_.mark || batch.created > result_.mark->created) {
      tell("batch " + batch.id.value() + " holds no records and no files: there is nothing to fetch");
    }
    return true;
  }

  void fetch(const Batch& batch) {
    stopIfAsked();
    // By the job that goes on from an earlier run: to ask once is enough.
    if (tried_.contains(batch.id)) return;
    if (isEmpty(batch)) {
      settled(batch);
      return;
    }
    const JobId job = jobFor(batch);
    if (const std::optional<Error> error = runOne(job)) {
      // Replaced since the plan was made: the next plan knows by what.
      planAgain_ = error->category() == Category::notFound && rounds_ + 1 < kMostRounds && isWithdrawn(batch.id);
      if (!planAgain_) note(*error);
      return;
    }
    const std::vector<Batch> fetched = tools_.store.load(job).batches;
    if (std::ranges::find(fetched, batch.id, &Batch::id) == fetched.end()) {
      // What it holds came in its place: it supersedes nothing, and is not asked for again.
      records_.recordReplacement(place_, {.batch = batch.id,
                                          .by = batch.id,
                                          .reason = "consolidation",
                                          .action = model::ReplaceAction::skip,
                                          .done = true});
      planAgain_ = true;
      return;
    }
    settled(batch);
  }

  void settled(const Batch& batch) {
    inDoubt_ = false;
    missing_.erase(batch.id);
    moveMark();
    replaceFor(batch.id);
  }

  bool isWithdrawn(const BatchId& id) {
    const std::optional<Batch> now = tools_.client.findBatch(id, stop_);
    return now && platform::phaseOf(now->status) == platform::BatchPhase::withdrawn;
  }

  /// To the newest batch before the first one that is still missing or was left out, whose entry is odd, or that is to
  /// replace nobody knows what; never ahead of the platform's own clock, or nothing later would ever be listed.
  void moveMark() {
    if (planAgain_) return;
    // From where the last call ended: what lies before it is not missing any more.
    for (; passed_ < plan_.listed.size(); ++passed_) {
      const Batch& batch = plan_.listed[passed_];
      if (missing_.contains(batch.id) || plan_.leftOut.contains(batch.id) || isOfTheFuture(batch.created)) return;
      const auto isHeir = [&](const UnknownPredecessor& one) { return one.heir.id == batch.id; };
      if (std::ranges::any_of(plan_.unknown, isHeir)) return;
      // An unknown time of making is that of 1970.
      const auto isBefore = [&](const Batch& flawed) { return flawed.created <= batch.created; };
      if (std::ranges::any_of(plan_.flawed, isBefore)) return;
      if (result_.mark && batch.created <= result_.mark->created) continue;
      const store::SyncMark mark{.batch = batch.id, .created = batch.created, .since = plan_.since};
      records_.setMark(place_, mark, request_.job.batches.createdClient);
      result_.mark = mark;
    }
  }

  // --- superseded batches

  /// Before anything is fetched: no failure of the batch that came in its place may delay what the law asks for.
  void deletePrivate() {
    const auto waits = [](const PlannedReplacement& planned) {
      return !planned.privacy || planned.replacement.action != model::ReplaceAction::remove;
    };
    const auto end = std::stable_partition(plan_.replacements.begin(), plan_.replacements.end(), waits);
    bool any = false;
    for (auto planned = end; planned != plan_.replacements.end(); ++planned) any = carryOut(*planned) || any;
    plan_.replacements.erase(end, plan_.replacements.end());
    if (any) mendLatestAt(place_.output);
  }

  void replaceAll() {
    byHeir_.clear();
    for (std::size_t at = 0; at < plan_.replacements.size(); ++at) {
      byHeir_[plan_.replacements[at].replacement.by].push_back(at);
    }
    for (const auto& [heir, replaced] : byHeir_) {
      if (!missing_.contains(heir)) replaceFor(heir);
    }
  }

  void replaceFor(const BatchId& heir) {
    const auto replaced = byHeir_.find(heir);
    if (replaced == byHeir_.end()) return;
    bool any = false;
    for (const std::size_t at : replaced->second) any = carryOut(plan_.replacements[at]) || any;
    if (any) mendLatestAt(place_.output);
  }

  void mendLatestAt(const std::filesystem::path& output) {
    for (const std::filesystem::path& folder : datasetFolders(output, place_.dataset)) {
      mendLatest(folder, tools_.files, [&](std::string_view text) { tell(text); });
    }
  }

  /// Once in a run, however that ended: after each batch it would take quadratic time.
  void lookAtAllForLatest() {
    try {
      for (const std::filesystem::path& folder : datasetFolders(place_.output, place_.dataset)) {
        switchLatest(folder, tools_.files, [](std::string_view) {});  // what stands in its way was told
      }
    } catch (const Error& error) {
      if (!result_.error) result_.error = error;
    }
  }

  /// False if it could not be done. That keeps nothing else from being done: the next run tries again.
  bool carryOut(const PlannedReplacement& planned) {
    stopIfAsked();
    if (inVain_.contains(planned.replacement.batch)) return false;
    try {
      const auto withdraw = [&]() -> std::vector<std::string> {
        if (tools_.delivery == nullptr) return {};
        return withdrawEverywhere(*tools_.delivery, place_, planned.replacement.batch, stop_);
      };
      const Replaced replaced =
          replaceBatch(place_, planned.replacement, planned.privacy, records_, tools_.files, withdraw);
      for (const std::filesystem::path& output : replaced.outputs) mendLatestAt(output);
      events_.replaced(replaced, planned.privacy);
      result_.replaced.push_back(replaced.replacement);
      return true;
    } catch (const Error& error) {
      inVain_.insert(planned.replacement.batch);
      events_.notReplaced(planned.replacement, planned.privacy, error);
      if (!result_.error) result_.error = error;
      return false;
    }
  }

  Tools& tools_;
  store::SyncStore& records_;
  const Sync::RunJob& runJob_;
  const SyncEvents& events_;
  const SyncRequest& request_;
  std::stop_token stop_;
  store::SyncPlace place_;
  HeldLock lock_;
  SyncPlan plan_;
  bool planAgain_ = false;  ///< The plan turned out wrong.
  int rounds_ = 0;
  std::set<BatchId> missing_;
  std::size_t passed_ = 0;                              ///< So many of the listed batches lie behind the mark.
  std::map<BatchId, std::vector<std::size_t>> byHeir_;  ///< Of plan_.replacements.
  std::set<BatchId> deleted_;                           ///< For privacy's sake, or about to be.
  std::set<BatchId> inVain_;                            ///< Could not be put out of the way in this run.
  std::set<BatchId> tried_;                             ///< In vain, by jobs of an earlier run.
  bool inDoubt_ = false;                                ///< The last batch met what may concern all.
  SyncResult result_;
};

}  // namespace

std::optional<int> syncHolder(const core::Locks& locks, std::int64_t source) {
  return holderOf(locks, JobId(kFirstSyncLock + source));
}

Error notFetched(const SyncPlan& plan, const Batch& flawed, const model::DatasetId& dataset) {
  return {plan.outOfReach.contains(flawed.id) ? Category::unavailable : Category::protocol,
          "batch '" + core::printable(flawed.id.value(), 80) + "' of dataset '" + dataset.value() +
              "' is not downloaded: " + flawed.flaw,
          {.hint = "other batches are downloaded all the same, and the next sync tries this one again"}};
}

void requireNewest(const SyncRequest& request, const std::optional<Batch>& newest,
                   const std::optional<store::SyncMark>& mark, const platform::Client& client) {
  if (!request.maxAge) return;
  const std::string dataset = request.job.sourceId;
  if (!newest && !mark) throw Error(Category::notFound, "dataset '" + dataset + "' has no batch yet (--max-age)");
  const BatchId& id = newest ? newest->id : mark->batch;
  requireFresh(request.maxAge, "the newest batch of dataset " + dataset + ", " + id.value() + ", was created",
               newest ? newest->created : mark->created, client);
}

Sync::Sync(Tools tools, store::SyncStore& records, RunJob run, SyncEvents events)
    : tools_(std::move(tools)), records_(records), runJob_(std::move(run)), events_(std::move(events)) {}

SyncResult Sync::run(const SyncRequest& request, std::stop_token stop) {
  constexpr core::Duration kLookEvery = std::chrono::milliseconds(250);
  if (request.share.empty()) return SyncRun(tools_, records_, runJob_, events_, request, stop).toTheEnd();
  const std::int64_t source = records_.sourceNumber(placeOf(request.job));
  for (;;) {
    try {
      if (!syncHolder(tools_.jobLocks, source)) {
        return SyncRun(tools_, records_, runJob_, events_, request, stop).toTheEnd();
      }
    } catch (const Error& error) {
      // Another worker was quicker.
      if (error.category() != Category::busy || !syncHolder(tools_.jobLocks, source)) throw;
    }
    const std::optional<JobId> job = tools_.share->underWay(request.job, request.share + "/");
    if (job) {
      const std::optional<Error> error = runJob_(*job).error;
      // What became of the job is for the worker that made it to tell; what keeps this one from helping is not.
      if (error && holderOf(tools_.jobLocks, *job)) throw *error;
    }
    if (!tools_.clock.sleep(kLookEvery, stop)) throw core::Interrupted();
  }
}

}  // namespace caiexport::engine
