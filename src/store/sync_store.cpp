#include "caiexport/store/sync_store.h"

#include "caiexport/core/error.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using model::BatchId;

constexpr std::string_view kOfPlace =
    " JOIN sync_source ON sync_source.id = source"
    " WHERE org_id = ?1 AND sandbox = ?2 AND dataset_id = ?3 AND output = ?4";

/// Jobs that write batches of the dataset to the folder.
constexpr std::string_view kJobsOfPlace =
    " job.org_id = ?1 AND job.sandbox = ?2 AND job.dataset_id = ?3 AND job.output = ?4";

void bindPlace(Query& query, const SyncPlace& place) {
  query.bind(1, place.orgId);
  query.bind(2, place.sandbox);
  query.bind(3, place.dataset.value());
  query.bind(4, place.output.string());
}

/// Wherever jobs wrote them.
constexpr std::string_view kBatchesOfDataset =
    " FROM batch"
    " JOIN job ON job.id = batch.job"
    " WHERE job.org_id = ?1 AND job.sandbox = ?2 AND job.dataset_id = ?3";

void bindDataset(Query& query, const SyncPlace& place) {
  query.bind(1, place.orgId);
  query.bind(2, place.sandbox);
  query.bind(3, place.dataset.value());
}

std::int64_t numberOf(Database& database, const SyncPlace& place) {
  Query insert(database,
               "INSERT INTO sync_source (org_id, sandbox, dataset_id) VALUES (?, ?, ?)"
               " ON CONFLICT DO NOTHING");
  insert.with(place.orgId, place.sandbox, place.dataset.value()).run();
  Query row(database, "SELECT id FROM sync_source WHERE org_id = ? AND sandbox = ? AND dataset_id = ?");
  row.with(place.orgId, place.sandbox, place.dataset.value()).next();
  return row.integer(0);
}

/// An hourly run is remembered for more than a month.
constexpr std::int64_t kKeptOfASource = 1000;

std::optional<std::int64_t> orNone(std::int64_t number) {
  return number > 0 ? std::optional(number) : std::nullopt;
}

}  // namespace

SyncStore::SyncStore(Database& database, core::Clock& clock, JobStore::Probe probe)
    : database_(database), clock_(clock), probe_(std::move(probe)) {}

std::int64_t SyncStore::sourceNumber(const SyncPlace& place) {
  return recorded(database_, probe_, "sourceNumber", [&] { return numberOf(database_, place); });
}

std::optional<SyncMark> SyncStore::mark(const SyncPlace& place, const std::string& createdClient) {
  return reading(database_, [&]() -> std::optional<SyncMark> {
    Query row(database_,
              "SELECT batch_id, created, since FROM sync_mark" + std::string(kOfPlace) + " AND created_client = ?5");
    bindPlace(row, place);
    row.bind(5, createdClient);
    if (!row.next()) return std::nullopt;
    return SyncMark{.batch = BatchId(row.text(0)), .created = row.time(1), .since = row.optionalTime(2)};
  });
}

void SyncStore::setMark(const SyncPlace& place, const SyncMark& mark, const std::string& createdClient) {
  recorded(database_, probe_, "setMark", [&] {
    Query insert(database_,
                 "INSERT INTO sync_mark"
                 " (source, output, created_client, since, batch_id, created, updated_at)"
                 " VALUES (?, ?, ?, ?, ?, ?, ?)"
                 " ON CONFLICT (source, output, created_client) DO UPDATE"
                 " SET since = excluded.since, batch_id = excluded.batch_id, created = excluded.created,"
                 " updated_at = excluded.updated_at");
    insert
        .with(numberOf(database_, place), place.output.string(), createdClient, mark.since, mark.batch.value(),
              mark.created, clock_.now())
        .run();
  });
}

std::vector<model::Replacement> SyncStore::replacements(const SyncPlace& place) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT " + std::string(kReplacementColumns) + " FROM replaced_batch" +
                              std::string(kOfPlace) + " ORDER BY batch_id");
    bindPlace(rows, place);
    std::vector<model::Replacement> list;
    while (rows.next()) list.push_back(readReplacement(rows));
    return list;
  });
}

void SyncStore::recordReplacement(const SyncPlace& place, const model::Replacement& replacement) {
  recorded(database_, probe_, "recordReplacement", [&] {
    Query insert(database_,
                 "INSERT INTO replaced_batch"
                 " (source, output, batch_id, replaced_by, reason, action, path, done, updated_at)"
                 " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                 " ON CONFLICT (source, output, batch_id) DO UPDATE"
                 " SET replaced_by = excluded.replaced_by, reason = excluded.reason, action = excluded.action,"
                 " path = excluded.path, done = excluded.done, updated_at = excluded.updated_at");
    const std::string path = replacement.path.string();
    insert
        .with(numberOf(database_, place), place.output.string(), replacement.batch.value(), replacement.by.value(),
              replacement.reason, nameOf(replacement.action), orNull(path), replacement.done, clock_.now())
        .run();
  });
}

bool SyncStore::hasBatch(const SyncPlace& place, const BatchId& batch) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT 1"
              " FROM batch"
              " JOIN job ON job.id = batch.job"
              " JOIN step ON step.job = job.id AND step.name = 'verify_files' AND step.state = 'done'"
              " WHERE batch.remote_id = ?5 AND" +
                  std::string(kJobsOfPlace) + " LIMIT 1");
    bindPlace(row, place);
    row.bind(5, batch.value());
    return row.next();
  });
}

std::vector<model::JobId> SyncStore::interruptedJobs(const SyncPlace& place) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT id FROM job WHERE kind = 'dataset' AND status IN ('pending', 'interrupted') AND" +
                              std::string(kJobsOfPlace) + " ORDER BY id");
    bindPlace(rows, place);
    std::vector<model::JobId> jobs;
    while (rows.next()) jobs.push_back(model::JobId(rows.integer(0)));
    return jobs;
  });
}

std::optional<model::JobId> SyncStore::failedJob(const SyncPlace& place, const BatchId& batch) {
  return reading(database_, [&]() -> std::optional<model::JobId> {
    // JSON is read by each kind of database in its own words; those that hold the id at all are few.
    Query rows(database_,
               "SELECT job.id, json"
               " FROM job"
               " JOIN request ON request.job = job.id"
               " WHERE kind = 'dataset' AND status = 'failed' AND replace(json, ?5, '') <> json AND" +
                   std::string(kJobsOfPlace) + " ORDER BY job.id DESC");
    bindPlace(rows, place);
    rows.bind(5, batch.value());
    while (rows.next()) {
      model::ExportRequest request;
      requestFromJson(rows.text(1), request);
      if (request.batches.batch == batch) return model::JobId(rows.integer(0));
    }
    return std::nullopt;
  });
}

std::vector<std::string> SyncStore::recordedPaths(const SyncPlace& place, const BatchId& batch) {
  return reading(database_, [&] {
    Query rows(database_,
               "SELECT DISTINCT CASE in_folder WHEN 0 THEN name"
               " ELSE dataset_file_id || substr('~~~~~~~~', 1, CAST(in_folder - 1 AS INTEGER)) || '/' || name END"
               " FROM file"
               " JOIN batch ON batch.id = file.batch"
               " JOIN job ON job.id = batch.job"
               " WHERE batch.remote_id = ? AND file.claimed > 0"
               " AND job.org_id = ? AND job.sandbox = ? AND job.dataset_id = ?"
               " ORDER BY 1");
    rows.with(batch.value(), place.orgId, place.sandbox, place.dataset.value());
    std::vector<std::string> paths;
    while (rows.next()) paths.push_back(rows.text(0));
    return paths;
  });
}

std::vector<model::Batch> SyncStore::batchesByExternalId(const SyncPlace& place, const std::string& externalId) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT DISTINCT batch.remote_id, batch.created" + std::string(kBatchesOfDataset) +
                              " AND external_id = ?4 ORDER BY 1");
    bindDataset(rows, place);
    rows.bind(4, externalId);
    std::vector<model::Batch> batches;
    while (rows.next()) batches.push_back({.id = BatchId(rows.text(0)), .created = rows.time(1)});
    return batches;
  });
}

bool SyncStore::knowsExternalId(const SyncPlace& place, const BatchId& batch) {
  return reading(database_, [&] {
    Query row(database_, "SELECT 1" + std::string(kBatchesOfDataset) +
                             " AND batch.remote_id = ?4 AND external_id IS NOT NULL LIMIT 1");
    bindDataset(row, place);
    row.bind(4, batch.value());
    return row.next();
  });
}

bool SyncStore::lacksExternalIds(const SyncPlace& place) {
  return reading(database_, [&] {
    Query row(database_, "SELECT 1" + std::string(kBatchesOfDataset) + " AND external_id IS NULL LIMIT 1");
    bindDataset(row, place);
    return row.next();
  });
}

std::vector<std::filesystem::path> SyncStore::otherOutputs(const SyncPlace& place, const BatchId& batch) {
  return reading(database_, [&] {
    Query rows(database_,
               "SELECT DISTINCT job.output"
               " FROM batch"
               " JOIN job ON job.id = batch.job"
               " WHERE batch.remote_id = ?1 AND job.org_id = ?2 AND job.sandbox = ?3 AND job.dataset_id = ?4"
               " AND job.output <> ?5"
               " UNION"
               " SELECT output"
               " FROM replaced_batch"
               " JOIN sync_source ON sync_source.id = source"
               " WHERE batch_id = ?1 AND org_id = ?2 AND sandbox = ?3 AND dataset_id = ?4 AND output <> ?5"
               " ORDER BY 1");
    rows.with(batch.value(), place.orgId, place.sandbox, place.dataset.value(), place.output.string());
    std::vector<std::filesystem::path> outputs;
    while (rows.next()) outputs.emplace_back(rows.text(0));
    return outputs;
  });
}

std::optional<double> SyncStore::measuredRate(const std::string& orgId) {
  return reading(database_, [&]() -> std::optional<double> {
    // A second try, or files that were here already, would make the time say nothing about the bytes.
    Query row(database_,
              "SELECT 1000.0 * job.bytes / (step.finished_at - step.started_at)"
              " FROM job"
              " JOIN step ON step.job = job.id AND step.name = 'download_files'"
              " WHERE job.org_id = ? AND step.state = 'done' AND step.attempts = 1 AND job.bytes > 0"
              " AND step.finished_at > step.started_at"
              " AND NOT EXISTS (SELECT 1 FROM event WHERE event.job = job.id AND event.what = 'files_kept')"
              " ORDER BY job.id DESC"
              " LIMIT 1");
    if (!row.with(orgId).next()) return std::nullopt;
    return row.real(0);
  });
}

// --- runs

RunStore::RunStore(Database& database, core::Clock& clock) : database_(database), clock_(clock) {}

std::int64_t RunStore::begin(const SyncPlace& place, std::string_view version, std::int64_t process) {
  const std::int64_t source = SyncStore(database_, clock_).sourceNumber(place);
  return recorded(database_, {}, "beginRun", [&] {
    Query(database_,
          "DELETE FROM run WHERE source = ?1 AND id <= (SELECT max(id) FROM run) - ?2"
          " AND id < (SELECT max(id) FROM run WHERE source = ?1 AND status = 'succeeded')")
        .with(source, kKeptOfASource)
        .run();
    Query insert(database_,
                 "INSERT INTO run (source, output, version, pid, started_at) VALUES (?, ?, ?, ?, ?) RETURNING id");
    insert.with(source, place.output.string(), version, process, clock_.now()).next();
    return insert.integer(0);
  });
}

void RunStore::end(std::int64_t run, const RunOutcome& outcome) {
  recorded(database_, {}, "endRun", [&] {
    const model::JobError error = outcome.error.value_or(model::JobError{});
    const std::string_view category = outcome.error ? core::nameOf(error.category) : "";
    // No optional: g++ 12 takes an empty one for an uninitialized value here. No batch is from 1970.
    const core::TimePoint created = outcome.newest ? outcome.newest->created : core::TimePoint();
    const std::string newest = outcome.newest ? outcome.newest->batch.value() : "";
    Query(database_,
          "UPDATE run"
          " SET ended_at = ?, status = ?, job = ?, jobs = ?, replaced = ?, newest_batch = ?,"
          " newest_created = NULLIF(CAST(? AS BIGINT), 0),"
          " error_category = ?, error_message = ?, error_request_id = ?, error_hint = ?"
          " WHERE id = ?")
        .with(clock_.now(), outcome.status, orNone(outcome.job), outcome.jobs, outcome.replaced, orNull(newest),
              created, orNull(category), orNull(readable(error.message)), orNull(readable(error.requestId)),
              orNull(readable(error.hint)), run)
        .run();
  });
}

}  // namespace caiexport::store
