#pragma once
/// What all reports share: numbers and names for people, pieces of JSON, cells of sheets.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/text.h"
#include "caiexport/reader/score_report.h"

namespace caiexport::json {
class Writer;
}

namespace caiexport::reader {

/// A dash for nothing.
std::string shown(const std::optional<double>& value, int places = 2);
using core::fixed;
using core::grouped;

double shareOf(std::uint64_t part, std::uint64_t whole);
std::string percent(std::uint64_t part, std::uint64_t whole);
/// The first few by name.
std::string batchNames(const SourceFacts& facts, std::size_t most);
std::string minutes(core::TimePoint time);
/// When the scores were made; empty where that is not known.
std::string dateSpan(const ScoreSummary& summary);
std::uint64_t largestBin(const ScoreSummary& summary);

/// Dotted paths as short as they can be told apart by: their ends. In line, since the reader module uses it too.
inline std::vector<std::string> shortNames(const std::vector<std::string>& paths) {
  const auto endsWithStep = [](std::string_view path, std::string_view end) {
    return path == end || (path.ends_with(end) && path[path.size() - end.size() - 1] == '.');
  };
  std::vector<std::string> names;
  for (const std::string_view path : paths) {
    std::size_t dot = path.rfind('.');
    const auto isShared = [&](std::string_view end) {
      return std::ranges::count_if(paths, [&](const std::string& other) { return endsWithStep(other, end); }) > 1;
    };
    while (dot != std::string_view::npos && dot > 0 && isShared(path.substr(dot + 1))) dot = path.rfind('.', dot - 1);
    names.emplace_back(dot == std::string_view::npos ? path : path.substr(dot + 1));
  }
  return names;
}

using Histogram = decltype(ScoreSummary::histogram);

void writeBatches(json::Writer& json, const SourceFacts& facts);
void writeHistogram(json::Writer& json, const Histogram& histogram);

SheetCell cellOf(std::uint64_t count);
template <class Value>
SheetCell cellOf(const std::optional<Value>& value) {
  return value ? SheetCell(*value) : SheetCell();
}

inline constexpr std::string_view kRelative =
    "A score is relative: it ranks customers against each other. It is not a probability.";

}  // namespace caiexport::reader
