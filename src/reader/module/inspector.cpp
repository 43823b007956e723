#include "inspector.h"

#include <string>
#include <string_view>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

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

Footer readFooter(Duck& duck, const std::string& place, const Blame& blame) {
  const std::string name = sqlText(place);
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

std::uint64_t countRows(Duck& duck, const std::string& place, const Blame& blame, const std::stop_token& stop) {
  const InterruptOnStop interrupt(stop, duck);
  // All columns, not count(*): that would look at the footer alone.
  const Statement statement =
      duck.prepareSelect("SELECT * FROM read_parquet(" + sqlText(place) + ", hive_partitioning = false)", blame);
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

/// Shows a file for as long as it is checked.
class Showing {
 public:
  Showing(FileWindow& window, const std::filesystem::path& path) : window_(window) { window_.show(path); }
  ~Showing() {
    try {
      window_.clear();
    } catch (const Error&) {
      // The next file that is shown takes the place.
    }
  }
  Showing(const Showing&) = delete;
  Showing& operator=(const Showing&) = delete;

 private:
  FileWindow& window_;
};

}  // namespace

FileFacts Inspector::inspect(const std::filesystem::path& path, Depth depth, const std::stop_token& stop) {
  const std::filesystem::path real = readableFile(path);
  const std::uint64_t bytes = checkFrame(real);
  const Showing showing(window_, real);
  const Blame blame{.what = core::printable(path.string()) + " is not a readable Parquet file",
                    .place = window_.name(),
                    .file = real.filename().string()};
  const Footer footer = readFooter(duck_, window_.name(), blame);
  checkFooter(footer, bytes, path);
  const auto rows = static_cast<std::uint64_t>(footer.rows);
  if (depth == Depth::full) {
    const std::uint64_t counted = countRows(duck_, window_.name(), blame, stop);
    if (counted != rows) {
      throwMismatch(path, "its footer says " + std::to_string(rows) + " rows, it holds " + std::to_string(counted));
    }
  }
  return {.rows = rows, .rowGroups = static_cast<std::uint64_t>(footer.groups), .bytes = bytes};
}

}  // namespace caiexport::reader
