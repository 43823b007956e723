#pragma once
/// Checks of single files, one after another.

#include <filesystem>
#include <stop_token>

#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "file_names.h"

namespace caiexport::reader {

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

}  // namespace caiexport::reader
