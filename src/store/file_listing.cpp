/// The part of JobStore that lists files, and gives them their places in the folder of their batch.
#include <algorithm>
#include <map>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "caiexport/store/job_store.h"
#include "file_rows.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using model::numberOf;

void startAgain(Database& database, std::int64_t file) {
  deleteRanges(database, file);
  // Whoever fetches it now fetches what is not listed any more.
  Query(database, "DELETE FROM file_piece WHERE file = ?").with(file).run();
  Query(database,
        "UPDATE file SET state = 'pending', sha256 = NULL, records = NULL, worker = NULL, fence = NULL,"
        " pieces_missing = NULL"
        " WHERE id = ?")
      .with(file)
      .run();
}

/// A name that is ours in the batch's folder: the platform's file of that name is never there, not even for a while.
void giveFolder(Database& database, const BatchRow& batch, const model::RemoteFile& file) {
  Query(database,
        "UPDATE file SET alias = 1, in_folder = CASE claimed WHEN 0 THEN 1 ELSE in_folder END"
        " WHERE batch = ? AND name = ? AND dataset_file_id = ? AND alias = 0")
      .with(batch.id, file.name, file.datasetFileId.value())
      .run();
}

void insertFiles(Database& database, model::JobId job, const BatchRow& batch,
                 std::span<const model::RemoteFile* const> files) {
  // To begin a statement costs as much as to add a row.
  constexpr std::size_t kInsertedTogether = 8;
  const auto sql = [](std::size_t rows) {
    return "INSERT INTO file (job, batch, dataset_file_id, name, name_hash, length, href, listing) VALUES " +
           repeated("(?, ?, ?, ?, 0, ?, ?, ?)", rows);
  };
  inPieces(
      database, files, sql,
      [&](Query& insert, std::span<const model::RemoteFile* const> piece) {
        int index = 0;
        for (const model::RemoteFile* file : piece) {
          insert.bind(++index, numberOf(job));
          insert.bind(++index, batch.id);
          insert.bind(++index, file->datasetFileId.value());
          insert.bind(++index, file->name);
          insert.bind(++index, file->lengthBytes);
          insert.bind(++index, orNull(file->href));
          insert.bind(++index, batch.listing);
        }
        insert.run();
      },
      kInsertedTogether);
}

struct Known {
  std::int64_t id;
  std::uint64_t lengthBytes;  ///< As recorded.
  const model::RemoteFile* file;
};

void updateFiles(Database& database, const BatchRow& batch, std::span<const Known> files) {
  const auto sql = [](std::size_t rows) {
    return "UPDATE file SET length = " + chosenById(rows, "length") + ", href = " + chosenById(rows, "href") +
           ", listing = ? WHERE id IN (" + repeated("?", rows) + ")";
  };
  inPieces(database, files, sql, [&](Query& update, std::span<const Known> piece) {
    int index = 0;
    for (const Known& known : piece) {
      update.bind(++index, known.id);
      update.bind(++index, known.file->lengthBytes);
    }
    for (const Known& known : piece) {
      update.bind(++index, known.id);
      update.bind(++index, orNull(known.file->href));
    }
    update.bind(++index, batch.listing);
    for (const Known& known : piece) update.bind(++index, known.id);
    update.run();
  });
}

/// What tells the files of a batch apart.
std::pair<std::string_view, std::string_view> keyOf(const model::RemoteFile* file) {
  return {file->name, file->datasetFileId.value()};
}

bool isSameFile(const model::RemoteFile* one, const model::RemoteFile* other) {
  return keyOf(one) == keyOf(other);
}

/// Of files in the order of their keys, those that are recorded. The platform lists by name, so that hardly anything
/// else lies between the first and the last; where much does, each name is looked up.
std::vector<Known> knownFiles(Database& database, const BatchRow& batch,
                              std::span<const model::RemoteFile* const> files) {
  const std::string select = "SELECT id, length, name, dataset_file_id FROM file WHERE batch = ? AND name ";
  std::vector<Known> known;
  const auto add = [&](const Query& row) {
    const std::pair key(row.view(2), row.view(3));
    const auto found = std::ranges::lower_bound(files, key, {}, keyOf);
    if (found == files.end() || keyOf(*found) != key) return;
    known.push_back({.id = row.integer(0), .lengthBytes = row.size(1), .file = *found});
  };
  {
    const std::size_t most = 2 * files.size();
    Query rows(database, select + "BETWEEN ? AND ? LIMIT ?");
    rows.with(batch.id, files.front()->name, files.back()->name, std::uint64_t{most + 1});
    std::size_t count = 0;
    for (; rows.next(); ++count) add(rows);
    if (count <= most) return known;
  }
  known.clear();
  const std::string* last = nullptr;
  for (const model::RemoteFile* file : files) {
    if (last != nullptr && *last == file->name) continue;
    last = &file->name;
    Query rows(database, select + "= ?");
    rows.with(batch.id, file->name);
    while (rows.next()) add(rows);
  }
  return known;
}

/// Of one batch; of those that are there twice the last counts.
void saveFiles(Database& database, model::JobId job, const BatchRow& batch,
               std::span<const model::RemoteFile* const> listed) {
  std::vector<const model::RemoteFile*> files(listed.begin(), listed.end());
  std::ranges::stable_sort(files, {}, keyOf);
  files.erase(files.begin(), std::unique(files.rbegin(), files.rend(), isSameFile).base());

  const std::vector<Known> known = knownFiles(database, batch, files);
  for (const Known& one : known) {
    if (one.lengthBytes != one.file->lengthBytes) startAgain(database, one.id);
  }
  updateFiles(database, batch, known);

  std::vector<const model::RemoteFile*> knownOnes(known.size());
  std::ranges::transform(known, knownOnes.begin(), &Known::file);
  std::ranges::sort(knownOnes);
  std::erase_if(files, [&](const auto* file) { return std::ranges::binary_search(knownOnes, file); });
  // As they were listed: they lie one behind the other.
  std::ranges::sort(files);
  insertFiles(database, job, batch, files);
}

void dropUnlisted(Database& database, const BatchRow& batch) {
  Query(database, "DELETE" + kOfBatch + "AND listing <> ?2 AND state NOT IN ('downloaded', 'verified')")
      .with(batch.id, batch.listing)
      .run();
}

/// Whether any files of the batch bear the same name; the index has the names in order.
bool shareNames(Database& database, const BatchRow& batch) {
  Query row(database, "SELECT 1 FROM file WHERE batch = ? GROUP BY name HAVING count(*) > 1 LIMIT 1");
  return row.with(batch.id).next();
}

/// What in_folder should be of `this`: 1 if another file bears the same name, or what the file system wants (`alias`).
std::string wantedFolder(Database& database, const BatchRow& batch, std::string_view ofOthers) {
  if (!shareNames(database, batch)) return "this.alias";
  return "(CASE WHEN EXISTS ("
         "  SELECT 1"
         "  FROM file AS other"
         "  WHERE other.batch = this.batch AND other.name = this.name AND other.id <> this.id" +
         std::string(ofOthers) + ") AND this.alias < 1 THEN 1 ELSE this.alias END)";
}

/// Gives the files of colliding names their folders, and others their plain path. A file whose path changes is not
/// where it was said to be: it starts again, unless it was moved.
void settlePaths(Database& database, const BatchRow& batch, std::span<const std::int64_t> moved) {
  std::vector<std::pair<std::int64_t, std::int64_t>> changed;
  {
    const std::string wanted = wantedFolder(database, batch, "");
    Query rows(database, "SELECT id, " + wanted + kOfBatch + "AND in_folder <> " + wanted);
    rows.with(batch.id);
    while (rows.next()) changed.emplace_back(rows.integer(0), rows.integer(1));
  }
  for (const auto& [file, inFolder] : changed) {
    Query(database, "UPDATE file SET in_folder = ? WHERE id = ?").with(inFolder, file).run();
    if (std::ranges::find(moved, file) != moved.end()) continue;
    startAgain(database, file);
    Query(database, "UPDATE file SET claimed = 0 WHERE id = ?").with(file).run();
  }
}

/// The job's sums change by as much as the batch's: to add up all batches after each would take quadratic time.
void sumUpBatch(Database& database, model::JobId job, const BatchRow& batch) {
  Query before(database,
               "UPDATE job SET (files, bytes) = (SELECT job.files - batch.files, job.bytes - batch.bytes"
               " FROM batch WHERE batch.id = ?2) WHERE id = ?1");
  before.with(numberOf(job), batch.id).run();
  Query(database,
        "UPDATE batch SET (files, bytes) = (SELECT count(*), coalesce(sum(length), 0)" + kOfBatch + ") WHERE id = ?1")
      .with(batch.id)
      .run();
  Query after(database,
              "UPDATE job SET (files, bytes) = (SELECT job.files + batch.files, job.bytes + batch.bytes"
              " FROM batch WHERE batch.id = ?2) WHERE id = ?1");
  after.with(numberOf(job), batch.id).run();
}

}  // namespace

void JobStore::beginListing(model::JobId job, const model::BatchId& batch) {
  recorded(database_, probe_, "beginListing", [&] {
    Query update(database_, "UPDATE batch SET listing = listing + 1 WHERE job = ? AND remote_id = ?");
    if (update.with(numberOf(job), batch.value()).run() == 0) throwNoBatch(job, batch);
    Query(database_, "UPDATE job SET updated_at = ? WHERE id = ?").with(clock_.now(), numberOf(job)).run();
  });
}

void JobStore::beginListing(model::JobId job) {
  recorded(database_, probe_, "beginListing", [&] {
    Query(database_, "UPDATE batch SET listing = listing + 1 WHERE job = ?").with(numberOf(job)).run();
    Query(database_, "UPDATE job SET updated_at = ? WHERE id = ?").with(clock_.now(), numberOf(job)).run();
  });
}

void JobStore::addFiles(model::JobId job, std::span<const model::RemoteFile> page) {
  if (page.empty()) return;
  recorded(database_, probe_, "addFiles", [&] {
    std::map<model::BatchId, std::vector<const model::RemoteFile*>> batches;
    for (const model::RemoteFile& file : page) batches[file.batchId].push_back(&file);
    for (const auto& [batch, files] : batches) {
      const BatchRow row = batchRow(database_, job, batch);
      saveFiles(database_, job, row, files);
      for (const model::RemoteFile* file : files) {
        if (model::isOwnName(file->name)) giveFolder(database_, row, *file);
      }
    }
    Query(database_, "UPDATE job SET updated_at = ? WHERE id = ?").with(clock_.now(), numberOf(job)).run();
  });
}

std::vector<JobStore::Displaced> JobStore::displacedFiles(model::JobId job, const model::BatchId& batch) {
  return reading(database_, [&] {
    const BatchRow row = batchRow(database_, job, batch);
    // Of the files that dropUnlisted leaves.
    const std::string wanted =
        wantedFolder(database_, row, " AND (other.listing = ?2 OR other.state IN ('downloaded', 'verified'))");
    Query rows(database_, "SELECT id, dataset_file_id, name, in_folder, " + wanted + kOfBatch +
                              "AND claimed > 0 AND (listing = ?2 OR state IN ('downloaded', 'verified'))"
                              " AND in_folder <> " +
                              wanted);
    rows.with(row.id, row.listing);
    std::vector<Displaced> displaced;
    while (rows.next()) {
      displaced.push_back({.file = rows.integer(0),
                           .from = pathOf(rows.text(1), rows.text(2), rows.integer(3)),
                           .to = pathOf(rows.text(1), rows.text(2), rows.integer(4))});
    }
    return displaced;
  });
}

bool JobStore::needsFolders(model::JobId job, const model::BatchId& batch) {
  return reading(database_, [&] {
    const BatchRow row = batchRow(database_, job, batch);
    Query found(database_, "SELECT 1" + kOfBatch + "AND " + wantedFolder(database_, row, "") + " > 0 LIMIT 1");
    return found.with(row.id).next();
  });
}

std::vector<JobStore::ListedName> JobStore::listedNames(model::JobId job, const model::BatchId& batch) {
  return reading(database_, [&] {
    const BatchRow row = batchRow(database_, job, batch);
    Query rows(database_, "SELECT id, dataset_file_id, name, alias" + kOfBatch +
                              "AND (listing = ?2 OR state IN ('downloaded', 'verified')) ORDER BY id");
    rows.with(row.id, row.listing);
    std::vector<ListedName> names;
    while (rows.next()) {
      names.push_back(
          {.file = rows.integer(0), .datasetFileId = rows.text(1), .name = rows.text(2), .alias = rows.integer(3)});
    }
    return names;
  });
}

void JobStore::setAliases(std::span<const Alias> aliases) {
  if (aliases.empty()) return;
  recorded(database_, probe_, "setAliases", [&] {
    for (const Alias& alias : aliases) {
      Query(database_, "UPDATE file SET alias = ? WHERE id = ?").with(alias.alias, alias.file).run();
    }
  });
}

void JobStore::finishListing(model::JobId job, const model::BatchId& batch, std::span<const std::int64_t> moved) {
  recorded(database_, probe_, "finishListing", [&] {
    const BatchRow row = batchRow(database_, job, batch);
    dropUnlisted(database_, row);
    settlePaths(database_, row, moved);
    sumUpBatch(database_, job, row);
    Query(database_, "UPDATE job SET updated_at = ? WHERE id = ?").with(clock_.now(), numberOf(job)).run();
  });
}

}  // namespace caiexport::store
