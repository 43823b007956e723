#pragma once
/// What all parts of the store share: the frame of every reading and writing function, and rows to values and back.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "caiexport/model/export_request.h"
#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"
#include "caiexport/store/job_store.h"
#include "query.h"

namespace caiexport::store {

/// Runs `body` in a read transaction and translates what the database throws. With a server that was away meanwhile,
/// once more: it must change nothing but what it returns.
template <class Body>
auto reading(Database& database, Body body) {
  return withFailures(database, "read", [&] {
    Transaction transaction(database, Transaction::Kind::reading);
    return body();
  });
}

/// Runs `body` in one write transaction between two calls of the probe, and translates what the database throws. As
/// with reading(), all that it changes must be in the database.
template <class Body>
auto recorded(Database& database, const JobStore::Probe& probe, std::string_view call, Body body) {
  if (probe) probe(call, false);
  return withFailures(database, "write to", [&] {
    Transaction transaction(database, Transaction::Kind::writing);
    const auto commit = [&] {
      transaction.commit();
      if (probe) probe(call, true);
    };
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      commit();
    } else {
      auto result = body();
      commit();
      return result;
    }
  });
}

// --- Rows; what the database throws passes through.

std::vector<model::Step> loadSteps(Database& database, model::JobId job);
enum class Batches { load, leaveOut };
/// With its steps; nothing if there is none.
std::optional<model::Job> loadJob(Database& database, model::JobId job, Batches batches = Batches::load);
[[noreturn]] void throwNoSuchJob(model::JobId job);

/// For messages, which may repeat any bytes: what is not UTF-8, and NUL, as \xNN.
std::string readable(std::string_view text);

/// The columns that readFile wants, of `file` joined with `batch`.
extern const char* const kFileColumns;
/// Of a file within the folder of its batch; see the column in_folder.
std::string pathOf(const std::string& datasetFileId, const std::string& name, std::int64_t inFolder);
/// Four columns from `column` on; nothing if the first is NULL.
std::optional<model::JobError> readError(const Query& row, int column);
model::FileRecord readFile(Database& database, const Query& row);

/// The statuses that may read as this one when the locks are asked, in the names of the column job.status.
std::vector<model::JobStatus> storedStatusesFor(model::JobStatus status);
/// From the column and the lock to what model::statusOf says.
model::JobStatus statusNow(model::JobStatus stored, bool held);

// --- Rows of the table replaced_batch.

inline constexpr const char* kReplacementColumns = "batch_id, replaced_by, reason, action, path, done";

/// A row that selects kReplacementColumns.
inline model::Replacement readReplacement(const Query& row) {
  model::Replacement replacement;
  replacement.batch = model::BatchId(row.text(0));
  replacement.by = model::BatchId(row.text(1));
  replacement.reason = row.text(2);
  replacement.action = model::replaceActionFrom(row.text(3)).value_or(model::ReplaceAction::keep);
  replacement.path = row.text(4);
  replacement.done = row.flag(5);
  return replacement;
}

// --- Files of a job that several workers do (share_store.cpp); of others, and in a file's database, nothing of it
// costs.

/// Who writes of a file: one who fetches it, or the head of the job, of files that are here.
enum class Holder { fetcher, head };
/// The one condition of every write to rows of `file`: that no other worker holds them, and, of a shared job, that who
/// fetches a file holds it, and that it is not finished. Error(unavailable), nothing is written then. In a writing
/// transaction.
void requireHeld(Database& database, std::span<const std::int64_t> files, Holder holder);
/// For PostgreSQL: {1,2,3}
std::string arrayOf(std::span<const std::int64_t> numbers);

/// To be added to the bytes of job ?1 that are here: those of divided files. In a file's database there are none.
inline constexpr const char* kAndPieces =
    " + (SELECT coalesce(sum(\"end\" - first), 0) FROM file_piece JOIN file AS divided ON divided.id = file_piece.file"
    "    WHERE divided.job = ?1 AND turn < 2 AND file_piece.sha256 IS NOT NULL)";

/// Sums the files of the job up from those of its batches.
void sumUpJob(Database& database, model::JobId job);

/// A step that was done is to be worked on again, and the job with it.
void reopenStep(Database& database, model::JobId job, model::StepName step, core::TimePoint now);

void saveEvent(Database& database, model::JobId job, core::TimePoint now, std::optional<model::StepName> step,
               std::string_view what, std::string_view detail);

// --- The parts of a request that have no column of their own, as JSON (request_json.cpp).

/// All but kind, sourceId, orgId, sandbox and output. Error(internal) for text that is not UTF-8, which JSON can't
/// hold.
std::string requestToJson(const model::ExportRequest& request);

/// Fills in `request`. An absent field keeps its default, an unknown one is ignored. Error(io) for JSON that is broken
/// or of other types.
void requestFromJson(const std::string& json, model::ExportRequest& request);

}  // namespace caiexport::store
