#pragma once
/// The inside of Client, shared by the files that hold its functions, one file a service.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "caiexport/platform/client.h"
#include "caller.h"
#include "json.h"

namespace caiexport::platform {

inline constexpr const char* kCatalog = "/data/foundation/catalog";
inline constexpr const char* kDataAccess = "/data/foundation/export";
inline constexpr const char* kSegmentation = "/data/core/ups";

// --- Catalog's lists, read whole whatever the pages are like: they have neither a total nor a next link, may be cut
// shorter than asked, move while they are read, and die of being asked for too much.

/// The most entries that pages are asked for; goes down for good when the platform answers too slowly. Thread safe.
class PageSize {
 public:
  std::size_t most() const { return most_; }
  /// The next smaller size than `size`, from now on.
  std::size_t lower(std::size_t size);

 private:
  std::atomic<std::size_t> most_ = 100;  ///< What Catalog gives at most.
};

/// Pages of one list, as JSON.
class CatalogPages {
 public:
  struct Entry {
    std::string id;
    Json key;  ///< Where the id stands.
    Json value;
  };
  struct Page {
    std::size_t entries = 0;
    bool sawKnown = false;  ///< An entry that an earlier page had.
    std::vector<Entry> fresh = {};
  };

  /// `url` ends in a query to which `&limit=` and `&start=` are added. `first`: how many entries are asked for first.
  CatalogPages(Caller& caller, PageSize& size, std::string what, std::string url, std::size_t first,
               std::stop_token stop)
      : caller_(caller),
        pageSize_(size),
        what_(std::move(what)),
        url_(std::move(url)),
        asked_(first),
        stop_(std::move(stop)) {}

  /// What the next page has that no earlier one had; nothing at the end of the list.
  std::optional<std::vector<Entry>> next();

 private:
  Page fetch(std::size_t start, const std::string& filter = {});
  bool readOn(Page& page);
  void goBack();
  void requireNoMore();

  Caller& caller_;
  PageSize& pageSize_;
  const std::string what_;
  const std::string url_;
  std::size_t asked_;
  std::stop_token stop_;
  std::unordered_set<std::string> seen_;
  std::optional<std::uint64_t> oldest_ = {};  ///< `created` of those seen.
  std::optional<std::uint64_t> newest_ = {};
  std::size_t position_ = 0;  ///< Of the entry to be read next.
  std::size_t furthest_ = 0;
  std::size_t lastLimit_ = 0;
  std::size_t largestPage_ = 0;
  std::size_t stepBack_ = 0;
  int timesBack_ = 0;
  int stale_ = 0;  ///< Pages in a row that brought nothing new where something new was to come.
};

/// Each entry once; `visit` returns false to stop. Within a page entries are sorted by `created`, newest first: key
/// order carries the sort, but nobody promises that it survives.
template <class Entry>
void forEachEntry(CatalogPages pages, const std::function<Entry(const CatalogPages::Entry&)>& read,
                  const std::function<bool(const Entry&)>& visit) {
  while (const auto fresh = pages.next()) {
    std::vector<Entry> entries;
    for (const CatalogPages::Entry& one : *fresh) entries.push_back(read(one));
    std::ranges::stable_sort(entries, std::ranges::greater(), &Entry::created);
    for (const Entry& entry : entries) {
      if (!visit(entry)) return;
    }
  }
}

class Client::Implementation {
 public:
  Implementation(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
                 core::Random& random, core::Log& log)
      : listedTogether(settings.listedTogether),
        caller(std::move(settings), transport, tokens, clock, random, log),
        clock_(clock) {}

  /// An answer to a poll: keeps its Retry-After. Nothing after a 404.
  std::optional<Json> poll(Call call, std::stop_token stop);
  std::optional<core::Duration> lastRetryAfter() const;

  /// What Catalog has of a batch; nothing if it has none.
  std::optional<Json> batchEntry(const model::BatchId& batch, std::stop_token stop);
  CatalogPages datasetPages(std::string what, const std::string& filter, std::stop_token stop);

  const std::size_t listedTogether;
  Caller caller;
  PageSize pageSize;

 private:
  core::Clock& clock_;
  mutable std::mutex mutex_;
  std::optional<core::Duration> lastRetryAfter_;
};

}  // namespace caiexport::platform
