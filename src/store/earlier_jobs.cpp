/// The part of JobStore that asks what earlier jobs of the same source were like.
#include <SQLiteCpp/Exception.h>

#include <algorithm>

#include "caiexport/store/job_store.h"
#include "rows.h"

namespace caiexport::store {
namespace {

constexpr std::string_view kSameSource =
    " FROM job AS other"
    " JOIN job AS this ON this.kind = other.kind AND this.source_id = other.source_id"
    "  AND this.org_id = other.org_id AND this.sandbox = other.sandbox"
    " WHERE this.id = ? AND other.id <> this.id";

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
  row.with(model::numberOf(job.id), static_cast<std::int64_t>(all), all ? std::string() : newest->id.value()).next();
  return row.optionalSize(0);
}

}  // namespace

std::optional<JobStore::Success> JobStore::lastSuccess(const model::Job& than) {
  return reading(database_, [&]() -> std::optional<Success> {
    Query rows(database_, "SELECT other.id, other.finished_at" + std::string(kSameSource) +
                              " AND other.status = 'succeeded' AND other.records IS NOT NULL"
                              " ORDER BY other.finished_at DESC, other.id DESC");
    rows.with(model::numberOf(than.id));
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

std::vector<model::DatasetId> JobStore::datasetsMadeFor(const model::Job& job) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT other.dataset_id" + std::string(kSameSource) +
                              " AND other.dataset_created = 1 AND other.dataset_id IS NOT NULL"
                              " ORDER BY other.id DESC");
    rows.with(model::numberOf(job.id));
    std::vector<model::DatasetId> datasets;
    while (rows.next()) datasets.emplace_back(rows.text(0));
    return datasets;
  });
}

}  // namespace caiexport::store
