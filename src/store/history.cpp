#include "caiexport/store/history.h"

#include <SQLiteCpp/Exception.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using model::JobStatus;
using model::numberOf;
using Last = SourceStatus::Last;

/// The stored statuses of jobs that may have one of `wanted` now.
std::vector<JobStatus> candidates(std::span<const JobStatus> wanted) {
  std::vector<JobStatus> stored;
  for (const JobStatus status : wanted) {
    for (const JobStatus candidate : storedStatusesFor(status)) {
      if (std::ranges::find(stored, candidate) == stored.end()) stored.push_back(candidate);
    }
  }
  return stored;
}

std::string placeholders(std::size_t count) {
  std::string list = "?";
  for (std::size_t n = 1; n < count; ++n) list += ", ?";
  return list;
}

/// One status is looked up in its index, which ends in the job's number and so keeps the order. Several are not (the
/// plus hides the index): sorting all that match costs more than walking back from the newest job until enough are
/// found.
std::string jobsSql(const HistoryFilter& filter, std::size_t statuses) {
  std::string sql = "SELECT id, status FROM job WHERE 1";
  if (statuses == 1) sql += " AND status = ?";
  if (statuses > 1) sql += " AND +status IN (" + placeholders(statuses) + ")";
  if (filter.kind) sql += " AND kind = ?";
  if (!filter.sourceId.empty()) sql += statuses == 1 ? " AND +source_id = ?" : " AND source_id = ?";
  if (!filter.orgId.empty()) sql += " AND org_id = ?";
  if (!filter.sandbox.empty()) sql += " AND sandbox = ?";
  if (filter.since) sql += " AND created_at >= ?";
  if (filter.until) sql += " AND created_at < ?";
  return sql + " ORDER BY id DESC";
}

void bindFilter(Query& query, const HistoryFilter& filter, std::span<const JobStatus> statuses) {
  int index = 0;
  for (const JobStatus status : statuses) query.bind(++index, nameOf(status));
  if (filter.kind) query.bind(++index, nameOf(*filter.kind));
  if (!filter.sourceId.empty()) query.bind(++index, filter.sourceId);
  if (!filter.orgId.empty()) query.bind(++index, filter.orgId);
  if (!filter.sandbox.empty()) query.bind(++index, filter.sandbox);
  if (filter.since) query.bind(++index, *filter.since);
  if (filter.until) query.bind(++index, *filter.until);
}

JobView viewOf(model::Job job, bool held) {
  const JobStatus status = model::statusOf(job, held);
  return {.job = std::move(job), .status = status, .held = held};
}

// --- the state of sources

struct Newest {
  SourceStatus source = {};
  std::int64_t job = 0;
  std::int64_t syncSource = 0;
};

std::vector<Newest> sourcesOf(Database& database) {
  Query rows(database,
             "SELECT kind, source_id, org_id, sandbox, max(job), max(sync)"
             " FROM ("
             "   SELECT kind, source_id, org_id, sandbox, max(id) AS job, 0 AS sync"
             "   FROM job"
             "   GROUP BY kind, source_id, org_id, sandbox"
             "   UNION ALL"
             "   SELECT 'dataset', dataset_id, org_id, sandbox, 0, sync_source.id"
             "   FROM sync_source"
             "   WHERE EXISTS (SELECT 1 FROM run WHERE run.source = sync_source.id)"
             " )"
             " GROUP BY kind, source_id, org_id, sandbox"
             " ORDER BY kind, source_id, org_id, sandbox");
  std::vector<Newest> found;
  while (rows.next()) {
    Newest one;
    one.source.kind = model::kindFrom(rows.text(0)).value_or(model::Kind::dataset);
    one.source.sourceId = rows.text(1);
    one.source.orgId = rows.text(2);
    one.source.sandbox = rows.text(3);
    one.job = rows.integer(4);
    one.syncSource = rows.integer(5);
    found.push_back(std::move(one));
  }
  return found;
}

void bindSource(Query& query, const SourceStatus& source) {
  query.bind(1, nameOf(source.kind));
  query.bind(2, source.sourceId);
  query.bind(3, source.orgId);
  query.bind(4, source.sandbox);
}

constexpr std::string_view kOfSource = " job.kind = ?1 AND job.source_id = ?2 AND job.org_id = ?3 AND job.sandbox = ?4";

void addSuccess(Database& database, SourceStatus& source) {
  Query job(database, "SELECT id, finished_at, files, bytes, records FROM job WHERE status = 'succeeded' AND" +
                          std::string(kOfSource) + " ORDER BY finished_at DESC, id DESC LIMIT 1");
  bindSource(job, source);
  if (job.next()) {
    source.lastSuccessJob = model::JobId(job.integer(0));
    source.lastSuccess = job.optionalTime(1);
    source.files = job.size(2);
    source.bytes = job.size(3);
    source.records = job.optionalSize(4);
  }
  Query batch(database,
              "SELECT remote_id, created"
              " FROM batch"
              " JOIN job ON job.id = batch.job"
              " JOIN step ON step.job = job.id AND step.name = 'verify_files' AND step.state = 'done'"
              " WHERE" +
                  std::string(kOfSource) + " ORDER BY created DESC LIMIT 1");
  bindSource(batch, source);
  if (batch.next()) source.newest = SyncMark{.batch = model::BatchId(batch.text(0)), .created = batch.time(1)};
}

void addSyncSuccess(Database& database, std::int64_t syncSource, SourceStatus& source) {
  Query run(database, "SELECT max(ended_at) FROM run WHERE source = ? AND status = 'succeeded'");
  if (!run.with(syncSource).next() || run.isNull(0)) return;
  source.lastSuccess = std::max(source.lastSuccess.value_or(core::TimePoint()), run.time(0));
}

/// The newest run that was not skipped for another one.
std::optional<Last> lastRun(Database& database, std::int64_t syncSource, bool syncing) {
  Query row(database,
            "SELECT job, status, started_at, ended_at, error_category, error_message, error_request_id, error_hint"
            " FROM run"
            " WHERE source = ? AND status IS NOT 'skipped'"
            " ORDER BY id DESC LIMIT 1");
  if (!row.with(syncSource).next()) return std::nullopt;
  Last last{.sync = true};
  if (!row.isNull(0)) last.job = model::JobId(row.integer(0));
  last.status = row.isNull(1) ? (syncing ? "running" : "interrupted") : row.text(1);
  last.startedAt = row.time(2);
  last.endedAt = row.optionalTime(3);
  last.error = readError(row, 4);
  return last;
}

Last lastJob(const JobView& view) {
  return {.sync = false,
          .job = view.job.id,
          .status = std::string(nameOf(view.status)),
          .startedAt = view.job.createdAt,
          .endedAt = view.job.finishedAt,
          .error = view.job.error};
}

/// The run's own job began after it: it tells more only if it went on since.
bool tellsMore(const Last& job, const Last& run) {
  if (job.job != run.job) return job.startedAt > run.startedAt;
  return job.status == "running" || (job.endedAt && run.endedAt && *job.endedAt > *run.endedAt);
}

bool wasMistyped(const SourceStatus& source) {
  const auto& error = source.last.error;
  return !source.lastSuccess && !source.newest && error && error->category == core::Category::notFound;
}

}  // namespace

History::History(Database& database, IsHeld isHeld) : database_(database), isHeld_(std::move(isHeld)) {}

bool History::isHeld(model::JobId job) const {
  return isHeld_ && isHeld_(job);
}

void History::forEachJob(const HistoryFilter& filter, const std::function<bool(const JobView&)>& visit) {
  const auto isWanted = [&](JobStatus status) {
    return filter.statuses.empty() || std::ranges::find(filter.statuses, status) != filter.statuses.end();
  };
  try {
    const auto statuses = candidates(filter.statuses);
    // The open statement keeps one view of the data for the jobs that are loaded meanwhile.
    Query rows(database_, jobsSql(filter, statuses.size()));
    bindFilter(rows, filter, statuses);
    std::size_t count = 0;
    while ((filter.limit == 0 || count < filter.limit) && rows.next()) {
      const auto id = model::JobId(rows.integer(0));
      const bool held = isHeld(id);
      const auto stored = model::jobStatusFrom(rows.text(1));
      if (stored && !isWanted(statusNow(*stored, held))) continue;
      auto job = loadJob(database_, id);
      if (!job) continue;
      ++count;
      if (!visit(viewOf(std::move(*job), held))) return;
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

JobView History::job(model::JobId id) {
  auto found = reading(database_, [&] { return loadJob(database_, id); });
  if (!found) throwNoSuchJob(id);
  return viewOf(std::move(*found), isHeld(id));
}

std::optional<JobView> History::newest() {
  std::optional<JobView> found;
  forEachJob({.limit = 1}, [&](const JobView& job) {
    found = job;
    return false;
  });
  return found;
}

History::Arrived History::arrived(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT"
              " (SELECT count(*) FROM file WHERE job = ?1 AND state IN ('downloaded', 'verified')),"
              " (SELECT coalesce(sum(length), 0) FROM file WHERE job = ?1 AND state IN ('downloaded', 'verified'))"
              " + (SELECT coalesce(sum(\"end\" - first), 0)"
              "    FROM file JOIN file_range ON file_range.file = file.id"
              "    WHERE job = ?1 AND state = 'partial')");
    row.with(numberOf(job)).next();
    return Arrived{.files = row.size(0), .bytes = row.size(1)};
  });
}

std::optional<JobView> History::newestWithFiles() {
  std::optional<JobView> found;
  forEachJob({.limit = 0}, [&](const JobView& view) {
    if (arrived(view.job.id).files > 0) found = view;
    return !found;
  });
  return found;
}

void History::forEachFile(model::JobId job, const std::function<void(const model::FileRecord&)>& visit) {
  try {
    Query rows(database_, "SELECT " + std::string(kFileColumns) +
                              " FROM file"
                              " JOIN batch ON batch.id = file.batch"
                              " WHERE file.job = ?"
                              " ORDER BY file.id");
    rows.with(numberOf(job));
    while (rows.next()) visit(readFile(database_, rows));
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

void History::forEachEvent(model::JobId job, const std::function<void(const model::Event&)>& visit) {
  try {
    Query rows(database_, "SELECT at, step, what, detail FROM event WHERE job = ? ORDER BY id");
    rows.with(numberOf(job));
    while (rows.next()) {
      visit({.at = rows.time(0),
             .step = rows.isNull(1) ? std::nullopt : model::stepNameFrom(rows.text(1)),
             .what = rows.text(2),
             .detail = rows.text(3)});
    }
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database_.file(), error);
  }
}

std::vector<model::Replacement> History::replacementsOf(const model::Job& job) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT " + std::string(kReplacementColumns) +
                              " FROM replaced_batch"
                              " JOIN sync_source ON sync_source.id = source"
                              " WHERE org_id = ? AND sandbox = ? AND dataset_id = ? AND output = ? AND done = 1"
                              " ORDER BY batch_id");
    rows.with(job.request.orgId, job.request.sandbox, job.datasetId.value(), job.request.output.string());
    std::vector<model::Replacement> list;
    while (rows.next()) {
      model::Replacement replacement = readReplacement(rows);
      const bool ours = std::ranges::find(job.batches, replacement.batch, &model::Batch::id) != job.batches.end();
      if (ours) list.push_back(std::move(replacement));
    }
    return list;
  });
}

std::vector<SourceStatus> sourceStatuses(Database& database, History& history, const IsSyncing& isSyncing) {
  return reading(database, [&] {
    std::vector<SourceStatus> statuses;
    for (Newest& one : sourcesOf(database)) {
      SourceStatus& source = one.source;
      addSuccess(database, source);
      std::optional<Last> run;
      if (one.syncSource > 0) {
        addSyncSuccess(database, one.syncSource, source);
        run = lastRun(database, one.syncSource, isSyncing(one.syncSource));
      }
      std::optional<Last> job;
      if (one.job > 0) job = lastJob(history.job(model::JobId(one.job)));
      if (!run && !job) continue;
      source.last = run && (!job || !tellsMore(*job, *run)) ? *run : *job;
      if (!wasMistyped(source)) statuses.push_back(std::move(source));
    }
    return statuses;
  });
}

}  // namespace caiexport::store
