/// Client: the walks through the folders of a batch at the Data Access service. Sources: "Data Access API guide" and
/// its OpenAPI file; "Retrieve failed batches using the Data Access API".

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "client_implementation.h"
#include "links.h"
#include "name_set.h"

namespace caiexport::platform {
namespace {

/// Levels of folders that are followed.
constexpr std::size_t kDeepestFolder = 8;

/// "Data Access API guide": an object with `data`; "ETL integration guide": the bare array.
std::vector<Json> listedEntries(const Json& answer) {
  return answer.isArray() ? answer.elements() : answer.at("data").elements();
}

/// What writers leave beside their files. By name: folders are listed with length 0 too, and those of partitions begin
/// with `_` (`_ACP_DATE=2026-04-01`).
bool isMarker(const std::string& name, std::uint64_t lengthBytes) {
  if (lengthBytes > 0) return false;
  return name == "_SUCCESS" || name == "_metadata" || name == "_common_metadata" || name == "_temporary" ||
         name.starts_with("_started_") || name.starts_with("_committed_") || name.starts_with('.') ||
         core::toLower(name).ends_with(".crc");
}

/// Where a list goes on; nothing at its end. Error(protocol) for another origin.
std::optional<std::string> nextPageOf(const Caller& caller, const Call& call, const Json& answer) {
  const Json href = answer.at("_links").at("next").at("href");
  if (!href.exists()) return std::nullopt;
  return sameOriginLink(caller.origin(), call.url, href);
}

[[noreturn]] void throwTooDeep(const Call& call) {
  throw core::Error(core::Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) +
                                                  ": directories are nested deeper than " +
                                                  std::to_string(kDeepestFolder) + " levels");
}

// --- the files of a batch

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

/// One walk. A directory's entries are files (they have a name) or further dataset file ids, to be asked in turn.
class FileListing {
 public:
  using Deliver = std::function<void(std::vector<model::RemoteFile>&&)>;

  FileListing(Caller& caller, model::BatchId batch, std::size_t together, const Deliver& deliver, std::stop_token stop);
  void run();

 private:
  struct Directory {
    model::DatasetFileId id;
    std::string url;
    model::DatasetFileId datasetFile = {};  ///< Whose folder it is.
    std::string path = {};  ///< Below its dataset file, ending in a slash; empty for the dataset file itself.
    /// The entry of length 0 that it was listed as: what it is if its link leads to no list.
    std::optional<model::RemoteFile> orFile = {};
  };

  Page readBatchPage(const Call& call, const net::HttpResponse& response, std::vector<Directory>& found);
  void walk(const Directory& directory);
  Page readDirectoryPage(const Call& call, const net::HttpResponse& response, const Directory& directory,
                         NameSet& names, std::vector<Directory>& found);
  bool addDirectory(const Call& call, const Json& entry, std::vector<Directory>& found);
  void addFile(const Call& call, const Json& entry, std::string name, const Directory& directory,
               std::vector<Directory>& found);
  void addFolder(model::RemoteFile entry, const Directory& parent, std::string url, std::vector<Directory>& found);
  bool isUsualLink(const Json& href, const std::string& name) const;
  std::string neededLink(const Call& call, const Json& href, const Directory& directory, const std::string& name) const;
  void addEmptyOrLiar(const Call& call, const net::HttpResponse& response, model::RemoteFile file);
  void addRawFile(const Call& call, const net::HttpResponse& response, const model::DatasetFileId& id);
  void add(model::RemoteFile file);

  Caller& caller_;
  model::BatchId batch_;
  const std::size_t together_;  ///< Files handed on at once.
  const Deliver& deliver_;
  std::stop_token stop_;
  std::unordered_set<std::string> seenIds_;
  std::vector<std::string> ancestors_;
  std::vector<model::RemoteFile> waiting_;
  std::string linkStart_;  ///< Of the links of a page's files as they are as a rule.
};

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
  const Call call{.what = "list the files of batch " + batch_.value(), .url = directory.url};
  if (ancestors_.size() >= kDeepestFolder) throwTooDeep(call);
  ancestors_.push_back(directory.id.value());
  NameSet names;
  std::vector<Directory> found;
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    return readDirectoryPage(page, response, directory, names, found);
  };
  followPages(caller_, call, read, stop_);
  for (const Directory& below : found) walk(below);
  ancestors_.pop_back();
}

Page FileListing::readDirectoryPage(const Call& call, const net::HttpResponse& response, const Directory& directory,
                                    NameSet& names, std::vector<Directory>& found) {
  if (directory.orFile && call.url == directory.url && !isListing(response)) {
    addEmptyOrLiar(call, response, *directory.orFile);
    return {.entries = 1, .fresh = 1};
  }
  if (response.body.starts_with("PAR1")) {
    addRawFile(call, response, directory.id);
    return {.entries = 1, .fresh = 1};
  }
  linkStart_ = caller_.url(fileTarget(directory.id, ""));
  const Json answer = Caller::parse(call, response);
  Page page;
  for (const Json& entry : listedEntries(answer)) {
    ++page.entries;
    const Json field = entry.at("name");
    if (!field.exists()) {
      page.fresh += addDirectory(call, entry, found) ? 1 : 0;
      continue;
    }
    std::string name = field.text();
    if (!names.insert(name)) continue;
    ++page.fresh;
    addFile(call, entry, std::move(name), directory, found);
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

void FileListing::addFile(const Call& call, const Json& entry, std::string name, const Directory& directory,
                          std::vector<Directory>& found) {
  const std::uint64_t length = entry.at("length").unsignedNumber();
  if (length > std::numeric_limits<std::int64_t>::max()) entry.at("length").fail("is more than a file can have");
  if (isMarker(name, length)) return;
  name = checkedFileName(entry.at("name"), std::move(name));
  const Json href = entry.at("_links").at("self").at("href");
  std::string link = directory.path.empty() || href.exists()
                         ? neededLink(call, href, directory, name)
                         : caller_.url(fileTarget(directory.datasetFile, directory.path + name));
  model::RemoteFile file{.batchId = batch_,
                         .datasetFileId = directory.id,
                         .name = std::move(name),
                         .lengthBytes = length,
                         .href = std::move(link)};
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

/// Whether it is what we would write ourselves: then there is nothing to take apart.
bool FileListing::isUsualLink(const Json& href, const std::string& name) const {
  const auto link = href.stringIfAny();
  return link && link->starts_with(linkStart_) && link->substr(linkStart_.size()) == core::percentEncode(name);
}

/// Empty where the link says no more than the names of the file do.
std::string FileListing::neededLink(const Call& call, const Json& href, const Directory& directory,
                                    const std::string& name) const {
  if (!href.exists() || isUsualLink(href, name)) return {};
  std::string url = sameOriginLink(caller_.origin(), call.url, href);
  if (isDerivable(url, caller_.origin(), directory.id, name)) return {};
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

// --- what is kept of a batch that went wrong

/// A file of errors is JSON too, and may well be an array: a list has names, or ids to follow.
bool isListOfFailures(const net::HttpResponse& response) {
  const std::optional<Json> answer = Json::tryParse(response.body);
  if (!answer || !(answer->isArray() || answer->at("data").isArray())) return false;
  const std::vector<Json> entries = listedEntries(*answer);
  if (entries.empty()) return !answer->isArray();
  return std::ranges::all_of(
      entries, [](const Json& entry) { return entry.at("name").isText() && entry.at("length").exists(); });
}

/// One walk. Unlike the files of a batch that can be read these lie in folders below the batch itself, and a length of
/// 0 may also be that of a file that nobody measured.
class FailureListing {
 public:
  FailureListing(Caller& caller, model::BatchId batch, std::stop_token stop);
  std::vector<FailureFile> run();

 private:
  struct Folder {
    std::string path;  ///< `failed` or `meta/FOLDER`.
    std::string url;
    std::optional<FailureFile> orFile = {};  ///< What it is if its link leads to no list.
  };

  void walk(const Folder& folder, std::size_t depth);
  Page readPage(const Call& call, const net::HttpResponse& response, const Folder& folder, std::vector<Folder>& found);
  bool take(const Call& call, const Json& entry, const Folder& folder, std::vector<Folder>& found);
  std::string urlOf(const std::string& path) const;

  Caller& caller_;
  model::BatchId batch_;
  std::stop_token stop_;
  std::unordered_set<std::string> seenPaths_;
  std::unordered_set<std::string> seenUrls_;  ///< Of folders.
  std::vector<FailureFile> files_;
};

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
  if (depth > kDeepestFolder) throwTooDeep(call);
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
  if (first && folder.orFile && (response.status == 404 || !isListOfFailures(response))) {
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

}  // namespace

void Client::listFiles(const model::BatchId& batch, const std::function<void(std::vector<model::RemoteFile>&&)>& page,
                       std::stop_token stop) {
  FileListing(implementation_->caller, batch, implementation_->listedTogether, page, std::move(stop)).run();
}

std::vector<FailureFile> Client::listFailureFiles(const model::BatchId& batch, std::stop_token stop) {
  return FailureListing(implementation_->caller, batch, std::move(stop)).run();
}

}  // namespace caiexport::platform
