#pragma once
/// A ScoreSummary, and a Comparison, for people (text, a web page) and for programs (JSON). Pure functions.

#include <optional>
#include <string>
#include <vector>

#include "caiexport/reader/scores.h"
#include "caiexport/reader/table.h"

namespace caiexport::reader {

/// What became of the same people since another set.
struct Since {
  Comparison scores = {};
  std::string before = {};  ///< What that set was, e.g. `job 11`.
};

/// How an earlier batch was.
struct TrendPoint {
  core::TimePoint created = {};
  std::uint64_t scored = 0;
  std::uint64_t low = 0, medium = 0, high = 0;
  std::optional<double> mean = {};
};

/// Of what was summed up, and made then.
TrendPoint trendPointOf(core::TimePoint created, const ScoreSummary& summary);

struct SourceFacts {
  std::string title = "Customer AI scores";
  std::string source = {};                ///< What was read, e.g. `job 12` or a folder.
  std::vector<std::string> batches = {};  ///< Ids. With several, records are not people, and are not called profiles.
};

/// What the page tells besides.
struct PageFacts {
  ScoreStory story = {};
  std::string dataset = {};  ///< Its id.
  std::optional<core::TimePoint> batchCreated = {};
  std::optional<Since> since = {};
  std::vector<TrendPoint> earlier = {};  ///< Oldest first.
};

/// A histogram and figures for a terminal; no line is wider than `width` columns (at least 40). The totals come last,
/// where they stay in sight. Ends in a line end.
std::string textReport(const ScoreSummary& summary, const SourceFacts& facts = {}, std::size_t width = 80);

/// One JSON document with the documented keys: records, scored, unscored, outside, field, batch_ids, min, max, mean,
/// stddev, p05, p25, p50, p75, p95, buckets, histogram, score_date ({from, to} or null), factors. What is not known is
/// null. Ends in a line end.
std::string jsonReport(const ScoreSummary& summary, const SourceFacts& facts = {});

/// One self-contained page: inline SVG, no scripts, nothing fetched; follows the reader's light or dark setting, prints
/// on A4. What the colours say stands in words, and what the pictures show in tables, too.
std::string htmlReport(const ScoreSummary& summary, const SourceFacts& facts, const PageFacts& page = {});

/// Figures, buckets, histogram and factors as sheets for writeWorkbook().
std::vector<Sheet> sheetReport(const ScoreSummary& summary, const SourceFacts& facts);

/// A comparison for a terminal; no line is wider than `width` columns. Ends in a line end.
std::string textReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before,
                       std::size_t width = 80);

/// One JSON document: identity, before and now ({source, batch_ids, field, records, identities, repeated,
/// without_identity, scored, mean, buckets, histogram}), moved ([{before, now, count}]), new, gone, changed, both,
/// rose, fell, mean_change, psi. Ends in a line end.
std::string jsonReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before);

/// A comparison as sheets for writeWorkbook().
std::vector<Sheet> sheetReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before);

/// What Comparison::drift means: `little`, `some` or `much`.
const char* driftWord(double drift);

}  // namespace caiexport::reader
