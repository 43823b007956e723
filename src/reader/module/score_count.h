#pragma once
/// From the profiles to a ScoreSummary, reading only the columns that matter, and from two sets to their ScorePair.

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "profile_set.h"

namespace caiexport::reader {

/// Numeric fields named `score`; lists and maps are not searched.
std::vector<Found> scoreFields(const std::vector<Type>& columns);

/// What stands beside a score: its percentile and the time it was made. `type` is null for what there is not.
Found percentileBeside(const std::vector<Type>& columns, const std::vector<std::string>& score);
Found dateBeside(const std::vector<Type>& columns, const std::vector<std::string>& score);

ScoreStory tellStory(ProfileSet& set, const std::string& field, const std::stop_token& stop);

ScoreSummary countScores(ProfileSet& set, const std::string& field, const ReaderSettings& settings,
                         std::stop_token stop);

/// As ParquetReader::openPair.
std::unique_ptr<ScorePair> openScorePair(const ReaderSettings& settings, std::vector<InputFile> now,
                                         std::vector<InputFile> before);

}  // namespace caiexport::reader
