/// The queries of docs/recipes.md for a DuckDB of one's own, as they stand there, over folders that the program made.

#include <duckdb.h>

#include <regex>
#include <sstream>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class DuckDb {
 public:
  DuckDb() {
    duckdb_open(nullptr, &database_);
    duckdb_connect(database_, &connection_);
  }
  ~DuckDb() {
    duckdb_disconnect(&connection_);
    duckdb_close(&database_);
  }
  DuckDb(const DuckDb&) = delete;
  DuckDb& operator=(const DuckDb&) = delete;

  /// Rows of texts; the query must succeed.
  std::vector<std::vector<std::string>> rows(const std::string& sql) {
    std::vector<std::vector<std::string>> all;
    duckdb_result result;
    if (duckdb_query(connection_, sql.c_str(), &result) == DuckDBError) {
      ADD_FAILURE() << duckdb_result_error(&result) << "\n" << sql;
    } else {
      for (idx_t row = 0; row < duckdb_row_count(&result); ++row) {
        std::vector<std::string>& values = all.emplace_back();
        for (idx_t column = 0; column < duckdb_column_count(&result); ++column) {
          char* text = duckdb_value_varchar(&result, column, row);
          values.emplace_back(text == nullptr ? "" : text);
          duckdb_free(text);
        }
      }
    }
    duckdb_destroy_result(&result);
    return all;
  }

 private:
  duckdb_database database_ = nullptr;
  duckdb_connection connection_ = nullptr;
};

class Recipes : public BinaryTest {
 protected:
  void SetUp() override {
    startWith(R"({"world": "plain", "batches": 3, "failed_batches": 0, "files": 2, "records": 40})");
    for (const char* layout : {"plain", "hive"}) {
      environment["CAIEXPORT_LAYOUT"] = layout;
      environment["CAIEXPORT_OUTPUT"] = path(layout);
      environment["CAIEXPORT_DATABASE"] = path(std::string(layout) + ".db");
      const Ended ended = run({"sync", "--id", kScoreDataset, "--quiet"});
      ASSERT_EQ(ended.code, 0) << ended.err;
    }
  }

  /// The blocks of that kind below the heading, with the folders of this test.
  std::vector<std::string> blocks(const std::string& heading, const std::string& kind) const {
    std::ifstream file(CAIEXPORT_RECIPES);
    std::vector<std::string> found;
    bool here = false;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("## ")) here = line == "## " + heading;
      if (!here) continue;
      if (!inside && line == "```" + kind) {
        inside = true;
        found.emplace_back();
      } else if (inside && line == "```") {
        inside = false;
      } else if (inside) {
        found.back() += line + "\n";
      }
    }
    for (std::string& text : found) {
      text = std::regex_replace(text, std::regex("/srv/scores"), path("plain"));
      text = std::regex_replace(text, std::regex("/srv/lake"), path("hive"));
    }
    return found;
  }

  std::string latest() const { return fs::read_symlink(fs::path(path("plain")) / kScoreDataset / "latest").string(); }

  DuckDb duckdb;
};

TEST_F(Recipes, OfDuckDbSayWhatTheyPromise) {
  const std::vector<std::string> queries = blocks("DuckDB", "sql");
  ASSERT_THAT(queries, SizeIs(3)) << "the document has others now: look at them here";
  const std::string all =
      "read_parquet('" + path("plain/" + std::string(kScoreDataset) + "/" + latest()) + "/*.parquet')";
  const auto high = duckdb.rows("SELECT count(*) FROM " + all + " WHERE _tenant.customerAI.churn_q3.score >= 75");
  EXPECT_EQ(std::to_string(duckdb.rows(queries[0]).size()), high[0][0]);
  EXPECT_NE(high[0][0], "0") << "nobody to find";

  const auto batches = duckdb.rows(queries[1]);
  ASSERT_THAT(batches, SizeIs(3));
  for (const auto& row : batches) {
    const std::string folder = path("hive/dataset_id=" + std::string(kScoreDataset) + "/batch_id=" + row[0]);
    EXPECT_EQ(parseObject(support::Process::contentOf(folder + "/_manifest.json"))->getValue<std::string>("records"),
              row[1]);
  }

  EXPECT_THAT(duckdb.rows(queries[2]), ElementsAre(ElementsAre(latest())));
  EXPECT_EQ(fs::read_symlink(fs::path(path("hive")) / ("dataset_id=" + std::string(kScoreDataset)) / "_latest"),
            "batch_id=" + latest());
}

/// What the document warns of is so, and what it says instead is not.
TEST_F(Recipes, TheNewestBatchCountsTwiceThroughTheLinkAndOnlyThere) {
  const auto count = [&](const std::string& glob) {
    const auto rows = duckdb.rows("SELECT count(*) FROM read_parquet('" + path(glob) + "', union_by_name = true)");
    return rows.empty() ? -1 : std::stol(rows[0][0]);
  };
  const std::string dataset = "plain/" + std::string(kScoreDataset);
  const long one = count(dataset + "/" + latest() + "/*.parquet");
  ASSERT_GT(one, 0);
  EXPECT_EQ(count(dataset + "/*/*.parquet"), 4 * one) << "three batches";
  EXPECT_EQ(count(dataset + "/**/*.parquet"), 3 * one);
  EXPECT_EQ(count("hive/dataset_id=*/batch_id=*/*.parquet"), 3 * one);
  EXPECT_EQ(count("hive/**/*.parquet"), 3 * one);
  // The manifest and the mark are in nobody's way.
  std::vector<std::string> others;
  for (const auto& entry : fs::directory_iterator(path(dataset + "/" + latest()))) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".parquet") && !name.starts_with("_")) others.push_back(name);
  }
  EXPECT_THAT(others, IsEmpty());
}

}  // namespace
}  // namespace caiexport::binary
