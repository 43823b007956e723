#include "postgres.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"
#include "libpq.h"
#include "query.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;
using std::chrono::milliseconds;

/// Between two looks at what may end a wait.
constexpr milliseconds kLook{100};
/// Once the process is to stop: as long as it takes a server to commit.
constexpr milliseconds kOnceStopped{1500};
constexpr milliseconds kToConnect{10000};
constexpr milliseconds kToGlance{1500};
constexpr milliseconds kBetweenTries{250};
/// bytea (pg_type.dat)
constexpr Oid kBytea = 17;

bool isIn(std::string_view state, std::initializer_list<std::string_view> states) {
  return std::ranges::find(states, state) != states.end();
}

// --- the way there

bool isLoopback(std::string_view host) {
  return host.empty() || host.front() == '/' || host.front() == '@' || host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { libpq().PQconninfoFree(options); }
};

/// From the address, the environment and the service file together. Nothing is sent before the first poll.
bool isOpenToOthers(PGconn* connection) {
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(libpq().PQconninfo(connection));
  bool distant = false;
  bool encrypted = false;
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option) {
    const std::string keyword = option->keyword;
    const std::string value = option->val == nullptr ? "" : option->val;
    if (keyword == "host" || keyword == "hostaddr") {
      const auto hosts = core::splitList(value);
      distant = distant || std::ranges::any_of(hosts, [](const std::string& host) { return !isLoopback(host); });
    }
    if (keyword == "sslmode") encrypted = value == "require" || value == "verify-ca" || value == "verify-full";
  }
  return distant && !encrypted;
}

/// A failure to connect comes as text alone; asked for verbosely, the server's own begins with its SQLSTATE.
std::string stateIn(std::string_view message) {
  for (const std::string_view severity : {"FATAL:  ", "ERROR:  "}) {
    const std::size_t at = message.find(severity);
    if (at == message.npos) continue;
    const std::string_view state = message.substr(at + severity.size(), 5);
    const bool valid = state.size() == 5 && std::ranges::all_of(state, [](char c) {
                         return std::isdigit(static_cast<unsigned char>(c)) != 0 || (c >= 'A' && c <= 'Z');
                       });
    if (valid) return std::string(state);
  }
  return {};
}

/// Without advice, and the lines of the server's source that come with it.
std::string_view firstLine(std::string_view message) {
  return message.substr(0, std::min(message.find('\n'), message.size()));
}

std::string hintFor(const PostgresError& error) {
  const std::string& state = error.state();
  if (isIn(state, {"28P01", "28000"})) {
    return "give the role in the address (postgresql://ROLE@HOST/NAME) and its password in ~/.pgpass or the file that "
           "PGPASSFILE names";
  }
  if (state == "TLS") {
    return "another host is spoken to over TLS alone: turn it on at the server (ssl = on), and check the certificates "
           "that the address names, if any";
  }
  if (state == "3D000") return "make it on the server (createdb), or name another one";
  if (isIn(state, {"42501", "25006", "3F000"})) {
    return "its owner has to give the role what it needs: to make tables in the schema once, to read and write them "
           "from then on";
  }
  if (state == "53100") return "the server's disk is full; make room there, then resume the job";
  if (state == "0A000") return "caiexport needs PostgreSQL 12 or newer";
  if (error.isAway() || error.passes() || state == "55P03") {
    return "when the server answers again, the same command goes on from what is recorded";
  }
  return {};
}

Category categoryOf(const PostgresError& error) {
  const std::string& state = error.state();
  if (isIn(state, {"28P01", "28000", "3D000", "42501", "25006", "3F000", "22021", "0A000", "TLS"})) {
    return Category::config;
  }
  if (error.isAway() || error.passes() || isIn(state, {"55P03", "57014"})) return Category::unavailable;
  // These mean that our own SQL is wrong.
  if (state.starts_with("23") || state.starts_with("42") || state.starts_with("22")) return Category::internal;
  return Category::io;
}

}  // namespace

// --- failures

bool PostgresError::isAway() const {
  return state_.empty() || state_.starts_with("08") ||
         isIn(state_, {"57P01", "57P02", "57P03", "57P05", "53300", "25P03"});
}

bool PostgresError::passes() const {
  return isAway() || state_ == "40001" || state_ == "40P01";
}

core::Error asError(std::string_view what, const Location& location, const PostgresError& error) {
  return {categoryOf(error),
          "cannot " + std::string(what) + " the job database " + location.name() + ": " + error.what(),
          {.requestId = {}, .hint = hintFor(error)}};
}

void FreeResult::operator()(pg_result* result) const noexcept {
  libpq().PQclear(result);
}

void Postgres::Free::operator()(pg_conn* connection) const noexcept {
  libpq().PQfinish(connection);
}

std::string Postgres::words(std::string_view message) const {
  std::string line;
  for (const char letter : firstLine(message)) {
    const bool blank = letter == '\n' || letter == '\t' || letter == ' ';
    if (!blank) line += letter;
    if (blank && !line.empty() && line.back() != ' ') line += ' ';
  }
  return core::printable(secrets_.without(std::string(core::trim(line))), 500);
}

void Postgres::throwLost() {
  const std::string reason = connection_ ? words(libpq().PQerrorMessage(connection_.get())) : std::string();
  connection_.reset();
  open_ = Kind::none;
  throw PostgresError(reason.empty() ? "the connection is lost" : reason, {});
}

core::Error Postgres::leaseLost() const {
  return {Category::unavailable,
          "this process was not heard of for so long that others may have what it held in the job database " +
              location_.name(),
          {.hint = "it has stopped; the same command goes on from what is recorded"}};
}

// --- connecting

Postgres::Postgres(const Location& location, Access access, core::Duration longest)
    : location_(location),
      access_(access),
      longest_(access == Access::glance ? kToGlance : longest),
      writer_(core::newUuid()) {
  try {
    connect();
  } catch (const PostgresError& error) {
    // It answers, and is about to be ready.
    if (access == Access::glance || !isIn(error.state(), {"57P03", "53300"})) throw;
    connectPatiently();
  }
}

Postgres::~Postgres() {
  if (!connection_ || receipt_ == 0 || inTransaction() || lost_) return;
  try {
    runAll("DELETE FROM receipt WHERE writer = '" + writer_ + "'");
  } catch (const std::exception&) {
    // It is swept up some day.
  }
}

Postgres::Connection Postgres::connectOnce(bool encrypted) {
  const auto lease = std::to_string(location_.lease.count());
  // What comes later wins: the address over our defaults.
  std::vector<std::pair<const char*, const char*>> options{
      {"fallback_application_name", "caiexport"},
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", lease.c_str()},
      {"dbname", location_.address().c_str()},
      {"client_encoding", "UTF8"},
  };
  if (encrypted) options.emplace_back("sslmode", "require");
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : options) {
    keywords.push_back(keyword);
    values.push_back(value);
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  Connection connection(libpq().PQconnectStartParams(keywords.data(), values.data(), 1));
  if (!connection) throw std::bad_alloc();
  if (!encrypted && isOpenToOthers(connection.get())) return connectOnce(true);
  if (const char* password = libpq().PQpass(connection.get()); password != nullptr) secrets_.add(password);
  libpq().PQsetErrorVerbosity(connection.get(), PQERRORS_VERBOSE);
  await(connection.get());
  return connection;
}

/// Until it is connected.
void Postgres::await(PGconn* connection) {
  core::Clock& clock = core::systemClock();
  const core::SteadyTime end = clock.steadyNow() + std::min<core::Duration>(kToConnect, longest_);
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (libpq().PQstatus(connection) != CONNECTION_BAD) {
    if (status == PGRES_POLLING_OK) return;
    if (isToStop()) throw core::Interrupted();
    if (clock.steadyNow() > end) throw PostgresError("the server does not answer", {});
    pollfd descriptor{.fd = libpq().PQsocket(connection),
                      .events = static_cast<short>(status == PGRES_POLLING_READING ? POLLIN : POLLOUT),
                      .revents = 0};
    if (::poll(&descriptor, 1, static_cast<int>(kLook.count())) > 0) status = libpq().PQconnectPoll(connection);
  }
  const std::string message = libpq().PQerrorMessage(connection);
  std::string state = stateIn(message);
  if (libpq().PQconnectionNeedsPassword(connection) != 0) state = "28P01";
  if (state.empty() && message.find("SSL") != message.npos) state = "TLS";
  throw PostgresError(words(message), state);
}

void Postgres::connect() {
  connection_.reset();
  open_ = Kind::none;
  for (auto& [text, statement] : statements_) statement.name.clear();
  connection_ = connectOnce(false);
  libpq().PQsetErrorVerbosity(connection_.get(), PQERRORS_DEFAULT);
  // The program prints nothing that it did not write.
  libpq().PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  greet();
}

void Postgres::greet() {
  const auto lease = location_.lease.count();
  // A process that was stopped or cut off in the middle of a transaction would hold its locks for good.
  runAll(
      "SET bytea_output = hex; SET TimeZone = 'UTC'; SET DateStyle = ISO; SET standard_conforming_strings = on;"
      " SET lock_timeout = " +
      std::to_string(lease) + "; SET idle_in_transaction_session_timeout = " + std::to_string(lease / 2) +
      "; SET default_transaction_read_only = " + (access_ == Access::readWrite ? "off" : "on") +
      "; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'");
  // From 14 on: a statement whose client has gone is ended.
  if (libpq().PQserverVersion(connection_.get()) >= 140000) runAll("SET client_connection_check_interval = 1000");
  const char* encoding = libpq().PQparameterStatus(connection_.get(), "server_encoding");
  if (libpq().PQserverVersion(connection_.get()) < 120000) throw PostgresError("the server is too old", "0A000");
  if (encoding != nullptr && std::string_view(encoding) != "UTF8") {
    throw PostgresError("the database's encoding is " + words(encoding) + ", it must be UTF8", "22021");
  }
}

void Postgres::connectPatiently() {
  core::Clock& clock = core::systemClock();
  const core::SteadyTime end = clock.steadyNow() + location_.lease;
  for (;;) {
    try {
      return connect();
    } catch (const PostgresError& error) {
      connection_.reset();
      if (!error.isAway() || clock.steadyNow() > end) throw;
    }
    if (lost_) throw leaseLost();
    if (isToStop()) throw core::Interrupted();
    clock.sleep(kBetweenTries, std::stop_token());
  }
}

bool Postgres::mayTryAgain(const PostgresError& failure, int triesBefore) {
  constexpr int kMostTries = 10;
  if (!failure.passes() || access_ == Access::glance || triesBefore >= kMostTries) return false;
  if (failure.isAway()) {
    connectPatiently();
    return true;
  }
  const auto chance = static_cast<int>(core::systemRandom().uniform() * (20 << std::min(triesBefore, 5)));
  core::systemClock().sleep(milliseconds(1 + chance), std::stop_token());
  return true;
}

bool Postgres::isEncrypted() const {
  return connection_ && libpq().PQsslInUse(connection_.get()) != 0;
}

std::string Postgres::serverVersion() const {
  const char* version = connection_ ? libpq().PQparameterStatus(connection_.get(), "server_version") : nullptr;
  return version == nullptr ? std::string() : core::printable(version, 60);
}

// --- statements

pg_conn* Postgres::ready() {
  if (!connection_) {
    if (inTransaction()) throwLost();
    connect();
  }
  return connection_.get();
}

void Postgres::awaitAnswer(const std::stop_token& stop) {
  core::Clock& clock = core::systemClock();
  const core::SteadyTime asked = clock.steadyNow();
  std::optional<core::SteadyTime> stopped;
  while (libpq().PQisBusy(connection_.get()) != 0) {
    pollfd descriptor{.fd = libpq().PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
    ::poll(&descriptor, 1, static_cast<int>(kLook.count()));
    if (libpq().PQconsumeInput(connection_.get()) == 0) throwLost();
    if (clock.steadyNow() - asked > longest_) {
      connection_.reset();
      open_ = Kind::none;
      throw PostgresError("the server does not answer", {});
    }
    const bool enough = stop.stop_requested();
    if (!enough && !lost_ && !isToStop()) continue;
    if (!stopped) stopped = clock.steadyNow();
    if (!enough && clock.steadyNow() - *stopped < kOnceStopped) continue;
    // Not asked to cancel it: the answer to that may stay away, too. The server looks whether we are still there.
    connection_.reset();
    open_ = Kind::none;
    if (lost_) throw leaseLost();
    throw core::Interrupted();
  }
}

PostgresResult Postgres::checked(PostgresResult result) {
  if (!result) throwLost();
  switch (libpq().PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
      return result;
    default:
      break;
  }
  const char* state = libpq().PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  const char* message = libpq().PQresultErrorField(result.get(), PG_DIAG_MESSAGE_PRIMARY);
  const PostgresError error(words(message == nullptr ? libpq().PQresultErrorMessage(result.get()) : message),
                            state == nullptr ? "" : state);
  if (libpq().PQstatus(connection_.get()) == CONNECTION_BAD) {
    connection_.reset();
    open_ = Kind::none;
  }
  throw error;
}

/// The last result of what was sent, or the first failure.
PostgresResult Postgres::results(bool sent) {
  ++roundTrips_;
  if (!sent) throwLost();
  PostgresResult last;
  PostgresResult failed;
  for (;;) {
    awaitAnswer({});
    PostgresResult one(libpq().PQgetResult(connection_.get()));
    if (!one) break;
    const ExecStatusType status = libpq().PQresultStatus(one.get());
    const bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!good && !failed)
      failed = std::move(one);
    else
      last = std::move(one);
    if (libpq().PQstatus(connection_.get()) == CONNECTION_BAD) break;
  }
  return checked(failed ? std::move(failed) : std::move(last));
}

Postgres::Statement& Postgres::statement(std::string_view sql) {
  std::string key(sql);
  const auto found = statements_.find(key);
  if (found != statements_.end()) return found->second;
  return statements_.emplace(std::move(key), Statement{.sql = withNumberedParameters(sql), .name = {}}).first->second;
}

PostgresResult Postgres::run(Statement& statement, const std::vector<PostgresValue>& values) {
  pg_conn* connection = ready();
  if (statement.name.empty()) {
    const std::string name = "s" + std::to_string(++named_);
    results(libpq().PQsendPrepare(connection, name.c_str(), statement.sql.c_str(), 0, nullptr) != 0);
    statement.name = name;
  }
  std::vector<const char*> texts;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (const PostgresValue& value : values) {
    texts.push_back(value.value ? value.value->c_str() : nullptr);
    lengths.push_back(value.value ? static_cast<int>(value.value->size()) : 0);
    formats.push_back(value.bytes ? 1 : 0);
  }
  return results(libpq().PQsendQueryPrepared(connection, statement.name.c_str(), static_cast<int>(values.size()),
                                             texts.data(), lengths.data(), formats.data(), 0) != 0);
}

PostgresResult Postgres::runAll(const std::string& sql) {
  return results(libpq().PQsendQuery(ready(), sql.c_str()) != 0);
}

PostgresResult Postgres::runOne(const std::string& sql) {
  return results(libpq().PQsendQueryParams(ready(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) != 0);
}

PostgresResult Postgres::describe(const std::string& sql) {
  results(libpq().PQsendPrepare(ready(), "", sql.c_str(), 0, nullptr) != 0);
  return results(libpq().PQsendDescribePrepared(connection_.get(), "") != 0);
}

int Postgres::changed(const std::string& sql) {
  return std::atoi(libpq().PQcmdTuples(runAll(sql).get()));
}

void Postgres::sendStream(const std::string& sql) {
  const bool sent = libpq().PQsendQueryParams(ready(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) != 0;
  if (!sent || libpq().PQsetSingleRowMode(connection_.get()) == 0) throwLost();
}

PostgresResult Postgres::nextOfStream(const std::stop_token& stop) {
  awaitAnswer(stop);
  PostgresResult one(libpq().PQgetResult(connection_.get()));
  if (one && libpq().PQresultStatus(one.get()) == PGRES_SINGLE_TUPLE) return one;
  for (PostgresResult rest; libpq().PQstatus(connection_.get()) != CONNECTION_BAD;) {
    awaitAnswer(stop);
    rest.reset(libpq().PQgetResult(connection_.get()));
    if (!rest) break;
  }
  checked(std::move(one));
  return {};
}

void Postgres::endStream() {
  while (connection_) {
    // More than what was asked for is not waited for.
    if (libpq().PQisBusy(connection_.get()) != 0) {
      connection_.reset();
      open_ = Kind::none;
      return;
    }
    const PostgresResult rest(libpq().PQgetResult(connection_.get()));
    if (!rest) return;
  }
}

// --- transactions

void Postgres::beginReading() {
  ready();
  runAll("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  open_ = Kind::reading;
}

void Postgres::beginAlone() {
  runAll("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
  open_ = Kind::alone;
}

void Postgres::beginWriting() {
  const std::string now(kServerNow);
  std::string sql = "BEGIN ISOLATION LEVEL READ COMMITTED;";
  // What killed processes left; a day is longer than any doubt about a commit.
  if (receipt_ == 0) {
    sql += " DELETE FROM receipt WHERE writer IN (SELECT writer FROM receipt WHERE at < " + now +
           " - 86400000 FOR UPDATE SKIP LOCKED);";
  }
  sql += " INSERT INTO receipt (writer, number, at) VALUES ('" + writer_ + "', " + std::to_string(receipt_ + 1) + ", " +
         now + ") ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at;";
  // The lock is one that a renewal does not wait for, but who takes over does.
  sql += " SELECT 1 FROM worker WHERE id = " + std::to_string(worker_) + " AND until > " + now + " FOR KEY SHARE";
  ready();
  open_ = Kind::writing;
  ++receipt_;
  try {
    const PostgresResult alive = runAll(sql);
    if (worker_ == 0 || libpq().PQntuples(alive.get()) == 1) return;
    loseLease();
    throw leaseLost();
  } catch (...) {
    rollback();
    throw;
  }
}

void Postgres::commit() {
  const Kind kind = std::exchange(open_, Kind::none);
  try {
    const PostgresResult result = runAll("COMMIT");
    if (std::strcmp(libpq().PQcmdStatus(result.get()), "COMMIT") == 0) return;
    throw PostgresError("the transaction had failed", "25P02");
  } catch (const PostgresError& error) {
    if (kind == Kind::reading && error.isAway()) return;
    if (kind != Kind::writing || !error.isAway()) throw;
    if (!wasCommitted()) throw;
  }
}

/// Waits for what may still be under way on the lost connection: the receipt's row is locked by it.
bool Postgres::wasCommitted() {
  for (int tries = 0;; ++tries) {
    try {
      if (!connection_) connectPatiently();
      const PostgresResult row =
          runAll("INSERT INTO receipt (writer, number, at) VALUES ('" + writer_ + "', 0, " + std::string(kServerNow) +
                 ") ON CONFLICT (writer) DO UPDATE SET at = excluded.at RETURNING number");
      return std::to_string(receipt_) == libpq().PQgetvalue(row.get(), 0, 0);
    } catch (const PostgresError& error) {
      if (!error.isAway() || tries >= 10) throw;
    }
  }
}

void Postgres::rollback() noexcept {
  if (std::exchange(open_, Kind::none) == Kind::none || !connection_) return;
  try {
    runAll("ROLLBACK");
  } catch (const std::exception&) {
    connection_.reset();
  }
}

// --- one use of a statement

std::string withNumberedParameters(std::string_view sql) {
  std::string out;
  int largest = 0;
  char quote = 0;
  for (std::size_t at = 0; at < sql.size(); ++at) {
    const char letter = sql[at];
    if (quote != 0 || letter == '\'' || letter == '"') {
      if (quote == 0)
        quote = letter;
      else if (letter == quote)
        quote = 0;
      out += letter;
      continue;
    }
    if (letter != '?') {
      out += letter;
      continue;
    }
    int number = 0;
    const auto [end, failed] = std::from_chars(sql.data() + at + 1, sql.data() + sql.size(), number);
    if (failed == std::errc())
      at = static_cast<std::size_t>(end - sql.data()) - 1;
    else
      number = largest + 1;
    largest = std::max(largest, number);
    out += '$' + std::to_string(number);
  }
  return out;
}

PostgresQuery::PostgresQuery(Postgres& server, std::string_view sql)
    : server_(server), statement_(server.statement(sql)) {}

void PostgresQuery::bind(int index, PostgresValue value) {
  const auto place = static_cast<std::size_t>(index - 1);
  if (values_.size() <= place) values_.resize(place + 1);
  values_[place] = std::move(value);
}

void PostgresQuery::bindText(int index, std::string_view text) {
  for (std::string_view rest = text; !rest.empty();) {
    char32_t codePoint = 0;
    const std::size_t length = core::decodeUtf8(rest, codePoint);
    if (length == 0 || codePoint == 0) {
      throw Error(Category::config,
                  "\"" + core::printable(text, 200) + "\" is not UTF-8, and a PostgreSQL database keeps no other text",
                  {.hint = "choose another name, or keep the record in a file (--database FILE)"});
    }
    rest.remove_prefix(length);
  }
  bind(index, {.value = std::string(text)});
}

bool PostgresQuery::next() {
  if (!result_) {
    result_ = server_.run(statement_, values_);
    row_ = -1;
  }
  return ++row_ < libpq().PQntuples(result_.get());
}

int PostgresQuery::run() {
  const PostgresResult result = server_.run(statement_, values_);
  return std::atoi(libpq().PQcmdTuples(result.get()));
}

bool PostgresQuery::isNull(int column) const {
  return libpq().PQgetisnull(result_.get(), row_, column) != 0;
}

std::string_view PostgresQuery::view(int column) const {
  return {libpq().PQgetvalue(result_.get(), row_, column),
          static_cast<std::size_t>(libpq().PQgetlength(result_.get(), row_, column))};
}

std::int64_t PostgresQuery::integer(int column) const {
  const std::string_view text = view(column);
  if (text == "t") return 1;
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

double PostgresQuery::real(int column) const {
  return std::strtod(libpq().PQgetvalue(result_.get(), row_, column), nullptr);
}

std::string PostgresQuery::text(int column) const {
  const std::string_view text = view(column);
  if (libpq().PQftype(result_.get(), column) != kBytea) return std::string(text);
  std::string bytes;
  for (std::size_t at = 2; at + 1 < text.size(); at += 2) {
    bytes += static_cast<char>(core::hexValue(text[at]).value_or(0) << 4U | core::hexValue(text[at + 1]).value_or(0));
  }
  return bytes;
}

}  // namespace caiexport::store
