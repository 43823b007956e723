#pragma once
/// The job database for those who only look: needs neither settings nor the network.

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "caiexport/core/file_lock.h"
#include "caiexport/store/database.h"
#include "caiexport/store/history.h"
#include "caiexport/store/source_status.h"

namespace caiexport::cli {

/// The lock table that belongs to a database.
std::filesystem::path lockFileOf(const std::filesystem::path& database);

/// For one thread, and not beside a Session: closing the lock file would drop the process's own locks.
class Record {
 public:
  /// Nothing if there is no such file yet.
  static std::unique_ptr<Record> open(const std::filesystem::path& database);

  explicit Record(const std::filesystem::path& database);
  store::History& history() { return history_; }
  std::vector<store::SourceStatus> sources();

 private:
  bool isHeld(model::JobId job) const;

  store::Database database_;
  std::optional<core::LockTable> locks_;
  store::History history_;
};

}  // namespace caiexport::cli
