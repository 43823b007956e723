#include "simulator/parquet_source.h"

#include <duckdb.h>

#include <string>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "simulator/profile_sql.h"

namespace caiexport::simulator {
namespace fs = std::filesystem;

struct ParquetSource::Database {
  duckdb_database database = nullptr;
  duckdb_connection connection = nullptr;

  Database() {
    // Without these DuckDB looks for extensions in the home folder and on the network.
    duckdb_config config = nullptr;
    duckdb_create_config(&config);
    duckdb_set_config(config, "autoinstall_known_extensions", "false");
    duckdb_set_config(config, "autoload_known_extensions", "false");
    duckdb_set_config(config, "threads", "2");
    char* reason = nullptr;
    const bool opened = duckdb_open_ext(nullptr, &database, config, &reason) == DuckDBSuccess &&
                        duckdb_connect(database, &connection) == DuckDBSuccess;
    duckdb_destroy_config(&config);
    const std::string text = reason != nullptr ? reason : "no connection";
    duckdb_free(reason);
    if (!opened) {
      close();
      throw core::Error(core::Category::internal, "cannot start DuckDB: " + text);
    }
  }
  ~Database() { close(); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void close() {
    duckdb_disconnect(&connection);
    duckdb_close(&database);
  }

  void run(const std::string& sql) {
    duckdb_result result{};
    const bool done = duckdb_query(connection, sql.c_str(), &result) == DuckDBSuccess;
    const std::string reason = done ? "" : duckdb_result_error(&result);
    duckdb_destroy_result(&result);
    if (!done) {
      throw core::Error(core::Category::io, "cannot make simulated Parquet files: " + reason);
    }
  }
};

namespace {

std::string fileName(std::uint64_t index) {
  return std::to_string(index) + ".parquet";
}

std::string folderName(const DataRequest& request) {
  std::string name = "v1-" + std::to_string(request.records) + "-records-" + std::to_string(request.files) +
                     "-files-seed-" + std::to_string(request.seed);
  return request.segmentId.empty() ? name : name + "-" + request.segmentId;
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char letter : text) {
    result += letter;
    if (letter == '\'') {
      result += letter;
    }
  }
  return result + "'";
}

}  // namespace

ParquetSource::ParquetSource(fs::path folder) : folder_(std::move(folder)) {
  core::diskFileSystem().createDirectories(folder_);
}

ParquetSource::~ParquetSource() = default;

void ParquetSource::write(const DataRequest& request, const fs::path& into) {
  if (!database_) {
    database_ = std::make_unique<Database>();
  }
  database_->run(profileMacros);
  std::uint64_t first = 0;
  for (std::uint64_t index = 0; index < request.files; ++index) {
    const std::uint64_t last = first + recordsInFile(request.records, request.files, index);
    database_->run("COPY (" + profileQuery(first, last, request.seed, request.segmentId) + ") TO " +
                   quoted((into / fileName(index)).string()) + " (FORMAT PARQUET, COMPRESSION SNAPPY)");
    first = last;
  }
}

std::vector<DataFile> ParquetSource::make(const DataRequest& request) {
  const fs::path folder = folder_ / folderName(request);
  // Complete once it bears its name.
  if (!fs::exists(folder)) {
    const fs::path unfinished = folder.string() + ".part";
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    core::diskFileSystem().createDirectories(unfinished);
    write(request, unfinished);
    core::diskFileSystem().rename(unfinished, folder);
  }
  std::vector<DataFile> made;
  made.reserve(request.files);
  for (std::uint64_t index = 0; index < request.files; ++index) {
    made.push_back({.content = fileContent(folder / fileName(index)),
                    .records = recordsInFile(request.records, request.files, index)});
  }
  return made;
}

}  // namespace caiexport::simulator
