/// What `sync` would do: the platform's list held against the record and the folder.

#include <algorithm>
#include <map>
#include <set>

#include "batch_folder.h"
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
constexpr std::size_t kMostLookUps = 1000;

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
    lookUpPredecessors();
    followReplacements();
    chooseWanted();
    for (const auto& [id, one] : superseded_) planReplacement(one);
    for (const Batch& batch : plan_.listed) planBatch(batch);
    return std::move(plan_);
  }

 private:
  /// Of every client: what another one made may replace what is wanted, for privacy's sake too.
  void listBatches() {
    std::optional<core::TimePoint> since = request_.job.batches.since;
    if (plan_.mark) since = std::max(plan_.mark->created - kSyncOverlap, since.value_or(core::TimePoint::min()));
    const auto list = [&](const std::string& client, const auto& visit) {
      client_.forEachBatch({.dataset = place_.dataset, .createdClient = client, .since = since, .until = {}}, visit,
                           stop_);
    };
    list("", [&](const Batch& batch) {
      chain_.push_back(batch);
      return true;
    });
    const std::string& client = request_.job.batches.createdClient;
    if (client.find_first_of("!*,") == client.npos) {
      for (const Batch& batch : chain_) {
        if (client.empty() || batch.createdClient.empty() || batch.createdClient == client) ofClient_.insert(batch.id);
      }
    } else {
      // A filter of Catalog's own kind, which only Catalog can apply.
      list(client, [&](const Batch& batch) {
        ofClient_.insert(batch.id);
        return true;
      });
    }
    std::ranges::stable_sort(chain_, {}, &Batch::created);
    listed_ = chain_.size();
    for (const Batch& batch : chain_) listedIds_.insert(batch.id);
    if (chain_.empty() && !client_.findDataset(place_.dataset, stop_)) {
      throw Error(Category::notFound,
                  "dataset '" + place_.dataset.value() + "' does not exist in sandbox '" + place_.sandbox + "'",
                  {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
    }
    tidyPredecessors(chain_);
  }

  /// Every predecessor by its id, and none that can't be a batch's.
  void tidyPredecessors(std::span<Batch> batches) {
    for (const std::string& unknown : client_.resolvePredecessors(batches, place_.dataset, stop_)) {
      plan_.notices.push_back("a batch with the external id '" + core::printable(unknown, 80) +
                              "' is replaced, but Catalog does not know which that is");
    }
    for (Batch& batch : batches) {
      std::erase_if(batch.predecessors, [&](const BatchId& id) {
        if (canBeFolder(id.value())) return false;
        plan_.notices.push_back("batch " + batch.id.value() + " says that it replaces '" +
                                core::printable(id.value(), 80) + "', which can't be a batch: that is passed over");
        return true;
      });
    }
  }

  /// A batch names its direct predecessors only, and those that are replaced may be listed no more: what they
  /// replaced themselves is asked for, unless it was dealt with before: then the record tells.
  void lookUpPredecessors() {
    std::set<BatchId> known;
    for (const Batch& batch : chain_) known.insert(batch.id);
    std::size_t lookUps = 0;
    for (std::size_t at = 0; at < chain_.size(); ++at) {
      const std::vector<BatchId> predecessors = chain_[at].predecessors;
      for (const BatchId& id : predecessors) {
        const auto row = rows_.find(id);
        const bool dealtWith = row != rows_.end() && row->second.done && !isOnDisk(id);
        if (!known.insert(id).second || dealtWith) continue;
        if (lookUps == kMostLookUps) {
          plan_.notices.push_back("the chain of replaced batches is longer than " + std::to_string(kMostLookUps) +
                                  "; what lies before batch " + id.value() + " was not looked at");
          return;
        }
        ++lookUps;
        std::optional<Batch> batch = client_.findBatch(id, stop_);
        if (!batch) continue;
        tidyPredecessors(std::span(&*batch, 1));
        chain_.push_back(std::move(*batch));
      }
    }
  }

  /// What the platform's list says, and what earlier runs recorded: the platform tells of the last week only.
  void followReplacements() {
    std::vector<Batch> graph = chain_;
    std::set<BatchId> replaced;
    for (const model::Superseded& one : model::supersededBy(chain_)) replaced.insert(one.batch);
    for (const auto& [id, row] : rows_) {
      const BatchId heir = lastHeirOf(row);
      const bool countsAgain =
          mayCountAgain(row) && !replaced.contains(id) && !replaced.contains(heir) && isListed(id) && isWithdrawn(heir);
      if (countsAgain) {
        again_.insert(id);
      } else if (canBeFolder(id.value())) {
        graph.push_back(
            {.id = row.by, .created = core::TimePoint::min(), .predecessors = {id}, .replayReason = row.reason});
      }
    }
    for (model::Superseded& one : model::supersededBy(graph)) {
      const BatchId id = one.batch;
      superseded_.emplace(id, std::move(one));
    }
  }

  /// Of the chain that the record tells.
  BatchId lastHeirOf(const model::Replacement& row) const {
    std::set<BatchId> seen;
    BatchId heir = row.by;
    for (auto next = rows_.find(heir); next != rows_.end() && seen.insert(heir).second; next = rows_.find(heir)) {
      heir = next->second.by;
    }
    return heir;
  }

  /// What replaced it may have been withdrawn since: but whoever asked to be forgotten stays forgotten.
  static bool mayCountAgain(const model::Replacement& row) {
    return row.done && row.action != ReplaceAction::keep && !model::isPrivacyDeletion(row.reason);
  }

  /// Batches of the client that was asked for, and what replaces such a one, whoever made it.
  void chooseWanted() {
    std::set<BatchId> wanted = ofClient_;
    for (const auto& [id, one] : superseded_) {
      if (ofClient_.contains(id) || rows_.contains(id) || isOnDisk(id)) wanted.insert(one.by);
    }
    for (std::size_t at = 0; at < listed_; ++at) {
      if (wanted.contains(chain_[at].id)) plan_.listed.push_back(chain_[at]);
    }
  }

  bool isOnDisk(const BatchId& batch) const {
    std::error_code ignored;
    return canBeFolder(batch.value()) && fs::exists(fs::symlink_status(folderOf(place_, batch), ignored));
  }

  bool hasManifest(const BatchId& batch) const {
    std::error_code ignored;
    return canBeFolder(batch.value()) && fs::is_regular_file(folderOf(place_, batch) / kManifestName, ignored);
  }

  ReplaceAction wantedAction(const model::Superseded& one) const {
    return request_.replayed.value_or(one.privacy ? ReplaceAction::remove : ReplaceAction::aside);
  }

  bool liesAnywhere(const model::Superseded& one) const {
    if (isOnDisk(one.batch)) return true;
    if (wantedAction(one) != ReplaceAction::remove) return false;
    if (!asideCopies(place_, one.batch).empty()) return true;
    return one.privacy && records_ != nullptr && liesElsewhere(place_, one.batch, *records_);
  }

  void planReplacement(const model::Superseded& one) {
    const auto row = rows_.find(one.batch);
    const bool recorded = row != rows_.end() && row->second.done;
    model::Replacement replacement{
        .batch = one.batch, .by = one.by, .reason = one.reason, .action = wantedAction(one), .path = {}};
    const bool here = liesAnywhere(one);
    // Those that were put away earlier stay there.
    if (!here && (recorded || replacement.action == ReplaceAction::keep)) return;
    if (recorded && replacement.action == ReplaceAction::keep) return;
    if (!here) {
      replacement.action = ReplaceAction::skip;
      if (!isListed(one.batch)) return;
    }
    plan_.replacements.push_back({.replacement = std::move(replacement), .privacy = one.privacy});
  }

  bool isListed(const BatchId& id) const { return listedIds_.contains(id); }

  void planBatch(const Batch& batch) {
    if (superseded_.contains(batch.id) && request_.replayed != ReplaceAction::keep) return;
    if (hasManifest(batch.id)) return;
    const auto row = rows_.find(batch.id);
    const bool putAway = row != rows_.end() && row->second.done && row->second.action != ReplaceAction::keep;
    const bool countsAgain = again_.contains(batch.id);
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
  std::vector<Batch> chain_;  ///< What is listed, oldest first, and predecessors that are not.
  std::size_t listed_ = 0;    ///< How many of the chain are listed.
  std::set<BatchId> listedIds_;
  std::set<BatchId> ofClient_;
  std::set<BatchId> again_;  ///< What replaced them was withdrawn.
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
