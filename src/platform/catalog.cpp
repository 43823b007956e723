/// Client: batches and datasets of the Catalog service. Source: "Catalog Service API guide" and its OpenAPI file.

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "client_implementation.h"
#include "wire.h"

namespace caiexport::platform {
namespace {

std::string millisecondsOf(core::TimePoint time) {
  return std::to_string(time.time_since_epoch().count());
}

std::string urlFor(const Caller& caller, const BatchQuery& query, const std::string& moreProperties = "") {
  std::string url =
      caller.url(std::string(kCatalog) + "/batches?dataSet=" + core::percentEncode(query.dataset.value()));
  if (!query.createdClient.empty()) url += "&createdClient=" + core::percentEncode(query.createdClient);
  if (!query.statuses.empty()) url += "&status=" + core::joined(query.statuses, ",", core::percentEncode);
  if (!query.externalId.empty()) url += "&externalId=" + core::percentEncode(query.externalId);
  // Both bounds exclude.
  if (query.since) url += "&createdAfter=" + millisecondsOf(*query.since - core::Duration(1));
  if (query.until) url += "&createdBefore=" + millisecondsOf(*query.until);
  // Unfiltered answers can be huge.
  url +=
      "&properties=status,created,createdClient,createdUser,recordCount,metrics,replay,relatedObjects,tags,externalId";
  return url + moreProperties + "&orderBy=desc:created";
}

/// `*` stands for anything.
bool likeness(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() != '*')
    return !text.empty() && text.front() == pattern.front() && likeness(text.substr(1), pattern.substr(1));
  for (std::size_t skipped = 0; skipped <= text.size(); ++skipped) {
    if (likeness(text.substr(skipped), pattern.substr(1))) return true;
  }
  return false;
}

/// Catalog's grammar of values: `a,b` is any of them, `!a,b` none of them. An empty filter lets all pass.
bool passesFilter(const std::string& value, const std::string& filter) {
  if (filter.empty()) return true;
  const bool none = filter.starts_with('!');
  const std::vector<std::string> words = core::splitList(filter.substr(none ? 1 : 0));
  const bool any = std::ranges::any_of(words, [&](const std::string& word) { return likeness(value, word); });
  return any != none;
}

/// Once more what the query said: Catalog passes over filters that it does not know, without a word.
bool matches(const model::Batch& batch, const BatchQuery& query) {
  const bool ordinary = batch.kind == model::BatchKind::ordinary && batch.flaw.empty();
  if (!ordinary && !query.everyKind) return false;
  if (!batch.datasets.empty() && std::ranges::find(batch.datasets, query.dataset) == batch.datasets.end()) return false;
  // Of an entry with a flaw, what is not known can't leave it out.
  const bool dated = batch.flaw.empty() || batch.created != core::TimePoint();
  if (query.since && dated && batch.created < *query.since) return false;
  if (query.until && batch.created >= *query.until) return false;
  if (!batch.createdClient.empty() && !passesFilter(batch.createdClient, query.createdClient)) return false;
  const auto sameWord = [&](const std::string& status) { return core::toLower(status) == core::toLower(batch.status); };
  if (!batch.flaw.empty() && batch.status.empty()) return true;
  return query.statuses.empty() || std::ranges::any_of(query.statuses, sameWord);
}

std::string datasetUrl(const Caller& caller, const model::DatasetId& dataset) {
  return caller.url(std::string(kCatalog) + "/dataSets/" + core::percentEncode(dataset.value()));
}

/// Nothing for an entry whose id can't be one.
Dataset datasetListed(const CatalogPages::Entry& entry) {
  Dataset dataset = datasetFrom(entry.id, entry.value);
  if (!model::isWellFormedId(entry.id)) dataset.id = {};
  return dataset;
}

/// In a filter's value these mean something: any of, none of, anything, a comparison.
bool isPlainFilterValue(const std::string& name) {
  return name.find_first_of(",!*~<>=") == std::string::npos;
}

// --- reading lists

// Steps that field notes tell of: 20 died, 5 took seconds, 1 always came.
constexpr std::array<std::size_t, 3> kSmaller{20, 5, 1};
constexpr std::size_t kMost = 100;
constexpr int kMostTimesBack = 20;
constexpr int kMostStale = 3;
// A first page of one that could not be used is followed by larger ones.
constexpr std::size_t kGrowth = 5;

}  // namespace

std::optional<Json> Client::Implementation::batchEntry(const model::BatchId& batch, std::stop_token stop) {
  const Call call{.what = "find batch " + batch.value(),
                  .url = caller.url(std::string(kCatalog) + "/batches/" + core::percentEncode(batch.value()))};
  const auto answer = caller.findJson(call, std::move(stop));
  if (!answer) return std::nullopt;
  Json entry = onlyEntry(*answer, batch.value());
  return entry.exists() ? std::optional(std::move(entry)) : std::nullopt;
}

CatalogPages Client::Implementation::datasetPages(std::string what, const std::string& filter, std::stop_token stop) {
  return {
      caller,
      pageSize,
      std::move(what),
      caller.url(std::string(kCatalog) + "/dataSets?" + filter +
                 "properties=name,description,schemaRef,created,createdClient,createdUser,tags&orderBy=desc:created"),
      100,
      std::move(stop)};
}

BatchPhase phaseOf(const std::string& batchStatus) {
  struct Word {
    std::string_view status;
    BatchPhase phase;
  };
  static constexpr Word kWords[] = {
      {"success", BatchPhase::readable},   {"active", BatchPhase::readable},    {"queued", BatchPhase::moving},
      {"loading", BatchPhase::moving},     {"loaded", BatchPhase::moving},      {"staging", BatchPhase::moving},
      {"staged", BatchPhase::moving},      {"processing", BatchPhase::moving},  {"retrying", BatchPhase::moving},
      {"failed", BatchPhase::failed},      {"failure", BatchPhase::failed},     {"aborted", BatchPhase::failed},
      {"abandoned", BatchPhase::failed},   {"stalled", BatchPhase::failed},     {"deleted", BatchPhase::failed},
      {"inactive", BatchPhase::withdrawn}, {"archived", BatchPhase::withdrawn}, {"retained", BatchPhase::withdrawn},
  };
  const std::string status = core::toLower(batchStatus);
  for (const Word& word : kWords) {
    if (word.status == status) return word.phase;
  }
  return BatchPhase::unknown;
}

void Client::forEachBatch(const BatchQuery& query, const std::function<bool(const model::Batch&)>& visit,
                          std::stop_token stop) {
  Caller& caller = implementation_->caller;
  forEachEntry<model::Batch>(
      CatalogPages(caller, implementation_->pageSize, "list the batches of dataset " + query.dataset.value(),
                   urlFor(caller, query), query.enough, std::move(stop)),
      [](const CatalogPages::Entry& entry) { return batchListed(entry.key, entry.value); },
      [&](const model::Batch& batch) { return !matches(batch, query) || visit(batch); });
}

std::optional<model::Batch> Client::findBatch(const model::BatchId& batch, std::stop_token stop) {
  const auto entry = implementation_->batchEntry(batch, std::move(stop));
  return entry ? std::optional(batchFrom(batch.value(), *entry)) : std::nullopt;
}

void Client::forEachFailedBatch(const model::DatasetId& dataset, std::optional<core::TimePoint> since,
                                const std::function<bool(const FailedBatch&)>& visit, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const BatchQuery query{.dataset = dataset,
                         .since = since,
                         .statuses = {"failed", "failure", "aborted", "abandoned", "stalled"},
                         .everyKind = true};
  forEachEntry<FailedBatch>(
      CatalogPages(caller, implementation_->pageSize, "list the failed batches of dataset " + dataset.value(),
                   urlFor(caller, query, ",errors,failedRecordCount"), query.enough, std::move(stop)),
      [](const CatalogPages::Entry& entry) {
        return failedBatchFrom(batchListed(entry.key, entry.value), entry.value);
      },
      [&](const FailedBatch& batch) {
        return batch.kind != model::BatchKind::ordinary || !matches(batch, query) || visit(batch);
      });
}

std::optional<FailedBatch> Client::findFailedBatch(const model::BatchId& batch, std::stop_token stop) {
  const auto entry = implementation_->batchEntry(batch, std::move(stop));
  return entry ? std::optional(failedBatchFrom(batchFrom(batch.value(), *entry), *entry)) : std::nullopt;
}

std::vector<std::string> Client::resolvePredecessors(std::span<model::Batch> batches, const model::DatasetId& dataset,
                                                     std::stop_token stop) {
  struct Bearer {
    model::BatchId id = {};
    core::TimePoint created = {};
  };
  std::multimap<std::string, Bearer> byExternalId;
  bool all = false;
  for (const model::Batch& batch : batches) {
    if (!batch.externalId.empty()) byExternalId.emplace(batch.externalId, Bearer{batch.id, batch.created});
  }
  const auto lookUp = [&](const std::string& externalId) {
    BatchQuery query{.dataset = dataset, .statuses = {}};
    if (isPlainFilterValue(externalId)) query.externalId = externalId;
    bool filtered = !query.externalId.empty();
    forEachBatch(
        query,
        [&](const model::Batch& batch) {
          if (batch.externalId != externalId) filtered = false;
          if (!batch.externalId.empty()) byExternalId.emplace(batch.externalId, Bearer{batch.id, batch.created});
          return true;
        },
        stop);
    // A server that does not know the filter has listed every batch.
    all = !filtered;
  };
  std::set<std::string> unknown;
  for (model::Batch& batch : batches) {
    for (const std::string& externalId : batch.predecessorsByExternalId) {
      if (!byExternalId.contains(externalId) && !all && !unknown.contains(externalId)) lookUp(externalId);
      if (!byExternalId.contains(externalId)) unknown.insert(externalId);
      const auto [first, last] = byExternalId.equal_range(externalId);
      for (auto found = first; found != last; ++found) {
        const auto& [id, created] = found->second;
        // A maker may give one id to all its batches: what came later is no predecessor.
        if (id == batch.id || created > batch.created) continue;
        const bool known = std::ranges::find(batch.predecessors, id) != batch.predecessors.end();
        if (!known) batch.predecessors.push_back(id);
      }
    }
    batch.predecessorsByExternalId.clear();
  }
  return {unknown.begin(), unknown.end()};
}

model::DatasetId Client::createDataset(const NewDataset& dataset, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const Call call{.what = "create the dataset '" + core::printable(dataset.name, 200) + "'",
                  .method = "POST",
                  .url = caller.url(std::string(kCatalog) + "/dataSets"),
                  .body = bodyOf(dataset)};
  return caller.create(call, stop, newDatasetIdFrom);
}

std::optional<Dataset> Client::findDataset(const model::DatasetId& dataset, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const Call call{.what = "find dataset " + dataset.value(), .url = datasetUrl(caller, dataset)};
  const auto answer = caller.findJson(call, stop);
  if (!answer) return std::nullopt;
  const Json entry = onlyEntry(*answer, dataset.value());
  return entry.exists() ? std::optional(datasetFrom(dataset.value(), entry)) : std::nullopt;
}

std::vector<Dataset> Client::findDatasetsByName(const std::string& name, std::stop_token stop) {
  const std::string filter = isPlainFilterValue(name) ? "name=" + core::percentEncode(name) + "&" : "";
  std::vector<Dataset> result;
  forEachEntry<Dataset>(implementation_->datasetPages("find datasets named '" + core::printable(name, 200) + "'",
                                                      filter, std::move(stop)),
                        datasetListed, [&](const Dataset& dataset) {
                          if (dataset.name == name) result.push_back(dataset);
                          return true;
                        });
  for (const Dataset& dataset : result) {
    if (!dataset.id.empty()) continue;
    throw core::Error(core::Category::protocol,
                      "a dataset named '" + core::printable(name, 200) + "' has an id that can't be one");
  }
  return result;
}

void Client::forEachDataset(const std::function<bool(const Dataset&)>& visit, std::stop_token stop) {
  forEachEntry<Dataset>(implementation_->datasetPages("list the datasets", "", std::move(stop)), datasetListed,
                        [&](const Dataset& dataset) { return dataset.id.empty() || visit(dataset); });
}

void Client::deleteDataset(const model::DatasetId& dataset, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  caller.send({.what = "delete dataset " + dataset.value(),
               .method = "DELETE",
               .url = datasetUrl(caller, dataset),
               .mayBeMissing = true},
              stop);
}

// --- reading lists

std::size_t PageSize::lower(std::size_t size) {
  const auto* const smaller = std::ranges::find_if(kSmaller, [&](std::size_t step) { return step < size; });
  const std::size_t wanted = smaller == kSmaller.end() ? 1 : *smaller;
  std::size_t most = most_;
  while (wanted < most && !most_.compare_exchange_weak(most, wanted)) {
  }
  return wanted;
}

std::optional<std::vector<CatalogPages::Entry>> CatalogPages::next() {
  for (;;) {
    // The last entry that is known is asked for once more: had the list moved meanwhile, it would not be there.
    const bool oneByOne = std::min(asked_, pageSize_.most()) == 1;
    const std::size_t overlap = position_ > 0 && !oneByOne ? 1 : 0;
    const std::size_t start = position_ - overlap;
    Page page = fetch(start);
    // One by one it takes a second question, and after the first: nothing can have slid by between the two.
    if (position_ > 0 && overlap == 0) {
      Page before = fetch(position_ - 1);
      page.sawKnown = before.sawKnown;
      std::ranges::move(before.fresh, std::back_inserter(page.fresh));
    }
    if (position_ > 0 && !page.sawKnown) {
      goBack();
      // What came is of this list all the same.
      if (!page.fresh.empty()) return std::move(page.fresh);
      continue;
    }
    // The page got smaller on the way, and holds nothing but what is known.
    if (overlap > 0 && lastLimit_ == 1) continue;
    if (page.entries <= overlap && (overlap == 0 || !readOn(page))) return std::nullopt;
    position_ = start + page.entries;
    asked_ = std::min(asked_ * kGrowth, kMost);
    stale_ = page.fresh.empty() && position_ > furthest_ ? stale_ + 1 : 0;
    furthest_ = std::max(furthest_, position_);
    // A server that ignores `start` repeats itself for ever.
    if (stale_ >= kMostStale) {
      requireNoMore();
      return std::nullopt;
    }
    if (!page.fresh.empty()) return std::move(page.fresh);
  }
}

/// Behind a page that held nothing but what is known: a server that hands out a single entry, whatever it is asked for,
/// never gets further than that. False at the end of the list.
bool CatalogPages::readOn(Page& page) {
  if (largestPage_ > 1) return false;
  Page after = fetch(position_);
  page.entries += after.entries;
  page.fresh = std::move(after.fresh);
  return after.entries > 0;
}

/// Something left the list, and what followed slid over the border between two pages: it is looked for further up.
void CatalogPages::goBack() {
  if (++timesBack_ > kMostTimesBack) {
    throw core::Error(core::Category::unavailable,
                      "cannot " + what_ + ": GET " + url_ + ": the list changes faster than it can be read",
                      {.hint = "try again later"});
  }
  stepBack_ = std::max<std::size_t>(2 * stepBack_, std::max<std::size_t>(lastLimit_, 5));
  position_ = position_ > stepBack_ ? position_ - stepBack_ : 0;
}

/// What a server that ignores `start` has beyond its first page can't be had; a list that lacks it must not pass for
/// the whole.
void CatalogPages::requireNoMore() {
  // Both bounds exclude.
  std::vector<std::string> beyond;
  if (oldest_) beyond.push_back("&createdBefore=" + std::to_string(*oldest_ + 1));
  if (newest_ && *newest_ > 0) beyond.push_back("&createdAfter=" + std::to_string(*newest_ - 1));
  for (const std::string& filter : beyond) {
    if (fetch(0, filter).fresh.empty()) continue;
    throw core::Error(core::Category::protocol,
                      "cannot " + what_ + ": GET " + url_ +
                          ": the platform sends the same page whatever `start` is, and has more than that page holds",
                      {.hint = "narrow what is asked for (--since, --until, --limit), or name one (--batch)"});
  }
}

CatalogPages::Page CatalogPages::fetch(std::size_t start, const std::string& filter) {
  for (;;) {
    lastLimit_ = std::min(asked_, pageSize_.most());
    const Call call{.what = what_,
                    .url = url_ + filter + "&limit=" + std::to_string(lastLimit_) + "&start=" + std::to_string(start),
                    .asksForLess = lastLimit_ > 1};
    try {
      Page page;
      forEachKeyed(caller_.getJson(call, stop_), [&](const Json& key, const Json& value) {
        ++page.entries;
        std::string id = key.textIfAny().value_or("");
        const bool isNew = seen_.insert(id).second;
        if (const auto created = value.at("created").unsignedIfAny()) {
          oldest_ = std::min(oldest_.value_or(*created), *created);
          newest_ = std::max(newest_.value_or(*created), *created);
        }
        if (!isNew) page.sawKnown = true;
        if (isNew) page.fresh.push_back({.id = std::move(id), .key = key, .value = value});
      });
      largestPage_ = std::max(largestPage_, page.entries);
      return page;
    } catch (const core::TransientError& failure) {
      if (!call.asksForLess || !failure.cause().tooSlow) throw;
      asked_ = pageSize_.lower(lastLimit_);
      caller_.log().write(core::LogLevel::info, "smaller_pages",
                          {{"what", what_}, {"limit", std::to_string(asked_)}, {"reason", failure.what()}});
    }
  }
}

}  // namespace caiexport::platform
