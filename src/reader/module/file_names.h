#pragma once
/// Files as DuckDB must be told of them. It takes names for patterns (`*`, `?`, `[`), so those are escaped; a backslash
/// in such a name can't be, so that file is named by a descriptor that stays open.

#include <filesystem>
#include <string>
#include <vector>

namespace caiexport::reader {

/// The file itself: absolute, without links. Error(io) if there is no such regular file or it can't be read.
std::filesystem::path readableFile(const std::filesystem::path& path);

/// One existing file. Movable only.
class FileName {
 public:
  /// As readableFile().
  explicit FileName(const std::filesystem::path& path);
  ~FileName();
  FileName(FileName&& other) noexcept;
  FileName& operator=(FileName&&) = delete;

  /// Absolute, without links.
  const std::filesystem::path& path() const { return path_; }
  /// For SQL.
  const std::string& pattern() const { return pattern_; }
  /// As DuckDB tells it.
  const std::string& literal() const { return literal_; }
  /// What DuckDB must be allowed to open.
  std::vector<std::string> allowed() const;

 private:
  std::filesystem::path path_;
  std::string pattern_;
  std::string literal_;
  int descriptor_ = -1;
};

/// A place that DuckDB may open, at which one file after another is shown to it: a database that is locked to this
/// place serves many files. To open one database a file would cost more than reading the footer.
class FileWindow {
 public:
  FileWindow();
  ~FileWindow();
  FileWindow(const FileWindow&) = delete;
  FileWindow& operator=(const FileWindow&) = delete;

  /// Until clear() the place is this file. Error(io) if it can't be read.
  void show(const std::filesystem::path& path);
  void clear();
  /// For SQL, and what must be allowed.
  const std::string& name() const { return name_; }

 private:
  int descriptor_;
  std::string name_;
};

/// Parquet's frame: `PAR1` at both ends and a footer that fits between. DuckDB looks at the end only.
/// Error(verification) with the reason; returns the size of the file.
std::uint64_t checkFrame(const std::filesystem::path& path);

}  // namespace caiexport::reader
