#include <duckdb.h>
#include <gmock/gmock.h>

#include "simulator/content.h"
#include "support/temp_directory.h"

namespace caiexport::simulator {
namespace {

/// Runs SQL over files whose name is put in place of FILES, and gives the only value.
std::int64_t ask(std::string sql, const std::string& files) {
  const std::string mark = "FILES";
  sql.replace(sql.find(mark), mark.size(), "read_parquet('" + files + "')");
  duckdb_database database = nullptr;
  duckdb_connection connection = nullptr;
  duckdb_result result{};
  EXPECT_EQ(duckdb_open(nullptr, &database), DuckDBSuccess);
  EXPECT_EQ(duckdb_connect(database, &connection), DuckDBSuccess);
  EXPECT_EQ(duckdb_query(connection, sql.c_str(), &result), DuckDBSuccess) << duckdb_result_error(&result);
  const std::int64_t value = duckdb_value_int64(&result, 0, 0);
  duckdb_destroy_result(&result);
  duckdb_disconnect(&connection);
  duckdb_close(&database);
  return value;
}

struct ParquetTest : testing::Test {
  support::TempDirectory folder;
  ParquetSource source{folder / "it's data"};

  /// All files of the only set that was made, as DuckDB takes them.
  std::string files() const { return (folder / "it''s data").string() + "/*/*.parquet"; }
};

std::string magic(const DataFile& file, std::uint64_t offset) {
  std::string bytes(4, '\0');
  file.content->read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

TEST_F(ParquetTest, MakesRealFilesWithAllRecords) {
  const auto made = source.make({.seed = 1, .records = 101, .files = 4});
  ASSERT_EQ(made.size(), 4U);
  std::uint64_t records = 0;
  for (const DataFile& file : made) {
    EXPECT_EQ(magic(file, 0), "PAR1");
    EXPECT_EQ(magic(file, file.content->sizeBytes() - 4), "PAR1");
    records += file.records;
  }
  EXPECT_EQ(records, 101U);
  EXPECT_EQ(ask("SELECT count(DISTINCT _id) FROM FILES", files()), 101);
  EXPECT_EQ(ask("SELECT count(*) FROM FILES WHERE _tenant.customerAI.churn_q3.score BETWEEN 0 AND 100", files()), 101);
  EXPECT_EQ(ask("SELECT count(*) FROM FILES WHERE abs(_tenant.customerAI.churn_q3.probability * 100 - "
                "_tenant.customerAI.churn_q3.score) < 0.001",
                files()),
            101);
  EXPECT_EQ(ask("SELECT count(*) FROM FILES WHERE len(_tenant.customerAI.churn_q3.influentialFactors) > 0 AND "
                "len(identityMap['ECID']) = 1",
                files()),
            101);
}

TEST_F(ParquetTest, ExportedProfilesAreMembersAtHighRisk) {
  const std::string segment = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";
  source.make({.seed = 9, .records = 50, .files = 2, .segmentId = segment});
  EXPECT_EQ(ask("SELECT count(*) FROM FILES WHERE segmentMembership['ups']['" + segment +
                    "'].status = 'realized' AND "
                    "_tenant.customerAI.churn_q3.score >= 75",
                files()),
            50);
}

TEST_F(ParquetTest, SeedsGiveOtherScoresToTheSamePeople) {
  const auto first = source.make({.seed = 1, .records = 20, .files = 1});
  source.make({.seed = 2, .records = 20, .files = 1});
  EXPECT_EQ(ask("SELECT count(DISTINCT _id) FROM FILES", files()), 20);
  EXPECT_GT(ask("SELECT count(DISTINCT _tenant.customerAI.churn_q3.score) FROM FILES", files()), 30);
}

TEST_F(ParquetTest, WhatIsThereIsTakenAgain) {
  source.make({.seed = 1, .records = 10, .files = 1});
  const auto file =
      *std::filesystem::recursive_directory_iterator(folder / "it's data" / "v1-10-records-1-files-seed-1");
  const auto written = std::filesystem::last_write_time(file);
  ParquetSource second(folder / "it's data");
  EXPECT_EQ(second.make({.seed = 1, .records = 10, .files = 1}).size(), 1U);
  EXPECT_EQ(std::filesystem::last_write_time(file), written);
}

TEST_F(ParquetTest, HalfMadeSetsAreMadeAnew) {
  const auto half = folder / "it's data" / "v1-10-records-2-files-seed-1.part";
  std::filesystem::create_directories(half);
  EXPECT_EQ(source.make({.seed = 1, .records = 10, .files = 2}).size(), 2U);
  EXPECT_FALSE(std::filesystem::exists(half));
}

}  // namespace
}  // namespace caiexport::simulator
