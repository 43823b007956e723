#include "row_output.h"

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "caiexport/core/error.h"
#include "row_pipeline.h"
#include "sheet_rows.h"
#include "values.h"

namespace caiexport::reader {
namespace {

std::span<const std::byte> bytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::unique_ptr<RowWriter> makeWriter(RowFormat format, const std::vector<Type>& columns) {
  switch (format) {
    case RowFormat::csv:
      return std::make_unique<CsvWriter>(columns, false);
    case RowFormat::csvExact:
      return std::make_unique<CsvWriter>(columns, true);
    case RowFormat::csvExcel:
      return std::make_unique<ExcelCsvWriter>(columns, ',');
    case RowFormat::csvExcelSemicolon:
      return std::make_unique<ExcelCsvWriter>(columns, ';');
    case RowFormat::csvExcelTab:
      return std::make_unique<ExcelCsvWriter>(columns, '\t');
    case RowFormat::jsonl:
      return std::make_unique<JsonLinesWriter>(columns);
  }
  throw core::Error(core::Category::internal, "an unknown format of rows");
}

/// Turns chunks into lines and writes them when it is their turn.
class LineWork final : public ChunkWork {
 public:
  LineWork(RowFormat format, const std::vector<Type>& columns, Output& output)
      : writer_(makeWriter(format, columns)), output_(output) {}

  void prepare(duckdb_data_chunk chunk, std::uint64_t rows) override {
    lines_.clear();
    writer_->bind(chunk);
    for (std::uint64_t row = 0; row < rows; ++row) writer_->append(lines_, row);
  }

  bool finish() override { return output_.write(bytesOf(lines_)); }

 private:
  std::unique_ptr<RowWriter> writer_;
  Output& output_;
  std::string lines_;
};

constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

}  // namespace

std::uint64_t writeLines(Duck& duck, const RowSource& source, const Blame& blame, RowFormat format, Output& output,
                         unsigned threads, std::optional<std::uint64_t> limit, const std::stop_token& stop) {
  const std::string header = makeWriter(format, source.columns)->header();
  // The first rows must be there before the header goes out: what fails at once shall leave no output.
  Rows rows(duck, source.statement, blame, stop);
  if (!header.empty() && !output.write(bytesOf(header))) return 0;
  std::vector<std::unique_ptr<ChunkWork>> workers;
  for (unsigned index = 0; index < threads; ++index) {
    workers.push_back(std::make_unique<LineWork>(format, source.columns, output));
  }
  return processRows(rows, limit.value_or(kAll), workers, stop);
}

SheetFacts writeSheetRows(Duck& duck, const RowSource& source, const Blame& blame, const std::filesystem::path& path,
                          std::uint64_t expectedRows, std::optional<std::uint64_t> limit, const std::stop_token& stop) {
  // Beyond this many cells the parts of the file may exceed 4 GiB.
  constexpr std::uint64_t kCellsOfALargeFile = 20'000'000;
  SheetFile file(path, expectedRows * allFields(source.columns).size() > kCellsOfALargeFile);
  SheetWriter writer(file, source.columns);
  Rows rows(duck, source.statement, blame, stop);
  std::uint64_t left = limit.value_or(kAll);
  while (left > 0) {
    if (stop.stop_requested()) throw core::Interrupted();
    const Chunk chunk = rows.next();
    if (chunk == nullptr) break;
    const std::uint64_t count = std::min<std::uint64_t>(left, duckdb_data_chunk_get_size(chunk.get()));
    writer.append(chunk.get(), count);
    left -= count;
  }
  file.close();
  return {.rows = file.rows(), .sheets = file.sheets()};
}

}  // namespace caiexport::reader
