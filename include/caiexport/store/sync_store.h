#pragma once
/// What `sync` writes down, and what it asks of earlier jobs. As JobStore: one function, one transaction; for the one
/// thread that owns the connection.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"
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

/// All batches created up to this one were dealt with, as far as the filter under which it was set lets them be seen.
struct SyncMark {
  model::BatchId batch = {};
  core::TimePoint created = {};
  std::optional<core::TimePoint> since = {};  ///< Older ones were not looked at.
};

class SyncStore {
 public:
  SyncStore(Database& database, core::Clock& clock, JobStore::Probe probe = {});

  /// The number of the organisation's, sandbox's and dataset's lock; made on first use.
  std::int64_t sourceNumber(const SyncPlace& place);

  /// Of what that client made; see BatchSelection::createdClient.
  std::optional<SyncMark> mark(const SyncPlace& place,
                               const std::string& createdClient = model::BatchSelection().createdClient);
  void setMark(const SyncPlace& place, const SyncMark& mark,
               const std::string& createdClient = model::BatchSelection().createdClient);

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
  /// Batches of the dataset that have that id of their maker's, wherever jobs wrote them.
  std::vector<model::Batch> batchesByExternalId(const SyncPlace& place, const std::string& externalId);
  /// Whether a job ever chose the batch, and its maker's own id was written down.
  bool knowsExternalId(const SyncPlace& place, const model::BatchId& batch);
  /// Whether of some batch of the dataset it was not.
  bool lacksExternalIds(const SyncPlace& place);
  /// Other folders to which jobs of the dataset wrote the batch.
  std::vector<std::filesystem::path> otherOutputs(const SyncPlace& place, const model::BatchId& batch);

  /// Bytes per second of the newest download that ran through in one go and fetched all its files.
  std::optional<double> measuredRate(const std::string& orgId);

 private:
  Database& database_;
  core::Clock& clock_;
  JobStore::Probe probe_;
};

/// How a run of `sync` ended.
struct RunOutcome {
  std::string status = {};  ///< succeeded, failed, skipped or interrupted.
  std::optional<model::JobError> error = {};
  std::int64_t job = 0;  ///< The last one; 0: none.
  std::uint64_t jobs = 0;
  std::uint64_t replaced = 0;
  std::optional<SyncMark> newest = {};  ///< The newest batch that the platform has.
};

/// The record of every run of `sync`, also of those that made no job.
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
