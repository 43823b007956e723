#pragma once
/// Rows and lists into spreadsheet files.

#include <string>
#include <vector>

#include "caiexport/reader/workbook.h"
#include "sheet_file.h"
#include "values.h"

namespace caiexport::reader {

/// Rows of chunks into one sheet after another. Text stays text; so do numbers that a spreadsheet would round (it keeps
/// 15 digits) and whole numbers that are called an id.
class SheetWriter {
 public:
  SheetWriter(SheetFile& file, const std::vector<Type>& columns);
  void append(duckdb_data_chunk chunk, std::uint64_t rows);

 private:
  void appendCell(std::size_t column, std::uint64_t row);
  void appendText(std::size_t column, std::uint64_t row);

  SheetFile& file_;
  std::vector<VectorView> views_;
  std::vector<Leaf> leaves_;
  std::vector<bool> isId_;
  std::string scratch_;
};

void writeSheets(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
