#include "failure_listing.h"

#include <algorithm>
#include <limits>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caller.h"
#include "client_implementation.h"
#include "file_listing.h"
#include "links.h"

namespace caiexport::platform {
namespace {

/// A file of errors is JSON too, and may well be an array: a list has names, or ids to follow.
bool isListing(const net::HttpResponse& response) {
  const std::optional<Json> answer = Json::tryParse(response.body);
  if (!answer || !(answer->isArray() || answer->at("data").isArray())) return false;
  const std::vector<Json> entries = listedEntries(*answer);
  if (entries.empty()) return !answer->isArray();
  return std::ranges::all_of(
      entries, [](const Json& entry) { return entry.at("name").isText() && entry.at("length").exists(); });
}

}  // namespace

FailureListing::FailureListing(Caller& caller, model::BatchId batch, std::stop_token stop)
    : caller_(caller), batch_(std::move(batch)), stop_(std::move(stop)) {}

std::vector<FailureFile> FailureListing::run() {
  for (const char* root : {"failed", "meta"}) walk({.path = root, .url = urlOf(root)}, 0);
  return std::move(files_);
}

/// `meta/FOLDER/NAME` is asked for as `meta?path=FOLDER/NAME`.
std::string FailureListing::urlOf(const std::string& path) const {
  const std::size_t slash = std::min(path.find('/'), path.size());
  std::string url = caller_.url(std::string(kDataAccess) + "/batches/" + core::percentEncode(batch_.value()) + "/" +
                                path.substr(0, slash));
  if (slash < path.size()) url += "?path=" + core::percentEncode(path.substr(slash + 1));
  return url;
}

void FailureListing::walk(const Folder& folder, std::size_t depth) {
  if (!seenUrls_.insert(folder.url).second) return;
  const Call call{
      .what = "list what is kept of batch " + batch_.value() + " under " + core::printable(folder.path, 200),
      .url = folder.url,
      .accept = "application/json, application/octet-stream",
      .mayBeMissing = true};
  if (depth > kDeepestFolder) {
    throw core::Error(core::Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) +
                                                    ": directories are nested deeper than " +
                                                    std::to_string(kDeepestFolder) + " levels");
  }
  std::vector<Folder> found;
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    return readPage(page, response, folder, found);
  };
  followPages(caller_, call, read, stop_);
  for (const Folder& below : found) walk(below, depth + 1);
}

Page FailureListing::readPage(const Call& call, const net::HttpResponse& response, const Folder& folder,
                              std::vector<Folder>& found) {
  const bool first = call.url == folder.url;
  if (first && folder.orFile && (response.status == 404 || !isListing(response))) {
    FailureFile file = *folder.orFile;
    if (response.status != 404) file.remote.lengthBytes = response.body.size();
    files_.push_back(std::move(file));
    return {.entries = 1, .fresh = 1};
  }
  // Of most batches one of the two is not there.
  if (first && response.status == 404) return {};
  const Json answer = Caller::parse(call, response);
  Page page;
  for (const Json& entry : listedEntries(answer)) {
    ++page.entries;
    page.fresh += take(call, entry, folder, found) ? 1 : 0;
  }
  page.next = nextPageOf(caller_, call, answer);
  return page;
}

/// False if that path was there already.
bool FailureListing::take(const Call& call, const Json& entry, const Folder& folder, std::vector<Folder>& found) {
  const std::uint64_t length = entry.at("length").exists() ? entry.at("length").unsignedNumber() : 0;
  if (length > std::numeric_limits<std::int64_t>::max()) entry.at("length").fail("is more than a file can have");
  const std::string listed = entry.at("name").text();
  if (isMarker(listed, length)) return seenPaths_.insert(folder.path + "/" + listed).second;
  const std::string name = checkedFileName(entry.at("name"));
  FailureFile file{.path = folder.path + "/" + name};
  if (!seenPaths_.insert(file.path).second) return false;
  const Json href = entry.at("_links").at("self").at("href");
  file.remote = {.batchId = batch_,
                 .datasetFileId = {},
                 .name = name,
                 .lengthBytes = length,
                 .href = href.exists() ? sameOriginLink(caller_.origin(), call.url, href) : urlOf(file.path)};
  if (length > 0) {
    files_.push_back(std::move(file));
  } else {
    found.push_back({.path = file.path, .url = file.remote.href, .orFile = file});
  }
  return true;
}

std::vector<FailureFile> Client::listFailureFiles(const model::BatchId& batch, std::stop_token stop) {
  return FailureListing(implementation_->caller, batch, std::move(stop)).run();
}

}  // namespace caiexport::platform
