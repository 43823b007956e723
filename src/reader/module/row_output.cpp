#include "profile_set.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
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

std::span<const std::byte> bytesOf(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// Columns of one chunk as they appear in CSV or as JSON lines. One object per thread.
class RowWriter {
 public:
  explicit RowWriter(const std::vector<Type>& columns) : view_(columns) {}
  virtual ~RowWriter() = default;
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  void bind(duckdb_data_chunk chunk) { view_.bind(chunk); }
  /// What stands before the first row.
  virtual void appendHeader(TextBuffer&) const {}
  /// Appends one whole line.
  virtual void append(TextBuffer& out, std::uint64_t row) = 0;

 protected:
  const ChunkView& view() const { return view_; }

 private:
  ChunkView view_;
};

constexpr auto kNeedsQuotes = [] {
  std::array<bool, 256> table{};
  for (const char letter : {'"', ',', '\r', '\n'}) table[static_cast<unsigned char>(letter)] = true;
  return table;
}();

bool needsQuotes(std::string_view text) {
  return std::ranges::any_of(text, [](char letter) { return kNeedsQuotes[static_cast<unsigned char>(letter)]; });
}

void appendQuoted(TextBuffer& out, std::string_view text) {
  char* at = out.room(2 * text.size() + 2);
  *at++ = '"';
  for (const char letter : text) {
    *at++ = letter;
    if (letter == '"') *at++ = letter;
  }
  *at++ = '"';
  out.endAt(at);
}

bool isDigit(char letter) {
  return letter >= '0' && letter <= '9';
}

/// Text that a spreadsheet takes for a number or a date: leading zeros, long ids and `1E5` would be lost.
bool wouldBeGuessed(std::string_view text) {
  constexpr std::size_t kLongest = 250;  // a text in a formula ends at 255
  if (text.empty() || text.size() > kLongest) return false;
  if (text.find_first_not_of("0123456789 .,:/eE+-%") == text.npos)
    return std::any_of(text.begin(), text.end(), isDigit);
  const std::string lower = core::toLower(text);
  if (lower == "true" || lower == "false" || lower == "wahr" || lower == "falsch") return true;
  static constexpr std::array<std::string_view, 15> kMonths{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug",
                                                            "sep", "oct", "nov", "dec", "mai", "okt", "dez"};
  const std::string_view rest = std::string_view(lower).substr(std::min<std::size_t>(3, lower.size()));
  const bool month = std::find(kMonths.begin(), kMonths.end(), lower.substr(0, 3)) != kMonths.end();
  return month && !rest.empty() && rest.find_first_not_of("0123456789 .-/") == rest.npos;
}

/// RFC 4180, as safe as RowFormat says.
class CsvWriter final : public RowWriter {
 public:
  CsvWriter(const std::vector<Type>& columns, RowFormat format)
      : RowWriter(columns),
        exact_(format == RowFormat::csvExact),
        excel_(format != RowFormat::csv && !exact_),
        separator_(format == RowFormat::csvExcelSemicolon ? ';'
                   : format == RowFormat::csvExcelTab     ? '\t'
                                                          : ','),
        leaves_(flatten(view().columns)) {}

  void appendHeader(TextBuffer& out) const override {
    if (excel_) out.append("\uFEFF");
    for (const Leaf& leaf : leaves_) {
      if (&leaf != &leaves_.front()) out.append(separator_);
      appendCell(out, leaf.name);
    }
    out.append("\r\n");
  }

  void append(TextBuffer& out, std::uint64_t row) override {
    for (const Leaf& leaf : leaves_) {
      if (&leaf != &leaves_.front()) out.append(separator_);
      if (!leaf.isNull(row)) {
        appendField(out, *leaf.view, row);
      } else if (leaves_.size() == 1 && !excel_) {
        // An empty line would be skipped by most readers, so a lone null is written as empty text.
        out.append("\"\"");
      }
    }
    out.append("\r\n");
  }

 private:
  void appendField(TextBuffer& out, const VectorView& view, std::uint64_t row) {
    const Type& type = *view.type;
    if (type.id == DUCKDB_TYPE_VARCHAR) return appendCell(out, view.text(row));
    if (excel_) return appendExcel(out, view, row);
    if (!type.children.empty()) return appendNested(out, view, row);
    if (type.id != DUCKDB_TYPE_ENUM) return appendText(out, view, row);
    scratch_.clear();
    appendText(scratch_, view, row);
    appendCell(out, scratch_.view());
  }

  /// JSON, which begins with a bracket or a brace, so that no spreadsheet takes it for a formula. Nearly always it
  /// needs quotes: it is written as if it did.
  static void appendNested(TextBuffer& out, const VectorView& view, std::uint64_t row) {
    const std::size_t begin = out.size();
    out.append('"');
    appendJson<Quotes::doubled>(out, view, row);
    if (needsQuotes(out.view().substr(begin + 1))) return out.append('"');
    out.erase(begin, 1);
  }

  void appendExcel(TextBuffer& out, const VectorView& view, std::uint64_t row) {
    const Type& type = *view.type;
    scratch_.clear();
    if (!appendFixed(scratch_, view, row)) appendText(scratch_, view, row);
    cell_ = scratch_.view();
    if (type.isNumeric()) {
      constexpr std::size_t kDigitsKept = 15;
      if (!type.isFloat() && cell_.size() > kDigitsKept + 1) return appendCell(out, cell_);
      if (separator_ == ';') std::ranges::replace(cell_, '.', ',');
    } else if (type.isTime() && cell_.size() > 19 && cell_[10] == 'T') {
      cell_.resize(19);
      cell_[10] = ' ';
    } else if (!type.isTime() && type.id != DUCKDB_TYPE_BOOLEAN) {
      return appendCell(out, cell_);
    }
    out.append(cell_);
  }

  void appendCell(TextBuffer& out, std::string_view text) const {
    // Short and without quotes, so that the formula is one and harmless.
    if (excel_ && wouldBeGuessed(text)) return appendQuoted(out, "=\"" + std::string(text) + "\"");
    const std::string marked = !exact_ && core::runsInSpreadsheets(text) ? "'" + std::string(text) : std::string();
    const std::string_view shown = marked.empty() ? text : marked;
    if (shown.empty() || needsQuotes(shown) || (separator_ != ',' && shown.find(separator_) != shown.npos)) {
      appendQuoted(out, shown);
    } else {
      out.append(shown);
    }
  }

  bool exact_;
  bool excel_;
  char separator_;
  std::vector<Leaf> leaves_;
  TextBuffer scratch_;
  std::string cell_;
};

class JsonLinesWriter final : public RowWriter {
 public:
  using RowWriter::RowWriter;

  void append(TextBuffer& out, std::uint64_t row) override {
    out.append('{');
    std::size_t comma = 1;  // the first key has none
    for (const VectorView& column : view().columns) {
      out.append(std::string_view(column.key).substr(comma));
      appendJson<Quotes::plain>(out, column, row);
      comma = 0;
    }
    out.append("}\n");
  }
};

std::unique_ptr<RowWriter> makeWriter(RowFormat format, const std::vector<Type>& columns) {
  if (format == RowFormat::jsonl) return std::make_unique<JsonLinesWriter>(columns);
  return std::make_unique<CsvWriter>(columns, format);
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

  bool finish() override { return output_.write(bytesOf(lines_.view())); }

 private:
  std::unique_ptr<RowWriter> writer_;
  Output& output_;
  TextBuffer lines_;
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
  TextBuffer header;
  makeWriter(format, source.columns)->appendHeader(header);
  // The first rows must be there before the header goes out: what fails at once shall leave no output.
  Rows rows(duck, source.statement, blame, stop);
  if (header.size() > 0 && !output.write(bytesOf(header.view()))) return 0;
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
