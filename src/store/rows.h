#pragma once
/// Rows to values, for the store and the history alike. SQLite::Exception passes through.

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "caiexport/model/job.h"
#include "failure.h"
#include "query.h"

namespace caiexport::store {

std::vector<model::Step> loadSteps(Database& database, model::JobId job);
/// With steps and batches; nothing if there is none.
std::optional<model::Job> loadJob(Database& database, model::JobId job);
[[noreturn]] void throwNoSuchJob(model::JobId job);

/// The columns that readFile wants, of `file` joined with `batch`.
extern const char* const kFileColumns;
/// Of a file within the folder of its batch; see the column in_folder.
std::string pathOf(const std::string& datasetFileId, const std::string& name, std::int64_t inFolder);
model::FileRecord readFile(Database& database, const Query& row);

/// Runs `body` in a read transaction and translates what SQLite throws.
template <class Body>
auto reading(Database& database, Body body) {
  try {
    Transaction transaction(database, Transaction::Kind::reading);
    return body();
  } catch (const SQLite::Exception& error) {
    throwDatabaseError("read", database.file(), error);
  }
}

/// The statuses that may read as this one when the locks are asked, in the names of the column job.status.
std::vector<model::JobStatus> storedStatusesFor(model::JobStatus status);
/// From the column and the lock to what model::statusOf says.
model::JobStatus statusNow(model::JobStatus stored, bool held);

}  // namespace caiexport::store
