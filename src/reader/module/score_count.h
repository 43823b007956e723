#pragma once
/// From the profiles to a ScoreSummary, reading only the columns that matter.

#include <stop_token>
#include <string>

#include "caiexport/reader/parquet_reader.h"
#include "profile_set.h"

namespace caiexport::reader {

ScoreSummary countScores(ProfileSet& set, const std::string& field, const ReaderSettings& settings,
                         std::stop_token stop);

}  // namespace caiexport::reader
