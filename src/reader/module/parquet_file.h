#pragma once
/// Parquet files: one by itself, checked, and its columns renamed; those of a set, as DuckDB must be told of them, and
/// as one table whose columns all have names that SQL can tell apart.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/descriptors.h"
#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "parquet_frame.h"

namespace caiexport::reader {

/// One existing file. DuckDB takes names for patterns (`*`, `?`, `[`), so those are escaped; a backslash in such a name
/// can't be, so that file is named by a descriptor that stays open. Movable only.
class FileName {
 public:
  /// As readableFile().
  explicit FileName(const std::filesystem::path& path);

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
  core::Descriptor descriptor_;
};

/// A place that DuckDB may open, at which one file after another is shown to it: a database that is locked to this
/// place serves many files. To open one database a file would cost more than reading the footer.
class FileWindow {
 public:
  FileWindow();

  /// Until clear() the place is this file. Error(io) if it can't be read.
  void show(const std::filesystem::path& path);
  void clear();
  /// For SQL, and what must be allowed.
  const std::string& name() const { return name_; }

 private:
  core::Descriptor descriptor_;
  std::string name_;
};

/// `['a', 'b']` of files from `begin` up to `end`.
std::string fileListSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end);
/// How DuckDB gets the columns of several files.
enum class Columns : std::uint8_t {
  united,  ///< By name, from the footers of all of them, which stay in memory.
  alike,   ///< From the first file: they are the same in all.
};
std::string readSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end,
                    Columns columns = Columns::united, const std::string& more = {});

class FileUnion {
 public:
  /// A column that tells which file a row is of, as an index into `files`.
  static constexpr const char* kPosition =
      "\x01"
      "caiexport file";

  /// `schemas` of all files, or none where no names clash.
  FileUnion(Duck& duck, const std::vector<FileName>& files, const std::vector<RawField>& schemas);

  /// The files' columns by the names for SQL, those in `moved` by the names given there, and kPosition.
  std::string sql(const std::vector<FileName>& files, const ColumnNames& names,
                  const std::map<std::string, std::string>& moved) const;

 private:
  /// Files in a row that have the same schema.
  struct Run {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::vector<Type> columns = {};  ///< As DuckDB calls them.
    RawField schema = {};            ///< No children: the columns are called as in the files.
  };
  std::string runSql(const Run& run, const std::vector<FileName>& files, const ColumnNames& names,
                     const std::map<std::string, std::string>& moved) const;

  std::vector<Run> runs_;
};

/// The schema in the footer's own bytes: files with the same have the same columns, of the same types.
/// Error(verification) for a footer that is none.
std::string schemaOf(const Frame& frame, const std::filesystem::path& path);

/// Checks single files, one after another.
class Inspector {
 public:
  explicit Inspector(const ReaderSettings& settings)
      : duck_(settings, {.paths = {window_.name()}, .filesChange = true}) {}

  /// As ParquetReader::inspect.
  FileFacts inspect(const std::filesystem::path& path, Depth depth, const std::stop_token& stop);

 private:
  FileWindow window_;
  Duck duck_;
};

/// Puts `rename(name)`, which must have the same length, in place of every column's name in the footer.
/// Error(io); Error(internal) for a footer that is none.
void renameColumns(const std::filesystem::path& file, const std::function<std::string(std::string)>& rename);

}  // namespace caiexport::reader
