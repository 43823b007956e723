/// Data Access: what files a batch has, and their bytes.
#include <algorithm>
#include <functional>
#include <map>

#include "caiexport/core/text.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

constexpr std::uint64_t kLargestPage = 100;

/// A listing before it is cut into pages. Nothing is copied of it: there may be a million files.
struct Listing {
  std::string path = {};    ///< Of the call, for links.
  std::string folder = {};  ///< Asked for by the parameter `path`.
  std::uint64_t total = 0;
  std::function<JsonObject(std::uint64_t index)> entry = {};
  // Where `start` is the name of an entry.
  std::function<std::string(std::uint64_t index)> nameOf = {};
  std::function<std::optional<std::uint64_t>(const std::string& name)> find = {};

  bool startIsName() const { return nameOf != nullptr; }
};

std::optional<std::uint64_t> placeIn(const std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<std::uint64_t>(found - names.begin());
}

std::string sizeText(const State& state, const ListedFile& file) {
  const std::int64_t delta = file.content->sizeBytes() > 0 ? state.scenario.listedLengthDelta : 0;
  return std::to_string(static_cast<std::int64_t>(file.content->sizeBytes()) + delta);
}

/// Adobe's pages show numbers as texts; an older guide shows numbers.
Json number(const State& state, const std::string& digits) {
  return state.scenario.lengthsAsNumbers ? Json(static_cast<std::int64_t>(std::stoll(digits))) : Json(digits);
}

JsonObject selfLink(const std::string& href) {
  return object({{"self", object({{"href", href}})}});
}

JsonObject shownId(State& state, const Call& call, const std::string& id, const Batch* batch) {
  const std::string href = linkOrigin(state, call) + "/data/foundation/export/files/" + core::percentEncode(id);
  JsonObject shown = object({{"dataSetFileId", id}, {"dataSetViewId", id + "v"}, {"version", "1.0.0"}});
  if (batch != nullptr) {
    const std::string created = std::to_string(toMilliseconds(batch->created));
    shown->set("created", number(state, created));
    shown->set("updated", number(state, created));
    shown->set("records", number(state, std::to_string(batch->data.records)));
  }
  shown->set("isValid", false);
  shown->set("_links", selfLink(href));
  return shown;
}

JsonObject shownFile(State& state, const Call& call, const std::string& directoryId, const ListedFile& file) {
  const std::string href = linkOrigin(state, call) + "/data/foundation/export/files/" +
                           core::percentEncode(directoryId) + "?path=" + core::percentEncode(file.name);
  return object({{"name", file.name}, {"length", number(state, sizeText(state, file))}, {"_links", selfLink(href)}});
}

std::uint64_t pageSize(const State& state, const Call& call) {
  const std::uint64_t most = std::min(kLargestPage, state.scenario.pageLimit);
  return std::min(numberIn(call, "limit", most, 1, INT64_MAX), most);
}

/// `start` is an index, or on the second level the name of an entry.
std::uint64_t startOf(const Call& call, const Listing& listing) {
  const auto start = call.query.get("start");
  if (!start) return 0;
  std::uint64_t index = 0;
  if (const auto named = listing.startIsName() ? listing.find(*start) : std::nullopt) {
    index = *named;
  } else if (const auto counted = core::parseUnsigned(*start)) {
    index = std::min<std::uint64_t>(*counted, listing.total);
  } else {
    throw Refused{problem(400, "EXEG-0001", "Bad Request", "start names no entry")};
  }
  const std::int64_t shifted = static_cast<std::int64_t>(index) + call.list.shiftStart;
  return std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(shifted, 0)), listing.total);
}

std::string pageLink(State& state, const Call& call, const Listing& listing, std::uint64_t index, std::uint64_t limit) {
  const std::string start = listing.startIsName() ? core::percentEncode(listing.nameOf(index)) : std::to_string(index);
  const std::string folder = listing.folder.empty() ? "" : "path=" + core::percentEncode(listing.folder) + "&";
  return linkOrigin(state, call) + listing.path + "?" + folder + "start=" + start + "&limit=" + std::to_string(limit);
}

/// The page that follows, by its index; nothing at the end. The faulty lists are made here.
std::optional<std::uint64_t> nextIndex(const Call& call, std::uint64_t start, std::uint64_t end, std::uint64_t total) {
  if ((call.list.loopNext || call.list.emptyWithNext) && total > 0) return std::min(start, total - 1);
  return end < total ? std::optional(end) : std::nullopt;
}

Response page(State& state, const Call& call, const Listing& listing) {
  const std::uint64_t limit = pageSize(state, call);
  const std::uint64_t start = startOf(call, listing);
  const std::uint64_t total = listing.total;
  const std::uint64_t end = std::min(start + limit, total);
  const std::uint64_t first = call.list.repeatPage ? 0 : start;
  JsonArray data = array();
  for (std::uint64_t at = first; at < first + (end - start) && !call.list.emptyWithNext; ++at) {
    data->add(listing.entry(at));
  }
  if (state.scenario.bareArrays) return jsonAnswer(200, data);
  const std::string& meaning = state.scenario.countMeaning;
  const bool countsPage = meaning == "page" || (meaning == "mixed" && listing.startIsName());
  JsonObject answer =
      object({{"data", data}, {"_page", object({{"limit", limit}, {"count", countsPage ? data->size() : total}})}});
  const auto next = nextIndex(call, start, end, total);
  if (next || call.query.has("start") || call.query.has("limit")) {
    JsonObject links = object();
    if (next) links->set("next", object({{"href", pageLink(state, call, listing, *next, limit)}}));
    if (start < total) {
      links->set("page", object({{"href", pageLink(state, call, listing, start, limit)}, {"templated", true}}));
    }
    answer->set("_links", links);
  }
  return jsonAnswer(200, answer);
}

bool isReadable(const Batch& batch) {
  return batch.hiddenLookUps == 0 && batch.earlyStatuses.empty() &&
         (batch.status == "success" || batch.status == "active");
}

/// What readable batches replace is not given any more, where the scenario says so.
bool isWithdrawn(const State& state, const Batch& batch) {
  return batch.status == "inactive" ||
         (state.scenario.supersededStatus == "inactive" && supersededIn(state).contains(batch.id));
}

Response keptOf(State& state, const Call& call, const Batch& batch);

Response batchFiles(State& state, const Call& call) {
  Batch* batch = state.findBatch(call.path[1], call.sandbox);
  if (batch == nullptr || batch->hiddenLookUps > 0 || isWithdrawn(state, *batch)) {
    return jsonAnswer(
        404, object({{"type", "DTAC-4045"}, {"title", "Batch not found"}, {"detail", "Batch not found in Catalog"}}));
  }
  if (batch->consolidation) {
    return jsonAnswer(400, object({{"type", "DTAC-4000"},
                                   {"detail",
                                    "The queried batch is a consolidation batch, which is not supported by "
                                    "Data Access API now."}}));
  }
  if (call.path[2] != "files") return keptOf(state, call, *batch);
  Listing listing{.path = call.rawPath};
  if (isReadable(*batch)) {
    makeFiles(state, *batch);
    listing.total = batch->datasetFileIds.size();
    listing.entry = [&](std::uint64_t index) { return shownId(state, call, batch->datasetFileIds[index], batch); };
  }
  return page(state, call, listing);
}

/// Whether the directory belongs to a batch of the caller's sandbox that is still there.
const Directory* findDirectory(State& state, const Call& call) {
  const auto found = state.directories.find(call.path[1]);
  if (found == state.directories.end()) return nullptr;
  const std::string batchId = call.path[1].substr(0, call.path[1].find('-'));
  const bool there = state.findBatch(batchId, call.sandbox) != nullptr;
  return there ? &found->second : nullptr;
}

Response wholeFile(const ListedFile& file) {
  return {.status = 200,
          .headers = {{"Content-Type", "application/octet-stream"}, {"Accept-Ranges", "bytes"}},
          .content = file.content,
          .lengthBytes = file.content->sizeBytes()};
}

/// What a file holds after it was rewritten in place.
ListedFile rewritten(const ListedFile& file, std::uint64_t version) {
  ListedFile other = file;
  if (version > 0) {
    other.content = patternContent(std::hash<std::string>()(file.name) + version, file.content->sizeBytes());
  }
  return other;
}

/// Name and value of the header that names the version.
std::pair<std::string, std::string> validator(const Scenario& scenario) {
  if (scenario.fileValidators == "etag") return {"ETag", "\"version-" + std::to_string(scenario.fileVersion) + "\""};
  const std::string seconds = std::to_string(10 + scenario.fileVersion % 50);
  return {"Last-Modified", "Tue, 24 Nov 2026 10:00:" + seconds + " GMT"};
}

bool isOtherVersion(const Scenario& scenario, const Call& call) {
  const auto wanted = headerOf(call.request.headers, "If-Range");
  return wanted && *wanted != validator(scenario).second;
}

Response fileBytes(const Scenario& scenario, const Call& call, const ListedFile& listed) {
  const ListedFile file = rewritten(listed, scenario.fileVersion);
  const bool names = scenario.fileValidators != "none";
  const std::uint64_t total = file.content->sizeBytes();
  const bool whole = call.ignoreRange || (names && isOtherVersion(scenario, call));
  const auto asked = whole ? std::nullopt : headerOf(call.request.headers, "Range");
  const RangeAnswer range = readRange(call.request.method == "GET" ? asked : std::nullopt, total);
  Response response = wholeFile(file);
  if (range.kind == RangeKind::unsatisfiable) {
    response = problem(416, "EXEG-0416", "Range Not Satisfiable", "the range begins behind the end of the file");
    response.setHeader("Content-Range", contentRange(0, 0, total));
  } else if (range.kind == RangeKind::part) {
    response.status = 206;
    response.offsetBytes = range.range.offsetBytes;
    response.lengthBytes = range.range.lengthBytes;
    response.setHeader("Content-Type", "application/parquet");
    response.setHeader("Content-Range", contentRange(response.offsetBytes, response.lengthBytes, total));
  }
  if (names && range.kind != RangeKind::unsatisfiable) {
    const auto [name, value] = validator(scenario);
    response.setHeader(name, value);
  }
  return response;
}

constexpr std::uint64_t kRowsOfAFile = 2;

/// A file below `/failed` or `/meta`, by its path there.
struct KeptFile {
  std::string text = {};
  bool measured = true;  ///< Else it is listed with length 0, as a folder is.
};

std::map<std::string, KeptFile> keptFiles(const State& state, const Batch& batch, const std::string& root) {
  std::map<std::string, KeptFile> kept;
  const std::uint64_t count = batch.status == "failed" ? state.scenario.failedFiles : 0;
  for (std::uint64_t number = 0; number < count; ++number) {
    const std::string digit = std::to_string(number);
    const std::string row = "{\"_id\": \"" + batch.id + "-" + digit + "\", \"_errors\": [\"no score\"]}\n";
    if (root == "failed") {
      kept["part-0000" + digit + "-44c7b669-5e38-43fb-b56c-a0686dabb982-c000.json"] = {.text = row + row};
    } else {
      kept["row_errors/conversion_errors_" + digit + ".json"] = {.text = "[" + row + "]"};
      kept["input_files/input_" + digit + ".csv"] = {.text = "id,score\n" + digit + ",none\n"};
    }
  }
  if (count > 0) {
    root == "failed" ? kept["_SUCCESS"] = {}
                     : kept["row_errors_sample.json"] = {.text = "[{\"row\": 1}]", .measured = false};
  }
  return kept;
}

Response keptOf(State& state, const Call& call, const Batch& batch) {
  const std::map<std::string, KeptFile> kept = keptFiles(state, batch, call.path[2]);
  const std::string asked = call.query.get("path").value_or("");
  if (const auto file = kept.find(asked); file != kept.end()) {
    return fileBytes(state.scenario, call, {.name = asked, .content = memoryContent(file->second.text)});
  }
  const std::string above = asked.empty() ? "" : asked + "/";
  std::map<std::string, std::uint64_t> entries;
  for (const auto& [path, file] : kept) {
    if (!path.starts_with(above)) continue;
    const std::string rest = path.substr(above.size());
    const std::size_t slash = rest.find('/');
    const bool measured = slash == std::string::npos && file.measured;
    entries[rest.substr(0, slash)] = measured ? file.text.size() : 0;
  }
  if (entries.empty() && !asked.empty()) return problem(404, "EXEG-0105", "Not Found", "no such file in the directory");
  std::vector<std::string> names;
  names.reserve(entries.size());
  for (const auto& entry : entries) names.push_back(entry.first);
  Listing listing{.path = call.rawPath, .folder = asked, .total = names.size()};
  listing.entry = [&, above](std::uint64_t index) {
    const std::string& name = names[index];
    const std::string href = linkOrigin(state, call) + call.rawPath + "?path=" + core::percentEncode(above + name);
    return object(
        {{"name", name}, {"length", number(state, std::to_string(entries[name]))}, {"_links", selfLink(href)}});
  };
  return page(state, call, listing);
}

/// A folder of a partition: its one file, under its own name.
Response listFolder(State& state, const Call& call, const Directory& directory, std::size_t number) {
  const ListedFile& file = directory.files[number];
  const std::string path = directory.folders[number] + "/" + file.name;
  Listing listing{.path = call.rawPath, .total = 1};
  listing.entry = [&, path](std::uint64_t) {
    JsonObject shown = shownFile(state, call, call.path[1], {.name = path, .content = file.content});
    shown->set("name", file.name);
    return shown;
  };
  return page(state, call, listing);
}

Response namedFile(State& state, const Call& call, const Directory& directory, const std::string& name) {
  const auto folder = std::find(directory.folders.begin(), directory.folders.end(), name);
  if (folder != directory.folders.end()) {
    return listFolder(state, call, directory, static_cast<std::size_t>(folder - directory.folders.begin()));
  }
  const auto found = directory.byName.find(name);
  return found == directory.byName.end() ? problem(404, "EXEG-0105", "Not Found", "no such file in the directory")
                                         : fileBytes(state.scenario, call, directory.files[found->second]);
}

Response listDirectory(State& state, const Call& call, const Directory& directory) {
  Listing listing{.path = call.rawPath};
  if (!directory.folders.empty()) {
    listing.total = directory.folders.size();
    listing.nameOf = [&](std::uint64_t index) { return directory.folders[index]; };
    listing.find = [&](const std::string& name) { return placeIn(directory.folders, name); };
    listing.entry = [&](std::uint64_t index) {
      return shownFile(state, call, call.path[1], {.name = directory.folders[index], .content = memoryContent("")});
    };
    return page(state, call, listing);
  }
  const std::uint64_t children = directory.childIds.size();
  listing.total = children + directory.files.size();
  listing.nameOf = [&, children](std::uint64_t index) {
    return index < children ? directory.childIds[index] : directory.files[index - children].name;
  };
  listing.find = [&, children](const std::string& name) {
    const auto child = placeIn(directory.childIds, name);
    const auto file = directory.byName.find(name);
    if (child || file == directory.byName.end()) return child;
    return std::optional<std::uint64_t>(children + file->second);
  };
  listing.entry = [&, children](std::uint64_t index) {
    return index < children ? shownId(state, call, directory.childIds[index], nullptr)
                            : shownFile(state, call, call.path[1], directory.files[index - children]);
  };
  return page(state, call, listing);
}

Response files(State& state, const Call& call) {
  const Directory* directory = findDirectory(state, call);
  if (directory == nullptr) return problem(404, "EXEG-0103", "Not Found", "file " + call.path[1] + " not found");
  if (const auto name = call.query.get("path")) return namedFile(state, call, *directory, *name);
  if (call.request.method == "HEAD") return problem(400, "EXEG-0001", "Bad Request", "path is required");
  if (state.scenario.rawSingleFile && directory->files.size() == 1 && directory->childIds.empty()) {
    return fileBytes(state.scenario, call, directory->files.front());
  }
  return listDirectory(state, call, *directory);
}

}  // namespace

std::uint64_t rowsRefused(const Scenario& scenario) {
  return scenario.failedFiles * kRowsOfAFile;
}

Response dataAccess(State& state, Call& call) {
  const std::string resource = call.path.empty() ? "" : call.path[0];
  const bool isHead = call.request.method == "HEAD";
  if (resource == "files" && call.path.size() == 2) {
    call.route = std::string("/data/foundation/export/files/{id}") + (call.query.has("path") ? "?path" : "");
    return call.isGet() || isHead ? files(state, call) : methodNotAllowed();
  }
  const bool listing =
      call.path.size() == 3 && (call.path[2] == "files" || call.path[2] == "failed" || call.path[2] == "meta");
  if (resource == "batches" && listing) {
    call.route = "/data/foundation/export/batches/{id}/" + call.path[2];
    return call.isGet() ? batchFiles(state, call) : methodNotAllowed();
  }
  return notFound(call.rawPath);
}

}  // namespace caiexport::simulator
