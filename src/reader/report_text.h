#pragma once
/// Numbers for people.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "caiexport/core/numbers.h"
#include "caiexport/reader/score_report.h"

namespace caiexport::reader {

/// With that many digits after the point.
std::string fixed(double value, int places);
/// A dash for nothing.
std::string shown(const std::optional<double>& value, int places = 2);
using core::grouped;

double shareOf(std::uint64_t part, std::uint64_t whole);
std::string percent(std::uint64_t part, std::uint64_t whole);
/// The first few by name.
std::string batchNames(const SourceFacts& facts, std::size_t most);
std::string minutes(core::TimePoint time);
/// When the scores were made; empty where that is not known.
std::string dateSpan(const ScoreSummary& summary);
std::uint64_t largestBin(const ScoreSummary& summary);

inline constexpr std::string_view kRelative =
    "A score is relative: it ranks customers against each other. It is not a probability.";

}  // namespace caiexport::reader
