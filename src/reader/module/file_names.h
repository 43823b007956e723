#pragma once
/// Files as DuckDB must be told of them. It takes names for patterns (`*`, `?`, `[`), so those are escaped; a backslash
/// in such a name can't be, so that file is named by a descriptor that stays open.

#include <filesystem>
#include <string>
#include <vector>

namespace caiexport::reader {

/// One existing file. Movable only.
class FileName {
 public:
  /// Follows links. Error(io) if there is no such regular file or it can't be read.
  explicit FileName(const std::filesystem::path& path);
  ~FileName();
  FileName(FileName&& other) noexcept;
  FileName& operator=(FileName&&) = delete;

  /// Absolute, without links.
  const std::filesystem::path& path() const { return path_; }
  /// For SQL.
  const std::string& pattern() const { return pattern_; }
  /// What DuckDB must be allowed to open.
  std::vector<std::string> allowed() const;

 private:
  std::filesystem::path path_;
  std::string pattern_;
  std::string literal_;
  int descriptor_ = -1;
};

/// Parquet's frame: `PAR1` at both ends and a footer that fits between. DuckDB looks at the end only.
/// Error(verification) with the reason; returns the size of the file.
std::uint64_t checkFrame(const std::filesystem::path& path);

}  // namespace caiexport::reader
