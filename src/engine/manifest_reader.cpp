#include "caiexport/engine/manifest.h"

#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using Poco::Dynamic::Var;

[[noreturn]] void throwBroken(const fs::path& file, const std::string& what) {
  throw Error(Category::verification, core::printable(file.string()) + " is broken: " + what);
}

std::optional<std::uint64_t> numberOf(const Var& value) {
  if (value.isEmpty() || !value.isInteger()) return std::nullopt;
  try {
    return value.convert<std::uint64_t>();
  } catch (const Poco::Exception&) {
    return std::nullopt;  // below zero
  }
}

std::string textOf(const Var& value) {
  return !value.isEmpty() && value.isString() ? value.extract<std::string>() : std::string();
}

bool staysInFolder(const fs::path& path) {
  return !path.empty() && path.is_relative() &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == ".." || part.empty(); });
}

ManifestFile fileFrom(const Poco::JSON::Object& entry, const fs::path& file) {
  const std::optional<std::uint64_t> bytes = numberOf(entry.get("bytes"));
  ManifestFile read{.path = textOf(entry.get("name")),
                    .bytes = bytes.value_or(0),
                    .sha256 = textOf(entry.get("sha256")),
                    .records = numberOf(entry.get("records"))};
  if (!bytes) throwBroken(file, "a file has no size");
  if (!staysInFolder(read.path))
    throwBroken(file, "'" + core::printable(read.path, 80) + "' is no name of a file in its folder");
  return read;
}

std::vector<model::BatchId> idsIn(const Poco::JSON::Array::Ptr& list) {
  std::vector<model::BatchId> ids;
  if (list.isNull()) return ids;
  for (const Var& id : *list) {
    if (model::isWellFormedId(textOf(id))) ids.emplace_back(textOf(id));
  }
  return ids;
}

Manifest parse(const std::string& text, const fs::path& file) {
  Poco::JSON::Parser parser;
  const auto document = parser.parse(text).extract<Poco::JSON::Object::Ptr>();
  Manifest manifest{.folder = file.parent_path(),
                    .job = static_cast<std::int64_t>(numberOf(document->get("job")).value_or(0)),
                    .datasetId = textOf(document->get("dataset_id")),
                    .batchId = textOf(document->get("batch_id")),
                    .created = core::parseTime(textOf(document->get("batch_created")), {}),
                    .replaces = idsIn(document->getArray("replaces")),
                    .records = numberOf(document->get("records")),
                    .files = {}};
  const Poco::JSON::Array::Ptr files = document->getArray("files");
  if (files.isNull()) throwBroken(file, "it has no list of files");
  for (std::size_t i = 0; i < files->size(); ++i) {
    const Poco::JSON::Object::Ptr entry = files->getObject(static_cast<unsigned>(i));
    if (entry.isNull()) throwBroken(file, "an entry of its list is no object");
    manifest.files.push_back(fileFrom(*entry, file));
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
  try {
    return parse(text, file);
  } catch (const Poco::Exception& exception) {
    throwBroken(file, core::printable(exception.displayText(), 200));
  }
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
    return parse(head.substr(0, list) + "\"files\": []}", folder / kManifestName);
  } catch (const Poco::Exception&) {
    return std::nullopt;
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
