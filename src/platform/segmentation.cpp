/// Client: segments, segment jobs and export jobs. Source: "Segmentation Service API" and its guides.

#include <algorithm>
#include <unordered_set>

#include "caiexport/core/text.h"
#include "caller.h"
#include "client_implementation.h"
#include "links.h"
#include "wire.h"

namespace caiexport::platform {
namespace {

std::string segmentationUrl(const Caller& caller, const std::string& path) {
  return caller.url(kSegmentation + path);
}

/// A list whose pages bear numbers, on the path that is known: where its links lead is of no use. `listKeys`: names
/// that the entries go by.
template <class Entry>
struct NumberedList {
  std::string what;
  std::string path;
  std::string query;  ///< Without the number.
  std::size_t pageSize;
  std::string parameter;  ///< The number's name where no link tells.
  std::vector<std::string> listKeys;
  Entry (*read)(const Json& value);
};

/// The link to the next page: in `link` or `_links`, a text in one list and an object with an href in another. Missing
/// at the end.
Json nextLink(const Json& answer) {
  for (const char* key : {"_links", "link"}) {
    const Json next = answer.at(key).at("next");
    Json href = next.isObject() ? next.at("href") : next;
    if (href.isText() && !href.text().empty()) return href;
  }
  return answer.at("_links").at("next").at("href");
}

/// How many entries there are in all, where the answer tells.
std::optional<std::uint64_t> totalOf(const Json& answer) {
  for (const char* key : {"_page", "page"}) {
    if (const auto total = answer.at(key).at("totalCount").unsignedIfAny()) return total;
  }
  return std::nullopt;
}

/// Whether the page after the first is number 1 or 2 is not documented: a page that only repeats is passed over once.
class PageNumbers {
 public:
  explicit PageNumbers(std::size_t pageSize) : pageSize_(pageSize) {}

  /// The number of the page after one that no link leads on from; nothing at the end.
  std::optional<std::size_t> after(const Page& page, std::size_t seen, const Json& answer) {
    repeats_ = page.fresh == 0 ? repeats_ + 1 : 0;
    if (page.fresh > 0) ++pages_;
    const std::optional<std::uint64_t> total = totalOf(answer);
    const bool more = (total ? seen < *total : page.entries >= pageSize_) ||
                      pages_ < answer.at("page").at("totalPages").unsignedIfAny().value_or(0);
    if (page.entries == 0 || !more || repeats_ > 1) return std::nullopt;
    return ++number_;
  }
  /// A link told it.
  void goTo(std::uint64_t number) {
    number_ = number;
    ++pages_;
  }

 private:
  std::size_t pageSize_;
  std::size_t number_ = 0;
  std::size_t pages_ = 0;
  int repeats_ = 0;
};

template <class Entry>
std::string urlOf(const Caller& caller, const NumberedList<Entry>& list) {
  return segmentationUrl(caller, list.path + "?limit=" + std::to_string(list.pageSize) + list.query);
}

/// Where the next page is, by its link or by counting.
template <class Entry>
void findNext(const Caller& caller, const NumberedList<Entry>& list, const Json& answer, std::size_t seen,
              PageNumbers& numbers, Page& page) {
  const Json link = nextLink(answer);
  if (link.isText()) {
    for (const char* name : {"start", "page"}) {
      const auto number = core::parseUnsigned(linkParameter(caller.origin(), link, name).value_or(""));
      if (!number) continue;
      numbers.goTo(*number);
      page.next = urlOf(caller, list) + "&" + name + "=" + std::to_string(*number);
      return;
    }
  }
  if (const auto number = numbers.after(page, seen, answer)) {
    page.next = urlOf(caller, list) + "&" + list.parameter + "=" + std::to_string(*number);
    page.mayRepeat = true;
  }
}

/// Those of the page's entries that no earlier page had; false when `visit` has enough.
template <class Entry>
bool visitFresh(const Json& entries, Entry (*read)(const Json& value), std::unordered_set<std::string>& seen,
                const std::function<bool(const Entry&)>& visit, Page& page) {
  for (const Json& value : entries.elements()) {
    const Entry entry = read(value);
    ++page.entries;
    if (!seen.insert(entry.id.value()).second) continue;
    ++page.fresh;
    if (!visit(entry)) return false;
  }
  return true;
}

template <class Entry>
void forEachNumbered(Caller& caller, const NumberedList<Entry>& list, const std::function<bool(const Entry&)>& visit,
                     std::stop_token stop) {
  std::unordered_set<std::string> seen;
  PageNumbers numbers(list.pageSize);
  const auto read = [&](const Call& call, const net::HttpResponse& response) {
    const Json answer = Caller::parse(call, response);
    const auto key = std::ranges::find_if(list.listKeys, [&](const auto& name) { return answer.at(name).exists(); });
    Page page;
    const Json entries = answer.at(key == list.listKeys.end() ? list.listKeys.front() : *key);
    if (!visitFresh(entries, list.read, seen, visit, page)) return page;
    findNext(caller, list, answer, seen.size(), numbers, page);
    return page;
  };
  followPages(caller, {.what = list.what, .url = urlOf(caller, list), .traced = true}, read, stop);
}

/// A job that evaluates 1,600 segments is half a megabyte.
NumberedList<SegmentJob> segmentJobs(const std::string& query) {
  return {.what = "list the segment jobs",
          .path = "/segment/jobs",
          .query = query,
          .pageSize = 5,
          .parameter = "start",
          .listKeys = {"children"},
          .read = segmentJobFrom};
}

/// The address of the page after this one in the list of export jobs. Of its link only the cursor is of use.
std::optional<std::string> nextExportPage(const Caller& caller, const std::string& firstUrl, const Json& answer) {
  const Json link = nextLink(answer);
  if (!link.isText()) return std::nullopt;
  for (const char* name : {"offset", "start", "page"}) {
    if (const auto value = linkParameter(caller.origin(), link, name)) {
      return firstUrl + "&" + name + "=" + core::percentEncode(*value);
    }
  }
  link.fail("leads on, but names no page");
}

void refuseIncomplete(const NewExportJob& job) {
  // Without filter.segments the platform exports every profile.
  const bool nameless = std::ranges::any_of(job.segments, [](const auto& segment) { return segment.empty(); });
  if (job.dataset.empty() || job.segments.empty() || nameless) {
    throw core::Error(core::Category::internal, "an export job without segment or target dataset must not be sent");
  }
}

std::string exportJobUrl(const Caller& caller, const model::ExportJobId& job) {
  return segmentationUrl(caller, "/export/jobs/" + core::percentEncode(job.value()));
}

std::string segmentJobUrl(const Caller& caller, const model::SegmentJobId& job) {
  return segmentationUrl(caller, "/segment/jobs/" + core::percentEncode(job.value()));
}

/// 200, 202 and 204 all mean that the job will be cancelled; false after a 404.
bool deleteIfThere(Caller& caller, std::string what, std::string url, std::stop_token stop) {
  const Call call{
      .what = std::move(what), .method = "DELETE", .url = std::move(url), .traced = true, .mayBeMissing = true};
  return caller.send(call, std::move(stop)).status != 404;
}

}  // namespace

std::optional<SegmentDefinition> Client::findSegment(const model::SegmentId& segment, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const Call call{.what = "find segment " + segment.value(),
                  .url = segmentationUrl(caller, "/segment/definitions/" + core::percentEncode(segment.value())),
                  .traced = true};
  const auto answer = caller.findJson(call, stop);
  return answer ? std::optional(segmentFrom(*answer)) : std::nullopt;
}

void Client::forEachSegment(const std::function<bool(const SegmentDefinition&)>& visit, std::stop_token stop) {
  const NumberedList<SegmentDefinition> list{.what = "list the segments",
                                             .path = "/segment/definitions",
                                             .query = "&sort=updateTime:desc",
                                             .pageSize = 100,
                                             .parameter = "page",
                                             .listKeys = {"segments"},
                                             .read = segmentFrom};
  forEachNumbered(implementation_->caller, list, visit, std::move(stop));
}

std::optional<SegmentDefinition> Client::findAudience(const model::SegmentId& audience, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const Call call{.what = "find audience " + audience.value(),
                  .url = segmentationUrl(caller, "/audiences/" + core::percentEncode(audience.value())),
                  .traced = true};
  const auto answer = caller.findJson(call, stop);
  return answer ? std::optional(audienceFrom(*answer)) : std::nullopt;
}

void Client::forEachAudience(const std::function<bool(const SegmentDefinition&)>& visit, std::stop_token stop) {
  const NumberedList<SegmentDefinition> list{.what = "list the audiences",
                                             .path = "/audiences",
                                             .query = "",
                                             .pageSize = 100,
                                             .parameter = "start",
                                             .listKeys = {"audiences", "children", "segments"},
                                             .read = audienceFrom};
  forEachNumbered(implementation_->caller, list, visit, std::move(stop));
}

SegmentJob Client::startSegmentJob(std::span<const model::SegmentId> segments, std::stop_token stop) {
  const bool nameless = std::ranges::any_of(segments, [](const auto& segment) { return segment.empty(); });
  if (segments.empty() || nameless) {
    throw core::Error(core::Category::internal, "a segment job without segment must not be sent");
  }
  Caller& caller = implementation_->caller;
  const Call call{.what = "start a segment job for segment " + core::joined(segments, ", ", &model::SegmentId::value),
                  .method = "POST",
                  .url = segmentationUrl(caller, "/segment/jobs"),
                  .body = bodyOf(segments),
                  .traced = true};
  return caller.create(call, stop, segmentJobFrom);
}

std::optional<SegmentJob> Client::findSegmentJob(const model::SegmentJobId& job, std::stop_token stop) {
  const Call call{
      .what = "find segment job " + job.value(), .url = segmentJobUrl(implementation_->caller, job), .traced = true};
  const auto answer = implementation_->poll(call, stop);
  return answer ? std::optional(segmentJobFrom(*answer)) : std::nullopt;
}

void Client::forEachSegmentJob(const std::function<bool(const SegmentJob&)>& visit, std::stop_token stop) {
  forEachNumbered(implementation_->caller, segmentJobs("&sort=creationTime:desc"), visit, std::move(stop));
}

void Client::forEachEvaluation(const std::function<bool(const SegmentJob&)>& visit, std::stop_token stop) {
  forEachNumbered(implementation_->caller, segmentJobs("&status=SUCCEEDED&sort=updateTime:desc"), visit,
                  std::move(stop));
}

ExportJob Client::startExportJob(const NewExportJob& job, std::stop_token stop) {
  refuseIncomplete(job);
  Caller& caller = implementation_->caller;
  const Call call{.what = "start an export job for segment " +
                          core::joined(job.segments, ", ", &model::SegmentId::value) + " into dataset " +
                          job.dataset.value(),
                  .method = "POST",
                  .url = segmentationUrl(caller, "/export/jobs"),
                  .body = bodyOf(job),
                  .traced = true};
  return caller.create(call, stop, exportJobFrom);
}

std::optional<ExportJob> Client::findExportJob(const model::ExportJobId& job, std::stop_token stop) {
  const Call call{
      .what = "find export job " + job.value(), .url = exportJobUrl(implementation_->caller, job), .traced = true};
  const auto answer = implementation_->poll(call, stop);
  return answer ? std::optional(exportJobFrom(*answer)) : std::nullopt;
}

void Client::forEachExportJob(const std::function<bool(const ExportJob&)>& visit, std::stop_token stop) {
  Caller& caller = implementation_->caller;
  const std::string firstUrl = segmentationUrl(caller, "/export/jobs?limit=100");
  std::unordered_set<std::string> seen;
  const auto read = [&](const Call& call, const net::HttpResponse& response) {
    const Json answer = Caller::parse(call, response);
    Page page;
    if (!visitFresh(answer.at("records"), exportJobFrom, seen, visit, page)) return page;
    page.next = nextExportPage(caller, firstUrl, answer);
    return page;
  };
  followPages(caller, {.what = "list the export jobs", .url = firstUrl, .traced = true}, read, std::move(stop));
}

bool Client::cancelExportJob(const model::ExportJobId& job, std::stop_token stop) {
  return deleteIfThere(implementation_->caller, "cancel export job " + job.value(),
                       exportJobUrl(implementation_->caller, job), std::move(stop));
}

bool Client::cancelSegmentJob(const model::SegmentJobId& job, std::stop_token stop) {
  return deleteIfThere(implementation_->caller, "cancel segment job " + job.value(),
                       segmentJobUrl(implementation_->caller, job), std::move(stop));
}

}  // namespace caiexport::platform
