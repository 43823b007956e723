/// `history diff A B` and `history prune`.

#include <array>
#include <cmath>

#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/prune.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/table.h"
#include "caiexport/store/history.h"
#include "caiexport/store/prune_store.h"
#include "cli/config/config.h"
#include "cli/record.h"
#include "commands.h"
#include "input_files.h"

namespace caiexport::cli {

namespace {

using core::Error;

struct Side {
  store::JobView view;
  std::optional<reader::ScoreSummary> scores;  ///< Nothing: its files can't be read any more, or hold no scores.
};

/// Scores are read from the files: a record has none.
std::optional<reader::ScoreSummary> scoresOf(InputFinder& finder, const std::string& job, const std::string& field,
                                             Context& context) {
  try {
    const InputSet input = finder.find({job});
    return reader::openReader({})->open(input.files)->scores(field, context.stop);
  } catch (const core::Interrupted&) {
    throw;
  } catch (const Error& error) {
    context.console.notice("caiexport: no scores of job " + job + ": " + core::printable(error.what(), 300));
    return std::nullopt;
  }
}

Side sideOf(InputFinder& finder, const std::string& job, const std::string& field, Context& context) {
  Side side{.view = finder.job(job), .scores = {}};
  side.scores = scoresOf(finder, job, field, context);
  return side;
}

/// One thing that is compared. All of them are exact in a double: rows and bytes stay far below 2^53.
struct Line {
  std::string_view name;
  std::optional<double> a;
  std::optional<double> b;
  bool whole = true;

  std::optional<double> change() const { return a && b ? std::optional(*b - *a) : std::nullopt; }
};

std::optional<double> number(const std::optional<std::uint64_t>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

using Lines = std::array<Line, 7>;
constexpr std::size_t kFirstBucket = 4;

Lines compare(const Side& a, const Side& b) {
  const auto bucket = [](const Side& side, std::uint64_t reader::ScoreSummary::*which) {
    return side.scores ? number((*side.scores).*which) : std::nullopt;
  };
  const auto mean = [](const Side& side) { return side.scores ? side.scores->mean : std::nullopt; };
  return {{{"records", number(a.view.job.records), number(b.view.job.records)},
           {"bytes", number(a.view.job.totalBytes), number(b.view.job.totalBytes)},
           {"files", number(a.view.job.fileCount), number(b.view.job.fileCount)},
           {"mean", mean(a), mean(b), false},
           {"low", bucket(a, &reader::ScoreSummary::low), bucket(b, &reader::ScoreSummary::low)},
           {"medium", bucket(a, &reader::ScoreSummary::medium), bucket(b, &reader::ScoreSummary::medium)},
           {"high", bucket(a, &reader::ScoreSummary::high), bucket(b, &reader::ScoreSummary::high)}}};
}

// --- JSON

void writeNumber(json::Writer& json, const std::optional<double>& value, bool whole) {
  value ? json.number(core::fixed(*value, whole ? 0 : 6)) : json.null();
}

template <class Value>
void writeFigures(json::Writer& json, const Lines& lines, Value value) {
  for (std::size_t i = 0; i < kFirstBucket; ++i) {
    json.key(lines[i].name);
    writeNumber(json, value(lines[i]), lines[i].whole);
  }
  json.key("buckets");
  if (!value(lines[kFirstBucket])) {
    json.null();
    return;
  }
  json.beginObject();
  for (std::size_t i = kFirstBucket; i < lines.size(); ++i) {
    json.key(lines[i].name);
    writeNumber(json, value(lines[i]), true);
  }
  json.endObject();
}

template <class Value>
void writeSide(json::Writer& json, const Side& side, const Lines& lines, Value value) {
  const model::Job& job = side.view.job;
  json.beginObject();
  json.key("job").value(model::numberOf(job.id));
  json.key("status").value(model::nameOf(side.view.status));
  json.key("source_id").value(job.request.sourceId);
  json.key("batch_ids").array(job.batches, [](const model::Batch& batch) { return batch.id.value(); });
  json.key("created_at").value(core::formatTime(job.createdAt));
  json.key("field").textOrNull(side.scores ? side.scores->field : "");
  writeFigures(json, lines, value);
  json.endObject();
}

void printJson(const Side& a, const Side& b, const Lines& lines, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("a");
  writeSide(json, a, lines, [](const Line& line) { return line.a; });
  json.key("b");
  writeSide(json, b, lines, [](const Line& line) { return line.b; });
  json.key("change").beginObject();
  writeFigures(json, lines, [](const Line& line) { return line.change(); });
  json.endObject();
  json.key("error").null();
  json.endObject();
  out.write("\n");
}

// --- text

std::string percent(double value) {
  return std::string(value < 0 ? " (" : " (+") + core::fixed(value, 1) + " %)";
}

std::string shown(const std::optional<double>& value, bool whole) {
  if (!value) return "-";
  return whole ? grouped(static_cast<std::uint64_t>(*value)) : core::fixed(*value, 2);
}

std::string changeText(const Line& line) {
  const std::optional<double> change = line.change();
  if (!change) return "-";
  if (*change == 0) return "none";
  const std::string sign = *change < 0 ? "-" : "+";
  const double size = std::abs(*change);
  std::string text = sign + (line.whole ? grouped(static_cast<std::uint64_t>(size)) : core::fixed(size, 2));
  if (*line.a != 0) text += percent(100.0 * *change / *line.a);
  return text;
}

void printText(const Side& a, const Side& b, const Lines& lines, StandardOutput& out) {
  const auto title = [](const Side& side) { return "job " + std::to_string(model::numberOf(side.view.job.id)); };
  reader::Table table{.columns = {{"", "", false}, {title(a), "", true}, {title(b), "", true}, {"change", "", true}}};
  for (const Line& line : lines) {
    table.rows.push_back(
        {std::string(line.name), shown(line.a, line.whole), shown(line.b, line.whole), changeText(line)});
  }
  if (a.view.job.request.sourceId != b.view.job.request.sourceId) {
    out.write("These jobs are not of the same source: " + core::printable(a.view.job.request.sourceId, 80) + " and " +
              core::printable(b.view.job.request.sourceId, 80) + "\n");
  }
  out.write(reader::renderTable(table, out.width()));
}

engine::PruneRequest parse(const ParsedOptions& options) {
  if (options.arguments().size() != 1) {
    throwUsage("history prune takes no job numbers, only --before TIME");
  }
  const auto before = timeOption(options, "before", core::systemClock().now());
  if (!before) {
    throwUsage("history prune needs --before TIME", "caiexport history prune --before 365d --dry-run");
  }
  return {.before = *before, .files = options.has("files"), .dryRun = options.has("dry-run")};
}

engine::PruneResult prune(const store::Location& location, const engine::PruneRequest& request, Context& context) {
  const std::unique_ptr<Record> record =
      Record::open(location, request.dryRun ? Record::Mode::readOnly : Record::Mode::readWrite);
  if (!record) return {};
  store::PruneStore records(record->database());
  return engine::prune(records, record->history(), record->locks(), core::diskFileSystem(), request, context.stop);
}

void printJson(const engine::PruneRequest& request, const engine::PruneResult& result, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("dry_run").value(request.dryRun);
  json.key("before").value(core::formatTime(request.before));
  json.key("pruned").array(result.pruned, [](const model::JobId job) { return model::numberOf(job); });
  json.key("kept").objects(result.kept, [&](const auto& kept) {
    json.key("job").value(model::numberOf(kept.job));
    json.key("why").value(kept.why);
  });
  json.key("files").value(result.files);
  json.key("bytes").value(result.bytes);
  json.key("kept_files").objects(result.keptFiles, [&](const auto& kept) {
    json.key("path").value(kept.path.string());
    json.key("why").value(kept.why);
  });
  json.key("error").null();
  json.endObject();
  out.write("\n");
}

void printText(const engine::PruneRequest& request, const engine::PruneResult& result, StandardOutput& out) {
  for (const auto& kept : result.kept) {
    out.write("job " + std::to_string(model::numberOf(kept.job)) + " stays: " + kept.why + "\n");
  }
  for (const auto& kept : result.keptFiles) {
    out.write("file stays: " + core::printable(kept.path.string()) + ": " + kept.why + "\n");
  }
  std::string text = counted(result.pruned.size(), "job", "jobs");
  if (request.files) text += " and " + counted(result.files, "file", "files") + ", " + core::formatBytes(result.bytes);
  out.write(text + (request.dryRun ? " would be removed; nothing was removed\n" : " removed\n"));
}

}  // namespace

CommandEnd diffJobs(const ParsedOptions& options, TextOrJson format, Context& context) {
  const std::vector<std::string>& words = options.arguments();
  if (words.size() != 3) {
    throwUsage("history diff needs the numbers of two jobs", "caiexport history diff 11 12");
  }
  const std::string field = textOption(options, "field").value_or("");
  for (std::size_t i = 1; i < words.size(); ++i) jobNumber(words[i]);
  Configuration configuration(options, context.environment);
  InputFinder finder(configuration);
  const Side a = sideOf(finder, words[1], field, context);
  const Side b = sideOf(finder, words[2], field, context);
  const Lines lines = compare(a, b);
  format == TextOrJson::json ? printJson(a, b, lines, context.out) : printText(a, b, lines, context.out);
  return {};
}

CommandEnd pruneJobs(const ParsedOptions& options, TextOrJson format, Context& context) {
  const engine::PruneRequest request = parse(options);
  Configuration configuration(options, context.environment);
  const engine::PruneResult result = prune(configuration.database(), request, context);
  format == TextOrJson::json ? printJson(request, result, context.out) : printText(request, result, context.out);
  return {};
}

}  // namespace caiexport::cli
