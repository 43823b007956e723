#pragma once
/// What the job database is like, for those who ask whether all is well.

#include <cstdint>
#include <string>

namespace caiexport::store {

class Database;

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

}  // namespace caiexport::store
