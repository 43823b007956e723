#include "query.h"

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "caiexport/store/database.h"

namespace caiexport::store {
namespace {

using core::Category;
using std::chrono::milliseconds;

// --- failures

constexpr const char* kLocalDisk =
    "put the database on a local disk (--database FILE or CAIEXPORT_DATABASE): SQLite needs working file locks and "
    "shared memory, which many network file systems lack";

bool isAboutLocks(int extendedCode) {
  switch (extendedCode) {
    case SQLITE_IOERR_LOCK:
    case SQLITE_IOERR_UNLOCK:
    case SQLITE_IOERR_RDLOCK:
    case SQLITE_IOERR_CHECKRESERVEDLOCK:
    case SQLITE_IOERR_SHMOPEN:
    case SQLITE_IOERR_SHMSIZE:
    case SQLITE_IOERR_SHMLOCK:
    case SQLITE_IOERR_SHMMAP:
      return true;
    default:
      return (extendedCode & 0xFF) == SQLITE_PROTOCOL;
  }
}

std::string roomLeft(const std::filesystem::path& file) {
  std::error_code failed;
  const auto space = std::filesystem::space(file.parent_path(), failed);
  return failed ? std::string() : " (" + core::formatBytes(space.available) + " left)";
}

std::string hintFor(int extendedCode, const std::filesystem::path& file) {
  if (isAboutLocks(extendedCode)) return kLocalDisk;
  switch (extendedCode & 0xFF) {
    case SQLITE_FULL:
      return "free space on the disk of " + file.parent_path().string() + roomLeft(file) + ", then resume the job";
    case SQLITE_IOERR:
      return "check the disk of " + file.parent_path().string() + roomLeft(file) +
             " and any limit on the size of files";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process keeps the database locked; try again when it is done";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "check the permissions of the file and of its folder, both must be writable for you; or name another file "
             "with --database FILE or CAIEXPORT_DATABASE";
    case SQLITE_NOTADB:
      return "the file is something else, it was left as it is; name another file with --database FILE or "
             "CAIEXPORT_DATABASE";
    case SQLITE_CORRUPT:
      return "the file is damaged; move it away to start a new history, or save what can be saved with the sqlite3 "
             "shell's .recover";
    default:
      return {};
  }
}

// --- waiting for locks

/// A hundred processes that begin together, each with commits that wait for the disk, take their turns well within it.
constexpr milliseconds kBusyTimeout{60000};
/// Once the process is to stop: some commits of others.
constexpr milliseconds kOnceStopped{500};

std::stop_token& stopOfTheProcess() {
  static std::stop_token stop;
  return stop;
}

/// Any number, the same in every caiexport.
constexpr const char* kTakeTurns = "SELECT pg_advisory_xact_lock(1128352089)";

/// Who stops does not wait for each of its last words.
std::atomic<bool> waitedInVain = false;

}  // namespace

Query::Query(Database& database, std::string_view sql) {
  if (database.server() != nullptr) {
    server_ = std::make_unique<PostgresQuery>(*database.server(), sql);
    return;
  }
  StatementCache& cache = database.statements();
  const std::string key(sql);
  StatementCache::Entry& entry = cache.entries_[key];
  if (entry.busy) {
    own_ = std::make_unique<SQLite::Statement>(cache.connection_, key);
    statement_ = own_.get();
    return;
  }
  if (!entry.statement) entry.statement = std::make_unique<SQLite::Statement>(cache.connection_, key);
  entry.busy = true;
  entry_ = &entry;  // stays where it is: unordered_map does not move its elements
  statement_ = entry.statement.get();
}

Query::~Query() {
  if (entry_ == nullptr) return;
  // The result repeats the failure of the last step, which has been thrown.
  statement_->tryReset();
  entry_->busy = false;
}

int Query::run() {
  if (server_) return server_->run();
  const int changes = statement_->exec();
  statement_->reset();
  return changes;
}

void Query::bind(int index, std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw core::Error(Category::internal, "the number " + std::to_string(value) + " is too large for the job database");
  }
  bind(index, static_cast<std::int64_t>(value));
}

void Query::bind(int index, Blob value) {
  if (server_) return server_->bind(index, {.value = std::string(value.bytes), .bytes = true});
  statement_->bind(index, static_cast<const void*>(value.bytes.data()), static_cast<int>(value.bytes.size()));
}

std::string_view Query::view(int column) const {
  if (server_) return server_->view(column);
  const SQLite::Column found = statement_->getColumn(column);
  // In this order: the number of bytes is that of the text.
  const char* text = found.getText();
  return {text, static_cast<std::size_t>(found.getBytes())};
}

std::optional<std::uint64_t> Query::optionalSize(int column) const {
  if (isNull(column)) return std::nullopt;
  return size(column);
}

std::optional<core::TimePoint> Query::optionalTime(int column) const {
  if (isNull(column)) return std::nullopt;
  return time(column);
}

std::optional<std::string_view> orNull(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::string_view forUpdate(Database& database) {
  return database.server() != nullptr ? " FOR UPDATE" : "";
}

void oneAtATime(Database& database) {
  if (database.server() != nullptr) database.server()->runAll(kTakeTurns);
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  if (Postgres* server = database.server()) {
    if (kind == Kind::reading && server->inTransaction()) return;
    if (kind == Kind::reading)
      server->beginReading();
    else
      server->beginWriting();
    open_ = true;
    return;
  }
  const bool outermost = sqlite3_get_autocommit(database.connection().getHandle()) != 0;
  if (kind == Kind::reading && !outermost) return;
  // IMMEDIATE: a transaction that begins by reading could not become a writing one while another process writes.
  Query(database, kind == Kind::writing ? "BEGIN IMMEDIATE" : "BEGIN").run();
  open_ = true;
}

Transaction::~Transaction() {
  if (!open_) return;
  if (database_.server() != nullptr) {
    database_.server()->rollback();
    return;
  }
  // Some failures (a full disk) have rolled back already.
  if (sqlite3_get_autocommit(database_.connection().getHandle()) == 0) database_.connection().tryExec("ROLLBACK");
}

void Transaction::commit() {
  if (!open_) return;
  if (database_.server() != nullptr) {
    database_.server()->commit();
  } else {
    Query(database_, "COMMIT").run();
  }
  open_ = false;
}

// --- failures

Failures::Failures(Database& database, std::string_view what)
    : database_(database),
      what_(what),
      outermost_(database.server() == nullptr || !database.server()->inTransaction()) {}

void Failures::handle() {
  try {
    throw;
  } catch (const SQLite::Exception& error) {
    throwDatabaseError(what_, database_.location().file(), error);
  } catch (const PostgresError& error) {
    if (!outermost_) throw;
    try {
      if (database_.server()->mayTryAgain(error, tries_++)) return;
    } catch (const PostgresError& later) {
      throw asError(what_, database_.location(), later);
    }
    throw asError(what_, database_.location(), error);
  }
}

void throwDatabaseError(std::string_view what, const std::filesystem::path& file, const SQLite::Exception& error) {
  const int code = error.getExtendedErrorCode();
  const int primary = code & 0xFF;
  if ((primary == SQLITE_BUSY || primary == SQLITE_LOCKED) && isToStop()) throw core::Interrupted();
  // These two mean that our own SQL is wrong, not that the machine is.
  const bool ours = primary == SQLITE_CONSTRAINT || primary == SQLITE_MISUSE;
  if (primary == SQLITE_NOMEM) {
    throw core::outOfMemory("cannot " + std::string(what) + " the job database " + file.string() + ": out of memory");
  }
  throw core::Error(ours ? Category::internal : Category::io,
                    "cannot " + std::string(what) + " the job database " + file.string() + ": " + error.what(),
                    {.requestId = {}, .hint = hintFor(code, file)});
}

// --- waiting for locks

void waitForLocksUntil(std::stop_token stop) {
  stopOfTheProcess() = std::move(stop);
  waitedInVain = false;
}

bool isToStop() noexcept {
  return stopOfTheProcess().stop_requested();
}

Patience::Patience() : since_(core::systemClock().steadyNow()) {}

bool Patience::lasts() noexcept {
  const core::SteadyTime now = core::systemClock().steadyNow();
  if (!isToStop()) return now - since_ < kBusyTimeout;
  if (waitedInVain) return false;
  if (!stoppedAt_) stoppedAt_ = now;
  if (now - *stoppedAt_ < kOnceStopped) return true;
  waitedInVain = true;
  return false;
}

}  // namespace caiexport::store
