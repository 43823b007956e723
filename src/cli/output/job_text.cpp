#include "job_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <limits>

#include "caiexport/core/text.h"
#include "caiexport/model/plan.h"
#include "caiexport/store/history.h"
#include "job_json.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kShownFiles = 20;
constexpr std::size_t kShownEvents = 20;

std::string timeText(const std::optional<core::TimePoint>& time) {
  if (!time) return "-";
  std::string text = core::formatTime(*time);
  text.replace(text.find('T'), 1, " ");
  return text.substr(0, 19) + "Z";
}

std::string whatText(const model::Job& job) {
  std::string text = job.request.kind == model::Kind::dataset ? "Dataset " : "Segment ";
  return text + core::printable(job.request.sourceId, 80) + " (sandbox " + core::printable(job.request.sandbox, 40) +
         ")";
}

std::string sizeText(const model::Job& job) {
  std::string text = counted(job.batches.size(), "batch", "batches") + ", " + counted(job.fileCount, "file", "files") +
                     ", " + core::formatBytes(job.totalBytes);
  if (job.records) text += ", " + recordsText(*job.records, job.batches.size());
  return text;
}

core::Duration lengthOf(const model::Job& job) {
  return job.finishedAt.value_or(job.updatedAt) - job.createdAt;
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

void appendFacts(std::string& out, const store::JobView& view, std::span<const model::Replacement> replaced) {
  const model::Job& job = view.job;
  const auto fact = [&out](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    std::string padded(name);
    padded.resize(12, ' ');
    out += "  " + padded + core::printable(value) + "\n";
  };
  fact("status", std::string(model::nameOf(view.status)) + (view.held ? " (a process runs it)" : ""));
  fact("org", job.request.orgId);
  fact("sandbox", job.request.sandbox);
  fact("dataset", job.datasetId.value());
  fact("export job", job.exportJobId.value());
  fact("platform", job.remoteStatus);
  for (const model::Batch& batch : job.batches) {
    const auto gone = std::ranges::find(replaced, batch.id, &model::Replacement::batch);
    fact("batch", batch.id.value() + (gone == replaced.end() ? "" : " (" + replacementText(*gone) + ")"));
  }
  fact("holds", job.batches.empty() ? "" : sizeText(job));
  fact("output", job.request.output.string());
  fact("evaluated", job.evaluatedAt ? timeText(job.evaluatedAt) : "");
  fact("expected", job.expectedProfiles ? grouped(*job.expectedProfiles) + " members, as counted then" : "");
  fact("created", timeText(job.createdAt));
  if (job.finishedAt)
    fact("finished", timeText(job.finishedAt) + " (" + core::formatDuration(lengthOf(job)) + " after it was made)");
  if (job.error) appendError(out, *job.error);
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

/// How much of an id `history` shows.
std::size_t sourceWidth(std::size_t width) {
  // What the other columns need as a rule, with the gaps between them.
  constexpr std::size_t kOthers = 58;
  constexpr std::size_t kShortest = 12;
  constexpr std::size_t kUuid = 36;
  constexpr std::size_t kWide = 110;
  constexpr std::size_t kDatasetId = 24;
  if (width == 0) return 200;
  return std::clamp(width - std::min(width, kOthers), kShortest, width >= kWide ? kDatasetId : kUuid);
}

std::size_t widthOf(const reader::Table& table) {
  constexpr std::size_t kGap = 2;
  std::size_t sum = 0;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t widest = reader::displayWidth(table.columns[i].name);
    for (const auto& row : table.rows) widest = std::max(widest, reader::displayWidth(row[i]));
    sum += widest + kGap;
  }
  return sum;
}

/// Where a job failed, why says more than how large it was: columns of sizes make room for the reason.
void makeRoom(reader::Table& table, std::span<const store::JobView> views, std::size_t width) {
  constexpr std::size_t kFewWords = 30;
  const bool failed = std::ranges::any_of(views, [](const store::JobView& view) { return view.job.error.has_value(); });
  for (const std::string_view name : {"records", "files", "size"}) {
    if (width == 0 || !failed || widthOf(table) + kFewWords <= width) return;
    const auto column = std::ranges::find(table.columns, name, &reader::TableColumn::name);
    const auto at = column - table.columns.begin();
    for (auto& row : table.rows) row.erase(row.begin() + at);
    table.columns.erase(column);
  }
}

/// A last column for what went wrong, where there is room for some words of it.
void addErrors(reader::Table& table, std::span<const store::JobView> views, std::size_t width) {
  constexpr std::size_t kLeast = 16;
  constexpr std::size_t kMost = 200;
  const std::size_t used = widthOf(table);
  const std::size_t room = width == 0 ? kMost : width - std::min(width, used);
  const bool failed = std::ranges::any_of(views, [](const store::JobView& view) { return view.job.error.has_value(); });
  if (!failed || room < kLeast) return;
  table.columns.push_back({"error", "", false});
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto& error = views[i].job.error;
    table.rows[i].push_back(error ? reader::fitTo(core::printable(error->message, kMost), std::min(room, kMost)) : "");
  }
}

std::string ageText(core::TimePoint created, core::TimePoint now) {
  const core::Duration age = std::max(now - created, core::Duration::zero());
  if (age < std::chrono::minutes(1)) return std::to_string(age / std::chrono::seconds(1)) + "s";
  if (age < std::chrono::hours(1)) return std::to_string(age / std::chrono::minutes(1)) + "m";
  if (age < std::chrono::hours(48)) return std::to_string(age / std::chrono::hours(1)) + "h";
  return std::to_string(age / std::chrono::days(1)) + "d";
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

std::string recordsText(std::uint64_t records, std::size_t batches) {
  return batches > 1 ? counted(records, "record", "records") : counted(records, "profile", "profiles");
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
      return text + ", not fetched";
  }
  return text;
}

std::string resultText(const store::JobView& view, const std::optional<Arrived>& arrived,
                       const std::optional<core::Duration>& ran) {
  const model::Job& job = view.job;
  const std::string number = std::to_string(model::numberOf(job.id));
  if (view.status == model::JobStatus::waiting) {
    return "Job " + number + " waits for the platform" +
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
  appendFacts(out, view, history.replacementsOf(job));
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

reader::Table historyTable(std::span<const store::JobView> views, core::TimePoint now, std::size_t width) {
  reader::Table table{.columns = {{"job", "", true},
                                  {"kind", "", false},
                                  {"status", "", false},
                                  {"source", "", false},
                                  {"files", "", true},
                                  {"size", "", true},
                                  {"records", "", true},
                                  {"age", "", true}}};
  const std::size_t source = sourceWidth(width);
  for (const store::JobView& view : views) {
    const model::Job& job = view.job;
    table.rows.push_back({std::to_string(model::numberOf(job.id)), std::string(model::nameOf(job.request.kind)),
                          std::string(model::nameOf(view.status)),
                          reader::fitTo(core::printable(job.request.sourceId, 200), source), grouped(job.fileCount),
                          core::formatBytes(job.totalBytes), job.records ? grouped(*job.records) : "-",
                          ageText(job.createdAt, now)});
  }
  makeRoom(table, views, width);
  addErrors(table, views, width);
  return table;
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

std::string historyCsvHeader() {
  return "job,kind,source_id,org_id,sandbox,status,held,step,dataset_id,export_job_id,batch_ids,files,bytes,records,"
         "output,created_at,updated_at,finished_at,error_category,error_message,error_request_id,error_hint,evaluated_"
         "at\r\n";
}

std::string historyCsvRow(const store::JobView& view) {
  const model::Job& job = view.job;
  std::string batches;
  for (const model::Batch& batch : job.batches) batches.append(batches.empty() ? "" : " ").append(batch.id.value());
  const auto step = model::currentStep(job.steps);
  const model::JobError error = job.error.value_or(model::JobError{});
  const std::array<std::string, 23> fields{std::to_string(model::numberOf(job.id)),
                                           std::string(model::nameOf(job.request.kind)),
                                           job.request.sourceId,
                                           job.request.orgId,
                                           job.request.sandbox,
                                           std::string(model::nameOf(view.status)),
                                           view.held ? "true" : "false",
                                           step ? std::string(model::nameOf(*step)) : "",
                                           job.datasetId.value(),
                                           job.exportJobId.value(),
                                           batches,
                                           std::to_string(job.fileCount),
                                           std::to_string(job.totalBytes),
                                           job.records ? std::to_string(*job.records) : "",
                                           job.request.output.string(),
                                           core::formatTime(job.createdAt),
                                           core::formatTime(job.updatedAt),
                                           job.finishedAt ? core::formatTime(*job.finishedAt) : "",
                                           job.error ? std::string(core::nameOf(error.category)) : "",
                                           error.message,
                                           error.requestId,
                                           error.hint,
                                           job.evaluatedAt ? core::formatTime(*job.evaluatedAt) : ""};
  std::string line;
  for (const std::string& field : fields) line.append(line.empty() ? "" : ",").append(csvField(field));
  return line + "\r\n";
}

}  // namespace caiexport::cli
