#include "profile_set.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "caiexport/core/error.h"
#include "values.h"

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

std::span<const std::byte> bytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::unique_ptr<RowWriter> makeWriter(RowFormat format, const std::vector<Type>& columns) {
  switch (format) {
    case RowFormat::csv:
      return std::make_unique<CsvWriter>(columns, false);
    case RowFormat::csvExact:
      return std::make_unique<CsvWriter>(columns, true);
    case RowFormat::csvExcel:
      return std::make_unique<ExcelCsvWriter>(columns, ',');
    case RowFormat::csvExcelSemicolon:
      return std::make_unique<ExcelCsvWriter>(columns, ';');
    case RowFormat::csvExcelTab:
      return std::make_unique<ExcelCsvWriter>(columns, '\t');
    case RowFormat::jsonl:
      return std::make_unique<JsonLinesWriter>(columns);
  }
  throw core::Error(core::Category::internal, "an unknown format of rows");
}

/// Turns chunks into lines and writes them when it is their turn.
class LineWork final : public ChunkWork {
 public:
  LineWork(RowFormat format, const std::vector<Type>& columns, Output& output)
      : writer_(makeWriter(format, columns)), output_(output) {}

  void prepare(duckdb_data_chunk chunk, std::uint64_t rows) override {
    lines_.clear();
    writer_->bind(chunk);
    for (std::uint64_t row = 0; row < rows; ++row) writer_->append(lines_, row);
  }

  bool finish() override { return output_.write(bytesOf(lines_)); }

 private:
  std::unique_ptr<RowWriter> writer_;
  Output& output_;
  std::string lines_;
};

constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

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

std::uint64_t writeLines(Duck& duck, const RowSource& source, const Blame& blame, RowFormat format, Output& output,
                         unsigned threads, std::optional<std::uint64_t> limit, const std::stop_token& stop) {
  const std::string header = makeWriter(format, source.columns)->header();
  // The first rows must be there before the header goes out: what fails at once shall leave no output.
  Rows rows(duck, source.statement, blame, stop);
  if (!header.empty() && !output.write(bytesOf(header))) return 0;
  std::vector<std::unique_ptr<ChunkWork>> workers;
  for (unsigned index = 0; index < threads; ++index) {
    workers.push_back(std::make_unique<LineWork>(format, source.columns, output));
  }
  return processRows(rows, limit.value_or(kAll), workers, stop);
}

SheetFacts writeSheetRows(Duck& duck, const RowSource& source, const Blame& blame, const std::filesystem::path& path,
                          std::uint64_t expectedRows, std::optional<std::uint64_t> limit, const std::stop_token& stop) {
  // Beyond this many cells the parts of the file may exceed 4 GiB.
  constexpr std::uint64_t kCellsOfALargeFile = 20'000'000;
  SheetFile file(path, expectedRows * allFields(source.columns).size() > kCellsOfALargeFile);
  SheetWriter writer(file, source.columns);
  Rows rows(duck, source.statement, blame, stop);
  std::uint64_t left = limit.value_or(kAll);
  while (left > 0) {
    if (stop.stop_requested()) throw core::Interrupted();
    const Chunk chunk = rows.next();
    if (chunk == nullptr) break;
    const std::uint64_t count = std::min<std::uint64_t>(left, duckdb_data_chunk_get_size(chunk.get()));
    writer.append(chunk.get(), count);
    left -= count;
  }
  file.close();
  return {.rows = file.rows(), .sheets = file.sheets()};
}

}  // namespace caiexport::reader
