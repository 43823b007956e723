#pragma once
/// Rows in parallel: one thread fetches chunks, several work on them.

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "duck.h"
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

}  // namespace caiexport::reader
