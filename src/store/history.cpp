#include "caiexport/store/history.h"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/model/plan.h"
#include "replacement_rows.h"
#include "rows.h"
#include "views.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;
using model::JobStatus;
using model::numberOf;

// --- history

/// The stored statuses of jobs that may have one of `wanted` now.
std::vector<JobStatus> candidates(std::span<const JobStatus> wanted) {
  std::vector<JobStatus> stored;
  for (const JobStatus status : wanted) {
    for (const JobStatus candidate : storedStatusesFor(status)) {
      if (std::ranges::find(stored, candidate) == stored.end()) stored.push_back(candidate);
    }
  }
  return stored;
}

std::string placeholders(std::size_t count) {
  std::string list = "?";
  for (std::size_t n = 1; n < count; ++n) list += ", ?";
  return list;
}

/// One status is looked up in its index, which ends in the job's number and so keeps the order. Several are not (the
/// plus hides the index): sorting all that match costs more than walking back from the newest job until enough are
/// found.
std::string jobsSql(const HistoryFilter& filter, std::size_t statuses) {
  std::string sql = "SELECT id, status FROM job WHERE 1";
  if (statuses == 1) sql += " AND status = ?";
  if (statuses > 1) sql += " AND +status IN (" + placeholders(statuses) + ")";
  if (filter.kind) sql += " AND kind = ?";
  if (!filter.sourceId.empty()) sql += statuses == 1 ? " AND +source_id = ?" : " AND source_id = ?";
  if (filter.since) sql += " AND created_at >= ?";
  if (filter.until) sql += " AND created_at < ?";
  return sql + " ORDER BY id DESC";
}

void bindFilter(Query& query, const HistoryFilter& filter, std::span<const JobStatus> statuses) {
  int index = 0;
  for (const JobStatus status : statuses) query.bind(++index, nameOf(status));
  if (filter.kind) query.bind(++index, nameOf(*filter.kind));
  if (!filter.sourceId.empty()) query.bind(++index, filter.sourceId);
  if (filter.since) query.bind(++index, *filter.since);
  if (filter.until) query.bind(++index, *filter.until);
}

JobView viewOf(model::Job job, bool held) {
  const JobStatus status = model::statusOf(job, held);
  return {.job = std::move(job), .status = status, .held = held};
}

// --- SQL

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using RawStatement = std::unique_ptr<sqlite3_stmt, Finalize>;

[[noreturn]] void refuseSql(const std::string& reason) {
  throw Error(Category::usage, "cannot run the SQL: " + reason,
              {.requestId = {},
               .hint = "give one SELECT (or WITH ... SELECT) over the views jobs, steps, files, events and runs"});
}

/// The first statement of `sql`, and what follows it.
RawStatement prepare(sqlite3* handle, std::string_view& sql) {
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v2(handle, sql.data(), static_cast<int>(sql.size()), &statement, &tail);
  RawStatement owned(statement);
  if (code != SQLITE_OK) refuseSql(sqlite3_errmsg(handle));
  sql.remove_prefix(static_cast<std::size_t>(tail - sql.data()));
  return owned;
}

RawStatement prepareOnly(sqlite3* handle, std::string_view sql) {
  if (sql.find('\0') != std::string_view::npos) refuseSql("it holds a NUL character");
  RawStatement statement = prepare(handle, sql);
  if (!statement) refuseSql("there is no statement in it");
  // SQLite gives no statement for blanks and comments.
  while (!sql.empty()) {
    if (prepare(handle, sql)) refuseSql("there is more than one statement in it");
  }
  if (sqlite3_stmt_isexplain(statement.get()) != 0) refuseSql("EXPLAIN is not a SELECT");
  if (sqlite3_stmt_readonly(statement.get()) == 0) refuseSql("it would change the database");
  if (sqlite3_bind_parameter_count(statement.get()) != 0) refuseSql("it has parameters, which have no value here");
  return statement;
}

std::vector<std::string> columnNames(sqlite3_stmt* statement) {
  std::vector<std::string> names;
  const int count = sqlite3_column_count(statement);
  for (int column = 0; column < count; ++column) {
    const char* name = sqlite3_column_name(statement, column);
    names.emplace_back(name == nullptr ? "" : name);
  }
  return names;
}

std::string hexOf(const unsigned char* bytes, int count) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (int at = 0; at < count; ++at) {
    hex += kDigits[bytes[at] >> 4U];
    hex += kDigits[bytes[at] & 0xFU];
  }
  return hex;
}

History::SqlCell readCell(sqlite3_stmt* statement, int column) {
  using Type = History::SqlCell::Type;
  History::SqlCell cell;
  const int type = sqlite3_column_type(statement, column);
  if (type == SQLITE_NULL) return cell;
  if (type == SQLITE_BLOB) {
    const auto* bytes = static_cast<const unsigned char*>(sqlite3_column_blob(statement, column));
    return {.type = Type::text, .text = hexOf(bytes, sqlite3_column_bytes(statement, column))};
  }
  cell.type = type == SQLITE_INTEGER ? Type::integer : type == SQLITE_FLOAT ? Type::real : Type::text;
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  if (text != nullptr) cell.text.assign(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
  return cell;
}

}  // namespace

History::History(Database& database, IsHeld isHeld) : database_(database), isHeld_(std::move(isHeld)) {}

bool History::isHeld(model::JobId job) const {
  return isHeld_ && isHeld_(job);
}

void History::forEachJob(const HistoryFilter& filter, const std::function<bool(const JobView&)>& visit) {
  const auto isWanted = [&](JobStatus status) {
    return filter.statuses.empty() || std::ranges::find(filter.statuses, status) != filter.statuses.end();
  };
  try {
    const auto statuses = candidates(filter.statuses);
    // The open statement keeps one view of the data for the jobs that are loaded meanwhile.
    Query rows(database_, jobsSql(filter, statuses.size()));
    bindFilter(rows, filter, statuses);
    std::size_t count = 0;
    while ((filter.limit == 0 || count < filter.limit) && rows.next()) {
      const auto id = model::JobId(rows.integer(0));
      const bool held = isHeld(id);
      const auto stored = model::jobStatusFrom(rows.text(1));
      if (stored && !isWanted(statusNow(*stored, held))) continue;
      auto job = loadJob(database_, id);
      if (!job) continue;
      ++count;
      if (!visit(viewOf(std::move(*job), held))) return;
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

JobView History::job(model::JobId id) {
  auto found = reading(database_, [&] { return loadJob(database_, id); });
  if (!found) throwNoSuchJob(id);
  return viewOf(std::move(*found), isHeld(id));
}

std::optional<JobView> History::newest() {
  std::optional<JobView> found;
  forEachJob({.limit = 1}, [&](const JobView& job) {
    found = job;
    return false;
  });
  return found;
}

History::Arrived History::arrived(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT"
              " (SELECT count(*) FROM file WHERE job = ?1 AND state IN ('downloaded', 'verified')),"
              " (SELECT coalesce(sum(length), 0) FROM file WHERE job = ?1 AND state IN ('downloaded', 'verified'))"
              " + (SELECT coalesce(sum(\"end\" - first), 0)"
              "    FROM file JOIN file_range ON file_range.file = file.id"
              "    WHERE job = ?1 AND state = 'partial')");
    row.with(numberOf(job)).next();
    return Arrived{.files = row.size(0), .bytes = row.size(1)};
  });
}

std::optional<JobView> History::newestWithFiles() {
  std::optional<JobView> found;
  forEachJob({.limit = 0}, [&](const JobView& view) {
    if (arrived(view.job.id).files > 0) found = view;
    return !found;
  });
  return found;
}

void History::forEachFile(model::JobId job, const std::function<void(const model::FileRecord&)>& visit) {
  try {
    Query rows(database_, "SELECT " + std::string(kFileColumns) +
                              " FROM file"
                              " JOIN batch ON batch.id = file.batch"
                              " WHERE file.job = ?"
                              " ORDER BY file.id");
    rows.with(numberOf(job));
    while (rows.next()) visit(readFile(database_, rows));
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

void History::forEachEvent(model::JobId job, const std::function<void(const model::Event&)>& visit) {
  try {
    Query rows(database_, "SELECT at, step, what, detail FROM event WHERE job = ? ORDER BY id");
    rows.with(numberOf(job));
    while (rows.next()) {
      visit({.at = rows.time(0),
             .step = rows.isNull(1) ? std::nullopt : model::stepNameFrom(rows.text(1)),
             .what = rows.text(2),
             .detail = rows.text(3)});
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

std::vector<model::Replacement> History::replacementsOf(const model::Job& job) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT " + std::string(kReplacementColumns) +
                              " FROM replaced_batch"
                              " JOIN sync_source ON sync_source.id = source"
                              " WHERE org_id = ? AND sandbox = ? AND dataset_id = ? AND output = ? AND done = 1"
                              " ORDER BY batch_id");
    rows.with(job.request.orgId, job.request.sandbox, job.datasetId.value(), job.request.output.string());
    std::vector<model::Replacement> list;
    while (rows.next()) {
      model::Replacement replacement = readReplacement(rows);
      const bool ours = std::ranges::find(job.batches, replacement.batch, &model::Batch::id) != job.batches.end();
      if (ours) list.push_back(std::move(replacement));
    }
    return list;
  });
}

void History::runSql(std::string_view sql, const std::function<void(const std::vector<std::string>&)>& columns,
                     const std::function<bool(const std::vector<SqlCell>&)>& row, std::stop_token stop) {
  try {
    SqlGuard guard(database_, isHeld_, stop);
    sqlite3* handle = database_.connection().getHandle();
    const RawStatement statement = prepareOnly(handle, sql);
    columns(columnNames(statement.get()));
    std::vector<SqlCell> cells(static_cast<std::size_t>(sqlite3_column_count(statement.get())));
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
      for (std::size_t n = 0; n < cells.size(); ++n) cells[n] = readCell(statement.get(), static_cast<int>(n));
      if (!row(cells)) return;
    }
    if (code == SQLITE_DONE) return;
    guard.rethrow();
    if ((code & 0xFF) == SQLITE_INTERRUPT && stop.stop_requested()) throw core::Interrupted();
    const int primary = code & 0xFF;
    const bool machine = primary == SQLITE_IOERR || primary == SQLITE_CORRUPT || primary == SQLITE_BUSY ||
                         primary == SQLITE_FULL || primary == SQLITE_CANTOPEN || primary == SQLITE_NOMEM;
    if (machine) throw SQLite::Exception(handle, code);
    refuseSql(sqlite3_errmsg(handle));
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

}  // namespace caiexport::store
