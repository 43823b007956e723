#pragma once
/// Keeps a folder in step with a score dataset: every batch that is not here yet is fetched by a dataset job of its
/// own, oldest first; what newer batches supersede is put out of the way.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

#include "caiexport/engine/runner.h"
#include "caiexport/model/replacement.h"
#include "caiexport/store/delivery_store.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::engine {

/// Batches compare by `created`, but are listed when they are complete: one may turn up that is older than what was
/// fetched last. The list is read anew from this long before the mark. `history prune` keeps what that needs.
inline constexpr core::Duration kSyncOverlap = std::chrono::hours(7 * 24);

/// The platform's clock is known to the second and less the way of the answer: what lies further ahead of it is no time
/// at which a batch can have been made.
inline constexpr core::Duration kClockSlack = std::chrono::minutes(1);

struct SyncRequest {
  model::ExportRequest job = {};                      ///< Of its jobs, but for the batch.
  std::optional<model::ReplaceAction> replayed = {};  ///< Nothing: aside, or delete after a privacy deletion.
  std::optional<core::Duration> maxAge = {};          ///< Of the newest batch.
  std::string share = {};  ///< The key of workers who do this together: each batch is a shared job of theirs.
};

/// What the request keeps in step.
store::SyncPlace placeOf(const model::ExportRequest& request);

/// A batch to put out of the way once the one that supersedes it is here and verified; a privacy deletion waits for
/// nothing.
struct PlannedReplacement {
  model::Replacement replacement = {};
  bool privacy = false;  ///< People asked for their data to go.
};

/// A privacy deletion of a batch that nobody can name any more, though it may lie here.
struct UnknownPredecessor {
  model::Batch heir = {};
  std::string externalId = {};
};

struct SyncPlan {
  std::vector<model::Batch> listed = {};   ///< That the platform has since the mark, oldest first.
  std::vector<model::Batch> missing = {};  ///< Of those: to be fetched, oldest first.
  std::vector<PlannedReplacement> replacements = {};
  std::vector<model::BatchId> movedAway = {};  ///< Downloaded earlier, but not in the folder any more: left out.
  /// Named, not fetched: their entries in Catalog are odd, or what they replace can't be looked up; `flaw` says it.
  std::vector<model::Batch> flawed = {};
  std::set<model::BatchId> outOfReach = {};  ///< Those of them for which only a look-up failed.
  std::set<model::BatchId> leftOut = {};     ///< Of those listed: not here, and older than the request wants.
  std::vector<UnknownPredecessor> unknown = {};
  bool snapshot = false;                      ///< Each day's batch replaces all that was there.
  std::optional<store::SyncMark> mark = {};   ///< From which on was looked; nothing if its filter saw less.
  std::optional<core::TimePoint> since = {};  ///< What `since` a mark has that this plan sets.
  std::vector<std::string> notices = {};      ///< Of replays that can't be made sense of.
};

/// What earlier runs wrote down; null where no job was ever made.
struct SyncRecords {
  store::SyncStore* sync = nullptr;
  store::DeliveryStore* deliveries = nullptr;
};

/// What would be done. Error(notFound) if the dataset does not exist.
SyncPlan planSync(platform::Client& client, const SyncRecords& records, const SyncRequest& request,
                  std::stop_token stop);

/// Why such a batch is not fetched: how a run ends that meets one.
core::Error notFetched(const SyncPlan& plan, const model::Batch& flawed, const model::DatasetId& dataset);

/// As requireFresh() for the newest batch that was listed, else the one at the mark; Error(notFound) if there is none.
void requireNewest(const SyncRequest& request, const std::optional<model::Batch>& newest,
                   const std::optional<store::SyncMark>& mark, const platform::Client& client);

struct SyncResult {
  std::vector<model::JobId> jobs = {};            ///< That ran, in that order.
  std::vector<model::Replacement> replaced = {};  ///< In this run.
  std::vector<model::BatchId> movedAway = {};
  std::optional<model::Batch> newest = {};  ///< That the platform lists.
  std::optional<store::SyncMark> mark = {};
  std::optional<core::Error> error = {};  ///< The first failure.
};

/// A folder of a batch that was deleted.
struct Removed {
  std::filesystem::path folder = {};
  std::uint64_t files = 0;
  std::uint64_t left = 0;  ///< Files in it that are not known to be ours: they stay.
};

/// What was done with a superseded batch.
struct Replaced {
  model::Replacement replacement = {};
  std::vector<Removed> removed = {};                 ///< Each place where something of it lay.
  std::vector<std::filesystem::path> outputs = {};   ///< Other output folders that it was deleted from.
  std::vector<std::filesystem::path> notThere = {};  ///< Those on record that are not there now.
  std::vector<std::string> withdrawn = {};           ///< Targets that it was taken away from.

  std::uint64_t left() const;
};

/// Told of each superseded batch once it is put out of the way, or could not be.
struct SyncEvents {
  std::function<void(const Replaced&, bool privacy)> replaced;
  std::function<void(const model::Replacement&, bool privacy, const core::Error&)> notReplaced;
};

/// Whether a process syncs the source of that number now: its process id, 0 if the system can't tell.
std::optional<int> syncHolder(const core::Locks& locks, std::int64_t source);

class Sync {
 public:
  /// Runs one job to its end, as Runner::advance.
  using RunJob = std::function<Outcome(model::JobId)>;
  Sync(Tools tools, store::SyncStore& records, RunJob run, SyncEvents events);

  /// Goes on where an earlier run stopped, however it stopped. A batch that fails for a reason of its own does not keep
  /// newer ones from coming; the mark stays before it. So with one that may concern all (the platform is out of reach,
  /// the disk refuses), unless the next batch meets the like. Error(busy) if another process syncs this dataset; with a
  /// `share`, its jobs are helped with until it has ended, and then looked whether anything is left.
  SyncResult run(const SyncRequest& request, std::stop_token stop);

 private:
  Tools tools_;
  store::SyncStore& records_;
  RunJob runJob_;
  SyncEvents events_;
};

}  // namespace caiexport::engine
