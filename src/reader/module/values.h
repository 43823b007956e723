#pragma once
/// Vectors of DuckDB as text, and as rows of spreadsheets.
///
/// The JSON here is not written by json::Writer: rows are millions of cells straight from DuckDB's memory, without
/// spaces, with times in ISO 8601, and of their texts only what JSON demands is escaped, since they are the customer's
/// data and no message of ours. It takes half the time of DuckDB's own JSON writer (scripts/bench read).

#include <duckdb.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/reader/table.h"
#include "duck.h"

struct lxw_workbook;
struct lxw_worksheet;
struct lxw_format;

namespace caiexport::reader {

/// Text that grows at its end. A std::string looks for room with each letter; here room is asked for once a value.
class TextBuffer {
 public:
  std::string_view view() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }
  /// Its memory stays.
  void clear() { size_ = 0; }

  /// Where the next `count` bytes can be written; endAt() says how many were.
  char* room(std::size_t count) {
    if (capacity_ - size_ < count) grow(count);
    return data_.get() + size_;
  }
  void endAt(const char* end) { size_ = static_cast<std::size_t>(end - data_.get()); }

  void append(char letter) {
    char* const at = room(1);
    *at = letter;
    endAt(at + 1);
  }
  void append(std::string_view text) {
    char* const at = room(text.size());
    // Room in an empty buffer may be null, which memcpy must not be given.
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    endAt(at + text.size());
  }
  void insert(std::size_t at, char letter);
  void erase(std::size_t at, std::size_t count);

 private:
  void grow(std::size_t count);

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// A vector of one chunk, ready to be read by index, with those inside it. Valid while the chunk lives.
struct VectorView {
  explicit VectorView(const Type& vectorType);

  void bind(duckdb_vector vector);
  bool isNull(std::uint64_t index) const {
    return validity != nullptr && ((validity[index / 64] >> (index % 64)) & 1U) == 0;
  }
  template <typename T>
  const T& at(std::uint64_t index) const {
    return static_cast<const T*>(data)[index];
  }
  /// Of VARCHAR and BLOB.
  std::string_view text(std::uint64_t index) const {
    const auto* value = static_cast<const duckdb_string_t*>(data) + index;
    const std::uint32_t length = value->value.inlined.length;
    // Short text lies in the value itself (duckdb.h, duckdb_string_t).
    return {length <= sizeof value->value.inlined.inlined ? value->value.inlined.inlined : value->value.pointer.ptr,
            length};
  }

  const Type* type;
  std::string key;        ///< `,"name":`, as it stands in a JSON object.
  std::string quotedKey;  ///< `,""name"":`, as it stands in a JSON object in a quoted field of CSV.
  const void* data = nullptr;
  const std::uint64_t* validity = nullptr;
  std::vector<VectorView> children;
};

/// Elements of a list, array or map: indices into children[0] (for a map: a struct of key and value).
struct Elements {
  std::uint64_t from = 0;
  std::uint64_t count = 0;
};
Elements elementsAt(const VectorView& list, std::uint64_t index);

/// The value as plain text; lists, maps and structs as JSON. Null is nothing.
void appendText(TextBuffer& out, const VectorView& view, std::uint64_t index);

/// How many quotes stand for one.
enum class Quotes : std::uint8_t {
  plain,
  doubled,  ///< As inside a quoted field of CSV.
};

/// The value as JSON.
template <Quotes quotes>
void appendJson(TextBuffer& out, const VectorView& view, std::uint64_t index);

/// The columns of one chunk after the other.
struct ChunkView {
  explicit ChunkView(const std::vector<Type>& types) : columns(types.begin(), types.end()) {}
  void bind(duckdb_data_chunk chunk);
  const VectorView& operator[](std::size_t column) const { return columns[column]; }

  std::vector<VectorView> columns;
};

/// Runs the statement; `take(view, row)` gets each row of it.
template <class Take>
void forEachRow(Duck& duck, const Statement& statement, const Blame& blame, const std::stop_token& stop, Take take) {
  const std::vector<Type> columns = columnsOf(statement);
  ChunkView view(columns);
  const InterruptOnStop interrupt(stop, duck);
  Rows rows(duck, statement, blame, stop);
  while (const Chunk chunk = rows.next()) {
    if (stop.stop_requested()) throw core::Interrupted();
    view.bind(chunk.get());
    for (std::uint64_t row = 0; row < duckdb_data_chunk_get_size(chunk.get()); ++row) take(view, row);
  }
}

/// A field of a struct, or a column that is none, with all that can make it null.
struct Leaf {
  std::string name;  ///< Dotted.
  std::vector<const VectorView*> above;
  const VectorView* view;

  bool isNull(std::uint64_t row) const;
};

/// Fields of structs as columns of their own. The views must outlive the leaves and stay where they are.
std::vector<Leaf> flatten(const std::vector<VectorView>& columns);

/// A number with a fraction, without an exponent as long as it is shorter than a line. False, and nothing is appended,
/// for anything else.
bool appendFixed(TextBuffer& out, const VectorView& view, std::uint64_t index);

/// Cells for people.
class CellWriter {
 public:
  explicit CellWriter(const std::vector<Type>& columns) : view_(columns), leaves_(flatten(view_.columns)) {}
  CellWriter(const CellWriter&) = delete;
  CellWriter& operator=(const CellWriter&) = delete;

  void bind(duckdb_data_chunk chunk) { view_.bind(chunk); }
  const std::vector<Leaf>& leaves() const { return leaves_; }
  std::vector<std::string> cells(std::uint64_t row) const;
  /// Of a value that is not null: printable, numbers without an exponent.
  std::string cell(const Leaf& leaf, std::uint64_t row) const;

 private:
  ChunkView view_;
  std::vector<Leaf> leaves_;
};

struct SheetColumn {
  std::string name;
  double width = 14;  ///< In letters.
};

/// A spreadsheet file (.xlsx) as it is written, row after row: what was written is not kept in memory. Not for several
/// threads.
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
  ChunkView view_;
  std::vector<Leaf> leaves_;
  std::vector<bool> isId_;
  TextBuffer scratch_;
};

/// What the function writeWorkbook() of the reader does.
void writeSheets(const std::filesystem::path& path, const std::vector<Sheet>& sheets);

}  // namespace caiexport::reader
