#pragma once
/// Rows as text for people, and how they fit a terminal. Pure functions.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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

/// The table with a header and a rule, no line wider than `width` columns; 0 for no bound. Dotted names are shown by
/// their ends, as short as they differ. Long cells are cut, columns that do not fit are left out and named in the last
/// line. Empty text for a table without columns.
std::string renderTable(const Table& table, std::size_t width);

}  // namespace caiexport::reader
