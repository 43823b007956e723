#pragma once
/// The files as one table whose columns all have names that SQL can tell apart.

#include <map>
#include <string>
#include <vector>

#include "column_names.h"
#include "duck.h"
#include "file_names.h"
#include "type_tree.h"

namespace caiexport::reader {

std::vector<Type> columnsOf(const Statement& statement);

/// `['a', 'b']` of files from `begin` up to `end`.
std::string fileListSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end);
/// Reads them, columns united by name.
std::string readSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end,
                    const std::string& more = {});

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

}  // namespace caiexport::reader
