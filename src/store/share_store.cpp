#include "caiexport/store/share_store.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "caiexport/core/clock.h"
#include "caiexport/store/database.h"
#include "caiexport/store/leases.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using core::Category;
using core::Error;
using model::numberOf;

/// A file that could not be had so often, by whichever worker, is given up.
constexpr int kMostFailures = 3;
/// Enough to share evenly what is left, and little enough to be there in no time.
constexpr int kFilesAhead = 1000;
/// At a time: a commit for each file would be the limit, and many would be lost with a worker.
constexpr std::size_t kMostAtOnce = 16;
/// How long all workers go slower after one of them was asked to.
constexpr int kThrottledMs = 30000;

const std::string kNow(kServerNow);
const std::string kAlive =
    "EXISTS (SELECT 1 FROM worker WHERE worker.id = file.worker AND worker.until > " + kNow + ")";
const std::string kUnfinished = "file.state IN ('pending', 'partial', 'failed')";
const std::string kTried = "coalesce(file.failures, 0)";
const std::string kMost = std::to_string(kMostFailures);

std::string textOf(const Error& error) {
  return std::string(core::nameOf(error.category())) + "\n" + error.what();
}

Error errorFrom(const std::string& text) {
  const std::size_t end = text.find('\n');
  if (end == text.npos) return {Category::unavailable, text};
  return {core::categoryFrom(text.substr(0, end)), text.substr(end + 1)};
}

}  // namespace

std::string arrayOf(std::span<const std::int64_t> numbers) {
  std::string text = "{";
  for (const std::int64_t number : numbers) text += (text.size() > 1 ? "," : "") + std::to_string(number);
  return text + "}";
}

void requireHeld(Database& database, std::span<const std::int64_t> files, Holder holder) {
  if (database.server() == nullptr || files.empty()) return;
  Query rows(database, "SELECT file.worker, CASE WHEN job.share IS NULL THEN 0 ELSE 1 END, " + kUnfinished +
                           " FROM file"
                           " JOIN job ON job.id = file.job"
                           " WHERE file.id = ANY(CAST(? AS bigint[]))"
                           " FOR UPDATE OF file");
  rows.with(arrayOf(files));
  while (rows.next()) {
    const bool mine = !rows.isNull(0) && rows.integer(0) == database.server()->worker();
    const bool nobodys = rows.isNull(0) && (!rows.flag(1) || holder == Holder::head);
    if (nobodys || (mine && rows.flag(2))) continue;
    throw Error(Category::unavailable, "a file that this process was about to record is another worker's by now",
                {.hint = "this process has stopped, the others go on"});
  }
}

ShareStore::ShareStore(Database& database, Leases& leases) : database_(database), leases_(leases) {}

void ShareStore::enter(model::JobId job) {
  const std::int64_t me = leases_.worker();
  after_ = 0;
  recorded(database_, {}, "enter", [&] {
    Query(database_, "UPDATE worker SET job = ? WHERE id = ?").with(numberOf(job), me).run();
    Query(database_,
          "UPDATE file SET failures = NULL, failure = NULL"
          " WHERE job = ? AND failures IS NOT NULL AND NOT EXISTS ("
          "   SELECT 1 FROM worker WHERE worker.job = file.job AND worker.id <> ? AND worker.until > " +
              kNow + ")")
        .with(numberOf(job), me)
        .run();
  });
}

ShareStore::Crew ShareStore::crew(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_,
              "SELECT count(worker.id), coalesce(sum(worker.id), 0),"
              " CASE WHEN max(throttled_at) > " +
                  kNow + " - " + std::to_string(kThrottledMs) +
                  " THEN 1 ELSE 0 END"
                  " FROM job"
                  " LEFT JOIN worker ON worker.job = job.id AND until > " +
                  kNow + " WHERE job.id = ?");
    row.with(numberOf(job)).next();
    // Files of one that is gone may lie before those that were looked at last.
    if (std::exchange(known_, row.integer(1)) != row.integer(1)) after_ = 0;
    return Crew{.workers = std::max(1U, static_cast<unsigned>(row.integer(0))), .throttled = row.flag(2)};
  });
}

void ShareStore::recordThrottled(model::JobId job) {
  recorded(database_, {}, "recordThrottled", [&] {
    Query(database_, "UPDATE job SET throttled_at = " + kNow + " WHERE id = ?").with(numberOf(job)).run();
  });
}

std::vector<ShareStore::Taken> ShareStore::take(model::JobId job, std::size_t most) {
  const std::int64_t me = leases_.worker();
  const auto takeAfter = [&](std::int64_t after, std::size_t wanted) {
    return recorded(database_, {}, "take", [&] {
      Query taking(database_,
                   "WITH free AS ("
                   "  SELECT file.id, file.worker, file.worker IS NULL AND file.fence IS NOT NULL AS keeps"
                   "  FROM file"
                   "  WHERE file.job = ?1 AND file.id > ?2 AND " +
                       kUnfinished + " AND " + kTried + " < " + kMost +
                       "  AND (file.worker IS NULL OR (file.worker <> ?3 AND NOT " + kAlive +
                       "))"
                       "  ORDER BY file.id"
                       "  LIMIT ?4"
                       "  FOR UPDATE OF file SKIP LOCKED)"
                       " UPDATE file"
                       " SET worker = ?3, fence = CASE WHEN free.keeps THEN file.fence ELSE ?3 END"
                       " FROM free"
                       " WHERE file.id = free.id"
                       " RETURNING file.id, CASE WHEN free.keeps THEN 1 ELSE 0 END, free.worker");
      taking.with(numberOf(job), after, me, static_cast<std::uint64_t>(wanted));
      std::vector<std::int64_t> all;
      std::vector<std::int64_t> anew;
      std::size_t orphans = 0;
      while (taking.next()) {
        all.push_back(taking.integer(0));
        if (!taking.flag(1)) anew.push_back(taking.integer(0));
        if (!taking.isNull(2)) ++orphans;
      }
      std::vector<Taken> taken;
      if (all.empty()) return taken;
      if (orphans > 0) {
        // What was recorded of them lies in .part files that may still be written to.
        Query(database_, "DELETE FROM file_range WHERE file = ANY(CAST(? AS bigint[]))").with(arrayOf(anew)).run();
        Query(database_, "DELETE FROM file_part WHERE file = ANY(CAST(? AS bigint[]))").with(arrayOf(anew)).run();
        saveEvent(database_, job, core::systemClock().now(), model::StepName::downloadFiles, "files_taken_over",
                  std::to_string(orphans) + (orphans == 1 ? " file" : " files") + " of workers that are gone");
      }
      Query rows(database_, "SELECT " + std::string(kFileColumns) +
                                ", file.fence"
                                " FROM file"
                                " JOIN batch ON batch.id = file.batch"
                                " WHERE file.id = ANY(CAST(? AS bigint[]))"
                                " ORDER BY file.id");
      rows.with(arrayOf(all));
      while (rows.next()) taken.push_back({.file = readFile(database_, rows), .fence = rows.integer(11)});
      return taken;
    });
  };
  std::vector<Taken> taken = takeAfter(after_, most);
  if (!taken.empty()) after_ = taken.back().file.id;
  if (taken.size() < most && after_ != 0) {
    // Perhaps some before it are free by now. If not, all are looked at anew next time: they are few by then.
    after_ = 0;
    std::vector<Taken> before = takeAfter(0, most - taken.size());
    std::ranges::move(before, std::back_inserter(taken));
  }
  return taken;
}

std::size_t ShareStore::portion(model::JobId job, unsigned workers) {
  return reading(database_, [&] {
    Query row(database_, "SELECT count(*) FROM (SELECT 1 FROM file WHERE job = ? AND id > ? AND worker IS NULL AND " +
                             kUnfinished + " LIMIT " + std::to_string(kFilesAhead) + ") AS ahead");
    row.with(numberOf(job), after_).next();
    return std::clamp<std::size_t>(static_cast<std::size_t>(row.integer(0)) / (2 * std::max(1U, workers)), 1,
                                   kMostAtOnce);
  });
}

void ShareStore::giveBack(std::span<const std::int64_t> files) {
  if (files.empty()) return;
  recorded(database_, {}, "giveBack", [&] {
    Query(database_, "UPDATE file SET worker = NULL WHERE id = ANY(CAST(? AS bigint[])) AND worker = ?")
        .with(arrayOf(files), leases_.worker())
        .run();
  });
}

void ShareStore::recordFailure(std::int64_t file, const Error& error, bool keepsPart) {
  recorded(database_, {}, "recordFailure", [&] {
    requireHeld(database_, {&file, 1}, Holder::fetcher);
    Query(database_, "UPDATE file SET worker = NULL, failures = " + kTried + " + 1, failure = ? WHERE id = ?")
        .with(textOf(error), file)
        .run();
    if (keepsPart) return;
    Query(database_, "DELETE FROM file_range WHERE file = ?").with(file).run();
    Query(database_, "DELETE FROM file_part WHERE file = ?").with(file).run();
    Query(database_, "UPDATE file SET state = 'failed', fence = NULL, sha256 = NULL, records = NULL WHERE id = ?")
        .with(file)
        .run();
  });
}

ShareStore::Left ShareStore::left(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_, "SELECT count(*) FILTER (WHERE NOT held AND tried < " + kMost +
                             "), count(*) FILTER (WHERE held)," + " count(*) FILTER (WHERE NOT held AND tried >= " +
                             kMost + ")," + " min(failure) FILTER (WHERE NOT held AND tried >= " + kMost +
                             ")"
                             " FROM (SELECT file.worker IS NOT NULL AND " +
                             kAlive + " AS held, " + kTried + " AS tried, failure FROM file WHERE job = ? AND " +
                             kUnfinished + ") AS unfinished");
    row.with(numberOf(job)).next();
    Left left{.free = row.size(0), .held = row.size(1), .givenUp = row.size(2)};
    if (!row.isNull(3)) left.failure = errorFrom(row.text(3));
    return left;
  });
}

void ShareStore::forgetFailures(model::JobId job) {
  recorded(database_, {}, "forgetFailures", [&] {
    Query(database_, "UPDATE file SET failures = NULL, failure = NULL WHERE job = ? AND failures IS NOT NULL")
        .with(numberOf(job))
        .run();
  });
}

std::optional<model::JobId> ShareStore::underWay(const model::ExportRequest& request, std::string_view share) {
  return reading(database_, [&]() -> std::optional<model::JobId> {
    Query row(database_,
              "SELECT job.id"
              " FROM job"
              " JOIN lease ON lease.number = job.id"
              " JOIN worker ON worker.id = lease.worker AND worker.until > " +
                  kNow +
                  " WHERE kind = ? AND source_id = ? AND org_id = ? AND sandbox = ? AND output = ?"
                  " AND starts_with(share, ?)"
                  " ORDER BY job.id DESC LIMIT 1");
    row.with(nameOf(request.kind), request.sourceId, request.orgId, request.sandbox, request.output.string(), share);
    if (!row.next()) return std::nullopt;
    return model::JobId(row.integer(0));
  });
}

bool ShareStore::isLost() const {
  return leases_.lost().stop_requested();
}

Error ShareStore::lostError() const {
  return leases_.lostError();
}

std::vector<WorkerView> workersOf(Database& database, model::JobId job) {
  if (database.server() == nullptr) return {};
  return reading(database, [&] {
    Query rows(database,
               "SELECT id, host, pid,"
               " CASE WHEN EXISTS (SELECT 1 FROM lease WHERE lease.number = ?1 AND lease.worker = worker.id)"
               " THEN 1 ELSE 0 END,"
               " (SELECT count(*) FROM file WHERE file.job = ?1 AND file.worker = worker.id)"
               " FROM worker"
               " WHERE job = ?1 AND until > " +
                   kNow + " ORDER BY id");
    rows.with(numberOf(job));
    std::vector<WorkerView> workers;
    while (rows.next()) {
      workers.push_back({.id = rows.integer(0),
                         .host = rows.text(1),
                         .process = rows.integer(2),
                         .head = rows.flag(3),
                         .files = rows.size(4)});
    }
    return workers;
  });
}

}  // namespace caiexport::store
