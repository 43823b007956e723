#pragma once
/// What stands between the store and SQLite: prepared statements with typed columns, transactions (both may throw
/// SQLite::Exception), waits for locks, and failures in our words.

#include <SQLiteCpp/Column.h>
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

namespace SQLite {
class Exception;
}

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

  void bind(int index, std::int64_t value) { statement_->bind(index, value); }
  void bind(int index, int value) { statement_->bind(index, value); }
  void bind(int index, bool value) { statement_->bind(index, value ? 1 : 0); }
  void bind(int index, std::uint32_t value) { bind(index, static_cast<std::int64_t>(value)); }
  /// Error(internal) beyond 2^63 - 1, which SQLite has no number for.
  void bind(int index, std::uint64_t value);
  void bind(int index, const std::string& value) { statement_->bind(index, value); }
  void bind(int index, std::string_view value) { statement_->bind(index, std::string(value)); }
  void bind(int index, const char* value) = delete;
  void bind(int index, Blob value);
  void bind(int index, core::TimePoint value) {
    bind(index, static_cast<std::int64_t>(value.time_since_epoch().count()));
  }
  template <class Value>
  void bind(int index, const std::optional<Value>& value) {
    if (value) {
      bind(index, *value);
    } else {
      statement_->bind(index);
    }
  }

  /// To the next row; false after the last.
  bool next() { return statement_->executeStep(); }
  /// For statements without rows, as often as wanted. The number of rows changed.
  int run();

  bool isNull(int column) const { return statement_->getColumn(column).isNull(); }
  std::int64_t integer(int column) const { return statement_->getColumn(column).getInt64(); }
  bool flag(int column) const { return integer(column) != 0; }
  std::uint64_t size(int column) const { return static_cast<std::uint64_t>(integer(column)); }
  double real(int column) const { return statement_->getColumn(column).getDouble(); }
  /// Empty for NULL.
  std::string text(int column) const { return statement_->getColumn(column).getString(); }
  core::TimePoint time(int column) const { return core::TimePoint(core::Duration(integer(column))); }
  std::optional<std::uint64_t> optionalSize(int column) const;
  std::optional<core::TimePoint> optionalTime(int column) const;

 private:
  StatementCache::Entry* entry_ = nullptr;
  std::unique_ptr<SQLite::Statement> own_;
  SQLite::Statement* statement_ = nullptr;
};

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
