#pragma once
/// What a run writes down. One function, one transaction: after it returns, the change is on disk; after it throws,
/// nothing has changed. Failures are core::Error: io for what the machine refuses, notFound for a job that does not
/// exist, internal for a call that makes no sense. For the one thread that owns the connection.

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"

namespace caiexport::store {

class Database;

/// What a finished step found out; only what is set is recorded, in the same transaction as the step's new state.
struct StepResult {
  std::optional<model::DatasetId> datasetId = {};
  bool datasetCreated = false;
  std::optional<model::ExportJobId> exportJobId = {};
  std::optional<model::SegmentJobId> segmentJobId = {};
  /// Replaces the earlier list. The files of a batch that is no longer in it go with it.
  std::optional<std::vector<model::Batch>> batches = {};
  std::optional<std::uint64_t> reportedProfiles = {};
  std::optional<std::uint64_t> records = {};
  std::optional<core::TimePoint> evaluatedAt = {};
  std::optional<core::TimePoint> evaluationSince = {};
  std::optional<std::uint64_t> expectedProfiles = {};
  std::string remoteStatus = {};
};

/// What the platform had before a request that must be made only once.
struct SeenBefore {
  std::vector<std::string> jobs = {};     ///< Export or segment jobs like the one asked for.
  std::vector<std::string> batches = {};  ///< Of the target dataset.
  std::vector<std::string> ended = {};    ///< Export jobs into the target that had long ended.
};

class JobStore {
 public:
  /// `probe`, if given, is called with the function's name before each transaction and after its commit: the seam where
  /// tests crash.
  using Probe = std::function<void(std::string_view call, bool committed)>;
  JobStore(Database& database, core::Clock& clock, Probe probe = {});

  // --- the job
  /// With a `share`: unless the organisation and sandbox have a job of that key already, then that one as it is.
  model::Job createJob(const model::ExportRequest& request, std::string_view uuid,
                       std::span<const model::StepName> plan, std::string_view share = {});
  /// Error(notFound) if there is none.
  model::Job load(model::JobId job);
  std::optional<model::Job> find(model::JobId job);
  /// Without its batches, of which there may be 100,000.
  model::Job outline(model::JobId job);
  std::optional<model::JobId> newestJob();
  /// Jobs that are neither succeeded nor cancelled nor failed nor blocked (waiting, running or interrupted), oldest
  /// first.
  std::vector<model::JobId> unfinishedJobs();

  // --- steps; an illegal transition is Error(internal)
  /// A try begins: attempts + 1, startedAt on the first; the job's error is cleared. The state stays.
  void beginAttempt(model::JobId job, model::StepName step);
  /// A remote effect is about to happen once. Keeps an earlier `intendedAt` unless `renew`. As with every way to
  /// another state, the deadline of an earlier wait goes. `before` is added to what was seen before earlier requests of
  /// the step, in the same transaction.
  void intend(model::JobId job, model::StepName step, core::TimePoint serverTime, bool renew,
              const std::optional<SeenBefore>& before = {});
  /// Nothing if it was never looked at.
  std::optional<SeenBefore> seenBefore(model::JobId job, model::StepName step);
  /// The platform is at work. An empty `remoteStatus` leaves the last one; the deadline is stored as given.
  void setWaiting(model::JobId job, model::StepName step, std::string_view remoteStatus,
                  std::optional<core::TimePoint> deadline);
  /// Also clears the job's error, and ends the job if this was its last step.
  void finishStep(model::JobId job, model::StepName step, const StepResult& result);
  void failStep(model::JobId job, model::StepName step, const model::JobError& error);
  void blockStep(model::JobId job, model::StepName step, const model::JobError& error);
  /// What a step that has not failed for good met last (network lost, timed out): shown by `show`, state unchanged.
  void noteError(model::JobId job, const model::JobError& error);
  /// Back to pending, without intent and error: the user's way out of a blocked step (`--resubmit`; `--adopt` is
  /// finishStep). Also for an effect that the platform definitely refused.
  void unblock(model::JobId job, model::StepName step);
  /// Before an id is known for good, e.g. the segment job that is awaited: records it without finishing the step.
  void recordRemoteJob(model::JobId job, const StepResult& result);
  /// Records an export or segment job of the platform as this job's. False if another job of the same organisation and
  /// sandbox has it, or may: its own request for the like of it, into the same dataset, is in doubt or under way.
  bool claimRemoteJob(model::JobId job, const StepResult& result);
  /// Whether another job of the same organisation and sandbox has recorded it.
  bool isExportJobOfAnother(model::ExportJobId exportJob, model::JobId than);
  /// The batches that another job of the same organisation and sandbox has recorded for that export job.
  std::vector<model::BatchId> batchesOfExportJob(model::JobId job, const model::ExportJobId& exportJob);
  bool isSegmentJobOfAnother(model::SegmentJobId segmentJob, model::JobId than);

  // --- evaluations, which are rationed
  /// Counts it once, even if it is called several times.
  void countEvaluation(model::JobId job, const model::SegmentJobId& segmentJob, core::TimePoint at);
  /// Asked for in the job's organisation and sandbox, as far as this database knows.
  std::uint64_t evaluationsSince(model::JobId job, core::TimePoint since);

  // --- what earlier jobs of the same source were like
  struct Success {
    model::JobId job = {};
    core::TimePoint finishedAt = {};
    std::uint64_t records = 0;  ///< In its newest batch (dataset), or in all (segment).
  };
  /// The newest other job of the same kind, source, organisation and sandbox that succeeded and whose records are
  /// known.
  std::optional<Success> lastSuccess(const model::Job& than);
  /// Whether another job brought that batch of the job, promised alike, and ended with that many records in its files.
  bool wasAccepted(model::JobId job, const model::BatchId& batch, std::uint64_t records);
  /// Batches of the job's dataset that were deleted, or are about to be, because people asked for their data to go;
  /// with what came in their place.
  std::map<model::BatchId, model::BatchId> forgottenBatches(const model::Job& job);
  /// Datasets that jobs made for the job's segment in its organisation and sandbox, newest first.
  std::vector<model::DatasetId> datasetsMadeFor(const model::Job& job);

  /// The job's files lie below another folder from now on. What was verified there counts as downloaded only.
  void setOutput(model::JobId job, const std::filesystem::path& output);

  // --- cancelling
  /// False if the job is done: nothing is recorded then.
  bool requestCancel(model::JobId job);
  bool isCancelRequested(model::JobId job);
  /// False if the job is done: it stays so.
  bool markCancelled(model::JobId job, const model::JobError& error);

  // --- files
  /// Starts a listing of the batch anew: files listed from now on are of this listing.
  void beginListing(model::JobId job, const model::BatchId& batch);
  /// Of all its batches.
  void beginListing(model::JobId job);
  /// One page. A file already known keeps its state if length is unchanged; else it starts again. Same (batch, dataset
  /// file id, name) twice in one listing is stored once.
  void addFiles(model::JobId job, std::span<const model::RemoteFile> page);
  /// Whether a file goes into a folder of its own: another one bears the same name, or its alias says so.
  bool needsFolders(model::JobId job, const model::BatchId& batch);
  /// Of the listing that is going on, or here already, in the order of their rows.
  struct ListedName {
    std::int64_t file = 0;
    std::string datasetFileId = {};
    std::string name = {};
    std::int64_t alias = 0;  ///< As recorded; see Alias.
  };
  std::vector<ListedName> listedNames(model::JobId job, const model::BatchId& batch);
  /// What the file system makes of a file's name: 0: nothing special. 1: it is taken for that of another file, so this
  /// one goes into a folder named after its dataset file id. n: so does that name, so n - 1 tildes are added to it.
  struct Alias {
    std::int64_t file = 0;
    std::int64_t alias = 0;
  };
  void setAliases(std::span<const Alias> aliases);
  /// A file that is to move within the folder of its batch.
  struct Displaced {
    std::int64_t file = 0;
    std::string from = {};
    std::string to = {};
  };
  /// All pages are in: files of which something may lie at a path that finishListing will change, because another file
  /// bears the same name, or none does any more.
  std::vector<Displaced> displacedFiles(model::JobId job, const model::BatchId& batch);
  /// All pages are in: gives colliding names their folders, drops files that this listing no longer has and that were
  /// not downloaded, and sums up files and bytes of the job. A file whose path changes starts again, but for those in
  /// `moved`: what there is of them lies at the new path already.
  void finishListing(model::JobId job, const model::BatchId& batch, std::span<const std::int64_t> moved = {});
  /// Up to `limit` files in the order of listing (row ids grow) after row `afterId` whose state is one of `states` (any
  /// if empty).
  std::vector<model::FileRecord> files(model::JobId job, std::int64_t afterId, std::size_t limit,
                                       std::span<const model::FileState> states);
  /// The same of those whose names at the platform begin so.
  std::vector<model::FileRecord> filesBeginningWith(model::JobId job, std::string_view name, std::int64_t afterId,
                                                    std::size_t limit);
  /// Over the files of a batch, whatever their state.
  struct BatchSums {
    std::int64_t firstFile = 0;  ///< Row ids; 0 if there are no files.
    std::int64_t lastFile = 0;
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> records = {};  ///< Of the files that were counted; nothing if none was.
  };
  BatchSums sumsOf(model::JobId job, const model::BatchId& batch);
  /// What a manifest says of a file of its batch.
  struct BatchFile {
    std::int64_t file = 0;
    std::string datasetFileId = {};
    std::string name = {};
    std::string path = {};  ///< Within the folder of the batch.
    std::uint64_t lengthBytes = 0;
    std::string sha256 = {};  ///< Lower-case hex.
    std::optional<std::uint64_t> records = {};
  };
  /// Up to `limit` files of the batch in the order of listing after row `afterId`, for the first ones the row before
  /// BatchSums::firstFile.
  std::vector<BatchFile> filesOfBatch(model::JobId job, const model::BatchId& batch, std::int64_t afterId,
                                      std::size_t limit);
  /// Like files(), but only those that the newest listing of their batch has seen, whether or not it has ended, and
  /// whose path can be relied on: no other file is known to bear the same name, or something was written there before.
  std::vector<model::FileRecord> filesOnceListed(model::JobId job, std::int64_t afterId, std::size_t limit,
                                                 std::span<const model::FileState> states);
  /// How many files up to row `lastId` are in one of `states`.
  std::uint64_t countFiles(model::JobId job, std::int64_t lastId, std::span<const model::FileState> states);
  /// The files are about to be fetched, and nothing lies at their paths. pending becomes partial.
  void markStarted(std::span<const std::int64_t> files);
  /// All synced ranges of its `.part` file; they replace what was recorded. The file is partial (pending without any).
  void recordRanges(std::int64_t file, std::span<const model::ByteRange> done, const model::PartFacts& facts = {});
  struct Downloaded {
    std::int64_t file = 0;
    std::string sha256 = {};  ///< Lower-case hex.
    bool unproven = false;    ///< As FileRecord::unproven.
  };
  /// Complete at their paths. Several at the price of one: a commit costs about half a millisecond, a file in it a few
  /// microseconds.
  void recordDownloaded(std::span<const Downloaded> files);
  struct Verified {
    std::int64_t file = 0;
    std::optional<std::uint64_t> records = {};  ///< Nothing: not counted; a count from before stays.
  };
  /// Only files that are downloaded can be.
  void recordVerified(std::span<const Verified> files);
  /// Its content turned out wrong or gone; it will be fetched again from its start.
  void recordFileFailed(std::int64_t file);
  struct Wrong {
    std::int64_t file = 0;
    std::string why = {};
  };
  /// The same of several, with an event each. If the step was done, the job goes on from there again.
  void recordWrong(model::JobId job, model::StepName step, std::span<const Wrong> files);
  /// Nothing of it is here any more. It stays begun: it is fetched again at once, and what turns up at its path before
  /// that is recorded may be ours.
  void forgetRanges(std::int64_t file);
  /// The newest record of another job with the same output folder, dataset and batch of a file with this path and
  /// length that was downloaded: lets a second run keep what is there.
  std::optional<model::FileRecord> knownFile(const model::Job& job, const model::BatchId& batch, std::string_view path,
                                             std::uint64_t lengthBytes);
  /// How much of the job is downloaded, by earlier runs included.
  struct Fetched {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  Fetched fetched(model::JobId job);
  /// Whether a job with the same output folder and dataset, this one included, has ever recorded a download to that
  /// path (any length), so that what lies there may be replaced. A start does not count: something foreign may have
  /// turned up there since.
  bool isRecordedPath(const model::Job& job, const model::BatchId& batch, std::string_view path);

  // --- what happened
  void addEvent(model::JobId job, std::optional<model::StepName> step, std::string_view what, std::string_view detail);

 private:
  Database& database_;
  core::Clock& clock_;
  Probe probe_;
};

}  // namespace caiexport::store
