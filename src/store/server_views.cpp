/// `history --sql` on a server: temporary views over the tables, and a statement that is looked at before it is run.
///
/// The server itself tells what a statement reads: it is made a view first, which a server does for one SELECT only,
/// and the rule of that view names each table and each function in it. So the tables can't be read past our views, by a
/// role that may do so otherwise. What remains reachable: functions that change nothing and ask for no SQL of their
/// own.

#include <array>
#include <cstring>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"
#include "libpq.h"
#include "views.h"

namespace caiexport::store {
namespace {

using Cell = History::SqlCell;

/// pg_type.dat
constexpr std::array<Oid, 4> kIntegers{20, 21, 23, 26};
constexpr std::array<Oid, 3> kReals{700, 701, 1700};
constexpr Oid kBoolean = 16;
constexpr Oid kBytea = 17;

constexpr const char* kTimeLimit = "300000";

constexpr std::string_view kStatus =
    "CASE WHEN status IN ('pending', 'running', 'interrupted', 'blocked', 'failed') AND EXISTS ("
    " SELECT 1 FROM $schema.lease JOIN $schema.worker ON worker.id = lease.worker"
    " WHERE lease.number = job.id"
    " AND worker.until > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    " ) THEN 'running' ELSE status END";
constexpr std::string_view kBatchIds =
    "(SELECT '[' || coalesce(string_agg(CAST(to_json(remote_id) AS text), ',' ORDER BY position), '') || ']'"
    " FROM $schema.batch WHERE batch.job = job.id)";

/// A table that is none of our views, and a function that is not the server's own, changes something or runs SQL.
constexpr const char* kForbidden =
    "WITH rule AS ("
    "  SELECT CAST(ev_action AS text) AS tree FROM pg_rewrite"
    "  WHERE ev_class = CAST('pg_temp.caiexport_statement' AS regclass)"
    " ), tables AS ("
    "  SELECT DISTINCT CAST((regexp_matches(tree, ':relid (\\d+)', 'g'))[1] AS oid) AS id FROM rule"
    " ), functions AS ("
    "  SELECT DISTINCT CAST((regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g'))[1] AS oid) AS "
    "id"
    "  FROM rule"
    " )"
    " SELECT coalesce("
    "  (SELECT min('the table ' || relname) FROM tables JOIN pg_class ON pg_class.oid = tables.id"
    "   WHERE relnamespace <> pg_my_temp_schema()),"
    "  (SELECT min('the function ' || proname) FROM functions JOIN pg_proc ON pg_proc.oid = functions.id"
    "   WHERE pronamespace <> CAST('pg_catalog' AS regnamespace) OR provolatile = 'v' OR proname LIKE "
    "'%\\_to\\_xml%'))";

std::string textOf(const PGresult* result, int column) {
  return {libpq().PQgetvalue(result, 0, column), static_cast<std::size_t>(libpq().PQgetlength(result, 0, column))};
}

void makeViews(Postgres& server) {
  const PostgresResult place = server.runAll("SELECT quote_ident(current_schema())");
  const std::string schema = textOf(place.get(), 0);
  const ViewWords words{
      .status = kStatus,
      .batchIds = kBatchIds,
      .sha256 = "encode(sha256, 'hex')",
      .beforeTime = "to_char(to_timestamp(",
      .afterTime = " / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
      .schema = schema,
  };
  for (const View& view : kViews) {
    server.runAll("CREATE TEMPORARY VIEW " + std::string(view.name) + " AS " + inWords(view.select, words));
  }
  server.runAll("SET LOCAL search_path = pg_temp; SET LOCAL idle_in_transaction_session_timeout = 0");
}

std::vector<std::string> columnNames(const PGresult* result) {
  const int columns = libpq().PQnfields(result);
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(columns));
  for (int column = 0; column < columns; ++column) names.emplace_back(libpq().PQfname(result, column));
  return names;
}

/// Error(usage) unless it is one SELECT of what it may read.
std::vector<std::string> checkedColumns(Postgres& server, const std::string& sql) {
  const PostgresResult described = server.describe(sql);
  if (libpq().PQnparams(described.get()) != 0) refuseSql("it has parameters, which have no value here");
  std::vector<std::string> names = columnNames(described.get());
  // Names of its own: those of the statement may be equal.
  std::string list;
  for (std::size_t n = 1; n <= names.size(); ++n) list += (n == 1 ? " (c" : ", c") + std::to_string(n);
  if (!names.empty()) list += ")";
  server.runOne("CREATE TEMPORARY VIEW caiexport_statement" + list + " AS " + sql);
  const PostgresResult forbidden = server.runAll(kForbidden);
  if (libpq().PQgetisnull(forbidden.get(), 0, 0) == 0) {
    refuseSql(core::printable(textOf(forbidden.get(), 0), 100) + " is not for this");
  }
  return names;
}

template <class List>
bool contains(const List& list, Oid type) {
  return std::find(list.begin(), list.end(), type) != list.end();
}

Cell cellOf(const PGresult* result, int column) {
  if (libpq().PQgetisnull(result, 0, column) != 0) return {};
  const Oid type = libpq().PQftype(result, column);
  const std::string text = textOf(result, column);
  if (type == kBoolean) return {.type = Cell::Type::integer, .text = text == "t" ? "1" : "0"};
  if (type == kBytea) return {.type = Cell::Type::text, .text = text.substr(std::min<std::size_t>(2, text.size()))};
  if (contains(kIntegers, type)) return {.type = Cell::Type::integer, .text = text};
  // NaN and Infinity are no numbers to those who read the output.
  const bool number = contains(kReals, type) && text.find_first_not_of("0123456789+-.eE") == text.npos;
  return {.type = number ? Cell::Type::real : Cell::Type::text, .text = text};
}

}  // namespace

void runSqlOnServer(Postgres& server, std::string_view sql,
                    const std::function<void(const std::vector<std::string>&)>& columns,
                    const std::function<bool(const std::vector<Cell>&)>& row, const std::stop_token& stop) {
  if (sql.find('\0') != sql.npos) refuseSql("it holds a NUL character");
  struct Rollback {
    Postgres& server;
    ~Rollback() { server.rollback(); }
  } const rollback{server};
  const std::string statement(sql);
  try {
    server.beginAlone();
    makeViews(server);
    const std::vector<std::string> names = checkedColumns(server, statement);
    server.runAll(std::string("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = ") + kTimeLimit);
    columns(names);
    std::vector<Cell> cells(names.size());
    server.stream(statement, stop, [&](const PGresult* result) {
      for (std::size_t n = 0; n < cells.size(); ++n) cells[n] = cellOf(result, static_cast<int>(n));
      return row(cells);
    });
  } catch (const PostgresError& error) {
    const std::string& state = error.state();
    // What the server says of the statement: of its words, of what it computes, of how long it takes.
    for (const char* kind : {"42", "22", "0A", "54", "57014", "25006", "21"}) {
      if (state.starts_with(kind) && state != "42501") refuseSql(error.what());
    }
    throw asError("read", server.location(), error);
  }
}

}  // namespace caiexport::store
