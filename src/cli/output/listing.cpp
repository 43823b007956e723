#include "listing.h"

#include <algorithm>
#include <array>

#include "caiexport/cli/options.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kLongestName = 1000;

bool isNewer(const Listed& a, const Listed& b) {
  if (a.at != b.at) return b.at < a.at;
  return a.id < b.id;
}

std::string dayOf(const std::optional<core::TimePoint>& time) {
  return time ? core::formatTime(*time).substr(0, 10) : "-";
}

reader::Table tableOf(std::span<const Listed> entries, const ListingColumns& columns) {
  reader::Table table{.columns = {{"id", "", false}, {std::string(columns.at), "", false}}};
  if (!columns.mark.empty()) table.columns.push_back({std::string(columns.mark), "", false});
  table.columns.push_back({"name", "", false});
  for (const Listed& entry : entries) {
    std::vector<std::string> row{core::printable(entry.id), dayOf(entry.at)};
    if (!columns.mark.empty()) row.push_back(entry.mark.empty() ? "-" : core::printable(entry.mark, 40));
    row.push_back(core::printable(entry.name, kLongestName));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string inTwoLines(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width) {
  std::string out;
  for (const Listed& entry : entries) {
    const bool marked = !columns.mark.empty() && !entry.mark.empty();
    const std::string mark = marked ? "[" + core::printable(entry.mark, 40) + "] " : "";
    out += reader::fitTo(mark + core::printable(entry.name, kLongestName), width) + "\n";
    out += "  " + core::printable(entry.id) + "\n";
  }
  return out;
}

}  // namespace

ListFormat listFormat(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 3> kFormats{"table", "json", "csv"};
  const std::string format = wordOption(options, "format", kFormats);
  return format == "json" ? ListFormat::json : format == "csv" ? ListFormat::csv : ListFormat::table;
}

Newest::Newest(std::string_view search, std::size_t limit) : search_(core::toLower(search)), limit_(limit) {}

void Newest::take(Listed listed) {
  const bool matches = core::toLower(listed.name).find(search_) != std::string::npos ||
                       core::toLower(listed.id).find(search_) != std::string::npos;
  if (!matches) return;
  ++found_;
  kept_.push_back(std::move(listed));
  if (limit_ == 0 || kept_.size() < 2 * limit_ + 100) return;
  std::ranges::nth_element(kept_, kept_.begin() + static_cast<std::ptrdiff_t>(limit_), isNewer);
  kept_.resize(limit_);
}

std::vector<Listed> Newest::sorted() {
  std::ranges::sort(kept_, isNewer);
  if (limit_ > 0 && kept_.size() > limit_) kept_.resize(limit_);
  return std::move(kept_);
}

std::size_t widthOf(const reader::Table& table, std::size_t columns) {
  constexpr std::size_t kGap = 2;
  std::size_t sum = 0;
  for (std::size_t i = 0; i < columns; ++i) {
    std::size_t widest = reader::displayWidth(table.columns[i].name);
    for (const auto& row : table.rows) widest = std::max(widest, reader::displayWidth(row[i]));
    sum += widest + kGap;
  }
  return sum;
}

bool fitLastColumn(reader::Table& table, std::size_t width, std::size_t least) {
  if (width == 0 || table.columns.empty()) return true;
  const std::size_t others = widthOf(table, table.columns.size() - 1);
  if (others + least > width) return false;
  for (auto& row : table.rows) row.back() = reader::fitTo(row.back(), width - others);
  return true;
}

std::string listingText(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width) {
  constexpr std::size_t kShortestName = 16;
  reader::Table table = tableOf(entries, columns);
  return fitLastColumn(table, width, kShortestName) ? reader::renderTable(table, width)
                                                    : inTwoLines(entries, columns, width);
}

}  // namespace caiexport::cli
