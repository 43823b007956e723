#pragma once
/// Customer AI scores and exported profiles as real Parquet files, made through DuckDB.

#include <filesystem>
#include <memory>

#include "simulator/content.h"

namespace caiexport::simulator {

/// Makes files in a folder, one folder for each set of parameters, and takes those that are there already.
class ParquetSource final : public DataSource {
 public:
  /// The folder is created. core::Error(io) if it can't be, core::Error(internal) if DuckDB can't be started.
  explicit ParquetSource(std::filesystem::path folder);
  ~ParquetSource() override;

  std::vector<DataFile> make(const DataRequest& request) override;

 private:
  struct Database;
  void write(const DataRequest& request, const std::filesystem::path& into);

  std::filesystem::path folder_;
  std::unique_ptr<Database> database_;
};

}  // namespace caiexport::simulator
