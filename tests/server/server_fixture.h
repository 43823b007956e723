#pragma once
/// Several connections to one job database on a server, as of several hosts.

#include <memory>
#include <string>
#include <vector>

#include "caiexport/store/leases.h"
#include "store/store_fixture.h"

namespace caiexport::store {

/// What a host has: a connection, its leases, its stores.
struct Host {
  explicit Host(const Location& location, core::Clock& clock, JobStore::Probe probe = {})
      : database(location, Database::Mode::readWrite),
        leases(database, Leases::Use::hold),
        store(database, clock, std::move(probe)) {}
  Database database;
  Leases leases;
  JobStore store;
};

class ServerTest : public testing::Test {
 protected:
  /// With a lease that runs out while a test can wait for it.
  Location location(core::Duration lease = std::chrono::seconds(30)) const {
    Location location = schema_.location();
    location.lease = lease;
    return location;
  }
  std::unique_ptr<Host> host(core::Duration lease = std::chrono::seconds(30), JobStore::Probe probe = {}) {
    return std::make_unique<Host>(location(lease), clock_, std::move(probe));
  }
  /// Beside all of them.
  void execute(const std::string& sql) { Query(beside(), sql).run(); }
  std::int64_t number(const std::string& sql) {
    Query row(beside(), sql);
    return row.next() ? row.integer(0) : 0;
  }
  model::Job newJob(Host& host) {
    return host.store.createJob(datasetRequest(), "uuid-" + std::to_string(++uuids_),
                                model::makePlan(datasetRequest()));
  }
  /// The server ends the host's connection, as it does when it restarts.
  void cutOff(Host& host) {
    Query mine(host.database, "SELECT pg_backend_pid()");
    mine.next();
    execute("SELECT pg_terminate_backend(" + mine.text(0) + ")");
  }

  support::ServerSchema schema_;
  support::FakeClock clock_;

 private:
  Database& beside() {
    if (!beside_) beside_ = std::make_unique<Database>(location(), Database::Mode::readWrite);
    return *beside_;
  }

  std::unique_ptr<Database> beside_;
  int uuids_ = 0;
};

}  // namespace caiexport::store
