#pragma once
/// How each dataset and segment on record fares: the newest of its jobs and of its `sync` runs. Reads only.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/model/job.h"
#include "caiexport/store/history.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::store {

struct SourceStatus {
  model::Kind kind = model::Kind::dataset;
  std::string sourceId = {};
  std::string orgId = {};
  std::string sandbox = {};

  /// The newest job or run, whichever began later.
  struct Last {
    bool sync = false;                     ///< A run of `sync`.
    std::optional<model::JobId> job = {};  ///< The job, or the last one of the run.
    /// succeeded, failed, interrupted, running, waiting, blocked, cancelled, pending, skipped
    std::string status = {};
    core::TimePoint startedAt = {};
    std::optional<core::TimePoint> endedAt = {};
    std::optional<model::JobError> error = {};
  };
  Last last = {};
  std::optional<core::TimePoint> lastSuccess = {};  ///< Also of a run that found nothing new.
  std::optional<model::JobId> lastSuccessJob = {};  ///< The newest that brought something.
  std::uint64_t files = 0;                          ///< Of that job.
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> records = {};
  std::optional<SyncMark> newest = {};  ///< The newest batch that was brought here.
};

/// Whether a process syncs the source of that number now.
using IsSyncing = std::function<bool(std::int64_t source)>;

/// Sorted by kind and id. A source that never had a success, and is not known to the platform, is left out: its id was
/// mistyped.
std::vector<SourceStatus> sourceStatuses(Database& database, History& history, const IsSyncing& isSyncing);

}  // namespace caiexport::store
