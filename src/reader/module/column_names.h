#pragma once
/// Columns whose names differ by case alone. To Parquet they are two; SQL takes them for one, and DuckDB renames the
/// second. Here each gets a name of its own for SQL, of the same length, and its real name back in all that is shown.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "duck.h"
#include "type_tree.h"

namespace caiexport::reader {

/// A column or group as it is spelt in a file.
struct RawField {
  std::string name;
  bool list = false;
  bool map = false;
  bool repeated = false;
  std::vector<RawField> children = {};
  bool operator==(const RawField&) const = default;
};

/// Of each of the files, in their order; `files` is SQL of the list. Nothing where no two names, anywhere in the files,
/// differ by case alone, which costs no more than the footers.
std::optional<std::vector<RawField>> schemasIfNamesClash(Duck& duck, const std::string& files);

/// Real names and those for SQL. They differ only where two fields of one group differ by case alone.
class ColumnNames {
 public:
  ColumnNames() = default;
  /// `schemas`: those of all files.
  explicit ColumnNames(const std::vector<RawField>& schemas);

  /// These, and names for those of `columns` that differ by case alone.
  ColumnNames with(const std::vector<std::string>& columns) const;

  bool empty() const { return sql_.empty(); }
  const std::string& sqlOf(const std::string& name) const;
  /// Puts the real names back, in texts made of the names for SQL too.
  std::string shown(std::string text) const;
  void show(Type& type) const;
  /// SQL of a user, in which the fields bear their real names. Error(usage) for a name that could mean several.
  std::string forSql(Duck& duck, const std::string& sql) const;
  /// SQL of the field with the names for SQL, inside it too; `type` and `raw` are the same field's.
  std::string renamed(const std::string& field, const Type& type, const RawField& raw) const;
  /// Real names by those for SQL.
  const std::map<std::string, std::string>& realNames() const { return real_; }

 private:
  bool isIn(const RawField& raw) const;
  void add(const std::string& name);

  std::map<std::string, std::string> sql_;   ///< By the real name.
  std::map<std::string, std::string> real_;  ///< The other way round.
};

}  // namespace caiexport::reader
