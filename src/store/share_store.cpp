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
/// Pieces are that many of a file, so that workers of any number end at about the same time, and those that come late
/// find some left...
constexpr std::uint64_t kPieces = 64;
/// ...but not smaller than what keeps several connections busy, and not larger than what may be lost with a worker.
constexpr std::uint64_t kLeastPieceBytes = 16U << 20U;
constexpr std::uint64_t kMostPieceBytes = 64U << 20U;
/// Of the end, which tells versions apart: as DownloadSettings::tailBytes. A Parquet file names there what it holds.
constexpr std::uint64_t kEndBytes = 256U << 10U;
/// How long all workers go slower after one of them was asked to.
constexpr int kThrottledMs = 30000;

const std::string kNow(kServerNow);
const std::string kAlive =
    "EXISTS (SELECT 1 FROM worker WHERE worker.id = file.worker AND worker.until > " + kNow + ")";
const std::string kUnfinished = "file.state IN ('pending', 'partial', 'failed')";
const std::string kTried = "coalesce(file.failures, 0)";
const std::string kMost = std::to_string(kMostFailures);
// Of a divided file.
const std::string kPieceHeld =
    "EXISTS (SELECT 1 FROM worker WHERE worker.id = file_piece.worker AND worker.until > " + kNow + ")";
const std::string kPieceFree =
    "file_piece.sha256 IS NULL AND NOT " + kPieceHeld +
    " AND NOT EXISTS (SELECT 1 FROM file_piece AS earlier WHERE earlier.file = file_piece.file"
    " AND earlier.turn < file_piece.turn AND earlier.sha256 IS NULL)";
/// Of the job ?1.
const std::string kFreePieces = " FROM file_piece JOIN file ON file.id = file_piece.file WHERE file.job = ?1 AND " +
                                kUnfinished + " AND " + kTried + " < " + kMost + " AND " + kPieceFree;
const std::string kPieceColumns =
    "file_piece.id, first, \"end\", file_piece.worker, sha256, etag, last_modified, earlier";

std::string textOf(const Error& error) {
  return std::string(core::nameOf(error.category())) + "\n" + error.what();
}

Error errorFrom(const std::string& text) {
  const std::size_t end = text.find('\n');
  if (end == text.npos) return {Category::unavailable, text};
  return {core::categoryFrom(text.substr(0, end)), text.substr(end + 1)};
}

void saveTakeover(Database& database, model::JobId job, std::size_t count, const std::string& what) {
  saveEvent(database, job, core::systemClock().now(), model::StepName::downloadFiles, "files_taken_over",
            std::to_string(count) + " " + what + (count == 1 ? "" : "s") + " of workers that are gone");
}

ShareStore::Piece pieceOf(const Query& row) {
  return {.key = -row.integer(0),
          .range = {row.size(1), row.size(2)},
          .worker = row.integer(3),
          .sha256 = row.text(4),
          .version = {.etag = row.text(5), .lastModified = row.text(6)},
          .earlier = row.flag(7)};
}

std::vector<ShareStore::Piece> piecesOf(Database& database, std::int64_t file) {
  Query rows(database, "SELECT " + kPieceColumns + " FROM file_piece WHERE file = ? ORDER BY first, turn");
  rows.with(file);
  std::vector<ShareStore::Piece> pieces;
  while (rows.next()) pieces.push_back(pieceOf(rows));
  return pieces;
}

/// The file of a piece that this worker fetches, locked before its pieces; nothing if the piece is gone: its file is
/// not divided any more.
std::optional<std::int64_t> fileOfHeld(Database& database, std::int64_t key) {
  Query row(database,
            "SELECT file.id FROM file JOIN file_piece ON file_piece.file = file.id"
            " WHERE file_piece.id = ? AND file_piece.worker = ? AND file_piece.sha256 IS NULL FOR UPDATE OF file");
  if (!row.with(-key, database.server()->worker()).next()) return std::nullopt;
  return row.integer(0);
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
    Query(database_,
          "UPDATE file_piece SET earlier = 1"
          " WHERE sha256 IS NOT NULL AND file IN (SELECT id FROM file WHERE job = ?1) AND NOT EXISTS ("
          "   SELECT 1 FROM worker WHERE worker.job = ?1 AND worker.id <> ?2 AND worker.until > " +
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
                       ")) AND coalesce(file.pieces_missing, 0) <= 0"
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
        saveTakeover(database_, job, orphans, "file");
      }
      Query rows(database_, "SELECT " + std::string(kFileColumns) +
                                ", file.fence,"
                                " CASE file.pieces_missing WHEN 0 THEN 1 ELSE 0 END"
                                " FROM file"
                                " JOIN batch ON batch.id = file.batch"
                                " WHERE file.id = ANY(CAST(? AS bigint[]))"
                                " ORDER BY file.id");
      rows.with(arrayOf(all));
      while (rows.next()) {
        taken.push_back({.file = readFile(database_, rows), .fence = rows.integer(11)});
        if (rows.flag(12)) taken.back().pieces = piecesOf(database_, taken.back().file.id);
      }
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

std::vector<ShareStore::Taken> ShareStore::takePieces(model::JobId job, std::size_t most) {
  const std::int64_t me = leases_.worker();
  return recorded(database_, {}, "takePieces", [&] {
    Query taking(database_, "WITH free AS (SELECT file_piece.id, file_piece.worker AS before" + kFreePieces +
                                " ORDER BY file_piece.id LIMIT ?2 FOR UPDATE OF file_piece SKIP LOCKED)"
                                " UPDATE file_piece SET worker = ?3 FROM free WHERE file_piece.id = free.id"
                                " RETURNING " +
                                kPieceColumns + ", file, free.before");
    taking.with(numberOf(job), static_cast<std::uint64_t>(most), me);
    std::vector<Taken> taken;
    std::size_t orphans = 0;
    while (taking.next()) {
      if (!taking.isNull(9)) ++orphans;
      Query row(database_, "SELECT " + std::string(kFileColumns) +
                               " FROM file JOIN batch ON batch.id = file.batch WHERE file.id = ?");
      row.with(taking.integer(8)).next();
      taken.push_back({.file = readFile(database_, row), .fence = me, .piece = pieceOf(taking)});
    }
    if (orphans > 0) saveTakeover(database_, job, orphans, "piece");
    return taken;
  });
}

bool ShareStore::split(std::int64_t file, unsigned workers) {
  return recorded(database_, {}, "split", [&] {
    requireHeld(database_, {&file, 1}, Holder::fetcher);
    Query row(database_, "SELECT job, length, name, (SELECT sum(length) FROM file WHERE file.job = this.job AND " +
                             kUnfinished +
                             ")"
                             " FROM file AS this WHERE id = ? AND pieces_missing IS NULL");
    if (!row.with(file).next()) return false;
    const std::uint64_t length = row.size(1);
    // Where only one is there, others may be about to come.
    if (length < kLeastDividedBytes || length <= row.size(3) / std::max(2U, workers)) return false;
    const std::uint64_t bytes = std::clamp(length / kPieces, kLeastPieceBytes, kMostPieceBytes);
    Query insert(
        database_,
        "INSERT INTO file_piece (file, turn, first, \"end\")"
        " SELECT of_file.id, 1, piece, least(piece + of_file.bytes, of_file.rest)"
        " FROM (SELECT CAST(? AS bigint) AS id, CAST(? AS bigint) AS bytes, CAST(? AS bigint) AS rest) AS of_file,"
        " generate_series(0, of_file.rest - 1, of_file.bytes) AS piece"
        " UNION ALL SELECT id, turn, length - ?, length FROM file, unnest(ARRAY[0, 2]) AS turn WHERE id = ?");
    const int pieces = insert.with(file, bytes, length - kEndBytes, kEndBytes, file).run();
    Query(database_, "UPDATE file SET worker = NULL, fence = NULL, pieces_missing = ? WHERE id = ?")
        .with(pieces, file)
        .run();
    saveEvent(database_, model::JobId(row.integer(0)), core::systemClock().now(), model::StepName::downloadFiles,
              "file_divided", "'" + readable(row.text(2)) + "' into " + std::to_string(pieces) + " pieces");
    return true;
  });
}

bool ShareStore::recordPiece(std::int64_t piece, const std::string& sha256, const model::FileVersion& version) {
  return recorded(database_, {}, "recordPiece", [&] {
    const std::optional<std::int64_t> file = fileOfHeld(database_, piece);
    if (!file) return false;
    Query update(database_, "UPDATE file_piece SET sha256 = ?, etag = ?, last_modified = ? WHERE id = ?");
    update.with(sha256, orNull(version.etag), orNull(version.lastModified), -piece);
    if (update.run() == 0) return false;
    // What could not be had a few times in a row is given up, not a few times in all pieces.
    Query(database_,
          "UPDATE file SET pieces_missing = pieces_missing - 1, failures = NULL, failure = NULL WHERE id = ?")
        .with(*file)
        .run();
    // It may have been the last, and the file is to be put together while others fetch.
    after_ = 0;
    return true;
  });
}

ShareStore::Portion ShareStore::portion(model::JobId job, unsigned workers) {
  return reading(database_, [&]() -> Portion {
    Query row(database_,
              "SELECT (SELECT count(*) FROM (SELECT 1 FROM file WHERE job = ?1 AND id > ?2 AND worker IS NULL AND " +
                  kUnfinished + " LIMIT " + std::to_string(kFilesAhead) + ") AS ahead), (SELECT count(*)" +
                  kFreePieces + ")");
    row.with(numberOf(job), after_).next();
    const std::size_t pieces = static_cast<std::size_t>(row.integer(1));
    return {.files = std::clamp<std::size_t>(
                static_cast<std::size_t>(row.integer(0)) / (std::size_t{2} * std::max(1U, workers)), 1, kMostAtOnce),
            // One to go on with at once; at the end that is for those who have none.
            .pieces = pieces == 0        ? std::size_t{0}
                      : pieces > workers ? std::size_t{2}
                                         : std::size_t{1}};
  });
}

void ShareStore::giveBack(std::span<const std::int64_t> held) {
  if (held.empty()) return;
  recorded(database_, {}, "giveBack", [&] {
    const std::string array = arrayOf(held);
    Query(database_, "UPDATE file SET worker = NULL WHERE id = ANY(CAST(? AS bigint[])) AND worker = ?")
        .with(array, leases_.worker())
        .run();
    Query(database_,
          "UPDATE file_piece SET worker = NULL WHERE -id = ANY(CAST(? AS bigint[])) AND worker = ? AND sha256 IS NULL")
        .with(array, leases_.worker())
        .run();
  });
}

void ShareStore::recordFailure(std::int64_t key, const Error& error, bool keepsPart) {
  recorded(database_, {}, "recordFailure", [&] {
    const std::optional<std::int64_t> whole = key < 0 ? fileOfHeld(database_, key) : key;
    if (!whole) return;
    const std::int64_t file = *whole;
    if (key < 0) {
      if (Query(database_, "UPDATE file_piece SET worker = NULL WHERE id = ?").with(-key).run() == 0) return;
    } else {
      requireHeld(database_, {&file, 1}, Holder::fetcher);
    }
    // Of a divided file, another way is still to be tried.
    const bool divided = !keepsPart && Query(database_, "DELETE FROM file_piece WHERE file = ?").with(file).run() > 0;
    if (divided) Query(database_, "UPDATE file SET pieces_missing = -1, worker = NULL WHERE id = ?").with(file).run();
    if (!divided) {
      Query(database_, "UPDATE file SET worker = NULL, failures = " + kTried + " + 1, failure = ? WHERE id = ?")
          .with(textOf(error), file)
          .run();
    }
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
                             kAlive + " OR coalesce(of_it.held AND NOT (of_it.free AND " + kTried + " < " + kMost +
                             "), FALSE) AS held, " + kTried +
                             " AS tried, failure"
                             "   FROM file"
                             "   LEFT JOIN (SELECT file_piece.file, bool_or(" +
                             kPieceHeld + ") AS held, bool_or(" + kPieceFree +
                             ") AS free FROM file_piece WHERE sha256 IS NULL GROUP BY file_piece.file) AS of_it"
                             "   ON of_it.file = file.id"
                             "   WHERE job = ? AND " +
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
               " (SELECT count(*) FROM file WHERE file.job = ?1 AND (file.worker = worker.id OR EXISTS ("
               "   SELECT 1 FROM file_piece WHERE file_piece.file = file.id AND file_piece.worker = worker.id"
               "   AND sha256 IS NULL)))"
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
