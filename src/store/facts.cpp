#include "caiexport/store/facts.h"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include "caiexport/store/database.h"
#include "failure.h"

namespace caiexport::store {

DatabaseFacts factsOf(Database& database) {
  SQLite::Database& connection = database.connection();
  DatabaseFacts facts;
  try {
    facts.schemaVersion = connection.execAndGet("PRAGMA user_version").getInt();
    facts.journalMode = connection.execAndGet("PRAGMA journal_mode").getString();
    const std::string check = connection.execAndGet("PRAGMA quick_check(1)").getString();
    if (check != "ok") facts.trouble = check;
    facts.jobs = static_cast<std::uint64_t>(connection.execAndGet("SELECT count(*) FROM job").getInt64());
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("check", database.file(), error);
  }
  return facts;
}

std::string sqliteVersion() {
  return sqlite3_libversion();
}

}  // namespace caiexport::store
