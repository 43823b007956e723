#pragma once
/// The module's side of ScorePair.

#include <optional>
#include <string>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "profile_set.h"

namespace caiexport::reader {

/// Identities of the joined rows, by the bins of their scores before and now.
struct Group {
  std::int64_t before = 0;
  std::int64_t now = 0;
  std::uint64_t identities = 0;
  double sumBefore = 0;
  double sumNow = 0;
  std::uint64_t rose = 0;
  std::uint64_t fell = 0;
  std::uint64_t recordsBefore = 0;
  std::uint64_t recordsNow = 0;
};

class DuckScorePair final : public ScorePair {
 public:
  DuckScorePair(const ReaderSettings& settings, std::vector<InputFile> now, std::vector<InputFile> before);

  Comparison compare(const PairQuery& query, std::stop_token stop) override;
  std::uint64_t rows(const PairQuery& query, RowFormat format, Output& output, std::stop_token stop) override;
  SheetFacts writeSheet(const PairQuery& query, const std::filesystem::path& path, std::stop_token stop) override;

 private:
  /// Of the identities those whose hash says so: what the memory does not suffice for is joined in parts.
  struct Part {
    std::uint64_t number = 0;
    std::uint64_t of = 1;
  };
  /// SQL of one row an identity: ns, id, score, records.
  std::string sideSql(ProfileSet& set, const PairQuery& query, const Part& part) const;
  std::string joinSql(const PairQuery& query, const Part& part);
  std::vector<Group> groups(const PairQuery& query, const Part& part, const std::stop_token& stop);
  std::vector<Group> allGroups(const PairQuery& query, const std::stop_token& stop);
  RowSource movedRows(const PairQuery& query);

  ReaderSettings settings_;
  ProfileSet before_;
  ProfileSet now_;  ///< Its database sees the files of both.
};

}  // namespace caiexport::reader
