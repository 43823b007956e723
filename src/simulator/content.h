#pragma once
/// Bytes that the simulator serves, and where they come from.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "simulator/content.h"

namespace caiexport::simulator {

/// Immutable bytes of known length. Thread safe.
class Content {
 public:
  virtual ~Content() = default;
  virtual std::uint64_t sizeBytes() const = 0;
  /// Fills `into` from `offset`; the range must lie within the content. core::Error(io) if it can't be read.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) const = 0;
};

using ContentPtr = std::shared_ptr<const Content>;

ContentPtr memoryContent(std::string bytes);
/// Pseudo-random bytes computed from `seed` and the offset; nothing is stored.
ContentPtr patternContent(std::uint64_t seed, std::uint64_t sizeBytes);
/// A file on disk that stays as it is. core::Error(io) if it is not there.
ContentPtr fileContent(const std::filesystem::path& path);

/// One batch's worth of files.
struct DataRequest {
  std::uint64_t seed = 0;     ///< Other seeds give other scores.
  std::uint64_t records = 0;  ///< In all files together.
  std::uint64_t files = 0;
  std::string segmentId = {};  ///< Set for an exported audience: every record is a member.
};

struct DataFile {
  ContentPtr content = {};
  std::uint64_t records = 0;
};

/// Makes the files of batches. Called by one thread at a time.
class DataSource {
 public:
  virtual ~DataSource() = default;
  /// As many files as were asked for. core::Error if they can't be made.
  virtual std::vector<DataFile> make(const DataRequest& request) = 0;
};

/// Pseudo-random bytes, `fileBytes` in each file, computed when they are read.
class PatternSource final : public DataSource {
 public:
  explicit PatternSource(std::uint64_t fileBytes) : fileBytes_(fileBytes) {}
  std::vector<DataFile> make(const DataRequest& request) override;

 private:
  std::uint64_t fileBytes_;
};

/// How many of `records` go into file `index` of `files`: even shares, the remainder to the first ones.
std::uint64_t recordsInFile(std::uint64_t records, std::uint64_t files, std::uint64_t index);

/// Customer AI scores and exported profiles as real Parquet files, made through DuckDB: in a folder, one folder for
/// each set of parameters. Those that are there already are taken.
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
