#pragma once
/// Questions about past jobs, and about the state of each dataset and segment on record. Reads only.

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"
#include "caiexport/store/share_store.h"
#include "caiexport/store/sync_store.h"

namespace caiexport::store {

struct Delivery;

class Database;

struct HistoryFilter {
  std::vector<model::JobStatus> statuses = {};  ///< Empty: any.
  std::optional<model::Kind> kind = {};
  std::string sourceId = {};
  std::string orgId = {};
  std::string sandbox = {};
  std::optional<core::TimePoint> since = {};  ///< created at or after
  std::optional<core::TimePoint> until = {};  ///< created before
  std::size_t limit = 20;                     ///< 0: all
};

/// A job and its status now.
struct JobView {
  model::Job job = {};
  model::JobStatus status = model::JobStatus::pending;
  bool held = false;
};

/// Whether a process holds a job now; asks the job locks.
using IsHeld = std::function<bool(model::JobId)>;

class History {
 public:
  /// For the thread that owns the connection.
  History(Database& database, IsHeld isHeld);

  /// Newest (highest number) first, one after another; the callback returns false to stop. Steps and batches are
  /// loaded, files are not.
  void forEachJob(const HistoryFilter& filter, const std::function<bool(const JobView&)>& visit);
  /// The same, with what a line about each job needs and no more: kind, source, status, sizes, the time of its making,
  /// its error. One statement for hundreds of jobs. Of those that succeeded or were cancelled, `held` is not asked for.
  void forEachRow(const HistoryFilter& filter, const std::function<bool(const JobView&)>& visit);
  /// All that `body` asks for is of one time, also what it asks for twice. (Not on a server: there it may not be.)
  void inOneView(const std::function<void()>& body);
  /// Error(notFound) if there is none.
  JobView job(model::JobId id);
  std::optional<JobView> newest();
  /// What of its files is on disk: whole ones, and the bytes of those that are under way, too.
  struct Arrived {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  Arrived arrived(model::JobId job);
  /// The newest that has files here.
  std::optional<JobView> newestWithFiles();
  /// In the order of listing; streamed.
  void forEachFile(model::JobId job, const std::function<void(const model::FileRecord&)>& visit);
  /// Of a shared job: who works on it now.
  std::vector<WorkerView> workers(model::JobId job);
  void forEachEvent(model::JobId job, const std::function<void(const model::Event&)>& visit);

  /// Those of the job's batches that `sync` found superseded in the job's folder.
  std::vector<model::Replacement> replacementsOf(const model::Job& job);
  /// Of its batches, whichever job delivered them: what lies, or lay, at targets.
  std::vector<Delivery> deliveriesOf(const model::Job& job);

  struct SqlCell {
    enum class Type { null, integer, real, text };
    Type type = Type::null;
    std::string text = {};  ///< As SQLite prints it, a blob in lower-case hex; empty for null.
  };
  /// One SELECT (or WITH ... SELECT) over the views `jobs`, `steps`, `files`, `events`, kept to that by an authorizer;
  /// their columns are those of the JSON output, times are RFC 3339 text. `columns` is called once, `row` for each row
  /// (false stops); neither may use this connection. Error(usage) with SQLite's message for anything else,
  /// core::Interrupted when stopped.
  void runSql(std::string_view sql, const std::function<void(const std::vector<std::string>&)>& columns,
              const std::function<bool(const std::vector<SqlCell>&)>& row, std::stop_token stop = {});

 private:
  enum class Detail { row, whole };
  bool isHeld(model::JobId job) const;
  void forEach(const HistoryFilter& filter, Detail detail, const std::function<bool(const JobView&)>& visit);

  Database& database_;
  IsHeld isHeld_;
};

/// How a dataset or segment on record fares: the newest of its jobs and of its `sync` runs.
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
