#include "caiexport/engine/manifest.h"

#include <algorithm>
#include <limits>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/json/document.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using json::Document;
using json::Kind;

[[noreturn]] void throwBroken(const fs::path& file, const std::string& what) {
  throw Error(Category::verification, core::printable(file.string()) + " is broken: " + what);
}

/// One object of the text.
class Entry {
 public:
  Entry(const Document& document, Document::Index at) : document_(document), at_(at) {}

  /// 0: there is none of that kind.
  Document::Index member(std::string_view name, Kind kind) const {
    const Document::Index found = document_.member(at_, name);
    return found != 0 && document_.kind(found) == kind ? found : 0;
  }
  std::string text(std::string_view name) const {
    const Document::Index found = member(name, Kind::text);
    return found != 0 ? std::string(document_.text(found)) : std::string();
  }
  /// Nothing for what is below zero, or no whole number, or does not fit.
  std::optional<std::uint64_t> number(std::string_view name) const {
    if (const Document::Index found = member(name, Kind::natural)) return document_.natural(found);
    const Document::Index found = member(name, Kind::integer);
    if (found == 0 || document_.integer(found) < 0) return std::nullopt;
    return static_cast<std::uint64_t>(document_.integer(found));
  }

 private:
  const Document& document_;
  Document::Index at_;
};

bool staysInFolder(const fs::path& path) {
  return !path.empty() && path.is_relative() &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == ".." || part.empty(); });
}

ManifestFile fileFrom(const Entry& entry, const fs::path& file) {
  const std::optional<std::uint64_t> bytes = entry.number("bytes");
  ManifestFile read{.path = entry.text("name"),
                    .bytes = bytes.value_or(0),
                    .sha256 = entry.text("sha256"),
                    .records = entry.number("records"),
                    .datasetFileId = entry.text("dataset_file_id")};
  if (!bytes) throwBroken(file, "a file has no size");
  if (!staysInFolder(read.path))
    throwBroken(file, "'" + core::printable(read.path, 80) + "' is not the name of a file in its folder");
  return read;
}

std::vector<model::BatchId> idsIn(const Document& document, Document::Index list) {
  std::vector<model::BatchId> ids;
  if (list == 0) return ids;
  for (const Document::Index id : document.elements(list)) {
    if (document.kind(id) != Kind::text) continue;
    std::string text(document.text(id));
    if (model::isWellFormedId(text)) ids.emplace_back(std::move(text));
  }
  return ids;
}

Manifest read(const Document& document, const fs::path& file) {
  const Entry top(document, 0);
  constexpr auto kMostJobs = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  Manifest manifest{.folder = file.parent_path(),
                    .job = static_cast<std::int64_t>(std::min(top.number("job").value_or(0), kMostJobs)),
                    .datasetId = top.text("dataset_id"),
                    .batchId = top.text("batch_id"),
                    .created = core::parseTime(top.text("batch_created"), {}),
                    .replaces = idsIn(document, top.member("replaces", Kind::array)),
                    .records = top.number("records"),
                    .files = {}};
  const Document::Index files = top.member("files", Kind::array);
  if (files == 0) throwBroken(file, "it has no list of files");
  for (const Document::Index entry : document.elements(files)) {
    if (document.kind(entry) != Kind::object) throwBroken(file, "an entry of its list is no object");
    manifest.files.push_back(fileFrom({document, entry}, file));
  }
  return manifest;
}

void collect(const fs::path& folder, int levels, std::vector<fs::path>& found) {
  std::error_code error;
  if (fs::is_regular_file(folder / kManifestName, error)) {
    found.push_back(folder);
    return;
  }
  if (levels == 0) return;
  fs::directory_iterator entries(folder, error);
  if (error) core::throwIoError("read the folder", folder, error.value());
  for (const fs::directory_entry& entry : entries) {
    const bool latest = entry.path().filename() == kLatestName && entry.is_symlink(error);
    if (entry.is_directory(error) && !latest && !isPassedOver(entry.path())) collect(entry.path(), levels - 1, found);
  }
}

}  // namespace

Manifest parseManifest(const std::string& text, const fs::path& file) {
  // A batch may have more files than an answer of the platform has values.
  const Document::Parsed parsed = Document::parse(text, {.levels = 16, .values = 20'000'000});
  switch (parsed.problem) {
    case Document::Problem::none:
      break;
    case Document::Problem::malformed:
      throwBroken(file, "it is not JSON, or it is cut");
    case Document::Problem::tooDeep:
    case Document::Problem::tooManyValues:
      throwBroken(file, "it is too large or too deep for a manifest");
  }
  if (parsed.document->kind(0) != Kind::object) throwBroken(file, "it is no object");
  return read(*parsed.document, file);
}

Manifest readManifest(const fs::path& folder) {
  // Of about a million files.
  constexpr std::uint64_t kMostBytes = 256U << 20U;
  const fs::path file = folder / kManifestName;
  const std::string text = core::readRegularFile(file, kMostBytes + 1);
  if (text.size() > kMostBytes) throwBroken(file, "it is larger than " + core::formatBytes(kMostBytes));
  return parseManifest(text, file);
}

std::optional<Manifest> manifestHead(const fs::path& folder) {
  // The writer puts the list of files last.
  constexpr std::string_view kList = "\"files\":";
  constexpr std::size_t kLongestHead = 1U << 16U;
  try {
    const std::string head = core::readRegularFile(folder / kManifestName, kLongestHead);
    const std::size_t list = head.find(kList);
    if (list == head.npos) return std::nullopt;
    return parseManifest(head.substr(0, list) + "\"files\": []}", folder / kManifestName);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<fs::path> foldersWithManifest(const fs::path& folder) {
  // OUTPUT/<dataset id>/<batch id>
  constexpr int kLevels = 2;
  std::vector<fs::path> found;
  collect(folder, kLevels, found);
  std::ranges::sort(found);
  return found;
}

bool isPassedOver(const fs::path& name) {
  const std::string last = name.filename().string();
  return last.empty() || last.front() == '.' || last.ends_with(".part");
}

}  // namespace caiexport::engine
