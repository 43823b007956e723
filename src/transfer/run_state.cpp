#include "run_state.h"

#include <algorithm>
#include <memory>

#include "caiexport/core/log.h"
#include "caiexport/core/text.h"

namespace caiexport::transfer {

RunState::RunState(const DownloadTools& tools, DownloadProgress& live, double expectedBytesPerSecond)
    : at(tools),
      progress(live),
      schedule({.rangeBytes = std::max<std::uint64_t>(1, tools.settings.rangeBytes),
                .longestResponse = tools.settings.longestResponse,
                .expectedBytesPerSecond = expectedBytesPerSecond,
                .tailBytes = tools.settings.tailBytes}) {}

void RunState::end() {
  inner.request_stop();
  // A thread that is about to wait has the lock, or sees the stop.
  const std::lock_guard lock(mutex);
  wakeAll();
}

void RunState::endWith(std::exception_ptr why) {
  {
    const std::lock_guard lock(mutex);
    if (!problem) problem = std::move(why);
  }
  end();
}

void RunState::wakeAll() {
  if (sleeping) wake.request_stop();
  workWanted.notify_all();
  limitRaised.notify_all();
  choreWanted.notify_all();
  served.notify_all();
}

void RunState::tell(Result&& result) {
  results.push_back(std::move(result));
  served.notify_one();
}

void RunState::failFile(FileTask& file, const core::Error& error) {
  file.failure = error;
  schedule.abandon(file);
}

void RunState::beginAgain(const Schedule::File& file, const core::Error& why, core::SteadyTime notBefore) {
  if (file->restarts >= static_cast<unsigned>(std::max(1, at.settings.retry.furtherTries))) {
    return failFile(*file, why);
  }
  auto again = std::make_shared<FileTask>(at.files, DownloadItem(file->item));
  again->item.done.clear();
  again->item.part = {};
  again->restarts = file->restarts + 1;
  again->ignoresRanges = file->ignoresRanges;
  again->tailFirst = !file->ignoresRanges;
  again->notBefore = notBefore;
  file->isToBegin = true;
  file->again = std::move(again);
  ++progress.retries;
  at.log.write(core::LogLevel::info, "restart",
               {{"file", core::printable(file->item.remote.name)}, {"reason", why.what()}});
  failFile(*file, why);
}

}  // namespace caiexport::transfer
