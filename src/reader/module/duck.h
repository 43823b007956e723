#pragma once
/// DuckDB's C API with ownership and with failures as core::Error.

#include <duckdb.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/reader/parquet_reader.h"

namespace caiexport::reader {

/// 'it''s': text as an SQL literal.
std::string sqlText(std::string_view text);
/// "it""s": a name as an SQL identifier.
std::string sqlName(std::string_view name);

/// Who is to blame when a statement fails.
struct Blame {
  std::string what = {};   ///< What was being done, e.g. "cannot read the profiles".
  bool usersSql = false;   ///< The statement holds SQL of the user: what is no fault of the files is wrong usage.
  std::string place = {};  ///< A path in DuckDB's message that means nothing to the user,
  std::string file = {};   ///< and the file that is meant.
  /// Names in DuckDB's message that mean nothing to the user, and those that are meant.
  std::map<std::string, std::string> names = {};
};

/// A message of DuckDB as core::Error of the right category.
[[noreturn]] void throwDuckError(duckdb_error_type type, std::string_view message, const Blame& blame);

template <auto destroy>
struct Destroyer {
  template <typename T>
  void operator()(T* handle) const {
    destroy(&handle);
  }
};
template <typename Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<destroy>>;

using LogicalType = Owned<duckdb_logical_type, duckdb_destroy_logical_type>;
using Chunk = Owned<duckdb_data_chunk, duckdb_destroy_data_chunk>;

/// Text that DuckDB allocated.
std::string takeText(char* text);

/// One prepared statement.
class Statement {
 public:
  Statement() = default;
  explicit Statement(duckdb_prepared_statement handle) : handle_(handle) {}

  duckdb_prepared_statement get() const { return handle_.get(); }
  std::size_t columnCount() const { return duckdb_prepared_statement_column_count(handle_.get()); }
  std::string columnName(std::size_t index) const;
  LogicalType columnType(std::size_t index) const;

 private:
  Owned<duckdb_prepared_statement, duckdb_destroy_prepare> handle_;
};

/// An in-memory database with one connection that can read the files it is given and nothing else, and whose
/// settings are locked.
class Duck {
 public:
  struct Access {
    std::vector<std::string> paths = {};  ///< Absolute; each as it will be spelt in SQL.
    bool filesChange = false;             ///< Other content may stand under a path later: nothing of it is kept.
  };

  Duck(const ReaderSettings& settings, const Access& access);
  ~Duck();
  Duck(const Duck&) = delete;
  Duck& operator=(const Duck&) = delete;

  /// Prepares exactly one SELECT without parameters: anything else is Error(usage).
  Statement prepareSelect(const std::string& sql, const Blame& blame);
  /// Runs a statement of ours that has no rows.
  void run(const std::string& sql, const Blame& blame);
  /// The first column, which is text; null is left out.
  std::vector<std::string> texts(const std::string& sql, const Blame& blame);
  /// Numbers of the only row; null is 0.
  std::vector<std::int64_t> numbers(const std::string& sql, const Blame& blame);
  std::uint64_t changedRows(const std::string& sql, const Blame& blame, std::stop_token stop);

  /// Runs what was started as `pending`, and gives that up.
  void execute(duckdb_pending_result pending, duckdb_state started, duckdb_result& result, const Blame& blame,
               const std::stop_token& stop);

  /// Ends the running statement soon; from any thread.
  void interrupt() { duckdb_interrupt(connection_); }
  /// Ends the running statement and waits until no thread works on it. Does not throw.
  void endStatement() noexcept;

 private:
  duckdb_database database_ = nullptr;
  duckdb_connection connection_ = nullptr;
};

/// A result that is made while it is read. Not for use by two threads, but its chunks may be.
class Rows {
 public:
  /// Starts the statement and waits for its first rows. A stop is obeyed while an InterruptOnStop lives.
  Rows(Duck& duck, const Statement& statement, Blame blame, const std::stop_token& stop);
  /// Ends what still runs.
  ~Rows();
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// The next rows; nothing at the end.
  Chunk next();

 private:
  Duck& duck_;
  duckdb_result result_{};
  Blame blame_;
  bool ended_ = false;
};

/// While it lives, a stop request ends the statement that runs.
class InterruptOnStop {
 public:
  InterruptOnStop(std::stop_token stop, Duck& duck) : callback_(std::move(stop), Call{&duck}) {}

 private:
  struct Call {
    Duck* duck;
    void operator()() const { duck->interrupt(); }
  };
  std::stop_callback<Call> callback_;
};

}  // namespace caiexport::reader
