#pragma once
/// The record of every run of `sync`, also of those that made no job. One function, one transaction.

#include <cstdint>
#include <optional>
#include <string>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::store {

/// How a run of `sync` ended.
struct RunOutcome {
  std::string status = {};  ///< succeeded, failed, skipped or interrupted.
  std::optional<model::JobError> error = {};
  std::int64_t job = 0;  ///< The last one; 0: none.
  std::uint64_t jobs = 0;
  std::uint64_t replaced = 0;
  std::optional<SyncMark> newest = {};  ///< The newest batch that the platform has.
};

class RunStore {
 public:
  RunStore(Database& database, core::Clock& clock);

  /// A run begins; its number.
  std::int64_t begin(const SyncPlace& place, std::string_view version, std::int64_t process);
  void end(std::int64_t run, const RunOutcome& outcome);

 private:
  Database& database_;
  core::Clock& clock_;
};

}  // namespace caiexport::store
