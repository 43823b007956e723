#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "cli/output/listing.h"
#include "cli/record.h"
#include "cli/watches.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 11> kWhich{{
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
    {"format", "table|json|csv", "how the result is printed on standard output [table]"},
}};

constexpr std::array<Option, 4> kActions{{
    {"field", "PATH", "for diff: the column that holds the scores [found in the schema]"},
    {"before", "TIME", "for prune: remove jobs that ended before TIME"},
    {"files", "", "for prune: also delete the files of these jobs, unless they have changed since"},
    {"dry-run", "", "for prune: only show what would be removed"},
}};

struct JobFilter : store::HistoryFilter {
  std::string orgId = {};
  std::string sandbox = {};
};

void forEachJob(store::History& history, const JobFilter& filter,
                const std::function<bool(const store::JobView&)>& visit) {
  store::HistoryFilter all = filter;
  const bool ours = filter.orgId.empty() && filter.sandbox.empty();
  if (!ours) all.limit = 0;
  std::size_t count = 0;
  history.forEachJob(all, [&](const store::JobView& view) {
    const model::ExportRequest& request = view.job.request;
    const bool wanted = (filter.orgId.empty() || request.orgId == filter.orgId) &&
                        (filter.sandbox.empty() || request.sandbox == filter.sandbox);
    if (!wanted) return true;
    if (!visit(view)) return false;
    return ours || filter.limit == 0 || ++count < filter.limit;
  });
}

struct HistoryOptions {
  JobFilter filter;
  std::optional<std::string> sql;
  ListFormat format = ListFormat::table;
  bool watch = false;
};

std::vector<model::JobStatus> parseStatuses(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 8> kWords{"pending", "running", "waiting",   "interrupted",
                                                   "blocked", "failed",  "cancelled", "succeeded"};
  std::vector<model::JobStatus> statuses;
  for (const std::string& word : listOption(options, "status")) {
    const auto status = model::jobStatusFrom(word);
    if (!status) {
      throw core::Error(core::Category::usage,
                        "--status: '" + core::printable(word, 40) + "' is no status" + didYouMean(word, kWords));
    }
    statuses.push_back(*status);
  }
  return statuses;
}

HistoryOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  for (const Option& option : kActions) {
    if (!options.has(option.name)) continue;
    throw core::Error(core::Category::usage,
                      "--" + std::string(option.name) + " is an option of history diff or history prune",
                      {.hint = "caiexport history diff 11 12; caiexport history prune --before 365d"});
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
  parsed.format = listFormat(options);
  parsed.watch = options.has("watch");
  if (parsed.watch && parsed.format != ListFormat::table) {
    throw core::Error(core::Category::usage, "--watch works only with --format table");
  }
  return parsed;
}

json::Writer writerTo(StandardOutput& out) {
  return json::Writer([&out](std::string_view text) { out.write(text); });
}

void stopIfAsked(const Context& context) {
  if (context.stop.stop_requested()) throw core::Interrupted();
}

/// A table is held to find the widths of its columns, so a long one begins anew after this many rows.
constexpr std::size_t kRowsOfTable = 1000;

// --- jobs

void printNothing(ListFormat format, Context& context) {
  if (format == ListFormat::json) context.out.write("[]\n");
  if (format == ListFormat::csv) context.out.write(historyCsvHeader());
  if (format == ListFormat::table) context.console.notice("caiexport: no jobs yet");
}

void printJson(store::History& history, const JobFilter& filter, Context& context) {
  StandardOutput& out = context.out;
  LineArray array(out);
  forEachJob(history, filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    if (!array.next()) return false;
    json::Writer json = writerTo(out);
    writeJob(json, view, JobDetail::summary, history);
    return true;
  });
  array.end();
}

void printCsv(store::History& history, const JobFilter& filter, Context& context) {
  context.out.write(historyCsvHeader());
  forEachJob(history, filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    return context.out.write(historyCsvRow(view));
  });
}

/// Sizes of what is here: what was promised to a job that is under way is not counted.
void countWhatIsHere(store::History& history, std::span<store::JobView> views) {
  for (store::JobView& view : views) {
    if (view.status == model::JobStatus::succeeded || view.job.fileCount == 0) continue;
    const store::History::Arrived arrived = history.arrived(view.job.id);
    view.job.fileCount = arrived.files;
    view.job.totalBytes = arrived.bytes;
  }
}

std::vector<store::JobView> tableJobs(store::History& history, const JobFilter& filter) {
  std::vector<store::JobView> views;
  forEachJob(history, filter, [&](const store::JobView& view) {
    views.push_back(view);
    return true;
  });
  countWhatIsHere(history, views);
  return views;
}

std::string tableOf(std::span<const store::JobView> views, core::TimePoint now, const StandardOutput& out) {
  // Where no terminal bounds it, ids are whole.
  const std::size_t width = out.terminal() ? out.width() : 0;
  return reader::renderTable(historyTable(views, now, width), width);
}

void printTable(store::History& history, const JobFilter& filter, Context& context) {
  const core::TimePoint now = core::systemClock().now();
  std::vector<store::JobView> views;
  bool any = false;
  const auto flush = [&] {
    countWhatIsHere(history, views);
    const bool open = context.out.write(tableOf(views, now, context.out));
    views.clear();
    return open;
  };
  forEachJob(history, filter, [&](const store::JobView& view) {
    stopIfAsked(context);
    any = true;
    views.push_back(view);
    return views.size() < kRowsOfTable || flush();
  });
  if (!views.empty()) flush();
  if (!any) context.console.notice("caiexport: no such jobs");
}

/// Ends when no process runs one of the jobs, or is interrupted.
void watchTable(store::History& history, const JobFilter& filter, Context& context) {
  constexpr core::Duration kLookEvery = std::chrono::seconds(1);
  const core::TimePoint begun = core::systemClock().now();
  std::string shown;
  while (true) {
    const std::vector<store::JobView> views = tableJobs(history, filter);
    // In a file a table is news only if more than ages have changed.
    const core::TimePoint now = context.out.terminal() ? core::systemClock().now() : begun;
    const std::string table = views.empty() ? "" : tableOf(views, now, context.out);
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
  const bool finite = cell.text.find_first_of("iInN") == cell.text.npos;
  switch (cell.type) {
    case Cell::Type::null:
      json.null();
      return;
    case Cell::Type::integer:
      json.number(cell.text);
      return;
    case Cell::Type::real:
      if (finite) {
        json.number(cell.text);
      } else {
        json.null();  // JSON has no infinity
      }
      return;
    case Cell::Type::text:
      json.value(cell.text);
      return;
  }
}

void sqlAsJson(store::History& history, const std::string& sql, Context& context) {
  StandardOutput& out = context.out;
  std::vector<std::string> names;
  std::optional<LineArray> array;
  history.runSql(
      sql,
      [&](const std::vector<std::string>& columns) {
        names = columns;
        array.emplace(out);
      },
      [&](const std::vector<Cell>& row) {
        if (!array->next()) return false;
        json::Writer json = writerTo(out);
        json.beginObject();
        for (std::size_t i = 0; i < row.size(); ++i) writeCell(json.key(names[i]), row[i]);
        json.endObject();
        return true;
      },
      context.stop);
  if (array) array->end();
}

void sqlAsCsv(store::History& history, const std::string& sql, Context& context) {
  const auto writeLine = [&out = context.out](const auto& cells, const auto& text) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) line.append(i == 0 ? "" : ",").append(csvField(text(cells[i])));
    return out.write(line + "\r\n");
  };
  history.runSql(
      sql,
      [&](const std::vector<std::string>& columns) {
        writeLine(columns, [](const std::string& name) { return name; });
      },
      [&](const std::vector<Cell>& row) { return writeLine(row, [](const Cell& cell) { return cell.text; }); },
      context.stop);
}

void sqlAsTable(store::History& history, const std::string& sql, Context& context) {
  StandardOutput& out = context.out;
  reader::Table table;
  std::size_t written = 0;
  const auto flush = [&] {
    written += table.rows.size();
    const bool open = out.write(reader::renderTable(table, out.width()));
    table.rows.clear();
    return open;
  };
  history.runSql(
      sql,
      [&](const std::vector<std::string>& columns) {
        for (const std::string& name : columns) table.columns.push_back({core::printable(name, 60), "", false});
      },
      [&](const std::vector<Cell>& row) {
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
}

void printSql(store::History& history, const std::string& sql, ListFormat format, Context& context) {
  switch (format) {
    case ListFormat::table:
      sqlAsTable(history, sql, context);
      return;
    case ListFormat::json:
      sqlAsJson(history, sql, context);
      return;
    case ListFormat::csv:
      sqlAsCsv(history, sql, context);
      return;
  }
}

void printJobs(store::History& history, const HistoryOptions& parsed, Context& context) {
  switch (parsed.format) {
    case ListFormat::table:
      if (parsed.watch) {
        watchTable(history, parsed.filter, context);
      } else {
        printTable(history, parsed.filter, context);
      }
      return;
    case ListFormat::json:
      printJson(history, parsed.filter, context);
      return;
    case ListFormat::csv:
      printCsv(history, parsed.filter, context);
      return;
  }
}

CommandEnd runAction(const ParsedOptions& options, Context& context) {
  constexpr std::array<std::string_view, 2> kNames{"diff", "prune"};
  const std::string& action = options.arguments().front();
  const bool diff = action == kNames[0];
  if (!diff && action != kNames[1]) {
    throw core::Error(core::Category::usage,
                      "unexpected argument '" + core::printable(action, 80) + "'" + didYouMean(action, kNames),
                      {.hint = "caiexport history diff A B, caiexport history prune --before TIME"});
  }
  for (const Option& option : kWhich) {
    if (option.name == "format" || !options.has(option.name)) continue;
    throw core::Error(core::Category::usage, "history " + action + " takes no --" + std::string(option.name));
  }
  for (const std::string_view name : {"before", "files", "dry-run"}) {
    if (diff && options.has(name))
      throw core::Error(core::Category::usage, "history diff takes no --" + std::string(name));
  }
  if (!diff && options.has("field")) throw core::Error(core::Category::usage, "history prune takes no --field");
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
                   {"caiexport history --limit 0 --format csv", "everything, for a spreadsheet"},
                   {"caiexport history --sql \"SELECT sandbox, sum(bytes) AS bytes FROM jobs GROUP BY sandbox\"",
                    "your own query over the views jobs, steps, files, events and runs"},
                   {"caiexport history diff 11 12", "what changed from job 11 to job 12"},
                   {"caiexport history prune --before 365d --files --dry-run",
                    "what would be removed of the time before last year"}},
      .exitCodes = {0, 1, 2, 4, 9, 130}};
  return page;
}

CommandEnd runHistory(const ParsedOptions& options, Context& context) {
  if (!options.arguments().empty()) return runAction(options, context);
  const HistoryOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  const StopLimit limit(context.stop);
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  if (!record) {
    printNothing(parsed.format, context);
  } else if (parsed.sql) {
    printSql(record->history(), *parsed.sql, parsed.format, context);
  } else {
    printJobs(record->history(), parsed, context);
  }
  // Here, so that the limit holds for a reader who does not read.
  context.out.flush();
  return {};
}

}  // namespace caiexport::cli
