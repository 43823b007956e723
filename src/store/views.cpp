#include "views.h"

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "caiexport/core/text.h"
#include "rows.h"

namespace caiexport::store {
namespace {

constexpr int kLongestValueBytes = 64 << 20;
constexpr int kLongestSqlBytes = 1 << 20;
constexpr int kStepsBetweenChecks = 10000;

struct View {
  const char* name;
  const char* select;
};

// `@name` stands for an RFC 3339 text of the column `name`, in milliseconds.
constexpr std::array kViews = {
    View{"jobs",
         "SELECT id AS job, kind, source_id, org_id, sandbox,"
         " caiexport_status(id, status) AS status,"
         " step, dataset_id, export_job_id, segment_job_id, remote_status,"
         " ("
         "   SELECT json_group_array(remote_id)"
         "   FROM (SELECT remote_id FROM main.batch WHERE batch.job = job.id ORDER BY position)"
         " ) AS batch_ids,"
         " files, bytes, records, reported_profiles, output,"
         " @created_at, @updated_at, @finished_at,"
         " error_category, error_message, error_request_id, error_hint, @evaluated_at"
         " FROM main.job"},
    View{"steps",
         "SELECT job, position, name, state, @started_at, @finished_at, attempts, @intended_at, @deadline"
         " FROM main.step"},
    View{"files",
         "SELECT file.job AS job, name,"
         " CASE in_folder WHEN 0 THEN name"
         " ELSE dataset_file_id || substr('~~~~~~~~', 1, in_folder - 1) || '/' || name END AS path,"
         " batch.remote_id AS batch_id, dataset_file_id, length AS bytes, lower(hex(sha256)) AS sha256,"
         " file.records AS records, state"
         " FROM main.file"
         " JOIN main.batch ON batch.id = file.batch"},
    View{"runs",
         "SELECT run.id AS run, dataset_id, org_id, sandbox, output, version, pid, @started_at, @ended_at, status, job,"
         " jobs, replaced, newest_batch, @newest_created,"
         " error_category, error_message, error_request_id, error_hint"
         " FROM main.run"
         " JOIN main.sync_source ON sync_source.id = run.source"},
    View{"events", "SELECT job, @at, step, what, detail FROM main.event"},
};

/// No other table of the database is ever read.
constexpr std::array<std::string_view, 7> kTables = {"job", "step", "batch", "file", "event", "run", "sync_source"};
/// Functions that reach beyond their arguments, in SQLite itself or in its usual extensions.
constexpr std::array<std::string_view, 6> kForbiddenFunctions = {"load_extension", "fts3_tokenizer", "readfile",
                                                                 "writefile",      "edit",           "fsdir"};

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

std::string withTimes(std::string_view select) {
  std::string sql;
  for (std::size_t at = 0; at < select.size();) {
    if (select[at] != '@') {
      sql += select[at++];
      continue;
    }
    const std::size_t end = std::min(select.find_first_of(", ", at), select.size());
    const std::string column(select.substr(at + 1, end - at - 1));
    sql.append("strftime('%Y-%m-%dT%H:%M:%fZ', ").append(column).append(" / 1000.0, 'unixepoch') AS ").append(column);
    at = end;
  }
  return sql;
}

std::string randomWord() {
  std::array<unsigned char, 16> bytes{};
  sqlite3_randomness(static_cast<int>(bytes.size()), bytes.data());
  std::string word = "caiexport_";
  for (const unsigned char byte : bytes) {
    word += static_cast<char>('a' + (byte & 0xFU));
    word += static_cast<char>('a' + (byte >> 4U));
  }
  return word + "_";
}

bool isInnerName(const char* name, const std::string& inner) {
  return name != nullptr && std::strncmp(name, inner.c_str(), inner.size()) == 0;
}

bool isPublicView(std::string_view name) {
  return std::ranges::find(kViews, name, [](const View& view) { return std::string_view(view.name); }) != kViews.end();
}

}  // namespace

struct SqlGuard::Callbacks {
  static int authorize(void* self, int action, const char* first, const char* second, const char* schema,
                       const char* context) noexcept {
    const auto& guard = *static_cast<const SqlGuard*>(self);
    switch (action) {
      case SQLITE_SELECT:
      case SQLITE_RECURSIVE:
        return SQLITE_OK;
      case SQLITE_READ:
        return guard.mayRead(first, second, schema, context) ? SQLITE_OK : SQLITE_DENY;
      case SQLITE_FUNCTION:
        return second == nullptr || contains(kForbiddenFunctions, second) ? SQLITE_DENY : SQLITE_OK;
      default:
        return SQLITE_DENY;
    }
  }

  static int progress(void* self) noexcept {
    return static_cast<const SqlGuard*>(self)->stop_.stop_requested() ? 1 : 0;
  }

  /// caiexport_status(job, stored status)
  static void status(sqlite3_context* context, int, sqlite3_value** arguments) noexcept {
    auto& guard = *static_cast<SqlGuard*>(sqlite3_user_data(context));
    try {
      const auto* text = sqlite3_value_text(arguments[1]);
      const auto stored = model::jobStatusFrom(text == nullptr ? "" : reinterpret_cast<const char*>(text));
      if (!stored) return sqlite3_result_null(context);
      // Asked only where it makes a difference.
      const bool held = statusNow(*stored, true) != *stored && guard.isHeld_ &&
                        guard.isHeld_(model::JobId(sqlite3_value_int64(arguments[0])));
      const std::string_view name = nameOf(statusNow(*stored, held));
      sqlite3_result_text(context, name.data(), static_cast<int>(name.size()), SQLITE_STATIC);
    } catch (...) {
      guard.thrown_ = std::current_exception();
      sqlite3_result_error(context, "cannot ask whether the job is held", -1);
    }
  }
};

SqlGuard::SqlGuard(Database& database, std::function<bool(model::JobId)> isHeld, std::stop_token stop)
    : database_(database),
      handle_(database.connection().getHandle()),
      inner_(randomWord()),
      isHeld_(std::move(isHeld)),
      stop_(std::move(stop)) {
  createViews();
  lock();
}

SqlGuard::~SqlGuard() {
  unlock();
  dropViews();
}

void SqlGuard::rethrow() const {
  if (thrown_) std::rethrow_exception(thrown_);
}

/// `column` is empty where a table is named but none of its columns is read, as `count(*)` over a view does once SQLite
/// has merged the view into the statement. `schema` is null then, unless the statement names it.
bool SqlGuard::mayRead(const char* table, const char* column, const char* schema, const char* context) const {
  if (table == nullptr) return false;
  const std::string_view name(table);
  const bool counted = column == nullptr || *column == '\0';
  if (schema == nullptr) return counted && mayCount(name);
  if (std::string_view(schema) == "temp") return isPublicView(name) || isInnerName(table, inner_);
  if (name == "json_each" || name == "json_tree") return true;
  return contains(kTables, name) && (counted || isInnerName(context, inner_));
}

/// A name without schema: a CTE of the statement, or a table.
bool SqlGuard::mayCount(std::string_view table) const {
  const std::string name = core::toLower(table);
  return !tables_.contains(name) && !name.starts_with("sqlite_") && !name.starts_with("pragma_") && name != "dbstat";
}

void SqlGuard::createViews() {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
  sqlite3_create_function(handle_, "caiexport_status", 2, kFlags, this, &Callbacks::status, nullptr, nullptr);
  SQLite::Database& connection = database_.connection();
  // A read only connection refuses its own temporary views too.
  const bool readOnly = connection.execAndGet("PRAGMA query_only").getInt() != 0;
  if (readOnly) connection.exec("PRAGMA query_only = OFF");
  for (const View& view : kViews) {
    connection.exec("CREATE TEMP VIEW " + inner_ + view.name + " AS " + withTimes(view.select));
    connection.exec("CREATE TEMP VIEW " + std::string(view.name) + " AS SELECT * FROM temp." + inner_ + view.name);
  }
  if (readOnly) connection.exec("PRAGMA query_only = ON");
  Query names(database_, "SELECT name FROM main.sqlite_master WHERE type = 'table'");
  while (names.next()) tables_.insert(core::toLower(names.text(0)));
  // Such tables come into being on first use, by steps that the authorizer would have to allow.
  connection.exec("SELECT 1 FROM json_each('[]'), json_tree('[]')");
}

void SqlGuard::dropViews() {
  SQLite::Database& connection = database_.connection();
  sqlite3_create_function(handle_, "caiexport_status", 2, SQLITE_UTF8, nullptr, nullptr, nullptr, nullptr);
  const bool readOnly = connection.execAndGet("PRAGMA query_only").getInt() != 0;
  if (readOnly) connection.tryExec("PRAGMA query_only = OFF");
  for (const View& view : kViews) {
    connection.tryExec("DROP VIEW IF EXISTS temp." + std::string(view.name));
    connection.tryExec("DROP VIEW IF EXISTS temp." + inner_ + view.name);
  }
  if (readOnly) connection.tryExec("PRAGMA query_only = ON");
}

void SqlGuard::lock() {
  lengthLimit_ = setLimit(SQLITE_LIMIT_LENGTH, kLongestValueBytes);
  sqlLimit_ = setLimit(SQLITE_LIMIT_SQL_LENGTH, kLongestSqlBytes);
  sqlite3_set_authorizer(handle_, &Callbacks::authorize, this);
  sqlite3_progress_handler(handle_, kStepsBetweenChecks, &Callbacks::progress, this);
}

void SqlGuard::unlock() {
  sqlite3_progress_handler(handle_, 0, nullptr, nullptr);
  sqlite3_set_authorizer(handle_, nullptr, nullptr);
  setLimit(SQLITE_LIMIT_LENGTH, lengthLimit_);
  setLimit(SQLITE_LIMIT_SQL_LENGTH, sqlLimit_);
}

int SqlGuard::setLimit(int which, int value) {
  return sqlite3_limit(handle_, which, value);
}

}  // namespace caiexport::store
