#pragma once
/// The views that `history --sql` reads, as both kinds of databases make them.

#include <array>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/store/history.h"
#include "postgres.h"

namespace caiexport::store {

struct View {
  const char* name;
  /// `@name` stands for an RFC 3339 text of the column `name`, in milliseconds; words after a `$` are those of
  /// ViewWords.
  const char* select;
};

inline constexpr std::array kViews = {
    View{"jobs",
         "SELECT id AS job, kind, source_id, org_id, sandbox,"
         " $status AS status,"
         " step, dataset_id, export_job_id, segment_job_id, remote_status,"
         " $batch_ids AS batch_ids,"
         " files, bytes, records, reported_profiles, output,"
         " @created_at, @updated_at, @finished_at,"
         " error_category, error_message, error_request_id, error_hint, @evaluated_at, version"
         " FROM $schema.job"},
    View{"steps",
         "SELECT job, position, name, state, @started_at, @finished_at, attempts, @intended_at, @deadline"
         " FROM $schema.step"},
    View{"files",
         "SELECT file.job AS job, name,"
         " CASE in_folder WHEN 0 THEN name"
         " ELSE dataset_file_id || substr('~~~~~~~~', 1, CAST(in_folder - 1 AS INTEGER)) || '/' || name END AS path,"
         " batch.remote_id AS batch_id, dataset_file_id, length AS bytes, $sha256 AS sha256,"
         " file.records AS records, state"
         " FROM $schema.file"
         " JOIN $schema.batch ON batch.id = file.batch"},
    View{"runs",
         "SELECT run.id AS run, dataset_id, org_id, sandbox, output, version, pid, @started_at, @ended_at, status, job,"
         " jobs, replaced, newest_batch, @newest_created,"
         " error_category, error_message, error_request_id, error_hint"
         " FROM $schema.run"
         " JOIN $schema.sync_source ON sync_source.id = run.source"},
    View{"events", "SELECT job, @at, step, what, detail FROM $schema.event"},
};

/// What each kind of database says in its own words.
struct ViewWords {
  std::string_view status;      ///< Of the row of `job`, as the locks are now.
  std::string_view batchIds;    ///< Of the row of `job`, a list in JSON.
  std::string_view sha256;      ///< In lower-case hex.
  std::string_view beforeTime;  ///< The column stands between these two.
  std::string_view afterTime;
  std::string_view schema;  ///< Where the tables are.
};
std::string inWords(std::string_view select, const ViewWords& words);

/// Error(usage) with the ways that are allowed.
[[noreturn]] void refuseSql(const std::string& reason);

/// History::runSql, with a server.
void runSqlOnServer(Postgres& server, std::string_view sql,
                    const std::function<void(const std::vector<std::string>&)>& columns,
                    const std::function<bool(const std::vector<History::SqlCell>&)>& row, const std::stop_token& stop);

}  // namespace caiexport::store
