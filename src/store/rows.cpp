#include "rows.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"

namespace caiexport::store {
namespace {

using model::JobStatus;

template <class Value>
Value known(std::optional<Value> value, const std::string& name) {
  if (value) return *value;
  throw core::Error(core::Category::io, "cannot read the job database: \"" + name + "\" is not a word it may hold");
}

/// Of all batches of the job, by their numbers.
std::map<std::int64_t, std::vector<model::BatchId>> loadPredecessors(Database& database, model::JobId job) {
  Query rows(database,
             "SELECT batch.id, batch_predecessor.remote_id"
             " FROM batch"
             " JOIN batch_predecessor ON batch_predecessor.batch = batch.id"
             " WHERE batch.job = ?"
             " ORDER BY batch.id, batch_predecessor.position");
  rows.with(model::numberOf(job));
  std::map<std::int64_t, std::vector<model::BatchId>> predecessors;
  while (rows.next()) predecessors[rows.integer(0)].emplace_back(rows.text(1));
  return predecessors;
}

std::vector<model::Batch> loadBatches(Database& database, model::JobId job) {
  Query rows(database,
             "SELECT id, remote_id, status, created, created_client, records, replay_reason"
             " FROM batch"
             " WHERE job = ?"
             " ORDER BY position");
  rows.with(model::numberOf(job));
  auto predecessors = loadPredecessors(database, job);
  std::vector<model::Batch> batches;
  // A vector that grows takes up to three times what it holds.
  Query count(database, "SELECT count(*) FROM batch WHERE job = ?");
  if (count.with(model::numberOf(job)).next()) batches.reserve(count.size(0));
  while (rows.next()) {
    const auto replaces = predecessors.find(rows.integer(0));
    batches.push_back(
        {.id = model::BatchId(rows.text(1)),
         .status = rows.text(2),
         .created = rows.time(3),
         .createdClient = rows.text(4),
         .records = rows.optionalSize(5),
         .predecessors = replaces == predecessors.end() ? std::vector<model::BatchId>() : std::move(replaces->second),
         .replayReason = rows.text(6)});
  }
  return batches;
}

model::PartFacts readPart(Database& database, std::int64_t file) {
  Query row(database,
            "SELECT content_sum, etag, last_modified, tail_first, several_runs FROM file_part WHERE file = ?");
  if (!row.with(file).next()) return {};
  return {.sum = static_cast<std::uint64_t>(row.integer(0)),
          .version = {.etag = row.text(1), .lastModified = row.text(2)},
          .tailFirst = row.flag(3),
          .severalRuns = row.flag(4)};
}

}  // namespace

std::vector<model::Step> loadSteps(Database& database, model::JobId job) {
  Query rows(database,
             "SELECT name, state, attempts, started_at, finished_at, intended_at, deadline"
             " FROM step"
             " WHERE job = ?"
             " ORDER BY position");
  rows.with(model::numberOf(job));
  std::vector<model::Step> steps;
  while (rows.next()) {
    steps.push_back({.name = known(model::stepNameFrom(rows.text(0)), rows.text(0)),
                     .state = known(model::stepStateFrom(rows.text(1)), rows.text(1)),
                     .startedAt = rows.optionalTime(3),
                     .finishedAt = rows.optionalTime(4),
                     .attempts = static_cast<std::uint32_t>(rows.integer(2)),
                     .intendedAt = rows.optionalTime(5),
                     .deadline = rows.optionalTime(6)});
  }
  return steps;
}

std::optional<model::Job> loadJob(Database& database, model::JobId id, Batches batches) {
  Query row(database,
            "SELECT uuid, kind, source_id, org_id, sandbox, output, json,"
            " dataset_id, dataset_created, export_job_id, segment_job_id, remote_status,"
            " files, bytes, records, reported_profiles,"
            " cancel_requested, cancelled, created_at, updated_at, finished_at,"
            " error_category, error_message, error_request_id, error_hint, evaluated_at,"
            " evaluation_since, expected_profiles, version, share"
            " FROM job"
            " JOIN request ON request.job = job.id"
            " WHERE job.id = ?");
  row.with(model::numberOf(id));
  if (!row.next()) return std::nullopt;
  model::Job job;
  job.id = id;
  job.uuid = row.text(0);
  job.request.kind = known(model::kindFrom(row.text(1)), row.text(1));
  job.request.sourceId = row.text(2);
  job.request.orgId = row.text(3);
  job.request.sandbox = row.text(4);
  job.request.output = row.text(5);
  requestFromJson(row.text(6), job.request);
  job.datasetId = model::DatasetId(row.text(7));
  job.datasetCreated = row.flag(8);
  job.exportJobId = model::ExportJobId(row.text(9));
  job.segmentJobId = model::SegmentJobId(row.text(10));
  job.remoteStatus = row.text(11);
  job.fileCount = row.size(12);
  job.totalBytes = row.size(13);
  job.records = row.optionalSize(14);
  job.reportedProfiles = row.optionalSize(15);
  job.cancelRequested = row.flag(16);
  job.cancelled = row.flag(17);
  job.createdAt = row.time(18);
  job.updatedAt = row.time(19);
  job.finishedAt = row.optionalTime(20);
  job.error = readError(row, 21);
  job.evaluatedAt = row.optionalTime(25);
  job.evaluationSince = row.optionalTime(26);
  job.expectedProfiles = row.optionalSize(27);
  job.version = row.text(28);
  job.share = row.text(29);
  job.steps = loadSteps(database, id);
  if (batches == Batches::load) job.batches = loadBatches(database, id);
  return job;
}

std::string readable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char32_t codePoint = 0;
    const std::size_t valid = core::decodeUtf8(text, codePoint);
    const std::string_view piece = text.substr(0, std::max<std::size_t>(valid, 1));
    if (valid > 0 && codePoint != 0) {
      out += piece;
    } else {
      out += "\\x" + core::hexOf(piece);
    }
    text.remove_prefix(piece.size());
  }
  return out;
}

std::optional<model::JobError> readError(const Query& row, int column) {
  if (row.isNull(column)) return std::nullopt;
  return model::JobError{.category = core::categoryFrom(row.text(column)),
                         .message = row.text(column + 1),
                         .requestId = row.text(column + 2),
                         .hint = row.text(column + 3)};
}

std::string pathOf(const std::string& datasetFileId, const std::string& name, std::int64_t inFolder) {
  if (inFolder == 0) return name;
  return datasetFileId + std::string(static_cast<std::size_t>(inFolder - 1), '~') + "/" + name;
}

void throwNoSuchJob(model::JobId job) {
  throw core::Error(core::Category::notFound, "there is no job " + std::to_string(model::numberOf(job)),
                    {.requestId = {}, .hint = "`caiexport history` lists the jobs"});
}

const char* const kFileColumns =
    "file.id, batch.remote_id, dataset_file_id, name, length, href, in_folder, state, sha256, file.records,"
    " file.unproven";

model::FileRecord readFile(Database& database, const Query& row) {
  model::FileRecord file;
  file.id = row.integer(0);
  file.remote = {.batchId = model::BatchId(row.text(1)),
                 .datasetFileId = model::DatasetFileId(row.text(2)),
                 .name = row.text(3),
                 .lengthBytes = row.size(4),
                 .href = row.text(5)};
  file.path = pathOf(file.remote.datasetFileId.value(), file.remote.name, row.integer(6));
  const std::string state = row.text(7);
  file.state = known(model::fileStateFrom(state), state);
  file.sha256 = core::hexOf(row.text(8));
  file.records = row.optionalSize(9);
  file.unproven = row.flag(10);
  if (file.state != model::FileState::partial) return file;
  Query ranges(database, "SELECT first, \"end\" FROM file_range WHERE file = ? ORDER BY first");
  ranges.with(file.id);
  while (ranges.next()) file.done.push_back({.first = ranges.size(0), .end = ranges.size(1)});
  if (!file.done.empty()) file.part = readPart(database, file.id);
  return file;
}

model::JobStatus statusNow(JobStatus stored, bool held) {
  switch (stored) {
    case JobStatus::cancelled:
    case JobStatus::succeeded:
    case JobStatus::waiting:
      return stored;
    case JobStatus::pending:
    case JobStatus::running:
    case JobStatus::interrupted:
    case JobStatus::blocked:
    case JobStatus::failed:
      return held ? JobStatus::running : stored;
  }
  return stored;
}

std::vector<JobStatus> storedStatusesFor(JobStatus status) {
  constexpr std::array kStored = {JobStatus::pending, JobStatus::waiting,   JobStatus::interrupted, JobStatus::blocked,
                                  JobStatus::failed,  JobStatus::cancelled, JobStatus::succeeded};
  std::vector<JobStatus> stored;
  for (const JobStatus candidate : kStored) {
    if (statusNow(candidate, false) == status || statusNow(candidate, true) == status) stored.push_back(candidate);
  }
  return stored;
}

}  // namespace caiexport::store
