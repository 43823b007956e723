/// Everything that `history` and `show` tell about a job, in one list: its name in JSON and CSV, its column in the
/// table, its line in `show`. A new one is a line of that list.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/model/job.h"
#include "caiexport/store/history.h"
#include "job_output.h"

namespace caiexport::cli {
namespace {

using store::JobView;

/// Of the table of `history`, between two columns.
constexpr std::size_t kGap = 2;
/// Of what went wrong, as far as it is shown there.
constexpr std::size_t kMostOfError = 200;

std::size_t drawnWidth(const std::string& cell) {
  return reader::TableLines::drawnWidth(cell);
}

struct Nothing {};
/// Signed numbers are names of things (a job's), unsigned ones count something.
using Value =
    std::variant<Nothing, std::string, std::int64_t, std::uint64_t, bool, core::TimePoint, std::vector<std::string>>;

enum class Formats {
  jsonAndCsv,
  csvAlone,    ///< JSON has it elsewhere.
  jsonIfKnown  ///< Not in CSV; in JSON only where there is a value.
};

/// What the table of `history` is made for.
struct TableSetting {
  core::TimePoint now;
  std::size_t sourceWidth;
};

struct JobField {
  std::string_view name = {};  ///< Of the member in JSON and the column in CSV; empty: for people alone.
  Value (*value)(const JobView& view) = nullptr;
  Formats formats = Formats::jsonAndCsv;

  std::string_view column = {};  ///< Its heading in the table of `history`; empty: not there.
  bool right = false;            ///< Aligned, as numbers are.
  /// The cell, where the value as it is would not do.
  std::string (*cell)(const JobView& view, const TableSetting& setting) = nullptr;

  std::string_view fact = {};  ///< Its name in `show`; empty: not there.
  /// What `show` says, a line for each, where the value as it is would not do.
  std::string (*told)(const JobView& view, std::span<const model::Replacement> replaced) = nullptr;
};

// --- values

Value known(const std::string& text) {
  return text.empty() ? Value() : Value(text);
}

template <class Type>
Value known(const std::optional<Type>& maybe) {
  return maybe ? Value(*maybe) : Value();
}

std::string word(std::string_view name) {
  return std::string(name);
}

Value statusOf(const JobView& view) {
  return word(model::nameOf(view.status));
}

Value stepOf(const JobView& view) {
  const auto step = model::currentStep(view.job.steps);
  return step ? Value(word(model::nameOf(*step))) : Value();
}

Value batchesOf(const JobView& view) {
  std::vector<std::string> ids;
  for (const model::Batch& batch : view.job.batches) ids.push_back(batch.id.value());
  return ids;
}

template <class Get>
Value ofError(const JobView& view, Get get) {
  return view.job.error ? Value(std::string(get(*view.job.error))) : Value();
}

// --- for people

std::string ageText(const JobView& view, const TableSetting& setting) {
  const core::Duration age = std::max(setting.now - view.job.createdAt, core::Duration::zero());
  if (age < std::chrono::minutes(1)) return std::to_string(age / std::chrono::seconds(1)) + "s";
  if (age < std::chrono::hours(1)) return std::to_string(age / std::chrono::minutes(1)) + "m";
  if (age < std::chrono::hours(48)) return std::to_string(age / std::chrono::hours(1)) + "h";
  return std::to_string(age / std::chrono::days(1)) + "d";
}

std::string batchLines(const JobView& view, std::span<const model::Replacement> replaced) {
  std::map<model::BatchId, const model::Replacement*> gone;
  for (const model::Replacement& one : replaced) gone.emplace(one.batch, &one);
  std::string lines;
  for (const model::Batch& batch : view.job.batches) {
    const auto found = gone.find(batch.id);
    lines += lines.empty() ? "" : "\n";
    lines += batch.id.value() + (found == gone.end() ? "" : " (" + replacementText(*found->second) + ")");
  }
  return lines;
}

std::string finishedText(const JobView& view, std::span<const model::Replacement>) {
  const model::Job& job = view.job;
  if (!job.finishedAt) return {};
  return timeText(job.finishedAt) + " (" + core::formatDuration(*job.finishedAt - job.createdAt) +
         " after it was made)";
}

std::string expectedText(const JobView& view, std::span<const model::Replacement>) {
  const auto& expected = view.job.expectedProfiles;
  return expected ? grouped(*expected) + " members at that time" : "";
}

// --- the list. JSON, CSV, the table and `show` have their parts of it in this order; what is new goes to the end,
// since programs may count the columns of CSV.

const std::vector<JobField>& jobFields() {
  using Replaced = std::span<const model::Replacement>;
  static const std::vector<JobField> fields{
      {.name = "job",
       .value = [](const JobView& v) -> Value { return model::numberOf(v.job.id); },
       .column = "job",
       .right = true},
      {.name = "kind",
       .value = [](const JobView& v) -> Value { return word(model::nameOf(v.job.request.kind)); },
       .column = "kind"},
      {.value = statusOf,
       .column = "status",
       .fact = "status",
       .told = [](const JobView& v,
                  Replaced) { return word(model::nameOf(v.status)) + (v.held ? " (a process runs it)" : ""); }},
      {.name = "source_id",
       .value = [](const JobView& v) -> Value { return v.job.request.sourceId; },
       .column = "source",
       .cell =
           [](const JobView& v, const TableSetting& setting) {
             return reader::fitTo(core::printable(v.job.request.sourceId, 200), setting.sourceWidth);
           }},
      {.name = "org_id", .value = [](const JobView& v) -> Value { return v.job.request.orgId; }, .fact = "org"},
      {.name = "sandbox", .value = [](const JobView& v) -> Value { return v.job.request.sandbox; }, .fact = "sandbox"},
      {.name = "status", .value = statusOf},
      {.name = "held", .value = [](const JobView& v) -> Value { return v.held; }},
      {.name = "step", .value = stepOf},
      {.name = "dataset_id",
       .value = [](const JobView& v) { return known(v.job.datasetId.value()); },
       .fact = "dataset"},
      {.name = "export_job_id",
       .value = [](const JobView& v) { return known(v.job.exportJobId.value()); },
       .fact = "export job"},
      {.value = [](const JobView& v) { return known(v.job.remoteStatus); }, .fact = "platform"},
      {.name = "batch_ids", .value = batchesOf, .fact = "batch", .told = batchLines},
      {.fact = "holds",
       .told = [](const JobView& v, Replaced) { return v.job.batches.empty() ? "" : sizeText(v.job); }},
      {.name = "files",
       .value = [](const JobView& v) -> Value { return v.job.fileCount; },
       .column = "files",
       .right = true},
      {.name = "bytes",
       .value = [](const JobView& v) -> Value { return v.job.totalBytes; },
       .column = "size",
       .right = true,
       .cell = [](const JobView& v, const TableSetting&) { return core::formatBytes(v.job.totalBytes); }},
      {.name = "records",
       .value = [](const JobView& v) { return known(v.job.records); },
       .column = "records",
       .right = true},
      {.name = "output",
       .value = [](const JobView& v) -> Value { return v.job.request.output.string(); },
       .fact = "output"},
      {.name = "created_at",
       .value = [](const JobView& v) -> Value { return v.job.createdAt; },
       .column = "age",
       .right = true,
       .cell = ageText,
       .fact = "created"},
      {.name = "updated_at", .value = [](const JobView& v) -> Value { return v.job.updatedAt; }},
      {.name = "finished_at",
       .value = [](const JobView& v) { return known(v.job.finishedAt); },
       .fact = "finished",
       .told = finishedText},
      {.name = "error_category",
       .value =
           [](const JobView& v) {
             return ofError(v, [](const model::JobError& error) { return core::nameOf(error.category); });
           },
       .formats = Formats::csvAlone},
      {.name = "error_message",
       .value = [](const JobView& v) { return ofError(v, [](const model::JobError& e) { return e.message; }); },
       .formats = Formats::csvAlone},
      {.name = "error_request_id",
       .value = [](const JobView& v) { return ofError(v, [](const model::JobError& e) { return e.requestId; }); },
       .formats = Formats::csvAlone},
      {.name = "error_hint",
       .value = [](const JobView& v) { return ofError(v, [](const model::JobError& e) { return e.hint; }); },
       .formats = Formats::csvAlone},
      {.name = "evaluated_at", .value = [](const JobView& v) { return known(v.job.evaluatedAt); }, .fact = "evaluated"},
      {.name = "version",
       .value = [](const JobView& v) { return known(v.job.version); },
       .fact = "made by",
       .told = [](const JobView& v, Replaced) { return v.job.version.empty() ? "" : "caiexport " + v.job.version; }},
      {.name = "expected_members",
       .value = [](const JobView& v) { return known(v.job.expectedProfiles); },
       .formats = Formats::jsonIfKnown,
       .fact = "expected",
       .told = expectedText},
      {.name = "share",
       .value = [](const JobView& v) { return known(v.job.share); },
       .formats = Formats::jsonIfKnown,
       .fact = "shared by"},
  };
  return fields;
}

// --- one value in each format

struct AsJson {
  json::Writer& json;
  void operator()(const Nothing&) const { json.null(); }
  void operator()(const core::TimePoint& time) const { json.value(core::formatTime(time)); }
  void operator()(const std::vector<std::string>& texts) const { json.array(texts); }
  template <class Type>
  void operator()(const Type& value) const {
    json.value(value);
  }
};

/// For people, or for programs that read CSV.
struct AsText {
  bool people = true;

  std::string operator()(const Nothing&) const { return {}; }
  std::string operator()(const std::string& text) const { return text; }
  std::string operator()(bool flag) const { return people ? (flag ? "yes" : "no") : (flag ? "true" : "false"); }
  std::string operator()(std::int64_t number) const { return std::to_string(number); }
  std::string operator()(std::uint64_t number) const { return people ? grouped(number) : std::to_string(number); }
  std::string operator()(const core::TimePoint& time) const { return people ? timeText(time) : core::formatTime(time); }
  std::string operator()(const std::vector<std::string>& texts) const { return core::joined(texts, " "); }
};

/// Spreadsheets keep 15 digits of a number.
reader::SheetCell sheetNumber(double number, std::string text) {
  constexpr double kMostExact = 999'999'999'999'999;
  if (number > kMostExact || number < -kMostExact) return text;
  return number;
}

struct AsSheetCell {
  reader::SheetCell operator()(const Nothing&) const { return {}; }
  reader::SheetCell operator()(const std::string& text) const { return text; }
  reader::SheetCell operator()(bool flag) const { return flag ? "true" : "false"; }
  reader::SheetCell operator()(std::int64_t number) const {
    return sheetNumber(static_cast<double>(number), std::to_string(number));
  }
  reader::SheetCell operator()(std::uint64_t number) const {
    return sheetNumber(static_cast<double>(number), std::to_string(number));
  }
  reader::SheetCell operator()(const core::TimePoint& time) const { return time; }
  /// A cell holds 32,767 characters: of a longer list as much as fits, and how many are left out.
  reader::SheetCell operator()(const std::vector<std::string>& texts) const {
    constexpr std::size_t kMostBytes = 32'000;
    std::size_t fitting = 0;
    for (std::size_t bytes = 0; fitting < texts.size(); ++fitting) {
      bytes += texts[fitting].size() + 1;
      if (bytes > kMostBytes) break;
    }
    const std::string list = core::joined(std::span(texts).first(fitting), " ");
    return fitting == texts.size() ? list : list + " and " + core::grouped(texts.size() - fitting) + " more";
  }
};

bool isInCsv(const JobField& field) {
  return !field.name.empty() && field.formats != Formats::jsonIfKnown;
}

// --- the table of `history`

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

std::string cellOf(const JobField& field, const JobView& view, const TableSetting& setting) {
  if (field.cell != nullptr) return field.cell(view, setting);
  const std::string text = std::visit(AsText{}, field.value(view));
  return text.empty() ? "-" : core::printable(text);
}

}  // namespace

void writeJobFields(json::Writer& json, const JobView& view) {
  for (const JobField& field : jobFields()) {
    if (field.name.empty() || field.formats == Formats::csvAlone) continue;
    const Value value = field.value(view);
    if (field.formats == Formats::jsonIfKnown && std::holds_alternative<Nothing>(value)) continue;
    json.key(field.name);
    std::visit(AsJson{json}, value);
  }
}

std::string historyCsvHeader() {
  std::string line;
  for (const JobField& field : jobFields()) {
    if (isInCsv(field)) line.append(line.empty() ? "" : ",").append(field.name);
  }
  return line + "\r\n";
}

std::string historyCsvRow(const JobView& view) {
  std::string line;
  for (const JobField& field : jobFields()) {
    if (isInCsv(field))
      line.append(line.empty() ? "" : ",").append(csvField(std::visit(AsText{.people = false}, field.value(view))));
  }
  return line + "\r\n";
}

std::vector<std::string> historySheetHeader() {
  std::vector<std::string> names;
  for (const JobField& field : jobFields()) {
    if (isInCsv(field)) names.emplace_back(field.name);
  }
  return names;
}

std::vector<reader::SheetCell> historySheetRow(const JobView& view) {
  std::vector<reader::SheetCell> cells;
  for (const JobField& field : jobFields()) {
    if (isInCsv(field)) cells.push_back(std::visit(AsSheetCell{}, field.value(view)));
  }
  return cells;
}

HistoryTable::HistoryTable(core::TimePoint now, std::size_t width)
    : now_(now), width_(width), sourceWidth_(sourceWidth(width)) {
  for (std::size_t at = 0; at < jobFields().size(); ++at) {
    const JobField& field = jobFields()[at];
    if (!field.column.empty()) columns_.push_back({.field = at, .widest = reader::displayWidth(field.column)});
  }
}

void HistoryTable::measure(const JobView& view) {
  for (Column& column : columns_) column.widest = std::max(column.widest, drawnWidth(cell(column, view)));
  if (!view.job.error) return;
  failed_ = true;
  errorWidth_ = std::max(errorWidth_, drawnWidth(core::printable(view.job.error->message, kMostOfError)));
}

std::size_t HistoryTable::width() const {
  std::size_t sum = 0;
  for (const Column& column : columns_) sum += column.widest + kGap;
  return sum;
}

/// Where a job failed, why says more than how large it was: columns of sizes make room for the reason.
void HistoryTable::makeRoom() {
  constexpr std::size_t kFewWords = 30;
  for (const std::string_view name : {"records", "files", "size"}) {
    if (width_ == 0 || !failed_ || width() + kFewWords <= width_) return;
    std::erase_if(columns_, [&](const Column& column) { return jobFields()[column.field].column == name; });
  }
}

std::string HistoryTable::head() {
  constexpr std::size_t kLeast = 16;
  makeRoom();
  const std::size_t room = width_ == 0 ? kMostOfError : width_ - std::min(width_, width());
  // A last column for what went wrong, where there is room for some words of it.
  errorRoom_ = failed_ && room >= kLeast ? std::min(room, kMostOfError) : 0;
  std::vector<reader::TableColumn> columns;
  std::vector<std::size_t> widest;
  for (const Column& column : columns_) {
    const JobField& field = jobFields()[column.field];
    columns.push_back({std::string(field.column), "", field.right});
    widest.push_back(column.widest);
  }
  if (errorRoom_ > 0) {
    columns.push_back({"error", "", false});
    widest.push_back(std::min(errorWidth_, errorRoom_));
  }
  lines_.emplace(std::move(columns), std::move(widest), width_);
  return lines_->head();
}

std::string HistoryTable::line(const JobView& view) const {
  std::vector<std::string> cells;
  for (const Column& column : columns_) cells.push_back(cell(column, view));
  if (errorRoom_ > 0) {
    const auto& error = view.job.error;
    cells.push_back(error ? reader::fitTo(core::printable(error->message, kMostOfError), errorRoom_) : "");
  }
  return lines_->line(cells);
}

std::string HistoryTable::cell(const Column& column, const JobView& view) const {
  return cellOf(jobFields()[column.field], view, {.now = now_, .sourceWidth = sourceWidth_});
}

bool hasRoomForTable(std::size_t width) {
  constexpr std::size_t kNarrow = 60;
  return width == 0 || width >= kNarrow;
}

std::string historyEntry(const JobView& view, core::TimePoint now, std::size_t width) {
  std::string out;
  const auto line = [&](const std::string& text) { out += reader::fitTo(text, width) + "\n"; };
  const model::Job& job = view.job;
  line(std::to_string(model::numberOf(job.id)) + "  " + word(model::nameOf(job.request.kind)) + "  " +
       word(model::nameOf(view.status)) + ", " + ageText(view, {.now = now, .sourceWidth = width}) + " ago");
  line("  " + core::printable(job.request.sourceId, 200));
  if (job.error) {
    line("  " + core::printable(job.error->message, 200));
  } else if (job.fileCount > 0) {
    line("  " + sizeText(job));
  }
  return out;
}

std::string historyText(std::span<const JobView> views, core::TimePoint now, std::size_t width) {
  std::string text;
  if (!hasRoomForTable(width)) {
    for (const JobView& view : views) text += historyEntry(view, now, width);
    return text;
  }
  HistoryTable table(now, width);
  for (const JobView& view : views) table.measure(view);
  text = table.head();
  for (const JobView& view : views) text += table.line(view);
  return text + table.end();
}

std::string jobFacts(const JobView& view, std::span<const model::Replacement> replaced, std::size_t width) {
  std::string out;
  for (const JobField& field : jobFields()) {
    if (field.fact.empty()) continue;
    const std::string text =
        field.told != nullptr ? field.told(view, replaced) : std::visit(AsText{}, field.value(view));
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      out += factLine(field.fact, core::printable(text.substr(begin, end - begin)), kFactsAt, width);
      begin = end + 1;
    }
  }
  return out;
}

}  // namespace caiexport::cli
