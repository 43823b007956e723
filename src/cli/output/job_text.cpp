#include "job_text.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <limits>

#include "caiexport/core/text.h"
#include "caiexport/model/plan.h"
#include "caiexport/store/history.h"
#include "job_fields.h"
#include "job_json.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kShownFiles = 20;
constexpr std::size_t kShownEvents = 20;

std::string whatText(const model::Job& job) {
  std::string text = job.request.kind == model::Kind::dataset ? "Dataset " : "Segment ";
  return text + core::printable(job.request.sourceId, 80) + " (sandbox " + core::printable(job.request.sandbox, 40) +
         ")";
}

std::string rateText(const std::optional<Arrived>& arrived) {
  if (!arrived || arrived->time <= core::Duration::zero()) return {};
  const double seconds = std::chrono::duration<double>(arrived->time).count();
  const double rate = static_cast<double>(arrived->bytes) / seconds;
  return "; " + core::formatBytes(arrived->bytes) + " arrived at " +
         core::formatBytes(static_cast<std::uint64_t>(rate)) + "/s";
}

void appendTable(std::string& out, std::string_view title, const reader::Table& table, std::size_t width) {
  out.append("\n").append(title).append("\n").append(reader::renderTable(table, width));
}

void appendError(std::string& out, const model::JobError& error) {
  out += "  error       " + core::printable(error.message) + "\n";
  if (!error.requestId.empty()) out += "  request id  " + core::printable(error.requestId) + "\n";
  if (!error.hint.empty()) out += "  hint        " + core::printable(error.hint) + "\n";
}

reader::Table stepTable(const model::Job& job) {
  reader::Table table{.columns = {{"step", "", false},
                                  {"state", "", false},
                                  {"started", "", false},
                                  {"finished", "", false},
                                  {"tries", "", true}}};
  for (const model::Step& step : job.steps) {
    table.rows.push_back({std::string(model::nameOf(step.name)), std::string(model::nameOf(step.state)),
                          timeText(step.startedAt), timeText(step.finishedAt), std::to_string(step.attempts)});
  }
  return table;
}

reader::Table fileTable(const model::Job& job, store::History& history, std::uint64_t& total) {
  reader::Table table{
      .columns = {{"file", "", false}, {"state", "", false}, {"size", "", true}, {"records", "", true}}};
  history.forEachFile(job.id, [&](const model::FileRecord& file) {
    if (++total > kShownFiles) return;
    table.rows.push_back({core::printable(file.path, 80), std::string(model::nameOf(file.state)),
                          core::formatBytes(file.remote.lengthBytes), file.records ? grouped(*file.records) : "-"});
  });
  return table;
}

reader::Table eventTable(const model::Job& job, store::History& history, std::uint64_t& total) {
  std::deque<std::vector<std::string>> newest;
  history.forEachEvent(job.id, [&](const model::Event& event) {
    ++total;
    newest.push_back({timeText(event.at), event.step ? std::string(model::nameOf(*event.step)) : "-",
                      core::printable(event.what, 40), core::printable(event.detail, 300)});
    if (newest.size() > kShownEvents) newest.pop_front();
  });
  return {.columns = {{"at", "", false}, {"step", "", false}, {"event", "", false}, {"detail", "", false}},
          .rows = {newest.begin(), newest.end()}};
}

std::string nextCommand(const store::JobView& view) {
  const std::string job = std::to_string(model::numberOf(view.job.id));
  switch (view.status) {
    case model::JobStatus::succeeded:
      return view.job.request.download ? "caiexport scores " + job : "";
    case model::JobStatus::pending:
    case model::JobStatus::waiting:
    case model::JobStatus::interrupted:
    case model::JobStatus::failed:
      return view.held ? "" : "caiexport resume " + job;
    case model::JobStatus::running:
    case model::JobStatus::blocked:
    case model::JobStatus::cancelled:
      return "";
  }
  return "";
}

}  // namespace

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string timeText(const std::optional<core::TimePoint>& time) {
  if (!time) return "-";
  std::string text = core::formatTime(*time);
  text.replace(text.find('T'), 1, " ");
  return text.substr(0, 19) + "Z";
}

std::string sizeText(const model::Job& job) {
  std::string text = counted(job.batches.size(), "batch", "batches") + ", " + counted(job.fileCount, "file", "files") +
                     ", " + core::formatBytes(job.totalBytes);
  if (job.records) text += ", " + recordsText(*job.records, job.batches.size());
  return text;
}

std::string recordsText(std::uint64_t records, std::size_t batches) {
  return batches > 1 ? counted(records, "row", "rows") : counted(records, "customer", "customers");
}

std::string counted(std::uint64_t number, std::string_view one, std::string_view many) {
  return grouped(number).append(" ").append(number == 1 ? one : many);
}

std::string replacementText(const model::Replacement& replacement) {
  std::string text = "replaced by " + core::printable(replacement.by.value(), 80);
  switch (replacement.action) {
    case model::ReplaceAction::keep:
      return text + ", kept where it is";
    case model::ReplaceAction::aside:
      return text + ", moved " +
             (replacement.path.empty() ? "aside" : "to " + core::printable(replacement.path.string()));
    case model::ReplaceAction::remove:
      return text + ", deleted";
    case model::ReplaceAction::skip:
      return text + ", not downloaded";
  }
  return text;
}

std::string resultText(const store::JobView& view, const std::optional<Arrived>& arrived,
                       const std::optional<core::Duration>& ran) {
  const model::Job& job = view.job;
  const std::string number = std::to_string(model::numberOf(job.id));
  if (view.status == model::JobStatus::waiting) {
    return "Job " + number + " is waiting for the platform" +
           (job.exportJobId.empty() ? "" : " (export job " + core::printable(job.exportJobId.value(), 40) + ")") +
           ".\nNext: caiexport resume " + number + "\n";
  }
  std::string text = "Job " + number + " is done" + (ran ? " in " + core::formatDuration(*ran) : "") +
                     rateText(arrived) + ".\n" + whatText(job) + ": " + sizeText(job) + "\n";
  if (job.evaluatedAt) {
    text += "Members as of " + timeText(job.evaluatedAt) + ", when the segment was last evaluated" +
            (job.expectedProfiles ? " and had " + grouped(*job.expectedProfiles) + " of them" : "") + "\n";
  }
  if (job.request.download) {
    const std::filesystem::path folder =
        job.batches.size() == 1 ? batchFolder(job, job.batches.front().id) : job.request.output / job.datasetId.value();
    text += "In " + core::printable(folder.string()) + "\n";
  } else {
    text += "Nothing was downloaded, as asked. The dataset is " + core::printable(job.datasetId.value(), 80) + "\n";
  }
  const std::string next = nextCommand(view);
  if (!next.empty()) text += "Next: " + next + "\n";
  return text;
}

std::string showText(const store::JobView& view, store::History& history, std::size_t width) {
  const model::Job& job = view.job;
  std::string out = "Job " + std::to_string(model::numberOf(job.id)) + ": " +
                    std::string(model::nameOf(job.request.kind)) + " " + core::printable(job.request.sourceId, 200) +
                    "\n";
  out += jobFacts(view, history.replacementsOf(job));
  if (job.error) appendError(out, *job.error);
  appendTable(out, "Steps", stepTable(job), width);
  std::uint64_t files = 0;
  const reader::Table fileRows = fileTable(job, history, files);
  if (files > 0) appendTable(out, "Files", fileRows, width);
  if (files > kShownFiles) out += "and " + grouped(files - kShownFiles) + " more (--format json lists all)\n";
  std::uint64_t events = 0;
  const reader::Table eventRows = eventTable(job, history, events);
  if (events > 0) appendTable(out, events > kShownEvents ? "Newest events" : "Events", eventRows, width);
  const std::string next = nextCommand(view);
  if (!next.empty()) out += "\nNext: " + next + "\n";
  return out;
}

namespace {

/// `-1.5e3`: harmless, and of use as it is.
bool isNumber(std::string_view text) {
  double value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && text.find_first_of("iInN") == text.npos;
}

/// Spreadsheets run such a cell, some also with the wide forms of these characters.
bool beginsAFormula(std::string_view text) {
  for (const std::string_view start : {"=", "+", "-", "@", "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"}) {
    if (text.starts_with(start)) return !isNumber(text);
  }
  return false;
}

}  // namespace

std::string csvField(std::string_view text) {
  std::string shown = core::printable(text, std::numeric_limits<std::size_t>::max());
  if (beginsAFormula(core::trim(shown))) shown.insert(0, "'");
  if (shown.find_first_of(",\"") == shown.npos) return shown;
  std::string out = "\"";
  for (const char c : shown) {
    if (c == '"') out += '"';
    out += c;
  }
  return out += '"';
}

}  // namespace caiexport::cli
