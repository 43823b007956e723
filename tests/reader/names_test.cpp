/// Columns may be called anything: names that differ by case alone, names of DuckDB's, names of ours.

#include <gmock/gmock.h>

#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using reader::ReadQuery;
using testing::HasSubstr;

class NamesTest : public ReaderTest {
 protected:
  /// DuckDB writes no two names that differ by case, so it writes others of the same length.
  fs::path clashing(const std::string& name, const std::string& select, const std::string& written = "chur0",
                    const std::string& meant = "Churn") {
    std::string bytes = content(parquet(name, select, ", COMPRESSION uncompressed"));
    for (std::size_t at = bytes.find(written); at != bytes.npos; at = bytes.find(written, at + 1)) {
      bytes.replace(at, written.size(), meant);
    }
    return file(name, bytes);
  }

  std::string rewritten(reader::Profiles& profiles, const ReadQuery& query = {}) {
    profiles.writeParquet(query, folder_ / "out.parquet", {});
    return jsonl(*open({folder_ / "out.parquet"}));
  }
};

TEST_F(NamesTest, ThatDifferByCaseAreTwoColumnsInEveryFormat) {
  const auto profiles =
      open({clashing("f.parquet",
                     "SELECT i AS id, {'t': {'chur0': {'score': 10.0 + i}, 'churn': {'score': 80.0 + i}}} AS _t,"
                     " 'top' AS churn, 7 AS chur0 FROM range(2) r(i)")});
  EXPECT_EQ(csv(*profiles),
            "id,_t.t.Churn.score,_t.t.churn.score,churn,Churn\r\n0,10.0,80.0,top,7\r\n1,11.0,81.0,top,7\r\n");
  const std::string rows =
      R"({"id":0,"_t":{"t":{"Churn":{"score":10.0},"churn":{"score":80.0}}},"churn":"top","Churn":7})";
  EXPECT_THAT(jsonl(*profiles), HasSubstr(rows));
  EXPECT_THAT(rewritten(*profiles), HasSubstr(rows));
  EXPECT_EQ(csv(*profiles, {.columns = {"_t.t.churn.score"}, .where = "_t.t.churn.score > 80 AND \"Churn\" = 7"}),
            "_t.t.churn.score\r\n81.0\r\n");
  EXPECT_EQ(
      csv(*profiles, {.sql = "SELECT max(_t.t.Churn.score) AS a, max(_t.t.churn.score) AS A -- churn\nFROM profiles"}),
      "a,A\r\n11.0,81.0\r\n");
  EXPECT_EQ(rewritten(*profiles, {.sql = "SELECT 1 AS a, 2 AS A, churn, Churn FROM profiles LIMIT 1;"}),
            "{\"a\":1,\"A\":2,\"churn\":\"top\",\"Churn\":7}\n");
  EXPECT_THAT(profiles->scoreFields(), testing::ElementsAre("_t.t.Churn.score", "_t.t.churn.score"));
  EXPECT_EQ(profiles->scores("_t.t.churn.score", {}).max, 81.0);
  EXPECT_EQ(profiles->scores("_t.t.Churn.score", {}).max, 11.0);
  const reader::Table table = profiles->table({}, {});
  EXPECT_EQ(table.columns.at(1).name, "_t.t.Churn.score");
  EXPECT_EQ(table.rows.at(0).at(2), "80.0");
}

TEST_F(NamesTest, ThatDifferByCaseAreNeverGuessed) {
  const auto profiles = open({clashing("f.parquet", "SELECT {'chur0': {'score': 1.0}, 'churn': {'score': 2.0}} AS t")});
  for (const ReadQuery& query :
       {ReadQuery{.columns = {"t.CHURN.score"}}, ReadQuery{.where = "t.cHurn.score > 0"},
        ReadQuery{.sql = "SELECT t.\"CHURN\" FROM profiles"}, ReadQuery{.sql = "SELECT t['churn'] FROM profiles"}}) {
    const core::Error error = errorOf([&] { csv(*profiles, query); });
    EXPECT_EQ(error.category(), Category::usage) << error.what();
    EXPECT_EQ(std::string(error.what()).find("\\x0"), std::string::npos) << error.what();
  }
  EXPECT_EQ(errorOf([&] { profiles->scores("T.CHURN.SCORE", {}); }).category(), Category::usage);
  EXPECT_EQ(csv(*profiles, {.columns = {"t.churn.score"}, .where = "'CHURN' <> 'Churn' /* CHURN */"}),
            "t.churn.score\r\n2.0\r\n")
      << "texts and comments are no columns";
}

TEST_F(NamesTest, ThatDifferByCaseInsideListsAndMapsAndNulls) {
  const auto profiles =
      open({clashing("f.parquet",
                     "SELECT [{'chur0': 1, 'churn': 'x'}] AS l, MAP {'k': [{'churn': 2, 'chur0': 'y'}]} AS m,"
                     " {'churn': 1, 'chur0': 2} AS s UNION ALL SELECT NULL, NULL, NULL")});
  EXPECT_EQ(rewritten(*profiles),
            "{\"l\":[{\"Churn\":1,\"churn\":\"x\"}],\"m\":{\"k\":[{\"churn\":2,\"Churn\":\"y\"}]},\"s\":{\"churn\":1,"
            "\"Churn\":2}}\n{\"l\":null,\"m\":null,\"s\":null}\n");
}

TEST_F(NamesTest, ThatDifferByCaseBetweenFilesAreTwoColumns) {
  const fs::path lower = parquet("1.parquet", "SELECT 1 AS id, {'churn': 5} AS t, 3 AS f");
  const fs::path upper = parquet("2.parquet", "SELECT 2 AS id, {'Churn': 'x'} AS t, 4 AS F");
  const auto profiles = open({lower, upper, parquet("3.parquet", "SELECT 3 AS id, {'churn': 6} AS t, 5 AS f")});
  EXPECT_EQ(csv(*profiles, {.columns = {"id", "t", "f", "F", "_file"}}),
            "id,t.churn,t.Churn,f,F,_file\r\n1,5,,3,,1.parquet\r\n2,,x,,4,2.parquet\r\n3,6,,5,,3.parquet\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT sum(f) AS s, _file FROM profiles GROUP BY 2 ORDER BY 2"}),
            "s,_file\r\n3,1.parquet\r\n,2.parquet\r\n5,3.parquet\r\n");
}

TEST_F(NamesTest, OfOurExtraColumnsDoNotChangeThem) {
  const std::string select =
      "SELECT 'theirs' AS _file, 'b' AS _batch_id, 1 AS _BATCH_CREATED, 'n' AS filename,"
      " 99 AS file_index, 98 AS file_row_number, 97 AS rowid, 5 AS profiles, 6 AS f, 7 AS caiexport_rows";
  const std::string names =
      "_file,_batch_id,_BATCH_CREATED,filename,file_index,file_row_number,rowid,profiles,f,caiexport_rows\r\n";
  const fs::path first = parquet("1.parquet", select);
  const fs::path second = parquet("2[x]\\.parquet", select);
  auto profiles = reader().open({{.path = first, .batchId = "b1"}, {.path = second, .batchId = "b2"}});
  const std::string row = "theirs,b,1,n,99,98,97,5,6,7\r\n";
  EXPECT_EQ(csv(*profiles), names + row + row);
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT * FROM profiles"}), names + row + row);
  EXPECT_EQ(csv(*profiles, {.columns = {"_file", "_batch_id", "_batch_created", "file_index", "profiles"}}),
            "_file,_batch_id,_batch_created,file_index,profiles\r\n1.parquet,b1,,99,5\r\n2[x]\\.parquet,b2,,99,5\r\n");
  EXPECT_EQ(csv(*profiles, {.columns = {"_file_1", "_file"}, .where = "_batch_id = 'b2' AND _file_1 = 'theirs'"}),
            "_file_1,_file\r\ntheirs,2[x]\\.parquet\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _batch_id, count(*) AS n FROM profiles GROUP BY 1 ORDER BY 1"}),
            "_batch_id,n\r\nb1,1\r\nb2,1\r\n");
  EXPECT_EQ(
      csv(*profiles, {.columns = {"rowid", "filename"}, .where = "file_row_number = 98 AND f = 6 AND profiles = 5"}),
      "rowid,filename\r\n97,n\r\n97,n\r\n");
}

}  // namespace
}  // namespace caiexport::test
