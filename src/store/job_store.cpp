#include "caiexport/store/job_store.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/version.h"
#include "caiexport/model/job.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;
using model::numberOf;
using model::StepState;

// --- the job

std::string_view initialDataset(const model::ExportRequest& request) {
  switch (request.kind) {
    case model::Kind::dataset:
      return request.sourceId;
    case model::Kind::segment:
      return request.segment.targetDataset.value();
  }
  return {};
}

void insertSteps(Database& database, model::JobId job, std::span<const model::StepName> plan) {
  Query insert(database, "INSERT INTO step (job, position, name, state) VALUES (?, ?, ?, ?)");
  int position = 0;
  for (const model::StepName name : plan) {
    insert.with(numberOf(job), position++, nameOf(name), nameOf(StepState::pending)).run();
  }
}

/// For those who change the job by what they find in it. Nobody else (`cancel`, another host) does so meanwhile.
void lockJob(Database& database, model::JobId job) {
  Query row(database, "SELECT 1 FROM job WHERE id = ?" + std::string(forUpdate(database)));
  if (!row.with(numberOf(job)).next()) throwNoSuchJob(job);
}

/// Throws unless the update met the job's row.
void updateJob(Query& update, model::JobId job) {
  if (update.run() == 0) throwNoSuchJob(job);
}

void touch(Database& database, model::JobId job, core::TimePoint now) {
  Query update(database, "UPDATE job SET updated_at = ? WHERE id = ?");
  updateJob(update.with(now, numberOf(job)), job);
}

void setError(Database& database, model::JobId job, const std::optional<model::JobError>& error) {
  Query update(database,
               "UPDATE job"
               " SET error_category = ?, error_message = ?, error_request_id = ?, error_hint = ?"
               " WHERE id = ?");
  if (error) {
    update.with(nameOf(error->category), readable(error->message), orNull(readable(error->requestId)),
                orNull(readable(error->hint)), numberOf(job));
  } else {
    constexpr std::optional<std::string_view> kNone;
    update.with(kNone, kNone, kNone, kNone, numberOf(job));
  }
  updateJob(update, job);
}

/// The columns that follow from the steps. A job that goes on again loses its end.
void setStatus(Database& database, model::JobId id, std::span<const model::Step> steps, core::TimePoint now) {
  Query row(database, "SELECT cancelled, finished_at FROM job WHERE id = ?");
  if (!row.with(numberOf(id)).next()) throwNoSuchJob(id);
  model::Job job;
  job.cancelled = row.flag(0);
  job.steps.assign(steps.begin(), steps.end());
  const model::JobStatus status = statusOf(job, false);
  const bool ended = status == model::JobStatus::succeeded || status == model::JobStatus::failed ||
                     status == model::JobStatus::cancelled;
  std::optional<core::TimePoint> finishedAt;
  if (ended) finishedAt = row.isNull(1) ? now : row.time(1);
  const auto step = model::currentStep(steps);
  Query update(database, "UPDATE job SET status = ?, step = ?, updated_at = ?, finished_at = ? WHERE id = ?");
  update.with(nameOf(status), step ? std::optional(nameOf(*step)) : std::nullopt, now, finishedAt, numberOf(id)).run();
}

// --- steps

struct Place {
  int position;
  model::Step& step;
};

Place placeOf(std::vector<model::Step>& steps, model::JobId job, model::StepName name) {
  const auto found = std::ranges::find(steps, name, &model::Step::name);
  if (found == steps.end()) {
    throw Error(Category::internal,
                "job " + std::to_string(numberOf(job)) + " has no step " + std::string(nameOf(name)));
  }
  return {static_cast<int>(found - steps.begin()), *found};
}

void saveStep(Database& database, model::JobId job, const Place& place) {
  const model::Step& step = place.step;
  Query update(database,
               "UPDATE step"
               " SET state = ?, attempts = ?, started_at = ?, finished_at = ?, intended_at = ?, deadline = ?"
               " WHERE job = ? AND position = ?");
  update
      .with(nameOf(step.state), step.attempts, step.startedAt, step.finishedAt, step.intendedAt, step.deadline,
            numberOf(job), place.position)
      .run();
}

void requireLegal(model::JobId job, model::StepName name, StepState from, StepState to) {
  if (model::isLegalTransition(from, to)) return;
  throw Error(Category::internal, "step " + std::string(nameOf(name)) + " of job " + std::to_string(numberOf(job)) +
                                      " can't go from " + std::string(nameOf(from)) + " to " + std::string(nameOf(to)));
}

/// Changes one step as `change` says, and what follows from it.
template <class Change>
void changeStep(Database& database, model::JobId job, model::StepName name, core::TimePoint now, Change change) {
  lockJob(database, job);
  std::vector<model::Step> steps = loadSteps(database, job);
  const Place place = placeOf(steps, job, name);
  const StepState before = place.step.state;
  change(place.step);
  requireLegal(job, name, before, place.step.state);
  saveStep(database, job, place);
  setStatus(database, job, steps, now);
}

bool isDone(Database& database, model::JobId job) {
  const std::vector<model::Step> steps = loadSteps(database, job);
  return !steps.empty() && !model::currentStep(steps);
}

void enter(model::Step& step, StepState state) {
  step.state = state;
  step.deadline.reset();
  step.finishedAt.reset();
}

/// Whether another job asked for the like and does not know yet what became of it. What it asked for over an hour
/// before was in the lists that this job read before its own request.
bool mayBeOfAnother(Database& database, model::JobId job, const StepResult& result) {
  const bool isExport = result.exportJobId.has_value();
  if (!isExport && !result.segmentJobId) return false;
  Query open(database,
             "SELECT 1"
             " FROM job AS this"
             " JOIN step AS ours ON ours.job = this.id AND ours.name = ?2"
             " JOIN job AS other ON other.source_id = this.source_id AND other.kind = this.kind"
             " AND other.org_id = this.org_id AND other.sandbox = this.sandbox AND other.id <> this.id"
             " JOIN step AS theirs ON theirs.job = other.id AND theirs.name = ours.name"
             " WHERE this.id = ?1 AND theirs.state <> 'done'"
             " AND (theirs.intended_at = 0 OR theirs.intended_at > ours.intended_at - 3600000)"
             " AND CASE WHEN ?3 THEN other.export_job_id IS NULL AND other.dataset_id = this.dataset_id"
             " ELSE other.segment_job_id IS NULL END");
  const auto step = isExport ? model::StepName::startExport : model::StepName::evaluateSegment;
  return open.with(numberOf(job), nameOf(step), isExport).next();
}

// --- results

void saveBatch(Database& database, model::JobId job, int position, const model::Batch& batch) {
  Query insert(database,
               "INSERT INTO batch (job, position, remote_id, status, created, created_client, records, replay_reason,"
               " external_id)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
               " ON CONFLICT (job, remote_id) DO UPDATE"
               " SET position = excluded.position, status = excluded.status, created = excluded.created,"
               " created_client = excluded.created_client, records = excluded.records,"
               " replay_reason = excluded.replay_reason, external_id = excluded.external_id");
  insert
      .with(numberOf(job), position, batch.id.value(), batch.status, batch.created, batch.createdClient, batch.records,
            batch.replayReason, batch.externalId)
      .run();
}

void savePredecessors(Database& database, model::JobId job, const model::Batch& batch) {
  if (batch.predecessors.empty()) return;
  // Asked here, not by RETURNING: for that SQLite makes a table for each batch, and few have any.
  Query row(database, "SELECT id FROM batch WHERE job = ? AND remote_id = ?");
  row.with(numberOf(job), batch.id.value()).next();
  Query insert(database, "INSERT INTO batch_predecessor (batch, position, remote_id) VALUES (?, ?, ?)");
  int position = 0;
  for (const model::BatchId& predecessor : batch.predecessors) {
    insert.with(row.integer(0), position++, predecessor.value()).run();
  }
}

void saveBatches(Database& database, model::JobId job, std::span<const model::Batch> batches) {
  // At once, not for each: a dataset may have 100,000 batches.
  Query(database, "DELETE FROM batch_predecessor WHERE batch IN (SELECT id FROM batch WHERE job = ?)")
      .with(numberOf(job))
      .run();
  Query(database, "UPDATE batch SET position = -1 WHERE job = ?").with(numberOf(job)).run();
  int position = 0;
  for (const model::Batch& batch : batches) {
    saveBatch(database, job, position++, batch);
    savePredecessors(database, job, batch);
  }
  Query(database, "DELETE FROM batch WHERE job = ? AND position = -1").with(numberOf(job)).run();
  sumUpJob(database, job);
}

void saveSeen(Database& database, model::JobId job, model::StepName step, std::string_view kind,
              std::span<const std::string> ids) {
  Query insert(database,
               "INSERT INTO seen_before (job, step, kind, remote_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
  for (const std::string& id : ids) insert.with(numberOf(job), nameOf(step), kind, id).run();
}

template <class Tag>
std::optional<std::string> valueOf(const std::optional<model::Id<Tag>>& id) {
  return id ? std::optional(id->value()) : std::nullopt;
}

void saveResult(Database& database, model::JobId job, const StepResult& result) {
  Query update(database,
               "UPDATE job"
               " SET dataset_id = coalesce(?, dataset_id),"
               " dataset_created = CASE CAST(? AS INTEGER) WHEN 1 THEN 1 ELSE dataset_created END,"
               " export_job_id = coalesce(?, export_job_id),"
               " segment_job_id = coalesce(?, segment_job_id),"
               " reported_profiles = coalesce(?, reported_profiles),"
               " records = coalesce(?, records),"
               " evaluated_at = coalesce(?, evaluated_at),"
               " evaluation_since = coalesce(?, evaluation_since),"
               " expected_profiles = coalesce(?, expected_profiles),"
               " remote_status = coalesce(?, remote_status)"
               " WHERE id = ?");
  update.with(valueOf(result.datasetId), result.datasetCreated, valueOf(result.exportJobId),
              valueOf(result.segmentJobId), result.reportedProfiles, result.records, result.evaluatedAt,
              result.evaluationSince, result.expectedProfiles, orNull(result.remoteStatus), numberOf(job));
  updateJob(update, job);
  if (result.batches) saveBatches(database, job, *result.batches);
}

}  // namespace

void reopenStep(Database& database, model::JobId job, model::StepName name, core::TimePoint now) {
  lockJob(database, job);
  std::vector<model::Step> steps = loadSteps(database, job);
  const Place place = placeOf(steps, job, name);
  if (place.step.state != StepState::done) return touch(database, job, now);
  enter(place.step, StepState::pending);
  saveStep(database, job, place);
  setStatus(database, job, steps, now);
}

void saveEvent(Database& database, model::JobId job, core::TimePoint now, std::optional<model::StepName> step,
               std::string_view what, std::string_view detail) {
  Query insert(database, "INSERT INTO event (job, at, step, what, detail) VALUES (?, ?, ?, ?, ?)");
  insert.with(numberOf(job), now, step ? std::optional(nameOf(*step)) : std::nullopt, what, readable(detail)).run();
}

void sumUpJob(Database& database, model::JobId job) {
  Query update(database,
               "UPDATE job"
               " SET (files, bytes) = ("
               "   SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0)"
               "   FROM batch"
               "   WHERE job = ?1)"
               " WHERE id = ?1");
  update.with(numberOf(job)).run();
}

JobStore::JobStore(Database& database, core::Clock& clock, Probe probe)
    : database_(database), clock_(clock), probe_(std::move(probe)) {}

// --- the job

model::Job JobStore::createJob(const model::ExportRequest& request, std::string_view uuid,
                               std::span<const model::StepName> plan, std::string_view share) {
  return recorded(database_, probe_, "createJob", [&] {
    if (!share.empty()) {
      oneAtATime(database_);
      Query known(database_, "SELECT id FROM job WHERE org_id = ? AND sandbox = ? AND share = ?");
      if (known.with(request.orgId, request.sandbox, share).next()) {
        return loadJob(database_, model::JobId(known.integer(0))).value();
      }
    }
    Query insert(database_,
                 "INSERT INTO job (uuid, kind, source_id, org_id, sandbox, output, status, dataset_id,"
                 " created_at, updated_at, version, share)"
                 " VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?)"
                 " RETURNING id");
    const core::TimePoint now = clock_.now();
    insert.with(uuid, nameOf(request.kind), request.sourceId, request.orgId, request.sandbox, request.output.string(),
                orNull(initialDataset(request)), now, now, core::programVersion(), orNull(share));
    insert.next();
    const auto id = model::JobId(insert.integer(0));
    insert.next();
    Query(database_, "INSERT INTO request (job, json) VALUES (?, ?)").with(numberOf(id), requestToJson(request)).run();
    insertSteps(database_, id, plan);
    setStatus(database_, id, loadSteps(database_, id), now);
    return loadJob(database_, id).value();
  });
}

model::Job JobStore::load(model::JobId job) {
  auto found = find(job);
  if (!found) throwNoSuchJob(job);
  return std::move(*found);
}

std::optional<model::Job> JobStore::find(model::JobId job) {
  return reading(database_, [&] { return loadJob(database_, job); });
}

model::Job JobStore::outline(model::JobId job) {
  return reading(database_, [&] {
    auto found = loadJob(database_, job, Batches::leaveOut);
    if (!found) throwNoSuchJob(job);
    return std::move(*found);
  });
}

std::optional<model::JobId> JobStore::newestJob() {
  return reading(database_, [&]() -> std::optional<model::JobId> {
    Query row(database_, "SELECT id FROM job ORDER BY id DESC LIMIT 1");
    if (!row.next()) return std::nullopt;
    return model::JobId(row.integer(0));
  });
}

std::vector<model::JobId> JobStore::unfinishedJobs() {
  return reading(database_, [&] {
    Query rows(database_, "SELECT id FROM job WHERE status IN ('pending', 'waiting', 'interrupted') ORDER BY id");
    std::vector<model::JobId> jobs;
    while (rows.next()) jobs.push_back(model::JobId(rows.integer(0)));
    return jobs;
  });
}

// --- steps

void JobStore::beginAttempt(model::JobId job, model::StepName step) {
  recorded(database_, probe_, "beginAttempt", [&] {
    const core::TimePoint now = clock_.now();
    lockJob(database_, job);
    Query(database_, "UPDATE job SET finished_at = NULL WHERE id = ? AND cancelled = 0").with(numberOf(job)).run();
    changeStep(database_, job, step, now, [&](model::Step& changed) {
      ++changed.attempts;
      // Tried again, it has not failed; killed now, it is shown as interrupted.
      if (changed.state == StepState::failed) {
        changed.state = changed.intendedAt ? StepState::intended : StepState::pending;
      }
      if (!changed.startedAt) changed.startedAt = now;
    });
    setError(database_, job, std::nullopt);
  });
}

void JobStore::intend(model::JobId job, model::StepName step, core::TimePoint serverTime, bool renew,
                      const std::optional<SeenBefore>& before) {
  recorded(database_, probe_, "intend", [&] {
    changeStep(database_, job, step, clock_.now(), [&](model::Step& changed) {
      enter(changed, StepState::intended);
      if (renew || !changed.intendedAt) changed.intendedAt = serverTime;
    });
    if (!before) return;
    saveSeen(database_, job, step, "looked", std::array{std::string()});
    saveSeen(database_, job, step, "job", before->jobs);
    saveSeen(database_, job, step, "batch", before->batches);
    saveSeen(database_, job, step, "ended", before->ended);
  });
}

std::optional<SeenBefore> JobStore::seenBefore(model::JobId job, model::StepName step) {
  return reading(database_, [&] {
    std::optional<SeenBefore> before;
    Query rows(database_, "SELECT kind, remote_id FROM seen_before WHERE job = ? AND step = ?");
    rows.with(numberOf(job), nameOf(step));
    while (rows.next()) {
      if (!before) before.emplace();
      if (rows.text(0) == "job") before->jobs.push_back(rows.text(1));
      if (rows.text(0) == "batch") before->batches.push_back(rows.text(1));
      if (rows.text(0) == "ended") before->ended.push_back(rows.text(1));
    }
    return before;
  });
}

void JobStore::setWaiting(model::JobId job, model::StepName step, std::string_view remoteStatus,
                          std::optional<core::TimePoint> deadline) {
  recorded(database_, probe_, "setWaiting", [&] {
    changeStep(database_, job, step, clock_.now(), [&](model::Step& changed) {
      enter(changed, StepState::waiting);
      changed.deadline = deadline;
    });
    saveResult(database_, job, {.remoteStatus = std::string(remoteStatus)});
  });
}

void JobStore::finishStep(model::JobId job, model::StepName step, const StepResult& result) {
  recorded(database_, probe_, "finishStep", [&] {
    const core::TimePoint now = clock_.now();
    changeStep(database_, job, step, now, [&](model::Step& changed) {
      enter(changed, StepState::done);
      changed.finishedAt = now;
    });
    saveResult(database_, job, result);
    setError(database_, job, std::nullopt);
    // What asks to cancel only now comes too late: the record tells of the success alone.
    if (isDone(database_, job)) {
      Query(database_, "UPDATE job SET cancel_requested = 0 WHERE id = ?").with(numberOf(job)).run();
    }
  });
}

void JobStore::failStep(model::JobId job, model::StepName step, const model::JobError& error) {
  recorded(database_, probe_, "failStep", [&] {
    const core::TimePoint now = clock_.now();
    changeStep(database_, job, step, now, [&](model::Step& changed) {
      enter(changed, StepState::failed);
      changed.finishedAt = now;
    });
    setError(database_, job, error);
  });
}

void JobStore::blockStep(model::JobId job, model::StepName step, const model::JobError& error) {
  recorded(database_, probe_, "blockStep", [&] {
    changeStep(database_, job, step, clock_.now(), [](model::Step& changed) { enter(changed, StepState::blocked); });
    setError(database_, job, error);
  });
}

void JobStore::noteError(model::JobId job, const model::JobError& error) {
  recorded(database_, probe_, "noteError", [&] {
    setError(database_, job, error);
    touch(database_, job, clock_.now());
  });
}

void JobStore::unblock(model::JobId job, model::StepName step) {
  recorded(database_, probe_, "unblock", [&] {
    changeStep(database_, job, step, clock_.now(), [](model::Step& changed) {
      enter(changed, StepState::pending);
      changed.intendedAt.reset();
    });
    setError(database_, job, std::nullopt);
  });
}

void JobStore::recordRemoteJob(model::JobId job, const StepResult& result) {
  recorded(database_, probe_, "recordRemoteJob", [&] {
    saveResult(database_, job, result);
    touch(database_, job, clock_.now());
  });
}

bool JobStore::claimRemoteJob(model::JobId job, const StepResult& result) {
  return recorded(database_, probe_, "claimRemoteJob", [&] {
    oneAtATime(database_);
    Query taken(database_,
                "SELECT 1"
                " FROM job AS other"
                " JOIN job AS this ON this.org_id = other.org_id AND this.sandbox = other.sandbox"
                " WHERE this.id = ?1 AND other.id <> ?1"
                " AND (other.export_job_id = ?2 OR other.segment_job_id = ?3)");
    if (taken.with(numberOf(job), valueOf(result.exportJobId), valueOf(result.segmentJobId)).next()) return false;
    if (mayBeOfAnother(database_, job, result)) return false;
    saveResult(database_, job, result);
    touch(database_, job, clock_.now());
    return true;
  });
}

// --- cancelling

void JobStore::setOutput(model::JobId job, const std::filesystem::path& output) {
  recorded(database_, probe_, "setOutput", [&] {
    Query update(database_, "UPDATE job SET output = ?, updated_at = ? WHERE id = ?");
    updateJob(update.with(output.string(), clock_.now(), numberOf(job)), job);
    if (Query(database_, "SELECT 1 FROM job WHERE id = ? AND finished_at IS NOT NULL").with(numberOf(job)).next())
      return;
    Query(database_, "UPDATE file SET state = 'downloaded' WHERE job = ? AND state = 'verified'")
        .with(numberOf(job))
        .run();
  });
}

bool JobStore::requestCancel(model::JobId job) {
  return recorded(database_, probe_, "requestCancel", [&] {
    lockJob(database_, job);
    if (isDone(database_, job)) return false;
    Query update(database_, "UPDATE job SET cancel_requested = 1, updated_at = ? WHERE id = ?");
    updateJob(update.with(clock_.now(), numberOf(job)), job);
    return true;
  });
}

bool JobStore::isCancelRequested(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_, "SELECT cancel_requested FROM job WHERE id = ?");
    if (!row.with(numberOf(job)).next()) throwNoSuchJob(job);
    return row.flag(0);
  });
}

bool JobStore::markCancelled(model::JobId job, const model::JobError& error) {
  return recorded(database_, probe_, "markCancelled", [&] {
    lockJob(database_, job);
    if (isDone(database_, job)) return false;
    Query update(database_, "UPDATE job SET cancelled = 1 WHERE id = ?");
    updateJob(update.with(numberOf(job)), job);
    setError(database_, job, error);
    setStatus(database_, job, loadSteps(database_, job), clock_.now());
    return true;
  });
}

// --- what happened

void JobStore::addEvent(model::JobId job, std::optional<model::StepName> step, std::string_view what,
                        std::string_view detail) {
  recorded(database_, probe_, "addEvent", [&] {
    const core::TimePoint now = clock_.now();
    touch(database_, job, now);
    saveEvent(database_, job, now, step, what, detail);
  });
}

}  // namespace caiexport::store
