#pragma once
/// The type of a column as plain data.

#include <duckdb.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::reader {

struct Type {
  std::string name;  ///< Of the column or field; empty for elements of lists and maps.
  duckdb_type id = DUCKDB_TYPE_INVALID;
  duckdb_type storage = DUCKDB_TYPE_INVALID;  ///< Of a decimal or an enum.
  std::uint8_t width = 0;                     ///< Of a decimal.
  std::uint8_t scale = 0;                     ///< Of a decimal.
  std::uint64_t arraySize = 0;
  bool json = false;                     ///< Text that is JSON by its type.
  std::vector<std::string> labels = {};  ///< Of an enum.
  /// Fields of a struct; the element of a list or array; key and value of a map.
  std::vector<Type> children = {};

  bool isStruct() const { return id == DUCKDB_TYPE_STRUCT; }
  bool isNumeric() const;
  bool isTime() const;  ///< A date or a timestamp of any kind.
  /// False if values of this type, or inside it, must be turned into text by DuckDB.
  bool isReadable() const;
  /// As in SQL.
  std::string describe() const;
};

Type readType(std::string name, duckdb_logical_type type);

/// A field of a struct, or a column, by its dotted path.
struct Found {
  std::vector<std::string> steps = {};  ///< Names from the column down, as they are spelt in the files.
  const Type* type = nullptr;
};

/// Finds a dotted path among `columns` (names may hold dots themselves): exact first, then without case. `type` is null
/// if there is none, or if without case there are several.
Found findPath(const std::vector<Type>& columns, std::string_view path);

/// Fields whose path ends in `end`, e.g. `score` or `churn.score`: as it is spelt, else without case. Groups only where
/// no other field is meant.
std::vector<Found> findByEnd(const std::vector<Type>& columns, std::string_view end);

/// All fields, groups before what is in them.
std::vector<Found> allFields(const std::vector<Type>& columns);

/// The names with dots between.
std::string dotted(const std::vector<std::string>& steps);

/// SQL for the field.
std::string fieldSql(const std::vector<std::string>& steps);

}  // namespace caiexport::reader
