#pragma once
/// A Comparison for people and programs. Pure functions.

#include <string>

#include "caiexport/reader/comparison.h"
#include "caiexport/reader/score_report.h"

namespace caiexport::reader {

/// For a terminal; no line is wider than `width` columns. Ends in a line end.
std::string textReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before,
                       std::size_t width = 80);

/// One JSON document: identity, before and now ({source, batch_ids, field, records, identities, repeated,
/// without_identity, scored, mean, buckets, histogram}), moved ([{before, now, count}]), new, gone, changed, both,
/// rose, fell, mean_change, psi. Ends in a line end.
std::string jsonReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before);

/// Sheets for writeWorkbook().
std::vector<Sheet> sheetReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before);

/// `little`, `some` or `much`.
const char* driftWord(double drift);

}  // namespace caiexport::reader
