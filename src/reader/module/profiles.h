#pragma once
/// The module's side of Profiles.

#include "caiexport/reader/parquet_reader.h"
#include "profile_set.h"

namespace caiexport::reader {

class DuckProfiles final : public Profiles {
 public:
  DuckProfiles(ReaderSettings settings, std::vector<InputFile> files);

  std::vector<SchemaField> schema() override;
  std::vector<SchemaField> examples(std::stop_token stop) override;
  std::uint64_t rowCount() override { return set_.rowCount(); }
  std::uint64_t rows(const ReadQuery& query, RowFormat format, Output& output, std::stop_token stop) override;
  std::uint64_t writeParquet(const ReadQuery& query, const std::filesystem::path& path, std::stop_token stop) override;
  SheetFacts writeSheet(const ReadQuery& query, const std::filesystem::path& path, std::stop_token stop) override;
  Table table(const ReadQuery& query, std::stop_token stop) override;
  std::vector<std::string> scoreFields() override;
  ScoreSummary scores(const std::string& field, std::stop_token stop) override;
  ScoreStory story(const std::string& field, std::stop_token stop) override;

 private:
  std::string chosenField(const std::string& field);

  ReaderSettings settings_;
  std::vector<InputFile> files_;
  ProfileSet set_;
};

}  // namespace caiexport::reader
