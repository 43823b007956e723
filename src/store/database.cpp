#include "caiexport/store/database.h"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "postgres.h"
#include "query.h"
#include "schema.h"

namespace caiexport::store {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using std::chrono::milliseconds;

/// The smallest file that can hold a database; SQLite takes less for an empty one, and would write over it.
constexpr std::uint64_t kLeastBytes = 512;
constexpr const char* kLocalDisk = "put the database on a local disk (--database FILE or CAIEXPORT_DATABASE)";
constexpr const char* kOtherFile = "name another file with --database FILE or CAIEXPORT_DATABASE";
/// "CAIX", in the file's header: tells our databases from those of other programs.
constexpr int kApplicationId = 0x43414958;

[[noreturn]] void fail(Category category, const std::string& message, const std::string& hint) {
  throw Error(category, message, {.requestId = {}, .hint = hint});
}

void refuseFolder(const fs::path& file) {
  std::error_code failed;
  if (!fs::is_directory(file, failed)) return;
  fail(Category::io, "cannot open the job database " + file.string() + ": it is a folder", kOtherFile);
}

/// 0700 for each folder that is made: the history says what a company exports.
void makeFolders(const fs::path& folder) {
  struct stat info {};
  if (folder.empty() || ::stat(folder.c_str(), &info) == 0) return;
  if (folder != folder.parent_path()) makeFolders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    core::throwIoError("create the folder of the job database", folder, errno);
  }
}

/// SQLite would create the file with the umask's mode; its -wal and -shm files take over the mode of this one.
/// A file that exists is not opened here: closing it would drop the locks of every connection of this process to it.
void makeFile(const fs::path& file) {
  makeFolders(file.parent_path());
  const core::Descriptor made(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!made.valid() && errno != EEXIST) core::throwIoError("create the job database", file, errno);
}

/// Another user of the machine could have put them there: a database to be believed, a log to be replayed into ours.
void requireOwn(const fs::path& file) {
  core::requireOwnFile(file, "the job database");
  for (const char* ending : {"-wal", "-shm", "-journal", ".lock"}) {
    core::requireOwnFile(file.string() + ending, "the job database's file");
  }
}

/// What others could have been given by a umask, or by a program before this one.
void mendModes(const fs::path& file) {
  constexpr unsigned kGroupMayRead = 0040;
  for (const char* ending : {"", "-wal", "-shm", ".lock"}) core::makePrivate(file.string() + ending, kGroupMayRead);
  // A folder that everybody may write to lets them put other files in the place of these; who may read it is the
  // owner's choice.
  constexpr unsigned kAllButForeignWriting = 0075;
  struct stat facts {};
  const bool open = ::stat(file.parent_path().c_str(), &facts) == 0 && (facts.st_mode & S_IWOTH) != 0;
  if (open && (facts.st_mode & S_ISVTX) == 0) core::makePrivate(file.parent_path(), kAllButForeignWriting);
}

void refuseNoDatabase(const fs::path& file) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) return;
  if (facts.st_size == 0 || static_cast<std::uint64_t>(facts.st_size) >= kLeastBytes) return;
  fail(Category::io, "cannot open the job database " + file.string() + ": file is not a database",
       std::string("it was left as it is; ") + kOtherFile);
}

/// Some of SQLite's locks answer "busy" at once, whatever the timeout (a change of the journal mode, the recovery of a
/// log). Processes that start together meet all of them.
template <class Action>
auto patiently(Action action) {
  Patience patience;
  milliseconds pause{1};
  for (;;) {
    try {
      return action();
    } catch (const SQLite::Exception& error) {
      const int code = error.getErrorCode() & 0xFF;
      const bool passing = code == SQLITE_BUSY || code == SQLITE_LOCKED;
      if (!passing || !patience.lasts()) throw;
    }
    core::systemClock().sleep(pause, std::stop_token());
    pause = std::min(pause * 2, milliseconds(50));
  }
}

int integerOf(SQLite::Database& connection, const char* sql) {
  return connection.execAndGet(sql).getInt();
}

/// A connection-wide transaction for the time before there is a Database.
class Bracket {
 public:
  Bracket(SQLite::Database& connection, const char* begin) : connection_(connection) { connection_.exec(begin); }
  ~Bracket() {
    if (sqlite3_get_autocommit(connection_.getHandle()) == 0) connection_.tryExec("ROLLBACK");
  }
  Bracket(const Bracket&) = delete;
  Bracket& operator=(const Bracket&) = delete;
  void commit() { connection_.exec("COMMIT"); }

 private:
  SQLite::Database& connection_;
};

/// The schema version inside a transaction; 0 for an empty database. Refuses what is not ours or too new.
int checkedVersion(SQLite::Database& connection, const fs::path& file) {
  const int version = integerOf(connection, "PRAGMA user_version");
  const int application = integerOf(connection, "PRAGMA application_id");
  const bool empty = integerOf(connection, "SELECT count(*) FROM sqlite_master") == 0;
  if (application == 0 && version == 0 && empty) return 0;
  if (application != kApplicationId) {
    fail(Category::io, "cannot open the job database " + file.string() + ": it is a database of another program",
         std::string("it was left as it is; ") + kOtherFile);
  }
  sqlite3_db_config(connection.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);  // it is ours
  if (version > newestSchemaVersion()) {
    fail(Category::config,
         "the job database " + file.string() + " was made by a newer caiexport (schema " + std::to_string(version) +
             ", this one knows " + std::to_string(newestSchemaVersion()) + ")",
         std::string("it was left as it is; update caiexport, or ") + kOtherFile);
  }
  return version;
}

int versionOf(SQLite::Database& connection, const fs::path& file) {
  return patiently([&] {
    Bracket reading(connection, "BEGIN");
    return checkedVersion(connection, file);
  });
}

void useWal(SQLite::Database& connection, const fs::path& file) {
  const std::string answer = patiently([&] { return connection.execAndGet("PRAGMA journal_mode = WAL").getString(); });
  if (answer == "wal") return;
  fail(Category::io,
       "cannot use the job database " + file.string() + ": its file system does not support SQLite's write-ahead log",
       kLocalDisk);
}

/// SQLite would wait for its whole timeout, and then speak of another process.
void requireLocks(const fs::path& file) {
  if (core::hasRecordLocks(file.parent_path())) return;
  fail(Category::io, "cannot use the job database " + file.string() + ": its file system has no file locks",
       kLocalDisk);
}

void migrate(SQLite::Database& connection, const fs::path& file) {
  patiently([&] {
    Bracket transaction(connection, "BEGIN IMMEDIATE");
    const int version = checkedVersion(connection, file);  // another process may have been here
    for (const Migration& migration : migrations()) {
      if (migration.number > version) connection.exec(migration.sql);
    }
    connection.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
    connection.exec("PRAGMA user_version = " + std::to_string(newestSchemaVersion()));
    transaction.commit();
  });
}

/// SQLite's busy handler: whether to try again. The pauses differ, so that many that wait do not wake together.
int waitALittle(void*, int tries) noexcept {
  thread_local Patience patience;
  if (tries == 0) patience = Patience();
  if (!patience.lasts()) return 0;
  std::uint8_t chance = 0;
  sqlite3_randomness(sizeof chance, &chance);
  const int most = std::min(2 << std::min(tries, 5), 40);
  core::systemClock().sleep(milliseconds(1 + chance % most), std::stop_token());
  return 1;
}

/// Whether a lock of another process is waited for.
enum class Busy { wait, fail };

/// SQLite would count the bytes of each of its allocations under one lock, which costs more than the allocation.
void leaveOutAccounts() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

std::unique_ptr<SQLite::Database> connect(const std::string& name, int flags, Busy busy = Busy::wait) {
  leaveOutAccounts();
  // A connection is one thread's, so it needs no lock of its own.
  auto connection = std::make_unique<SQLite::Database>(name, flags | SQLite::OPEN_NOMUTEX);
  sqlite3* handle = connection->getHandle();
  sqlite3_extended_result_codes(handle, 1);
  // A misspelt column in double quotes is an error then, not a text.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // Closing what turns out to be another program's must not change it.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // SQLite's own would sleep longer each time, and the last of many writers longest.
  if (busy == Busy::wait) sqlite3_busy_handler(handle, waitALittle, nullptr);
  connection->exec("PRAGMA foreign_keys = ON");
  // In WAL mode anything less may lose the last commits when the power goes. fullfsync is macOS's real fsync.
  connection->exec("PRAGMA synchronous = FULL");
  connection->exec("PRAGMA fullfsync = ON");
  // 4 MiB, taken as needed.
  connection->exec("PRAGMA cache_size = -4096");
  return connection;
}

/// SQLite's log and our locks lie beside the file under its name: two names would make two of each, and runs that don't
/// see one another would ruin the database.
void requireOneName(const fs::path& file) {
  std::error_code ignored;
  const auto names = fs::hard_link_count(file, ignored);
  if (ignored || names < 2) return;
  fail(Category::io,
       "cannot use the job database " + file.string() + ": the file has " + std::to_string(names) +
           " names (hard links), and runs that use different ones would not see one another",
       "keep one of the names (a copy, or a symbolic link, does no harm)");
}

/// What a symbolic link leads to.
fs::path realName(const fs::path& file) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(file, error))) return file;
  fs::path real = fs::canonical(file, error);
  return error ? file : real;
}

std::unique_ptr<SQLite::Database> openForWriting(const fs::path& file) {
  requireOneName(file);
  requireLocks(file);
  auto connection = connect(file.string(), SQLite::OPEN_READWRITE);
  // SQLite falls back to reading without a word.
  if (sqlite3_db_readonly(connection->getHandle(), "main") == 1) {
    core::throwIoError("write to the job database", file, EACCES);
  }
  const int version = versionOf(*connection, file);
  sqlite3_db_config(connection->getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  useWal(*connection, file);
  if (version < newestSchemaVersion()) migrate(*connection, file);
  return connection;
}

bool isOwn(const fs::path& file) {
  struct stat facts {};
  return ::stat(file.c_str(), &facts) == 0 && facts.st_uid == ::geteuid();
}

bool isWritable(const fs::path& file) {
  return ::access(file.c_str(), W_OK) == 0 && ::access(file.parent_path().c_str(), W_OK) == 0;
}

bool isEmptyOrMissing(const fs::path& file) {
  std::error_code failed;
  const auto bytes = fs::file_size(file, failed);
  return failed || bytes == 0;
}

std::string immutableUri(const fs::path& file) {
  std::string uri = "file:";
  for (const char letter : file.string()) {
    switch (letter) {
      case '%':
        uri += "%25";
        break;
      case '?':
        uri += "%3f";
        break;
      case '#':
        uri += "%23";
        break;
      default:
        uri += letter;
    }
  }
  return uri + "?immutable=1";
}

/// For a folder that we can't write. A WAL database can't be read without its -shm file. If there is no log, nobody has
/// the database open, and the file can be read as it lies there.
std::unique_ptr<SQLite::Database> openInReadOnlyFolder(const fs::path& file) {
  const auto openAndCheck = [&](const std::string& name, int flags) {
    auto connection = connect(name, flags);
    const int version = versionOf(*connection, file);
    if (version < newestSchemaVersion()) {
      fail(Category::io,
           "cannot bring the job database " + file.string() + " up to date (schema " + std::to_string(version) +
               " to " + std::to_string(newestSchemaVersion()) + "): it can't be written",
           "run the command once as the owner of the file");
    }
    return connection;
  };
  try {
    return openAndCheck(file.string(), SQLite::OPEN_READONLY);
  } catch (const SQLite::Exception& error) {
    const bool quiet = isEmptyOrMissing(file.string() + "-wal");
    const int code = error.getErrorCode() & 0xFF;
    const bool forLackOfShm = code == SQLITE_CANTOPEN || code == SQLITE_READONLY;
    if (!forLackOfShm || !quiet || ::access(file.c_str(), R_OK) != 0) throw;
  }
  return openAndCheck(immutableUri(file), SQLite::OPEN_READONLY | SQLite::OPEN_URI);
}

/// Without a log nobody is at work in it, and nothing needs a lock. With one, its -shm file is there too.
std::unique_ptr<SQLite::Database> openForAGlance(const fs::path& file) {
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) {
    fail(Category::notFound, "there is no job database at " + file.string(), {});
  }
  const bool alone = isEmptyOrMissing(file.string() + "-wal");
  if (!alone && isEmptyOrMissing(file.string() + "-shm")) {
    fail(Category::io, "the log of the job database " + file.string() + " has yet to be replayed", {});
  }
  auto connection = connect(alone ? immutableUri(file) : file.string(),
                            SQLite::OPEN_READONLY | (alone ? SQLite::OPEN_URI : 0), Busy::fail);
  const Bracket reading(*connection, "BEGIN");
  if (checkedVersion(*connection, file) < newestSchemaVersion()) {
    fail(Category::io, "the job database " + file.string() + " is not up to date", {});
  }
  return connection;
}

std::unique_ptr<SQLite::Database> openForReading(const fs::path& file) {
  std::error_code failed;
  const auto status = fs::status(file, failed);
  if (status.type() == fs::file_type::not_found) {
    fail(Category::notFound, "there is no job database at " + file.string(),
         "no job was recorded there yet; --database FILE or CAIEXPORT_DATABASE name another file");
  }
  if (failed) core::throwIoError("open the job database", file, failed.value());
  // Another user's is looked at as it lies there: what we would write beside it would be in that one's way.
  if (!isWritable(file) || !isOwn(file)) return openInReadOnlyFolder(file);
  requireOwn(file);
  // Opened with SQLITE_OPEN_READONLY, SQLite would leave its -wal and -shm files behind.
  auto connection = openForWriting(file);
  connection->exec("PRAGMA query_only = ON");
  return connection;
}

Postgres::Access accessFor(Database::Mode mode) {
  switch (mode) {
    case Database::Mode::readWrite:
      return Postgres::Access::readWrite;
    case Database::Mode::readOnly:
      return Postgres::Access::readOnly;
    case Database::Mode::glance:
      break;
  }
  return Postgres::Access::glance;
}

std::unique_ptr<Postgres> openServer(const Location& location, Database::Mode mode) {
  try {
    auto server = std::make_unique<Postgres>(location, accessFor(mode));
    openSchema(*server, mode);
    return server;
  } catch (const PostgresError& error) {
    throw asError("open", location, error);
  }
}

}  // namespace

Database::Database(const Location& location, Mode mode)
    : location_(location.isServer() ? location : Location(realName(fs::absolute(location.file())))) {
  if (location.isServer()) {
    server_ = openServer(location, mode);
    return;
  }
  const fs::path& file = location_.file();
  refuseFolder(file);
  refuseNoDatabase(file);
  try {
    switch (mode) {
      case Mode::readWrite:
        requireOwn(file);
        makeFile(file);
        mendModes(file);
        connection_ = openForWriting(file);
        break;
      case Mode::readOnly:
        connection_ = openForReading(file);
        break;
      case Mode::glance:
        connection_ = openForAGlance(file);
        break;
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("open", file, error);
  }
  statements_ = std::make_unique<StatementCache>(*connection_);
}

Database::~Database() = default;

int newestSchemaVersion() {
  return static_cast<int>(migrations().size());
}

namespace {

DatabaseFacts factsOfServer(Database& database) {
  return withFailures(database, "check", [&] {
    Postgres& server = *database.server();
    DatabaseFacts facts;
    const core::SteadyTime asked = core::systemClock().steadyNow();
    facts.schemaVersion = schemaVersion(server);
    facts.answeredIn =
        std::chrono::duration_cast<std::chrono::microseconds>(core::systemClock().steadyNow() - asked) / 2;
    facts.server = server.serverVersion();
    facts.encrypted = server.isEncrypted();
    Query jobs(database, "SELECT count(*) FROM job");
    jobs.next();
    facts.jobs = jobs.size(0);
    return facts;
  });
}

}  // namespace

DatabaseFacts factsOf(Database& database) {
  if (database.server() != nullptr) return factsOfServer(database);
  SQLite::Database& connection = database.connection();
  DatabaseFacts facts;
  try {
    facts.schemaVersion = connection.execAndGet("PRAGMA user_version").getInt();
    facts.journalMode = connection.execAndGet("PRAGMA journal_mode").getString();
    const std::string check = connection.execAndGet("PRAGMA quick_check(1)").getString();
    if (check != "ok") facts.trouble = check;
    facts.jobs = static_cast<std::uint64_t>(connection.execAndGet("SELECT count(*) FROM job").getInt64());
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("check", database.location().file(), error);
  }
  return facts;
}

std::string sqliteVersion() {
  return sqlite3_libversion();
}

}  // namespace caiexport::store
