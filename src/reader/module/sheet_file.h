#pragma once
/// Spreadsheet files (.xlsx): one as it is written, row after row (what was written is not kept in memory), and rows
/// and lists into it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/reader/workbook.h"
#include "values.h"

struct lxw_workbook;
struct lxw_worksheet;
struct lxw_format;

namespace caiexport::reader {

struct SheetColumn {
  std::string name;
  double width = 14;  ///< In letters.
};

/// Not for several threads.
class SheetFile {
 public:
  /// What fits into one sheet, its header included.
  static constexpr std::uint64_t kMostRows = 1'048'576;
  static constexpr std::size_t kMostColumns = 16'384;
  /// In UTF-16 code units, as Excel counts.
  static constexpr std::size_t kLongestText = 32'767;

  /// `large`: more than 4 GiB may come together, for which the file's format has an extension.
  SheetFile(const std::filesystem::path& path, bool large);
  ~SheetFile();
  SheetFile(const SheetFile&) = delete;
  SheetFile& operator=(const SheetFile&) = delete;

  /// Ends the sheet before and begins another one, with its header. Error(usage) for too many columns.
  void beginSheet(const std::string& name, std::vector<SheetColumn> columns);
  /// The next row. Where the sheet is full, it goes on in another one of that name with a number.
  void beginRow();
  /// Into the row, columns from 0 on, in their order.
  void text(std::size_t column, std::string_view value);
  void number(std::size_t column, double value);
  void whole(std::size_t column, double value);
  void truth(std::size_t column, bool value);
  /// Days since 1970-01-01, a part of a day after the point. False, and nothing is written, outside of what
  /// spreadsheets know (1900-03-01 to 9999-12-31).
  bool day(std::size_t column, double daysSince1970, bool withClock);
  /// Writes the file. Error(io).
  void close();

  std::uint64_t rows() const { return rows_; }
  std::size_t sheets() const { return sheets_; }

 private:
  struct Formats {
    lxw_format* header = nullptr;
    lxw_format* number = nullptr;
    lxw_format* whole = nullptr;
    lxw_format* day = nullptr;
    lxw_format* time = nullptr;
  };
  void addSheet(const std::string& name);
  void endSheet();
  void check(int error) const;

  std::filesystem::path path_;
  std::string folder_;
  lxw_workbook* book_ = nullptr;
  lxw_worksheet* sheet_ = nullptr;
  Formats formats_;
  std::string name_;
  std::vector<SheetColumn> columns_;
  std::uint32_t row_ = 0;  ///< Of the sheet; 0 is the header.
  std::uint64_t rows_ = 0;
  std::size_t sheets_ = 0;
  std::size_t parts_ = 0;  ///< Sheets of the name at hand.
};

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

/// What the function writeWorkbook() of the reader does.
void writeSheets(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
