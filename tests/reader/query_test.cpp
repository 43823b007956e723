/// What is asked for: columns, conditions, SQL of one's own, identities and short names; and what is refused.

#include <gmock/gmock.h>

#include "caiexport/core/text.h"
#include "rows_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using core::Error;
using reader::ReadQuery;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class QueryTest : public RowsFixture {
 protected:
  Error refused(const ReadQuery& query) {
    auto profiles = open({parquet("f.parquet", kProfiles)});
    TextOutput output;
    Error error = errorOf([&] { profiles->rows(query, reader::RowFormat::csv, output, {}); });
    EXPECT_EQ(output.text, "") << "nothing may be written before the query is known to be good";
    return error;
  }
};

TEST_F(QueryTest, ColumnsByDottedPath) {
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"mail.address", "_tenant.cai.churn.score", "_id"}, .limit = 1}),
            "mail.address,_tenant.cai.churn.score,_id\r\na0@example.test,0.0,p0\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"MAIL"}, .limit = 1}), "mail.address\r\na0@example.test\r\n");
  EXPECT_EQ(jsonOf(kProfiles, {.columns = {"_tenant.cai.churn.score", "_id", "_tenant.cai.churn.factors"}, .limit = 1}),
            "{\"_tenant\":{\"cai\":{\"churn\":{\"score\":0.0,\"factors\":[{\"name\":\"visits\",\"importance\":0.5}]}}},"
            "\"_id\":\"p0\"}\n");
  const Error error = refused({.columns = {"_tenant.skore"}});
  EXPECT_EQ(error.category(), Category::usage);
  EXPECT_THAT(error.what(), HasSubstr("_tenant.skore"));
  EXPECT_THAT(error.hint(), HasSubstr("_tenant.cai.churn.score"));
}

TEST_F(QueryTest, NamesWithDotsQuotesAndCase) {
  EXPECT_EQ(csvOf("SELECT {'b.c': 1, 'q\"x''y': 2} AS \"a.b\"", {.columns = {"a.b.b.c", "a.b.q\"x'y"}}),
            "a.b.b.c,\"a.b.q\"\"x'y\"\r\n1,2\r\n");
}

TEST_F(QueryTest, Where) {
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id"}, .where = "_tenant.cai.churn.score > 10 -- comment"}),
            "_id\r\np1\r\np2\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id"}, .where = "profiles._id = 'p1'"}), "_id\r\np1\r\n");
}

TEST_F(QueryTest, WrongSqlIsWrongUsageWithDuckDbsWords) {
  for (const char* where : {"skore > 1", "_id >", "_id = 'x", "1 = 1) FROM profiles; DELETE FROM x; --", "_id > ?"}) {
    EXPECT_EQ(refused({.where = where}).category(), Category::usage) << where;
  }
  EXPECT_THAT(refused({.where = "skore > 1"}).what(), HasSubstr("skore"));
  EXPECT_EQ(refused({.where = "CAST(_id AS INTEGER) = 1"}).category(), Category::usage);
  EXPECT_EQ(refused({.sql = "SELECT error('stop') FROM profiles"}).category(), Category::usage);
  EXPECT_EQ(refused({.columns = {"_id"}, .sql = "SELECT 1"}).category(), Category::usage);
}

TEST_F(QueryTest, OneSelectOnly) {
  for (const char* sql : {"SELECT 1; SELECT 2",
                          "CREATE TABLE x (a INT)",
                          "INSERT INTO profiles VALUES (1)",
                          "DROP VIEW profiles",
                          "COPY profiles TO '/tmp/caiexport-never'",
                          "ATTACH '/tmp/caiexport-never' AS a",
                          "INSTALL httpfs",
                          "LOAD httpfs",
                          "SET threads = 1",
                          "RESET memory_limit",
                          "PRAGMA memory_limit = '1GB'",
                          "CALL pragma_version()",
                          "EXPORT DATABASE '/tmp/caiexport-never'",
                          "EXPLAIN SELECT 1",
                          "BEGIN",
                          "CHECKPOINT",
                          "VACUUM",
                          "SELECT 1; DROP VIEW profiles",
                          "PREPARE p AS SELECT 1",
                          "USE memory"}) {
    EXPECT_EQ(refused({.sql = sql}).category(), Category::usage) << sql;
  }
  EXPECT_FALSE(fs::exists("/tmp/caiexport-never"));
}

TEST_F(QueryTest, SqlReadsNothingElse) {
  const fs::path secret = file("secret.csv", "a,b\n1,2\n");
  const fs::path other = parquet("other.parquet", "SELECT 1 AS a");
  const std::vector<std::string> sources{"'" + other.string() + "'",
                                         "read_parquet('" + other.string() + "')",
                                         "read_csv('" + secret.string() + "')",
                                         "read_text('" + secret.string() + "')",
                                         "read_blob('/etc/passwd')",
                                         "glob('/etc/*')",
                                         "read_parquet('" + (folder_ / "sub/../other.parquet").string() + "')",
                                         "'https://host.invalid/x.parquet'",
                                         "query('SELECT * FROM ''" + other.string() + "''')",
                                         "parquet_metadata('" + other.string() + "')",
                                         "sniff_csv('" + secret.string() + "')"};
  for (const std::string& source : sources) {
    const Error error = refused({.sql = "SELECT * FROM " + source});
    EXPECT_EQ(error.category(), Category::usage) << source << ": " << error.what();
  }
}

TEST_F(QueryTest, SqlOverTheView) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _id, _tenant.cai.churn.score AS s FROM profiles ORDER BY s DESC;  "}),
            "_id,s\r\np2,21.0\r\np1,10.5\r\np0,0.0\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "WITH t AS (SELECT count(*) AS n FROM profiles) SELECT n, n FROM t -- end"}),
            "n,n\r\n3,3\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _id FROM profiles ORDER BY _id DESC", .limit = 2}), "_id\r\np2\r\np1\r\n");
}

TEST_F(QueryTest, Identities) {
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_tenant.cai.churn.score"}, .identities = {"ecid", "CRMID", "ECID"}}),
            "ecid,CRMID,_tenant.cai.churn.score\r\nf0,c0,0.0\r\nf1,,10.5\r\nf2,,21.0\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id", "ECID"}, .where = "ECID = 'f1'", .identities = {"ECID"}}),
            "_id,ECID\r\np1,f1\r\n");
  auto profiles = open({parquet("f.parquet", kProfiles)});
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT ECID FROM profiles WHERE _id = 'p2'", .identities = {"ECID"}}),
            "ECID\r\nf2\r\n");
  EXPECT_THAT(csv(*profiles, {.identities = {"ECID"}}), StartsWith("ECID,_id,_tenant."));
  EXPECT_EQ(csvOf("SELECT 1 AS ECID, MAP {'ECID': [{'id': NULL}, {'id': 'x'}]} AS identityMap",
                  {.columns = {"ECID"}, .identities = {"ECID"}}),
            "identityMap.ECID,ECID\r\nx,1\r\n");
  EXPECT_EQ(csvOf("SELECT {'ECID': [{'id': 'x'}]} AS identityMap", {.columns = {"ecid"}, .identities = {"ecid"}}),
            "ecid\r\nx\r\n");
  EXPECT_EQ(errorOf([&] { csvOf("SELECT 1 AS a", {.identities = {"ECID"}}); }).category(), Category::usage);
}

TEST_F(QueryTest, ANamespaceThatNoRowHasIsAnsweredByThoseThatThereAre) {
  const std::string asStruct = "SELECT {'ECID': [{'id': 'x'}], 'CRMID': [{'id': 'y'}]} AS identityMap";
  for (const std::string& select : {std::string(kProfiles), asStruct}) {
    const Error error = errorOf([&] { csvOf(select, {.identities = {"ECID", "email"}}); });
    EXPECT_EQ(error.category(), Category::usage);
    EXPECT_THAT(error.what(), HasSubstr("`email`"));
    EXPECT_THAT(core::toLower(error.hint()), HasSubstr("ecid"));
    EXPECT_THAT(core::toLower(error.hint()), HasSubstr("crmid"));
  }
  // Where there are no rows, nothing is known of any namespace.
  EXPECT_EQ(csvOf(std::string("SELECT * FROM (") + kProfiles + ") WHERE false",
                  {.columns = {"email"}, .identities = {"email"}}),
            "email\r\n");
}

constexpr const char* kTwoModels =
    "SELECT 'a' AS _id, {'churn': {'score': 80.0, 'percentile': 9}, 'buy': {'score': 5.0, 'rank': 1}} AS _tenant";

TEST_F(QueryTest, AShortNameMeansTheOnlyFieldThatBearsIt) {
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id", "score"}, .where = "score > 1"}),
            "_id,_tenant.cai.churn.score\r\np1,10.5\r\np2,21.0\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id"}, .where = "churn.score > 11"}), "_id\r\np2\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.sql = "SELECT max(Score) AS score FROM profiles WHERE SCORE < 20"}),
            "score\r\n10.5\r\n");
  EXPECT_EQ(csvOf(kTwoModels, {.columns = {"churn.score", "percentile", "RANK"}}),
            "_tenant.churn.score,_tenant.churn.percentile,_tenant.buy.rank\r\n80.0,9,1\r\n");
  // A column of its own goes before a field of that name.
  EXPECT_EQ(csvOf("SELECT 1 AS score, {'score': 2} AS g", {.columns = {"score"}, .where = "score = 1"}),
            "score\r\n1\r\n");
  EXPECT_THAT(jsonl(*open({parquet("f.parquet", kProfiles)}), {.columns = {"score"}, .where = "_id = 'p1'"}),
              HasSubstr("{\"_tenant\":{\"cai\":{\"churn\":{\"score\":10.5}}}}"));
}

TEST_F(QueryTest, AShortNameOfSeveralFieldsIsRefusedWithAllOfThem) {
  for (const ReadQuery& query : {ReadQuery{.columns = {"score"}}, ReadQuery{.where = "score > 1"},
                                 ReadQuery{.sql = "SELECT score, percentile FROM profiles"}}) {
    const Error error = errorOf([&] { csvOf(kTwoModels, query); });
    EXPECT_EQ(error.category(), Category::usage);
    EXPECT_THAT(error.hint(), HasSubstr("`_tenant.churn.score`, `_tenant.buy.score`"));
  }
  const Error unknown = errorOf([&] { csvOf(kTwoModels, {.where = "nosuch > 1 AND percentile > 1"}); });
  EXPECT_THAT(unknown.what(), HasSubstr("nosuch"));
}

}  // namespace
}  // namespace caiexport::test
