#include "file_listing.h"

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caller.h"
#include "client_implementation.h"
#include "links.h"

namespace caiexport::platform {
namespace {

constexpr std::size_t kDeepest = 8;

/// "Data Access API guide": an object with `data`; "ETL integration guide": the bare array.
std::vector<Json> entriesOf(const Json& answer) {
  return answer.isArray() ? answer.elements() : answer.at("data").elements();
}

/// By two unlike functions (the other is FNV-1a): 128 bits, so that no two names of a list share them.
std::pair<std::uint64_t, std::uint64_t> hashesOf(const std::string& name) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char letter : name) {
    hash ^= static_cast<unsigned char>(letter);
    hash *= 1099511628211U;
  }
  return {std::hash<std::string>()(name), hash};
}

bool isMarker(const std::string& name, std::uint64_t lengthBytes) {
  return lengthBytes == 0 && (name.starts_with('_') || name.starts_with('.'));
}

}  // namespace

FileListing::FileListing(Caller& caller, model::BatchId batch, std::size_t together, const Deliver& deliver,
                         std::stop_token stop)
    : caller_(caller), batch_(std::move(batch)), together_(together), deliver_(deliver), stop_(std::move(stop)) {}

void FileListing::run() {
  Call call{
      .what = "list the files of batch " + batch_.value(),
      .url = caller_.url(std::string(kDataAccess) + "/batches/" + core::percentEncode(batch_.value()) + "/files")};
  std::vector<Directory> found;
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    return readBatchPage(page, response, found);
  };
  followPages(caller_, std::move(call), read, stop_);
  for (const Directory& directory : found) walk(directory);
  if (!waiting_.empty()) deliver_(std::exchange(waiting_, {}));
}

Page FileListing::readBatchPage(const Call& call, const net::HttpResponse& response, std::vector<Directory>& found) {
  const Json answer = Caller::parse(call, response);
  Page page;
  for (const Json& entry : entriesOf(answer)) {
    ++page.entries;
    if (addDirectory(call, entry, found)) ++page.fresh;
  }
  page.next = nextOf(call, answer);
  return page;
}

void FileListing::walk(const Directory& directory) {
  const Call call{.what = "list the files of batch " + batch_.value(), .url = directory.url};
  if (ancestors_.size() >= kDeepest) {
    throw core::Error(core::Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) +
                                                    ": directories are nested deeper than " + std::to_string(kDeepest) +
                                                    " levels");
  }
  ancestors_.push_back(directory.id.value());
  Hashes names;
  std::vector<Directory> found;
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    return readDirectoryPage(page, response, directory.id, names, found);
  };
  followPages(caller_, call, read, stop_);
  for (const Directory& below : found) walk(below);
  ancestors_.pop_back();
}

Page FileListing::readDirectoryPage(const Call& call, const net::HttpResponse& response, const model::DatasetFileId& id,
                                    Hashes& names, std::vector<Directory>& found) {
  if (response.body.starts_with("PAR1")) {
    addRawFile(call, response, id);
    return {.entries = 1, .fresh = 1};
  }
  const Json answer = Caller::parse(call, response);
  Page page;
  for (const Json& entry : entriesOf(answer)) {
    ++page.entries;
    const Json name = entry.at("name");
    if (!name.exists()) {
      page.fresh += addDirectory(call, entry, found) ? 1 : 0;
    } else if (names.insert(hashesOf(name.text())).second) {
      ++page.fresh;
      addFile(call, entry, id);
    }
  }
  page.next = nextOf(call, answer);
  // A full page that holds a marker is not worth waiting for the next one.
  if (page.next && waiting_.size() >= together_ / 2 + 1) deliver_(std::exchange(waiting_, {}));
  return page;
}

/// False if that id was there already.
bool FileListing::addDirectory(const Call& call, const Json& entry, std::vector<Directory>& found) {
  const Json field = entry.at("dataSetFileId");
  const model::DatasetFileId id(field.id());
  if (std::ranges::find(ancestors_, id.value()) != ancestors_.end()) field.fail("is a directory that holds itself");
  if (!seenIds_.insert(id.value()).second) return false;
  const Json href = entry.at("_links").at("self").at("href");
  found.push_back({.id = id,
                   .url = href.exists()
                              ? sameOriginLink(caller_.origin(), call.url, href)
                              : caller_.url(std::string(kDataAccess) + "/files/" + core::percentEncode(id.value()))});
  return true;
}

void FileListing::addFile(const Call& call, const Json& entry, const model::DatasetFileId& id) {
  model::RemoteFile file{.batchId = batch_, .datasetFileId = id, .lengthBytes = entry.at("length").unsignedNumber()};
  if (isMarker(entry.at("name").text(), file.lengthBytes)) return;
  file.name = checkedFileName(entry.at("name"));
  file.href = neededLink(call, entry.at("_links").at("self").at("href"), file);
  add(std::move(file));
}

/// Empty where the link says no more than the names of the file do.
std::string FileListing::neededLink(const Call& call, const Json& href, const model::RemoteFile& file) const {
  // As a rule it is what we would write ourselves: then there is nothing to take apart.
  if (!href.exists() || href.textIfAny() == caller_.url(fileTarget(file.datasetFileId, file.name))) return {};
  std::string url = sameOriginLink(caller_.origin(), call.url, href);
  if (isDerivable(url, caller_.origin(), file.datasetFileId, file.name)) return {};
  return url;
}

/// Small files are said to come themselves in place of a listing. They have no name then.
void FileListing::addRawFile(const Call& call, const net::HttpResponse& response, const model::DatasetFileId& id) {
  add({.batchId = batch_,
       .datasetFileId = id,
       .name = id.value() + ".parquet",
       .lengthBytes = response.body.size(),
       .href = call.url});
}

void FileListing::add(model::RemoteFile file) {
  waiting_.push_back(std::move(file));
  if (waiting_.size() >= together_) deliver_(std::exchange(waiting_, {}));
}

std::optional<std::string> FileListing::nextOf(const Call& call, const Json& answer) const {
  const Json href = answer.at("_links").at("next").at("href");
  if (!href.exists()) return std::nullopt;
  return sameOriginLink(caller_.origin(), call.url, href);
}

}  // namespace caiexport::platform
