#include "catalog_list.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "wire.h"

namespace caiexport::platform {
namespace {

// Steps that field notes tell of: 20 died, 5 took seconds, 1 always came.
constexpr std::array<std::size_t, 3> kSmaller{20, 5, 1};
constexpr std::size_t kMost = 100;
constexpr int kMostTimesBack = 20;
constexpr int kMostStale = 3;
// A first page of one that could not be used is followed by larger ones.
constexpr std::size_t kGrowth = 5;

}  // namespace

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
