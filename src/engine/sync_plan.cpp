/// What `sync` would do: the platform's list held against the record and the folder.

#include <algorithm>
#include <map>
#include <set>

#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/platform/client.h"
#include "sync_place.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using model::Batch;
using model::BatchId;
using model::ReplaceAction;

// Of chains of predecessors that the list does not show.
constexpr std::size_t kMostLookUps = 100;

class Planner {
 public:
  Planner(platform::Client& client, store::SyncStore* records, const SyncRequest& request, std::stop_token stop)
      : client_(client), records_(records), request_(request), place_(placeOf(request.job)), stop_(std::move(stop)) {
    if (records_ == nullptr) return;
    plan_.mark = records_->mark(place_);
    for (model::Replacement& row : records_->replacements(place_)) rows_.emplace(row.batch, std::move(row));
  }

  SyncPlan make() {
    listBatches();
    chain_ = plan_.listed;
    lookUpPredecessors();
    for (const model::Superseded& one : model::supersededBy(chain_)) superseded_.emplace(one.batch, one);
    for (const auto& [id, one] : superseded_) planReplacement(one);
    for (const Batch& batch : plan_.listed) planBatch(batch);
    return std::move(plan_);
  }

 private:
  void listBatches() {
    std::optional<core::TimePoint> since = request_.job.batches.since;
    if (plan_.mark) since = std::max(plan_.mark->created - kSyncOverlap, since.value_or(core::TimePoint::min()));
    client_.forEachBatch(
        {.dataset = place_.dataset, .createdClient = request_.job.batches.createdClient, .since = since, .until = {}},
        [&](const Batch& batch) {
          plan_.listed.push_back(batch);
          return true;
        },
        stop_);
    std::ranges::stable_sort(plan_.listed, {}, &Batch::created);
    if (plan_.listed.empty() && !client_.findDataset(place_.dataset, stop_)) {
      throw Error(Category::notFound,
                  "dataset '" + place_.dataset.value() + "' does not exist in sandbox '" + place_.sandbox + "'",
                  {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
    }
  }

  /// A batch names its direct predecessors only, and those that are replaced may be listed no more: what they
  /// replaced themselves is asked for, unless it was dealt with before.
  void lookUpPredecessors() {
    std::set<BatchId> known;
    for (const Batch& batch : chain_) known.insert(batch.id);
    std::size_t lookUps = 0;
    for (std::size_t at = 0; at < chain_.size(); ++at) {
      const std::vector<BatchId> predecessors = chain_[at].predecessors;
      for (const BatchId& id : predecessors) {
        const auto row = rows_.find(id);
        const bool dealtWith = row != rows_.end() && row->second.done && !isOnDisk(id);
        if (!known.insert(id).second || dealtWith || lookUps == kMostLookUps) continue;
        ++lookUps;
        if (const std::optional<Batch> batch = client_.findBatch(id, stop_)) chain_.push_back(*batch);
      }
    }
  }

  bool isOnDisk(const BatchId& batch) const {
    std::error_code ignored;
    return fs::exists(fs::symlink_status(folderOf(place_, batch), ignored));
  }

  bool hasManifest(const BatchId& batch) const {
    std::error_code ignored;
    return fs::is_regular_file(folderOf(place_, batch) / kManifestName, ignored);
  }

  ReplaceAction wantedAction(const model::Superseded& one) const {
    return request_.replayed.value_or(one.privacy ? ReplaceAction::remove : ReplaceAction::aside);
  }

  void planReplacement(const model::Superseded& one) {
    const auto row = rows_.find(one.batch);
    const bool recorded = row != rows_.end() && row->second.done;
    const bool wasAside = recorded && row->second.action == ReplaceAction::aside;
    model::Replacement replacement{
        .batch = one.batch, .by = one.by, .reason = one.reason, .action = wantedAction(one), .path = {}};
    const bool here = isOnDisk(one.batch);
    if (replacement.action == ReplaceAction::keep) {
      // Those that were put away earlier stay there.
      if (recorded || !here) return;
    } else if (replacement.action == ReplaceAction::remove && wasAside) {
      replacement.path = row->second.path;
    } else if (!here) {
      if (recorded) return;
      replacement.action = ReplaceAction::skip;
      if (!isListed(one.batch)) return;
    }
    plan_.replacements.push_back({.replacement = std::move(replacement), .privacy = one.privacy});
  }

  bool isListed(const BatchId& id) const {
    return std::ranges::find(plan_.listed, id, &Batch::id) != plan_.listed.end();
  }

  void planBatch(const Batch& batch) {
    if (superseded_.contains(batch.id) && request_.replayed != ReplaceAction::keep) return;
    if (hasManifest(batch.id)) return;
    const auto row = rows_.find(batch.id);
    const bool putAway = row != rows_.end() && row->second.done && row->second.action != ReplaceAction::keep;
    // What replaced it may have been withdrawn since: then it counts again.
    const bool countsAgain = putAway && !superseded_.contains(batch.id) && isWithdrawn(row->second.by);
    if (putAway && !countsAgain) return;
    const bool fetched = records_ != nullptr && records_->hasBatch(place_, batch.id);
    if (fetched && !countsAgain && !isOnDisk(batch.id)) {
      plan_.movedAway.push_back(batch.id);
    } else if (!fetched || countsAgain) {
      plan_.missing.push_back(batch);
    }
  }

  bool isWithdrawn(const BatchId& id) {
    const std::optional<Batch> batch = client_.findBatch(id, stop_);
    return !batch || platform::phaseOf(batch->status) != platform::BatchPhase::readable;
  }

  platform::Client& client_;
  store::SyncStore* records_;
  const SyncRequest& request_;
  store::SyncPlace place_;
  std::stop_token stop_;
  std::map<BatchId, model::Replacement> rows_;
  std::vector<Batch> chain_;  ///< What is listed, and predecessors that are not.
  std::map<BatchId, model::Superseded> superseded_;
  SyncPlan plan_;
};

}  // namespace

store::SyncPlace placeOf(const model::ExportRequest& request) {
  return {.orgId = request.orgId,
          .sandbox = request.sandbox,
          .dataset = model::DatasetId(request.sourceId),
          .output = request.output};
}

SyncPlan planSync(platform::Client& client, store::SyncStore* records, const SyncRequest& request,
                  std::stop_token stop) {
  return Planner(client, records, request, std::move(stop)).make();
}

}  // namespace caiexport::engine
