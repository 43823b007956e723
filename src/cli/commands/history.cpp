#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/table.h"
#include "cli/commands/reading.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "cli/output/output_file.h"
#include "cli/record.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 12> kWhich{{
    {"status", "WORDS",
     R"(only jobs of these statuses, separated by commas: pending, running, waiting, interrupted,
blocked, failed, cancelled, succeeded)"},
    {"kind", "dataset|segment", "only jobs of this kind"},
    {"id", "SOURCE", "only jobs of this dataset or segment"},
    {"org", "ORG", "only jobs of this organisation"},
    {"sandbox", "NAME", "only jobs in this sandbox; the sandbox of the settings does not matter here"},
    {"since", "TIME", R"(only jobs made at TIME or later: a date (2026-11-24), a time (2026-11-24T10:00:00Z) or an age
(7d for seven days ago))"},
    {"until", "TIME", "only jobs made before TIME"},
    {"limit", "N", "at most N jobs, 0 for all [20]"},
    {"sql", "SELECT", R"(print the result of this query instead; the views are jobs, steps, files, events, and runs (of
sync))"},
    {"watch", "", "print the table again whenever it changes, until none of the jobs is running"},
    {"format", "table|json|csv|xlsx", "how the result is printed [by the ending of --output, else table]"},
    {"output", "FILE", "write to FILE instead of standard output"},
}};

constexpr std::array<Option, 4> kActions{{
    {"field", "PATH", "for diff: the column that holds the scores [found in the schema]"},
    {"before", "TIME", "for prune: remove jobs that ended before TIME"},
    {"files", "", "for prune: also delete the files of these jobs, unless they have changed since"},
    {"dry-run", "", "for prune: only show what would be removed"},
}};

enum class Format { table, json, csv, xlsx };

using store::HistoryFilter;

constexpr const char* kNoJobs = "caiexport: no jobs yet";

struct HistoryOptions {
  HistoryFilter filter;
  std::optional<std::string> sql;
  Format format = Format::table;
  bool watch = false;
};

std::vector<model::JobStatus> parseStatuses(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 8> kWords{"pending", "running", "waiting",   "interrupted",
                                                   "blocked", "failed",  "cancelled", "succeeded"};
  std::vector<model::JobStatus> statuses;
  for (const std::string& word : listOption(options, "status")) {
    const auto status = model::jobStatusFrom(word);
    if (!status) {
      throwUsage("--status: '" + core::printable(word, 40) + "' is no status" + didYouMean(word, kWords));
    }
    statuses.push_back(*status);
  }
  return statuses;
}

HistoryOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  for (const Option& option : kActions) {
    if (!options.has(option.name)) continue;
    throwUsage("--" + std::string(option.name) + " is an option of history diff or history prune",
               "caiexport history diff 11 12; caiexport history prune --before 365d");
  }
  for (const std::string_view filter : {"status", "kind", "id", "org", "sandbox", "since", "until", "limit", "watch"}) {
    refuseTogether(options, {"sql", filter});
  }
  const core::TimePoint now = core::systemClock().now();
  HistoryOptions parsed;
  parsed.filter.statuses = parseStatuses(options);
  parsed.filter.sourceId = idOption(options, "id", "source id").value_or("");
  parsed.filter.orgId = textOption(options, "org").value_or("");
  parsed.filter.sandbox = textOption(options, "sandbox").value_or("");
  parsed.filter.since = timeOption(options, "since", now);
  parsed.filter.until = timeOption(options, "until", now);
  parsed.sql = options.value("sql");
  if (options.has("kind")) {
    constexpr std::array<std::string_view, 2> kKinds{"dataset", "segment"};
    parsed.filter.kind = model::kindFrom(wordOption(options, "kind", kKinds));
  }
  if (const auto limit = numberOption(options, "limit", 0, std::numeric_limits<std::int64_t>::max())) {
    parsed.filter.limit = static_cast<std::size_t>(*limit);
  }
  constexpr std::array<std::string_view, 4> kFormats{"table", "json", "csv", "xlsx"};
  const std::string format = formatFor(options, "format", kFormats);
  parsed.format = static_cast<Format>(std::ranges::find(kFormats, format) - kFormats.begin());
  parsed.watch = options.has("watch");
  refuseTogether(options, {"watch", "output"});
  if (parsed.watch && parsed.format != Format::table) {
    throwUsage("--watch works only with --format table");
  }
  return parsed;
}

/// Where the result goes.
struct Sink {
  TextSink text;
  std::size_t width = 0;  ///< Of the terminal; 0: there is none, and ids are whole.
};

void stopIfAsked(const Context& context) {
  if (context.stop.stop_requested()) throw core::Interrupted();
}

// --- jobs

std::uint64_t printJson(store::History& history, const HistoryFilter& filter, const Sink& sink,
                        const Context& context) {
  std::uint64_t count = 0;
  LineArray array(sink.text);
  history.forEachJob(filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    if (!array.next()) return false;
    std::string text;
    json::Writer json(text);
    writeJob(json, view, JobDetail::summary, history);
    ++count;
    return sink.text(text);
  });
  array.end();
  return count;
}

std::uint64_t printCsv(store::History& history, const HistoryFilter& filter, const Sink& sink, const Context& context) {
  std::uint64_t count = 0;
  sink.text(historyCsvHeader());
  history.forEachJob(filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    ++count;
    return sink.text(historyCsvRow(view));
  });
  return count;
}

reader::Sheet sheetOf(store::History& history, const HistoryFilter& filter, const Context& context) {
  reader::Sheet sheet{.name = "Jobs", .header = historySheetHeader()};
  history.forEachJob(filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    sheet.rows.push_back(historySheetRow(view));
    return true;
  });
  return sheet;
}

/// Sizes of what is here: what was promised to a job that is under way is not counted.
store::JobView withWhatIsHere(store::History& history, store::JobView view) {
  if (view.status == model::JobStatus::succeeded || view.job.fileCount == 0) return view;
  const store::History::Arrived arrived = history.arrived(view.job.id);
  view.job.fileCount = arrived.files;
  view.job.totalBytes = arrived.bytes;
  return view;
}

/// The jobs for a table, or, where there is no room for one, for text that tells more of each.
void forEachShown(store::History& history, const HistoryFilter& filter, bool columns,
                  const std::function<bool(const store::JobView&)>& visit) {
  const auto take = [&](const store::JobView& view) { return visit(withWhatIsHere(history, view)); };
  columns ? history.forEachRow(filter, take) : history.forEachJob(filter, take);
}

std::vector<store::JobView> shownJobs(store::History& history, const HistoryFilter& filter, std::size_t width) {
  std::vector<store::JobView> views;
  forEachShown(history, filter, hasRoomForTable(width), [&](const store::JobView& view) {
    views.push_back(view);
    return true;
  });
  return views;
}

/// Twice over all jobs, for the widths of the columns and for the lines, so that memory does not grow with their
/// number.
std::uint64_t printTable(store::History& history, const HistoryFilter& filter, const Sink& sink, Context& context) {
  constexpr std::size_t kTogetherBytes = 64U << 10U;
  const core::TimePoint now = core::systemClock().now();
  const bool columns = hasRoomForTable(sink.width);
  std::uint64_t count = 0;
  history.inOneView([&] {
    HistoryTable table(now, sink.width);
    if (columns) {
      forEachShown(history, filter, columns, [&](const store::JobView& view) {
        stopIfAsked(context);
        table.measure(view);
        return true;
      });
    }
    std::string text;
    bool open = true;
    forEachShown(history, filter, columns, [&](const store::JobView& view) {
      stopIfAsked(context);
      if (columns && count == 0) text += table.head();
      ++count;
      text += columns ? table.line(view) : historyEntry(view, now, sink.width);
      if (text.size() < kTogetherBytes) return true;
      open = sink.text(text);
      text.clear();
      return open;
    });
    if (columns && count > 0) text += table.end();
    if (open) sink.text(text);
  });
  if (count == 0) context.console.notice(history.newest() ? "caiexport: no such jobs" : kNoJobs);
  return count;
}

std::size_t widthOf(const Context& context) {
  return context.out.terminal() ? context.out.width() : 0;
}

/// Ends when no process runs one of the jobs, or is interrupted.
void watchTable(store::History& history, const HistoryFilter& filter, Context& context) {
  constexpr core::Duration kLookEvery = std::chrono::seconds(1);
  const core::TimePoint begun = core::systemClock().now();
  std::string shown;
  while (true) {
    const std::vector<store::JobView> views = shownJobs(history, filter, widthOf(context));
    // In a file a table is news only if more than ages have changed.
    const core::TimePoint now = context.out.terminal() ? core::systemClock().now() : begun;
    const std::string table = views.empty() ? "" : historyText(views, now, widthOf(context));
    if (table != shown) {
      // On a terminal in the place of the one before: home, then clear what is below.
      const bool again = !shown.empty();
      context.out.write(context.out.terminal() ? "\033[H\033[J" + table : (again ? "\n" : "") + table);
      context.out.flush();
      shown = table;
    }
    if (std::ranges::none_of(views, &store::JobView::held)) return;
    if (!core::systemClock().sleep(kLookEvery, context.stop)) {
      throw core::Error(core::Category::interrupted, "interrupted", {.hint = "the jobs themselves go on"});
    }
  }
}

// --- --sql

using Cell = store::History::SqlCell;

void writeCell(json::Writer& json, const Cell& cell) {
  // JSON has no infinity.
  const bool infinite = cell.type == Cell::Type::real && cell.text.find_first_of("iInN") != cell.text.npos;
  if (cell.type == Cell::Type::null || infinite) {
    json.null();
  } else if (cell.type == Cell::Type::text) {
    json.value(cell.text);
  } else {
    json.number(cell.text);
  }
}

using Columns = std::vector<std::string>;
using Row = std::vector<Cell>;

std::uint64_t sqlAsJson(store::History& history, const std::string& sql, const Sink& sink, const Context& context) {
  std::uint64_t count = 0;
  Columns names;
  std::optional<LineArray> array;
  history.runSql(
      sql,
      [&](const Columns& columns) {
        names = columns;
        array.emplace(sink.text);
      },
      [&](const Row& row) {
        if (!array->next()) return false;
        std::string text;
        json::Writer json(text);
        json.beginObject();
        for (std::size_t i = 0; i < row.size(); ++i) writeCell(json.key(names[i]), row[i]);
        json.endObject();
        ++count;
        return sink.text(text);
      },
      context.stop);
  if (array) array->end();
  return count;
}

std::uint64_t sqlAsCsv(store::History& history, const std::string& sql, const Sink& sink, const Context& context) {
  std::uint64_t count = 0;
  const auto writeLine = [&sink](const auto& cells, const auto& text) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) line.append(i == 0 ? "" : ",").append(csvField(text(cells[i])));
    return sink.text(line + "\r\n");
  };
  history.runSql(
      sql, [&](const Columns& columns) { writeLine(columns, [](const std::string& name) { return name; }); },
      [&](const Row& row) {
        ++count;
        return writeLine(row, [](const Cell& cell) { return cell.text; });
      },
      context.stop);
  return count;
}

/// A table of rows that can't be asked for twice is held to find the widths of its columns, so a long one begins anew
/// after this many rows.
constexpr std::size_t kRowsOfTable = 1000;

std::uint64_t sqlAsTable(store::History& history, const std::string& sql, const Sink& sink, const Context& context) {
  reader::Table table;
  std::uint64_t written = 0;
  const auto flush = [&] {
    written += table.rows.size();
    const bool open = sink.text(reader::renderTable(table, sink.width));
    table.rows.clear();
    return open;
  };
  history.runSql(
      sql,
      [&](const Columns& columns) {
        for (const std::string& name : columns) table.columns.push_back({core::printable(name, 60), "", false});
      },
      [&](const Row& row) {
        std::vector<std::string> cells;
        for (std::size_t i = 0; i < row.size(); ++i) {
          cells.push_back(core::printable(row[i].text, 200));
          const bool number = row[i].type == Cell::Type::integer || row[i].type == Cell::Type::real;
          table.columns[i].alignRight = table.columns[i].alignRight || number;
        }
        table.rows.push_back(std::move(cells));
        return table.rows.size() < kRowsOfTable || flush();
      },
      context.stop);
  if (!table.rows.empty() || written == 0) flush();
  return written;
}

/// Spreadsheets keep 15 digits of a number, and know no infinity.
reader::SheetCell sheetCell(const Cell& cell) {
  constexpr std::size_t kMostDigits = 15;
  if (cell.type == Cell::Type::null) return {};
  const auto digits = std::ranges::count_if(cell.text, [](char letter) { return letter >= '0' && letter <= '9'; });
  const bool exact = cell.type == Cell::Type::real || digits <= static_cast<std::ptrdiff_t>(kMostDigits);
  const auto number = core::numberFrom<double>(cell.text);
  const bool isNumber = cell.type != Cell::Type::text && exact && number && std::isfinite(*number);
  return isNumber ? reader::SheetCell(*number) : reader::SheetCell(cell.text);
}

reader::Sheet sqlSheet(store::History& history, const std::string& sql, const Context& context) {
  reader::Sheet sheet{.name = "Rows", .header = {}};
  history.runSql(
      sql, [&](const Columns& columns) { sheet.header = columns; },
      [&](const Row& row) {
        std::vector<reader::SheetCell> cells;
        for (const Cell& cell : row) cells.push_back(sheetCell(cell));
        sheet.rows.push_back(std::move(cells));
        return true;
      },
      context.stop);
  return sheet;
}

// --- where it goes

/// Without a database: of no jobs, and of no rows.
std::uint64_t printNothing(Format format, const Sink& sink, Context& context) {
  if (format == Format::json) sink.text("[]\n");
  if (format == Format::csv) sink.text(historyCsvHeader());
  if (format == Format::table) context.console.notice(kNoJobs);
  return 0;
}

std::uint64_t print(Record* record, const HistoryOptions& parsed, const Sink& sink, Context& context) {
  if (record == nullptr) return printNothing(parsed.format, sink, context);
  store::History& history = record->history();
  const bool json = parsed.format == Format::json;
  const bool csv = parsed.format == Format::csv;
  if (parsed.sql) return (json ? sqlAsJson : csv ? sqlAsCsv : sqlAsTable)(history, *parsed.sql, sink, context);
  if (json) return printJson(history, parsed.filter, sink, context);
  return csv ? printCsv(history, parsed.filter, sink, context) : printTable(history, parsed.filter, sink, context);
}

reader::Sheet sheet(Record* record, const HistoryOptions& parsed, const Context& context) {
  if (record == nullptr) return {.name = "Jobs", .header = historySheetHeader()};
  return parsed.sql ? sqlSheet(record->history(), *parsed.sql, context)
                    : sheetOf(record->history(), parsed.filter, context);
}

/// How many rows it has.
std::uint64_t deliver(Record* record, const HistoryOptions& parsed, const OutputTarget& target, Context& context) {
  const bool binary = parsed.format == Format::xlsx;
  if (!binary && !target.given()) {
    const Sink sink{.text = [&](std::string_view text) { return context.out.write(text); }, .width = widthOf(context)};
    return print(record, parsed, sink, context);
  }
  const ScratchFolder scratch(target);
  const Delivery delivery{target, scratch.path(), context, context.stop};
  std::uint64_t rows = 0;
  if (binary) {
    deliverFile(delivery, [&](const std::filesystem::path& file) {
      const reader::Sheet made = sheet(record, parsed, context);
      rows = made.rows.size();
      reader::writeWorkbook(file, {made});
    });
  } else {
    deliverRows(delivery, [&](reader::Output& out) {
      const Sink sink{.text = [&](std::string_view text) { return out.write(std::as_bytes(std::span(text))); }};
      rows = print(record, parsed, sink, context);
    });
  }
  return rows;
}

CommandEnd runAction(const ParsedOptions& options, Context& context) {
  constexpr std::array<std::string_view, 2> kNames{"diff", "prune"};
  const std::string& action = options.arguments().front();
  const bool diff = action == kNames[0];
  if (!diff && action != kNames[1]) {
    throwUsage("unexpected argument '" + core::printable(action, 80) + "'" + didYouMean(action, kNames),
               "caiexport history diff A B, caiexport history prune --before TIME");
  }
  for (const Option& option : kWhich) {
    if (option.name == "format" || !options.has(option.name)) continue;
    throwUsage("history " + action + " takes no --" + std::string(option.name));
  }
  for (const std::string_view name : {"before", "files", "dry-run"}) {
    if (diff && options.has(name)) throwUsage("history diff takes no --" + std::string(name));
  }
  if (!diff && options.has("field")) throwUsage("history prune takes no --field");
  constexpr std::array<std::string_view, 2> kFormats{"table", "json"};
  const bool json = wordOption(options, "format", kFormats) == "json";
  const TextOrJson format = json ? TextOrJson::json : TextOrJson::text;
  return diff ? diffJobs(options, format, context) : pruneJobs(options, format, context);
}

}  // namespace

const CommandPage& historyPage() {
  static const CommandPage page{
      .name = "history",
      .summary = "list jobs, newest first",
      .arguments = "[diff JOB JOB|prune --before TIME]",
      .description =
          R"(Lists the jobs on record, newest first. `history diff` compares two jobs: records, bytes, files, and
the scores in their files. `history prune` removes the records of jobs that ended before a given
time. It keeps those that a later run still needs: the last success of each source, a job whose
dataset `segment --reuse` would use, and batches that `sync` checks again. Needs neither settings
nor the network.)",
      .groups = {{"Which", kWhich}, {"diff, prune", kActions}, globalGroup()},
      .examples = {{"caiexport history --status failed,interrupted --since 7d", "what went wrong this week"},
                   {"caiexport history --limit 0 --output jobs.xlsx", "everything, for a spreadsheet"},
                   {"caiexport history --sql \"SELECT sandbox, sum(bytes) AS bytes FROM jobs GROUP BY sandbox\"",
                    "your own query over the views jobs, steps, files, events and runs"},
                   {"caiexport history diff 11 12", "what changed from job 11 to job 12"},
                   {"caiexport history prune --before 365d --files --dry-run",
                    "what would be removed of the time before last year"}},
      .exitCodes = {0, 1, 2, 4, 7, 9, 130}};
  return page;
}

CommandEnd runHistory(const ParsedOptions& options, Context& context) {
  if (!options.arguments().empty()) return runAction(options, context);
  const HistoryOptions parsed = parse(options);
  const OutputTarget target(options);
  refuseBinaryAtTerminal(parsed.format == Format::xlsx ? "xlsx" : "", target, context);
  Configuration configuration(options, context.environment);
  target.refuse(configuration.database().file());
  const StopLimit limit(context.stop);
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  if (record && parsed.watch) {
    watchTable(record->history(), parsed.filter, context);
  } else {
    const std::uint64_t rows = deliver(record.get(), parsed, target, context);
    tellWritten(target, parsed.sql ? counted(rows, "row", "rows") : counted(rows, "job", "jobs"), context);
  }
  // Here, so that the limit holds for a reader who does not read.
  context.out.flush();
  return {};
}

}  // namespace caiexport::cli
