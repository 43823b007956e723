#include "run.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "caiexport/core/error.h"

namespace caiexport::transfer {
namespace {

using model::ByteRange;

constexpr std::size_t kLeastLookAhead = 16;

ConcurrencyController::Limits limitsOf(const DownloadSettings& settings) {
  if (settings.connections) return {.start = *settings.connections, .most = *settings.connections, .adapts = false};
  const unsigned most = mostConnections(settings);
  return {.start = std::min(settings.connectionsStart, most),
          .most = most,
          .adapts = true,
          .processors = std::thread::hardware_concurrency()};
}

/// What a limit on the rate leaves to each connection; 0 without one.
double shareOfTheLimit(const DownloadSettings& settings) {
  return static_cast<double>(settings.mostBytesPerSecond) / limitsOf(settings).start;
}

}  // namespace

DownloadRun::DownloadRun(const DownloadTools& tools, Observer& observer, DownloadProgress& progress)
    : at_(tools),
      observer_(observer),
      progress_(progress),
      rateLimit_(tools.clock, tools.settings.mostBytesPerSecond),
      schedule_({.rangeBytes = std::max<std::uint64_t>(1, tools.settings.rangeBytes),
                 .longestResponse = tools.settings.longestResponse,
                 .expectedBytesPerSecond = shareOfTheLimit(tools.settings),
                 .tailBytes = tools.settings.tailBytes}),
      controller_(limitsOf(tools.settings)) {}

DownloadRun::~DownloadRun() {
  end();
  joinAll();
}

DownloadSummary DownloadRun::toTheEnd(ItemFeed& feed, const std::stop_token& stop) {
  {
    const std::stop_callback onStop(stop, [this] { end(); });
    try {
      serve(feed);
    } catch (...) {
      endWith(std::current_exception());
    }
    feed.end();
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
      wakeAll();
    }
    joinAll();
  }
  if (ending()) {
    saveWhatArrived();
    rethrowProblem(stop);
  }
  summary_.bytes = keptBytes_;
  summary_.gaveUp = gaveUp_ && !(exhausted_ && schedule_.empty());
  return std::move(summary_);
}

void DownloadRun::serve(ItemFeed& feed) {
  feed.begin([this] {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    served_.notify_one();
  });
  while (true) {
    std::vector<Result> results;
    bool woken = false;
    bool wants = false;
    {
      std::unique_lock lock(mutex_);
      served_.wait(lock, [this] { return ending() || !results_.empty() || woken_ || wantsItem() || isDone(); });
      if (ending() || isDone()) return;
      results.swap(results_);
      woken = std::exchange(woken_, false);
      if (woken) dry_ = false;
      wants = wantsItem();
    }
    deliver(results);
    if (woken) feed.attend();
    if (wants) takeItems(feed);
  }
}

void DownloadRun::takeItems(ItemFeed& feed) {
  bool more = true;
  while (more) {
    std::optional<DownloadItem> item = feed.next();
    const bool growing = !item && feed.mayGrow();
    const std::lock_guard lock(mutex_);
    if (growing) dry_ = true;
    if (growing) return;
    if (!item) {
      exhausted_ = true;
      schedule_.setExhausted();
      return;
    }
    if (items_ == 0) controller_.expectLatency(feed.latency().value_or(std::chrono::nanoseconds::zero()));
    ++items_;
    schedule_.add(std::make_shared<FileTask>(at_.files, std::move(*item)));
    wakeForWork();
    more = !ending() && schedule_.freshCount() < 2 * lookAhead();
  }
}

bool DownloadRun::isDone() const {
  if (!results_.empty()) return false;
  return (exhausted_ && schedule_.empty()) || (gaveUp_ && schedule_.begun().empty());
}

bool DownloadRun::wantsItem() const {
  return !exhausted_ && !dry_ && !gaveUp_ && schedule_.freshCount() < lookAhead();
}

std::size_t DownloadRun::lookAhead() const {
  return std::max<std::size_t>(kLeastLookAhead, controller_.limit());
}

void DownloadRun::deliver(const std::vector<Result>& results) {
  if (results.empty()) return;
  std::vector<Completion> completions;
  try {
    for (const Result& result : results) {
      if (result.kind == Result::Kind::completed) {
        completions.push_back(result.completion);
      } else {
        deliverOne(result);
      }
    }
    if (!completions.empty()) observer_.completed(completions);
  } catch (...) {
    observerThrew_ = true;
    throw;
  }
  summary_.completed += completions.size();
  progress_.filesCompleted += completions.size();
  afterDelivery(results);
}

void DownloadRun::deliverOne(const Result& result) {
  const std::int64_t key = result.file->item.key;
  switch (result.kind) {
    case Result::Kind::restarted:
      observer_.restarted(key, result.why);
      break;
    case Result::Kind::onDisk:
      observer_.rangesOnDisk(key, result.ranges, result.facts);
      break;
    case Result::Kind::failed:
      observer_.failed(key, *result.file->failure);
      ++summary_.failed;
      ++progress_.filesFailed;
      if (!summary_.firstError) summary_.firstError = *result.file->failure;
      break;
    case Result::Kind::completed:
      break;
  }
}

void DownloadRun::afterDelivery(const std::vector<Result>& results) {
  const std::lock_guard lock(mutex_);
  for (const Result& result : results) {
    const File& file = result.file;
    switch (result.kind) {
      case Result::Kind::restarted:
        if (file->again) {
          schedule_.replace(file, file->again);
          break;
        }
        file->item.done.clear();
        schedule_.addFirst(file);
        break;
      case Result::Kind::onDisk:
        if (!result.whole) break;
        file->stage = FileStage::publishing;
        requestChore(file);
        break;
      case Result::Kind::completed:
      case Result::Kind::failed:
        schedule_.retire(file);
        break;
    }
    schedule_.recorded(result.newBytes);
    // A file more may be begun, or a range more be fetched.
    wakeForWork();
  }
}

void DownloadRun::joinAll() {
  std::vector<std::jthread> threads;
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    threads.swap(workers_);
    std::move(keepers_.begin(), keepers_.end(), std::back_inserter(threads));
    keepers_.clear();
    wakeAll();
  }
  threads.clear();
}

/// After an early end, when no other thread is left. A failure that is not ours to handle (a crash in a test, no
/// memory) and one of the observer leave everything as it is.
void DownloadRun::saveWhatArrived() {
  if (observerThrew_) return;
  try {
    if (problem_) std::rethrow_exception(problem_);
  } catch (const core::Error&) {
  } catch (...) {
    return;
  }
  try {
    announce(Announce::now);
    std::vector<Result> results;
    results.swap(results_);
    deliver(results);
    for (const File& file : schedule_.begun()) saveWhatArrived(*file);
  } catch (...) {
    if (!problem_) problem_ = std::current_exception();
  }
}

void DownloadRun::saveWhatArrived(FileTask& file) {
  if (file.isOfAnotherFile() || file.isToBegin) return;
  if (file.part.unsyncedBytes() == 0) return;
  PartFile::Synced synced;
  try {
    synced = file.part.sync();
  } catch (const core::Error&) {
    // The other files may lie on another disk.
    if (!problem_) problem_ = std::current_exception();
    return;
  }
  observer_.rangesOnDisk(file.item.key, synced.ranges, factsOf(file, synced));
}

void DownloadRun::rethrowProblem(const std::stop_token& stop) {
  if (problem_) std::rethrow_exception(problem_);
  if (stop.stop_requested() && !(exhausted_ && schedule_.empty())) throw core::Interrupted();
}

void DownloadRun::wakeAll() {
  if (sleeping_) wake_.request_stop();
  workWanted_.notify_all();
  limitRaised_.notify_all();
  choreWanted_.notify_all();
  served_.notify_all();
}

void DownloadRun::push(Result result) {
  results_.push_back(std::move(result));
  served_.notify_one();
}

void DownloadRun::end() {
  inner_.request_stop();
  // A thread that is about to wait has the lock, or sees the stop.
  const std::lock_guard lock(mutex_);
  wakeAll();
}

void DownloadRun::endWith(std::exception_ptr problem) {
  {
    const std::lock_guard lock(mutex_);
    if (!problem_) problem_ = std::move(problem);
  }
  end();
}

}  // namespace caiexport::transfer
