#include "sheet_rows.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "caiexport/core/text.h"
#include "short_names.h"

namespace caiexport::reader {
namespace {

constexpr double kMostExact = 999'999'999'999'999;  ///< Spreadsheets keep 15 digits.
constexpr std::size_t kMostDigits = 15;
constexpr double kSecondsPerDay = 86'400;

bool isFloat(const Type& type) {
  return type.id == DUCKDB_TYPE_DOUBLE || type.id == DUCKDB_TYPE_FLOAT;
}

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
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
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

SheetWriter::SheetWriter(SheetFile& file, const std::vector<Type>& columns) : file_(file) {
  for (const Type& column : columns) views_.emplace_back(column);
  leaves_ = flatten(views_);
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
  for (std::size_t index = 0; index < views_.size(); ++index) {
    views_[index].bind(duckdb_data_chunk_get_vector(chunk, index));
  }
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
  file_.text(column, scratch_);
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
  const auto number = numberFrom(scratch_);
  if (!number) return file_.text(column, scratch_);
  if (isFloat(type)) return file_.number(column, *number);
  const bool exact =
      type.id == DUCKDB_TYPE_DECIMAL ? digitsOf(scratch_) <= kMostDigits : std::abs(*number) <= kMostExact;
  if (!exact || (isId_[column] && type.id != DUCKDB_TYPE_DECIMAL)) return file_.text(column, scratch_);
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
