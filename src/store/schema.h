#pragma once
/// The schema of the job database on a PostgreSQL server: the scripts of migrations/, in its words.

#include <string>
#include <string_view>

#include "caiexport/store/database.h"
#include "postgres.h"

namespace caiexport::store {

/// As Database's constructor says of a file: makes the schema, or brings it up to date, or refuses.
void openSchema(Postgres& server, Database::Mode mode);

/// The version that the server has; 0 if it has none. Refuses tables of another program.
int schemaVersion(Postgres& server);

/// A migration in PostgreSQL's words.
std::string inPostgres(std::string_view migration);

}  // namespace caiexport::store
