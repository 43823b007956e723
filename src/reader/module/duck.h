#pragma once
/// DuckDB's C API with ownership and with failures as core::Error; types of columns as plain data, and their names.

#include <duckdb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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

/// An in-memory database with one connection that can read the files it is given and nothing else.
class Duck {
 public:
  struct Access {
    std::vector<std::string> paths = {};  ///< Absolute; each as it will be spelt in SQL.
    bool filesChange = false;             ///< Other content may stand under a path later: nothing of it is kept.
    bool keepFooters = false;             ///< Each is wanted for each statement.
  };

  Duck(const ReaderSettings& settings, const Access& access);
  ~Duck();
  Duck(const Duck&) = delete;
  Duck& operator=(const Duck&) = delete;

  /// No setting can be changed from here on. Before any SQL of the user's is prepared.
  void lockSettings();
  bool areSettingsLocked() const { return locked_; }

  /// Keeps more rows that nobody has fetched yet, unless the settings are locked. The rows of one thread go out after
  /// those of the other, and where theirs do not fit it waits: DuckDB's own megabyte is less than a row group.
  void keepMoreRows();

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
  bool locked_ = false;
};

/// While it lives, DuckDB has one thread, unless its settings are locked. For rows that go out as they lie in the
/// files: since their order is kept, the other threads of DuckDB read ahead a little and wait, while the one that
/// fetches the rows asks in a loop whether there are any.
class OneThread {
 public:
  OneThread(Duck& duck, unsigned threads);
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  Duck& duck_;
  unsigned threads_;
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
  InterruptOnStop(std::stop_token stop, Duck& duck) : callback_(std::move(stop), [&duck] { duck.interrupt(); }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

/// The type of a column as plain data.
struct Type {
  std::string name;  ///< Of the column or field; empty for elements of lists and maps.
  duckdb_type id = DUCKDB_TYPE_INVALID;
  duckdb_type storage = DUCKDB_TYPE_INVALID;  ///< Of a decimal or an enum.
  std::uint8_t width = 0;                     ///< Of a decimal.
  std::uint8_t scale = 0;                     ///< Of a decimal.
  std::uint64_t arraySize = 0;
  bool json = false;                     ///< Text that is JSON by its type.
  std::vector<std::string> labels = {};  ///< Of an enum.
  /// Fields of a struct; the element of a list or array; key and value of a map.
  std::vector<Type> children = {};

  bool isStruct() const { return id == DUCKDB_TYPE_STRUCT; }
  bool isNumeric() const;
  bool isFloat() const { return id == DUCKDB_TYPE_DOUBLE || id == DUCKDB_TYPE_FLOAT; }
  bool isTime() const;  ///< A date or a timestamp of any kind.
  /// False if values of this type, or inside it, must be turned into text by DuckDB.
  bool isReadable() const;
  /// As in SQL.
  std::string describe() const;
};

Type readType(std::string name, duckdb_logical_type type);
std::vector<Type> columnsOf(const Statement& statement);

/// A field of a struct, or a column, by its dotted path.
struct Found {
  std::vector<std::string> steps = {};  ///< Names from the column down, as they are spelt in the files.
  const Type* type = nullptr;
};

/// Finds a dotted path among `columns` (names may hold dots themselves): exact first, then without case. `type` is null
/// if there is none, or if without case there are several.
Found findPath(const std::vector<Type>& columns, std::string_view path);

/// Fields whose path ends in `end`, e.g. `score` or `churn.score`: as it is spelt, else without case. Groups only where
/// no other field is meant.
std::vector<Found> findByEnd(const std::vector<Type>& columns, std::string_view end);

/// All fields, groups before what is in them.
std::vector<Found> allFields(const std::vector<Type>& columns);

/// The names with dots between.
std::string dotted(const std::vector<std::string>& steps);

/// SQL for the field.
std::string fieldSql(const std::vector<std::string>& steps);

// Columns whose names differ by case alone. To Parquet they are two; SQL takes them for one, and DuckDB renames the
// second. Here each gets a name of its own for SQL, of the same length, and its real name back in all that is shown.

/// A column or group as it is spelt in a file.
struct RawField {
  std::string name;
  bool list = false;
  bool map = false;
  bool repeated = false;
  std::vector<RawField> children = {};
  bool operator==(const RawField&) const = default;
};

/// Of each of the files, in their order; `files` is SQL of the list. Nothing where no two names, anywhere in the files,
/// differ by case alone, which costs no more than the footers.
std::optional<std::vector<RawField>> schemasIfNamesClash(Duck& duck, const std::string& files);

/// Real names and those for SQL. They differ only where two fields of one group differ by case alone.
class ColumnNames {
 public:
  ColumnNames() = default;
  /// `schemas`: those of all files.
  explicit ColumnNames(const std::vector<RawField>& schemas);

  /// These, and names for those of `columns` that differ by case alone.
  ColumnNames with(const std::vector<std::string>& columns) const;

  bool empty() const { return sql_.empty(); }
  const std::string& sqlOf(const std::string& name) const;
  /// Puts the real names back, in texts made of the names for SQL too.
  std::string shown(std::string text) const;
  void show(Type& type) const;
  /// SQL of a user, in which the fields bear their real names. Error(usage) for a name that could mean several.
  std::string forSql(Duck& duck, const std::string& sql) const;
  /// SQL of the field with the names for SQL, inside it too; `type` and `raw` are the same field's.
  std::string renamed(const std::string& field, const Type& type, const RawField& raw) const;
  /// Real names by those for SQL.
  const std::map<std::string, std::string>& realNames() const { return real_; }

 private:
  bool isIn(const RawField& raw) const;
  void add(const std::string& name);

  std::map<std::string, std::string> sql_;   ///< By the real name.
  std::map<std::string, std::string> real_;  ///< The other way round.
};

}  // namespace caiexport::reader
