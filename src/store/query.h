#pragma once
/// What stands between the store and its database, a file of SQLite's or a PostgreSQL server: prepared statements with
/// typed columns and transactions, which may throw SQLite::Exception or PostgresError; waits for locks; failures in our
/// words. The SQL above is the same for both. What SQLite's BEGIN IMMEDIATE gives it, one writer at a time, it asks for
/// by name: forUpdate() and oneAtATime().

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/store/database.h"
#include "postgres.h"

namespace caiexport::store {

/// Statements of one connection, prepared once.
class StatementCache {
 public:
  explicit StatementCache(SQLite::Database& connection) : connection_(connection) {}

 private:
  friend class Query;
  struct Entry {
    std::unique_ptr<SQLite::Statement> statement;
    bool busy = false;
  };
  SQLite::Database& connection_;
  std::unordered_map<std::string, Entry> entries_;
};

struct Blob {
  std::string_view bytes;
};

/// One use of a statement. Parameters are numbered from 1, columns from 0. Reset and given back at the end, so that no
/// read transaction stays open behind it. The same SQL may be in use several times at once.
class Query {
 public:
  Query(Database& database, std::string_view sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  /// Binds all parameters in order.
  template <class... Values>
  Query& with(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    return *this;
  }

  void bind(int index, std::int64_t value) {
    if (statement_ != nullptr) return statement_->bind(index, value);
    server_->bind(index, {.value = std::to_string(value)});
  }
  void bind(int index, int value) { bind(index, static_cast<std::int64_t>(value)); }
  void bind(int index, bool value) { bind(index, std::int64_t{value ? 1 : 0}); }
  void bind(int index, std::uint32_t value) { bind(index, static_cast<std::int64_t>(value)); }
  /// Error(internal) beyond 2^63 - 1, which databases have no number for.
  void bind(int index, std::uint64_t value);
  void bind(int index, const std::string& value) {
    if (statement_ != nullptr) return statement_->bind(index, value);
    server_->bindText(index, value);
  }
  void bind(int index, std::string_view value) { bind(index, std::string(value)); }
  void bind(int index, const char* value) = delete;
  void bind(int index, Blob value);
  void bind(int index, core::TimePoint value) {
    bind(index, static_cast<std::int64_t>(value.time_since_epoch().count()));
  }
  template <class Value>
  void bind(int index, const std::optional<Value>& value) {
    if (value) {
      bind(index, *value);
    } else if (statement_ != nullptr) {
      statement_->bind(index);
    } else {
      server_->bind(index, {});
    }
  }

  /// To the next row; false after the last. A server has sent them all by then: ask it for no more than may be kept.
  bool next() { return statement_ != nullptr ? statement_->executeStep() : server_->next(); }
  /// For statements without rows, as often as wanted. The number of rows changed.
  int run();

  bool isNull(int column) const {
    return statement_ != nullptr ? statement_->getColumn(column).isNull() : server_->isNull(column);
  }
  std::int64_t integer(int column) const {
    return statement_ != nullptr ? statement_->getColumn(column).getInt64() : server_->integer(column);
  }
  bool flag(int column) const { return integer(column) != 0; }
  std::uint64_t size(int column) const { return static_cast<std::uint64_t>(integer(column)); }
  double real(int column) const {
    return statement_ != nullptr ? statement_->getColumn(column).getDouble() : server_->real(column);
  }
  /// Empty for NULL.
  std::string text(int column) const {
    return statement_ != nullptr ? statement_->getColumn(column).getString() : server_->text(column);
  }
  /// The same where it lies: until the next row. Not for a BLOB.
  std::string_view view(int column) const;
  core::TimePoint time(int column) const { return core::TimePoint(core::Duration(integer(column))); }
  std::optional<std::uint64_t> optionalSize(int column) const;
  std::optional<core::TimePoint> optionalTime(int column) const;

 private:
  StatementCache::Entry* entry_ = nullptr;
  std::unique_ptr<SQLite::Statement> own_;
  SQLite::Statement* statement_ = nullptr;  ///< Or else:
  std::unique_ptr<PostgresQuery> server_;
};

/// What to add to a SELECT of rows that are about to be changed by what is found in them, so that nobody else changes
/// them until the transaction ends.
std::string_view forUpdate(Database& database);

/// Until the transaction ends, no other process is past this line.
void oneAtATime(Database& database);

/// NULL for an empty text.
std::optional<std::string_view> orNull(std::string_view text);

/// A transaction, rolled back unless committed. `reading` gives one view of the data to several queries; inside another
/// transaction it does nothing.
class Transaction {
 public:
  enum class Kind { reading, writing };
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = false;
};

/// What a reading or writing function does with what the database threw.
class Failures {
 public:
  /// `what`: "read", "write to".
  Failures(Database& database, std::string_view what);
  /// In a handler, with the exception that is being handled: returns if all is to be tried again (a server was away, or
  /// two transactions stood in each other's way), else throws "cannot WHAT the job database NAME: REASON", with the
  /// remedy, or what is no failure of a database as it is.
  void handle();

 private:
  Database& database_;
  std::string_view what_;
  bool outermost_;
  int tries_ = 0;
};

/// Runs `action`, as often as Failures says.
template <class Action>
auto withFailures(Database& database, std::string_view what, Action action) {
  Failures failures(database, what);
  for (;;) {
    try {
      return action();
    } catch (...) {
      failures.handle();
    }
  }
}

/// "cannot WHAT the job database FILE: REASON", with the remedy.
[[noreturn]] void throwDatabaseError(std::string_view what, const std::filesystem::path& file,
                                     const SQLite::Exception& error);

/// As waitForLocksUntil() says.
bool isToStop() noexcept;

/// One wait for a lock of another process.
class Patience {
 public:
  Patience();
  /// Whether to try again.
  bool lasts() noexcept;

 private:
  core::SteadyTime since_;
  std::optional<core::SteadyTime> stoppedAt_;
};

}  // namespace caiexport::store
