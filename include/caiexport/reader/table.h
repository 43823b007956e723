#pragma once
/// Tables for people: rows as text, and how they fit a terminal (pure functions), and spreadsheets.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::reader {

struct TableColumn {
  std::string name;
  std::string type;
  bool alignRight = false;  ///< Numbers.
};

struct Table {
  std::vector<TableColumn> columns = {};
  std::vector<std::vector<std::string>> rows = {};  ///< Printable cells, as many as columns; null is an empty cell.
  bool more = false;                                ///< There were more rows than asked for.
};

/// What lines, bars and ellipses are drawn with, in the whole program: set once, at its start, by what its locale can
/// show. Where that is ASCII, other characters in cells are written as `\xNN`.
enum class Signs { unicode, ascii };
void drawWith(Signs signs);
Signs signs();

/// Columns that `text` takes on a terminal: wide characters (East Asian, emoji) count two, combining ones none.
/// `text` is printable UTF-8.
std::size_t displayWidth(std::string_view text);

/// `text` cut to at most `width` columns, ending in `…` (`...` where signs are ASCII) if something was cut.
std::string fitTo(std::string_view text, std::size_t width);

/// A table whose rows are not kept: the width of its widest cells is found first, the lines are made one by one.
class TableLines {
 public:
  /// `widest`: drawnWidth() of the widest cell of each column. For `width` and what does not fit it see renderTable().
  TableLines(std::vector<TableColumn> columns, std::vector<std::size_t> widest, std::size_t width);
  /// Columns that the cell takes in a line.
  static std::size_t drawnWidth(std::string_view cell);

  /// The header and a rule.
  std::string head() const;
  std::string line(std::span<const std::string> cells) const;
  /// What is left out; empty if nothing is.
  std::string end() const;

 private:
  std::string lineOf(std::span<const std::string> cells) const;

  std::vector<TableColumn> columns_;
  std::vector<std::string> names_;   ///< As they are shown.
  std::vector<std::size_t> widths_;  ///< Of the columns that fit.
  std::size_t width_;
};

/// The table with a header and a rule, no line wider than `width` columns; 0 for no bound. Dotted names are shown by
/// their ends, as short as they differ. Long cells are cut, columns that do not fit are left out and named in the last
/// line. Empty text for a table without columns.
std::string renderTable(const Table& table, std::size_t width);

// Spreadsheet files (.xlsx) of what is no set of rows: figures, lists.

/// Empty, text, a number, a time (shown in UTC).
using SheetCell = std::variant<std::monostate, std::string, double, core::TimePoint>;

struct Sheet {
  std::string name;
  std::vector<std::string> header;
  std::vector<std::vector<SheetCell>> rows = {};
};

/// Makes the file at `path`, whose folder holds temporary files meanwhile. Loads the module. Error(io) if it can't be
/// written, Error(usage) for what a spreadsheet can't hold.
void writeWorkbook(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
