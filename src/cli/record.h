#pragma once
/// The job database on disk: needs neither settings nor the network. And the watch on it while a job runs.

#include <filesystem>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "caiexport/core/file_lock.h"
#include "caiexport/store/database.h"
#include "caiexport/store/history.h"
#include "caiexport/store/leases.h"

namespace caiexport::core {
class Clock;
class Log;
}  // namespace caiexport::core

namespace caiexport::cli {

/// A job database with its locks and its history, the only way to open the three. For one thread. A process may have
/// one of them at a time: closing the lock file would drop the locks that it holds through another.
class Record {
 public:
  using Mode = store::Database::Mode;

  /// Nothing if there is no such file yet, or an empty one; or none of our tables on the server.
  static std::unique_ptr<Record> open(const store::Location& database, Mode mode = Mode::readOnly);

  /// With readWrite makes what is not there.
  explicit Record(const store::Location& database, Mode mode = Mode::readOnly);

  store::Database& database() { return database_; }
  store::History& history() { return history_; }
  /// Makes it if there is none. Error(io) if it is not ours.
  core::Locks& locks();
  /// Requested once what this process holds on a server may be taken by others.
  std::stop_token lost() const;
  /// Error(unavailable) in that case. After a failure the server is asked first: what others have taken over since may
  /// be what it met.
  void requireHeld(bool afterFailure = false) const;
  /// The same of a server; null for a file.
  store::Leases* leases() const { return leases_; }
  bool isHeld(model::JobId job) const;
  std::vector<store::SourceStatus> sources();

 private:
  std::filesystem::path lockFile() const;

  store::Database database_;
  Mode mode_;
  std::unique_ptr<core::Locks> locks_;
  store::Leases* leases_ = nullptr;  ///< The same, of a server.
  store::History history_;
};

/// While it lives, a thread with a connection of its own looks once a second and requests a stop on `run`.
class CancelWatch {
 public:
  CancelWatch(store::Location database, model::JobId job, std::stop_source run, core::Clock& clock, core::Log& log);

 private:
  std::jthread thread_;
};

}  // namespace caiexport::cli
