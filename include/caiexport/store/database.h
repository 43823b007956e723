#pragma once
/// The job database: one SQLite file in WAL mode, or a database of a PostgreSQL server; migrated on opening.

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "caiexport/store/location.h"

namespace SQLite {
class Database;
}

namespace caiexport::store {

class Postgres;
class StatementCache;

/// An open connection. For one thread at a time; several processes may have the same database open.
class Database {
 public:
  enum class Mode {
    readWrite,
    readOnly,
    glance  ///< For a look in passing: as readOnly, but waits for no lock, migrates nothing, makes no file: an Error.
  };

  /// readWrite: creates the file (0600) and its folder (0700) if needed and applies the migrations that it lacks, in
  /// one transaction, safe against other processes that do the same. readOnly: nothing can be written through the
  /// connection. Error(notFound) if there is no file; an older schema is brought up to date first, Error(io) where that
  /// is not possible. Works in a folder that can't be written, and leaves no file behind that was not there. Error(io)
  /// with a remedy for: a folder, not a database, a database of another program, no permission, a file system without
  /// working locks or WAL, a full disk. Error(config) for a database of a newer caiexport, which is left untouched.
  /// With a server: likewise, but the database must be there, only its tables are made. Error(unavailable) if it can't
  /// be reached, Error(config) for a role that may not do what is needed.
  Database(const Location& location, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// The file's name is absolute and that of no link.
  const Location& location() const { return location_; }

  // --- For use inside this floor only.
  /// Of a file.
  SQLite::Database& connection() { return *connection_; }
  StatementCache& statements() { return *statements_; }
  /// Null for a file.
  Postgres* server() { return server_.get(); }

 private:
  Location location_;
  std::unique_ptr<Postgres> server_;
  std::unique_ptr<SQLite::Database> connection_;
  std::unique_ptr<StatementCache> statements_;  // goes first: a statement must not outlive its connection
};

/// A script of migrations/, built into the program (cmake/EmbedMigrations.cmake).
struct Migration {
  int number;  ///< 1 and up, without a gap: the schema version that it leads to.
  const char* name;
  const char* sql;
};

/// In order.
std::span<const Migration> migrations();

/// Number of the newest migration that this program knows.
int newestSchemaVersion();

/// What the job database is like, for those who ask whether all is well.
struct DatabaseFacts {
  int schemaVersion = 0;
  std::string journalMode;
  std::string trouble;  ///< The first damage that SQLite finds; empty: the file is sound.
  std::uint64_t jobs = 0;
  // Of a server:
  std::string server;                      ///< Its version; empty for a file.
  bool encrypted = false;                  ///< The way to it.
  std::chrono::microseconds answeredIn{};  ///< One question and its answer.
};

/// Reads the whole file; of a server only what it says of itself. Error(io) if that fails.
DatabaseFacts factsOf(Database& database);

/// SQLite's, e.g. `3.40.1`.
std::string sqliteVersion();

/// For the whole process, from its beginning on: once that is asked to stop, no database is waited for any longer than
/// it takes others to commit, and what was waited for in vain ends as core::Interrupted. A run that stops still
/// records its end in a database that is not locked.
void waitForLocksUntil(std::stop_token stop);

}  // namespace caiexport::store
