#include "caiexport/store/prune_store.h"

#include "rows.h"

namespace caiexport::store {
namespace {

constexpr const char* kCandidates =
    "SELECT id,"
    " id IN ("
    "   SELECT last.id"
    "   FROM job AS last"
    "   WHERE last.kind = job.kind AND last.source_id = job.source_id AND last.org_id = job.org_id"
    "   AND last.sandbox = job.sandbox AND last.status = 'succeeded'"
    "   ORDER BY last.finished_at DESC, last.id DESC"
    "   LIMIT 1"
    " ) OR id IN ("
    "   SELECT last.id"
    "   FROM job AS last"
    "   WHERE last.kind = job.kind AND last.source_id = job.source_id AND last.org_id = job.org_id"
    "   AND last.sandbox = job.sandbox AND last.status = 'succeeded' AND last.records IS NOT NULL"
    "   ORDER BY last.finished_at DESC, last.id DESC"
    "   LIMIT 1"
    " ),"
    " id = ("
    "   SELECT max(maker.id)"
    "   FROM job AS maker"
    "   WHERE maker.source_id = job.source_id AND maker.org_id = job.org_id AND maker.sandbox = job.sandbox"
    "   AND maker.dataset_created = 1"
    "   AND NOT EXISTS ("
    "     SELECT 1"
    "     FROM step"
    "     WHERE step.job = maker.id AND step.name = 'delete_dataset' AND step.state = 'done'"
    "   )"
    " ),"
    " EXISTS ("
    "   SELECT 1"
    "   FROM batch"
    "   JOIN sync_source ON sync_source.org_id = job.org_id AND sync_source.sandbox = job.sandbox"
    "    AND sync_source.dataset_id = job.dataset_id"
    "   JOIN sync_mark ON sync_mark.source = sync_source.id AND sync_mark.output = job.output"
    "   WHERE batch.job = job.id AND batch.created >= sync_mark.created - ?2"
    " )"
    " FROM job"
    " WHERE status IN ('succeeded', 'failed', 'cancelled') AND coalesce(finished_at, updated_at) < ?1"
    " ORDER BY id";

std::string reasonOf(const Query& row) {
  if (row.flag(1)) return "the last success of its source, which --max-change compares with";
  if (row.flag(2)) return "made the dataset that segment --reuse takes";
  if (row.flag(3)) return "has a batch that sync would fetch again";
  return {};
}

}  // namespace

PruneStore::PruneStore(Database& database, JobStore::Probe probe) : database_(database), probe_(std::move(probe)) {}

std::vector<PruneStore::Candidate> PruneStore::candidates(core::TimePoint before, core::Duration syncOverlap) {
  return reading(database_, [&] {
    Query rows(database_, kCandidates);
    rows.with(before, static_cast<std::int64_t>(syncOverlap.count()));
    std::vector<Candidate> found;
    while (rows.next()) found.push_back({.job = model::JobId(rows.integer(0)), .kept = reasonOf(rows)});
    return found;
  });
}

std::vector<PruneStore::Sharer> PruneStore::sharersOf(std::int64_t file) {
  return reading(database_, [&] {
    Query rows(database_,
               "SELECT DISTINCT other_job.id, other_job.output"
               " FROM file AS this"
               " JOIN batch AS this_batch ON this_batch.id = this.batch"
               " JOIN job AS this_job ON this_job.id = this.job"
               " JOIN batch AS other_batch ON other_batch.remote_id = this_batch.remote_id"
               " JOIN job AS other_job ON other_job.id = other_batch.job"
               "  AND other_job.dataset_id = this_job.dataset_id"
               " JOIN file AS other ON other.batch = other_batch.id AND other.name = this.name"
               "  AND other.claimed > 0"
               " WHERE this.id = ? AND other_job.id <> this_job.id");
    rows.with(file);
    std::vector<Sharer> sharers;
    while (rows.next()) sharers.push_back({.job = model::JobId(rows.integer(0)), .output = rows.text(1)});
    return sharers;
  });
}

void PruneStore::forgetRuns(core::TimePoint before) {
  recorded(database_, probe_, "forgetRuns", [&] {
    Query(database_,
          "DELETE FROM run"
          " WHERE coalesce(ended_at, started_at) < ?1"
          " AND id NOT IN (SELECT max(id) FROM run WHERE status IS NULL OR status <> 'skipped' GROUP BY source)"
          " AND id NOT IN (SELECT max(id) FROM run WHERE status = 'succeeded' GROUP BY source)")
        .with(before)
        .run();
  });
}

void PruneStore::remove(model::JobId job) {
  recorded(database_, probe_, "removeJob",
           [&] { Query(database_, "DELETE FROM job WHERE id = ?").with(model::numberOf(job)).run(); });
}

void PruneStore::forget(model::JobId job) {
  recorded(database_, probe_, "forgetJob", [&] {
    Query(database_, "DELETE FROM job WHERE id = ?").with(model::numberOf(job)).run();
    // A server's numbers may have been given to another host meanwhile; there it stays unused.
    if (database_.server() != nullptr) return;
    Query(database_, "UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'job' AND seq = ?")
        .with(model::numberOf(job))
        .run();
  });
}

}  // namespace caiexport::store
