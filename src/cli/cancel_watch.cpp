#include "cancel_watch.h"

#include <exception>
#include <string>

#include "caiexport/core/clock.h"
#include "caiexport/core/log.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"

namespace caiexport::cli {
namespace {

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

CancelWatch::CancelWatch(std::filesystem::path database, model::JobId job, std::stop_source run, core::Clock& clock,
                         core::Log& log)
    : thread_([file = std::move(database), job, run = std::move(run), &clock, &log](const std::stop_token& ended) {
        watch(file, job, run, clock, log, ended);
      }) {}

}  // namespace caiexport::cli
