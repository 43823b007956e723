#pragma once
/// What the user asked for: everything a job needs to go on after a restart, and no secret.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/ids.h"

namespace caiexport::model {

enum class Kind { dataset, segment };
enum class VerifyLevel { size, footer, full };
/// How the folders of a dataset and of its batches are called: by their ids alone, or `dataset_id=ID/batch_id=ID`,
/// which readers of tables take for partitions.
enum class Layout { plain, hive };

/// Which batches of a dataset: a named one, or the newest `limit` of those that pass the filters.
struct BatchSelection {
  BatchId batch = {};                                 ///< This one alone, if not empty.
  std::optional<std::uint32_t> limit = 1;             ///< Nothing: all of them.
  std::optional<core::TimePoint> since = {};          ///< `created` at or after.
  std::optional<core::TimePoint> until = {};          ///< `created` before.
  std::string createdClient = "acp_foundation_push";  ///< Empty: any.
  bool includeReplaced = false;                       ///< Keep batches that another chosen one supersedes.
};

struct SegmentOptions {
  DatasetId targetDataset = {};          ///< Reuse this one; empty: create one.
  bool reuse = false;                    ///< The dataset that an earlier job made for this segment, if it still exists.
  std::string datasetName = {};          ///< Of the new dataset; empty: `caiexport SEGMENT-NAME JOB-UUID`.
  std::vector<std::string> fields = {};  ///< Empty: all.
  std::vector<std::string> statuses = {"realized"};
  std::string mergePolicyId = {};  ///< Empty: the segment's own.
  std::optional<std::int64_t> mergePolicyVersion = {};
  std::string segmentNamespace = "ups";
  bool evaluate = false;                               ///< Run a segment job first.
  bool waitForEvaluation = false;                      ///< Wait first until the platform has counted the members anew.
  std::optional<core::TimePoint> qualifiedSince = {};  ///< Members whose membership began or changed then.
  std::optional<core::TimePoint> qualifiedUntil = {};
  std::optional<core::TimePoint> ingestedSince = {};  ///< Profiles that got data later than that.
  bool emptyProfiles = false;                         ///< Also people of whom there is nothing but an identity.
  std::vector<std::string> eventFields = {};          ///< Of their events; empty: no events.
  std::optional<core::TimePoint> eventsSince = {};
  std::optional<core::TimePoint> eventsUntil = {};
  bool segmentPerBatch = false;  ///< Each segment in a batch of its own.
  std::string schemaName = "_xdm.context.profile";
  core::Duration pollInterval = std::chrono::seconds(10);
  core::Duration pollMax = std::chrono::seconds(60);
  std::optional<core::Duration> timeout = {};  ///< Of the wait for the export job; nothing: no limit.
  bool wait = true;                            ///< False: start the export job and leave.
  bool deleteDataset = false;                  ///< After verification; only a dataset that this job created.
};

/// What a result must be like for it to count: one that is not is kept on disk, and the job fails.
struct Guards {
  std::optional<core::Duration> maxAge = {};     ///< Of the newest batch, or of the segment's evaluation.
  std::optional<std::uint64_t> minRecords = {};  ///< In the newest batch, or in the whole export.
  std::optional<double> maxChangePercent = {};   ///< Of the records, against the last success of the same source.
  bool operator==(const Guards&) const = default;
};

struct ExportRequest {
  Kind kind = Kind::dataset;
  std::string sourceId = {};  ///< Dataset id or segment id, by kind; several segments with commas between them.
  std::string orgId = {};
  std::string sandbox = {};
  std::string baseUrl = {};
  std::filesystem::path output = {};  ///< Absolute.
  BatchSelection batches = {};
  SegmentOptions segment = {};
  Guards guards = {};
  VerifyLevel verify = VerifyLevel::footer;
  Layout layout = Layout::plain;
  std::string deliver = {};          ///< Where each batch is sent once it is verified; empty: nowhere.
  bool deleteAfterDelivery = false;  ///< What is here of a batch, once it is whole there.
  bool download = true;
  bool force = false;  ///< Overwrite files that no record knows.
};

/// The segments that a request exports, in the order given.
std::vector<SegmentId> segmentsOf(const ExportRequest& request);

std::string_view nameOf(Kind kind);
std::string_view nameOf(VerifyLevel level);
std::string_view nameOf(Layout layout);
/// Nothing for an unknown name.
std::optional<Kind> kindFrom(std::string_view name);
std::optional<VerifyLevel> verifyLevelFrom(std::string_view name);
std::optional<Layout> layoutFrom(std::string_view name);

}  // namespace caiexport::model
