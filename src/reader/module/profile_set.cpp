#include "profile_set.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <string_view>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::array<std::string_view, 3> kExtraNames{"_batch_id", "_batch_created", "_file"};

bool sameName(std::string_view left, std::string_view right) {
  return core::toLower(left) == core::toLower(right);
}

std::string joined(const std::vector<std::string>& pieces, std::string_view between) {
  std::string text;
  for (const std::string& piece : pieces) {
    if (!text.empty()) text += between;
    text += piece;
  }
  return text;
}

/// One entry a file: the same file twice would count its people twice.
std::vector<InputFile> withoutRepeats(std::vector<InputFile> files) {
  std::set<fs::path> seen;
  std::vector<InputFile> kept;
  for (InputFile& file : files) {
    std::error_code failure;
    const fs::path path = fs::canonical(file.path, failure);
    if (failure || seen.insert(path).second) kept.push_back(std::move(file));
  }
  return kept;
}

std::vector<FileName> namesOf(const std::vector<InputFile>& files) {
  if (files.empty()) throw Error(Category::usage, "there is no file to read");
  std::vector<FileName> names;
  names.reserve(files.size());
  for (const InputFile& file : files) {
    names.emplace_back(file.path);
    checkFrame(names.back().path());
  }
  return names;
}

std::vector<std::string> allowedPaths(const std::vector<FileName>& names, std::vector<std::string> also) {
  for (const FileName& name : names) {
    for (std::string& path : name.allowed()) also.push_back(std::move(path));
  }
  return also;
}

bool isNameLetter(char letter) {
  return letter == '_' || (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
         static_cast<unsigned char>(letter) >= 0x80;
}

/// Whether the SQL has the word in it; in a text literal counts too, which does no harm.
bool mentions(const std::string& sql, std::string_view word) {
  const std::string text = core::toLower(sql);
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || !isNameLetter(text[at - 1]);
    const bool ends = end == text.size() || !isNameLetter(text[end]);
    if (begins && ends) return true;
  }
  return false;
}

bool mentions(const ReadQuery& query, std::string_view word) {
  return mentions(query.where, word) || mentions(query.sql, word) ||
         std::any_of(query.columns.begin(), query.columns.end(),
                     [word](const std::string& column) { return sameName(column, word); });
}

const Type* columnNamed(const std::vector<Type>& columns, std::string_view name) {
  for (const Type& column : columns) {
    if (sameName(column.name, name)) return &column;
  }
  return nullptr;
}

std::vector<Type> columnsOf(const Statement& statement) {
  std::vector<Type> columns;
  for (std::size_t index = 0; index < statement.columnCount(); ++index) {
    columns.push_back(readType(statement.columnName(index), statement.columnType(index).get()));
  }
  return columns;
}

void collectPaths(const std::vector<Type>& fields, const std::string& above, std::vector<std::string>& paths) {
  for (const Type& field : fields) {
    const std::string path = above.empty() ? field.name : above + "." + field.name;
    if (field.isStruct()) {
      collectPaths(field.children, path, paths);
    } else {
      paths.push_back(path);
    }
  }
}

/// Fields that the one asked for may have meant: with the same last name, else all.
std::string pathsLike(const std::vector<Type>& columns, std::string_view wanted) {
  static constexpr std::size_t kMost = 12;
  std::vector<std::string> paths;
  collectPaths(columns, {}, paths);
  const std::string last = core::toLower(wanted.substr(wanted.rfind('.') + 1));
  std::vector<std::string> alike;
  for (const std::string& path : paths) {
    if (core::toLower(path).find(last) != std::string::npos) alike.push_back(path);
  }
  if (alike.empty()) alike = paths;
  const bool more = alike.size() > kMost;
  if (more) alike.resize(kMost);
  return core::printable(joined(alike, ", ") + (more ? ", ..." : ""));
}

Found findColumn(const std::vector<Type>& columns, const std::string& path) {
  Found found = findPath(columns, path);
  if (found.type != nullptr) return found;
  throw Error(Category::usage, "there is no column `" + core::printable(path) + "`",
              {.hint = "there are: " + pathsLike(columns, path)});
}

/// Named fields as the tree that they make.
struct Branch {
  std::string name;
  std::string sql = {};  ///< Of a whole field; empty for a struct to be built.
  std::vector<Branch> children = {};
};

using ColumnSql = std::function<std::string(const std::vector<std::string>& steps)>;

void addField(std::vector<Branch>& level, const std::vector<std::string>& steps, std::size_t depth,
              const ColumnSql& columnSql) {
  auto branch = std::find_if(level.begin(), level.end(), [&](const Branch& each) { return each.name == steps[depth]; });
  const bool known = branch != level.end();
  if (!known) branch = level.insert(level.end(), Branch{.name = steps[depth]});
  if (known && !branch->sql.empty()) return;  // the whole group is there already
  if (depth + 1 == steps.size()) {
    branch->sql = columnSql(steps);
    branch->children.clear();
  } else {
    addField(branch->children, steps, depth + 1, columnSql);
  }
}

std::string branchSql(const Branch& branch) {
  if (!branch.sql.empty()) return branch.sql;
  std::vector<std::string> fields;
  for (const Branch& child : branch.children) fields.push_back(sqlName(child.name) + " := " + branchSql(child));
  return "struct_pack(" + joined(fields, ", ") + ")";
}

std::string nestedList(const std::vector<Found>& fields, const ColumnSql& columnSql) {
  std::vector<Branch> tree;
  for (const Found& field : fields) addField(tree, field.steps, 0, columnSql);
  std::vector<std::string> columns;
  columns.reserve(tree.size());
  for (const Branch& branch : tree) columns.push_back(branchSql(branch) + " AS " + sqlName(branch.name));
  return joined(columns, ", ");
}

std::string flatList(const std::vector<Found>& fields, const ColumnSql& columnSql) {
  std::vector<std::string> columns;
  columns.reserve(fields.size());
  for (const Found& field : fields) columns.push_back(columnSql(field.steps) + " AS " + sqlName(dotted(field.steps)));
  return joined(columns, ", ");
}

Blame blameFor(const ReadQuery& query) {
  if (!query.sql.empty()) return {.what = "cannot use the SQL", .usersSql = true};
  if (!query.where.empty()) return {.what = "cannot use the condition", .usersSql = true};
  return {.what = "cannot read the profiles"};
}

const Type* fieldNamed(const Type& group, std::string_view name) {
  return columnNamed(group.children, name);
}

/// SQL of the list of one namespace's identities. XDM has a map of namespaces; other writers make it a struct.
std::string identityListSql(const Type& map, const std::string& name) {
  const std::string column = sqlName(map.name);
  if (map.id == DUCKDB_TYPE_MAP) {
    return "flatten(list_transform(list_filter(map_entries(" + column +
           "), lambda e: lower(e.key) = " + sqlText(core::toLower(name)) + "), lambda e: e.value))";
  }
  const Type* field = map.isStruct() ? fieldNamed(map, name) : nullptr;
  return field == nullptr ? std::string() : fieldSql({map.name, field->name});
}

const Type* identityType(const Type& map, const std::string& name) {
  const Type* list = nullptr;
  if (map.id == DUCKDB_TYPE_MAP) list = &map.children[1];
  if (map.isStruct()) list = fieldNamed(map, name);
  if (list == nullptr || list->id != DUCKDB_TYPE_LIST || !list->children[0].isStruct()) return nullptr;
  return &list->children[0];
}

}  // namespace

ProfileSet::ProfileSet(const ReaderSettings& settings, std::vector<InputFile> files,
                       std::vector<std::string> alsoAllowed)
    : files_(withoutRepeats(std::move(files))),
      names_(namesOf(files_)),
      duck_(settings, {.paths = allowedPaths(names_, std::move(alsoAllowed))}) {
  const Blame blame{.what = "cannot read the files as one set"};
  columns_ = columnsOf(duck_.prepareSelect("SELECT * FROM " + fileList(), blame));
}

std::uint64_t ProfileSet::rowCount() {
  std::vector<std::string> patterns;
  for (const FileName& name : names_) patterns.push_back(sqlText(name.pattern()));
  const auto numbers =
      duck_.numbers("SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata([" + joined(patterns, ", ") + "])",
                    {.what = "cannot read the footers"});
  return numbers.empty() ? 0 : static_cast<std::uint64_t>(numbers[0]);
}

std::string ProfileSet::fileList() const {
  std::vector<std::string> patterns;
  for (const FileName& name : names_) patterns.push_back(sqlText(name.pattern()));
  // Folders may be called `a=b` without being partitions.
  return "read_parquet([" + joined(patterns, ", ") + "], union_by_name = true, hive_partitioning = false)";
}

std::string ProfileSet::extraSql(std::string_view name) const {
  std::vector<std::string> values;
  for (std::size_t index = 0; index < files_.size(); ++index) {
    const InputFile& file = files_[index];
    if (name == "_batch_id") {
      values.push_back(file.batchId.empty() ? "NULL" : sqlText(file.batchId));
    } else if (name == "_batch_created") {
      values.push_back(file.batchCreated ? sqlText(core::formatTime(*file.batchCreated)) : "NULL");
    } else {
      values.push_back(sqlText(file.label.empty() ? names_[index].path().filename().string() : file.label));
    }
  }
  const std::string type = name == "_batch_created" ? "TIMESTAMPTZ[]" : "VARCHAR[]";
  return "(CAST([" + joined(values, ", ") + "] AS " + type + "))[CAST(file_index AS BIGINT) + 1]";
}

std::string ProfileSet::identitySql(const std::string& name) const {
  const Type* map = columnNamed(columns_, "identityMap");
  if (map == nullptr) {
    throw Error(Category::usage, "there is no column `identityMap` to take identities from",
                {.hint = "there are: " + pathsLike(columns_, "identity")});
  }
  const Type* identity = identityType(*map, name);
  if (identity == nullptr && map->isStruct()) return "CAST(NULL AS VARCHAR)";
  const Type* id = identity == nullptr ? nullptr : fieldNamed(*identity, "id");
  if (id == nullptr) {
    throw Error(Category::usage, "identities can't be taken from `identityMap`: it is " + map->describe());
  }
  const std::string idName = sqlText(id->name);
  const std::string known =
      "list_filter(" + identityListSql(*map, name) + ", lambda x: struct_extract(x, " + idName + ") IS NOT NULL)";
  std::string first = "struct_extract((" + known + ")[1], " + idName + ")";
  const Type* primary = fieldNamed(*identity, "primary");
  if (primary == nullptr || primary->id != DUCKDB_TYPE_BOOLEAN) return first;
  return "coalesce(struct_extract((list_filter(" + known + ", lambda x: struct_extract(x, " + sqlText(primary->name) +
         ")))[1], " + idName + "), " + first + ")";
}

std::vector<ProfileSet::Added> ProfileSet::addedBy(const ReadQuery& query) const {
  std::vector<Added> added;
  const auto isThere = [&](std::string_view name) {
    return columnNamed(columns_, name) != nullptr ||
           std::any_of(added.begin(), added.end(), [name](const Added& each) { return sameName(each.name, name); });
  };
  for (const std::string& identity : query.identities) {
    const std::string name = columnNamed(columns_, identity) == nullptr ? identity : "identityMap." + identity;
    if (!isThere(name)) added.push_back({.name = name, .sql = identitySql(identity), .identity = true});
  }
  for (const std::string_view name : kExtraNames) {
    if (mentions(query, name) && !isThere(name)) added.push_back({.name = std::string(name), .sql = extraSql(name)});
  }
  return added;
}

void ProfileSet::setUp(const ReadQuery& query) {
  added_ = addedBy(query);
  allColumns_ = columns_;
  for (const Added& column : added_) allColumns_.push_back(Type{.name = column.name, .id = DUCKDB_TYPE_VARCHAR});
  const auto isInCondition = [&query](const Added& column) {
    return core::toLower(query.where).find(core::toLower(column.name)) != std::string::npos;
  };
  throughView_ = !query.sql.empty() || std::any_of(added_.begin(), added_.end(), isInCondition);
  if (!throughView_) return;
  std::vector<std::string> identities;
  std::vector<std::string> extras;
  for (const Added& column : added_) {
    (column.identity ? identities : extras).push_back(column.sql + " AS " + sqlName(column.name));
  }
  identities.emplace_back("*");
  identities.insert(identities.end(), extras.begin(), extras.end());
  duck_.run("CREATE OR REPLACE VIEW profiles AS SELECT " + joined(identities, ", ") + " FROM " + fileList(),
            {.what = "cannot read the files as one set"});
}

std::string ProfileSet::columnSql(const std::vector<std::string>& steps) const {
  if (!throughView_ && steps.size() == 1) {
    for (const Added& column : added_) {
      if (column.name == steps.front()) return column.sql;
    }
  }
  return fieldSql(steps);
}

std::string ProfileSet::selectSql(const ReadQuery& query, Shape shape) const {
  if (!query.sql.empty()) return query.sql;
  std::vector<Found> fields;
  for (const Added& column : added_) {
    const bool named = std::any_of(query.columns.begin(), query.columns.end(),
                                   [&column](const std::string& path) { return sameName(path, column.name); });
    if (column.identity && !named) fields.push_back({.steps = {column.name}});
  }
  for (const std::string& path : query.columns) fields.push_back(findColumn(allColumns_, path));
  if (query.columns.empty()) {
    for (const Type& column : columns_) fields.push_back({.steps = {column.name}});
  }
  const auto sqlOf = [this](const std::vector<std::string>& steps) { return columnSql(steps); };
  std::string sql = "SELECT " + (shape == Shape::flat ? flatList(fields, sqlOf) : nestedList(fields, sqlOf)) +
                    " FROM " + (throughView_ ? "profiles" : source());
  if (!query.where.empty()) sql += " WHERE (\n" + query.where + "\n)";
  if (query.limit) sql += " LIMIT " + std::to_string(*query.limit);
  return sql;
}

Statement ProfileSet::prepareChecked(const ReadQuery& query, Shape shape) {
  if (!query.sql.empty() && (!query.columns.empty() || !query.where.empty())) {
    throw Error(Category::usage, "SQL of its own goes with neither columns nor a condition",
                {.hint = "write them into the SQL"});
  }
  setUp(query);
  return duck_.prepareSelect(selectSql(query, shape), blameFor(query));
}

RowSource ProfileSet::prepare(const ReadQuery& query, Shape shape) {
  RowSource source{.statement = prepareChecked(query, shape), .columns = {}};
  source.columns = columnsOf(source.statement);
  const bool allReadable =
      std::all_of(source.columns.begin(), source.columns.end(), [](const Type& column) { return column.isReadable(); });
  if (allReadable) return source;
  duck_.run("CREATE OR REPLACE VIEW caiexport_rows AS " + selectSql(query, shape), blameFor(query));
  return readable(prepareOwn("SELECT * FROM caiexport_rows"));
}

/// Types that we don't write ourselves become text, or JSON where they are inside something.
RowSource ProfileSet::readable(RowSource source) {
  std::vector<std::string> select;
  for (const Type& column : source.columns) {
    const std::string name = sqlName(column.name);
    if (column.isReadable()) {
      select.push_back(name);
    } else if (column.children.empty()) {
      select.push_back(std::string("CAST(").append(name).append(" AS VARCHAR) AS ").append(name));
    } else {
      select.push_back(std::string("to_json(").append(name).append(") AS ").append(name));
    }
  }
  return prepareOwn("SELECT " + joined(select, ", ") + " FROM caiexport_rows");
}

std::string ProfileSet::rowsSql(const ReadQuery& query, Shape shape) {
  prepareChecked(query, shape);
  if (query.sql.empty()) return selectSql(query, shape);
  // As a view, the SQL may end in `;` or a comment.
  duck_.run("CREATE OR REPLACE VIEW caiexport_rows AS " + query.sql, blameFor(query));
  return "SELECT * FROM caiexport_rows" + (query.limit ? " LIMIT " + std::to_string(*query.limit) : std::string());
}

RowSource ProfileSet::prepareOwn(const std::string& sql) {
  RowSource source{.statement = duck_.prepareSelect(sql, {.what = "cannot read the profiles"}), .columns = {}};
  source.columns = columnsOf(source.statement);
  return source;
}

}  // namespace caiexport::reader
