#include "sheet_file.h"

#include <xlsxwriter.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr double kDays1970 = 25'569;    ///< Of spreadsheets, which count from 1899-12-30.
constexpr double kFirstDay = 61;        ///< 1900-03-01: before it Excel counts a day that never was.
constexpr double kLastDay = 2'958'466;  ///< After 9999-12-31.
constexpr double kWidestColumn = 60;

bool isHex(char letter) {
  return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f') || (letter >= 'A' && letter <= 'F');
}

/// `_xHHHH_`.
bool isEscape(std::string_view text) {
  return text.size() >= 7 && text.starts_with("_x") && text[6] == '_' &&
         std::all_of(text.begin() + 2, text.begin() + 6, isHex);
}

void appendHex(std::string& out, unsigned char byte) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  out += "\\x";
  out += kDigits[byte >> 4U];
  out += kDigits[byte & 0xFU];
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

}  // namespace

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
      for (const char letter : text.substr(0, length)) appendHex(out, static_cast<unsigned char>(letter));
    }
    text.remove_prefix(length);
  }
  return out;
}

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
                {.hint = "leave the column out with --columns, or write csv"});
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

}  // namespace caiexport::reader
