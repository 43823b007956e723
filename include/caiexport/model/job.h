#pragma once
/// A job as the database remembers it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/model/export_request.h"

namespace caiexport::model {

enum class StepName {
  evaluateSegment,
  createDataset,
  startExport,
  awaitExport,
  selectBatches,
  listFiles,
  downloadFiles,
  verifyFiles,
  deliverFiles,
  deleteDataset,
};

/// `intended`: a remote effect that must happen once may or may not have happened; look before acting.
/// `waiting`: the platform is at work; ask again later.
enum class StepState { pending, intended, waiting, done, failed, blocked };

enum class JobStatus { pending, running, waiting, interrupted, blocked, failed, cancelled, succeeded };

struct Step {
  StepName name = StepName::selectBatches;
  StepState state = StepState::pending;
  std::optional<core::TimePoint> startedAt = {};
  std::optional<core::TimePoint> finishedAt = {};
  std::uint32_t attempts = 0;
  /// When the intent was recorded, in the platform's time; the beginning of time where no answer told that.
  std::optional<core::TimePoint> intendedAt = {};
  /// Of a waiting step: when the wait gives up (`--timeout`).
  std::optional<core::TimePoint> deadline = {};
};

struct JobError {
  core::Category category = core::Category::internal;
  std::string message = {};
  std::string requestId = {};
  std::string hint = {};
};

/// What the platform keeps under the id of a dataset besides what can be read. `consolidation`: many small batches
/// written together; Data Access refuses it, and what it absorbed stays readable. `tracking`: what Profile notes of the
/// ingestion of another batch; it holds none of the dataset's rows.
enum class BatchKind { ordinary, consolidation, tracking };

/// A batch of the platform that the job reads.
struct Batch {
  BatchId id = {};
  std::string status = {};
  core::TimePoint created = {};
  std::string createdClient = {};
  std::string createdUser = {};
  BatchKind kind = BatchKind::ordinary;
  std::vector<DatasetId> datasets = {};  ///< That it belongs to, where the platform tells (`relatedObjects`).
  std::vector<BatchId> absorbed = {};    ///< By a consolidation, which for that supersedes nothing.
  std::optional<std::uint64_t> records =
      {};  ///< What the platform says it holds (outputRecordCount or recordsWritten).
  /// About how large one of its files is (outputByteSize by outputFileCount). Not recorded.
  std::optional<std::uint64_t> bytesAFile = {};
  std::vector<BatchId> predecessors = {};  ///< Batches that this one replaces (`replay.predecessors`).
  std::string replayReason = {};
  std::string flaw = {};  ///< Why its entry can't be relied on; empty: it can. Such a batch is named, never chosen.
  /// Its maker's own id, and those of batches that it replaces: of use until `predecessors` tells them all. Not
  /// recorded.
  std::string externalId = {};
  std::vector<std::string> predecessorsByExternalId = {};
};

struct Job {
  JobId id = {};
  std::string uuid = {};
  std::string share = {};    ///< The key by which several workers do it together; empty: one does.
  std::string version = {};  ///< Of the caiexport that made it; empty for jobs of those that did not write it down.
  ExportRequest request = {};
  std::vector<Step> steps = {};  ///< In the order of the plan.
  DatasetId datasetId = {};      ///< Source of a dataset job; target of a segment job once known.
  bool datasetCreated = false;   ///< By this job.
  ExportJobId exportJobId = {};
  SegmentJobId segmentJobId = {};
  std::optional<core::TimePoint> evaluatedAt = {};  ///< When the members of the segment were last counted, if known.
  /// The platform's time from which an evaluation counts as new (--wait-for-evaluation).
  std::optional<core::TimePoint> evaluationSince = {};
  /// Members at the last evaluation, by the segment's definition: to be expected, not counted.
  std::optional<std::uint64_t> expectedProfiles = {};
  std::string remoteStatus = {};  ///< The platform's last word on the export or segment job.
  std::vector<Batch> batches = {};
  std::uint64_t fileCount = 0;
  std::uint64_t totalBytes = 0;
  std::optional<std::uint64_t> records = {};           ///< Counted in the files, never as promised.
  std::optional<std::uint64_t> reportedProfiles = {};  ///< totalExportedProfileCounter of the export job.
  bool cancelRequested = false;
  bool cancelled = false;
  core::TimePoint createdAt = {};
  core::TimePoint updatedAt = {};
  std::optional<core::TimePoint> finishedAt = {};
  std::optional<JobError> error = {};
};

/// `partial`: some ranges are on disk. `verified`: its content was checked as the job asked.
enum class FileState { pending, partial, downloaded, verified, failed };

/// A file as the platform lists it.
struct RemoteFile {
  BatchId batchId = {};
  DatasetFileId datasetFileId = {};
  std::string name = {};
  std::uint64_t lengthBytes = 0;
  /// Where to get it if that can't be derived from the ids (see platform/client.h); mostly empty.
  std::string href = {};
};

// Files of a batch's folder that are caiexport's own. Readers of tables pass over names that begin with `_`.
inline constexpr std::string_view kManifestName = "_manifest.json";
/// What versions up to 0.1.0 called it; still read.
inline constexpr std::string_view kOldManifestName = "manifest.json";
/// Empty; there once all files of the batch are whole.
inline constexpr std::string_view kSuccessName = "_SUCCESS";
/// The platform's file of such a name goes into a folder of its own.
bool isOwnName(std::string_view name);

/// Half-open: the bytes [first, end).
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::uint64_t sizeBytes() const { return end - first; }
  bool operator==(const ByteRange&) const = default;
};

/// What a server says of the version of a file, as it was sent; empty where it says nothing.
struct FileVersion {
  std::string etag = {};
  std::string lastModified = {};
  bool empty() const { return etag.empty() && lastModified.empty(); }
  bool operator==(const FileVersion&) const = default;
};

/// What is known of the bytes of a `.part` file besides their places.
struct PartFacts {
  /// Of all of them, by transfer's own formula. Nothing: they can't be told from others and are not used.
  std::optional<std::uint64_t> sum = {};
  FileVersion version = {};
  bool tailFirst = false;    ///< The end of the file was read before all else, to be compared later.
  bool severalRuns = false;  ///< More of it was fetched by a run that found some of it here.
};

/// A file of a job, with what has happened to it.
struct FileRecord {
  std::int64_t id = 0;  ///< Row id in the database.
  RemoteFile remote = {};
  std::string path = {};  ///< Relative to the batch folder; may have one folder level (names that collide).
  FileState state = FileState::pending;
  std::vector<ByteRange> done = {};  ///< Synced bytes of the `.part` file, sorted, merged.
  PartFacts part = {};               ///< Of those bytes.
  std::string sha256 = {};           ///< Lower-case hex, once downloaded.
  std::optional<std::uint64_t> records = {};
  /// It came in several runs, and the server named no version: only its content shows whether all of it is of one.
  bool unproven = false;
};

struct Event {
  core::TimePoint at = {};
  std::optional<StepName> step = {};
  std::string what = {};  ///< A word of the vocabulary in docs/events.md.
  std::string detail = {};
};

std::string_view nameOf(StepName name);  ///< As in JSON, e.g. "select_batches".
std::string_view nameOf(StepState state);
std::string_view nameOf(JobStatus status);
std::string_view nameOf(FileState state);
/// Nothing for an unknown name.
std::optional<StepName> stepNameFrom(std::string_view name);
std::optional<StepState> stepStateFrom(std::string_view name);
std::optional<JobStatus> jobStatusFrom(std::string_view name);
std::optional<FileState> fileStateFrom(std::string_view name);

// --- The plan apart from the doing: which steps, in which order, and what may become of a step. Pure functions.

/// The steps of a request, in order. Nothing later asks which path it was.
std::vector<StepName> makePlan(const ExportRequest& request);

/// Whether a step may go from one state to the other (a state may be entered again).
bool isLegalTransition(StepState from, StepState to);

/// The first step that is not done; nothing when all are.
std::optional<StepName> currentStep(std::span<const Step> steps);

/// What `steps`, `cancelled` and whether a process holds the job say together.
JobStatus statusOf(const Job& job, bool held);

/// Ids of batches that another batch of the list supersedes (`replay.predecessors`).
std::vector<BatchId> replacedAmong(std::span<const Batch> batches);

/// Ranges sorted, merged and cut to `lengthBytes`.
std::vector<ByteRange> normalized(std::vector<ByteRange> ranges, std::uint64_t lengthBytes);

/// What is missing between 0 and `lengthBytes`, given normalized ranges.
std::vector<ByteRange> missing(std::span<const ByteRange> done, std::uint64_t lengthBytes);

}  // namespace caiexport::model
