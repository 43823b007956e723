#pragma once
/// One handler per step. A handler does what is left of its step and records it; the runner calls it again after a
/// wait, and after a crash, until it says that the step is done.

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/file_lock.h"
#include "caiexport/engine/runner.h"
#include "caiexport/model/job.h"
#include "caiexport/store/job_store.h"

namespace caiexport::platform {
struct RemoteJobProblem;
}

namespace caiexport::engine {

/// What a job's segments are, taken together.
struct SegmentFacts {
  std::string name = {};                            ///< For people.
  std::string mergePolicyId = {};                   ///< The same of all, unless the request names another.
  std::optional<core::TimePoint> evaluatedAt = {};  ///< The oldest of their evaluations, if all are known.
  std::optional<std::uint64_t> members = {};        ///< Then; of a single segment only, since they may overlap.
};

/// What lives as long as one call of Runner::advance.
struct RunState {
  std::optional<model::StepName> entered = {};   ///< The step whose attempt has been recorded in this run.
  std::optional<std::uint64_t> bytesAFile = {};  ///< Of the batch that was chosen in this run, about.
  bool listIsFresh = false;                      ///< The file list on record was read from the platform in this run.
  std::set<model::BatchId> parts = {};           ///< Batches taken in the place of a consolidation, in this run.
  bool chosenAgain = false;                      ///< The batches were withdrawn, and others were chosen.
  bool verifiedHere = false;                     ///< All files were found whole in this run.
  bool repairedHere = false;                     ///< What was found wrong on disk was fetched again in this run.
  unsigned relistings = 0;                       ///< How often files were listed again because they had changed.
  bool fewDescriptorsTold = false;
  bool acceptRows = false;  ///< As RunOptions::acceptRows.
  /// Another worker has the lock of the job, and with it the folders: this one only fetches files.
  bool helps = false;
  std::optional<bool> folds = {};  ///< Whether the file system takes different names for the same, once asked.
  unsigned polls = 0;              ///< Of the current step, in this run.
  core::SteadyTime waitingSince = {};
  /// Files that an earlier run brought, by row, in order: what lies there now is held against their hashes before it
  /// counts. Empty once that is done.
  std::vector<std::int64_t> fromBefore = {};
  std::optional<SegmentFacts> segments = {};  ///< Once they were asked for.
  bool evaluationTold = false;
  bool deliveryTold = false;
  /// Of the list of an export's batches, while more may come.
  struct Growth {
    std::size_t batches = 0;
    core::SteadyTime since = {};
    unsigned looks = 0;  ///< That found the same.
  };
  Growth growth = {};
  /// Folders of the job's batches: held from the first byte written until the manifest is.
  core::DirectoryLocks folders = {};
  std::list<HeldLock> foldersOnServer = {};  ///< The same, where several hosts share a database.
  bool holdsFolders = false;

  void letGoOfFolders() {
    folders.clear();
    foldersOnServer.clear();
    holdsFolders = false;
  }
};

struct StepContext {
  Tools& tools;
  const model::Job& job;  ///< As recorded before this turn.
  model::Step step;       ///< The one to work on.
  RunState& run;
  std::stop_token stop;
};

/// How a turn ended: the step is recorded as done, or it is to be called again after `wait`.
struct Turn {
  std::optional<core::Duration> wait = {};
  std::string remoteStatus = {};  ///< What is waited for, in the platform's words.
};

Turn evaluateSegment(StepContext& context);
Turn createDataset(StepContext& context);
Turn startExport(StepContext& context);
Turn awaitExport(StepContext& context);
Turn selectBatches(StepContext& context);
/// Two steps on record, one piece of work: a file is fetched as soon as it is listed and its path can be relied on.
Turn listAndDownload(StepContext& context);
/// Of a shared job whose files are listed, by a worker that is not its head: returns when none is free any more.
void helpFetching(StepContext& context);
Turn verifyFiles(StepContext& context);
Turn deliverFiles(StepContext& context);
Turn deleteDataset(StepContext& context);

// --- shared by handlers

/// All batches of the job lie whole where it is to deliver them, and were deleted here on purpose: there is nothing to
/// fetch. It is told once a run.
bool isDeliveredAlready(StepContext& context);

/// Records the platform's word and says how long to wait: growing from --poll-interval to
/// --poll-max, `Retry-After` wins. Error(timedOut) when the deadline (--timeout) has passed.
Turn pollAgain(StepContext& context, std::string_view remoteStatus);

/// Tells how old the members are and how many to expect; Error(notFound) if they are older than --max-age.
void tellEvaluation(StepContext& context);

[[noreturn]] void throwRemoteEnd(const std::string& what, const std::string& status,
                                 std::span<const platform::RemoteJobProblem> problems, const std::string& requestId,
                                 const std::string& hint);
/// Says what a job that succeeded all the same complains of.
void reportProblems(StepContext& context, const std::string& what,
                    std::span<const platform::RemoteJobProblem> problems);

/// The segments of the job as the platform has them. Error(notFound) naming one that does not exist; Error(usage) if
/// they can't be exported together. Asked for once a run.
const SegmentFacts& requireSegments(StepContext& context);

/// All files are listed and recorded: so is the step. Returns the job, without its batches. Error(notFound) if there
/// are none.
model::Job endListing(StepContext& context);

/// Downloads whatever is not here yet; lists the files again first, unless this run did. Throws if a file could not be
/// had. `step`: what events are recorded under.
void fetchMissing(StepContext& context, model::StepName step);

/// Before what the platform holds is deleted: the files of a job that an earlier run verified are compared with what
/// was written, byte for byte, and fetched again where they are not the same any more. Error(verification) if that
/// fails.
void requireFilesBeforeDeletion(StepContext& context);

}  // namespace caiexport::engine
