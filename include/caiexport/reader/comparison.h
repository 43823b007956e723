#pragma once
/// How the scores of the same people differ between two sets. Plain data; made by ScorePair, printed by
/// comparison_report.h.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace caiexport::reader {

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
