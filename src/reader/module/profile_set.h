#pragma once
/// Files united as the view `profiles` of one database; their rows, their scores.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "duck.h"
#include "parquet_file.h"
#include "values.h"

namespace caiexport::reader {

/// A statement that makes rows, and what they are made of.
struct RowSource {
  Statement statement;
  std::vector<Type> columns;
};

/// As it is spelt, else without case; null if there is none.
const Type* columnNamed(const std::vector<Type>& columns, std::string_view name);
/// Fields that the one asked for may have meant: with the same last name, else all.
std::string pathsLike(const std::vector<Type>& columns, std::string_view wanted);
/// The field that a path, or the end of one, means. Error(usage) if there is none, or several.
Found findColumn(const std::vector<Type>& columns, const std::string& path);

/// Whether the query holds words of the user that are SQL.
inline bool holdsUsersSql(const ReadQuery& query) {
  return !query.sql.empty() || !query.where.empty();
}

/// How columns that were named by dotted paths are shaped.
enum class Shape { flat, nested };

class ProfileSet {
 public:
  /// Checks every file's frame, opens a database that sees them (and `alsoAllowed`) alone, and reads the schema.
  ProfileSet(const ReaderSettings& settings, std::vector<InputFile> files, std::vector<std::string> alsoAllowed = {});

  Duck& duck() { return duck_; }
  /// Without the extra columns.
  const std::vector<Type>& columns() const { return columns_; }
  std::uint64_t rowCount();

  /// Prepares the query's statement; its limit is not in it if the query is the user's own SQL.
  RowSource prepare(const ReadQuery& query, Shape shape);
  /// SQL of the query's rows, its limit included, checked as prepare does.
  std::string rowsSql(const ReadQuery& query, Shape shape);
  /// Puts the real names into the file that was written from rowsSql().
  void nameColumns(const std::filesystem::path& parquetFile) const;
  /// For the FROM of our own SELECTs: the files themselves. A view would do, but DuckDB reads whole groups through a
  /// view where one field of them is asked for.
  std::string source() const { return tableSql() + " AS profiles"; }
  RowSource prepareOwn(const std::string& sql);
  /// SQL of a field over source(), by its real name.
  std::string sqlOf(const std::vector<std::string>& steps) const;
  const ColumnNames& names() const { return names_; }
  /// What a database must be allowed to open for source().
  std::vector<std::string> allowed() const;

  /// A statement of who each row of source() is about: `ns` and `id`, the identity of that namespace, or for empty text
  /// the primary one, or `_id` where there are no identities; both null for nobody. With them `value`, SQL over a row,
  /// as `score`. Error(usage).
  std::string peopleSql(const std::string& space, const std::string& value);
  /// How that is called.
  std::string identityName(const std::string& space) const;

 private:
  /// A column that is not in the files.
  struct Added {
    std::string name;
    std::string sql;
    bool identity = false;
  };

  std::string tableSql() const;
  /// Columns of the files that would be in the way of those that the query adds.
  void moveColumns(const ReadQuery& query);
  Blame blameFor(const ReadQuery& query) const;
  std::vector<Type> shownColumnsOf(const Statement& statement) const;
  std::string extraSql(std::string_view name) const;
  std::string identitySql(const std::string& name) const;
  /// Error(usage) for a namespace that no row has.
  void checkNamespaces(const ReadQuery& query);
  /// The query with its columns, where they are to be those of scores.
  ReadQuery withScoreColumns(ReadQuery query);
  std::vector<std::string> namespaces();
  /// Makes the view `profiles`.
  void makeView();
  /// For words that DuckDB could not find: names that only one field has. Returns the fields of names that several
  /// have.
  std::vector<Found> takeShortNames(const ReadQuery& query);
  /// Settles what the query adds to the files' columns; makes the view if the user's own words need it.
  void setUp(const ReadQuery& query);
  std::vector<Added> addedBy(const ReadQuery& query) const;
  std::string columnSql(const std::vector<std::string>& steps) const;
  std::string selectSql(const ReadQuery& query, Shape shape) const;
  RowSource readable(RowSource source);
  /// The user's SQL with the names for SQL.
  ReadQuery forSql(const ReadQuery& query);
  Statement prepareChecked(const ReadQuery& query, Shape shape);

  std::vector<InputFile> files_;
  std::vector<FileName> paths_;
  Columns fileColumns_;
  Duck duck_;
  ColumnNames names_;
  ColumnNames written_;             ///< Of the last rowsSql().
  std::optional<FileUnion> union_;  ///< Only where some columns can't be used as they are.
  std::vector<Type> columns_;       ///< Of the files.
  // Of the query at hand:
  std::map<std::string, std::string> moved_;  ///< Columns of the files that bear the name of an added one.
  std::vector<Added> added_;
  std::vector<Found> shortNames_;  ///< Fields that are columns of the view, too.
  std::vector<Type> allColumns_;   ///< Those of the files and the added ones.
  bool throughView_ = false;
};

// Rows of a statement: worked on in parallel (one thread fetches chunks, several work on them), and into lines or a
// spreadsheet.

/// What one worker does with chunks. Each worker has an object of its own.
class ChunkWork {
 public:
  virtual ~ChunkWork() = default;
  /// The costly part; runs beside the others. Only the first `rows` rows count.
  virtual void prepare(duckdb_data_chunk chunk, std::uint64_t rows) = 0;
  /// Runs alone, in the order of the chunks. False ends the run quietly.
  virtual bool finish() { return true; }
};

/// Works on all rows, at most `limit`. Returns how many rows' work was finished. Errors of any thread are thrown here.
std::uint64_t processRows(Rows& rows, std::uint64_t limit, const std::vector<std::unique_ptr<ChunkWork>>& workers,
                          const std::stop_token& stop);

/// Writes the rows as lines, at most `limit`, and returns how many. A stop is obeyed while an InterruptOnStop lives.
std::uint64_t writeLines(Duck& duck, const RowSource& source, const Blame& blame, RowFormat format, Output& output,
                         unsigned threads, std::optional<std::uint64_t> limit, const std::stop_token& stop);

SheetFacts writeSheetRows(Duck& duck, const RowSource& source, const Blame& blame, const std::filesystem::path& path,
                          std::uint64_t expectedRows, std::optional<std::uint64_t> limit, const std::stop_token& stop);

// From the profiles to a ScoreSummary, reading only the columns that matter, and from two sets to their ScorePair.

/// SQL of the bucket of a finite number: `low`, `medium` or `high`.
std::string bucketSql(const std::string& value);

/// Numeric fields named `score`; lists and maps are not searched.
std::vector<Found> scoreFields(const std::vector<Type>& columns);

/// What stands beside a score: its percentile and the time it was made. `type` is null for what there is not.
Found percentileBeside(const std::vector<Type>& columns, const std::vector<std::string>& score);
Found dateBeside(const std::vector<Type>& columns, const std::vector<std::string>& score);

ScoreStory tellStory(ProfileSet& set, const std::string& field, const std::stop_token& stop);

ScoreSummary countScores(ProfileSet& set, const std::string& field, const ReaderSettings& settings,
                         std::stop_token stop);

/// As ParquetReader::openPair.
std::unique_ptr<ScorePair> openScorePair(const ReaderSettings& settings, std::vector<InputFile> now,
                                         std::vector<InputFile> before);

}  // namespace caiexport::reader
