/// Client: segments, segment jobs and export jobs. Source: "Segmentation Service API" and its guides.

#include <unordered_set>

#include "caiexport/core/text.h"
#include "client_implementation.h"
#include "links.h"
#include "paging.h"
#include "wire.h"

namespace caiexport::platform {
namespace {

std::string segmentationUrl(const Caller& caller, const std::string& path) {
  return caller.url(kSegmentation + path);
}

/// Lists whose pages name their successor: `listKey` holds the entries, `linkKey.next` the link.
template <class Entry>
struct LinkedList {
  std::string what;
  std::string url;
  const char* listKey;
  const char* linkKey;
  Entry (*read)(const Json& value);
};

/// The link is a text in one list and an object with an href in another; an empty one ends the list.
std::optional<std::string> nextOf(const Caller& caller, const std::string& url, const Json& links) {
  const Json next = links.at("next");
  const Json href = next.isObject() ? next.at("href") : next;
  if (href.textOrEmpty().empty()) return std::nullopt;
  return segmentationLink(caller.origin(), url, href);
}

template <class Entry>
void forEachLinked(Caller& caller, const LinkedList<Entry>& list, const std::function<bool(const Entry&)>& visit,
                   std::stop_token stop) {
  std::unordered_set<std::string> seen;
  const auto read = [&](const Call& call, const net::HttpResponse& response) {
    const Json answer = Caller::parse(call, response);
    Page page;
    for (const Json& value : answer.at(list.listKey).elements()) {
      const Entry entry = list.read(value);
      ++page.entries;
      if (!seen.insert(entry.id.value()).second) continue;
      ++page.fresh;
      if (!visit(entry)) return page;
    }
    page.next = nextOf(caller, call.url, answer.at(list.linkKey));
    return page;
  };
  followPages(caller, {.what = list.what, .url = list.url, .traced = true}, read, stop);
}

/// Whether the page after the first is number 1 or 2 is not documented: a page that only repeats is passed over once.
class PageNumbers {
 public:
  /// The number of the next page; nothing at the end. `totalPages` may be 0 for unknown.
  std::optional<std::size_t> after(std::size_t entries, std::size_t fresh, std::uint64_t totalPages) {
    repeats_ = fresh == 0 ? repeats_ + 1 : 0;
    if (fresh > 0) ++pages_;
    const bool more = entries >= kPageSize || pages_ < totalPages;
    if (entries == 0 || !more || repeats_ > 1) return std::nullopt;
    return ++number_;
  }
  static constexpr std::size_t kPageSize = 100;

 private:
  std::size_t number_ = 0;
  std::size_t pages_ = 0;
  int repeats_ = 0;
};

void refuseIncomplete(const NewExportJob& job) {
  // Without filter.segments the platform exports every profile.
  if (job.dataset.empty() || job.segment.empty()) {
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
  Caller& caller = implementation_->caller;
  const std::string firstUrl = segmentationUrl(
      caller, "/segment/definitions?limit=" + std::to_string(PageNumbers::kPageSize) + "&sort=updateTime:desc");
  Call call{.what = "list the segments", .url = firstUrl, .traced = true};
  std::unordered_set<std::string> seen;
  PageNumbers numbers;
  while (true) {
    std::size_t entries = 0;
    std::size_t fresh = 0;
    const Json answer = caller.getJson(call, stop);
    for (const Json& value : answer.at("segments").elements()) {
      const SegmentDefinition segment = segmentFrom(value);
      ++entries;
      if (!seen.insert(segment.id.value()).second) continue;
      ++fresh;
      if (!visit(segment)) return;
    }
    const auto next = numbers.after(entries, fresh, answer.at("page").at("totalPages").unsignedIfAny().value_or(0));
    if (!next) return;
    call.url = firstUrl + "&page=" + std::to_string(*next);
  }
}

SegmentJob Client::startSegmentJob(const model::SegmentId& segment, std::stop_token stop) {
  if (segment.empty()) throw core::Error(core::Category::internal, "a segment job without segment must not be sent");
  Caller& caller = implementation_->caller;
  const Call call{.what = "start a segment job for segment " + segment.value(),
                  .method = "POST",
                  .url = segmentationUrl(caller, "/segment/jobs"),
                  .body = bodyOf(segment),
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
  Caller& caller = implementation_->caller;
  const LinkedList<SegmentJob> list{.what = "list the segment jobs",
                                    .url = segmentationUrl(caller, "/segment/jobs?limit=100&sort=creationTime:desc"),
                                    .listKey = "children",
                                    .linkKey = "_links",
                                    .read = segmentJobFrom};
  forEachLinked(caller, list, visit, stop);
}

ExportJob Client::startExportJob(const NewExportJob& job, std::stop_token stop) {
  refuseIncomplete(job);
  Caller& caller = implementation_->caller;
  const Call call{
      .what = "start an export job for segment " + job.segment.value() + " into dataset " + job.dataset.value(),
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
  const LinkedList<ExportJob> list{.what = "list the export jobs",
                                   .url = segmentationUrl(caller, "/export/jobs?limit=100"),
                                   .listKey = "records",
                                   .linkKey = "link",
                                   .read = exportJobFrom};
  forEachLinked(caller, list, visit, stop);
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
