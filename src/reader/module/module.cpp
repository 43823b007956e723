/// The reader module: the ParquetReader and the Profiles that the program gets of it, and its entry.

#include <duckdb.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "module_abi.h"
#include "parquet_file.h"
#include "profile_set.h"
#include "values.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::uint64_t kTableRows = 20;

Blame readingBlame(const ReadQuery& query) {
  return {.what = "cannot read the profiles", .usersSql = holdsUsersSql(query)};
}

/// Whether DuckDB has nothing to do for the rows but to read them.
bool areAsTheyLie(const ReadQuery& query) {
  return !holdsUsersSql(query) && query.identities.empty() && !query.scoreColumns;
}

/// Each thread gathers rows in memory before they are written, more of them than DuckDB counts.
bool isTight(const ReaderSettings& settings) {
  constexpr std::uint64_t kRoomForSeveral = 384U << 20U;
  return settings.memoryBytes < kRoomForSeveral;
}

ReaderSettings settingsForWriting(ReaderSettings settings) {
  if (isTight(settings)) settings.threads = 1;
  return settings;
}

fs::path absoluteTarget(const fs::path& path) {
  std::error_code failure;
  const fs::path folder = fs::canonical(fs::absolute(path).parent_path(), failure);
  if (failure) {
    throw Error(Category::io, "cannot write " + core::printable(path.string()) + ": " + failure.message());
  }
  return folder / path.filename();
}

class DuckProfiles final : public Profiles {
 public:
  DuckProfiles(ReaderSettings settings, std::vector<InputFile> files)
      : settings_(std::move(settings)), files_(files), set_(settings_, std::move(files)) {}

  std::vector<SchemaField> schema() override {
    std::vector<SchemaField> fields;
    for (const Found& field : allFields(set_.columns())) {
      if (field.type->isStruct()) continue;
      fields.push_back(
          {.path = dotted(field.steps), .type = field.type->describe(), .numeric = field.type->isNumeric()});
    }
    return fields;
  }

  std::vector<SchemaField> examples(std::stop_token stop) override {
    constexpr std::uint64_t kLookedAt = 2'048;
    const RowSource source = set_.prepare({.limit = kLookedAt}, Shape::flat);
    CellWriter writer(source.columns);
    std::map<std::string, std::string> found;
    const InterruptOnStop interrupt(stop, set_.duck());
    Rows rows(set_.duck(), source.statement, readingBlame({}), stop);
    while (Chunk chunk = rows.next()) {
      if (stop.stop_requested()) throw core::Interrupted();
      writer.bind(chunk.get());
      for (std::uint64_t row = 0; row < duckdb_data_chunk_get_size(chunk.get()); ++row) {
        for (const Leaf& leaf : writer.leaves()) {
          if (found.contains(leaf.name) || leaf.isNull(row)) continue;
          found.emplace(leaf.name, writer.cell(leaf, row));
        }
      }
    }
    std::vector<SchemaField> fields = schema();
    for (SchemaField& field : fields) {
      if (const auto example = found.find(field.path); example != found.end()) field.example = example->second;
    }
    return fields;
  }

  std::uint64_t rowCount() override { return set_.rowCount(); }
  std::uint64_t rows(const ReadQuery& query, RowFormat format, Output& output, std::stop_token stop) override {
    std::optional<OneThread> oneThread;
    if (areAsTheyLie(query)) {
      oneThread.emplace(set_.duck(), settings_.threads);
    } else if (!isTight(settings_)) {
      set_.duck().keepMoreRows();
    }
    const InterruptOnStop interrupt(stop, set_.duck());
    const RowSource source = set_.prepare(query, format == RowFormat::jsonl ? Shape::nested : Shape::flat);
    return writeLines(set_.duck(), source, readingBlame(query), format, output, settings_.threads, query.limit, stop);
  }

  std::uint64_t writeParquet(const ReadQuery& query, const std::filesystem::path& path, std::stop_token stop) override {
    const fs::path target = absoluteTarget(path);
    // A set of its own, since what a database may touch is settled when it opens.
    ProfileSet set(settingsForWriting(settings_), files_, {target.string()});
    const std::string sql = set.rowsSql(query, Shape::nested);
    if (stop.stop_requested()) throw core::Interrupted();
    const std::uint64_t rows =
        set.duck().changedRows("COPY (" + sql + "\n) TO " + sqlText(target.string()) +
                                   " (FORMAT parquet, COMPRESSION snappy, USE_TMP_FILE false" +
                                   std::string(isTight(settings_) ? ", ROW_GROUP_SIZE 20480" : "") + ")",
                               readingBlame(query), std::move(stop));
    set.nameColumns(target);
    return rows;
  }

  SheetFacts writeSheet(const ReadQuery& query, const std::filesystem::path& path, std::stop_token stop) override {
    const InterruptOnStop interrupt(stop, set_.duck());
    const RowSource source = set_.prepare(query, Shape::flat);
    return writeSheetRows(set_.duck(), source, readingBlame(query), path, set_.rowCount(), query.limit, stop);
  }

  Table table(const ReadQuery& query, std::stop_token stop) override {
    const std::uint64_t limit = query.limit.value_or(kTableRows);
    ReadQuery oneMore = query;
    oneMore.limit = limit < std::numeric_limits<std::uint64_t>::max() ? limit + 1 : limit;
    const InterruptOnStop interrupt(stop, set_.duck());
    const RowSource source = set_.prepare(oneMore, Shape::flat);
    CellWriter writer(source.columns);
    Table table;
    for (const Leaf& leaf : writer.leaves()) {
      table.columns.push_back({.name = core::printable(leaf.name),
                               .type = leaf.view->type->describe(),
                               .alignRight = leaf.view->type->isNumeric()});
    }
    Rows rows(set_.duck(), source.statement, readingBlame(query), stop);
    while (Chunk chunk = rows.next()) {
      if (stop.stop_requested()) throw core::Interrupted();
      writer.bind(chunk.get());
      const std::uint64_t count = duckdb_data_chunk_get_size(chunk.get());
      for (std::uint64_t row = 0; row < count; ++row) {
        table.more = table.rows.size() == limit;
        if (table.more) return table;
        table.rows.push_back(writer.cells(row));
      }
    }
    return table;
  }

  std::vector<std::string> scoreFields() override {
    std::vector<std::string> paths;
    for (const Found& field : reader::scoreFields(set_.columns())) paths.push_back(dotted(field.steps));
    return paths;
  }

  ScoreSummary scores(const std::string& field, std::stop_token stop) override {
    return countScores(set_, chosenField(field), settings_, std::move(stop));
  }

  ScoreStory story(const std::string& field, std::stop_token stop) override {
    return tellStory(set_, chosenField(field), stop);
  }

 private:
  std::string chosenField(const std::string& field) {
    if (!field.empty()) return field;
    const std::vector<std::string> fields = scoreFields();
    if (fields.size() == 1) return fields.front();
    if (fields.size() > 1) {
      throw Error(Category::usage, "there are several score columns: " + core::printable(core::joined(fields, ", ")),
                  {.hint = "choose one with --field"});
    }
    std::vector<std::string> numeric;
    for (const SchemaField& each : schema()) {
      if (each.numeric) numeric.push_back(each.path);
    }
    throw Error(Category::notFound, "there is no score column: no group has a numeric field `score`",
                {.hint = numeric.empty() ? "the files have no numeric column at all"
                                         : "choose one of the numeric columns with --field: " +
                                               core::printable(core::joined(numeric, ", "))});
  }

  ReaderSettings settings_;
  std::vector<InputFile> files_;
  ProfileSet set_;
};

class DuckReader final : public ParquetReader {
 public:
  explicit DuckReader(ReaderSettings settings) : settings_(std::move(settings)) {}

  FileFacts inspect(const fs::path& path, Depth depth, std::stop_token stop) override {
    if (!inspector_) inspector_ = std::make_unique<Inspector>(settings_);
    return inspector_->inspect(path, depth, stop);
  }

  std::unique_ptr<Profiles> open(std::vector<InputFile> files) override {
    return std::make_unique<DuckProfiles>(settings_, std::move(files));
  }

  std::unique_ptr<ScorePair> openPair(std::vector<InputFile> now, std::vector<InputFile> before) override {
    return openScorePair(settings_, std::move(now), std::move(before));
  }

 private:
  ReaderSettings settings_;
  std::unique_ptr<Inspector> inspector_;
};

}  // namespace
}  // namespace caiexport::reader

extern "C" {

__attribute__((visibility("default"))) const char* caiexportReaderAbi() {
  return caiexport::reader::kModuleAbi;
}

__attribute__((visibility("default"))) const char* caiexportReaderEngine() {
  return duckdb_library_version();
}

__attribute__((visibility("default"))) void caiexportReaderWorkbook(
    const std::filesystem::path& path, const std::vector<caiexport::reader::Sheet>& sheets) {
  caiexport::reader::writeSheets(path, sheets);
}

__attribute__((visibility("default"))) caiexport::reader::ParquetReader* caiexportReaderOpen(
    const caiexport::reader::ReaderSettings& settings) {
  return std::make_unique<caiexport::reader::DuckReader>(settings).release();
}
}
