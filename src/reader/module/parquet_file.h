#pragma once
/// One Parquet file by itself: checked, and its columns renamed.

#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "file_union.h"

namespace caiexport::reader {

/// Parquet's frame: `PAR1` at both ends and a footer that fits between. DuckDB looks at the end only.
/// Error(verification) with the reason; returns the size of the file.
std::uint64_t checkFrame(const std::filesystem::path& path);

/// Checks single files, one after another.
class Inspector {
 public:
  explicit Inspector(const ReaderSettings& settings)
      : duck_(settings, {.paths = {window_.name()}, .filesChange = true}) {}

  /// As ParquetReader::inspect.
  FileFacts inspect(const std::filesystem::path& path, Depth depth, const std::stop_token& stop);

 private:
  FileWindow window_;
  Duck duck_;
};

/// Puts `rename(name)`, which must have the same length, in place of every column's name in the footer.
/// Error(io); Error(internal) for a footer that is none.
void renameColumns(const std::filesystem::path& file, const std::function<std::string(std::string)>& rename);

}  // namespace caiexport::reader
