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
  for (const InputFile& file : files) names.emplace_back(file.path);
  return names;
}

/// Looks at every file's frame and footer.
Columns columnsIn(const std::vector<FileName>& names) {
  std::string first;
  bool alike = true;
  for (const FileName& name : names) {
    std::string schema = schemaOf(readFrame(name.path()), name.path());
    if (&name == &names.front()) {
      first = std::move(schema);
    } else {
      alike = alike && schema == first;
    }
  }
  return alike ? Columns::alike : Columns::united;
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

std::string listedPaths(const std::vector<Found>& fields) {
  std::vector<std::string> paths;
  paths.reserve(fields.size());
  for (const Found& field : fields) paths.push_back("`" + dotted(field.steps) + "`");
  return core::printable(core::joined(paths, ", "));
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

std::string branchSql(const Branch& branch, const ColumnNames& names) {
  if (!branch.sql.empty()) return branch.sql;
  std::vector<std::string> fields;
  for (const Branch& child : branch.children) {
    fields.push_back(sqlName(names.sqlOf(child.name)) + " := " + branchSql(child, names));
  }
  return "struct_pack(" + core::joined(fields, ", ") + ")";
}

std::string nestedList(const std::vector<Found>& fields, const ColumnSql& columnSql, const ColumnNames& names) {
  std::vector<Branch> tree;
  for (const Found& field : fields) addField(tree, field.steps, 0, columnSql);
  std::vector<std::string> columns;
  columns.reserve(tree.size());
  for (const Branch& branch : tree) {
    columns.push_back(branchSql(branch, names) + " AS " + sqlName(names.sqlOf(branch.name)));
  }
  return core::joined(columns, ", ");
}

std::string flatList(const std::vector<Found>& fields, const ColumnSql& columnSql) {
  std::vector<std::string> columns;
  columns.reserve(fields.size());
  for (const Found& field : fields) columns.push_back(columnSql(field.steps) + " AS " + sqlName(dotted(field.steps)));
  return core::joined(columns, ", ");
}

/// DuckDB names the column that it does not find; which ones may have been meant is added.
[[noreturn]] void throwWithPaths(const Error& error, const std::vector<Found>& ambiguous) {
  std::vector<Found> meant;
  for (const Found& field : ambiguous) {
    const std::string name = "\"" + core::toLower(field.steps.back()) + "\"";
    if (core::toLower(error.what()).find(name) != std::string::npos) meant.push_back(field);
  }
  if (meant.empty()) throw Error(error);
  throw Error(error.category(), error.what(), {.hint = "there are several of that name: " + listedPaths(meant)});
}

/// The column of a score's bucket, as if it stood beside it.
std::string bucketName(std::vector<std::string> score) {
  score.back() = "bucket";
  return dotted(score);
}

}  // namespace

const Type* columnNamed(const std::vector<Type>& columns, std::string_view name) {
  for (const Type& column : columns) {
    if (column.name == name) return &column;
  }
  for (const Type& column : columns) {
    if (sameName(column.name, name)) return &column;
  }
  return nullptr;
}

std::string pathsLike(const std::vector<Type>& columns, std::string_view wanted) {
  static constexpr std::size_t kMost = 12;
  std::vector<std::string> paths;
  for (const Found& field : allFields(columns)) {
    if (!field.type->isStruct()) paths.push_back(dotted(field.steps));
  }
  const std::string last = core::toLower(wanted.substr(wanted.rfind('.') + 1));
  std::vector<std::string> alike;
  for (const std::string& path : paths) {
    if (core::toLower(path).find(last) != std::string::npos) alike.push_back(path);
  }
  if (alike.empty()) alike = paths;
  const bool more = alike.size() > kMost;
  if (more) alike.resize(kMost);
  return core::printable(core::joined(alike, ", ") + (more ? ", ..." : ""));
}

Found findColumn(const std::vector<Type>& columns, const std::string& path) {
  Found found = findPath(columns, path);
  if (found.type != nullptr) return found;
  const std::vector<Found> ends = findByEnd(columns, path);
  if (ends.size() == 1) return ends.front();
  if (ends.size() > 1) {
    throw Error(Category::usage, "`" + core::printable(path) + "` may be any of several columns",
                {.hint = "name one of " + listedPaths(ends)});
  }
  throw Error(Category::usage, "there is no column `" + core::printable(path) + "`",
              {.hint = "there are: " + pathsLike(columns, path)});
}

ProfileSet::ProfileSet(const ReaderSettings& settings, std::vector<InputFile> files,
                       std::vector<std::string> alsoAllowed)
    : files_(withoutRepeats(std::move(files))),
      paths_(namesOf(files_)),
      fileColumns_(columnsIn(paths_)),
      duck_(settings,
            {.paths = allowedPaths(paths_, std::move(alsoAllowed)), .keepFooters = fileColumns_ == Columns::united}) {
  const Blame blame{.what = "cannot read the files as one set"};
  const std::size_t different = fileColumns_ == Columns::alike ? 1 : paths_.size();
  // First, since its errors name the file.
  columns_ = columnsOf(duck_.prepareSelect("SELECT * FROM " + readSql(paths_, 0, different), blame));
  auto schemas = schemasIfNamesClash(duck_, fileListSql(paths_, 0, different));
  if (schemas) names_ = ColumnNames(*schemas);
  if (names_.empty()) return;
  schemas->resize(paths_.size(), schemas->front());
  union_.emplace(duck_, paths_, *schemas);
  columns_ = shownColumnsOf(
      duck_.prepareSelect("SELECT * EXCLUDE (" + sqlName(FileUnion::kPosition) + ") FROM " + tableSql(), blame));
}

Blame ProfileSet::blameFor(const ReadQuery& query) const {
  if (!query.sql.empty()) return {.what = "cannot use the SQL", .usersSql = true, .names = names_.realNames()};
  if (!query.where.empty()) return {.what = "cannot use the condition", .usersSql = true, .names = names_.realNames()};
  return {.what = "cannot read the profiles", .names = names_.realNames()};
}

std::vector<Type> ProfileSet::shownColumnsOf(const Statement& statement) const {
  std::vector<Type> columns = columnsOf(statement);
  for (Type& column : columns) names_.show(column);
  return columns;
}

std::string ProfileSet::sqlOf(const std::vector<std::string>& steps) const {
  std::vector<std::string> names;
  names.reserve(steps.size());
  for (const std::string& step : steps) names.push_back(names_.sqlOf(step));
  return fieldSql(names);
}

std::uint64_t ProfileSet::rowCount() {
  std::vector<std::string> patterns;
  for (const FileName& name : paths_) patterns.push_back(sqlText(name.pattern()));
  const auto numbers = duck_.numbers(
      "SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata([" + core::joined(patterns, ", ") + "])",
      {.what = "cannot read the footers"});
  return numbers.empty() ? 0 : static_cast<std::uint64_t>(numbers[0]);
}

std::string ProfileSet::tableSql() const {
  return union_ ? union_->sql(paths_, names_, moved_) : readSql(paths_, 0, paths_.size(), fileColumns_);
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
      values.push_back(sqlText(file.label.empty() ? paths_[index].path().filename().string() : file.label));
    }
  }
  const std::string type = name == "_batch_created" ? "TIMESTAMPTZ[]" : "VARCHAR[]";
  return "(CAST([" + core::joined(values, ", ") + "] AS " + type + "))[" +
         (union_ ? sqlName(FileUnion::kPosition) : std::string("CAST(file_index AS BIGINT)")) + " + 1]";
}

std::vector<ProfileSet::Added> ProfileSet::addedBy(const ReadQuery& query) const {
  std::vector<Added> added;
  for (const std::string& identity : query.identities) {
    const std::string name = columnNamed(columns_, identity) == nullptr ? identity : "identityMap." + identity;
    const bool isThere =
        columnNamed(columns_, name) != nullptr ||
        std::any_of(added.begin(), added.end(), [&name](const Added& each) { return sameName(each.name, name); });
    if (!isThere) added.push_back({.name = name, .sql = identitySql(identity), .identity = true});
  }
  if (query.scoreColumns) {
    for (const Found& score : scoreFields(columns_)) {
      const std::string name = bucketName(score.steps);
      if (findPath(columns_, name).type != nullptr) continue;
      const std::string value = "CAST(" + sqlOf(score.steps) + " AS DOUBLE)";
      added.push_back({.name = name, .sql = "CASE WHEN isfinite(" + value + ") THEN " + bucketSql(value) + " END"});
    }
  }
  for (const std::string_view name : kExtraNames) {
    if (mentions(query, name)) added.push_back({.name = std::string(name), .sql = extraSql(name)});
  }
  return added;
}

void ProfileSet::moveColumns(const ReadQuery& query) {
  moved_.clear();
  bool extras = false;
  for (const std::string_view extra : kExtraNames) {
    if (!mentions(query, extra)) continue;
    extras = true;
    for (const Type& column : columns_) {
      if (!sameName(column.name, extra)) continue;
      std::string name;
      for (int number = 1; name.empty() || columnNamed(columns_, name) != nullptr; ++number) {
        name = column.name + "_" + std::to_string(number);
      }
      moved_[column.name] = name;
    }
  }
  // DuckDB tells the file by a column that one of the files' own may hide.
  const bool hidden = extras && columnNamed(columns_, "file_index") != nullptr;
  if (!union_ && (hidden || !moved_.empty())) union_.emplace(duck_, paths_, std::vector<RawField>());
}

ReadQuery ProfileSet::withScoreColumns(ReadQuery query) {
  const std::vector<Found> scores = scoreFields(columns_);
  query.scoreColumns = query.scoreColumns && query.columns.empty() && query.sql.empty() && !scores.empty();
  if (!query.scoreColumns) return query;
  if (query.identities.empty()) query.identities = namespaces();
  if (query.identities.empty() && columnNamed(columns_, "_id") != nullptr) query.columns.emplace_back("_id");
  for (const Found& score : scores) {
    query.columns.push_back(dotted(score.steps));
    query.columns.push_back(bucketName(score.steps));
    const Found percentile = percentileBeside(columns_, score.steps);
    if (percentile.type != nullptr) query.columns.push_back(dotted(percentile.steps));
    const Found date = dateBeside(columns_, score.steps);
    if (date.type != nullptr) query.columns.push_back(dotted(date.steps));
  }
  return query;
}

std::vector<std::string> ProfileSet::allowed() const {
  return allowedPaths(paths_, {});
}

void ProfileSet::setUp(const ReadQuery& query) {
  checkNamespaces(query);
  moveColumns(query);
  added_ = addedBy(query);
  allColumns_ = columns_;
  for (Type& column : allColumns_) {
    if (const auto moved = moved_.find(column.name); moved != moved_.end()) column.name = moved->second;
  }
  for (const Added& column : added_) allColumns_.push_back(Type{.name = column.name, .id = DUCKDB_TYPE_VARCHAR});
  shortNames_.clear();
  const auto isInCondition = [&query](const Added& column) {
    return core::toLower(query.where).find(core::toLower(column.name)) != std::string::npos;
  };
  throughView_ = !query.sql.empty() || std::any_of(added_.begin(), added_.end(), isInCondition);
  if (throughView_) makeView();
}

void ProfileSet::makeView() {
  std::vector<std::string> identities;
  std::vector<std::string> extras;
  for (const Added& column : added_) {
    (column.identity ? identities : extras).push_back(column.sql + " AS " + sqlName(column.name));
  }
  identities.emplace_back(union_ ? "* EXCLUDE (" + sqlName(FileUnion::kPosition) + ")" : "*");
  identities.insert(identities.end(), extras.begin(), extras.end());
  for (const Found& field : shortNames_) {
    identities.push_back(sqlOf(field.steps) + " AS " + sqlName(names_.sqlOf(field.steps.back())));
  }
  duck_.run("CREATE OR REPLACE VIEW profiles AS SELECT " + core::joined(identities, ", ") + " FROM " + tableSql(),
            {.what = "cannot read the files as one set"});
}

std::vector<Found> ProfileSet::takeShortNames(const ReadQuery& query) {
  std::vector<Found> ambiguous;
  std::set<std::string> seen;
  for (const Found& field : allFields(columns_)) {
    const std::string& name = field.steps.back();
    const std::string lower = core::toLower(name);
    if (field.steps.size() == 1 || lower.empty() || !seen.insert(lower).second) continue;
    if (!mentions(query.where + "\n" + query.sql, lower) || columnNamed(allColumns_, name) != nullptr) continue;
    std::vector<Found> meant = findByEnd(columns_, name);
    if (meant.size() == 1) {
      shortNames_.push_back(std::move(meant.front()));
    } else {
      ambiguous.insert(ambiguous.end(), meant.begin(), meant.end());
    }
  }
  return ambiguous;
}

std::string ProfileSet::columnSql(const std::vector<std::string>& steps) const {
  if (!throughView_ && steps.size() == 1) {
    for (const Added& column : added_) {
      if (column.name == steps.front()) return column.sql;
    }
  }
  return sqlOf(steps);
}

std::string ProfileSet::selectSql(const ReadQuery& query, Shape shape) const {
  if (!query.sql.empty()) return query.sql;  // already in the names for SQL
  std::vector<Found> fields;
  for (const Added& column : added_) {
    const bool named = std::any_of(query.columns.begin(), query.columns.end(),
                                   [&column](const std::string& path) { return sameName(path, column.name); });
    if (column.identity && !named) fields.push_back({.steps = {column.name}});
  }
  for (const std::string& path : query.columns) fields.push_back(findColumn(allColumns_, path));
  if (query.columns.empty()) {
    for (const Type& column : columns_) {
      const auto moved = moved_.find(column.name);
      fields.push_back({.steps = {moved == moved_.end() ? column.name : moved->second}});
    }
  }
  const auto fieldOf = [this](const std::vector<std::string>& steps) { return columnSql(steps); };
  std::string sql = "SELECT " +
                    (shape == Shape::flat ? flatList(fields, fieldOf) : nestedList(fields, fieldOf, names_)) +
                    " FROM " + (throughView_ ? "profiles" : source());
  if (!query.where.empty()) sql += " WHERE (\n" + query.where + "\n)";
  if (query.limit) sql += " LIMIT " + std::to_string(*query.limit);
  return sql;
}

ReadQuery ProfileSet::forSql(const ReadQuery& query) {
  ReadQuery own = withScoreColumns(query);
  own.where = names_.forSql(duck_, query.where);
  own.sql = names_.forSql(duck_, query.sql);
  return own;
}

Statement ProfileSet::prepareChecked(const ReadQuery& query, Shape shape) {
  if (!query.sql.empty() && (!query.columns.empty() || !query.where.empty())) {
    throw Error(Category::usage, "SQL of its own goes with neither columns nor a condition",
                {.hint = "write them into the SQL"});
  }
  if (holdsUsersSql(query)) duck_.lockSettings();
  setUp(query);
  try {
    return duck_.prepareSelect(selectSql(query, shape), blameFor(query));
  } catch (const Error& error) {
    if (error.category() != Category::usage || (query.sql.empty() && query.where.empty())) throw;
    const std::vector<Found> ambiguous = takeShortNames(query);
    if (shortNames_.empty()) throwWithPaths(error, ambiguous);
    throughView_ = true;
    makeView();
    try {
      return duck_.prepareSelect(selectSql(query, shape), blameFor(query));
    } catch (const Error& second) {
      throwWithPaths(second, ambiguous);
    }
  }
}

RowSource ProfileSet::prepare(const ReadQuery& asked, Shape shape) {
  const ReadQuery query = forSql(asked);
  RowSource source{.statement = prepareChecked(query, shape), .columns = {}};
  source.columns = shownColumnsOf(source.statement);
  const bool allReadable =
      std::all_of(source.columns.begin(), source.columns.end(), [](const Type& column) { return column.isReadable(); });
  if (allReadable) return source;
  duck_.run("CREATE OR REPLACE VIEW caiexport_rows AS " + selectSql(query, shape), blameFor(query));
  RowSource texts = readable(prepareOwn("SELECT * FROM caiexport_rows"));
  // A view has no two columns of one name, whatever their case.
  for (std::size_t index = 0; index < texts.columns.size(); ++index) {
    texts.columns[index].name = source.columns[index].name;
  }
  return texts;
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
  return prepareOwn("SELECT " + core::joined(select, ", ") + " FROM caiexport_rows");
}

std::string ProfileSet::rowsSql(const ReadQuery& asked, Shape shape) {
  const ReadQuery query = forSql(asked);
  const Statement statement = prepareChecked(query, shape);
  written_ = names_;
  if (query.sql.empty()) return selectSql(query, shape);
  std::vector<std::string> columns;
  for (const Type& column : shownColumnsOf(statement)) columns.push_back(column.name);
  written_ = names_.with(columns);
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const std::string& column : columns) names.push_back(sqlName(written_.sqlOf(column)));
  const std::string list = written_.empty() ? "" : " (" + core::joined(names, ", ") + ")";
  // As a view, the SQL may end in `;` or a comment.
  duck_.run("CREATE OR REPLACE VIEW caiexport_rows" + list + " AS " + query.sql, blameFor(query));
  return "SELECT * FROM caiexport_rows" + (query.limit ? " LIMIT " + std::to_string(*query.limit) : std::string());
}

void ProfileSet::nameColumns(const fs::path& parquetFile) const {
  if (written_.empty()) return;
  renameColumns(parquetFile, [this](std::string name) { return written_.shown(std::move(name)); });
}

RowSource ProfileSet::prepareOwn(const std::string& sql) {
  RowSource source{.statement = duck_.prepareSelect(sql, {.what = "cannot read the profiles"}), .columns = {}};
  source.columns = columnsOf(source.statement);
  return source;
}

}  // namespace caiexport::reader
