#pragma once
/// A ScoreSummary for people (text, a web page) and for programs (JSON). Pure functions.

#include <string>

#include "caiexport/reader/scores.h"

namespace caiexport::reader {

/// A histogram and figures for a terminal; no line is wider than 80 columns. Ends in a line end.
std::string textReport(const ScoreSummary& summary);

/// One JSON document with the documented keys: records, scored, unscored, outside, field, min, max, mean, stddev, p05,
/// p25, p50, p75, p95, buckets, histogram, score_date ({from, to} or null), factors. What is not known is null.
/// Ends in a line end.
std::string jsonReport(const ScoreSummary& summary);

struct PageFacts {
  std::string title = "Customer AI scores";
  std::string source = {};  ///< What was read, e.g. `job 12` or a folder; shown under the title.
};

/// One self-contained page: inline SVG, no scripts, nothing fetched; follows the reader's light or dark setting.
std::string htmlReport(const ScoreSummary& summary, const PageFacts& facts);

}  // namespace caiexport::reader
