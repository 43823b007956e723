#include "record.h"

#include <exception>
#include <utility>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/engine/runner.h"
#include "caiexport/engine/sync.h"
#include "caiexport/store/job_store.h"

namespace caiexport::cli {

namespace {

namespace fs = std::filesystem;

// Obeyed within two seconds is what `cancel` promises.
constexpr core::Duration kLookEvery = std::chrono::seconds(1);

void watch(const std::filesystem::path& file, model::JobId job, const std::stop_source& run, core::Clock& clock,
           core::Log& log, const std::stop_token& ended) {
  try {
    store::Database database(file, store::Database::Mode::readOnly);
    store::JobStore store(database, clock);
    while (clock.sleep(kLookEvery, ended)) {
      if (!store.isCancelRequested(job)) continue;
      run.request_stop();
      return;
    }
  } catch (const std::exception& error) {
    // The run itself asks between its steps, too; only the promptness is lost.
    log.write(core::LogLevel::warning, "cancel_watch", {{"error", error.what()}});
  }
}

}  // namespace

std::unique_ptr<Record> Record::open(const fs::path& database, Mode mode) {
  std::error_code ignored;
  // A folder above that can't be entered is an error that opening reports better.
  const fs::file_status status = fs::status(database, ignored);
  if (status.type() == fs::file_type::not_found) return nullptr;
  // An empty file holds no jobs, and to look at it is no reason to fill it.
  const bool empty = fs::is_regular_file(status) && fs::file_size(database, ignored) == 0 && !ignored;
  if (empty && !fs::exists(database.string() + "-wal", ignored)) return nullptr;
  return std::make_unique<Record>(database, mode);
}

Record::Record(const fs::path& database, Mode mode)
    : database_(database, mode), history_(database_, [this](model::JobId job) { return isHeld(job); }) {
  if (mode == Mode::readWrite) {
    locks();
    return;
  }
  std::error_code ignored;
  if (!fs::exists(lockFile(), ignored)) return;
  try {
    locks();
  } catch (const core::Error&) {
    // Someone else's database: whether a job is held stays unknown, and is shown as not held.
  }
}

fs::path Record::lockFile() const {
  fs::path file = database_.file();
  file += ".lock";
  return file;
}

core::LockTable& Record::locks() {
  if (!locks_) locks_.emplace(lockFile());
  return *locks_;
}

std::vector<store::SourceStatus> Record::sources() {
  return store::sourceStatuses(database_, history_, [this](std::int64_t source) {
    return locks_ && engine::syncHolder(*locks_, source).has_value();
  });
}

bool Record::isHeld(model::JobId job) const {
  return locks_ && engine::holderOf(*locks_, job).has_value();
}

CancelWatch::CancelWatch(std::filesystem::path database, model::JobId job, std::stop_source run, core::Clock& clock,
                         core::Log& log)
    : thread_([file = std::move(database), job, run = std::move(run), &clock, &log](const std::stop_token& ended) {
        watch(file, job, run, clock, log, ended);
      }) {}

}  // namespace caiexport::cli
