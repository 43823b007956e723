#include "file_listing.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caller.h"
#include "client_implementation.h"
#include "links.h"

namespace caiexport::platform {
namespace {

/// By two unlike functions (the other is FNV-1a): 128 bits, so that no two names of a list share them.
std::pair<std::uint64_t, std::uint64_t> hashesOf(const std::string& name) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char letter : name) {
    hash ^= static_cast<unsigned char>(letter);
    hash *= 1099511628211U;
  }
  return {std::hash<std::string>()(name), hash};
}

bool isListing(const net::HttpResponse& response) {
  if (response.status != 200 || response.body.starts_with("PAR1")) return false;
  const std::optional<Json> answer = Json::tryParse(response.body);
  return answer && (answer->isArray() || answer->at("data").isArray());
}

/// An id for a folder below a dataset file, so that equal names in two folders are two files.
model::DatasetFileId folderId(const model::DatasetFileId& above, const std::string& name) {
  std::string id = above.value() + "." + name;
  if (model::isWellFormedId(id)) return model::DatasetFileId(id);
  std::string plain = above.value().substr(0, 120) + ".";
  for (const char letter : name.substr(0, 40)) plain += std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
  return model::DatasetFileId(plain + "." + std::to_string(hashesOf(id).second));
}

}  // namespace

std::vector<Json> listedEntries(const Json& answer) {
  return answer.isArray() ? answer.elements() : answer.at("data").elements();
}

bool isMarker(const std::string& name, std::uint64_t lengthBytes) {
  if (lengthBytes > 0) return false;
  return name == "_SUCCESS" || name == "_metadata" || name == "_common_metadata" || name == "_temporary" ||
         name.starts_with("_started_") || name.starts_with("_committed_") || name.starts_with('.') ||
         core::toLower(name).ends_with(".crc");
}

std::optional<std::string> nextPageOf(const Caller& caller, const Call& call, const Json& answer) {
  const Json href = answer.at("_links").at("next").at("href");
  if (!href.exists()) return std::nullopt;
  return sameOriginLink(caller.origin(), call.url, href);
}

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
  for (const Json& entry : listedEntries(answer)) {
    ++page.entries;
    if (addDirectory(call, entry, found)) ++page.fresh;
  }
  page.next = nextPageOf(caller_, call, answer);
  return page;
}

void FileListing::walk(const Directory& directory) {
  const Call call{.what = "list the files of batch " + batch_.value(),
                  .url = directory.url,
                  .mayBeMissing = directory.orFile.has_value()};
  if (ancestors_.size() >= kDeepestFolder) {
    throw core::Error(core::Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) +
                                                    ": directories are nested deeper than " +
                                                    std::to_string(kDeepestFolder) + " levels");
  }
  ancestors_.push_back(directory.id.value());
  Hashes names;
  std::vector<Directory> found;
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    return readDirectoryPage(page, response, directory, names, found);
  };
  followPages(caller_, call, read, stop_);
  for (const Directory& below : found) walk(below);
  ancestors_.pop_back();
}

Page FileListing::readDirectoryPage(const Call& call, const net::HttpResponse& response, const Directory& directory,
                                    Hashes& names, std::vector<Directory>& found) {
  if (directory.orFile && call.url == directory.url && !isListing(response)) {
    addEmptyOrLiar(call, response, *directory.orFile);
    return {.entries = 1, .fresh = 1};
  }
  if (response.body.starts_with("PAR1")) {
    addRawFile(call, response, directory.id);
    return {.entries = 1, .fresh = 1};
  }
  const Json answer = Caller::parse(call, response);
  Page page;
  for (const Json& entry : listedEntries(answer)) {
    ++page.entries;
    const Json name = entry.at("name");
    if (!name.exists()) {
      page.fresh += addDirectory(call, entry, found) ? 1 : 0;
    } else if (names.insert(hashesOf(name.text())).second) {
      ++page.fresh;
      addFile(call, entry, directory, found);
    }
  }
  page.next = nextPageOf(caller_, call, answer);
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
                              : caller_.url(std::string(kDataAccess) + "/files/" + core::percentEncode(id.value())),
                   .datasetFile = id});
  return true;
}

void FileListing::addFile(const Call& call, const Json& entry, const Directory& directory,
                          std::vector<Directory>& found) {
  model::RemoteFile file{
      .batchId = batch_, .datasetFileId = directory.id, .lengthBytes = entry.at("length").unsignedNumber()};
  if (file.lengthBytes > std::numeric_limits<std::int64_t>::max())
    entry.at("length").fail("is more than a file can have");
  if (isMarker(entry.at("name").text(), file.lengthBytes)) return;
  file.name = checkedFileName(entry.at("name"));
  const Json href = entry.at("_links").at("self").at("href");
  if (directory.path.empty() || href.exists()) {
    file.href = neededLink(call, href, file);
  } else {
    file.href = caller_.url(fileTarget(directory.datasetFile, directory.path + file.name));
  }
  if (file.lengthBytes > 0) return add(std::move(file));
  std::string url = !file.href.empty() ? file.href : caller_.url(fileTarget(directory.datasetFile, file.name));
  addFolder(std::move(file), directory, std::move(url), found);
}

/// An entry of length 0 is a folder, or a damaged file: its link tells.
void FileListing::addFolder(model::RemoteFile entry, const Directory& parent, std::string url,
                            std::vector<Directory>& found) {
  if (!seenIds_.insert(url).second) return;
  const model::DatasetFileId id = folderId(parent.id, entry.name);
  const std::string path = parent.path + entry.name + "/";
  found.push_back(
      {.id = id, .url = std::move(url), .datasetFile = parent.datasetFile, .path = path, .orFile = std::move(entry)});
}

/// Empty where the link says no more than the names of the file do.
std::string FileListing::neededLink(const Call& call, const Json& href, const model::RemoteFile& file) const {
  // As a rule it is what we would write ourselves: then there is nothing to take apart.
  if (!href.exists() || href.textIfAny() == caller_.url(fileTarget(file.datasetFileId, file.name))) return {};
  std::string url = sameOriginLink(caller_.origin(), call.url, href);
  if (isDerivable(url, caller_.origin(), file.datasetFileId, file.name)) return {};
  return url;
}

/// An entry of length 0 that is no folder. A table that comes in its place is taken, at its true length.
void FileListing::addEmptyOrLiar(const Call& call, const net::HttpResponse& response, model::RemoteFile file) {
  const bool answered = response.status == 200 && !response.body.empty();
  if (answered && !response.body.starts_with("PAR1")) {
    throw core::Error(core::Category::verification,
                      "cannot " + call.what + ": '" + core::printable(file.name, 80) +
                          "' is listed with 0 bytes, but " + Caller::requestLine(call) + " was answered by " +
                          std::to_string(response.body.size()) + " bytes that are neither a list nor a table",
                      {.hint = "which of the two is right is not known; choose another batch (--batch)"});
  }
  if (answered) file.lengthBytes = response.body.size();
  add(std::move(file));
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

}  // namespace caiexport::platform
