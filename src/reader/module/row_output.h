#pragma once
/// Rows of a statement into lines or a spreadsheet.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>

#include "caiexport/reader/parquet_reader.h"
#include "profile_set.h"

namespace caiexport::reader {

/// Writes the rows, at most `limit`, and returns how many. A stop is obeyed while an InterruptOnStop lives.
std::uint64_t writeLines(Duck& duck, const RowSource& source, const Blame& blame, RowFormat format, Output& output,
                         unsigned threads, std::optional<std::uint64_t> limit, const std::stop_token& stop);

SheetFacts writeSheetRows(Duck& duck, const RowSource& source, const Blame& blame, const std::filesystem::path& path,
                          std::uint64_t expectedRows, std::optional<std::uint64_t> limit, const std::stop_token& stop);

}  // namespace caiexport::reader
