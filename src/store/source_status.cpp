#include "caiexport/store/source_status.h"

#include <SQLiteCpp/Exception.h>

#include <algorithm>

#include "rows.h"

namespace caiexport::store {
namespace {

using Last = SourceStatus::Last;

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
  if (!row.isNull(4)) {
    last.error = model::JobError{.category = core::categoryFrom(row.text(4)),
                                 .message = row.text(5),
                                 .requestId = row.text(6),
                                 .hint = row.text(7)};
  }
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
