#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/json/writer.h"
#include "caiexport/store/history.h"
#include "cli/config/config.h"
#include "cli/record.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

using core::Category;
using store::SourceStatus;

constexpr std::array<Option, 4> kHow{{
    {"id", "ID", "only this dataset or segment"},
    {"max-age", "DURATION", "fail with exit code 12 if the newest batch is older than this, e.g. 8d"},
    {"format", "text|json|prometheus", "how the result is printed on standard output [text]"},
    {"output", "FILE",
     R"(write to FILE instead, replacing it in one step, as node_exporter's textfile collector needs it)"},
}};

enum class Format { text, json, prometheus };

// --- what is wrong with a source, and what to do

// Between this machine's clock and the platform's.
constexpr core::Duration kClockSlack = std::chrono::minutes(5);

core::Duration since(core::TimePoint time, core::TimePoint now) {
  return std::max(now - time, core::Duration::zero());
}

std::string ago(core::TimePoint time, core::TimePoint now) {
  return core::formatTime(time) + " (" + core::formatDuration(since(time, now)) + " ago)";
}

/// By whose doing the last run is not as it should be; nothing if it is.
std::optional<Category> failureOf(const SourceStatus::Last& last) {
  if (last.status == "interrupted") return Category::interrupted;
  if (last.status == "blocked") return Category::blocked;
  if (last.status == "failed") return last.error ? last.error->category : Category::internal;
  return std::nullopt;
}

std::string nextOf(const SourceStatus& source) {
  const SourceStatus::Last& last = source.last;
  const std::string job = last.job ? std::to_string(model::numberOf(*last.job)) : "";
  if (last.status == "running") return job.empty() ? "" : "caiexport show " + job + " --follow";
  if (last.status == "waiting") return "caiexport resume " + job;
  if (!failureOf(last)) return {};
  if (last.error && !last.error->hint.empty()) return last.error->hint;
  if (last.sync) return "caiexport sync --id " + source.sourceId + " continues";
  return last.status == "blocked" ? "caiexport show " + job : "caiexport resume " + job;
}

/// A source, and what is wrong with it.
struct StatusLine {
  StatusLine(store::SourceStatus status, core::TimePoint now, const std::optional<core::Duration>& maxAge);

  bool ok() const { return problem.empty(); }
  std::string name() const;  ///< `dataset 5f00...`

  store::SourceStatus source;
  std::string problem = {};  ///< Empty: none.
  core::Category category = core::Category::internal;
  std::string next = {};  ///< What to do now; empty: nothing.
  bool stale = false;     ///< Its newest batch is older than was asked for.
};

StatusLine::StatusLine(SourceStatus status, core::TimePoint now, const std::optional<core::Duration>& maxAge)
    : source(std::move(status)), next(nextOf(source)) {
  const bool ofTheFuture = source.newest && source.newest->created > now + kClockSlack;
  stale = maxAge && (!source.newest || ofTheFuture || now - source.newest->created > *maxAge);
  if (const auto failure = failureOf(source.last)) {
    category = *failure;
    problem = source.last.status;
    if (source.last.error) problem += ": " + source.last.error->message;
  } else if (stale) {
    category = Category::tooOld;
    if (!source.newest) {
      problem = "there is no batch here yet (--max-age)";
    } else if (ofTheFuture) {
      problem = "the newest batch is dated " + core::formatTime(source.newest->created) +
                ", which is yet to come: its age is not known (--max-age)";
      if (next.empty()) next = "check the clock of this machine";
    } else {
      problem = "the newest batch was created " + ago(source.newest->created, now) + "; expected at most " +
                core::formatDuration(*maxAge) + " (--max-age)";
    }
    if (next.empty()) next = "check that scoring is still scheduled, and that something runs caiexport regularly";
  }
}

std::string StatusLine::name() const {
  return std::string(model::nameOf(source.kind)) + " " + core::printable(source.sourceId, 80);
}

// --- for people

/// For a terminal of that width; 0: there is none.
std::string statusText(std::span<const StatusLine> lines, core::TimePoint now, std::size_t width) {
  constexpr std::size_t kAt = 16;
  std::string out;
  const auto fact = [&](std::string_view name, const std::string& value) {
    out += factLine(name, core::printable(value), kAt, width);
  };
  for (const StatusLine& line : lines) {
    const SourceStatus& source = line.source;
    if (!out.empty()) out += '\n';
    const std::string state = line.ok()                                         ? "ok"
                              : line.stale && source.last.status == "succeeded" ? "too old"
                                                                                : source.last.status;
    const std::string head = line.name() + " (sandbox " + core::printable(source.sandbox, 40) + "): " + state;
    out += (width == 0 ? head : wrapped(head, width, 2)) + "\n";
    fact("last run", ago(source.last.startedAt, now) + ", " + (source.last.sync ? "sync, " : "") +
                         (source.last.job ? "job " + std::to_string(model::numberOf(*source.last.job)) + ", " : "") +
                         source.last.status);
    fact("last success", source.lastSuccess ? ago(*source.lastSuccess, now) : "never");
    fact("newest batch",
         source.newest ? source.newest->batch.value() + ", created " + ago(source.newest->created, now) : "none here");
    if (!line.ok()) fact("problem", line.problem);
    if (!line.next.empty()) fact("next", line.next);
  }
  if (lines.size() < 2) return out;
  const auto well = static_cast<std::uint64_t>(std::ranges::count_if(lines, &StatusLine::ok));
  return out + "\n" + grouped(well) + " of " + grouped(lines.size()) + " are well\n";
}

// --- JSON

void writeLast(json::Writer& json, const SourceStatus::Last& last) {
  json.key("last_run").beginObject();
  json.key("sync").value(last.sync);
  json.key("job").value(last.job ? std::optional(model::numberOf(*last.job)) : std::nullopt);
  json.key("status").value(last.status);
  writeTime(json, "started_at", last.startedAt);
  writeTime(json, "ended_at", last.endedAt);
  json.endObject();
}

void writeLine(json::Writer& json, const StatusLine& line, core::TimePoint now) {
  const SourceStatus& source = line.source;
  json.beginObject();
  json.key("kind").value(model::nameOf(source.kind));
  json.key("source_id").value(source.sourceId);
  json.key("org_id").value(source.orgId);
  json.key("sandbox").value(source.sandbox);
  json.key("ok").value(line.ok());
  json.key("problem").textOrNull(line.problem);
  writeLast(json, source.last);
  writeTime(json, "last_success_at", source.lastSuccess);
  json.key("files").value(source.files);
  json.key("bytes").value(source.bytes);
  json.key("records").value(source.records);
  json.key("newest_batch");
  if (source.newest) {
    json.beginObject();
    json.key("batch_id").value(source.newest->batch.value());
    json.key("created").value(core::formatTime(source.newest->created));
    json.key("age_seconds").value(std::int64_t{since(source.newest->created, now) / std::chrono::seconds(1)});
    json.endObject();
  } else {
    json.null();
  }
  json.key("stale").value(line.stale);
  json.key("error");
  writeError(json, source.last.error);
  json.key("next").textOrNull(line.next);
  json.endObject();
}

/// An array.
std::string statusJson(std::span<const StatusLine> lines, core::TimePoint now) {
  std::string out = "[";
  for (const StatusLine& line : lines) {
    if (out.size() > 1) out += ",\n";
    json::Writer json([&out](std::string_view piece) { out += piece; });
    writeLine(json, line, now);
  }
  return out + "]\n";
}

// --- metrics: Prometheus' text exposition format

/// A label's value by the exposition format: backslash, quote and line end are escaped.
std::string labelValue(std::string_view text) {
  std::string out = "\"";
  for (const char c : core::printable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string labelsOf(const SourceStatus& source) {
  return "{kind=" + labelValue(model::nameOf(source.kind)) + ",source_id=" + labelValue(source.sourceId) +
         ",org_id=" + labelValue(source.orgId) + ",sandbox=" + labelValue(source.sandbox) + "}";
}

std::string secondsOf(core::TimePoint time) {
  const auto milliseconds = time.time_since_epoch().count();
  std::string fraction = std::to_string(milliseconds % 1000);
  fraction.insert(0, 3 - fraction.size(), '0');
  return std::to_string(milliseconds / 1000) + "." + fraction;
}

std::optional<std::string> secondsOf(const std::optional<core::TimePoint>& time) {
  return time ? std::optional(secondsOf(*time)) : std::nullopt;
}

using Measure = std::function<std::optional<std::string>(const StatusLine&)>;

void addMetric(std::string& out, std::span<const StatusLine> lines, const std::string& name, std::string_view help,
               const Measure& measure) {
  out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" gauge\n");
  for (const StatusLine& line : lines) {
    if (const auto value = measure(line))
      out.append(name).append(labelsOf(line.source)).append(" ").append(*value) += '\n';
  }
}

std::string flag(bool value) {
  return value ? "1" : "0";
}

std::string statusMetrics(std::span<const StatusLine> lines) {
  std::string out = "# HELP caiexport_build_info The program.\n# TYPE caiexport_build_info gauge\n";
  out += "caiexport_build_info{version=" + labelValue(core::programVersion()) + "} 1\n";
  addMetric(out, lines, "caiexport_ok", "1 if the last run ended well and the newest batch is young enough.",
            [](const StatusLine& line) { return flag(line.ok()); });
  addMetric(out, lines, "caiexport_running", "1 while a run is under way.",
            [](const StatusLine& line) { return flag(line.source.last.status == "running"); });
  addMetric(out, lines, "caiexport_last_run_exit_code", "Exit code of the last run that ended.",
            [](const StatusLine& line) -> std::optional<std::string> {
              if (line.source.last.status == "running") return std::nullopt;
              const auto failure = failureOf(line.source.last);
              return std::to_string(failure ? core::exitCodeOf(*failure) : 0);
            });
  addMetric(out, lines, "caiexport_last_run_timestamp_seconds", "When the last run began.",
            [](const StatusLine& line) { return std::optional(secondsOf(line.source.last.startedAt)); });
  addMetric(out, lines, "caiexport_last_success_timestamp_seconds", "When a run last ended well.",
            [](const StatusLine& line) { return secondsOf(line.source.lastSuccess); });
  addMetric(out, lines, "caiexport_newest_batch_timestamp_seconds", "When the newest batch that is here was created.",
            [](const StatusLine& line) -> std::optional<std::string> {
              if (!line.source.newest) return std::nullopt;
              return secondsOf(line.source.newest->created);
            });
  addMetric(out, lines, "caiexport_last_success_bytes", "Bytes of the last job that succeeded.",
            [](const StatusLine& line) -> std::optional<std::string> {
              if (!line.source.lastSuccessJob) return std::nullopt;
              return std::to_string(line.source.bytes);
            });
  addMetric(out, lines, "caiexport_last_success_records", "Records of the last job that succeeded.",
            [](const StatusLine& line) -> std::optional<std::string> {
              if (!line.source.records) return std::nullopt;
              return std::to_string(*line.source.records);
            });
  return out;
}

// --- the command

std::vector<store::SourceStatus> sourcesOf(Configuration& configuration, const std::optional<std::string>& id) {
  const std::unique_ptr<Record> record = Record::open(configuration.database());
  std::vector<store::SourceStatus> sources;
  if (record) sources = record->sources();
  if (!id) return sources;
  std::erase_if(sources, [&](const store::SourceStatus& source) { return source.sourceId != *id; });
  if (!sources.empty()) return sources;
  throw core::Error(core::Category::notFound, "nothing is on record about '" + core::printable(*id, 80) + "'",
                    {.hint = "caiexport history lists the jobs; is --database the right file?"});
}

/// The failure of the first that is not as it should be, with the count of all.
CommandEnd endOf(const std::vector<StatusLine>& lines) {
  const auto bad = [](const StatusLine& line) { return !line.ok(); };
  const auto first = std::ranges::find_if(lines, bad);
  if (first == lines.end()) return {};
  const auto count = std::ranges::count_if(lines, bad);
  std::string message = first->name() + ": " + first->problem;
  if (count > 1) message += " (and " + std::to_string(count - 1) + " more of " + std::to_string(lines.size()) + ")";
  return core::Error(first->category, message, {.hint = first->next});
}

}  // namespace

const CommandPage& statusPage() {
  static const CommandPage page{
      .name = "status",
      .summary = "show how each dataset and segment on record is doing",
      .arguments = "",
      .description =
          R"(Shows for each dataset and segment on record its last run and how that ended, its last success, its
newest batch and the age of that, what went wrong, and what to do next. The exit code is 0 if all
are well. Otherwise it is that of the last run of the first that is not: 12 if its newest batch is
older than --max-age, 130 if its run was killed. With --format prometheus it is always 0, since the
values say it. Needs neither settings nor the network.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport status --max-age 8d", "for a monitoring system, which looks at the exit code"},
                   {"caiexport status --format prometheus --output /var/lib/node_exporter/caiexport.prom",
                    "for node_exporter's textfile collector"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130}};
  return page;
}

CommandEnd runStatus(const ParsedOptions& options, Context& context) {
  refuseArguments(options);
  constexpr std::array<std::string_view, 3> kFormats{"text", "json", "prometheus"};
  const std::string format = wordOption(options, "format", kFormats);
  const std::optional<core::Duration> maxAge = durationOption(options, "max-age");
  const std::optional<std::string> id = idOption(options, "id", "dataset or segment id");
  const std::optional<std::string> output = textOption(options, "output");
  Configuration configuration(options, context.environment);
  const core::TimePoint now = core::systemClock().now();
  std::vector<StatusLine> lines;
  for (store::SourceStatus& source : sourcesOf(configuration, id)) lines.emplace_back(std::move(source), now, maxAge);

  const bool bounded = !output && context.out.terminal();
  std::string text = format == "json"         ? statusJson(lines, now)
                     : format == "prometheus" ? statusMetrics(lines)
                                              : statusText(lines, now, bounded ? context.out.width() : 0);
  if (lines.empty() && format == "text") context.console.notice("caiexport: no jobs yet");
  if (output) {
    core::writeFileAtomically(core::diskFileSystem(), *output, text);
  } else {
    context.out.write(text);
  }
  return format == "prometheus" ? CommandEnd() : endOf(lines);
}

}  // namespace caiexport::cli
