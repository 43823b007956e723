#include "query.h"

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <limits>

#include "caiexport/core/error.h"

namespace caiexport::store {

Query::Query(Database& database, std::string_view sql) {
  StatementCache& cache = database.statements();
  const std::string key(sql);
  StatementCache::Entry& entry = cache.entries_[key];
  if (entry.busy) {
    own_ = std::make_unique<SQLite::Statement>(cache.connection_, key);
    statement_ = own_.get();
    return;
  }
  if (!entry.statement) entry.statement = std::make_unique<SQLite::Statement>(cache.connection_, key);
  entry.busy = true;
  entry_ = &entry;  // stays where it is: unordered_map does not move its elements
  statement_ = entry.statement.get();
}

Query::~Query() {
  if (entry_ == nullptr) return;
  // The result repeats the failure of the last step, which has been thrown.
  statement_->tryReset();
  entry_->busy = false;
}

int Query::run() {
  const int changes = statement_->exec();
  statement_->reset();
  return changes;
}

void Query::bind(int index, std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw core::Error(core::Category::internal,
                      "the number " + std::to_string(value) + " is too large for the job database");
  }
  bind(index, static_cast<std::int64_t>(value));
}

void Query::bind(int index, Blob value) {
  statement_->bind(index, static_cast<const void*>(value.bytes.data()), static_cast<int>(value.bytes.size()));
}

std::optional<std::uint64_t> Query::optionalSize(int column) const {
  if (isNull(column)) return std::nullopt;
  return size(column);
}

std::optional<core::TimePoint> Query::optionalTime(int column) const {
  if (isNull(column)) return std::nullopt;
  return time(column);
}

std::optional<std::string_view> orNull(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  const bool outermost = sqlite3_get_autocommit(database.connection().getHandle()) != 0;
  if (kind == Kind::reading && !outermost) return;
  // IMMEDIATE: a transaction that begins by reading could not become a writing one while another process writes.
  Query(database, kind == Kind::writing ? "BEGIN IMMEDIATE" : "BEGIN").run();
  open_ = true;
}

Transaction::~Transaction() {
  if (!open_) return;
  // Some failures (a full disk) have rolled back already.
  if (sqlite3_get_autocommit(database_.connection().getHandle()) == 0) database_.connection().tryExec("ROLLBACK");
}

void Transaction::commit() {
  if (!open_) return;
  Query(database_, "COMMIT").run();
  open_ = false;
}

}  // namespace caiexport::store
