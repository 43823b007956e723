/// What `history --sql` reads: views over the tables, a guard that keeps a statement to them, and the run of one.

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/store/history.h"
#include "rows.h"
#include "views.h"

namespace caiexport::store {
namespace {

constexpr int kLongestValueBytes = 64 << 20;
constexpr int kLongestSqlBytes = 1 << 20;
constexpr int kStepsBetweenChecks = 10000;

/// No other table of the database is ever read.
constexpr std::array<std::string_view, 7> kTables = {"job", "step", "batch", "file", "event", "run", "sync_source"};
/// Functions that reach beyond their arguments, in SQLite itself or in its usual extensions.
constexpr std::array<std::string_view, 6> kForbiddenFunctions = {"load_extension", "fts3_tokenizer", "readfile",
                                                                 "writefile",      "edit",           "fsdir"};

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

constexpr ViewWords kWords{
    .status = "caiexport_status(id, status)",
    .batchIds =
        "(SELECT json_group_array(remote_id)"
        " FROM (SELECT remote_id FROM main.batch WHERE batch.job = job.id ORDER BY position))",
    .sha256 = "lower(hex(sha256))",
    .beforeTime = "strftime('%Y-%m-%dT%H:%M:%fZ', ",
    .afterTime = " / 1000.0, 'unixepoch')",
    .schema = "main",
};

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

// --- the guard

/// While it lives, the connection has the views and can do nothing but SELECT from them.
///
/// SQLite tells an authorizer the name of the innermost view or FROM item that a read stands in. A statement could name
/// a CTE `jobs` and read the tables in it, so the tables are read by inner views whose names hold a random word, and
/// those names alone open the tables.
class SqlGuard {
 public:
  SqlGuard(Database& database, std::function<bool(model::JobId)> isHeld, std::stop_token stop);
  ~SqlGuard();
  SqlGuard(const SqlGuard&) = delete;
  SqlGuard& operator=(const SqlGuard&) = delete;

  /// What isHeld threw inside a statement goes on from here.
  void rethrow() const;

 private:
  struct Callbacks;
  bool mayRead(const char* table, const char* column, const char* schema, const char* context) const;
  bool mayCount(std::string_view table) const;
  void createViews();
  void dropViews();
  void lock();
  void unlock();
  int setLimit(int which, int value);

  Database& database_;
  sqlite3* handle_;
  std::string inner_;             ///< What the names of the inner views begin with.
  std::set<std::string> tables_;  ///< All that the database has.
  std::function<bool(model::JobId)> isHeld_;
  std::stop_token stop_;
  std::exception_ptr thrown_;
  int lengthLimit_ = 0;
  int sqlLimit_ = 0;
};

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
    connection.exec("CREATE TEMP VIEW " + inner_ + view.name + " AS " + inWords(view.select, kWords));
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

// --- one statement

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using RawStatement = std::unique_ptr<sqlite3_stmt, Finalize>;

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

History::SqlCell readCell(sqlite3_stmt* statement, int column) {
  using Type = History::SqlCell::Type;
  History::SqlCell cell;
  const int type = sqlite3_column_type(statement, column);
  if (type == SQLITE_NULL) return cell;
  if (type == SQLITE_BLOB) {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
    const auto count = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
    return {.type = Type::text, .text = core::hexOf(std::string_view(bytes, count))};
  }
  cell.type = type == SQLITE_INTEGER ? Type::integer : type == SQLITE_FLOAT ? Type::real : Type::text;
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  if (text != nullptr) cell.text.assign(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
  return cell;
}

}  // namespace

std::string inWords(std::string_view select, const ViewWords& words) {
  std::string sql;
  for (std::size_t at = 0; at < select.size();) {
    if (select[at] != '@') {
      sql += select[at++];
      continue;
    }
    const std::size_t end = std::min(select.find_first_of(", ", at), select.size());
    const std::string column(select.substr(at + 1, end - at - 1));
    sql.append(words.beforeTime).append(column).append(words.afterTime).append(" AS ").append(column);
    at = end;
  }
  const std::array<std::pair<std::string_view, std::string_view>, 4> named{{{"$status", words.status},
                                                                            {"$batch_ids", words.batchIds},
                                                                            {"$sha256", words.sha256},
                                                                            {"$schema", words.schema}}};
  for (const auto& [word, meaning] : named) {
    for (std::size_t at = sql.find(word); at != sql.npos; at = sql.find(word, at + meaning.size())) {
      sql.replace(at, word.size(), meaning);
    }
  }
  return sql;
}

void refuseSql(const std::string& reason) {
  throw core::Error(
      core::Category::usage, "cannot run the SQL: " + reason,
      {.hint = "give one SELECT (or WITH ... SELECT) over the views jobs, steps, files, events and runs"});
}

void History::runSql(std::string_view sql, const std::function<void(const std::vector<std::string>&)>& columns,
                     const std::function<bool(const std::vector<SqlCell>&)>& row, std::stop_token stop) {
  if (database_.server() != nullptr) return runSqlOnServer(*database_.server(), sql, columns, row, stop);
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
    throwDatabaseError("read", database_.location().file(), error);
  }
}

}  // namespace caiexport::store
