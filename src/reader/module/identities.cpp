/// Who the rows of a set are about: the identities of `identityMap`, else `_id`.
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "profile_set.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

const Type* fieldNamed(const Type& group, std::string_view name) {
  return columnNamed(group.children, name);
}

/// SQL of the list of one namespace's identities. XDM has a map of namespaces; other writers make it a struct.
std::string identityListSql(const Type& map, const std::string& name, const ColumnNames& names) {
  const std::string column = sqlName(names.sqlOf(map.name));
  if (map.id == DUCKDB_TYPE_MAP) {
    return "flatten(list_transform(list_filter(map_entries(" + column +
           "), lambda e: lower(e.key) = " + sqlText(core::toLower(name)) + "), lambda e: e.value))";
  }
  const Type* field = map.isStruct() ? fieldNamed(map, name) : nullptr;
  return field == nullptr ? std::string() : fieldSql({names.sqlOf(map.name), names.sqlOf(field->name)});
}

const Type* identityType(const Type& map, const std::string& name) {
  const Type* list = nullptr;
  if (map.id == DUCKDB_TYPE_MAP) list = &map.children[1];
  if (map.isStruct()) list = fieldNamed(map, name);
  if (list == nullptr || list->id != DUCKDB_TYPE_LIST || !list->children[0].isStruct()) return nullptr;
  return &list->children[0];
}

}  // namespace

std::vector<std::string> ProfileSet::namespaces() {
  std::vector<std::string> names;
  const Type* map = columnNamed(columns_, "identityMap");
  if (map == nullptr) return names;
  if (map->isStruct()) {
    for (const Type& field : map->children) names.push_back(field.name);
  } else if (map->id == DUCKDB_TYPE_MAP) {
    names = duck_.texts("SELECT DISTINCT unnest(map_keys(" + sqlName(names_.sqlOf(map->name)) + ")) AS n FROM " +
                            source() + " ORDER BY n",
                        {.what = "cannot read the identities"});
  }
  return names;
}

std::string ProfileSet::identityName(const std::string& space) const {
  if (!space.empty()) return space;
  return columnNamed(columns_, "identityMap") == nullptr ? "_id" : "the primary identity";
}

void ProfileSet::checkNamespaces(const ReadQuery& query) {
  const Type* map = columnNamed(columns_, "identityMap");
  if (map == nullptr) return;  // said where the column is made
  const std::string column = sqlName(names_.sqlOf(map->name));
  const Blame blame{.what = "cannot read the identities"};
  for (const std::string& name : query.identities) {
    if (map->isStruct() && fieldNamed(*map, name) != nullptr) continue;
    if (map->id == DUCKDB_TYPE_MAP) {
      // Nearly always the first rows tell; only for a wrong name all are read.
      const std::string keys = "list_transform(map_keys(" + column + "), lambda k: lower(k))";
      const bool known = !duck_
                              .texts("SELECT 'known' FROM " + source() + " WHERE list_contains(" + keys + ", " +
                                         sqlText(core::toLower(name)) + ") LIMIT 1",
                                     blame)
                              .empty();
      if (known) continue;
    }
    const std::vector<std::string> others = namespaces();
    if (others.empty()) continue;
    throw Error(Category::usage, "no customer has an identity of the namespace `" + core::printable(name) + "`",
                {.hint = "there are: " + core::printable(core::joined(others, ", "))});
  }
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
  const std::string known = "list_filter(" + identityListSql(*map, name, names_) + ", lambda x: struct_extract(x, " +
                            idName + ") IS NOT NULL)";
  std::string first = "struct_extract((" + known + ")[1], " + idName + ")";
  const Type* primary = fieldNamed(*identity, "primary");
  if (primary == nullptr || primary->id != DUCKDB_TYPE_BOOLEAN) return first;
  return "coalesce(struct_extract((list_filter(" + known + ", lambda x: struct_extract(x, " + sqlText(primary->name) +
         ")))[1], " + idName + "), " + first + ")";
}

/// The least of (not primary, namespace, id): the primary one where there is one.
std::string ProfileSet::peopleSql(const std::string& space, const std::string& value) {
  const auto select = [&](const std::string& ns, const std::string& id) {
    return "SELECT " + ns + " AS ns, " + id + " AS id, " + value + " AS score FROM " + source();
  };
  if (!space.empty()) {
    checkNamespaces({.identities = {space}});
    return select(sqlText(space), identitySql(space));
  }
  const Type* map = columnNamed(columns_, "identityMap");
  if (map == nullptr) {
    const Type* id = columnNamed(columns_, "_id");
    if (id == nullptr) {
      throw Error(Category::usage, "there is neither `identityMap` nor `_id` to match customers by",
                  {.hint = "the columns are: " + pathsLike(columns_, "id")});
    }
    return select("'_id'", "CAST(" + sqlOf({id->name}) + " AS VARCHAR)");
  }
  const auto entries = [](const Type& identity, const std::string& list, const std::string& name) {
    const Type* id = fieldNamed(identity, "id");
    const Type* primary = fieldNamed(identity, "primary");
    if (id == nullptr) throw Error(Category::usage, "the identities have no field `id`");
    const bool marked = primary != nullptr && primary->id == DUCKDB_TYPE_BOOLEAN;
    return "list_transform(" + list + ", lambda v: {'o': " +
           (marked ? "NOT coalesce(struct_extract(v, " + sqlText(primary->name) + "), false)" : std::string("true")) +
           ", 'n': " + name + ", 'i': CAST(struct_extract(v, " + sqlText(id->name) + ") AS VARCHAR)})";
  };
  const std::string column = sqlOf({map->name});
  std::string all;
  if (map->id == DUCKDB_TYPE_MAP) {
    const Type* identity = identityType(*map, {});
    if (identity == nullptr) {
      throw Error(Category::usage, "identities can't be taken from `identityMap`: it is " + map->describe());
    }
    all = "flatten(list_transform(map_entries(" + column + "), lambda e: " + entries(*identity, "e.value", "e.key") +
          "))";
  } else {
    for (const Type& field : map->children) {
      const Type* identity = identityType(*map, field.name);
      if (identity == nullptr) continue;
      const std::string list = "coalesce(" + sqlOf({map->name, field.name}) + ", [])";
      all += (all.empty() ? "" : ", ") + entries(*identity, list, sqlText(field.name));
    }
    all = "flatten([" + all + "])";
  }
  // One after the other, so that DuckDB takes each list apart once. Most people have one primary identity; to compare
  // structs, as the least of several must be, costs more than all else here.
  const std::string lists = "SELECT " + all + " AS identities, " + value + " AS score FROM " + source();
  const std::string primaries =
      "SELECT list_filter(identities, lambda t: NOT struct_extract(t, 'o') AND struct_extract(t, 'i') IS NOT NULL) AS "
      "primaries, identities, score FROM (" +
      lists + ")";
  const std::string chosen =
      "SELECT CASE WHEN len(primaries) = 1 THEN primaries[1] ELSE list_min(list_filter(identities, lambda t: "
      "struct_extract(t, 'i') IS NOT NULL)) END AS who, score FROM (" +
      primaries + ")";
  return "SELECT struct_extract(who, 'n') AS ns, struct_extract(who, 'i') AS id, score FROM (" + chosen + ")";
}

}  // namespace caiexport::reader
