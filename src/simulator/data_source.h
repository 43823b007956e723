#pragma once
/// Where the bytes of simulated files come from.

#include <cstdint>
#include <string>
#include <vector>

#include "simulator/content.h"

namespace caiexport::simulator {

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

/// Called by one thread at a time.
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

}  // namespace caiexport::simulator
