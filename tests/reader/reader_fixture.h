#pragma once
/// Parquet files for tests, written by DuckDB, and the reader over them.

#include <duckdb.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/reader/parquet_reader.h"
#include "support/temp_directory.h"

namespace caiexport::test {

namespace fs = std::filesystem;
using support::TempDirectory;

/// Keeps what is written; can close like a pipe.
class TextOutput final : public reader::Output {
 public:
  bool write(std::span<const std::byte> bytes) override {
    ++writes;
    if (writes > closeAfter) return false;
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  }
  std::string text;
  std::size_t writes = 0;
  std::size_t closeAfter = static_cast<std::size_t>(-1);
};

class Writer {
 public:
  Writer() {
    duckdb_open(nullptr, &database_);
    duckdb_connect(database_, &connection_);
    run("SET TimeZone = 'UTC'");
  }
  ~Writer() {
    duckdb_disconnect(&connection_);
    duckdb_close(&database_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void run(const std::string& sql) {
    duckdb_result result;
    const bool failed = duckdb_query(connection_, sql.c_str(), &result) == DuckDBError;
    const std::string reason = failed ? duckdb_result_error(&result) : "";
    duckdb_destroy_result(&result);
    if (failed) throw std::runtime_error(reason + "\n" + sql);
  }

  /// The first value of the first row, as text.
  std::string value(const std::string& sql) {
    duckdb_result result;
    if (duckdb_query(connection_, sql.c_str(), &result) == DuckDBError) {
      const std::string reason = duckdb_result_error(&result);
      duckdb_destroy_result(&result);
      throw std::runtime_error(reason);
    }
    char* text = duckdb_value_varchar(&result, 0, 0);
    std::string copy = text == nullptr ? "NULL" : text;
    duckdb_free(text);
    duckdb_destroy_result(&result);
    return copy;
  }

  static std::string quoted(const std::string& text) {
    std::string sql = "'";
    for (const char letter : text) sql += letter == '\'' ? std::string("''") : std::string(1, letter);
    return sql + "'";
  }

 private:
  duckdb_database database_ = nullptr;
  duckdb_connection connection_ = nullptr;
};

class ReaderTest : public ::testing::Test {
 protected:
  /// Rows of `select` as a file.
  fs::path parquet(const std::string& name, const std::string& select, const std::string& options = "") {
    const fs::path path = folder_.path() / name;
    fs::create_directories(path.parent_path());
    // Written under a plain name: DuckDB is only the writer here, odd names are the reader's matter.
    const fs::path plain = folder_.path() / "written.tmp";
    writer_.run("COPY (" + select + ") TO " + Writer::quoted(plain.string()) + " (FORMAT parquet" + options + ")");
    fs::rename(plain, path);
    return path;
  }

  fs::path file(const std::string& name, const std::string& bytes) {
    const fs::path path = folder_.path() / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  static std::string content(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  reader::ParquetReader& reader() {
    if (!reader_) reader_ = reader::openReader(settings_);
    return *reader_;
  }

  std::unique_ptr<reader::Profiles> open(const std::vector<fs::path>& paths) {
    std::vector<reader::InputFile> files;
    for (const fs::path& path : paths) files.push_back({.path = path});
    return reader().open(std::move(files));
  }

  std::string csv(reader::Profiles& profiles, const reader::ReadQuery& query = {}) {
    TextOutput output;
    profiles.rows(query, reader::RowFormat::csv, output, {});
    return output.text;
  }

  std::string jsonl(reader::Profiles& profiles, const reader::ReadQuery& query = {}) {
    TextOutput output;
    profiles.rows(query, reader::RowFormat::jsonl, output, {});
    return output.text;
  }

  /// The error that `action` throws; fails if it throws none.
  template <typename Action>
  static core::Error errorOf(Action action) {
    try {
      action();
    } catch (const core::Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return core::Error(core::Category::internal, "nothing was thrown");
  }

  reader::ReaderSettings settings_{.memoryBytes = 512U << 20U, .threads = 2};
  TempDirectory folder_;
  Writer writer_;
  std::unique_ptr<reader::ParquetReader> reader_;
};

}  // namespace caiexport::test
