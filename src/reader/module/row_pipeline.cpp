#include "row_pipeline.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "caiexport/core/error.h"

namespace caiexport::reader {
namespace {

struct Task {
  Chunk chunk;
  std::uint64_t rows = 0;
  std::uint64_t number = 0;
};

/// The queue between the fetching thread and the workers, and whose turn it is to finish.
class Pipeline {
 public:
  explicit Pipeline(std::size_t longest) : longest_(longest) {}

  /// False when the run is over.
  bool put(Chunk chunk, std::uint64_t rows) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_ || queue_.size() < longest_; });
    if (over_) return false;
    queue_.push_back({std::move(chunk), rows, nextNumber_++});
    changed_.notify_all();
    return true;
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  void work(ChunkWork& worker) {
    try {
      while (std::optional<Task> task = take()) {
        worker.prepare(task->chunk.get(), task->rows);
        task->chunk.reset();
        if (!awaitTurn(task->number)) return;
        const bool goOn = worker.finish();
        endTurn(goOn, task->rows);
      }
    } catch (...) {
      fail(std::current_exception());
    }
  }

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    over_ = true;
    changed_.notify_all();
  }

  /// After all threads have ended.
  std::uint64_t result() const {
    if (error_) std::rethrow_exception(error_);
    return finishedRows_;
  }

 private:
  std::optional<Task> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_ || closed_ || !queue_.empty(); });
    if (over_ || queue_.empty()) return std::nullopt;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    changed_.notify_all();
    return task;
  }

  bool awaitTurn(std::uint64_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, number] { return over_ || turn_ == number; });
    return !over_;
  }

  void endTurn(bool goOn, std::uint64_t rows) {
    const std::lock_guard lock(mutex_);
    ++turn_;
    if (goOn) finishedRows_ += rows;
    if (!goOn) over_ = true;
    changed_.notify_all();
  }

  const std::size_t longest_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  std::uint64_t nextNumber_ = 0;
  std::uint64_t turn_ = 0;
  std::uint64_t finishedRows_ = 0;
  bool closed_ = false;
  bool over_ = false;
  std::exception_ptr error_;
};

void fetchAll(Rows& rows, std::uint64_t limit, Pipeline& pipeline, const std::stop_token& stop) {
  std::uint64_t left = limit;
  while (left > 0) {
    if (stop.stop_requested()) throw core::Interrupted();
    Chunk chunk = rows.next();
    if (chunk == nullptr) return;
    const std::uint64_t count = std::min<std::uint64_t>(left, duckdb_data_chunk_get_size(chunk.get()));
    left -= count;
    if (count > 0 && !pipeline.put(std::move(chunk), count)) return;
  }
}

}  // namespace

std::uint64_t processRows(Rows& rows, std::uint64_t limit, const std::vector<std::unique_ptr<ChunkWork>>& workers,
                          const std::stop_token& stop) {
  Pipeline pipeline(2 * workers.size());
  {
    std::vector<std::jthread> threads;
    threads.reserve(workers.size());
    try {
      for (const auto& worker : workers) {
        threads.emplace_back([&pipeline, &worker] { pipeline.work(*worker); });
      }
      fetchAll(rows, limit, pipeline, stop);
    } catch (...) {
      pipeline.fail(std::current_exception());
    }
    pipeline.close();
  }
  return pipeline.result();
}

}  // namespace caiexport::reader
