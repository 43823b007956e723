#include "file_union.h"

#include <algorithm>

#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

const Blame kBlame{.what = "cannot read the files as one set"};
constexpr const char* kPath =
    "\x01"
    "caiexport path";

bool hasColumn(const std::vector<Type>& columns, std::string_view name) {
  return std::ranges::any_of(columns, [name](const Type& column) { return core::toLower(column.name) == name; });
}

}  // namespace

std::vector<Type> columnsOf(const Statement& statement) {
  std::vector<Type> columns;
  for (std::size_t index = 0; index < statement.columnCount(); ++index) {
    columns.push_back(readType(statement.columnName(index), statement.columnType(index).get()));
  }
  return columns;
}

std::string fileListSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end) {
  std::string list = "[";
  for (std::size_t index = begin; index < end; ++index) {
    list += (index == begin ? "" : ", ") + sqlText(files[index].pattern());
  }
  return list + "]";
}

std::string readSql(const std::vector<FileName>& files, std::size_t begin, std::size_t end, const std::string& more) {
  // Folders may be called `a=b` without being partitions.
  return "read_parquet(" + fileListSql(files, begin, end) + ", union_by_name = true, hive_partitioning = false" + more +
         ")";
}

FileUnion::FileUnion(Duck& duck, const std::vector<FileName>& files, const std::vector<RawField>& schemas) {
  const bool known = schemas.size() == files.size();
  for (std::size_t index = 0; index < files.size(); ++index) {
    if (runs_.empty() || (known && !(schemas[index] == runs_.back().schema))) {
      runs_.push_back({.begin = index, .schema = known ? schemas[index] : RawField()});
    }
    runs_.back().end = index + 1;
  }
  for (Run& run : runs_) {
    run.columns = columnsOf(duck.prepareSelect("SELECT * FROM " + readSql(files, run.begin, run.end), kBlame));
    if (run.columns.size() != run.schema.children.size()) run.schema.children.clear();
  }
}

std::string FileUnion::sql(const std::vector<FileName>& files, const ColumnNames& names,
                           const std::map<std::string, std::string>& moved) const {
  std::string sql;
  for (const Run& run : runs_) {
    sql += (sql.empty() ? "" : " UNION ALL BY NAME ") + runSql(run, files, names, moved);
  }
  return "(" + sql + ")";
}

std::string FileUnion::runSql(const Run& run, const std::vector<FileName>& files, const ColumnNames& names,
                              const std::map<std::string, std::string>& moved) const {
  std::string list;
  for (std::size_t index = 0; index < run.columns.size(); ++index) {
    const Type& column = run.columns[index];
    const bool known = !run.schema.children.empty();
    const std::string& name = known ? run.schema.children[index].name : column.name;
    const auto elsewhere = moved.find(name);
    const std::string field = sqlName(column.name);
    list += (known ? names.renamed(field, column, run.schema.children[index]) : field) + " AS " +
            sqlName(elsewhere == moved.end() ? names.sqlOf(name) : elsewhere->second) + ", ";
  }
  const std::string first = std::to_string(run.begin);
  if (!hasColumn(run.columns, "file_index")) {
    return "SELECT " + list + "CAST(file_index AS BIGINT) + " + first + " AS " + sqlName(kPosition) + " FROM " +
           readSql(files, run.begin, run.end);
  }
  // A column of the files hides DuckDB's own of that name; the path may be called as we like.
  std::string paths;
  for (std::size_t index = run.begin; index < run.end; ++index) {
    paths += (paths.empty() ? "" : ", ") + sqlText(files[index].literal());
  }
  return "SELECT " + list + "list_position([" + paths + "], " + sqlName(kPath) + ") - 1 + " + first + " AS " +
         sqlName(kPosition) + " FROM " + readSql(files, run.begin, run.end, ", filename = " + sqlText(kPath));
}

}  // namespace caiexport::reader
