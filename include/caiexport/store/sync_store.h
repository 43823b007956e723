#pragma once
/// What `sync` writes down, and what it asks of earlier jobs. As JobStore: one function, one transaction; for the one
/// thread that owns the connection.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "caiexport/model/replacement.h"
#include "caiexport/store/job_store.h"

namespace caiexport::store {

/// A dataset in one folder.
struct SyncPlace {
  std::string orgId = {};
  std::string sandbox = {};
  model::DatasetId dataset = {};
  std::filesystem::path output = {};
};

/// All batches created up to this one were dealt with.
struct SyncMark {
  model::BatchId batch = {};
  core::TimePoint created = {};
};

class SyncStore {
 public:
  SyncStore(Database& database, core::Clock& clock, JobStore::Probe probe = {});

  /// The number of the organisation's, sandbox's and dataset's lock; made on first use.
  std::int64_t sourceNumber(const SyncPlace& place);

  std::optional<SyncMark> mark(const SyncPlace& place);
  void setMark(const SyncPlace& place, const SyncMark& mark);

  std::vector<model::Replacement> replacements(const SyncPlace& place);
  /// In place of what was recorded of that batch.
  void recordReplacement(const SyncPlace& place, const model::Replacement& replacement);

  /// Whether a job brought the batch here and verified it.
  bool hasBatch(const SyncPlace& place, const model::BatchId& batch);
  /// Dataset jobs of this place that stopped on their way, oldest first.
  std::vector<model::JobId> interruptedJobs(const SyncPlace& place);
  /// The newest job of this place that was made for this one batch, and failed.
  std::optional<model::JobId> failedJob(const SyncPlace& place, const model::BatchId& batch);
  /// Files of the batch as any job of the dataset recorded them, wherever it put them (paths relative to its folder).
  std::vector<std::string> recordedPaths(const SyncPlace& place, const model::BatchId& batch);
  /// Other folders to which jobs of the dataset wrote the batch.
  std::vector<std::filesystem::path> otherOutputs(const SyncPlace& place, const model::BatchId& batch);

  /// Bytes per second of the newest download that ran through in one go and fetched all its files.
  std::optional<double> measuredRate(const std::string& orgId);

 private:
  Database& database_;
  core::Clock& clock_;
  JobStore::Probe probe_;
};

}  // namespace caiexport::store
