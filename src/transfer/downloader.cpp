#include "caiexport/transfer/downloader.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"
#include "keeper.h"
#include "run_state.h"
#include "workers.h"

namespace caiexport::transfer {
namespace {

// Of one connection under a limit on the rate: what files of 64 KiB bring over a link of a quarter of a second.
constexpr std::uint64_t kLeastBytesPerSecond = 256U << 10U;

// Of a file that is here: its folder is synced and it is recorded together with others.
constexpr std::chrono::milliseconds kLongestUnannounced{100};

using File = Schedule::File;

/// One run of the downloader, on the thread that called it, which alone talks to the feed and to the observer. Owns the
/// state that all threads share (whose lock guards what comes in from them), the keeper and the workers.
class DownloadRun {
 public:
  DownloadRun(const DownloadTools& tools, Observer& observer, DownloadProgress& progress)
      : observer_(observer),
        run_(tools, progress, Connections::expectedBytesPerSecond(tools.settings)),
        keeper_(run_),
        workers_(run_, keeper_) {}
  ~DownloadRun() {
    run_.end();
    joinAll();
  }
  DownloadRun(const DownloadRun&) = delete;
  DownloadRun& operator=(const DownloadRun&) = delete;

  DownloadSummary toTheEnd(ItemFeed& feed, const std::stop_token& stop);

 private:
  void serve(ItemFeed& feed);
  void waitForCall(std::unique_lock<std::mutex>& lock);
  void allowConnections(const ItemFeed& feed);
  void takeItems(ItemFeed& feed);
  bool isDone() const;
  void deliver(std::vector<Result>& results);
  void deliverOne(const Result& result);
  void afterDelivery(const std::vector<Result>& results);
  void joinAll();
  void saveWhatArrived();
  void saveWhatArrived(FileTask& file);
  void rethrowProblem(const std::stop_token& stop);

  Observer& observer_;
  RunState run_;
  FileKeeper keeper_;
  Workers workers_;
  bool woken_ = false;  ///< By the feed; guarded by the run's lock.

  // Of this thread alone.
  DownloadSummary summary_;
  bool observerThrew_ = false;
};

DownloadSummary DownloadRun::toTheEnd(ItemFeed& feed, const std::stop_token& stop) {
  {
    const std::stop_callback onStop(stop, [this] { run_.end(); });
    try {
      serve(feed);
    } catch (...) {
      run_.endWith(std::current_exception());
    }
    feed.end();
    {
      const std::lock_guard lock(run_.mutex);
      run_.finished = true;
      run_.wakeAll();
    }
    joinAll();
  }
  if (run_.ending()) {
    saveWhatArrived();
    rethrowProblem(stop);
  }
  summary_.bytes = workers_.connections().keptBytes();
  summary_.gaveUp = run_.gaveUp && !(run_.exhausted && run_.schedule.empty());
  return std::move(summary_);
}

void DownloadRun::serve(ItemFeed& feed) {
  feed.begin([this] {
    const std::lock_guard lock(run_.mutex);
    woken_ = true;
    run_.served.notify_one();
  });
  allowConnections(feed);
  if (const auto bytes = feed.bytesAFile())
    workers_.prepare(*bytes, feed.latency().value_or(std::chrono::nanoseconds(0)));
  while (true) {
    std::vector<Result> results;
    bool woken = false;
    bool wants = false;
    {
      std::unique_lock lock(run_.mutex);
      waitForCall(lock);
      if (run_.ending() || isDone()) return;
      results.swap(run_.results);
      woken = std::exchange(woken_, false);
      if (woken) run_.dry = false;
      wants = workers_.wantsItem();
    }
    deliver(results);
    if (woken) {
      feed.attend();
      allowConnections(feed);
    }
    if (wants) takeItems(feed);
  }
}

/// Meanwhile, files that are renamed do not wait for more of them without end.
void DownloadRun::waitForCall(std::unique_lock<std::mutex>& lock) {
  const auto isCalled = [this] {
    return run_.ending() || !run_.results.empty() || woken_ || workers_.wantsItem() || isDone();
  };
  while (!isCalled()) {
    if (!keeper_.hasRenamed()) {
      run_.served.wait(lock);
    } else if (!run_.served.wait_for(lock, kLongestUnannounced, isCalled)) {
      lock.unlock();
      keeper_.announce(FileKeeper::Announce::now);
      lock.lock();
    }
  }
}

void DownloadRun::allowConnections(const ItemFeed& feed) {
  const std::optional<unsigned> most = feed.mostConnections();
  if (!most) return;
  const std::lock_guard lock(run_.mutex);
  workers_.connections().allow(*most);
}

void DownloadRun::takeItems(ItemFeed& feed) {
  bool more = true;
  while (more) {
    std::optional<DownloadItem> item = feed.next();
    const bool growing = !item && feed.mayGrow();
    const std::lock_guard lock(run_.mutex);
    if (growing) run_.dry = true;
    if (growing) return;
    if (!item) {
      run_.exhausted = true;
      run_.schedule.setExhausted();
      return;
    }
    if (run_.items == 0)
      workers_.connections().expectLatency(feed.latency().value_or(std::chrono::nanoseconds::zero()));
    ++run_.items;
    run_.schedule.add(std::make_shared<FileTask>(run_.at.files, std::move(*item)));
    workers_.connections().wakeForWork();
    more = !run_.ending() && run_.schedule.freshCount() < 2 * workers_.lookAhead();
  }
}

bool DownloadRun::isDone() const {
  if (!run_.results.empty()) return false;
  return (run_.exhausted && run_.schedule.empty()) || (run_.gaveUp && run_.schedule.begun().empty());
}

void DownloadRun::deliver(std::vector<Result>& results) {
  if (results.empty()) return;
  std::vector<Completion> completions;
  try {
    completions.reserve(results.size());
    for (Result& result : results) {
      if (result.kind == Result::Kind::completed) {
        completions.push_back(std::move(result.completion));
      } else {
        deliverOne(result);
      }
    }
    if (!completions.empty()) observer_.completed(std::move(completions));
  } catch (...) {
    observerThrew_ = true;
    throw;
  }
  const auto files = std::ranges::count_if(results, [](const Result& result) {
    return result.kind == Result::Kind::completed && !result.file->item.source;
  });
  summary_.completed += static_cast<std::uint64_t>(files);
  run_.progress.filesCompleted += static_cast<std::uint64_t>(files);
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
      if (!result.file->item.source) ++run_.progress.filesFailed;
      if (!summary_.firstError) summary_.firstError = *result.file->failure;
      break;
    case Result::Kind::completed:
      break;
  }
}

void DownloadRun::afterDelivery(const std::vector<Result>& results) {
  const std::lock_guard lock(run_.mutex);
  for (const Result& result : results) {
    const File& file = result.file;
    switch (result.kind) {
      case Result::Kind::restarted:
        if (file->again) {
          run_.schedule.replace(file, file->again);
          break;
        }
        file->item.done.clear();
        run_.schedule.addFirst(file);
        break;
      case Result::Kind::onDisk:
        if (!result.whole) break;
        file->stage = FileStage::publishing;
        keeper_.request(file);
        break;
      case Result::Kind::completed:
      case Result::Kind::failed:
        run_.schedule.retire(file);
        break;
    }
    run_.schedule.recorded(result.newBytes);
    // A file more may be begun, or a range more be fetched.
    workers_.connections().wakeForWork();
  }
}

void DownloadRun::joinAll() {
  std::vector<std::jthread> threads;
  {
    const std::lock_guard lock(run_.mutex);
    run_.finished = true;
    threads.swap(workers_.connections().threads());
    std::ranges::move(keeper_.threads(), std::back_inserter(threads));
    keeper_.threads().clear();
    run_.wakeAll();
  }
  threads.clear();
}

/// After an early end, when no other thread is left. A failure that is not ours to handle (a crash in a test, no
/// memory) and one of the observer leave everything as it is.
void DownloadRun::saveWhatArrived() {
  if (observerThrew_) return;
  try {
    if (run_.problem) std::rethrow_exception(run_.problem);
  } catch (const core::Error&) {
  } catch (...) {
    return;
  }
  try {
    keeper_.announce(FileKeeper::Announce::now);
    std::vector<Result> results;
    results.swap(run_.results);
    deliver(results);
    for (const File& file : run_.schedule.begun()) saveWhatArrived(*file);
  } catch (...) {
    if (!run_.problem) run_.problem = std::current_exception();
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
    if (!run_.problem) run_.problem = std::current_exception();
    return;
  }
  observer_.rangesOnDisk(file.item.key, synced.ranges, file.factsOf(synced));
}

void DownloadRun::rethrowProblem(const std::stop_token& stop) {
  if (run_.problem) std::rethrow_exception(run_.problem);
  if (stop.stop_requested() && !(run_.exhausted && run_.schedule.empty())) throw core::Interrupted();
}

}  // namespace

DownloadSettings within(std::uint64_t descriptors, DownloadSettings settings) {
  // Folders that are synced, the list that is read beside, names that are looked up, the database's own files.
  constexpr std::uint64_t kOthers = 14;
  constexpr std::uint64_t kOfAConnection = 3;  // its socket, and the pipe by which it is stopped
  constexpr std::uint64_t kFilesOfAConnection = 2;
  const std::uint64_t left = descriptors - std::min(descriptors, kOthers);
  const auto most = static_cast<unsigned>(
      std::clamp<std::uint64_t>(left / (kOfAConnection + kFilesOfAConnection), 1, mostConnections(settings)));
  if (settings.connections) settings.connections = most;
  settings.connectionsMax = most;
  settings.connectionsStart = std::min(settings.connectionsStart, most);
  const std::uint64_t taken = std::min(left, most * kOfAConnection);
  settings.mostOpenFiles = static_cast<std::size_t>(std::max<std::uint64_t>(1, left - taken));
  return settings;
}

unsigned mostConnections(const DownloadSettings& settings) {
  if (settings.connections) return std::max(1U, *settings.connections);
  const auto most = std::max<std::uint64_t>(1, settings.connectionsMax);
  if (settings.mostBytesPerSecond == 0) return static_cast<unsigned>(most);
  return static_cast<unsigned>(std::clamp<std::uint64_t>(settings.mostBytesPerSecond / kLeastBytesPerSecond, 1, most));
}

std::filesystem::path partPathFor(const std::filesystem::path& target, const std::string& tag) {
  // What file systems allow for a name.
  constexpr std::size_t kMostNameBytes = 255;
  constexpr std::size_t kKeptBytes = 200;
  const std::string ending = (tag.empty() ? "" : "." + tag) + ".part";
  // By hand: taking a std::filesystem::path apart and putting it together makes a list of its components each time.
  const std::string& whole = target.native();
  if (!tag.empty() && whole.ends_with(ending)) return target;
  // No name is longer than its path.
  if (whole.size() + ending.size() <= kMostNameBytes) return whole + ending;
  const std::size_t nameAt = whole.rfind('/') + 1;
  const std::string_view name = std::string_view(whole).substr(nameAt);
  if (name.size() + ending.size() <= kMostNameBytes) return whole + ending;
  core::Sha256 hash;
  hash.update(name);
  return whole.substr(0, nameAt + kKeptBytes) + "~" + hash.finish().substr(0, 16) + ending;
}

std::string partTagOf(const std::string& jobUuid) {
  constexpr std::size_t kLength = 8;
  return jobUuid.substr(0, kLength);
}

bool isFence(std::string_view text) {
  const std::size_t at = text.find('-');
  return core::parseUnsigned(text.substr(0, at)) && (at == text.npos || core::parseUnsigned(text.substr(at + 1)));
}

Downloader::Downloader(ByteSource& source, core::FileSystem& files, core::Clock& clock, core::Random& random,
                       core::Log& log, const DownloadSettings& settings)
    : source_(source), files_(files), clock_(clock), random_(random), log_(log), settings_(settings) {}

DownloadSummary Downloader::run(ItemFeed& feed, Observer& observer, DownloadProgress& progress, std::stop_token stop) {
  DownloadRun run({source_, files_, clock_, random_, log_, settings_}, observer, progress);
  return run.toTheEnd(feed, stop);
}

}  // namespace caiexport::transfer
