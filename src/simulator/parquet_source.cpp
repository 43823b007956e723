#include "simulator/content.h"

#include <Poco/String.h>
#include <duckdb.h>

#include <string>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"

namespace caiexport::simulator {
namespace fs = std::filesystem;

namespace {

// Propensity scores lean to the low end, so the uniform number is raised to a power.
constexpr const char* kRecords = R"sql(
WITH b AS (
  SELECT i, chance(i, __SEED__ * 100 + 1) AS u1, chance(i, 2) AS u2, chance(i, 3) AS u3, chance(i, 4) AS u4,
    md5(i::VARCHAR) AS digest
  FROM range(__FIRST__, __LAST__) t(i)
), s AS (
  SELECT *, round(__SCORE__, 4) AS score FROM b
)
SELECT
  substr(digest, 1, 8) || '-' || substr(digest, 9, 4) || '-4' || substr(digest, 14, 3) || '-a' ||
    substr(digest, 18, 3) || '-' || substr(digest, 21, 12) AS _id,
  struct_pack(customerAI := struct_pack(churn_q3 := struct_pack(
    score := score,
    probability := round(score / 100, 6),
    percentile := least(100, (1 + floor(u1 * 100))::INTEGER),
    propensityType := 'churn',
    scoreDate := TIMESTAMPTZ '2025-06-01 03:17:05.123+00' + INTERVAL 1 DAY * (__SEED__ % 365) + INTERVAL 1 SECOND * (i % 5400),
    modelVersion := '17',
    influentialFactors := list_transform(range((1 + floor(u3 * 5))::BIGINT), lambda k: struct_pack(
      code := (['daysSinceLastPurchase', 'webVisits_30d', 'emailOpens_7d', 'avgOrderValue', 'supportTickets_90d',
                'appSessions_14d'])[(1 + (i + k * 7) % 6)::INTEGER],
      value := round(chance(i, 10 + k) * 250, 2)::VARCHAR,
      importance := (['low', 'medium', 'high'])[(1 + (i + k) % 3)::INTEGER]))
  ))) AS _tenant,
  MAP {
    'ECID': [struct_pack(id := lpad((i * 9973 % 1000000000000)::VARCHAR, 38, '0'), authenticatedState := 'ambiguous',
                         "primary" := (u4 >= 0.6))],
    'CRMID': CASE WHEN u4 < 0.6
      THEN [struct_pack(id := 'crm-' || i::VARCHAR, authenticatedState := 'authenticated', "primary" := true)]
      ELSE [] END
  } AS identityMap,
  MAP { 'ups': MAP_FROM_ENTRIES(__MEMBERSHIPS__) } AS segmentMembership,
  struct_pack("name" := struct_pack(
    firstName := 'First' || (i % 977)::VARCHAR,
    lastName := 'O''Neil, "Q" ' || (i % 1013)::VARCHAR)) AS person,
  CASE WHEN u3 < 0.05 THEN NULL ELSE struct_pack(address := 'user' || i::VARCHAR || '@example.test') END AS personalEmail,
  TIMESTAMPTZ '2025-06-01 03:00:00+00' + INTERVAL 1 MILLISECOND * i AS "timestamp",
  'US' AS _region
FROM s)sql";

constexpr const char* kAnyMemberships = R"sql(list_transform(range((floor(u2 * 4))::BIGINT), lambda k: struct_pack(
    k := (['7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a', '0b7c1b0a-2f0e-4f57-8a1b-000000000001',
           'e1d2c3b4-9a8b-4c7d-8e6f-112233445566', '99887766-5544-4332-8110-ffeeddccbbaa'])[(1 + k)::INTEGER],
    v := struct_pack(status := (['realized', 'existing', 'exited'])[(1 + (i + k) % 3)::INTEGER],
      lastQualificationTime := TIMESTAMPTZ '2025-05-30 00:00:00+00' + INTERVAL 1 MINUTE * (i % 1440)))))sql";

constexpr const char* kOneMembership = R"sql([struct_pack(
    k := '__SEGMENT__',
    v := struct_pack(status := 'realized',
      lastQualificationTime := TIMESTAMPTZ '2025-05-30 00:00:00+00' + INTERVAL 1 MINUTE * (i % 1440)))])sql";

/// To be run once on a connection, before any profileQuery().
constexpr const char* kProfileMacros =
    "CREATE OR REPLACE MACRO chance(i, salt) AS (hash(i * 1000003 + salt) % 1000000)::DOUBLE / 1000000";

/// A query that gives the records `first` to `last` (exclusive): an XDM Individual Profile with the Customer AI field
/// group. Everybody's score depends on `seed`; with a segment id all are members of that segment and at high risk.
std::string profileQuery(std::uint64_t first, std::uint64_t last, std::uint64_t seed, const std::string& segmentId) {
  std::string sql = kRecords;
  Poco::replaceInPlace(sql, "__SCORE__", segmentId.empty() ? "100 * pow(u1, 2.2)" : "75 + 25 * u1");
  Poco::replaceInPlace(sql, "__MEMBERSHIPS__", segmentId.empty() ? kAnyMemberships : kOneMembership);
  Poco::replaceInPlace(sql, "__SEGMENT__", segmentId.c_str());
  Poco::replaceInPlace(sql, "__SEED__", std::to_string(seed).c_str());
  Poco::replaceInPlace(sql, "__FIRST__", std::to_string(first).c_str());
  Poco::replaceInPlace(sql, "__LAST__", std::to_string(last).c_str());
  return sql;
}

std::string fileName(std::uint64_t index) {
  return std::to_string(index) + ".parquet";
}

std::string folderName(const DataRequest& request) {
  std::string name = "v1-" + std::to_string(request.records) + "-records-" + std::to_string(request.files) +
                     "-files-seed-" + std::to_string(request.seed);
  return request.segmentId.empty() ? name : name + "-" + request.segmentId;
}

std::string quoted(const std::string& text) {
  return "'" + Poco::replace(text, "'", "''") + "'";
}

}  // namespace

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
    if (!done) throw core::Error(core::Category::io, "cannot make simulated Parquet files: " + reason);
  }
};

ParquetSource::ParquetSource(fs::path folder) : folder_(std::move(folder)) {
  core::diskFileSystem().createDirectories(folder_);
}

ParquetSource::~ParquetSource() = default;

void ParquetSource::write(const DataRequest& request, const fs::path& into) {
  if (!database_) database_ = std::make_unique<Database>();
  database_->run(kProfileMacros);
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
