#pragma once
/// The job database: one SQLite file in WAL mode, migrated on opening.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

namespace SQLite {
class Database;
}

namespace caiexport::store {

class StatementCache;

/// An open connection. For one thread at a time; several processes may have the same file open.
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
  Database(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  SQLite::Database& connection() { return *connection_; }
  /// For use inside this floor only.
  StatementCache& statements() { return *statements_; }
  /// Absolute.
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
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
};

/// Reads the whole file. Error(io) if that fails.
DatabaseFacts factsOf(Database& database);

/// SQLite's, e.g. `3.40.1`.
std::string sqliteVersion();

/// For the whole process, from its beginning on: once that is asked to stop, no database is waited for any longer than
/// it takes others to commit, and what was waited for in vain ends as core::Interrupted. A run that stops still
/// records its end in a database that is not locked.
void waitForLocksUntil(std::stop_token stop);

}  // namespace caiexport::store
