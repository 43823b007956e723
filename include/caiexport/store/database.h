#pragma once
/// The job database: one SQLite file in WAL mode, migrated on opening.

#include <filesystem>
#include <memory>

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

/// Number of the newest migration that this program knows.
int newestSchemaVersion();

}  // namespace caiexport::store
