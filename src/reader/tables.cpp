#include "caiexport/reader/tables.h"

#include <Poco/Ascii.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string_view>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/json/document.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "PAR1";
// Both of them, and the length of the footer.
constexpr std::uint64_t kLeastBytes = 12;

bool endsInAnyCase(const std::string& name, std::string_view ending) {
  if (name.size() < ending.size()) return false;
  const std::string_view end = std::string_view(name).substr(name.size() - ending.size());
  return std::ranges::equal(end, ending, {}, Poco::Ascii::toLower);
}

bool endsLikeATable(const std::string& name) {
  constexpr std::array<std::string_view, 3> kEndings{".parquet", ".parq", ".pq"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return endsInAnyCase(name, ending); });
}

/// What Spark, Hadoop and Databricks put beside their parts. `_metadata` is Parquet too, but repeats the rows' footers.
bool isMarkerName(const std::string& name) {
  if (endsInAnyCase(name, ".crc")) return true;
  if (endsLikeATable(name)) return false;
  return name == "_SUCCESS" || name == "_metadata" || name == "_common_metadata" || name.starts_with("_started_") ||
         name.starts_with("_committed_");
}

/// Both ends of a file, as far as it has them.
struct Ends {
  bool known = false;
  bool empty = false;
  bool magic = false;  ///< At one end at least.
  bool whole = false;  ///< At both, and there is room for the footer that it claims to have.
};

Ends endsOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code failure;
  const std::uint64_t bytes = fs::file_size(path, failure);
  if (!file || failure) return {};
  Ends ends{.known = true, .empty = bytes == 0};
  if (bytes < kMagic.size()) return ends;
  const auto lettersAt = [&](std::uint64_t offset) {
    std::array<char, kMagic.size()> letters{};
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(letters.data(), letters.size());
    return file ? std::string(letters.data(), letters.size()) : std::string();
  };
  const bool begins = lettersAt(0) == kMagic;
  const bool closes = lettersAt(bytes - kMagic.size()) == kMagic;
  ends.magic = begins || closes;
  if (!begins || !closes || bytes < kLeastBytes) return ends;
  // In front of the last letters stands the length of the footer, least byte first.
  std::uint64_t footer = 0;
  const std::string length = lettersAt(bytes - 2 * kMagic.size());
  for (std::size_t at = 0; at < length.size(); ++at) {
    footer |= std::uint64_t{static_cast<unsigned char>(length[at])} << (8 * at);
  }
  ends.whole = footer <= bytes - kLeastBytes;
  return ends;
}

/// A text may begin with the letters of a table, but has an ending that says what it is.
bool isTable(const std::string& name, const Ends& ends) {
  return ends.whole || (ends.magic && name.find('.') == std::string::npos);
}

/// No folder has a name that begins so.
std::string placeOf(const fs::path& file, const std::string& place) {
  return place.empty() ? file.parent_path().string() : std::string(1, '\0') + place;
}

/// File names in a list of a marker.
std::set<std::string> namesIn(const json::Document& marker, std::string_view key) {
  std::set<std::string> names;
  const bool isObject = marker.kind(0) == json::Kind::object;
  const json::Document::Index list = isObject ? marker.member(0, key) : 0;
  if (list == 0 || marker.kind(list) != json::Kind::array) return names;
  for (const json::Document::Index element : marker.elements(list)) {
    if (marker.kind(element) == json::Kind::text) names.insert(fs::path(marker.text(element)).filename().string());
  }
  return names;
}

}  // namespace

bool isOfBooks(const std::string& folderName) {
  return folderName == "_temporary" || folderName == "_delta_log" || folderName == "_spark_metadata";
}

void TableFinder::note(const fs::path& file, const std::string& place) {
  const std::string own = file.filename().string();
  if (!own.starts_with(kMarkersBegin) || !isMarkerName(own)) return;
  Parts read;
  try {
    const json::Document::Parsed parsed = json::Document::parse(core::readFile(file));
    if (!parsed.document) return;  // most markers say nothing
    read.added = namesIn(*parsed.document, "added");
    read.added.merge(namesIn(*parsed.document, "filenames"));
    read.removed = namesIn(*parsed.document, "removed");
  } catch (const core::Error&) {
    return;
  }
  // One that names none of the files here is about other names than these were given.
  const fs::path folder = file.parent_path();
  const auto isHere = [&](const std::string& name) {
    std::error_code ignored;
    // A marker whose name another one bears lies a level below the parts.
    return fs::is_regular_file(folder / name, ignored) ||
           (!place.empty() && fs::is_regular_file(folder.parent_path() / name, ignored));
  };
  if (std::ranges::none_of(read.added, isHere) && std::ranges::none_of(read.removed, isHere)) return;
  Parts& parts = parts_[placeOf(file, place)];
  parts.added.merge(read.added);
  parts.removed.merge(read.removed);
}

bool TableFinder::isCommitted(const fs::path& file, const std::string& place) const {
  if (parts_.empty()) return true;
  const auto found = parts_.find(placeOf(file, place));
  if (found == parts_.end()) return true;
  const std::string name = file.filename().string();
  if (found->second.removed.contains(name)) return false;
  return found->second.added.empty() || found->second.added.contains(name);
}

Content TableFinder::contentOf(const fs::path& file, const std::string& place) const {
  const std::string name = file.filename().string();
  if (isMarkerName(name)) return Content::marker;
  const bool claims = endsLikeATable(name);
  const Ends ends = claims ? Ends{} : endsOf(file);
  if (ends.known && ends.empty) return Content::marker;
  if (!claims && !isTable(name, ends)) return Content::other;
  return isCommitted(file, place) ? Content::table : Content::uncommitted;
}

}  // namespace caiexport::reader
