#include "caiexport/store/run_store.h"

#include <SQLiteCpp/Exception.h>

#include "recorded.h"
#include "rows.h"

namespace caiexport::store {
namespace {

/// An hourly run is remembered for more than a month.
constexpr std::int64_t kKeptOfASource = 1000;

std::optional<std::int64_t> orNone(std::int64_t number) {
  return number > 0 ? std::optional(number) : std::nullopt;
}

}  // namespace

RunStore::RunStore(Database& database, core::Clock& clock) : database_(database), clock_(clock) {}

std::int64_t RunStore::begin(const SyncPlace& place, std::string_view version, std::int64_t process) {
  const std::int64_t source = SyncStore(database_, clock_).sourceNumber(place);
  return recorded(database_, {}, "beginRun", [&] {
    Query(database_,
          "DELETE FROM run WHERE source = ?1 AND id <= (SELECT max(id) FROM run) - ?2"
          " AND id < (SELECT max(id) FROM run WHERE source = ?1 AND status = 'succeeded')")
        .with(source, kKeptOfASource)
        .run();
    Query insert(database_,
                 "INSERT INTO run (source, output, version, pid, started_at) VALUES (?, ?, ?, ?, ?) RETURNING id");
    insert.with(source, place.output.string(), version, process, clock_.now()).next();
    return insert.integer(0);
  });
}

void RunStore::end(std::int64_t run, const RunOutcome& outcome) {
  recorded(database_, {}, "endRun", [&] {
    const model::JobError error = outcome.error.value_or(model::JobError{});
    const std::string_view category = outcome.error ? core::nameOf(error.category) : "";
    // No optional: g++ 12 takes an empty one for an uninitialized value here. No batch is from 1970.
    const core::TimePoint created = outcome.newest ? outcome.newest->created : core::TimePoint();
    const std::string newest = outcome.newest ? outcome.newest->batch.value() : "";
    Query(database_,
          "UPDATE run"
          " SET ended_at = ?, status = ?, job = ?, jobs = ?, replaced = ?, newest_batch = ?,"
          " newest_created = NULLIF(?, 0),"
          " error_category = ?, error_message = ?, error_request_id = ?, error_hint = ?"
          " WHERE id = ?")
        .with(clock_.now(), outcome.status, orNone(outcome.job), outcome.jobs, outcome.replaced, orNull(newest),
              created, orNull(category), orNull(error.message), orNull(error.requestId), orNull(error.hint), run)
        .run();
  });
}

}  // namespace caiexport::store
