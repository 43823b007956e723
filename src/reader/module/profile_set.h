#pragma once
/// Files united as the view `profiles` of one database.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "file_names.h"
#include "type_tree.h"

namespace caiexport::reader {

/// A statement that makes rows, and what they are made of.
struct RowSource {
  Statement statement;
  std::vector<Type> columns;
};

/// How columns that were named by dotted paths are shaped.
enum class Shape { flat, nested };

class ProfileSet {
 public:
  /// Checks every file's frame, opens a database that sees them (and `alsoAllowed`) alone, and reads the schema.
  ProfileSet(const ReaderSettings& settings, std::vector<InputFile> files, std::vector<std::string> alsoAllowed = {});

  Duck& duck() { return duck_; }
  /// Without the extra columns.
  const std::vector<Type>& columns() const { return columns_; }
  std::uint64_t rowCount();

  /// Prepares the query's statement; its limit is not in it if the query is the user's own SQL.
  RowSource prepare(const ReadQuery& query, Shape shape);
  /// SQL of the query's rows, its limit included, checked as prepare does.
  std::string rowsSql(const ReadQuery& query, Shape shape);
  /// For the FROM of our own SELECTs: the files themselves. A view would do, but DuckDB reads whole groups through a
  /// view where one field of them is asked for.
  std::string source() const { return fileList() + " AS profiles"; }
  RowSource prepareOwn(const std::string& sql);

 private:
  /// A column that is not in the files.
  struct Added {
    std::string name;
    std::string sql;
    bool identity = false;
  };

  std::string fileList() const;
  std::string extraSql(std::string_view name) const;
  std::string identitySql(const std::string& name) const;
  /// Settles what the query adds to the files' columns; makes the view if the user's own words need it.
  void setUp(const ReadQuery& query);
  std::vector<Added> addedBy(const ReadQuery& query) const;
  std::string columnSql(const std::vector<std::string>& steps) const;
  std::string selectSql(const ReadQuery& query, Shape shape) const;
  RowSource readable(RowSource source);
  Statement prepareChecked(const ReadQuery& query, Shape shape);

  std::vector<InputFile> files_;
  std::vector<FileName> names_;
  Duck duck_;
  std::vector<Type> columns_;  ///< Of the files.
  // Of the query at hand:
  std::vector<Added> added_;
  std::vector<Type> allColumns_;  ///< Those of the files and the added ones.
  bool throughView_ = false;
};

}  // namespace caiexport::reader
