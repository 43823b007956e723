#pragma once
/// A place for a job database on the PostgreSQL server that libpq finds by its environment (PGHOST and so on).

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "caiexport/store/location.h"
#include "store/postgres.h"

namespace caiexport::support {

/// Whether tests are to use the server: tests/scale/services.py runs them beside one.
inline bool isOnServer() {
  return std::getenv("CAIEXPORT_TEST_SERVER") != nullptr;
}

/// A schema of its own, gone at the end.
class ServerSchema {
 public:
  ServerSchema() : name_("t" + std::to_string(::getpid()) + "_" + std::to_string(++made())) {
    admin("CREATE SCHEMA " + name_);
  }
  ~ServerSchema() {
    try {
      admin("DROP SCHEMA " + name_ + " CASCADE");
    } catch (const std::exception&) {
      // The server goes with all that is in it.
    }
  }
  ServerSchema(const ServerSchema&) = delete;
  ServerSchema& operator=(const ServerSchema&) = delete;

  const std::string& name() const { return name_; }
  store::Location location() const {
    return store::Location::ofServer("postgresql:///?options=-csearch_path%3D" + name_);
  }

 private:
  static int& made() {
    static int count = 0;
    return count;
  }
  static void admin(const std::string& sql) {
    store::Postgres(store::Location::ofServer("postgresql:///"), store::Postgres::Access::readWrite).runAll(sql);
  }

  std::string name_;
};

}  // namespace caiexport::support
