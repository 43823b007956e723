/// The part of JobStore that is about files that are listed: what becomes of them, and questions about them.
#include <algorithm>
#include <array>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "caiexport/store/job_store.h"
#include "file_rows.h"
#include "rows.h"

namespace caiexport::store {

using core::Category;
using core::Error;
using model::numberOf;

void throwNoBatch(model::JobId job, const model::BatchId& batch) {
  throw Error(Category::internal,
              "job " + std::to_string(numberOf(job)) + " has no batch " + batch.value() + " to list files of");
}

BatchRow batchRow(Database& database, model::JobId job, const model::BatchId& batch) {
  Query row(database, "SELECT id, listing FROM batch WHERE job = ? AND remote_id = ?");
  if (!row.with(numberOf(job), batch.value()).next()) throwNoBatch(job, batch);
  return {.id = row.integer(0), .listing = row.integer(1)};
}

/// Most files have none, and SQLite deletes from a table without row ids by way of a temporary one, found or not.
void deleteRanges(Database& database, std::int64_t file) {
  const bool any = Query(database, "SELECT 1 FROM file_range WHERE file = ?").with(file).next();
  if (!any) return;
  Query(database, "DELETE FROM file_range WHERE file = ?").with(file).run();
  Query(database, "DELETE FROM file_part WHERE file = ?").with(file).run();
}

std::string repeated(std::string_view one, std::size_t times) {
  std::string list;
  for (std::size_t n = 0; n < times; ++n) list.append(n == 0 ? "" : ", ").append(one);
  return list;
}

std::string chosenById(std::size_t rows, std::string_view column) {
  std::string sql = "CASE id";
  for (std::size_t n = 0; n < rows; ++n) sql += " WHEN ? THEN ?";
  return sql.append(" ELSE ").append(column).append(" END");
}

namespace {

constexpr std::string_view kPath =
    "(CASE file.in_folder WHEN 0 THEN file.name"
    " ELSE file.dataset_file_id || substr('~~~~~~~~', 1, CAST(file.in_folder - 1 AS INTEGER)) || '/' || file.name END)";

void requireFile(std::int64_t file, int rowsChanged) {
  if (rowsChanged == 0) {
    throw Error(Category::internal, "the job database has no file " + std::to_string(file) + " in the right state");
  }
}

/// Of several files, of which `first` is one.
void requireAll(std::int64_t first, std::size_t files, int rowsChanged) {
  if (static_cast<std::size_t>(rowsChanged) == files) return;
  throw Error(Category::internal, "the job database has not all of " + std::to_string(files) + " files, of which " +
                                      std::to_string(first) + " is one, in the right state");
}

void touchJobOf(Database& database, std::int64_t file, core::TimePoint now) {
  Query update(database, "UPDATE job SET updated_at = ? WHERE id = (SELECT job FROM file WHERE id = ?)");
  update.with(now, file).run();
}

/// Its content is wrong or gone: nothing that was recorded of it counts any more.
void failFile(Database& database, std::int64_t file) {
  deleteRanges(database, file);
  Query update(database, "UPDATE file SET state = 'failed', sha256 = NULL, records = NULL WHERE id = ?");
  requireFile(file, update.with(file).run());
}

void savePart(Database& database, std::int64_t file, const model::PartFacts& facts) {
  if (!facts.sum) return;
  Query insert(database,
               "INSERT INTO file_part (file, content_sum, etag, last_modified, tail_first, several_runs)"
               " VALUES (?, ?, ?, ?, ?, ?)");
  insert
      .with(file, static_cast<std::int64_t>(*facts.sum), orNull(facts.version.etag), orNull(facts.version.lastModified),
            facts.tailFirst, facts.severalRuns)
      .run();
}

std::string bytesOf(std::string_view hex) {
  const auto digit = [&](char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    throw Error(Category::internal, "\"" + std::string(hex) + "\" is not a SHA-256 in lower-case hex");
  };
  if (hex.size() != 64) throw Error(Category::internal, "\"" + std::string(hex) + "\" is not a SHA-256");
  std::string bytes;
  for (std::size_t at = 0; at < hex.size(); at += 2) {
    bytes += static_cast<char>(digit(hex[at]) * 16 + digit(hex[at + 1]));
  }
  return bytes;
}

/// Most files have none, see deleteRanges().
void deleteRangesOf(Database& database, std::span<const JobStore::Downloaded> files) {
  const auto [least, most] = std::ranges::minmax(files, {}, &JobStore::Downloaded::file);
  std::vector<std::int64_t> found;
  {
    Query rows(database, "SELECT DISTINCT file FROM file_range WHERE file BETWEEN ? AND ? ORDER BY file");
    rows.with(least.file, most.file);
    while (rows.next()) found.push_back(rows.integer(0));
  }
  for (const JobStore::Downloaded& file : files) {
    if (!std::ranges::binary_search(found, file.file)) continue;
    deleteRanges(database, file.file);
    // What is put together from pieces has ranges: all of it.
    if (database.server() != nullptr) Query(database, "DELETE FROM file_piece WHERE file = ?").with(file.file).run();
  }
}

template <class Rows>
std::vector<std::int64_t> numbersOf(const Rows& rows) {
  std::vector<std::int64_t> numbers;
  for (const auto& row : rows) numbers.push_back(row.file);
  return numbers;
}

/// Calls `use` with the longest pieces whose rows follow one another and are alike, for a statement about BETWEEN.
template <class Row, class Alike, class Use>
void inRuns(std::span<const Row> rows, Alike alike, Use use) {
  while (!rows.empty()) {
    std::size_t length = 1;
    while (length < rows.size() && alike(rows[length - 1], rows[length])) ++length;
    use(rows.first(length));
    rows = rows.subspan(length);
  }
}

void saveStarted(Database& database, std::span<const std::int64_t> files) {
  const std::string sql =
      "UPDATE file"
      " SET claimed = CASE claimed WHEN 0 THEN 1 ELSE claimed END,"
      " state = CASE state WHEN 'pending' THEN 'partial' ELSE state END"
      " WHERE id ";
  if (database.server() != nullptr) {
    Query update(database, sql + "= ANY(CAST(? AS bigint[]))");
    requireAll(files.front(), files.size(), update.with(arrayOf(files)).run());
    return;
  }
  Query update(database, sql + "BETWEEN ? AND ?");
  const auto follows = [](std::int64_t file, std::int64_t next) { return next == file + 1; };
  inRuns(files, follows, [&](std::span<const std::int64_t> run) {
    requireAll(run.front(), run.size(), update.with(run.front(), run.back()).run());
  });
}

void saveDownloaded(Database& database, std::span<const JobStore::Downloaded> files) {
  deleteRangesOf(database, files);
  const auto sql = [](std::size_t rows) {
    return "UPDATE file SET state = 'downloaded', claimed = 2, records = NULL, worker = NULL, sha256 = " +
           chosenById(rows, "sha256") + ", unproven = CASE WHEN id IN (" + repeated("?", rows) +
           ") THEN 1 ELSE 0 END WHERE id IN (" + repeated("?", rows) + ")";
  };
  inPieces(database, files, sql, [](Query& update, std::span<const JobStore::Downloaded> piece) {
    int index = 0;
    for (const JobStore::Downloaded& file : piece) {
      update.bind(++index, file.file);
      update.bind(++index, Blob{bytesOf(file.sha256)});
    }
    constexpr std::int64_t kNone = 0;
    for (const JobStore::Downloaded& file : piece) update.bind(++index, file.unproven ? file.file : kNone);
    for (const JobStore::Downloaded& file : piece) update.bind(++index, file.file);
    requireAll(piece.front().file, piece.size(), update.run());
  });
}

void saveVerifiedInFile(Database& database, std::span<const JobStore::Verified> files) {
  Query update(database,
               "UPDATE file SET state = 'verified', records = coalesce(?3, records)"
               " WHERE id BETWEEN ?1 AND ?2 AND state IN ('downloaded', 'verified')");
  const auto follows = [](const JobStore::Verified& file, const JobStore::Verified& next) {
    return next.file == file.file + 1 && next.records == file.records;
  };
  inRuns(files, follows, [&](std::span<const JobStore::Verified> run) {
    requireAll(run.front().file, run.size(), update.with(run.front().file, run.back().file, run.front().records).run());
  });
}

void saveVerified(Database& database, std::span<const JobStore::Verified> files) {
  if (database.server() == nullptr) return saveVerifiedInFile(database, files);
  const auto sql = [](std::size_t rows) {
    return "UPDATE file SET state = 'verified', records = coalesce(" + chosenById(rows, "records") +
           ", records) WHERE id IN (" + repeated("?", rows) + ") AND state IN ('downloaded', 'verified')";
  };
  inPieces(database, files, sql, [](Query& update, std::span<const JobStore::Verified> piece) {
    int index = 0;
    for (const JobStore::Verified& file : piece) {
      update.bind(++index, file.file);
      update.bind(++index, file.records);
    }
    for (const JobStore::Verified& file : piece) update.bind(++index, file.file);
    requireAll(piece.front().file, piece.size(), update.run());
  });
}

std::uint64_t lengthOf(Database& database, std::int64_t file) {
  Query row(database, "SELECT length FROM file WHERE id = ?");
  if (!row.with(file).next()) requireFile(file, 0);
  return row.size(0);
}

void saveRanges(Database& database, std::int64_t file, std::span<const model::ByteRange> done,
                const model::PartFacts& facts) {
  const auto ranges = model::normalized({done.begin(), done.end()}, lengthOf(database, file));
  deleteRanges(database, file);
  const auto sql = [](std::size_t rows) {
    return "INSERT INTO file_range (file, first, \"end\") VALUES " + repeated("(?, ?, ?)", rows);
  };
  inPieces(database, std::span(ranges), sql, [&](Query& insert, std::span<const model::ByteRange> piece) {
    int index = 0;
    for (const model::ByteRange& range : piece) {
      insert.bind(++index, file);
      insert.bind(++index, range.first);
      insert.bind(++index, range.end);
    }
    insert.run();
  });
  if (!ranges.empty()) savePart(database, file, facts);
  const auto state = ranges.empty() ? model::FileState::pending : model::FileState::partial;
  Query(database,
        "UPDATE file SET state = ?, claimed = CASE claimed WHEN 0 THEN 1 ELSE claimed END, sha256 = NULL, records = "
        "NULL WHERE id = ?")
      .with(nameOf(state), file)
      .run();
}

// --- asking

std::string inStates(std::size_t states) {
  return states == 0 ? std::string() : " AND state IN (" + repeated("?", states) + ")";
}

/// The SQL is the same for the same number of states, so that it is prepared once.
std::string filesSql(std::size_t states, std::string_view condition = {}) {
  return "SELECT " + std::string(kFileColumns) +
         " FROM file"
         " JOIN batch ON batch.id = file.batch"
         " WHERE file.job = ? AND file.id > ?" +
         inStates(states) + std::string(condition) + " ORDER BY file.id LIMIT ?";
}

constexpr std::string_view kOnceListed =
    " AND file.listing = batch.listing"
    " AND (file.claimed > 0 OR file.in_folder > 0 OR NOT EXISTS ("
    "   SELECT 1"
    "   FROM file AS other"
    "   WHERE other.batch = file.batch AND other.name = file.name AND other.id <> file.id))";

/// Rows of filesSql().
std::vector<model::FileRecord> readFiles(Database& database, const std::string& sql, model::JobId job,
                                         std::int64_t afterId, std::size_t limit,
                                         std::span<const model::FileState> states) {
  Query rows(database, sql);
  rows.with(numberOf(job), afterId);
  int index = 2;
  for (const model::FileState state : states) rows.bind(++index, nameOf(state));
  rows.bind(++index, static_cast<std::uint64_t>(limit));
  std::vector<model::FileRecord> files;
  while (rows.next()) files.push_back(readFile(database, rows));
  return files;
}

/// Of the files of jobs that write to the same folder: its name is the whole path, or what follows the folder.
std::string samePathSql(std::string_view columns) {
  return "SELECT " + std::string(columns) +
         " FROM batch"
         " JOIN job ON job.id = batch.job"
         " JOIN file ON file.batch = batch.id"
         " WHERE batch.remote_id = ?1 AND job.output = ?2 AND job.dataset_id = ?3"
         " AND file.name IN (?4, ?5) AND " +
         std::string(kPath) + " = ?4";
}

/// Other names under which jobs wrote the batch to the same folder: through a link, or a mount.
std::vector<std::string> otherNames(Database& database, const model::Job& job, const model::BatchId& batch) {
  Query rows(database,
             "SELECT DISTINCT job.output"
             " FROM batch"
             " JOIN job ON job.id = batch.job"
             " WHERE batch.remote_id = ? AND job.dataset_id = ? AND job.output <> ?");
  rows.with(batch.value(), job.datasetId.value(), job.request.output.string());
  std::vector<std::string> names;
  while (rows.next()) {
    std::error_code ignored;
    if (std::filesystem::equivalent(rows.text(0), job.request.output, ignored)) names.push_back(rows.text(0));
  }
  return names;
}

std::string_view nameInFolder(std::string_view path) {
  return path.substr(path.find('/') + 1);
}

}  // namespace

std::vector<model::FileRecord> JobStore::files(model::JobId job, std::int64_t afterId, std::size_t limit,
                                               std::span<const model::FileState> states) {
  return reading(database_, [&] { return readFiles(database_, filesSql(states.size()), job, afterId, limit, states); });
}

std::vector<model::FileRecord> JobStore::filesBeginningWith(model::JobId job, std::string_view name,
                                                            std::int64_t afterId, std::size_t limit) {
  return reading(database_, [&] {
    // CROSS: from the batches to the index of their names, not through all files.
    Query rows(database_, "SELECT " + std::string(kFileColumns) +
                              " FROM batch"
                              " CROSS JOIN file"
                              " WHERE batch.job = ? AND file.batch = batch.id AND file.name >= ? AND file.name < ?"
                              " AND file.id > ?"
                              " ORDER BY file.id LIMIT ?");
    std::string end(name);
    end.back() = static_cast<char>(end.back() + 1);
    rows.with(numberOf(job), name, end, afterId, static_cast<std::uint64_t>(limit));
    std::vector<model::FileRecord> files;
    while (rows.next()) files.push_back(readFile(database_, rows));
    return files;
  });
}

JobStore::BatchSums JobStore::sumsOf(model::JobId job, const model::BatchId& batch) {
  return reading(database_, [&]() -> BatchSums {
    Query sums(database_,
               "SELECT coalesce(min(id), 0), coalesce(max(id), 0), coalesce(sum(length), 0),"
               " CASE count(*) WHEN 0 THEN 0 ELSE sum(records) END" +
                   kOfBatch);
    sums.with(batchRow(database_, job, batch).id).next();
    return {.firstFile = sums.integer(0),
            .lastFile = sums.integer(1),
            .bytes = sums.size(2),
            .records = sums.optionalSize(3)};
  });
}

std::vector<JobStore::BatchFile> JobStore::filesOfBatch(model::JobId job, const model::BatchId& batch,
                                                        std::int64_t afterId, std::size_t limit) {
  return reading(database_, [&] {
    Query rows(database_,
               "SELECT id, dataset_file_id, name, in_folder, length, sha256, records"
               " FROM file"
               // The plus as in kOfBatch.
               " WHERE +batch = ?1 AND id > ?2 AND id <= (SELECT max(id) FROM file WHERE batch = ?1)"
               " ORDER BY id LIMIT ?3");
    rows.with(batchRow(database_, job, batch).id, afterId, static_cast<std::uint64_t>(limit));
    std::vector<BatchFile> files;
    while (rows.next()) {
      BatchFile& file = files.emplace_back(BatchFile{.file = rows.integer(0),
                                                     .datasetFileId = rows.text(1),
                                                     .name = rows.text(2),
                                                     .lengthBytes = rows.size(4),
                                                     .sha256 = core::hexOf(rows.text(5)),
                                                     .records = rows.optionalSize(6)});
      file.path = pathOf(file.datasetFileId, file.name, rows.integer(3));
    }
    return files;
  });
}

std::uint64_t JobStore::countFiles(model::JobId job, std::int64_t lastId, std::span<const model::FileState> states) {
  return reading(database_, [&] {
    Query row(database_, "SELECT count(*) FROM file WHERE job = ? AND id <= ?" + inStates(states.size()));
    row.with(numberOf(job), lastId);
    int index = 2;
    for (const model::FileState state : states) row.bind(++index, nameOf(state));
    row.next();
    return row.size(0);
  });
}

std::vector<model::FileRecord> JobStore::filesOnceListed(model::JobId job, std::int64_t afterId, std::size_t limit,
                                                         std::span<const model::FileState> states) {
  return reading(database_, [&] {
    return readFiles(database_, filesSql(states.size(), kOnceListed), job, afterId, limit, states);
  });
}

void JobStore::markStarted(std::span<const std::int64_t> files) {
  if (files.empty()) return;
  recorded(database_, probe_, "markStarted", [&] {
    requireHeld(database_, files, Holder::fetcher);
    saveStarted(database_, files);
    touchJobOf(database_, files.front(), clock_.now());
  });
}

void JobStore::recordRanges(std::int64_t file, std::span<const model::ByteRange> done, const model::PartFacts& facts) {
  recorded(database_, probe_, "recordRanges", [&] {
    requireHeld(database_, {&file, 1}, Holder::fetcher);
    saveRanges(database_, file, done, facts);
    touchJobOf(database_, file, clock_.now());
  });
}

void JobStore::recordDownloaded(std::span<const Downloaded> files) {
  if (files.empty()) return;
  recorded(database_, probe_, "recordDownloaded", [&] {
    requireHeld(database_, numbersOf(files), Holder::fetcher);
    saveDownloaded(database_, files);
    touchJobOf(database_, files.front().file, clock_.now());
  });
}

void JobStore::recordVerified(std::span<const Verified> files) {
  if (files.empty()) return;
  recorded(database_, probe_, "recordVerified", [&] {
    requireHeld(database_, numbersOf(files), Holder::head);
    saveVerified(database_, files);
    touchJobOf(database_, files.front().file, clock_.now());
  });
}

void JobStore::recordFileFailed(std::int64_t file) {
  recorded(database_, probe_, "recordFileFailed", [&] {
    requireHeld(database_, {&file, 1}, Holder::head);
    failFile(database_, file);
    touchJobOf(database_, file, clock_.now());
  });
}

void JobStore::recordWrong(model::JobId job, model::StepName step, std::span<const Wrong> files) {
  recorded(database_, probe_, "recordWrong", [&] {
    requireHeld(database_, numbersOf(files), Holder::head);
    const core::TimePoint now = clock_.now();
    for (const Wrong& file : files) {
      failFile(database_, file.file);
      saveEvent(database_, job, now, step, "file_wrong", file.why);
    }
    reopenStep(database_, job, step, now);
  });
}

void JobStore::forgetRanges(std::int64_t file) {
  recorded(database_, probe_, "forgetRanges", [&] {
    requireHeld(database_, {&file, 1}, Holder::fetcher);
    deleteRanges(database_, file);
    touchJobOf(database_, file, clock_.now());
  });
}

std::optional<model::FileRecord> JobStore::knownFile(const model::Job& job, const model::BatchId& batch,
                                                     std::string_view path, std::uint64_t lengthBytes) {
  return reading(database_, [&]() -> std::optional<model::FileRecord> {
    std::vector<std::string> outputs{job.request.output.string()};
    for (bool others = false;; others = true) {
      for (const std::string& output : outputs) {
        Query row(database_, samePathSql(kFileColumns) +
                                 " AND job.id <> ?6 AND file.length = ?7 AND file.sha256 IS NOT NULL"
                                 " ORDER BY file.id DESC"
                                 " LIMIT 1");
        row.with(batch.value(), output, job.datasetId.value(), path, nameInFolder(path), numberOf(job.id), lengthBytes);
        if (row.next()) return readFile(database_, row);
      }
      if (others) return std::nullopt;
      outputs = otherNames(database_, job, batch);
    }
  });
}

JobStore::Fetched JobStore::fetched(model::JobId job) {
  return reading(database_, [&] {
    Query row(database_, "SELECT count(*), coalesce(sum(length), 0)" + std::string(kAndPieces) +
                             " FROM file WHERE job = ?1 AND state IN ('downloaded', 'verified')");
    row.with(numberOf(job)).next();
    return Fetched{.files = row.size(0), .bytes = row.size(1)};
  });
}

bool JobStore::isRecordedPath(const model::Job& job, const model::BatchId& batch, std::string_view path) {
  return reading(database_, [&] {
    const auto isRecordedIn = [&](const std::string& output) {
      Query row(database_, samePathSql("1") + " AND file.claimed = 2 LIMIT 1");
      return row.with(batch.value(), output, job.datasetId.value(), path, nameInFolder(path)).next();
    };
    return isRecordedIn(job.request.output.string()) ||
           std::ranges::any_of(otherNames(database_, job, batch), isRecordedIn);
  });
}

}  // namespace caiexport::store
