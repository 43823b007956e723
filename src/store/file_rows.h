#pragma once
/// What the two parts of the store that are about files share: file_listing.cpp and file_store.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "caiexport/model/job.h"
#include "query.h"

namespace caiexport::store {

/// All files of batch ?1, in the order of their rows. An index would lead to each by itself; the plus keeps SQLite from
/// it.
inline const std::string kOfBatch =
    " FROM file AS this"
    " WHERE +batch = ?1"
    " AND id BETWEEN (SELECT min(id) FROM file WHERE batch = ?1) AND (SELECT max(id) FROM file WHERE batch = ?1) ";

struct BatchRow {
  std::int64_t id = 0;
  std::int64_t listing = 0;
};

[[noreturn]] void throwNoBatch(model::JobId job, const model::BatchId& batch);
BatchRow batchRow(Database& database, model::JobId job, const model::BatchId& batch);

/// What is recorded of the bytes that are here of a file.
void deleteRanges(Database& database, std::int64_t file);

/// Calls `use` with pieces of 64, 32, 16, ... elements and the statement for so many, `sql(elements)`: few statements,
/// for each takes a journey to the server. A file has none to make: there pieces of `mostInFile`, and of one, are the
/// cheapest.
template <class Element, class Sql, class Use>
void inPieces(Database& database, std::span<Element> all, Sql sql, Use use, std::size_t mostInFile = 1) {
  const bool isFile = database.server() == nullptr;
  for (std::size_t size = isFile ? mostInFile : 64; size > 0; size = isFile && size > 1 ? 1 : size / 2) {
    if (all.size() < size) continue;
    Query statement(database, sql(size));
    for (; all.size() >= size; all = all.subspan(size)) use(statement, all.first(size));
  }
}

/// `one`, `times` times, with commas between.
std::string repeated(std::string_view one, std::size_t times);

/// `CASE id WHEN ? THEN ? ... ELSE COLUMN END`, for that many rows: the column's own value for the others, so that the
/// new ones are taken for of its type.
std::string chosenById(std::size_t rows, std::string_view column);

}  // namespace caiexport::store
