#include "caiexport/store/history.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
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

/// What is asked for at a time: a server sends it all before the first of it can be seen.
constexpr std::size_t kPage = 500;

/// Of the job, what a line about it needs.
constexpr std::string_view kLineColumns =
    ", kind, source_id, files, bytes, records, created_at, error_category, error_message, error_request_id, error_hint";

struct JobRow {
  std::int64_t id;
  std::optional<JobStatus> stored;
  model::Job job = {};  ///< Where kLineColumns were asked for.
};

/// One status is looked up in its index, which ends in the job's number and so keeps the order. Several are not (the
/// empty text hides the index): sorting all that match costs more than walking back from the newest job until enough
/// are found.
std::string jobsSql(const HistoryFilter& filter, std::size_t statuses, std::string_view more) {
  std::string sql = "SELECT id, status" + std::string(more) + " FROM job WHERE true";
  if (statuses == 1) sql += " AND status = ?";
  if (statuses > 1) sql += " AND status || '' IN (" + placeholders(statuses) + ")";
  if (filter.kind) sql += " AND kind = ?";
  if (!filter.sourceId.empty()) sql += statuses == 1 ? " AND source_id || '' = ?" : " AND source_id = ?";
  if (!filter.orgId.empty()) sql += " AND org_id = ?";
  if (!filter.sandbox.empty()) sql += " AND sandbox = ?";
  if (filter.since) sql += " AND created_at >= ?";
  if (filter.until) sql += " AND created_at < ?";
  return sql + " AND id < ? ORDER BY id DESC LIMIT " + std::to_string(kPage);
}

void bindFilter(Query& query, const HistoryFilter& filter, std::span<const JobStatus> statuses, std::int64_t before) {
  int index = 0;
  for (const JobStatus status : statuses) query.bind(++index, nameOf(status));
  if (filter.kind) query.bind(++index, nameOf(*filter.kind));
  if (!filter.sourceId.empty()) query.bind(++index, filter.sourceId);
  if (!filter.orgId.empty()) query.bind(++index, filter.orgId);
  if (!filter.sandbox.empty()) query.bind(++index, filter.sandbox);
  if (filter.since) query.bind(++index, *filter.since);
  if (filter.until) query.bind(++index, *filter.until);
  query.bind(++index, before);
}

model::Job readLine(const Query& row) {
  model::Job job;
  job.id = model::JobId(row.integer(0));
  job.request.kind = model::kindFrom(row.text(2)).value_or(model::Kind::dataset);
  job.request.sourceId = row.text(3);
  job.fileCount = row.size(4);
  job.totalBytes = row.size(5);
  job.records = row.optionalSize(6);
  job.createdAt = row.time(7);
  job.error = readError(row, 8);
  return job;
}

/// Newest first.
std::vector<JobRow> jobsBefore(Database& database, const HistoryFilter& filter, std::span<const JobStatus> statuses,
                               std::int64_t before, bool lines) {
  return reading(database, [&] {
    Query rows(database, jobsSql(filter, statuses.size(), lines ? kLineColumns : ""));
    bindFilter(rows, filter, statuses, before);
    std::vector<JobRow> page;
    while (rows.next()) {
      page.push_back({.id = rows.integer(0), .stored = model::jobStatusFrom(rows.text(1))});
      if (lines) page.back().job = readLine(rows);
    }
    return page;
  });
}

/// One view of the data for all pages. A server is not kept in a transaction by a reader who takes his time.
class OneView {
 public:
  explicit OneView(Database& database) {
    if (database.server() != nullptr) return;
    withFailures(database, "read", [&] { transaction_.emplace(database, Transaction::Kind::reading); });
  }

 private:
  std::optional<Transaction> transaction_;
};

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
             " ) AS source"
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
            " WHERE source = ? AND (status IS NULL OR status <> 'skipped')"
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
  forEach(filter, Detail::whole, visit);
}

void History::forEachRow(const HistoryFilter& filter, const std::function<bool(const JobView&)>& visit) {
  forEach(filter, Detail::row, visit);
}

void History::inOneView(const std::function<void()>& body) {
  const OneView view(database_);
  body();
}

void History::forEach(const HistoryFilter& filter, Detail detail, const std::function<bool(const JobView&)>& visit) {
  const auto isOver = [](JobStatus stored) { return stored == JobStatus::succeeded || stored == JobStatus::cancelled; };
  const auto isWanted = [&](JobStatus status) {
    return filter.statuses.empty() || std::ranges::find(filter.statuses, status) != filter.statuses.end();
  };
  const auto statuses = candidates(filter.statuses);
  const OneView view(database_);
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  for (std::size_t count = 0;;) {
    std::vector<JobRow> page = jobsBefore(database_, filter, statuses, before, detail == Detail::row);
    for (JobRow& row : page) {
      before = row.id;
      if (filter.limit != 0 && count >= filter.limit) return;
      const auto id = model::JobId(row.id);
      const bool line = detail == Detail::row && row.stored;
      const bool held = !(line && isOver(*row.stored)) && isHeld(id);
      if (row.stored && !isWanted(statusNow(*row.stored, held))) continue;
      if (line) {
        ++count;
        if (!visit({.job = std::move(row.job), .status = statusNow(*row.stored, held), .held = held})) return;
        continue;
      }
      auto job = reading(database_, [&] { return loadJob(database_, id); });
      // Pruned meanwhile.
      if (!job) continue;
      ++count;
      if (!visit(viewOf(std::move(*job), held))) return;
    }
    if (page.size() < kPage) return;
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
              "    WHERE job = ?1 AND state = 'partial')" +
                  std::string(kAndPieces));
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
  const OneView view(database_);
  std::int64_t after = 0;
  for (std::size_t got = kPage; got == kPage;) {
    const auto page = reading(database_, [&] {
      Query rows(database_, "SELECT " + std::string(kFileColumns) +
                                " FROM file"
                                " JOIN batch ON batch.id = file.batch"
                                " WHERE file.job = ? AND file.id > ?"
                                " ORDER BY file.id"
                                " LIMIT ?");
      rows.with(numberOf(job), after, static_cast<std::int64_t>(kPage));
      std::vector<model::FileRecord> files;
      while (rows.next()) files.push_back(readFile(database_, rows));
      return files;
    });
    for (const model::FileRecord& file : page) visit(file);
    got = page.size();
    if (got > 0) after = page.back().id;
  }
}

std::vector<WorkerView> History::workers(model::JobId job) {
  return workersOf(database_, job);
}

void History::forEachEvent(model::JobId job, const std::function<void(const model::Event&)>& visit) {
  const OneView view(database_);
  std::int64_t after = 0;
  for (std::size_t got = kPage; got == kPage;) {
    const auto page = reading(database_, [&] {
      Query rows(database_,
                 "SELECT id, at, step, what, detail FROM event WHERE job = ? AND id > ? ORDER BY id LIMIT ?");
      rows.with(numberOf(job), after, static_cast<std::int64_t>(kPage));
      std::vector<std::pair<std::int64_t, model::Event>> events;
      while (rows.next()) {
        events.emplace_back(rows.integer(0),
                            model::Event{.at = rows.time(1),
                                         .step = rows.isNull(2) ? std::nullopt : model::stepNameFrom(rows.text(2)),
                                         .what = rows.text(3),
                                         .detail = rows.text(4)});
      }
      return events;
    });
    for (const auto& [id, event] : page) visit(event);
    got = page.size();
    if (got > 0) after = page.back().first;
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
    std::set<model::BatchId> ours;
    for (const model::Batch& batch : job.batches) ours.insert(batch.id);
    std::vector<model::Replacement> list;
    while (rows.next()) {
      model::Replacement replacement = readReplacement(rows);
      if (ours.contains(replacement.batch)) list.push_back(std::move(replacement));
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
