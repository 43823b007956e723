#pragma once
/// Reads Parquet files of profiles: checks them, turns their rows into CSV, JSON lines or Parquet, counts their scores.
/// Only local files are touched, and only those that are named. DuckDB does the reading; it lies in a module that
/// is loaded for the first table, so a program that never reads one does not pay for it.
///
/// Threads: one thread at a time per ParquetReader and per Profiles. Work inside uses up to ReaderSettings::threads.
/// Stop: what takes a stop token throws core::Interrupted soon after a stop is requested.
/// Errors, all core::Error:
///   verification  a file is not what it should be; the message names the file and the reason
///   usage         wrong SQL (with DuckDB's own message), an unknown column, a statement that is not one SELECT
///   notFound      no column of scores; the hint lists what there is
///   io            a file can't be read or written, the module is missing, or memory ran out (the hint names --memory)

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/reader/scores.h"
#include "caiexport/reader/table.h"

namespace caiexport::reader {

struct ReaderSettings {
  /// What DuckDB may hold in memory; 0 for defaultMemoryBytes().
  std::uint64_t memoryBytes = 0;
  /// 0 for one per processor that this process may use.
  unsigned threads = 0;
  /// Where sorting and grouping may put what does not fit in memory: a folder of that use only, on the file system of
  /// the output. Created when first needed, its content removed with the Profiles. Empty: nothing is put on disk.
  std::filesystem::path tempDirectory = {};
};

/// How closely a file is looked at.
enum class Depth {
  footer,  ///< Both magic numbers, and a footer that agrees with itself and with the file's size.
  full,    ///< Every value of every column is read too.
};

struct FileFacts {
  std::uint64_t rows = 0;  ///< As the footer says; at Depth::full also counted.
  std::uint64_t rowGroups = 0;
  std::uint64_t bytes = 0;
};

/// One file of a set.
struct InputFile {
  std::filesystem::path path;
  std::string batchId = {};                          ///< Shown as `_batch_id`; empty for null.
  std::optional<core::TimePoint> batchCreated = {};  ///< Shown as `_batch_created`.
  std::string label = {};                            ///< Shown as `_file`; empty for the file's name.
};

/// A column, or a field of one: structs are shown as their fields, maps and lists as themselves.
struct SchemaField {
  std::string path;  ///< Dotted.
  std::string type;  ///< As in DuckDB's SQL, e.g. `DOUBLE` or `MAP(VARCHAR, ...)`.
  bool numeric = false;
  std::optional<std::string> example = {};  ///< As a table shows it; printable. Of examples() alone.
};

/// Which rows, and what of them. With `sql` neither `columns` nor `where` may be given.
struct ReadQuery {
  /// Dotted paths, or their ends where only one field has that end; a group means all its fields; empty for everything.
  /// `_batch_id`, `_batch_created` and `_file` are shown only when named, here or in the SQL.
  std::vector<std::string> columns = {};
  /// An SQL condition. A field that is no column of its own may be called by its name alone, here and in `sql`, where
  /// only one has that name; it becomes a column of the view then.
  std::string where = {};
  /// One SELECT over the view `profiles`.
  std::string sql = {};
  /// Namespaces of `identityMap`, compared without case. Each becomes a column of that name, before the others, with
  /// the primary identity of the namespace, else its first; usable in `columns`, `where` and `sql`. Error(usage) for
  /// one that no row has, where rows have others.
  std::vector<std::string> identities = {};
  std::optional<std::uint64_t> limit = {};
  /// Where neither `columns` nor `sql` is given and the set has scores: only who they are about (`identities`, else all
  /// namespaces that there are, else `_id`), and of each score itself, its bucket (`low`, `medium`, `high`), percentile
  /// and date.
  bool scoreColumns = false;
};

enum class RowFormat {
  /// RFC 4180 with a header line and CRLF. Fields of groups are columns with dotted names; maps and lists are JSON
  /// text.
  /// Null is an empty field, empty text is `""`. Text that a spreadsheet would run has a `'` before it: it begins with
  /// `=`, `+`, `-`, `@` (after blanks too), a tab or a line end, and is no number.
  csv,
  /// The same with all text as it is.
  csvExact,
  /// For Excel to open: a byte order mark, no exponents, times as `2025-06-01 03:17:05` (UTC), and what Excel would
  /// take
  /// for a number or date although it is text (`00123`, `1E5`, `2-1`) as `="00123"`. Fields are parted by `,`; by `;`
  /// with decimal commas, as Excel wants it where numbers are written so; or by tabs.
  csvExcel,
  csvExcelSemicolon,
  csvExcelTab,
  /// One JSON object a line, nesting kept; `columns` that are dotted stand nested too. NaN and infinite are null.
  jsonl,
};
// In both: times are RFC 3339 in UTC (a Parquet time without a zone is taken as UTC), binary is Base64, decimals and
// 64-bit integers are written in full.

/// Where rows go. Each write holds whole lines.
class Output {
 public:
  virtual ~Output() = default;
  /// Takes all of `bytes`, then true; false if nobody reads any more (a closed pipe), which ends the run quietly.
  /// Throws core::Error for any other failure. Called by one thread at a time, not always the one that called rows().
  virtual bool write(std::span<const std::byte> bytes) = 0;
};

struct SheetFacts {
  std::uint64_t rows = 0;
  std::size_t sheets = 0;
};

/// Several files as one set, read where they lie. Columns are united by name, inside groups too: a column or field
/// that a file does not have is null there.
class Profiles {
 public:
  virtual ~Profiles() = default;

  /// The fields of the set, in the files' order, without the extra columns.
  virtual std::vector<SchemaField> schema() = 0;

  /// The same with an example of each: the first value among the first rows that is not null.
  virtual std::vector<SchemaField> examples(std::stop_token stop) = 0;

  /// Rows by the footers.
  virtual std::uint64_t rowCount() = 0;

  /// Writes the rows, file after file and in their order there, unless the SQL says otherwise. Returns how many were
  /// written. A bad page can show after rows went out: write to `.part`, rename at the end.
  virtual std::uint64_t rows(const ReadQuery& query, RowFormat format, Output& output, std::stop_token stop) = 0;

  /// The same rows as a Parquet file (snappy, nesting kept); replaces what is at `path`. Returns how many rows.
  /// Not synced and not renamed: give it a `.part` path and do both.
  virtual std::uint64_t writeParquet(const ReadQuery& query, const std::filesystem::path& path,
                                     std::stop_token stop) = 0;

  /// The same rows as a spreadsheet file (.xlsx); fields of groups are columns, named as short as they can be told
  /// apart by. Returns how many rows, and how many sheets they took: one holds 1,048,575. Error(usage) for what no
  /// spreadsheet holds: more than 16,384 columns, a cell of more than 32,767 characters. As writeParquet() otherwise.
  virtual SheetFacts writeSheet(const ReadQuery& query, const std::filesystem::path& path, std::stop_token stop) = 0;

  /// The first `query.limit` rows (20 if not given) as text for people, columns flat as in CSV, every cell printable.
  virtual Table table(const ReadQuery& query, std::stop_token stop) = 0;

  /// Dotted paths of the numeric fields named `score` (lists and maps are not searched), in the schema's order.
  virtual std::vector<std::string> scoreFields() = 0;

  /// Counts the scores in `field`, a numeric field by its dotted path. Empty: the only one of scoreFields(); several
  /// are Error(usage) that lists them, none is Error(notFound) that lists the numeric fields.
  virtual ScoreSummary scores(const std::string& field, std::stop_token stop) = 0;

  /// What else there is to tell of them. Reads the lists of factors three times.
  virtual ScoreStory story(const std::string& field, std::stop_token stop) = 0;
};

/// What of two sets is compared.
struct PairQuery {
  std::string field = {};     ///< As for Profiles::scores, in both.
  std::string identity = {};  ///< The namespace to know people again by; empty for the primary identity, else `_id`.
};

/// The scores of the same people in two sets, joined by their identity: `primary` in `identityMap`, where several or
/// none are, the first namespace in the order of letters. Memory is bounded: what does not fit goes to disk.
class ScorePair {
 public:
  virtual ~ScorePair() = default;

  /// Error(notFound) and Error(usage) as Profiles::scores.
  virtual Comparison compare(const PairQuery& query, std::stop_token stop) = 0;

  /// Those who are new, gone or in another bucket, a row each: namespace, id, score_before, score_now, change,
  /// bucket_before, bucket_now, moved (`low to high`, `new`, `gone`). In the order of `moved`, namespace and id.
  virtual std::uint64_t rows(const PairQuery& query, RowFormat format, Output& output, std::stop_token stop) = 0;
  virtual SheetFacts writeSheet(const PairQuery& query, const std::filesystem::path& path, std::stop_token stop) = 0;
};

class ParquetReader {
 public:
  virtual ~ParquetReader() = default;

  /// Checks one file by itself. Error(verification) names it and what is wrong with it; Error(io) if it can't be read.
  virtual FileFacts inspect(const std::filesystem::path& path, Depth depth, std::stop_token stop) = 0;
  FileFacts inspect(const std::filesystem::path& path, Depth depth) { return inspect(path, depth, {}); }

  /// Opens a set of files; Error(usage) if it is empty, Error(verification) if a file is no Parquet file or the
  /// columns can't be united. Links are followed. The files must stay unchanged while the set is in use.
  virtual std::unique_ptr<Profiles> open(std::vector<InputFile> files) = 0;

  /// Opens two sets, as open().
  virtual std::unique_ptr<ScorePair> openPair(std::vector<InputFile> now, std::vector<InputFile> before) = 0;
};

/// Half of what this process may use (limits of its cgroup count).
std::uint64_t defaultMemoryBytes();

/// A reader that loads the module when it is first used for anything but a file that is no table at all. That use
/// throws Error(io) with the remedy if the module is missing or of another build.
std::unique_ptr<ParquetReader> openReader(const ReaderSettings& settings);

/// Loads the module and asks which DuckDB it came with, e.g. `v1.4.4`. Error(io) if that can't be.
std::string engineVersion();

/// Makes rows fit for a terminal: what could steer it or make one text look like another (control characters but line
/// ends and tabs, marks of direction, characters that are not seen, invalid UTF-8) is shown as `\xNN`. For CSV and JSON
/// lines that go to a terminal instead of a file or pipe.
class PrintableOutput final : public Output {
 public:
  /// `next` must outlive this object.
  explicit PrintableOutput(Output& next) : next_(next) {}
  bool write(std::span<const std::byte> bytes) override;

 private:
  Output& next_;
};

}  // namespace caiexport::reader
