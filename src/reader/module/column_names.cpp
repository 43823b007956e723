#include "duck.h"

#include <algorithm>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "values.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

const Blame kBlame{.what = "cannot read the columns of the files"};

/// As DuckDB compares names.
std::string folded(std::string_view name) {
  return core::toLower(name);
}

/// Rows of parquet_schema, depth first, back into trees; the root of each file is its first row.
class SchemaRows {
 public:
  SchemaRows(Duck& duck, const std::string& files)
      : statement_(duck.prepareSelect("SELECT name, coalesce(num_children, 0)::BIGINT, coalesce(repetition_type, ''),"
                                      " coalesce(converted_type, '') || coalesce(logical_type, '')"
                                      " FROM parquet_schema(" +
                                          files + ")",
                                      kBlame)),
        types_(columnsOf(statement_)),
        view_(types_),
        rows_(duck, statement_, kBlame, std::stop_token()) {}

  std::optional<RawField> next() {
    if (!advance()) return std::nullopt;
    const std::string repetition(view_[2].text(row_));
    const std::string kind(view_[3].text(row_));
    RawField field{.name = std::string(view_[0].text(row_)),
                   .list = kind.find("LIST") != kind.npos || kind.find("ListType") != kind.npos,
                   .map = kind.find("MAP") != kind.npos || kind.find("MapType") != kind.npos,
                   .repeated = repetition == "REPEATED"};
    const auto children = view_[1].at<std::int64_t>(row_);
    for (std::int64_t child = 0; child < children; ++child) {
      std::optional<RawField> below = next();
      if (!below) break;
      field.children.push_back(std::move(*below));
    }
    return field;
  }

 private:
  bool advance() {
    ++row_;
    while (chunk_ == nullptr || row_ >= duckdb_data_chunk_get_size(chunk_.get())) {
      chunk_ = rows_.next();
      if (chunk_ == nullptr) return false;
      view_.bind(chunk_.get());
      row_ = 0;
    }
    return true;
  }

  Statement statement_;
  std::vector<Type> types_;
  ChunkView view_;
  Rows rows_;
  Chunk chunk_;
  std::uint64_t row_ = 0;
};

/// Whether any two names, wherever they stand, differ by case alone. Kept here, not grouped by DuckDB, whose memory may
/// be bounded to less than that takes.
bool namesClash(Duck& duck, const std::string& files) {
  std::set<std::string, std::less<>> names;
  std::set<std::string> foldedNames;
  bool clash = false;
  forEachRow(duck, duck.prepareSelect("SELECT name FROM parquet_schema(" + files + ")", kBlame), kBlame, {},
             [&](const ChunkView& view, std::uint64_t row) {
               const std::string_view name = view[0].text(row);
               if (names.find(name) != names.end()) return;
               names.emplace(name);
               clash = !foldedNames.insert(folded(name)).second || clash;
             });
  return clash;
}

/// Spellings of the names of one level over all files, and what is below each.
void collectClashes(const std::vector<const RawField*>& groups, std::set<std::string>& clashes) {
  std::map<std::string, std::map<std::string, std::vector<const RawField*>>> level;
  for (const RawField* group : groups) {
    for (const RawField& field : group->children) level[folded(field.name)][field.name].push_back(&field);
  }
  for (const auto& [lower, spellings] : level) {
    for (const auto& [name, fields] : spellings) {
      if (spellings.size() > 1) clashes.insert(name);
      collectClashes(fields, clashes);
    }
  }
}

bool beginsName(char letter) {
  return letter == '_' || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         static_cast<unsigned char>(letter) >= 0x80;
}

bool isInName(char letter) {
  return beginsName(letter) || letter == '$' || (letter >= '0' && letter <= '9');
}

/// One piece of SQL: a name, or anything else.
struct Piece {
  std::string_view text;
  std::string name = {};  ///< What a name says, without quotes.
  bool isName = false;
  bool quoted = false;
};

std::size_t endOfQuoted(std::string_view sql, std::size_t at, char mark) {
  for (++at; at < sql.size(); ++at) {
    if (sql[at] != mark) continue;
    if (at + 1 == sql.size() || sql[at + 1] != mark) return at + 1;
    ++at;
  }
  return sql.size();
}

std::size_t endOfDollarQuoted(std::string_view sql, std::size_t at) {
  std::size_t end = at + 1;
  while (end < sql.size() && isInName(sql[end]) && sql[end] != '$') ++end;
  if (end >= sql.size() || sql[end] != '$') return at + 1;
  const std::string_view mark = sql.substr(at, end + 1 - at);
  const std::size_t close = sql.find(mark, end + 1);
  return close == sql.npos ? sql.size() : close + mark.size();
}

std::size_t endOfEscaped(std::string_view sql, std::size_t at) {
  for (at += 2; at < sql.size(); ++at) {
    if (sql[at] == '\\') {
      ++at;
    } else if (sql[at] == '\'') {
      return at + 1;
    }
  }
  return sql.size();
}

Piece nextPiece(std::string_view sql) {
  const auto upTo = [&sql](std::size_t end) { return Piece{.text = sql.substr(0, std::min(end, sql.size()))}; };
  const char first = sql[0];
  if (first == '\'') return upTo(endOfQuoted(sql, 0, '\''));
  if ((first == 'e' || first == 'E') && sql.substr(1).starts_with('\'')) return upTo(endOfEscaped(sql, 0));
  if (first == '$') return upTo(endOfDollarQuoted(sql, 0));
  if (sql.starts_with("--")) return upTo(std::min(sql.find('\n'), sql.size()));
  if (sql.starts_with("/*")) {
    const std::size_t end = sql.find("*/", 2);
    return upTo(end == sql.npos ? end : end + 2);
  }
  if (first == '"') {
    Piece piece = upTo(endOfQuoted(sql, 0, '"'));
    piece.isName = piece.quoted = true;
    for (std::size_t at = 1; at + 1 < piece.text.size(); ++at) {
      piece.name += piece.text[at];
      if (piece.text[at] == '"') ++at;
    }
    return piece;
  }
  if (first >= '0' && first <= '9') {
    std::size_t end = 1;
    while (end < sql.size() && (isInName(sql[end]) || sql[end] == '.')) ++end;
    return upTo(end);
  }
  if (!beginsName(first)) return upTo(1);
  std::size_t end = 1;
  while (end < sql.size() && isInName(sql[end])) ++end;
  Piece piece = upTo(end);
  piece.isName = true;
  piece.name = piece.text;
  return piece;
}

/// Whether what follows makes a bare word something other than a column: a function, a type before its text.
bool isCallOrType(std::string_view rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
  return rest.starts_with('(') || rest.starts_with('\'');
}

bool isReserved(Duck& duck, const std::string& word) {
  const auto count =
      duck.numbers("SELECT count(*) FROM duckdb_keywords() WHERE keyword_category = 'reserved' AND keyword_name = " +
                       sqlText(core::toLower(word)),
                   kBlame);
  return !count.empty() && count[0] > 0;
}

const RawField* elementOf(const RawField& list, const Type& element) {
  if (!list.list) return list.repeated ? &list : nullptr;
  if (list.children.size() != 1) return nullptr;
  const RawField& repeated = list.children[0];
  // Three levels as the format wants them, or two as old writers made them.
  const bool three = repeated.children.size() == 1 &&
                     (!element.isStruct() || repeated.children[0].children.size() == element.children.size());
  return three ? &repeated.children[0] : &repeated;
}

}  // namespace

std::optional<std::vector<RawField>> schemasIfNamesClash(Duck& duck, const std::string& files) {
  if (!namesClash(duck, files)) return std::nullopt;
  std::vector<RawField> schemas;
  SchemaRows rows(duck, files);
  while (std::optional<RawField> schema = rows.next()) schemas.push_back(std::move(*schema));
  return schemas;
}

ColumnNames::ColumnNames(const std::vector<RawField>& schemas) {
  std::vector<const RawField*> distinct;
  for (const RawField& schema : schemas) {
    if (distinct.empty() || !(schema == *distinct.back())) distinct.push_back(&schema);
  }
  std::set<std::string> clashes;
  collectClashes(distinct, clashes);
  for (const std::string& name : clashes) add(name);
}

ColumnNames ColumnNames::with(const std::vector<std::string>& columns) const {
  RawField all;
  for (const std::string& column : columns) all.children.push_back({.name = column});
  std::set<std::string> clashes;
  collectClashes({&all}, clashes);
  ColumnNames more = *this;
  for (const std::string& name : clashes) {
    if (!more.sql_.contains(name)) more.add(name);
  }
  return more;
}

/// The first letters become ones that no name has: the length stays, since the footer of a Parquet file that was
/// written with these names gets the real ones in their place.
void ColumnNames::add(const std::string& name) {
  constexpr std::size_t kLetters = 8;  // \x01 to \x08
  for (std::size_t number = 0;; ++number) {
    std::string mark;
    for (std::size_t rest = number;; rest /= kLetters) {
      mark += static_cast<char>(1 + rest % kLetters);
      if (rest < kLetters) break;
    }
    if (mark.size() > name.size()) {
      throw Error(Category::usage, "too many columns differ from `" + core::printable(name) + "` by case alone");
    }
    std::size_t cut = mark.size();
    while (cut < name.size() && (static_cast<unsigned char>(name[cut]) & 0xC0U) == 0x80) ++cut;
    mark.append(cut - mark.size(), '\x01');
    std::string own = mark + name.substr(cut);
    const bool taken =
        std::ranges::any_of(real_, [&](const auto& entry) { return folded(entry.first) == folded(own); });
    if (taken) continue;
    real_[own] = name;
    sql_[name] = std::move(own);
    return;
  }
}

const std::string& ColumnNames::sqlOf(const std::string& name) const {
  const auto found = sql_.find(name);
  return found == sql_.end() ? name : found->second;
}

std::string ColumnNames::shown(std::string text) const {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string* longest = nullptr;
    for (const auto& [own, name] : real_) {
      const bool here = std::string_view(text).substr(at).starts_with(own);
      if (here && (longest == nullptr || own.size() > longest->size())) longest = &own;
    }
    if (longest == nullptr) continue;
    text.replace(at, longest->size(), real_.at(*longest));
    at += longest->size() - 1;
  }
  return text;
}

void ColumnNames::show(Type& type) const {
  if (empty()) return;
  type.name = shown(std::move(type.name));
  for (Type& child : type.children) show(child);
}

std::string ColumnNames::forSql(Duck& duck, const std::string& sql) const {
  if (empty()) return sql;
  std::string text;
  for (std::string_view rest = sql; !rest.empty();) {
    const Piece piece = nextPiece(rest);
    rest.remove_prefix(piece.text.size());
    const bool isColumn = piece.isName && (piece.quoted || (!isCallOrType(rest) && !text.ends_with("::")));
    const auto alike = std::ranges::find_if(
        sql_, [&](const auto& entry) { return isColumn && folded(entry.first) == folded(piece.name); });
    if (alike == sql_.end() || (!piece.quoted && isReserved(duck, piece.name))) {
      text += piece.text;
    } else if (const auto exact = sql_.find(piece.name); exact != sql_.end()) {
      text += sqlName(exact->second);
    } else {
      std::string names;
      for (const auto& [name, own] : sql_) {
        if (folded(name) == folded(piece.name)) names += (names.empty() ? "" : ", ") + name;
      }
      throw Error(
          Category::usage,
          "the SQL names `" + core::printable(piece.name) + "`, which could be any of " + core::printable(names),
          {.hint = "columns that differ by case alone must be spelt exactly"});
    }
  }
  return text;
}

bool ColumnNames::isIn(const RawField& raw) const {
  return sql_.contains(raw.name) ||
         std::ranges::any_of(raw.children, [this](const RawField& child) { return isIn(child); });
}

std::string ColumnNames::renamed(const std::string& field, const Type& type, const RawField& raw) const {
  const bool below = std::ranges::any_of(raw.children, [this](const RawField& child) { return isIn(child); });
  if (!below) return field;
  if (type.id == DUCKDB_TYPE_LIST) {
    const RawField* element = elementOf(raw, type.children[0]);
    if (element == nullptr) return field;
    // Named by its depth in the text: nested lambdas must not hide each other's.
    const std::string each = "caiexport_" + std::to_string(field.size());
    RawField one = *element;
    if (element == &raw) one.repeated = false;
    return "list_transform(" + field + ", lambda " + each + ": " + renamed(each, type.children[0], one) + ")";
  }
  if (type.id == DUCKDB_TYPE_MAP) {
    if (raw.children.size() != 1 || raw.children[0].children.size() != 2) return field;
    const std::string each = "caiexport_" + std::to_string(field.size());
    const std::vector<RawField>& pair = raw.children[0].children;
    return "map_from_entries(list_transform(map_entries(" + field + "), lambda " + each +
           ": struct_pack(k := " + renamed("struct_extract(" + each + ", 'key')", type.children[0], pair[0]) +
           ", v := " + renamed("struct_extract(" + each + ", 'value')", type.children[1], pair[1]) + ")))";
  }
  if (!type.isStruct() || type.children.size() != raw.children.size()) return field;
  std::string fields;
  for (std::size_t index = 0; index < raw.children.size(); ++index) {
    const std::string value = "struct_extract_at(" + field + ", " + std::to_string(index + 1) + ")";
    fields += (fields.empty() ? "" : ", ") + sqlName(sqlOf(raw.children[index].name)) +
              " := " + renamed(value, type.children[index], raw.children[index]);
  }
  return "CASE WHEN " + field + " IS NULL THEN NULL ELSE struct_pack(" + fields + ") END";
}

}  // namespace caiexport::reader
