#include "duck.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

/// What can be done with values of a type that has no others inside.
enum class Kind : std::uint8_t {
  foreign,   ///< Nothing: DuckDB must turn them into text.
  plain,     ///< They can be read.
  number,    ///< And are numbers,
  fraction,  ///< or floating ones,
  time       ///< or dates or timestamps.
};

struct Scalar {
  duckdb_type id;
  const char* name;
  Kind kind;
};

constexpr std::array kScalars{
    Scalar{DUCKDB_TYPE_BOOLEAN, "BOOLEAN", Kind::plain},
    Scalar{DUCKDB_TYPE_TINYINT, "TINYINT", Kind::number},
    Scalar{DUCKDB_TYPE_SMALLINT, "SMALLINT", Kind::number},
    Scalar{DUCKDB_TYPE_INTEGER, "INTEGER", Kind::number},
    Scalar{DUCKDB_TYPE_BIGINT, "BIGINT", Kind::number},
    Scalar{DUCKDB_TYPE_UTINYINT, "UTINYINT", Kind::number},
    Scalar{DUCKDB_TYPE_USMALLINT, "USMALLINT", Kind::number},
    Scalar{DUCKDB_TYPE_UINTEGER, "UINTEGER", Kind::number},
    Scalar{DUCKDB_TYPE_UBIGINT, "UBIGINT", Kind::number},
    Scalar{DUCKDB_TYPE_HUGEINT, "HUGEINT", Kind::number},
    Scalar{DUCKDB_TYPE_UHUGEINT, "UHUGEINT", Kind::number},
    Scalar{DUCKDB_TYPE_FLOAT, "FLOAT", Kind::fraction},
    Scalar{DUCKDB_TYPE_DOUBLE, "DOUBLE", Kind::fraction},
    Scalar{DUCKDB_TYPE_TIMESTAMP, "TIMESTAMP", Kind::time},
    Scalar{DUCKDB_TYPE_TIMESTAMP_S, "TIMESTAMP_S", Kind::time},
    Scalar{DUCKDB_TYPE_TIMESTAMP_MS, "TIMESTAMP_MS", Kind::time},
    Scalar{DUCKDB_TYPE_TIMESTAMP_NS, "TIMESTAMP_NS", Kind::time},
    Scalar{DUCKDB_TYPE_TIMESTAMP_TZ, "TIMESTAMP WITH TIME ZONE", Kind::time},
    Scalar{DUCKDB_TYPE_DATE, "DATE", Kind::time},
    Scalar{DUCKDB_TYPE_TIME, "TIME", Kind::plain},
    Scalar{DUCKDB_TYPE_TIME_TZ, "TIME WITH TIME ZONE", Kind::foreign},
    Scalar{DUCKDB_TYPE_INTERVAL, "INTERVAL", Kind::foreign},
    Scalar{DUCKDB_TYPE_VARCHAR, "VARCHAR", Kind::plain},
    Scalar{DUCKDB_TYPE_BLOB, "BLOB", Kind::plain},
    Scalar{DUCKDB_TYPE_UUID, "UUID", Kind::plain},
    Scalar{DUCKDB_TYPE_BIT, "BIT", Kind::foreign},
    Scalar{DUCKDB_TYPE_UNION, "UNION", Kind::foreign},
    Scalar{DUCKDB_TYPE_ENUM, "ENUM", Kind::plain},
    Scalar{DUCKDB_TYPE_SQLNULL, "NULL", Kind::plain},
    Scalar{DUCKDB_TYPE_DECIMAL, "DECIMAL", Kind::number},
};

constexpr auto kKinds = [] {
  std::array<Kind, 64> kinds{};
  for (const Scalar& scalar : kScalars) kinds[scalar.id] = scalar.kind;
  return kinds;
}();

/// DuckDB's enum of C grows with each of its versions.
Kind kindOf(duckdb_type id) {
  return id < kKinds.size() ? kKinds[id] : Kind::foreign;
}

void readDecimal(Type& result, duckdb_logical_type type) {
  result.storage = duckdb_decimal_internal_type(type);
  result.width = duckdb_decimal_width(type);
  result.scale = duckdb_decimal_scale(type);
}

void readEnum(Type& result, duckdb_logical_type type) {
  result.storage = duckdb_enum_internal_type(type);
  const std::uint32_t count = duckdb_enum_dictionary_size(type);
  for (std::uint32_t index = 0; index < count; ++index) {
    result.labels.push_back(takeText(duckdb_enum_dictionary_value(type, index)));
  }
}

void readStruct(Type& result, duckdb_logical_type type) {
  const idx_t count = duckdb_struct_type_child_count(type);
  for (idx_t index = 0; index < count; ++index) {
    const LogicalType child(duckdb_struct_type_child_type(type, index));
    result.children.push_back(readType(takeText(duckdb_struct_type_child_name(type, index)), child.get()));
  }
}

void addChild(Type& result, duckdb_logical_type owned) {
  const LogicalType child(owned);
  result.children.push_back(readType({}, child.get()));
}

bool same(std::string_view left, std::string_view right, bool exactly) {
  return exactly ? left == right : core::toLower(left) == core::toLower(right);
}

/// All fields of that path, exactly spelt or not.
void findBelow(const std::vector<Type>& fields, std::string_view path, bool exactly,
               const std::vector<std::string>& above, std::vector<Found>& found) {
  for (const Type& field : fields) {
    std::vector<std::string> steps = above;
    steps.push_back(field.name);
    if (same(field.name, path, exactly)) found.push_back({.steps = steps, .type = &field});
    const std::size_t length = field.name.size();
    if (!field.isStruct() || path.size() <= length || path[length] != '.') continue;
    if (same(field.name, path.substr(0, length), exactly)) {
      findBelow(field.children, path.substr(length + 1), exactly, steps, found);
    }
  }
}

void collectFields(const std::vector<Type>& level, const std::vector<std::string>& above, std::vector<Found>& fields) {
  for (const Type& field : level) {
    std::vector<std::string> steps = above;
    steps.push_back(field.name);
    fields.push_back({steps, &field});
    if (field.isStruct()) collectFields(field.children, steps, fields);
  }
}

bool endsInSteps(std::string_view path, std::string_view end) {
  return path == end || (path.size() > end.size() && path.ends_with(end) && path[path.size() - end.size() - 1] == '.');
}

}  // namespace

bool Type::isNumeric() const {
  return kindOf(id) == Kind::number || isFloat();
}

bool Type::isTime() const {
  return kindOf(id) == Kind::time;
}

bool Type::isReadable() const {
  return children.empty() ? kindOf(id) != Kind::foreign : std::ranges::all_of(children, &Type::isReadable);
}

std::string Type::describe() const {
  switch (id) {
    case DUCKDB_TYPE_DECIMAL:
      return "DECIMAL(" + std::to_string(width) + "," + std::to_string(scale) + ")";
    case DUCKDB_TYPE_LIST:
      return children[0].describe() + "[]";
    case DUCKDB_TYPE_ARRAY:
      return children[0].describe() + "[" + std::to_string(arraySize) + "]";
    case DUCKDB_TYPE_MAP:
      return "MAP(" + children[0].describe() + ", " + children[1].describe() + ")";
    case DUCKDB_TYPE_STRUCT: {
      std::string fields;
      for (const Type& child : children)
        fields += (fields.empty() ? "" : ", ") + sqlName(child.name) + " " + child.describe();
      return "STRUCT(" + fields + ")";
    }
    default:
      break;
  }
  for (const Scalar& scalar : kScalars) {
    if (scalar.id == id) return scalar.name;
  }
  return "OTHER";
}

Type readType(std::string name, duckdb_logical_type type) {
  Type result;
  result.name = std::move(name);
  result.id = duckdb_get_type_id(type);
  switch (result.id) {
    case DUCKDB_TYPE_DECIMAL:
      readDecimal(result, type);
      break;
    case DUCKDB_TYPE_ENUM:
      readEnum(result, type);
      break;
    case DUCKDB_TYPE_STRUCT:
      readStruct(result, type);
      break;
    case DUCKDB_TYPE_LIST:
      addChild(result, duckdb_list_type_child_type(type));
      break;
    case DUCKDB_TYPE_ARRAY:
      addChild(result, duckdb_array_type_child_type(type));
      result.arraySize = duckdb_array_type_array_size(type);
      break;
    case DUCKDB_TYPE_MAP:
      addChild(result, duckdb_map_type_key_type(type));
      addChild(result, duckdb_map_type_value_type(type));
      break;
    case DUCKDB_TYPE_VARCHAR:
      result.json = takeText(duckdb_logical_type_get_alias(type)) == "JSON";
      break;
    default:
      break;
  }
  return result;
}

std::vector<Type> columnsOf(const Statement& statement) {
  std::vector<Type> columns;
  for (std::size_t index = 0; index < statement.columnCount(); ++index) {
    columns.push_back(readType(statement.columnName(index), statement.columnType(index).get()));
  }
  return columns;
}

Found findPath(const std::vector<Type>& columns, std::string_view path) {
  std::vector<Found> found;
  findBelow(columns, path, true, {}, found);
  if (!found.empty()) return *std::ranges::min_element(found, {}, [](const Found& each) { return each.steps.size(); });
  findBelow(columns, path, false, {}, found);
  return found.size() == 1 ? found.front() : Found();
}

std::vector<Found> allFields(const std::vector<Type>& columns) {
  std::vector<Found> fields;
  collectFields(columns, {}, fields);
  return fields;
}

std::vector<Found> findByEnd(const std::vector<Type>& columns, std::string_view end) {
  const std::vector<Found> fields = allFields(columns);
  const auto matching = [&](bool exact, bool groups) {
    std::vector<Found> found;
    for (const Found& field : fields) {
      const std::string path = dotted(field.steps);
      const bool ends = exact ? endsInSteps(path, end) : endsInSteps(core::toLower(path), core::toLower(end));
      if (ends && field.type->isStruct() == groups) found.push_back(field);
    }
    return found;
  };
  for (const bool groups : {false, true}) {
    for (const bool exact : {true, false}) {
      std::vector<Found> found = matching(exact, groups);
      if (!found.empty()) return found;
    }
  }
  return {};
}

std::string dotted(const std::vector<std::string>& steps) {
  std::string path;
  for (const std::string& step : steps) path += (path.empty() ? "" : ".") + step;
  return path;
}

std::string fieldSql(const std::vector<std::string>& steps) {
  std::string sql = sqlName(steps.front());
  for (std::size_t index = 1; index < steps.size(); ++index) {
    sql.insert(0, "struct_extract(").append(", ").append(sqlText(steps[index])).append(")");
  }
  return sql;
}

}  // namespace caiexport::reader
