/// The entry of the reader module, and the checks of single files.

#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "file_names.h"
#include "module_abi.h"
#include "profiles.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

[[noreturn]] void throwMismatch(const std::filesystem::path& path, const std::string& reason) {
  throw Error(Category::verification, core::printable(path.string()) + " is damaged: " + reason,
              {.hint = "fetch it again: remove the file and resume its job"});
}

/// What the footer tells: rows, row groups, rows of all groups together, the end of the last column chunk.
struct Footer {
  std::int64_t rows = 0;
  std::int64_t groups = 0;
  std::int64_t groupRows = 0;
  std::int64_t dataEnd = 0;
};

Footer readFooter(Duck& duck, const std::string& pattern, const Blame& blame) {
  const std::string name = sqlText(pattern);
  const auto file = duck.numbers(
      "SELECT CAST(num_rows AS BIGINT), CAST(num_row_groups AS BIGINT) FROM parquet_file_metadata(" + name + ")",
      blame);
  const auto data = duck.numbers(
      "SELECT CAST(coalesce(sum(rows), 0) AS BIGINT), CAST(coalesce(max(data_end), 0) AS BIGINT) FROM ("
      "SELECT any_value(row_group_num_rows) AS rows,"
      " max(coalesce(dictionary_page_offset, data_page_offset) + total_compressed_size) AS data_end"
      " FROM parquet_metadata(" +
          name + ") GROUP BY row_group_id)",
      blame);
  if (file.size() != 2 || data.size() != 2) return {};
  return {.rows = file[0], .groups = file[1], .groupRows = data[0], .dataEnd = data[1]};
}

std::uint64_t countRows(Duck& duck, const std::string& pattern, const Blame& blame, const std::stop_token& stop) {
  const InterruptOnStop interrupt(stop, duck);
  // All columns, not count(*): that would look at the footer alone.
  const Statement statement =
      duck.prepareSelect("SELECT * FROM read_parquet(" + sqlText(pattern) + ", hive_partitioning = false)", blame);
  Rows rows(duck, statement, blame, stop);
  std::uint64_t count = 0;
  while (const Chunk chunk = rows.next()) {
    if (stop.stop_requested()) throw core::Interrupted();
    count += duckdb_data_chunk_get_size(chunk.get());
  }
  return count;
}

void checkFooter(const Footer& footer, std::uint64_t fileBytes, const std::filesystem::path& path) {
  if (footer.rows < 0 || footer.groups < 0) throwMismatch(path, "its footer counts less than no rows");
  if (footer.rows != footer.groupRows) {
    throwMismatch(path, "its footer says " + std::to_string(footer.rows) + " rows, its row groups have " +
                            std::to_string(footer.groupRows));
  }
  if (footer.dataEnd < 0 || static_cast<std::uint64_t>(footer.dataEnd) > fileBytes) {
    throwMismatch(path, "its footer tells of data beyond its end");
  }
}

class DuckReader final : public ParquetReader {
 public:
  explicit DuckReader(ReaderSettings settings) : settings_(std::move(settings)) {}

  FileFacts inspect(const std::filesystem::path& path, Depth depth, std::stop_token stop) override {
    const FileName name(path);
    const std::uint64_t bytes = checkFrame(name.path());
    ReaderSettings settings = settings_;
    // With threads of its own, DuckDB 1.4.4 now and then corrupts its heap when a damaged file makes a statement fail
    // while they are being set going; one thread runs everything in ours.
    settings.threads = 1;
    Duck duck(settings, {.paths = name.allowed()});
    const Blame blame{.what = core::printable(path.string()) + " is not a readable Parquet file"};
    const Footer footer = readFooter(duck, name.pattern(), blame);
    checkFooter(footer, bytes, path);
    const auto rows = static_cast<std::uint64_t>(footer.rows);
    if (depth == Depth::full) {
      const std::uint64_t counted = countRows(duck, name.pattern(), blame, stop);
      if (counted != rows) {
        throwMismatch(path, "its footer says " + std::to_string(rows) + " rows, it holds " + std::to_string(counted));
      }
    }
    return {.rows = rows, .rowGroups = static_cast<std::uint64_t>(footer.groups), .bytes = bytes};
  }

  std::unique_ptr<Profiles> open(std::vector<InputFile> files) override {
    return std::make_unique<DuckProfiles>(settings_, std::move(files));
  }

 private:
  ReaderSettings settings_;
};

}  // namespace
}  // namespace caiexport::reader

extern "C" {

__attribute__((visibility("default"))) const char* caiexportReaderAbi() {
  return caiexport::reader::kModuleAbi;
}

__attribute__((visibility("default"))) caiexport::reader::ParquetReader* caiexportReaderOpen(
    const caiexport::reader::ReaderSettings& settings) {
  return std::make_unique<caiexport::reader::DuckReader>(settings).release();
}
}
