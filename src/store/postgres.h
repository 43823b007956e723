#pragma once
/// A PostgreSQL server as the place of the job database: one connection, its statements and transactions, and what of
/// its failures passes by itself.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/secret.h"
#include "caiexport/store/location.h"

// libpq-fe.h
struct pg_conn;
struct pg_result;

namespace caiexport::store {

/// What the server, or the way to it, refused.
class PostgresError : public std::runtime_error {
 public:
  /// `state`: SQLSTATE; empty where the connection is gone or there never was one.
  PostgresError(const std::string& message, std::string state)
      : std::runtime_error(message), state_(std::move(state)) {}
  const std::string& state() const { return state_; }
  /// There is no connection any more, or not yet: the server is away, restarts, has no place.
  bool isAway() const;
  /// The same transaction may succeed when repeated.
  bool passes() const;

 private:
  std::string state_;
};

/// "cannot WHAT the job database NAME: REASON", with the remedy.
core::Error asError(std::string_view what, const Location& location, const PostgresError& error);

struct FreeResult {
  void operator()(pg_result* result) const noexcept;
};
using PostgresResult = std::unique_ptr<pg_result, FreeResult>;

/// A parameter: text, or bytes as they are.
struct PostgresValue {
  std::optional<std::string> value;  ///< Nothing: NULL.
  bool bytes = false;
};

/// For one thread. All but quiet functions throw PostgresError; core::Interrupted if the process is to stop.
class Postgres {
 public:
  enum class Access {
    readWrite,
    readOnly,  ///< The server refuses to write.
    glance     ///< As readOnly; waits no longer than somebody who types does.
  };
  /// Connects. `longest`: how long an answer may take; what a run waits for is up to the database, and to its lease.
  Postgres(const Location& location, Access access, core::Duration longest = std::chrono::hours(24));
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  const Location& location() const { return location_; }

  /// A statement with parameters, as the store writes it, and as the server knows it once it was used.
  struct Statement {
    std::string sql;   ///< With $1, $2, ...
    std::string name;  ///< Empty until it is prepared on this connection.
  };
  Statement& statement(std::string_view sql);
  PostgresResult run(Statement& statement, const std::vector<PostgresValue>& values);
  /// One or several statements without parameters; the result of the last one.
  PostgresResult runAll(const std::string& sql);
  /// One statement, refused if there are several.
  PostgresResult runOne(const std::string& sql);
  /// Its columns and parameters, without running it.
  PostgresResult describe(const std::string& sql);
  /// As runAll; how many rows the last one changed.
  int changed(const std::string& sql);
  /// One statement, its rows one at a time; ends the statement when `row` returns false. `stop` interrupts it.
  template <class Row>
  void stream(const std::string& sql, std::stop_token stop, Row row) {
    sendStream(sql);
    while (const PostgresResult one = nextOfStream(stop)) {
      if (!row(one.get())) return endStream();
    }
  }

  // --- transactions
  bool inTransaction() const { return open_ != Kind::none; }
  /// One view of the data for several statements; nothing can be written.
  void beginReading();
  /// Also makes sure that this process still has what it holds (see `worker`), and that nobody takes it away before the
  /// end of the transaction: Error(unavailable) else.
  void beginWriting();
  /// For the schema itself, which knows of no receipts yet. What is done must be such that it may be done again.
  void beginAlone();
  /// If the connection is lost meanwhile, finds out whether it was done; PostgresError if it was not.
  void commit();
  void rollback() noexcept;

  /// Whether what `failure` ended may be tried again, in a new transaction: after a pause, or on a new connection,
  /// which is waited for as long as a lease lasts. False, at once, within a transaction.
  bool mayTryAgain(const PostgresError& failure, int triesBefore);

  // --- leases (see leases.h)
  /// Number of the row of `worker` that stands for this process; 0: it holds nothing.
  void setWorker(std::int64_t worker) { worker_ = worker; }
  std::int64_t worker() const { return worker_; }
  /// From any thread: what is being waited for is given up with `leaseLost()`.
  void loseLease() noexcept { lost_ = true; }
  core::Error leaseLost() const;

  // --- facts
  /// How many questions were sent.
  std::uint64_t roundTrips() const { return roundTrips_; }
  bool isEncrypted() const;
  std::string serverVersion() const;

 private:
  enum class Kind { none, reading, writing, alone };
  struct Free {
    void operator()(pg_conn* connection) const noexcept;
  };
  using Connection = std::unique_ptr<pg_conn, Free>;

  void connect();
  void connectPatiently();
  Connection connectOnce(bool encrypted);
  void await(pg_conn* connection);
  void greet();
  pg_conn* ready();
  PostgresResult results(bool sent);
  void awaitAnswer(const std::stop_token& stop);
  PostgresResult checked(PostgresResult result);
  [[noreturn]] void throwLost();
  std::string words(std::string_view message) const;
  bool wasCommitted();
  void sendStream(const std::string& sql);
  PostgresResult nextOfStream(const std::stop_token& stop);
  void endStream();

  Location location_;
  Access access_;
  core::Duration longest_;
  Connection connection_;
  core::KnownSecrets secrets_;
  std::unordered_map<std::string, Statement> statements_;
  std::size_t named_ = 0;
  std::string writer_;        ///< Its row in `receipt`.
  std::int64_t receipt_ = 0;  ///< Number of the last transaction that was begun.
  std::int64_t worker_ = 0;
  std::uint64_t roundTrips_ = 0;
  std::atomic<bool> lost_ = false;
  Kind open_ = Kind::none;
};

/// SQL with `?` and `?N` as PostgreSQL wants it, with $1, $2, ...
std::string withNumberedParameters(std::string_view sql);

/// The SQL that gives the server's time in milliseconds since 1970-01-01 UTC, at that very moment.
inline constexpr std::string_view kServerNow = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)";

/// One use of a statement; see Query.
class PostgresQuery {
 public:
  PostgresQuery(Postgres& server, std::string_view sql);
  void bind(int index, PostgresValue value);
  /// Error(config) for text that is not UTF-8 or holds a NUL, which the server can't keep.
  void bindText(int index, std::string_view text);
  bool next();
  int run();
  bool isNull(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  /// Bytes of a bytea.
  std::string text(int column) const;
  /// As it was sent.
  std::string_view view(int column) const;

 private:
  Postgres& server_;
  Postgres::Statement& statement_;
  std::vector<PostgresValue> values_;
  PostgresResult result_;
  int row_ = -1;
};

}  // namespace caiexport::store
