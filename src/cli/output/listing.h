#pragma once
/// What `datasets` and `segments` list: things with an id and a name.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/reader/table.h"

namespace caiexport::cli {

class ParsedOptions;

enum class ListFormat { table, json, csv };
/// `--format`.
ListFormat listFormat(const ParsedOptions& options);

struct Listed {
  std::string id;
  std::string name;
  std::string mark;  ///< One more word about it; may be empty.
  std::optional<core::TimePoint> at;
  /// For segments: merge policy, origin, state and number of members, as far as the platform gives them.
  std::string mergePolicy = {};
  std::string origin = {};
  std::string state = {};
  std::optional<std::uint64_t> members = {};
};

/// Collects what matches a search, and keeps only the newest of it. For one thread.
class Newest {
 public:
  /// `search`: part of the name or id, without regard to case; empty for all. `limit` 0 keeps all.
  Newest(std::string_view search, std::size_t limit);

  void take(Listed listed);
  /// How many matched.
  std::uint64_t found() const { return found_; }
  /// Newest first; what has no time comes last. Once.
  std::vector<Listed> sorted();

 private:
  std::string search_;
  std::size_t limit_;
  std::uint64_t found_ = 0;
  std::vector<Listed> kept_;
};

/// Of the first so many columns, each with the gap behind it.
std::size_t widthOf(const reader::Table& table, std::size_t columns);

/// Cuts the cells of the last column so that the table is no wider than `width` (0: no bound). False, and nothing is
/// cut, if less than `least` would be left of them.
bool fitLastColumn(reader::Table& table, std::size_t width, std::size_t least);

/// How a listing names its columns.
struct ListingColumns {
  std::string_view mark;
  std::string_view at;
};

/// A table no wider than `width` (0: no bound). Ids are never cut, names are; where even that leaves no room, each
/// entry takes two lines.
std::string listingText(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width);

}  // namespace caiexport::cli
