/// What `sync` would do: the platform's list held against the record and the folder.

#include <algorithm>
#include <map>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/engine/sync.h"
#include "caiexport/platform/client.h"
#include "folders.h"
#include "replacing.h"

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
  Planner(platform::Client& client, const SyncRecords& records, const SyncRequest& request, std::stop_token stop)
      : client_(client),
        records_(records.sync),
        deliveries_(records.deliveries),
        request_(request),
        place_(placeOf(request.job)),
        stop_(std::move(stop)) {
    if (records_ == nullptr) return;
    plan_.mark = records_->mark(place_, request_.job.batches.createdClient);
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
    platform::BatchQuery query{.dataset = place_.dataset, .until = {}, .everyKind = true};
    query.since = plan_.since = request_.job.batches.since;
    if (plan_.mark && leavesOut(*plan_.mark)) plan_.mark.reset();
    // A mark that lies ahead of the platform's clock was set by a batch of the future: it says nothing.
    if (plan_.mark && plan_.mark->created <= client_.serverNow() + kClockSlack) {
      // Whatever is older than is wanted now: the mark must not pass what is not here.
      query.since = std::max(plan_.mark->created - kSyncOverlap, plan_.mark->since.value_or(core::TimePoint::min()));
      plan_.since = plan_.mark->since;
    }
    client_.forEachBatch(
        query,
        [&](const Batch& batch) {
          take(batch);
          return true;
        },
        stop_);
    addHidden();
    const std::string& client = request_.job.batches.createdClient;
    if (client.find_first_of("!*,") == client.npos) {
      for (const Batch& batch : chain_) {
        if (mayBeOfClient(batch)) ofClient_.insert(batch.id);
      }
    } else {
      // A filter of Catalog's own kind.
      query.createdClient = client;
      query.everyKind = false;
      client_.forEachBatch(
          query,
          [&](const Batch& batch) {
            ofClient_.insert(batch.id);
            return true;
          },
          stop_);
    }
    std::ranges::stable_sort(chain_, {}, &Batch::created);
    listed_ = chain_.size();
    for (const Batch& batch : chain_) listedIds_.insert(batch.id);
    if (ofClient_.empty()) takeSnapshots();
    tidyPredecessors(chain_);
  }

  /// Whether some of what is wanted now was never looked at for that mark.
  bool leavesOut(const store::SyncMark& mark) const {
    const std::optional<core::TimePoint>& since = request_.job.batches.since;
    return mark.since && (!since || *since < *mark.since);
  }

  /// An entry of the list.
  void take(const Batch& batch) {
    if (!batch.flaw.empty()) {
      if (!mayBeOfClient(batch)) return;
      plan_.flawed.push_back(batch);
      plan_.flawed.back().flaw = "its entry in Catalog is not valid: " + batch.flaw;
    } else if (batch.kind == model::BatchKind::consolidation) {
      absorbed_.insert(absorbed_.end(), batch.absorbed.begin(), batch.absorbed.end());
    } else if (batch.kind == model::BatchKind::ordinary && isRefused(batch.id)) {
      absorbed_.insert(absorbed_.end(), batch.predecessors.begin(), batch.predecessors.end());
    } else if (batch.kind == model::BatchKind::ordinary) {
      chain_.push_back(batch);
      listedIds_.insert(batch.id);
      const bool snapshot =
          core::toLower(batch.createdClient + batch.createdUser).find("profile_snapshot") != std::string::npos ||
          core::toLower(batch.createdUser).starts_with("acp_core_unifiedprofile_export@");
      plan_.snapshot = plan_.snapshot || snapshot;
    }
  }

  bool mayBeOfClient(const Batch& batch) const {
    const std::string& client = request_.job.batches.createdClient;
    return client.empty() || client.find_first_of("!*,") != client.npos || batch.createdClient.empty() ||
           batch.createdClient == client;
  }

  /// Profile's own exporter makes the batches of snapshots.
  void takeSnapshots() {
    const bool byDefault = request_.job.batches.createdClient == model::BatchSelection().createdClient;
    if (!chain_.empty() && (!byDefault || !plan_.snapshot)) return;
    const std::optional<platform::Dataset> dataset = client_.findDataset(place_.dataset, stop_);
    if (chain_.empty() && !dataset) throwNoDataset();
    plan_.snapshot = plan_.snapshot || (dataset && dataset->snapshot);
    if (byDefault && plan_.snapshot) ofClient_ = listedIds_;
  }

  /// Every predecessor by its id, and none that can't be a batch's.
  void tidyPredecessors(std::span<Batch> batches) {
    std::set<std::string> onRecord;
    std::multimap<std::string, Batch> privacy;
    for (Batch& batch : batches) {
      for (const std::string& id : batch.predecessorsByExternalId) {
        if (addRecorded(batch, id)) onRecord.insert(id);
        if (model::isPrivacyDeletion(batch.replayReason)) privacy.emplace(id, batch);
      }
    }
    for (const std::string& unknown : client_.resolvePredecessors(batches, place_.dataset, stop_)) {
      if (onRecord.contains(unknown)) continue;
      const auto [first, last] = privacy.equal_range(unknown);
      for (auto heir = first; heir != last; ++heir) noteUnknown(heir->second, unknown);
      plan_.notices.push_back("a batch with the external id '" + core::printable(unknown, 80) +
                              "' is replaced, but Catalog does not know which that is");
    }
    for (Batch& batch : batches) {
      std::erase_if(batch.predecessors, [&](const BatchId& id) {
        if (canBeFolder(id.value())) return false;
        plan_.notices.push_back("batch " + batch.id.value() + " says that it replaces '" +
                                core::printable(id.value(), 80) + "', which cannot be a batch: this is ignored");
        return true;
      });
    }
  }

  /// Catalog may list no more what was fetched from it.
  bool addRecorded(Batch& batch, const std::string& externalId) {
    if (records_ == nullptr) return false;
    bool any = false;
    for (Batch& known : records_->batchesByExternalId(place_, externalId)) {
      // A maker may give one id to all its batches: what came later is no predecessor.
      if (known.id == batch.id || known.created > batch.created) continue;
      any = true;
      if (std::ranges::find(batch.predecessors, known.id) == batch.predecessors.end()) {
        batch.predecessors.push_back(std::move(known.id));
      }
    }
    return any;
  }

  /// Unless it was told of before, and passed over on purpose.
  void noteUnknown(const Batch& heir, const std::string& externalId) {
    if (request_.replayed.value_or(ReplaceAction::remove) != ReplaceAction::remove || !mayLieHere()) return;
    const bool passed = plan_.mark && heir.created <= plan_.mark->created && records_->hasBatch(place_, heir.id);
    if (!passed) plan_.unknown.push_back({.heir = heir, .externalId = externalId});
  }

  /// Whether there is a batch here of which it is not known how its maker calls it.
  bool mayLieHere() {
    if (!strangers_) {
      std::vector<fs::path> folders = asideFolders(place_.output, place_.dataset);
      for (fs::path& folder : datasetFolders(place_.output, place_.dataset)) folders.push_back(std::move(folder));
      strangers_ = (records_ != nullptr && records_->lacksExternalIds(place_)) ||
                   std::ranges::any_of(folders, [this](const fs::path& folder) { return holdsStrangers(folder); });
    }
    return *strangers_;
  }

  bool holdsStrangers(const fs::path& folder) const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = idIn(entry.path());
      if (!entry.is_directory(error) || !canBeFolder(name)) continue;
      // A second copy that was put aside: BATCH.2
      const BatchId ids[] = {BatchId(name), BatchId(name.substr(0, name.rfind('.')))};
      const auto isKnown = [&](const BatchId& id) {
        return records_ != nullptr && records_->knowsExternalId(place_, id);
      };
      if (std::ranges::none_of(ids, isKnown)) return true;
    }
    return false;
  }

  /// Data Access said of it earlier that it is a consolidation.
  bool isRefused(const BatchId& id) const {
    const auto row = rows_.find(id);
    return row != rows_.end() && row->second.by == id && row->second.action == ReplaceAction::skip;
  }

  /// What a consolidation holds and Catalog does not list any more was never superseded by anything that can be read.
  void addHidden() {
    std::vector<BatchId> unknown;
    for (const BatchId& id : absorbed_) {
      const bool known = isListed(id) || rows_.contains(id) || (records_ != nullptr && records_->hasBatch(place_, id));
      if (!known) unknown.push_back(id);
    }
    if (unknown.empty()) return;
    const auto leftOut = [&](const BatchId& part, const std::string& why, const Error* failure) {
      // What can't be looked up now may be there: no mark passes it.
      if (failure != nullptr) {
        if (failure->category() == Category::unavailable) plan_.outOfReach.insert(part);
        plan_.flawed.push_back({.id = part, .flaw = why});
        return;
      }
      plan_.notices.push_back("batch '" + core::printable(part.value(), 80) +
                              "', which a consolidation holds, cannot be read: " + why);
    };
    const std::vector<Batch> hidden = absorbedBatches(client_, place_.dataset, std::move(unknown), leftOut, stop_);
    for (const Batch& batch : hidden) {
      const bool wanted = !request_.job.batches.since || batch.created >= *request_.job.batches.since;
      if (wanted && listedIds_.insert(batch.id).second) chain_.push_back(batch);
    }
  }

  [[noreturn]] void throwNoDataset() const {
    throw Error(Category::notFound,
                "dataset '" + place_.dataset.value() + "' does not exist in sandbox '" + place_.sandbox + "'",
                {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
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
        std::optional<Batch> batch = lookUp(id, at);
        if (!batch) continue;
        tidyPredecessors(std::span(&*batch, 1));
        chain_.push_back(std::move(*batch));
      }
    }
  }

  /// A predecessor of the chain's batch number `at`. What fails spoils that batch alone: without the look nobody knows
  /// what else it replaces. An entry that is odd will stay so, and is passed over.
  std::optional<Batch> lookUp(const BatchId& id, std::size_t at) {
    try {
      return client_.findBatch(id, stop_);
    } catch (const Error& error) {
      if (!core::factsOf(error.category()).concernsOneBatch && error.category() != Category::unavailable) throw;
      const std::string what = "batch '" + core::printable(id.value(), 80) + "', which batch " + chain_[at].id.value() +
                               " replaces, could not be looked up: " + error.what();
      if (error.category() != Category::unavailable) {
        plan_.notices.push_back(what + "; what that one replaced is not known");
        return std::nullopt;
      }
      Batch spoilt = chain_[at];
      spoilt.flaw = what;
      plan_.outOfReach.insert(spoilt.id);
      plan_.flawed.push_back(std::move(spoilt));
      return std::nullopt;
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

  bool isOnDisk(const BatchId& batch) const { return canBeFolder(batch.value()) && !foldersOf(place_, batch).empty(); }

  ReplaceAction wantedAction(const model::Superseded& one) const {
    return request_.replayed.value_or(one.privacy ? ReplaceAction::remove : ReplaceAction::aside);
  }

  /// Whether something of the batch may lie at a target.
  bool isDelivered(const BatchId& batch) const {
    return deliveries_ != nullptr && std::ranges::any_of(deliveries_->deliveries(place_, batch), [](const auto& one) {
             return one.state != store::DeliveryState::removed;
           });
  }

  /// What is here and verified, but not where it is to be delivered.
  bool isToBeDelivered(const BatchId& batch) const {
    const std::string& target = request_.job.deliver;
    if (deliveries_ == nullptr || target.empty()) return false;
    const std::optional<store::Delivery> found = deliveries_->find(place_, batch, target);
    return !found || found->state != store::DeliveryState::whole;
  }

  bool liesAnywhere(const model::Superseded& one) const {
    if (isOnDisk(one.batch) || isDelivered(one.batch)) return true;
    if (wantedAction(one) != ReplaceAction::remove) return false;
    if (!asideCopies(place_, one.batch).empty()) return true;
    return one.privacy && records_ != nullptr && liesElsewhere(place_, one.batch, *records_);
  }

  void planReplacement(const model::Superseded& one) {
    const auto row = rows_.find(one.batch);
    const bool recorded = row != rows_.end() && row->second.done;
    model::Replacement replacement{
        .batch = one.batch, .by = one.by, .reason = one.reason, .action = wantedAction(one), .path = {}};
    // What replaces it does not come in this run.
    if (plan_.outOfReach.contains(one.by) && !one.privacy) return;
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
    if (plan_.outOfReach.contains(batch.id)) return;
    if (superseded_.contains(batch.id) && request_.replayed != ReplaceAction::keep) return;
    const auto row = rows_.find(batch.id);
    const bool putAway = row != rows_.end() && row->second.done && row->second.action != ReplaceAction::keep;
    const bool countsAgain = again_.contains(batch.id);
    if (putAway && !countsAgain) return;
    const bool fetched = records_ != nullptr && records_->hasBatch(place_, batch.id);
    const bool here = isOnDisk(batch.id);
    if (fetched && !countsAgain && !here) {
      const bool onPurpose = deliveries_ != nullptr && deliveries_->isDeletedHere(place_, batch.id);
      if (!onPurpose) plan_.movedAway.push_back(batch.id);
    } else if (!fetched || countsAgain || (here && isToBeDelivered(batch.id))) {
      // Whatever lies there: a manifest that no job of this database wrote shows nothing until the files are held
      // against it, which the batch's job does.
      const std::optional<core::TimePoint>& since = request_.job.batches.since;
      if (since && batch.created < *since) {
        plan_.leftOut.insert(batch.id);
      } else {
        plan_.missing.push_back(batch);
      }
    }
  }

  bool isWithdrawn(const BatchId& id) {
    std::optional<Batch> batch;
    try {
      batch = client_.findBatch(id, stop_);
    } catch (const Error& error) {
      if (!core::factsOf(error.category()).concernsOneBatch && error.category() != Category::unavailable) throw;
      // Until that is known, it stands for what it replaced.
      plan_.notices.push_back("batch '" + core::printable(id.value(), 80) +
                              "' could not be looked up: " + error.what());
      return false;
    }
    return !batch || platform::phaseOf(batch->status) != platform::BatchPhase::readable;
  }

  platform::Client& client_;
  store::SyncStore* records_;
  store::DeliveryStore* deliveries_;
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
  std::vector<BatchId> absorbed_;  ///< By consolidations.
  std::optional<bool> strangers_;  ///< See mayLieHere().
  SyncPlan plan_;
};

}  // namespace

store::SyncPlace placeOf(const model::ExportRequest& request) {
  return {.orgId = request.orgId,
          .sandbox = request.sandbox,
          .dataset = model::DatasetId(request.sourceId),
          .output = request.output};
}

SyncPlan planSync(platform::Client& client, const SyncRecords& records, const SyncRequest& request,
                  std::stop_token stop) {
  return Planner(client, records, request, std::move(stop)).make();
}

}  // namespace caiexport::engine
