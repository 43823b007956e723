#include "record.h"

#include <chrono>
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

void watch(const store::Location& location, model::JobId job, const std::stop_source& run, core::Clock& clock,
           core::Log& log, const std::stop_token& ended) {
  // A server that is away is not waited for: the run's own connection does that.
  const auto mode = location.isServer() ? store::Database::Mode::glance : store::Database::Mode::readOnly;
  std::unique_ptr<store::Database> database;
  bool told = false;
  do {
    try {
      if (!database) database = std::make_unique<store::Database>(location, mode);
      if (!store::JobStore(*database, clock).isCancelRequested(job)) continue;
      run.request_stop();
      return;
    } catch (const std::exception& error) {
      // The run itself asks between its steps, too; only the promptness is lost.
      if (!std::exchange(told, true)) log.write(core::LogLevel::warning, "cancel_watch", {{"error", error.what()}});
      if (!location.isServer()) return;
      database.reset();
    }
  } while (clock.sleep(kLookEvery, ended));
}

std::unique_ptr<Record> openServer(const store::Location& location, Record::Mode mode) {
  try {
    // What is only looked for is not made.
    if (mode == Record::Mode::readWrite) store::Database(location, Record::Mode::readOnly);
    return std::make_unique<Record>(location, mode);
  } catch (const core::Error& error) {
    if (error.category() == core::Category::notFound) return nullptr;
    throw;
  }
}

}  // namespace

std::unique_ptr<Record> Record::open(const store::Location& location, Mode mode) {
  if (location.isServer()) return openServer(location, mode);
  const fs::path& database = location.file();
  std::error_code ignored;
  // A folder above that can't be entered is an error that opening reports better.
  const fs::file_status status = fs::status(database, ignored);
  if (status.type() == fs::file_type::not_found) return nullptr;
  // An empty file holds no jobs, and to look at it is no reason to fill it.
  const bool empty = fs::is_regular_file(status) && fs::file_size(database, ignored) == 0 && !ignored;
  if (empty && !fs::exists(database.string() + "-wal", ignored)) return nullptr;
  return std::make_unique<Record>(location, mode);
}

Record::Record(const store::Location& database, Mode mode)
    : database_(database, mode), mode_(mode), history_(database_, [this](model::JobId job) { return isHeld(job); }) {
  if (mode == Mode::readWrite || database.isServer()) {
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
  fs::path file = database_.location().file();
  file += ".lock";
  return file;
}

core::Locks& Record::locks() {
  if (locks_) return *locks_;
  if (database_.location().isServer()) {
    auto leases = std::make_unique<store::Leases>(
        database_, mode_ == Mode::readWrite ? store::Leases::Use::hold : store::Leases::Use::look);
    leases_ = leases.get();
    locks_ = std::move(leases);
  } else {
    locks_ = std::make_unique<core::LockTable>(lockFile());
  }
  return *locks_;
}

std::stop_token Record::lost() const {
  return leases_ != nullptr ? leases_->lost() : std::stop_token();
}

void Record::requireHeld(bool afterFailure) const {
  if (leases_ != nullptr && afterFailure) leases_->check();
  if (lost().stop_requested()) throw leases_->lostError();
}

std::vector<store::SourceStatus> Record::sources() {
  return store::sourceStatuses(database_, history_, [this](std::int64_t source) {
    return locks_ && engine::syncHolder(*locks_, source).has_value();
  });
}

bool Record::isHeld(model::JobId job) const {
  return locks_ && engine::holderOf(*locks_, job).has_value();
}

CancelWatch::CancelWatch(store::Location database, model::JobId job, std::stop_source run, core::Clock& clock,
                         core::Log& log)
    : thread_([location = std::move(database), job, run = std::move(run), &clock, &log](const std::stop_token& ended) {
        watch(location, job, run, clock, log, ended);
      }) {}

}  // namespace caiexport::cli
