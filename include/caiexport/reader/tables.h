#pragma once
/// What a file of a batch is. Decided here alone, for all that count, read and verify: by its content, not by its
/// ending, since the platform lists tables as `.parquet`, `.PARQUET`, `.parq` and without any ending.

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace caiexport::reader {

enum class Content {
  table,        ///< Rows: Parquet, or what calls itself so. If it can't be read, it is damaged.
  marker,       ///< No rows, by its name (`_SUCCESS`, `_committed_1`, `_metadata`, `x.crc`) or since it is empty.
  uncommitted,  ///< A part that was given up: the markers beside it name the other parts and not this one.
  other,        ///< Anything else: whether it has rows is not known.
};

/// How the names of markers begin that may list parts.
inline constexpr std::string_view kMarkersBegin = "_";

/// Whether a folder of that name holds no tables of a batch, Parquet though it may hold: parts of a job that has not
/// ended (`_temporary`), or the books of a table format (`_delta_log`).
bool isOfBooks(const std::string& folderName);

/// Tells the contents of files. Markers are to be noted first: some list the parts that were committed. They speak of
/// their own place alone: the platform's folder that a file was in, where it is known (folders of one batch are laid
/// into one), else the folder where it lies.
class TableFinder {
 public:
  /// Takes in what the file says if it is a marker that lists parts; all else is passed over, as is everything whose
  /// name does not begin as kMarkersBegin says.
  void note(const std::filesystem::path& file, const std::string& place = {});
  /// Of an existing file. What can't be read is told by its name alone.
  Content contentOf(const std::filesystem::path& file, const std::string& place = {}) const;

 private:
  struct Parts {
    std::set<std::string> added;
    std::set<std::string> removed;
  };
  bool isCommitted(const std::filesystem::path& file, const std::string& place) const;

  std::map<std::string, Parts> parts_;  ///< By the place.
};

}  // namespace caiexport::reader
