#include "caiexport/engine/batch_choice.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Batch;
using model::DatasetId;
using model::ExportRequest;
using platform::BatchPhase;
using platform::Client;

using Tell = std::function<void(const std::string&)>;

constexpr std::uint32_t kPage = 100;
/// The newest one is often a consolidation: asking for a few costs less than asking twice.
constexpr std::uint32_t kFirstLook = 5;

/// Two servers' clocks, and the second that the `Date` of an answer cuts off.
constexpr std::chrono::minutes kServersApart{5};

platform::BatchQuery queryFor(const ExportRequest& request) {
  const model::BatchSelection& selection = request.batches;
  return {.dataset = DatasetId(request.sourceId),
          .createdClient = selection.createdClient,
          .since = selection.since,
          .until = selection.until,
          .enough = std::max(selection.limit.value_or(kPage), kFirstLook),
          .everyKind = true};
}

std::string describeFilters(const ExportRequest& request) {
  const model::BatchSelection& selection = request.batches;
  std::string text = "sandbox '" + request.sandbox + "', status success or active";
  text += selection.createdClient.empty() ? ", any client" : ", created by " + selection.createdClient;
  if (selection.since) text += ", created at or after " + core::formatTime(*selection.since);
  if (selection.until) text += ", created before " + core::formatTime(*selection.until);
  return text;
}

/// The newest batch that the filters leave out: the likely reason why there was none. Of one that failed, where the
/// reasons are.
std::string nearestMiss(Client& client, const ExportRequest& request, std::stop_token stop) {
  std::string text;
  client.forEachBatch(
      {.dataset = DatasetId(request.sourceId), .statuses = {}, .enough = 1},
      [&](const Batch& batch) {
        text = "its newest batch of any kind is " + batch.id.value() + ", status " + core::printable(batch.status, 40) +
               ", created " + core::formatTime(batch.created) + " by " + core::printable(batch.createdClient, 80) +
               "; ";
        if (platform::phaseOf(batch.status) == BatchPhase::failed) {
          text += "caiexport failed --id " + request.sourceId + " shows why it failed; ";
        }
        return false;
      },
      stop);
  return text;
}

[[noreturn]] void throwNoBatch(Client& client, const ExportRequest& request, std::stop_token stop) {
  if (!client.findDataset(DatasetId(request.sourceId), stop)) {
    throw UnknownId("dataset '" + request.sourceId + "' does not exist in sandbox '" + request.sandbox + "'",
                    {.hint = "copy the id from the dataset's page (\"Access scores\"), and check --sandbox"});
  }
  throw Error(Category::notFound,
              "dataset '" + request.sourceId + "' has no batch to download (" + describeFilters(request) + ")",
              {.hint = nearestMiss(client, request, stop) +
                       "scoring takes up to 24 hours after an instance is made; the scores may be in another sandbox "
                       "(--sandbox); another client may have made them (--created-client any)"});
}

void say(const Tell& tell, const std::string& text) {
  if (tell) tell(text);
}

/// A batch's own flaw, in a line.
std::string flawText(const Batch& batch) {
  return "batch '" + core::printable(batch.id.value(), 80) +
         "' is left out, because its entry in Catalog is not valid: " + batch.flaw;
}

/// Names the first few batches that are left out, and counts the rest: an answer made of nothing else may hold a
/// hundred thousand, and each line is also an event on record.
class LeftOut {
 public:
  explicit LeftOut(const Tell& tell) : tell_(tell) {}

  void add(const Batch& batch) {
    if (++count_ <= kNamed) say(tell_, flawText(batch));
  }

  void finish() const {
    if (count_ <= kNamed) return;
    say(tell_,
        std::to_string(count_ - kNamed) + " more batches are left out, because their entries in Catalog are not valid");
  }

 private:
  static constexpr std::size_t kNamed = 10;
  const Tell& tell_;
  std::size_t count_ = 0;
};

struct Found {
  std::vector<Batch> ordinary = {};
  std::vector<Batch> consolidations = {};
  std::optional<Batch> odd = {};  ///< The newest one whose entry can't be understood.
};

Found newestBatches(Client& client, const platform::BatchQuery& query, std::optional<std::uint32_t> limit,
                    const Tell& tell, std::stop_token stop) {
  Found found;
  LeftOut leftOut(tell);
  client.forEachBatch(
      query,
      [&](const Batch& batch) {
        if (!batch.flaw.empty()) {
          leftOut.add(batch);
          if (!found.odd) found.odd = batch;
        } else if (batch.kind == model::BatchKind::consolidation) {
          found.consolidations.push_back(batch);
        } else if (batch.kind == model::BatchKind::ordinary) {
          found.ordinary.push_back(batch);
        }
        return !limit || found.ordinary.size() < *limit;
      },
      stop);
  leftOut.finish();
  // As a rule it is; to sort takes half as much memory again, and there may be 100,000.
  if (!std::ranges::is_sorted(found.ordinary, std::ranges::greater(), &Batch::created)) {
    std::ranges::stable_sort(found.ordinary, std::ranges::greater(), &Batch::created);
  }
  // Nobody promises an order: of several, all that are as new as the oldest of them are looked at. Of one, the list is
  // taken at its word: that is the run of every day, and the platform's lists do begin with the newest.
  if (limit && *limit > 1 && found.ordinary.size() >= *limit) {
    platform::BatchQuery newer = query;
    newer.since = found.ordinary.back().created;
    newer.enough = kPage;
    found.ordinary = newestBatches(client, newer, std::nullopt, {}, std::move(stop)).ordinary;
    if (found.ordinary.size() > *limit) found.ordinary.resize(*limit);
  }
  return found;
}

constexpr std::string_view kTakenInstead =
    " is a consolidation batch, which Data Access cannot read: the batches that it holds are used instead";

/// For whom a failed look-up ends the run, but for an entry that is odd and stays so.
OnPartLeftOut tellingOf(const Tell& tell) {
  return [&tell](const model::BatchId& part, const std::string& why, const Error* failure) {
    if (failure != nullptr && failure->category() == Category::unavailable) throw *failure;
    say(tell, "batch '" + core::printable(part.value(), 80) + "', which a consolidation holds, is left out: " + why);
  };
}

[[noreturn]] void throwNothingInside(const Batch& consolidation) {
  throw Error(Category::notFound,
              "batch '" + consolidation.id.value() +
                  "' is a consolidation batch, which Data Access cannot read, and none of the batches that it holds "
                  "can be read either",
              {.hint = "choose another batch, or wait for the next one"});
}

/// Batches that a consolidation holds and that are not listed by themselves any more. Where only the newest are wanted,
/// a consolidation that holds one of those listed tells of nothing newer.
std::vector<Batch> hiddenInConsolidations(Client& client, const platform::BatchQuery& query, const Found& found,
                                          bool newestOnly, const Tell& tell, std::stop_token stop) {
  std::set<model::BatchId> listed;
  for (const Batch& batch : found.ordinary) listed.insert(batch.id);
  std::vector<model::BatchId> unlisted;
  for (const Batch& consolidation : found.consolidations) {
    const auto isListed = [&](const model::BatchId& id) { return listed.contains(id); };
    if (newestOnly && std::ranges::any_of(consolidation.absorbed, isListed)) continue;
    std::ranges::remove_copy_if(consolidation.absorbed, std::back_inserter(unlisted), isListed);
  }
  std::vector<Batch> hidden = absorbedBatches(client, query.dataset, std::move(unlisted), tellingOf(tell), stop);
  std::erase_if(hidden, [&](const Batch& batch) {
    return listed.contains(batch.id) || (query.since && batch.created < *query.since) ||
           (query.until && batch.created >= *query.until);
  });
  return hidden;
}

std::vector<Batch> unnamedBatches(Client& client, const ExportRequest& request, const Tell& tell,
                                  std::stop_token stop) {
  platform::BatchQuery query = queryFor(request);
  const std::optional<std::uint32_t> limit = request.batches.limit;
  Found found = newestBatches(client, query, limit, tell, stop);
  if (found.ordinary.empty() && found.consolidations.empty() &&
      query.createdClient == model::BatchSelection().createdClient) {
    // Profile's own exporter makes the batches of snapshots.
    const std::optional<platform::Dataset> dataset = client.findDataset(query.dataset, stop);
    if (dataset && dataset->snapshot) {
      query.createdClient.clear();
      found = newestBatches(client, query, limit, tell, stop);
    }
  }
  std::vector<Batch> hidden = hiddenInConsolidations(client, query, found, limit.has_value(), tell, stop);
  if (hidden.empty()) {
    if (found.ordinary.empty() && found.consolidations.empty() && found.odd)
      throw Error(Category::protocol, flawText(*found.odd));
    if (found.ordinary.empty() && !found.consolidations.empty()) throwNothingInside(found.consolidations.front());
    return std::move(found.ordinary);
  }
  say(tell, "batch " + found.consolidations.front().id.value() + std::string(kTakenInstead));
  found.ordinary.insert(found.ordinary.end(), hidden.begin(), hidden.end());
  std::ranges::stable_sort(found.ordinary, std::ranges::greater(), &Batch::created);
  if (limit && found.ordinary.size() > *limit) found.ordinary.resize(*limit);
  return std::move(found.ordinary);
}

void requireOfDataset(const Batch& batch, const DatasetId& dataset) {
  if (batch.datasets.empty() || std::ranges::find(batch.datasets, dataset) != batch.datasets.end()) return;
  throw Error(Category::notFound, "batch '" + batch.id.value() + "' belongs to dataset '" +
                                      batch.datasets.front().value() + "', not to '" + dataset.value() + "'");
}

std::vector<Batch> namedBatch(Client& client, const ExportRequest& request, const Tell& tell, std::stop_token stop) {
  const model::BatchId& id = request.batches.batch;
  const std::optional<Batch> batch = client.findBatch(id, stop);
  if (!batch) {
    throw UnknownId("batch '" + id.value() + "' does not exist in sandbox '" + request.sandbox + "'",
                    {.hint = "caiexport dataset --id " + request.sourceId + " --all --dry-run lists the batches"});
  }
  requireOfDataset(*batch, DatasetId(request.sourceId));
  if (batch->kind == model::BatchKind::tracking) {
    throw Error(Category::notFound,
                "batch '" + id.value() +
                    "' holds no rows of the dataset: Profile uses it to note what happened to another batch",
                {.hint = "choose another batch; without --batch the newest one is chosen"});
  }
  if (batch->kind == model::BatchKind::consolidation) {
    std::vector<Batch> parts =
        absorbedBatches(client, DatasetId(request.sourceId), batch->absorbed, tellingOf(tell), stop);
    if (parts.empty()) throwNothingInside(*batch);
    say(tell, "batch " + id.value() + std::string(kTakenInstead));
    return parts;
  }
  if (platform::phaseOf(batch->status) == BatchPhase::readable) return {*batch};
  if (platform::phaseOf(batch->status) == BatchPhase::withdrawn) {
    const auto became = whatBecameOf(client, DatasetId(request.sourceId), id, stop);
    throw Error(Category::notFound, "batch '" + id.value() + "'" + became.value_or(" can't be read"),
                {.hint = "choose another batch; without --batch the newest one is chosen"});
  }
  std::string hint = "choose another batch";
  if (platform::phaseOf(batch->status) == BatchPhase::moving)
    hint = "the platform is still working on it; try again later";
  if (platform::phaseOf(batch->status) == BatchPhase::failed) {
    hint += "; caiexport failed --id " + request.sourceId + " --batch " + id.value() + " shows why it failed";
  }
  throw Error(Category::notFound,
              "batch '" + id.value() + "' cannot be read: its status is " + core::printable(batch->status, 40),
              {.hint = std::move(hint)});
}

/// A batch names what it replaces directly. Where that is listed no more, what it replaced in turn is looked up and
/// named by the heir as well: both would otherwise be taken, and their customers counted twice.
void followUnlisted(Client& client, std::vector<Batch>& batches, const Tell& tell, std::stop_token stop) {
  constexpr std::size_t kMostLookUps = 100;
  std::set<model::BatchId> listed;
  for (const Batch& batch : batches) listed.insert(batch.id);
  std::map<model::BatchId, std::vector<model::BatchId>> lookedUp;
  const auto replacedBy = [&](const model::BatchId& id) -> const std::vector<model::BatchId>& {
    const auto [entry, isNew] = lookedUp.try_emplace(id);
    if (!isNew || lookedUp.size() > kMostLookUps || !model::isWellFormedId(id.value())) return entry->second;
    try {
      if (const std::optional<Batch> batch = client.findBatch(id, stop)) entry->second = batch->predecessors;
    } catch (const Error& error) {
      if (!core::factsOf(error.category()).concernsOneBatch) throw;
      say(tell, "batch '" + core::printable(id.value(), 80) +
                    "', which a newer one replaces, could not be looked up: " + error.what() +
                    "; what that one replaced is not known");
    }
    return entry->second;
  };
  for (Batch& heir : batches) {
    std::set<model::BatchId> known(heir.predecessors.begin(), heir.predecessors.end());
    for (std::size_t at = 0; at < heir.predecessors.size(); ++at) {
      const model::BatchId id = heir.predecessors[at];
      if (listed.contains(id)) continue;
      for (const model::BatchId& earlier : replacedBy(id)) {
        if (earlier != heir.id && known.insert(earlier).second) heir.predecessors.push_back(earlier);
      }
    }
  }
}

}  // namespace

std::vector<Batch> chooseBatches(Client& client, const ExportRequest& request, std::stop_token stop, const Tell& tell) {
  if (!request.batches.batch.empty()) return namedBatch(client, request, tell, stop);
  std::vector<Batch> batches = unnamedBatches(client, request, tell, stop);
  if (batches.empty()) throwNoBatch(client, request, stop);
  if (batches.size() > 1 && !request.batches.includeReplaced) followUnlisted(client, batches, tell, std::move(stop));
  return batches;
}

std::vector<Batch> absorbedBatches(Client& client, const DatasetId& dataset, std::vector<model::BatchId> absorbed,
                                   const OnPartLeftOut& leftOut, std::stop_token stop) {
  std::vector<Batch> batches;
  std::set<model::BatchId> seen;
  for (std::size_t at = 0; at < absorbed.size(); ++at) {
    const model::BatchId id = absorbed[at];
    if (!seen.insert(id).second) continue;
    if (!model::isWellFormedId(id.value())) {
      leftOut(id, "that can't be a batch", nullptr);
      continue;
    }
    std::optional<Batch> batch;
    try {
      batch = client.findBatch(id, stop);
    } catch (const Error& error) {
      if (!core::factsOf(error.category()).concernsOneBatch && error.category() != Category::unavailable) throw;
      leftOut(id, error.what(), &error);
      continue;
    }
    const BatchPhase phase = batch ? platform::phaseOf(batch->status) : BatchPhase::unknown;
    if (!batch) {
      leftOut(id, "Catalog does not have it any more", nullptr);
    } else if (!batch->datasets.empty() && std::ranges::find(batch->datasets, dataset) == batch->datasets.end()) {
      leftOut(id, "it belongs to dataset '" + core::printable(batch->datasets.front().value(), 80) + "'", nullptr);
    } else if (batch->kind == model::BatchKind::consolidation) {
      absorbed.insert(absorbed.end(), batch->absorbed.begin(), batch->absorbed.end());
    } else if (batch->kind == model::BatchKind::tracking) {
      leftOut(id, "it holds no rows of the dataset", nullptr);
    } else if (phase == BatchPhase::failed || phase == BatchPhase::moving) {
      leftOut(id, "its status is " + core::printable(batch->status, 40), nullptr);
    } else {
      batches.push_back(*batch);
    }
  }
  std::ranges::stable_sort(batches, std::ranges::greater(), &Batch::created);
  return batches;
}

bool isRefusedConsolidation(const Error& error) {
  return error.code().starts_with("DTAC-4000");
}

std::vector<Batch> partsOf(Client& client, const DatasetId& dataset, const model::BatchId& refused, const Tell& tell,
                           std::stop_token stop) {
  const std::optional<Batch> now = client.findBatch(refused, stop);
  if (!now) return {};
  // One that is not marked as what it is shows them as what it replaces.
  return absorbedBatches(client, dataset, now->absorbed.empty() ? now->predecessors : now->absorbed, tellingOf(tell),
                         std::move(stop));
}

std::vector<Batch> withParts(std::vector<Batch> batches, const model::BatchId& refused, const std::vector<Batch>& parts,
                             bool includeReplaced) {
  std::erase_if(batches, [&](const Batch& batch) { return batch.id == refused; });
  for (const Batch& part : parts) {
    if (std::ranges::find(batches, part.id, &Batch::id) == batches.end()) batches.push_back(part);
  }
  if (!includeReplaced) {
    const std::vector<model::BatchId> replaced = model::replacedAmong(batches);
    std::erase_if(batches, [&](const Batch& batch) { return std::ranges::find(replaced, batch.id) != replaced.end(); });
  }
  std::ranges::stable_sort(batches, std::ranges::greater(), &Batch::created);
  return batches;
}

std::string takenInstead(const model::BatchId& refused, const std::vector<Batch>& taken) {
  const std::string names = core::joined(taken, ", ", [](const Batch& batch) { return batch.id.value(); });
  return "batch " + refused.value() + std::string(kTakenInstead) + " (" + names + ")";
}

std::optional<std::string> whatBecameOf(Client& client, const DatasetId& dataset, const model::BatchId& id,
                                        std::stop_token stop) {
  const std::optional<Batch> now = client.findBatch(id, stop);
  if (!now) return " does not exist any more";
  if (platform::phaseOf(now->status) == BatchPhase::readable) return std::nullopt;
  const std::string status = " (its status is " + core::printable(now->status, 40) + ")";
  std::string heir;
  client.forEachBatch(
      {.dataset = dataset, .since = now->created},
      [&](const Batch& batch) {
        const bool replaces = std::ranges::find(batch.predecessors, id) != batch.predecessors.end();
        if (replaces) heir = batch.id.value();
        return !replaces;
      },
      stop);
  return heir.empty() ? " can't be read any more" + status : " was replaced by batch " + heir + status;
}

void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what,
                  std::optional<core::TimePoint> when, const platform::Client& client) {
  if (!maxAge) return;
  const auto refuse = [&](const std::string& message) {
    throw Error(
        Category::tooOld, message + " (--max-age)",
        {.hint =
             "check that the scoring or the evaluation is still scheduled; to accept the age, leave out --max-age"});
  };
  if (!when || *when == core::TimePoint()) refuse(std::string(what) + " at a time that is not known");
  if (!client.clockSkew()) refuse("the platform's answers carry no time, so no age can be calculated");
  const core::TimePoint now = client.serverNow();
  const std::string made = std::string(what) + " " + core::formatTime(*when);
  if (*when > now + kServersApart) {
    refuse(made + ", which is in the future (the platform's clock says " + core::formatTime(now) + ")");
  }
  if (*when >= now - *maxAge) return;
  refuse(made + ", " + core::formatDuration(now - *when) + " ago; expected at most " + core::formatDuration(*maxAge));
}

}  // namespace caiexport::engine
