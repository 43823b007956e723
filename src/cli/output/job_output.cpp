#include "job_output.h"

#include <algorithm>
#include <array>
#include <deque>

#include "caiexport/cli/application.h"
#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/layout.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/job.h"
#include "caiexport/store/delivery_store.h"
#include "caiexport/store/history.h"

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

void appendError(std::string& out, const model::JobError& error, std::size_t width) {
  const auto fact = [&](std::string_view name, const std::string& text) {
    if (!text.empty()) out += factLine(name, core::printable(text), kFactsAt, width);
  };
  fact("error", error.message);
  fact("request id", error.requestId);
  fact("hint", error.hint);
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

reader::Table deliveryTable(const std::vector<store::Delivery>& deliveries) {
  reader::Table table{
      .columns = {{"batch", "", false}, {"state", "", false}, {"at", "", false}, {"target", "", false}}};
  for (const store::Delivery& one : deliveries) {
    table.rows.push_back({core::printable(one.batch.value(), 80), std::string(store::nameOf(one.state)),
                          timeText(one.changedAt), core::printable(one.target, 120)});
  }
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

reader::Table workerTable(std::span<const store::WorkerView> workers) {
  reader::Table table{
      .columns = {{"host", "", false}, {"process", "", true}, {"files under way", "", true}, {"", "", false}}};
  for (const store::WorkerView& worker : workers) {
    table.rows.push_back({core::printable(worker.host, 60), std::to_string(worker.process), grouped(worker.files),
                          worker.head ? "head: lists, verifies" : ""});
  }
  return table;
}

std::string nextCommand(const store::JobView& view) {
  using enum model::JobStatus;
  const std::string job = std::to_string(model::numberOf(view.job.id));
  const bool here = view.job.request.download && !view.job.request.deleteAfterDelivery;
  if (view.status == succeeded) return here ? "caiexport scores " + job : "";
  const bool stopped =
      view.status == pending || view.status == waiting || view.status == interrupted || view.status == failed;
  return stopped && !view.held ? "caiexport resume " + job : "";
}

constexpr std::size_t kLongestName = 1000;

bool isNewer(const Listed& a, const Listed& b) {
  if (a.at != b.at) return b.at < a.at;
  return a.id < b.id;
}

std::string dayOf(const std::optional<core::TimePoint>& time) {
  return time ? core::formatTime(*time).substr(0, 10) : "-";
}

reader::Table tableOf(std::span<const Listed> entries, const ListingColumns& columns) {
  reader::Table table{.columns = {{"id", "", false}, {std::string(columns.at), "", false}}};
  if (!columns.mark.empty()) table.columns.push_back({std::string(columns.mark), "", false});
  table.columns.push_back({"name", "", false});
  for (const Listed& entry : entries) {
    std::vector<std::string> row{core::printable(entry.id), dayOf(entry.at)};
    if (!columns.mark.empty()) row.push_back(entry.mark.empty() ? "-" : core::printable(entry.mark, 40));
    row.push_back(core::printable(entry.name, kLongestName));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string inTwoLines(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width) {
  std::string out;
  for (const Listed& entry : entries) {
    const bool marked = !columns.mark.empty() && !entry.mark.empty();
    const std::string mark = marked ? "[" + core::printable(entry.mark, 40) + "] " : "";
    out += reader::fitTo(mark + core::printable(entry.name, kLongestName), width) + "\n";
    out += "  " + core::printable(entry.id) + "\n";
  }
  return out;
}

void writeSteps(json::Writer& json, const model::Job& job) {
  json.key("steps").objects(job.steps, [&](const model::Step& step) {
    json.key("name").value(model::nameOf(step.name));
    json.key("state").value(model::nameOf(step.state));
    writeTime(json, "started_at", step.startedAt);
    writeTime(json, "finished_at", step.finishedAt);
    json.key("attempts").value(std::uint64_t{step.attempts});
  });
}

/// Where it is now: its batch may have been moved aside.
std::filesystem::path placeOf(const model::Job& job, const model::FileRecord& file,
                              std::span<const model::Replacement> replaced) {
  const auto moved = std::ranges::find(replaced, file.remote.batchId, &model::Replacement::batch);
  if (moved == replaced.end() || moved->action != model::ReplaceAction::aside) return pathOf(job, file);
  return moved->path / file.path;
}

void writeFile(json::Writer& json, const model::FileRecord& file, const std::filesystem::path& path) {
  json.beginObject();
  json.key("name").value(file.remote.name);
  json.key("path").value(path.string());
  json.key("batch_id").value(file.remote.batchId.value());
  json.key("dataset_file_id").value(file.remote.datasetFileId.value());
  json.key("bytes").value(file.remote.lengthBytes);
  json.key("sha256").textOrNull(file.sha256);
  json.key("records").value(file.records);
  json.key("state").value(model::nameOf(file.state));
  json.endObject();
}

void writeEvent(json::Writer& json, const model::Event& event) {
  json.beginObject();
  writeTime(json, "at", event.at);
  json.key("step").textOrNull(event.step ? model::nameOf(*event.step) : "");
  json.key("what").value(event.what);
  json.key("detail").value(event.detail);
  json.endObject();
}

}  // namespace

std::filesystem::path recordedFolder(const model::Job& job, const model::BatchId& batch) {
  return engine::recordedFolder(job, batch);
}

std::filesystem::path pathOf(const model::Job& job, const model::FileRecord& file) {
  return recordedFolder(job, file.remote.batchId) / file.path;
}

// --- text

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
  if (!job.request.deliver.empty()) text += "At " + core::printable(job.request.deliver, 200) + "\n";
  if (job.request.deleteAfterDelivery) {
    text += "Its files here were deleted after that, as asked.\n";
  } else if (job.request.download) {
    const std::filesystem::path folder =
        job.batches.size() == 1 ? recordedFolder(job, job.batches.front().id) : engine::folderOf(job);
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
  out += jobFacts(view, history.replacementsOf(job), width);
  if (job.error) appendError(out, *job.error, width);
  const reader::Table deliveries = deliveryTable(history.deliveriesOf(job));
  if (!deliveries.rows.empty()) appendTable(out, "Deliveries", deliveries, width);
  appendTable(out, "Steps", stepTable(job), width);
  const std::vector<store::WorkerView> workers = history.workers(job.id);
  if (!workers.empty()) appendTable(out, "Workers", workerTable(workers), width);
  std::uint64_t files = 0;
  const reader::Table fileRows = fileTable(job, history, files);
  if (files > 0) appendTable(out, "Files", fileRows, width);
  if (files > kShownFiles) out += "and " + grouped(files - kShownFiles) + " more (--format json lists all)\n";
  std::uint64_t events = 0;
  const reader::Table eventRows = eventTable(job, history, events);
  if (events > 0) appendTable(out, events > kShownEvents ? "Newest events" : "Events", eventRows, width);
  // Last, since what is above may have scrolled away.
  if (files > 0) out += "\nIn all " + wrapped(sizeText(job), width == 0 ? std::string::npos : width - 7, 0) + "\n";
  const std::string next = nextCommand(view);
  if (!next.empty()) out += "\nNext: " + next + "\n";
  return out;
}

// --- JSON

void writeReplacements(json::Writer& json, std::span<const model::Replacement> replacements) {
  json.objects(replacements, [&](const model::Replacement& one) {
    json.key("batch_id").value(one.batch.value());
    json.key("by").value(one.by.value());
    json.key("action").value(model::nameOf(one.action));
    json.key("path").textOrNull(one.path.string());
  });
}

void writeJob(json::Writer& json, const store::JobView& view, JobDetail detail, store::History& history,
              const std::optional<model::JobError>& error) {
  const model::Job& job = view.job;
  json.beginObject();
  writeJobFields(json, view);
  json.key("error");
  writeError(json, error ? error : job.error);
  if (detail != JobDetail::summary) {
    writeSteps(json, job);
    const std::vector<model::Replacement> replaced = history.replacementsOf(job);
    json.key("file_list").beginArray();
    history.forEachFile(job.id,
                        [&](const model::FileRecord& file) { writeFile(json, file, placeOf(job, file, replaced)); });
    json.endArray();
    json.key("replaced");
    writeReplacements(json, replaced);
    json.key("deliveries").objects(history.deliveriesOf(job), [&](const store::Delivery& one) {
      json.key("batch_id").value(one.batch.value());
      json.key("target").value(one.target);
      json.key("state").value(store::nameOf(one.state));
      json.key("changed_at").value(core::formatTime(one.changedAt));
      json.key("deleted_here").value(one.deletedFrom == job.request.output);
    });
  }
  if (detail == JobDetail::everything && !job.share.empty()) {
    json.key("workers").beginArray();
    for (const store::WorkerView& worker : history.workers(job.id)) {
      json.beginObject();
      json.key("host").value(worker.host);
      json.key("process").value(worker.process);
      json.key("head").value(worker.head);
      json.key("files_under_way").value(worker.files);
      json.endObject();
    }
    json.endArray();
  }
  if (detail == JobDetail::everything) {
    json.key("events").beginArray();
    history.forEachEvent(job.id, [&](const model::Event& event) { writeEvent(json, event); });
    json.endArray();
  }
  json.endObject();
}

void endDocument(json::Writer& json, const std::optional<core::Error>& error, StandardOutput& out) {
  json.key("error");
  writeError(json, error ? std::optional(recordOf(*error)) : std::nullopt);
  json.endObject();
  out.write("\n");
}

ListFormat listFormat(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 3> kFormats{"table", "json", "csv"};
  return enumOption<ListFormat>(options, "format", kFormats);
}

Newest::Newest(std::string_view search, std::size_t limit) : search_(core::toLower(search)), limit_(limit) {}

void Newest::take(Listed listed) {
  const bool matches = core::toLower(listed.name).find(search_) != std::string::npos ||
                       core::toLower(listed.id).find(search_) != std::string::npos;
  if (!matches) return;
  ++found_;
  kept_.push_back(std::move(listed));
  if (limit_ == 0 || kept_.size() < 2 * limit_ + 100) return;
  std::ranges::nth_element(kept_, kept_.begin() + static_cast<std::ptrdiff_t>(limit_), isNewer);
  kept_.resize(limit_);
}

std::vector<Listed> Newest::sorted() {
  std::ranges::sort(kept_, isNewer);
  if (limit_ > 0 && kept_.size() > limit_) kept_.resize(limit_);
  return std::move(kept_);
}

std::size_t widthOf(const reader::Table& table, std::size_t columns) {
  constexpr std::size_t kGap = 2;
  std::size_t sum = 0;
  for (std::size_t i = 0; i < columns; ++i) {
    std::size_t widest = reader::displayWidth(table.columns[i].name);
    for (const auto& row : table.rows) widest = std::max(widest, reader::displayWidth(row[i]));
    sum += widest + kGap;
  }
  return sum;
}

bool fitLastColumn(reader::Table& table, std::size_t width, std::size_t least) {
  if (width == 0 || table.columns.empty()) return true;
  const std::size_t others = widthOf(table, table.columns.size() - 1);
  if (others + least > width) return false;
  for (auto& row : table.rows) row.back() = reader::fitTo(row.back(), width - others);
  return true;
}

std::string listingText(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width) {
  constexpr std::size_t kShortestName = 16;
  reader::Table table = tableOf(entries, columns);
  return fitLastColumn(table, width, kShortestName) ? reader::renderTable(table, width)
                                                    : inTwoLines(entries, columns, width);
}

}  // namespace caiexport::cli
