#pragma once
/// Jobs as they are told: as text for people, as JSON with the documented keys in their documented order, as lines of
/// CSV, and as rows of a spreadsheet. What is said about a job is one list, see job_fields.cpp. And what `datasets` and
/// `segments` list.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"
#include "caiexport/reader/table.h"

namespace caiexport::core {
class Error;
}
namespace caiexport::json {
class Writer;
}

namespace caiexport::store {
class History;
struct JobView;
}  // namespace caiexport::store

namespace caiexport::cli {

class ParsedOptions;
class StandardOutput;

// --- where things are

/// Where a batch of the job lies on disk, by the record: its ids were checked before it came there.
std::filesystem::path recordedFolder(const model::Job& job, const model::BatchId& batch);
/// Where a file of the job lies on disk once it is complete.
std::filesystem::path pathOf(const model::Job& job, const model::FileRecord& file);

// --- text

/// `2026-11-24 10:00:00Z`; `-` for nothing.
std::string timeText(const std::optional<core::TimePoint>& time);
/// The rows of one batch are customers; those of several are not, since a customer may be in each.
std::string recordsText(std::uint64_t records, std::size_t batches);
/// `1 batch, 2 files, 30 B, 7 customers`.
std::string sizeText(const model::Job& job);
/// `replaced by BATCH` and what became of it.
std::string replacementText(const model::Replacement& replacement);

/// What came over the network in one run.
struct Arrived {
  std::uint64_t bytes = 0;
  core::Duration time{};
};

/// The result of a successful run: what, where, how much, how long, how fast, and the next useful command.
/// `ran`: how long this run took; nothing if that is unknown.
std::string resultText(const store::JobView& view, const std::optional<Arrived>& arrived = {},
                       const std::optional<core::Duration>& ran = {});

/// One job with its steps, files and newest events, for a terminal of that width (0: there is none).
std::string showText(const store::JobView& view, store::History& history, std::size_t width);

/// The lines of `show` about the job as a whole: `  NAME        VALUE`.
std::string jobFacts(const store::JobView& view, std::span<const model::Replacement> replaced, std::size_t width);
/// The column that its values begin in.
inline constexpr std::size_t kFactsAt = 14;

// --- tables

/// The table of `history` for a terminal of that width (0: no bound): ids are cut to fit, errors shown where there is
/// room. Its columns are as wide as their widest cell, and no job is kept: all are measured first, then each is
/// written.
class HistoryTable {
 public:
  HistoryTable(core::TimePoint now, std::size_t width);
  void measure(const store::JobView& view);
  /// Once all are measured.
  std::string head();
  std::string line(const store::JobView& view) const;
  std::string end() const { return lines_->end(); }

 private:
  struct Column {
    std::size_t field;  ///< Its place in the list of what is told about a job.
    std::size_t widest;
  };
  /// Of all columns, with the gaps behind them.
  std::size_t width() const;
  void makeRoom();
  std::string cell(const Column& column, const store::JobView& view) const;

  core::TimePoint now_;
  std::size_t width_;
  std::size_t sourceWidth_;
  std::vector<Column> columns_;
  bool failed_ = false;  ///< One of the jobs.
  std::size_t errorWidth_ = 0;
  std::size_t errorRoom_ = 0;  ///< 0: errors are not shown.
  std::optional<reader::TableLines> lines_;
};

/// Whether columns have room for an id and a reason.
bool hasRoomForTable(std::size_t width);
/// Where they have not: a job in a few lines.
std::string historyEntry(const store::JobView& view, core::TimePoint now, std::size_t width);

/// A few jobs, whichever way there is room for.
std::string historyText(std::span<const store::JobView> views, core::TimePoint now, std::size_t width);

/// CSV by RFC 4180: lines end in CRLF.
std::string historyCsvHeader();
std::string historyCsvRow(const store::JobView& view);

/// The same columns for a spreadsheet: ids are text, numbers are numbers, times are times.
std::vector<std::string> historySheetHeader();
std::vector<reader::SheetCell> historySheetRow(const store::JobView& view);

// --- JSON

/// How much of a job is written.
enum class JobDetail {
  summary,    ///< The job alone: `history`, `cancel`.
  result,     ///< And its steps and files: the commands that ran it.
  everything  ///< And its events: `show`.
};

/// The job as one object; files and events are streamed from `history`. `error`, if given, stands in for the recorded
/// one: what this run met, and was not recorded.
void writeJob(json::Writer& json, const store::JobView& view, JobDetail detail, store::History& history,
              const std::optional<model::JobError>& error = {});

/// The members that every job has in JSON, inside an object that is begun.
void writeJobFields(json::Writer& json, const store::JobView& view);

/// `[{"batch_id", "by", "action", "path"}]`.
void writeReplacements(json::Writer& json, std::span<const model::Replacement> replacements);

/// The end of a document about several jobs or batches: `error`, which ended the command, and the last line.
void endDocument(json::Writer& json, const std::optional<core::Error>& error, StandardOutput& out);

// --- lists of things with an id and a name

enum class ListFormat { table, json, csv };
/// `--format`.
ListFormat listFormat(const ParsedOptions& options);

struct Listed {
  std::string id;
  std::string name;
  std::string mark;  ///< One more word about it; may be empty.
  std::optional<core::TimePoint> at;
  /// For segments: merge policy, origin, state and number of members, as far as the platform gives them.
  std::string mergePolicy = {};
  std::string origin = {};
  std::string state = {};
  std::optional<std::uint64_t> members = {};
};

/// Collects what matches a search, and keeps only the newest of it. For one thread.
class Newest {
 public:
  /// `search`: part of the name or id, without regard to case; empty for all. `limit` 0 keeps all.
  Newest(std::string_view search, std::size_t limit);

  void take(Listed listed);
  /// How many matched.
  std::uint64_t found() const { return found_; }
  /// Newest first; what has no time comes last. Once.
  std::vector<Listed> sorted();

 private:
  std::string search_;
  std::size_t limit_;
  std::uint64_t found_ = 0;
  std::vector<Listed> kept_;
};

/// Of the first so many columns, each with the gap behind it.
std::size_t widthOf(const reader::Table& table, std::size_t columns);

/// Cuts the cells of the last column so that the table is no wider than `width` (0: no bound). False, and nothing is
/// cut, if less than `least` would be left of them.
bool fitLastColumn(reader::Table& table, std::size_t width, std::size_t least);

/// How a listing names its columns.
struct ListingColumns {
  std::string_view mark;
  std::string_view at;
};

/// A table no wider than `width` (0: no bound). Ids are never cut, names are; where even that leaves no room, each
/// entry takes two lines.
std::string listingText(std::span<const Listed> entries, const ListingColumns& columns, std::size_t width);

}  // namespace caiexport::cli
