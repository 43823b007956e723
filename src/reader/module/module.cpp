/// The entry of the reader module.

#include <duckdb.h>

#include <memory>
#include <utility>

#include "module_abi.h"
#include "parquet_file.h"
#include "profiles.h"
#include "score_pair.h"
#include "sheet_file.h"

namespace caiexport::reader {
namespace {

class DuckReader final : public ParquetReader {
 public:
  explicit DuckReader(ReaderSettings settings) : settings_(std::move(settings)) {}

  FileFacts inspect(const std::filesystem::path& path, Depth depth, std::stop_token stop) override {
    if (!inspector_) inspector_ = std::make_unique<Inspector>(settings_);
    return inspector_->inspect(path, depth, stop);
  }

  std::unique_ptr<Profiles> open(std::vector<InputFile> files) override {
    return std::make_unique<DuckProfiles>(settings_, std::move(files));
  }

  std::unique_ptr<ScorePair> openPair(std::vector<InputFile> now, std::vector<InputFile> before) override {
    return std::make_unique<DuckScorePair>(settings_, std::move(now), std::move(before));
  }

 private:
  ReaderSettings settings_;
  std::unique_ptr<Inspector> inspector_;
};

}  // namespace
}  // namespace caiexport::reader

extern "C" {

__attribute__((visibility("default"))) const char* caiexportReaderAbi() {
  return caiexport::reader::kModuleAbi;
}

__attribute__((visibility("default"))) const char* caiexportReaderEngine() {
  return duckdb_library_version();
}

__attribute__((visibility("default"))) void caiexportReaderWorkbook(
    const std::filesystem::path& path, const std::vector<caiexport::reader::Sheet>& sheets) {
  caiexport::reader::writeSheets(path, sheets);
}

__attribute__((visibility("default"))) caiexport::reader::ParquetReader* caiexportReaderOpen(
    const caiexport::reader::ReaderSettings& settings) {
  return std::make_unique<caiexport::reader::DuckReader>(settings).release();
}
}
