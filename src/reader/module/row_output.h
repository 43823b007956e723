#pragma once
/// Rows of a statement: worked on in parallel (one thread fetches chunks, several work on them), and into lines or a
/// spreadsheet.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "profile_set.h"
#include "values.h"

namespace caiexport::reader {

/// What one worker does with chunks. Each worker has an object of its own.
class ChunkWork {
 public:
  virtual ~ChunkWork() = default;
  /// The costly part; runs beside the others. Only the first `rows` rows count.
  virtual void prepare(duckdb_data_chunk chunk, std::uint64_t rows) = 0;
  /// Runs alone, in the order of the chunks. False ends the run quietly.
  virtual bool finish() { return true; }
};

/// Works on all rows, at most `limit`. Returns how many rows' work was finished. Errors of any thread are thrown here.
std::uint64_t processRows(Rows& rows, std::uint64_t limit, const std::vector<std::unique_ptr<ChunkWork>>& workers,
                          const std::stop_token& stop);

/// Writes the rows as lines, at most `limit`, and returns how many. A stop is obeyed while an InterruptOnStop lives.
std::uint64_t writeLines(Duck& duck, const RowSource& source, const Blame& blame, RowFormat format, Output& output,
                         unsigned threads, std::optional<std::uint64_t> limit, const std::stop_token& stop);

SheetFacts writeSheetRows(Duck& duck, const RowSource& source, const Blame& blame, const std::filesystem::path& path,
                          std::uint64_t expectedRows, std::optional<std::uint64_t> limit, const std::stop_token& stop);

}  // namespace caiexport::reader
