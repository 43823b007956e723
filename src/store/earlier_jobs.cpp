/// The part of JobStore that asks about other jobs: what earlier ones of the same source were like, what is theirs on
/// the platform, how many evaluations were asked for.

#include <algorithm>

#include "caiexport/model/replacement.h"
#include "caiexport/store/job_store.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using model::numberOf;

constexpr std::string_view kSameSource =
    " FROM job AS other"
    " JOIN job AS this ON this.kind = other.kind AND this.source_id = other.source_id"
    "  AND this.org_id = other.org_id AND this.sandbox = other.sandbox"
    " WHERE this.id = ? AND other.id <> this.id";

/// Of the same organisation and sandbox.
constexpr std::string_view kOfThePlace =
    " FROM job AS other"
    " JOIN job AS this ON this.org_id = other.org_id AND this.sandbox = other.sandbox";

/// Counted in the files of a dataset's newest batch, of all batches of an export: what the platform promised, which
/// earlier versions recorded too, is no count.
std::optional<std::uint64_t> countedRecords(Database& database, const model::Job& job) {
  const auto newest = std::ranges::max_element(job.batches, {}, &model::Batch::created);
  const bool all = job.request.kind == model::Kind::segment || newest == job.batches.end();
  Query row(database,
            "SELECT CASE count(*) WHEN 0 THEN 0 ELSE sum(file.records) END"
            " FROM file"
            " JOIN batch ON batch.id = file.batch"
            " WHERE file.job = ?1 AND (?2 OR batch.remote_id = ?3)");
  row.with(numberOf(job.id), static_cast<std::int64_t>(all), all ? std::string() : newest->id.value()).next();
  return row.optionalSize(0);
}

}  // namespace

std::optional<JobStore::Success> JobStore::lastSuccess(const model::Job& than) {
  return reading(database_, [&]() -> std::optional<Success> {
    Query rows(database_, "SELECT other.id, other.finished_at" + std::string(kSameSource) +
                              " AND other.status = 'succeeded' AND other.records IS NOT NULL"
                              " ORDER BY other.finished_at DESC, other.id DESC");
    rows.with(numberOf(than.id));
    while (rows.next()) {
      Success success;
      success.job = model::JobId(rows.integer(0));
      success.finishedAt = rows.time(1);
      const std::optional<model::Job> job = loadJob(database_, success.job);
      const std::optional<std::uint64_t> records = job ? countedRecords(database_, *job) : std::nullopt;
      if (!records) continue;
      success.records = *records;
      return success;
    }
    return std::nullopt;
  });
}

bool JobStore::wasAccepted(model::JobId job, const model::BatchId& batch, std::uint64_t records) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT 1"
              " FROM batch AS this"
              " JOIN job AS this_job ON this_job.id = this.job"
              " JOIN batch AS other ON other.remote_id = this.remote_id AND other.job <> this.job"
              "  AND coalesce(other.records, -1) = coalesce(this.records, -1)"
              " JOIN job AS other_job ON other_job.id = other.job AND other_job.org_id = this_job.org_id"
              "  AND other_job.sandbox = this_job.sandbox AND other_job.dataset_id = this_job.dataset_id"
              " JOIN step ON step.job = other_job.id AND step.name = 'verify_files' AND step.state = 'done'"
              " WHERE this.job = ?1 AND this.remote_id = ?2"
              " AND (SELECT sum(file.records) FROM file WHERE file.batch = other.id) = ?3"
              " LIMIT 1");
    return row.with(numberOf(job), batch.value(), records).next();
  });
}

std::map<model::BatchId, model::BatchId> JobStore::forgottenBatches(const model::Job& job) {
  return reading(database_, [&] {
    Query rows(database_,
               "SELECT batch_id, replaced_by, reason"
               " FROM replaced_batch"
               " JOIN sync_source ON sync_source.id = source"
               " WHERE org_id = ? AND sandbox = ? AND dataset_id = ? AND action = ?");
    rows.with(job.request.orgId, job.request.sandbox, job.datasetId.value(), nameOf(model::ReplaceAction::remove));
    std::map<model::BatchId, model::BatchId> forgotten;
    while (rows.next()) {
      if (!model::isPrivacyDeletion(rows.text(2))) continue;
      forgotten.emplace(model::BatchId(rows.text(0)), model::BatchId(rows.text(1)));
    }
    return forgotten;
  });
}

std::vector<model::DatasetId> JobStore::datasetsMadeFor(const model::Job& job) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT other.dataset_id" + std::string(kSameSource) +
                              " AND other.dataset_created = 1 AND other.dataset_id IS NOT NULL"
                              " ORDER BY other.id DESC");
    rows.with(numberOf(job.id));
    std::vector<model::DatasetId> datasets;
    while (rows.next()) datasets.emplace_back(rows.text(0));
    return datasets;
  });
}

bool JobStore::isExportJobOfAnother(model::ExportJobId exportJob, model::JobId than) {
  return reading(database_, [&] {
    Query row(database_, "SELECT 1" + std::string(kOfThePlace) +
                             " WHERE other.export_job_id = ? AND this.id = ? AND other.id <> this.id");
    return row.with(exportJob.value(), numberOf(than)).next();
  });
}

std::vector<model::BatchId> JobStore::batchesOfExportJob(model::JobId job, const model::ExportJobId& exportJob) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT batch.remote_id" + std::string(kOfThePlace) +
                              " JOIN batch ON batch.job = other.id"
                              " WHERE other.export_job_id = ? AND this.id = ? AND other.id <> this.id");
    rows.with(exportJob.value(), numberOf(job));
    std::vector<model::BatchId> batches;
    while (rows.next()) batches.emplace_back(rows.text(0));
    return batches;
  });
}

bool JobStore::isSegmentJobOfAnother(model::SegmentJobId segmentJob, model::JobId than) {
  return reading(database_, [&] {
    Query row(database_, "SELECT 1" + std::string(kOfThePlace) +
                             " WHERE other.segment_job_id = ? AND this.id = ? AND other.id <> this.id");
    return row.with(segmentJob.value(), numberOf(than)).next();
  });
}

void JobStore::countEvaluation(model::JobId job, const model::SegmentJobId& segmentJob, core::TimePoint at) {
  recorded(database_, probe_, "countEvaluation", [&] {
    Query insert(database_,
                 "INSERT INTO evaluation (org_id, sandbox, segment_job_id, asked_at)"
                 " SELECT org_id, sandbox, ?, ?"
                 " FROM job"
                 " WHERE id = ?"
                 " ON CONFLICT DO NOTHING");
    insert.with(segmentJob.value(), at, numberOf(job)).run();
  });
}

std::uint64_t JobStore::evaluationsSince(model::JobId job, core::TimePoint since) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT count(*)"
              " FROM evaluation"
              " JOIN job ON job.org_id = evaluation.org_id AND job.sandbox = evaluation.sandbox"
              " WHERE job.id = ? AND asked_at >= ?");
    row.with(numberOf(job), since).next();
    return row.size(0);
  });
}

}  // namespace caiexport::store
