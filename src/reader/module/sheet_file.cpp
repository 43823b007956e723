#include "values.h"

#include <xlsxwriter.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "report_text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr double kDays1970 = 25'569;    ///< Of spreadsheets, which count from 1899-12-30.
constexpr double kFirstDay = 61;        ///< 1900-03-01: before it Excel counts a day that never was.
constexpr double kLastDay = 2'958'466;  ///< After 9999-12-31.
constexpr double kWidestColumn = 60;

/// `_xHHHH_`.
bool isEscape(std::string_view text) {
  return text.size() >= 7 && text.starts_with("_x") && text[6] == '_' &&
         std::all_of(text.begin() + 2, text.begin() + 6,
                     [](char letter) { return core::hexValue(letter).has_value(); });
}

/// Text as such a file can hold it: what XML does not allow is written as `\xNN`, what would be read as an escape of
/// the format's own (`_x0041_`) is escaped.
std::string sheetText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t code = 0;
    std::size_t length = core::decodeUtf8(text, code);
    const bool allowed =
        length > 0 && (code >= 0x20 || code == '\n' || code == '\t') && code != 0x7F && code < 0xFFFE + 0U;
    const bool beyond = length > 0 && code > 0xFFFF;
    if (isEscape(text)) {
      out += "_x005F";
      out += text.substr(0, 1);
      length = 1;
    } else if (allowed || beyond) {
      out += text.substr(0, length);
    } else {
      length = std::max<std::size_t>(length, 1);
      for (const char& letter : text.substr(0, length)) {
        out += "\\x";
        core::appendHex(out, {&letter, 1}, core::HexDigits::upper);
      }
    }
    text.remove_prefix(length);
  }
  return out;
}

/// UTF-16 code units, for valid UTF-8.
std::size_t unitsOf(std::string_view text) {
  std::size_t units = 0;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if ((byte & 0xC0U) != 0x80) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

constexpr double kMostExact = 999'999'999'999'999;  ///< Spreadsheets keep 15 digits.
constexpr std::size_t kMostDigits = 15;
constexpr double kSecondsPerDay = 86'400;

/// `_id`, `customerId`, `CRMID`: digits, but no amount.
bool isCalledId(const std::string& path) {
  const std::string name = path.substr(path.rfind('.') + 1);
  return core::toLower(name) == "id" || name.ends_with("_id") || name.ends_with("Id") || name.ends_with("ID");
}

double widthOf(const Type& type) {
  if (type.isTime()) return type.id == DUCKDB_TYPE_DATE ? 11 : 20;
  return type.isNumeric() || type.id == DUCKDB_TYPE_BOOLEAN ? 12 : 24;
}

std::optional<double> numberFrom(std::string_view text) {
  const auto value = core::numberFrom<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::size_t digitsOf(std::string_view text) {
  std::size_t digits = 0;
  for (const char letter : text) digits += letter >= '0' && letter <= '9' ? 1 : 0;
  return digits;
}

/// Nothing for the ends of the range, which DuckDB uses for infinite times.
std::optional<double> daysAt(const VectorView& view, std::uint64_t row) {
  if (view.type->id == DUCKDB_TYPE_DATE) return view.at<std::int32_t>(row);
  const auto value = view.at<std::int64_t>(row);
  if (value == std::numeric_limits<std::int64_t>::max() || value <= -std::numeric_limits<std::int64_t>::max())
    return {};
  const double perSecond = view.type->id == DUCKDB_TYPE_TIMESTAMP_S    ? 1
                           : view.type->id == DUCKDB_TYPE_TIMESTAMP_MS ? 1e3
                           : view.type->id == DUCKDB_TYPE_TIMESTAMP_NS ? 1e9
                                                                       : 1e6;
  return static_cast<double>(value) / perSecond / kSecondsPerDay;
}

void writeCell(SheetFile& file, std::size_t column, const SheetCell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return file.text(column, *text);
  if (const auto* time = std::get_if<core::TimePoint>(&cell)) {
    const std::chrono::duration<double> since = time->time_since_epoch();
    if (!file.day(column, since.count() / kSecondsPerDay, true)) file.text(column, core::formatTime(*time));
    return;
  }
  const auto* number = std::get_if<double>(&cell);
  if (number == nullptr) return;
  const bool whole = std::floor(*number) == *number && std::abs(*number) <= kMostExact;
  whole ? file.whole(column, *number) : file.number(column, *number);
}

}  // namespace

SheetFile::SheetFile(const fs::path& path, bool large)
    : path_(path), folder_(fs::absolute(path).parent_path().string()) {
  lxw_workbook_options options{};
  options.constant_memory = LXW_TRUE;
  options.tmpdir = folder_.data();
  options.use_zip64 = large ? LXW_TRUE : LXW_FALSE;
  book_ = workbook_new_opt(path_.c_str(), &options);
  if (book_ == nullptr) throw core::outOfMemory("cannot make a workbook");
  formats_.header = workbook_add_format(book_);
  format_set_bold(formats_.header);
  formats_.number = workbook_add_format(book_);
  format_set_num_format(formats_.number, "0.0#########");
  formats_.whole = workbook_add_format(book_);
  format_set_num_format(formats_.whole, "0");
  formats_.day = workbook_add_format(book_);
  format_set_num_format(formats_.day, "yyyy-mm-dd");
  formats_.time = workbook_add_format(book_);
  format_set_num_format(formats_.time, "yyyy-mm-dd hh:mm:ss");
}

SheetFile::~SheetFile() {
  if (book_ == nullptr) return;
  endSheet();
  lxw_workbook_free(book_);
}

void SheetFile::check(int error) const {
  if (error == LXW_NO_ERROR) return;
  if (error == LXW_ERROR_MEMORY_MALLOC_FAILED) throw core::outOfMemory("cannot make a workbook");
  throw Error(Category::io, "cannot write the workbook " + core::printable(path_.string()) + ": " +
                                lxw_strerror(static_cast<lxw_error>(error)));
}

void SheetFile::beginSheet(const std::string& name, std::vector<SheetColumn> columns) {
  if (columns.size() > kMostColumns) {
    throw Error(Category::usage, std::to_string(columns.size()) + " columns do not fit: a spreadsheet holds 16,384",
                {.hint = "choose some with --columns, or write csv"});
  }
  endSheet();
  name_ = name;
  columns_ = std::move(columns);
  parts_ = 0;
  addSheet(name_);
}

void SheetFile::addSheet(const std::string& name) {
  sheet_ = workbook_add_worksheet(book_, name.c_str());
  if (sheet_ == nullptr) throw Error(Category::io, "cannot begin the sheet " + core::printable(name));
  ++sheets_;
  ++parts_;
  row_ = 0;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    const auto at = static_cast<lxw_col_t>(column);
    const double width = std::clamp(
        std::max(columns_[column].width, static_cast<double>(columns_[column].name.size()) + 4), 6.0, kWidestColumn);
    check(worksheet_set_column(sheet_, at, at, width, nullptr));
    check(worksheet_write_string(sheet_, 0, at, sheetText(columns_[column].name).c_str(), formats_.header));
  }
  worksheet_freeze_panes(sheet_, 1, 0);
}

void SheetFile::endSheet() {
  if (sheet_ == nullptr) return;
  lxw_worksheet* sheet = std::exchange(sheet_, nullptr);
  if (!columns_.empty()) {
    worksheet_autofilter(sheet, 0, 0, row_, static_cast<lxw_col_t>(columns_.size() - 1));
  }
}

void SheetFile::beginRow() {
  if (row_ + 1 == kMostRows) {
    endSheet();
    addSheet(name_ + " " + std::to_string(parts_ + 1));
  }
  ++row_;
  ++rows_;
}

void SheetFile::text(std::size_t column, std::string_view value) {
  if (value.empty()) return;
  const std::string shown = sheetText(value);
  const std::size_t units = unitsOf(shown);
  if (units > kLongestText) {
    throw Error(Category::usage,
                "row " + std::to_string(rows_) + " has " + std::to_string(units) + " characters in `" +
                    core::printable(columns_[column].name) + "`: a cell of a spreadsheet holds 32,767",
                {.hint = "leave the column out, or write csv"});
  }
  check(worksheet_write_string(sheet_, row_, static_cast<lxw_col_t>(column), shown.c_str(), nullptr));
}

void SheetFile::number(std::size_t column, double value) {
  check(worksheet_write_number(sheet_, row_, static_cast<lxw_col_t>(column), value, formats_.number));
}

void SheetFile::whole(std::size_t column, double value) {
  check(worksheet_write_number(sheet_, row_, static_cast<lxw_col_t>(column), value, formats_.whole));
}

void SheetFile::truth(std::size_t column, bool value) {
  check(worksheet_write_boolean(sheet_, row_, static_cast<lxw_col_t>(column), value ? 1 : 0, nullptr));
}

bool SheetFile::day(std::size_t column, double daysSince1970, bool withClock) {
  const double day = daysSince1970 + kDays1970;
  if (!(day >= kFirstDay && day < kLastDay)) return false;
  check(worksheet_write_number(sheet_, row_, static_cast<lxw_col_t>(column), day,
                               withClock ? formats_.time : formats_.day));
  return true;
}

void SheetFile::close() {
  endSheet();
  // The library does not look whether what it puts aside arrives: a full disk would leave rows out, unseen.
  lxw_worksheet* sheet = nullptr;
  STAILQ_FOREACH(sheet, book_->worksheets, list_pointers) {
    lxw_worksheet_write_single_row(sheet);
    errno = 0;
    if (std::fflush(sheet->optimize_tmpfile) != 0 || std::ferror(sheet->optimize_tmpfile) != 0) {
      core::throwIoError("write", path_, errno == 0 ? ENOSPC : errno);
    }
  }
  const lxw_error error = workbook_close(std::exchange(book_, nullptr));
  check(error);
}

SheetWriter::SheetWriter(SheetFile& file, const std::vector<Type>& columns)
    : file_(file), view_(columns), leaves_(flatten(view_.columns)) {
  std::vector<std::string> paths;
  for (const Leaf& leaf : leaves_) paths.push_back(leaf.name);
  const std::vector<std::string> names = shortNames(paths);
  std::vector<SheetColumn> header;
  for (std::size_t column = 0; column < leaves_.size(); ++column) {
    header.push_back({.name = names[column], .width = widthOf(*leaves_[column].view->type)});
    isId_.push_back(isCalledId(paths[column]));
  }
  file_.beginSheet("Profiles", std::move(header));
}

void SheetWriter::append(duckdb_data_chunk chunk, std::uint64_t rows) {
  view_.bind(chunk);
  for (std::uint64_t row = 0; row < rows; ++row) {
    file_.beginRow();
    for (std::size_t column = 0; column < leaves_.size(); ++column) {
      if (!leaves_[column].isNull(row)) appendCell(column, row);
    }
  }
}

void SheetWriter::appendText(std::size_t column, std::uint64_t row) {
  scratch_.clear();
  reader::appendText(scratch_, *leaves_[column].view, row);
  file_.text(column, scratch_.view());
}

void SheetWriter::appendCell(std::size_t column, std::uint64_t row) {
  const VectorView& view = *leaves_[column].view;
  const Type& type = *view.type;
  if (type.id == DUCKDB_TYPE_VARCHAR) return file_.text(column, view.text(row));
  if (type.id == DUCKDB_TYPE_BOOLEAN) return file_.truth(column, view.at<bool>(row));
  if (type.isTime()) {
    const auto days = daysAt(view, row);
    if (days && file_.day(column, *days, type.id != DUCKDB_TYPE_DATE)) return;
    return appendText(column, row);
  }
  if (!type.isNumeric()) return appendText(column, row);
  // By way of the shortest text, so that 0.1 of four bytes is 0.1 and not 0.10000000149.
  scratch_.clear();
  reader::appendText(scratch_, view, row);
  const std::string_view text = scratch_.view();
  const auto number = numberFrom(text);
  if (!number) return file_.text(column, text);
  if (type.isFloat()) return file_.number(column, *number);
  const bool exact = type.id == DUCKDB_TYPE_DECIMAL ? digitsOf(text) <= kMostDigits : std::abs(*number) <= kMostExact;
  if (!exact || (isId_[column] && type.id != DUCKDB_TYPE_DECIMAL)) return file_.text(column, text);
  type.id == DUCKDB_TYPE_DECIMAL&& type.scale > 0 ? file_.number(column, *number) : file_.whole(column, *number);
}

void writeSheets(const std::filesystem::path& path, const std::vector<Sheet>& sheets) {
  SheetFile file(path, false);
  for (const Sheet& sheet : sheets) {
    std::vector<SheetColumn> header;
    for (const std::string& name : sheet.header) header.push_back({.name = name, .width = 16});
    file.beginSheet(sheet.name, std::move(header));
    for (const std::vector<SheetCell>& row : sheet.rows) {
      file.beginRow();
      for (std::size_t column = 0; column < row.size(); ++column) writeCell(file, column, row[column]);
    }
  }
  file.close();
}

}  // namespace caiexport::reader
