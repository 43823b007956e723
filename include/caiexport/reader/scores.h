#pragma once
/// What is known about the scores of a set of profiles. Plain data; made by Profiles::scores, printed by
/// score_report.h.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::reader {

/// One entry of the list of influential factors, over all scored profiles.
struct InfluentialFactor {
  std::string name;
  std::uint64_t count = 0;  ///< Profiles that name it (each mention counts).
  /// Mean importance, where the files give a number.
  std::optional<double> meanImportance = {};
  /// How often it was called so, where the files give words.
  std::uint64_t high = 0;
  std::uint64_t medium = 0;
  std::uint64_t low = 0;
};

/// A score is a finite number; null, NaN and infinite are unscored.
struct ScoreSummary {
  static constexpr std::size_t kBins = 20;
  static constexpr double kBinWidth = 5.0;

  std::string field;  ///< Dotted path.
  std::uint64_t records = 0;
  std::uint64_t scored = 0;
  std::uint64_t unscored = 0;
  /// Scored, but below 0 or above 100: in the buckets and all figures, not in the histogram.
  std::uint64_t outside = 0;

  // Nothing where no profile is scored (stddev: fewer than two).
  std::optional<double> min = {}, max = {}, mean = {};
  std::optional<double> stddev = {};                                       ///< Of a sample.
  std::optional<double> p05 = {}, p25 = {}, p50 = {}, p75 = {}, p95 = {};  ///< Interpolated, as quantile_cont in SQL.

  std::uint64_t low = 0;     ///< score < 25
  std::uint64_t medium = 0;  ///< 25 <= score < 75
  std::uint64_t high = 0;    ///< 75 <= score

  /// Bin i holds 5i <= score < 5(i + 1); the last one holds 100 too.
  std::array<std::uint64_t, kBins> histogram = {};

  /// When the scores were made, where the group of the score has such a field.
  std::optional<core::TimePoint> scoreDateFrom = {}, scoreDateTo = {};

  /// Most important first, at most ten; empty where the group has none.
  std::vector<InfluentialFactor> factors = {};
};

/// What a page tells of the scores beyond their numbers.
struct ScoreStory {
  std::vector<std::string> propensity = {};  ///< As the files say it, e.g. `churn`; usually one.
  std::vector<std::string> modelVersions = {};
  /// Of the people in each bucket (low, medium, high): most important first, at most ten.
  std::array<std::vector<InfluentialFactor>, 3> factors = {};
};

}  // namespace caiexport::reader
