#include "report_text.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "caiexport/core/text.h"

namespace caiexport::reader {

std::string fixed(double value, int places) {
  std::array<char, 64> buffer{};
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, places);
  // Only values beyond 10^50 do not fit.
  if (result.ec != std::errc{}) {
    return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
  }
  return {buffer.data(), result.ptr};
}

std::string shown(const std::optional<double>& value, int places) {
  return value ? fixed(*value, places) : "-";
}

double shareOf(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return fixed(100 * shareOf(part, whole), 1) + "%";
}

/// The first few by name.
std::string batchNames(const SourceFacts& facts, std::size_t most) {
  std::string names;
  for (std::size_t index = 0; index < std::min(most, facts.batches.size()); ++index) {
    names += (index == 0 ? "" : ", ") + core::printable(facts.batches[index], 80);
  }
  if (facts.batches.size() > most) names += " and " + grouped(facts.batches.size() - most) + " more";
  return names;
}

std::string minutes(core::TimePoint time) {
  std::string text = core::formatTime(time).substr(0, 16);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string dateSpan(const ScoreSummary& summary) {
  if (!summary.scoreDateFrom || !summary.scoreDateTo) return {};
  const std::string from = minutes(*summary.scoreDateFrom);
  const std::string to = minutes(*summary.scoreDateTo);
  return from == to ? from + " UTC" : from + " to " + to + " UTC";
}

std::uint64_t largestBin(const ScoreSummary& summary) {
  return *std::max_element(summary.histogram.begin(), summary.histogram.end());
}

}  // namespace caiexport::reader
