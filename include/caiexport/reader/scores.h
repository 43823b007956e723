#pragma once
/// What is known about the scores of a set of profiles, and how those of the same people differ between two sets. Plain
/// data; made by Profiles::scores and ScorePair, printed by score_report.h.

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

/// Where somebody stands in a set.
enum class Standing { low, medium, high, unscored, absent };
inline constexpr std::size_t kStandings = 5;
inline constexpr std::array<const char*, kStandings> kStandingNames{"low", "medium", "high", "unscored", "absent"};

/// Of several records of one identity the highest score counts.
struct ComparedSide {
  std::string field;  ///< Dotted path of the score.
  std::uint64_t records = 0;
  std::uint64_t identities = 0;
  std::uint64_t repeated = 0;                    ///< Records beyond the first of their identity.
  std::uint64_t withoutIdentity = 0;             ///< Records that can't be compared.
  std::uint64_t scored = 0;                      ///< Identities.
  std::optional<double> mean = {};               ///< Of the scored identities.
  std::array<std::uint64_t, 20> histogram = {};  ///< Of the scored identities, scores beyond 0 and 100 in the end bins.
};

/// How the scores of the same people differ between two sets.
struct Comparison {
  std::string identity;  ///< By what people were known again: `primary identity`, a namespace, or `_id`.
  ComparedSide before = {}, now = {};
  /// Identities, by where they stood and where they stand.
  std::array<std::array<std::uint64_t, kStandings>, kStandings> moved = {};
  // Of identities that are scored in both:
  std::uint64_t both = 0;
  std::uint64_t rose = 0;
  std::uint64_t fell = 0;
  std::optional<double> meanChange = {};
  /// Population stability index over ten bins of equal width: below 0.1 little drift, from 0.25 on much. Nothing where
  /// a side has no scores.
  std::optional<double> drift = {};

  std::uint64_t appeared() const;     ///< Not there before.
  std::uint64_t disappeared() const;  ///< Not there any more.
  std::uint64_t changed() const;      ///< There in both, in another bucket.
};

}  // namespace caiexport::reader
