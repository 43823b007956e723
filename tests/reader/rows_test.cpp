#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "parquet_bytes.h"
#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using core::Error;
using reader::ReadQuery;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const char* const kProfiles =
    "SELECT 'p' || i AS _id,"
    " {'cai': {'churn': {'score': i * 10.5, 'scoreDate': TIMESTAMPTZ '2025-06-01 03:17:05.123+00',"
    " 'factors': [{'name': 'visits', 'importance': 0.5}]}}} AS _tenant,"
    " MAP {'ECID': [{'id': 'e' || i, 'primary': false}, {'id': 'f' || i, 'primary': true}],"
    "      'crmid': CASE WHEN i = 0 THEN [{'id': 'c0', 'primary': false}] ELSE [] END} AS identityMap,"
    " CASE WHEN i = 1 THEN NULL ELSE {'address': 'a' || i || '@example.test'} END AS mail"
    " FROM range(3) r(i)";

class RowsTest : public ReaderTest {
 protected:
  std::string csvOf(const std::string& select, const ReadQuery& query = {}) {
    return csv(*open({parquet("f.parquet", select)}), query);
  }
  std::string jsonOf(const std::string& select, const ReadQuery& query = {}) {
    return jsonl(*open({parquet("f.parquet", select)}), query);
  }
  static std::vector<std::string> sortedLines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    std::ranges::sort(lines);
    return lines;
  }
  Error refused(const ReadQuery& query) {
    auto profiles = open({parquet("f.parquet", kProfiles)});
    TextOutput output;
    Error error = errorOf([&] { profiles->rows(query, reader::RowFormat::csv, output, {}); });
    EXPECT_EQ(output.text, "") << "nothing may be written before the query is known to be good";
    return error;
  }
};

TEST_F(RowsTest, CsvHasDottedColumnsAndJsonForListsAndMaps) {
  EXPECT_EQ(
      csvOf(kProfiles, {.limit = 2}),
      "_id,_tenant.cai.churn.score,_tenant.cai.churn.scoreDate,_tenant.cai.churn.factors,identityMap,"
      "mail.address\r\n"
      "p0,0.0,2025-06-01T03:17:05.123Z,\"[{\"\"name\"\":\"\"visits\"\",\"\"importance\"\":0.5}]\","
      "\"{\"\"ECID\"\":[{\"\"id\"\":\"\"e0\"\",\"\"primary\"\":false},{\"\"id\"\":\"\"f0\"\",\"\"primary\"\":true}],"
      "\"\"crmid\"\":[{\"\"id\"\":\"\"c0\"\",\"\"primary\"\":false}]}\",a0@example.test\r\n"
      "p1,10.5,2025-06-01T03:17:05.123Z,\"[{\"\"name\"\":\"\"visits\"\",\"\"importance\"\":0.5}]\","
      "\"{\"\"ECID\"\":[{\"\"id\"\":\"\"e1\"\",\"\"primary\"\":false},{\"\"id\"\":\"\"f1\"\",\"\"primary\"\":true}],"
      "\"\"crmid\"\":[]}\",\r\n");
}

TEST_F(RowsTest, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(csvOf("SELECT * FROM (VALUES ('a,b', 1), ('q\"q', 2), (E'l\\nl', 3), (E'r\\rr', 4), ('', 5), (NULL, 6),"
                  " ('plain ', 7)) v(\"t,t\", n)"),
            "\"t,t\",n\r\n\"a,b\",1\r\n\"q\"\"q\",2\r\n\"l\nl\",3\r\n\"r\rr\",4\r\n\"\",5\r\n,6\r\nplain ,7\r\n");
  EXPECT_EQ(csvOf("SELECT * FROM (VALUES ('a'), (NULL)) v(t)"), "t\r\na\r\n\"\"\r\n");
}

TEST_F(RowsTest, CsvCellsThatASpreadsheetWouldRunAreQuoted) {
  const std::string select =
      "SELECT -3 AS n, * FROM (VALUES ('=1+1'), ('+49 30 1'), ('-3'), ('+4.5e1'), ('-a'), ('@SUM'), (E'\\tx'),"
      " (' =x'), ('＝x'), ('a=b'), ('-inf'), ('-')) t(\"=head\")";
  EXPECT_EQ(csvOf(select),
            "n,'=head\r\n-3,'=1+1\r\n-3,'+49 30 1\r\n-3,-3\r\n-3,+4.5e1\r\n-3,'-a\r\n-3,'@SUM\r\n-3,'\tx\r\n"
            "-3,' =x\r\n-3,'＝x\r\n-3,a=b\r\n-3,'-inf\r\n-3,'-\r\n");
  TextOutput exact;
  open({parquet("e.parquet", select)})->rows({}, reader::RowFormat::csvExact, exact, {});
  EXPECT_THAT(exact.text, StartsWith("n,=head\r\n-3,=1+1\r\n-3,+49 30 1\r\n"));
  EXPECT_THAT(jsonOf(select), HasSubstr("\"=head\":\"=1+1\""));
}

TEST_F(RowsTest, JsonLinesKeepNesting) {
  EXPECT_EQ(jsonOf(kProfiles, {.limit = 1}),
            "{\"_id\":\"p0\",\"_tenant\":{\"cai\":{\"churn\":{\"score\":0.0,\"scoreDate\":\"2025-06-01T03:17:05.123Z\","
            "\"factors\":[{\"name\":\"visits\",\"importance\":0.5}]}}},\"identityMap\":{\"ECID\":[{\"id\":\"e0\","
            "\"primary\":false},{\"id\":\"f0\",\"primary\":true}],\"crmid\":[{\"id\":\"c0\",\"primary\":false}]},"
            "\"mail\":{\"address\":\"a0@example.test\"}}\n");
  EXPECT_THAT(jsonOf(kProfiles), HasSubstr("\"mail\":null}\n"));
}

TEST_F(RowsTest, EveryTypeAsText) {
  const std::string select =
      "SELECT true AS b, 1::TINYINT AS i1, (-2)::SMALLINT AS i2, 9223372036854775807 AS i8,"
      " 18446744073709551615::UBIGINT AS u8, 0.1::FLOAT AS f, 12.0::DOUBLE AS d, 1e300::DOUBLE AS big,"
      " (-0.05)::DECIMAL(4,2) AS d1, 123456789012345678901234.5678::DECIMAL(38,4) AS d2, 7::DECIMAL(3,0) AS d3,"
      " DATE '2025-07-01' AS day, DATE '0001-02-03' AS old, TIME '01:02:03.5' AS clock,"
      " TIMESTAMP '2025-06-01 03:17:05' AS ts, TIMESTAMP '1969-12-31 23:59:59.999999' AS before,"
      " TIMESTAMP_NS '2025-06-01 03:17:05.123456789' AS ns, TIMESTAMPTZ '2025-06-01 03:17:05.5+02' AS tz,"
      " '\\x00\\xFFab'::BLOB AS bin, 'f47ac10b-58cc-4372-a567-0e02b2c3d479'::UUID AS id,"
      " {'a': [1, NULL], 'm': MAP {1: 'x'}} AS nested, 'sad'::ENUM('happy', 'sad') AS mood";
  const std::string json = jsonOf(select);
  for (const char* part : {"\"b\":true",
                           "\"i1\":1,",
                           "\"i2\":-2,",
                           "\"i8\":9223372036854775807,",
                           "\"u8\":18446744073709551615,",
                           "\"f\":0.1,",
                           "\"d\":12.0,",
                           "\"big\":1e+300,",
                           "\"d1\":-0.05,",
                           "\"d2\":123456789012345678901234.5678,",
                           "\"d3\":7,",
                           "\"day\":\"2025-07-01\"",
                           "\"old\":\"0001-02-03\"",
                           "\"clock\":\"01:02:03.500\"",
                           "\"ts\":\"2025-06-01T03:17:05.000Z\"",
                           "\"before\":\"1969-12-31T23:59:59.999999Z\"",
                           "\"ns\":\"2025-06-01T03:17:05.123456789Z\"",
                           "\"tz\":\"2025-06-01T01:17:05.500Z\"",
                           "\"bin\":\"AP9hYg==\"",
                           "\"id\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"",
                           "\"nested\":{\"a\":[1,null],\"m\":{\"1\":\"x\"}}",
                           "\"mood\":\"sad\""}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
  // DuckDB agrees that each line is JSON.
  const fs::path lines = file("lines.json", json);
  EXPECT_EQ(writer_.value("SELECT count(*) FROM read_json('" + lines.string() + "', format = 'newline_delimited')"),
            "1");
}

TEST_F(RowsTest, TypesThatOnlyDuckDbCanPrint) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  EXPECT_EQ(jsonl(*profiles, {.sql = "SELECT INTERVAL 2 DAY AS i, [INTERVAL 1 DAY] AS l, '101'::BIT AS b"}),
            "{\"i\":\"2 days\",\"l\":[\"1 day\"],\"b\":\"101\"}\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT INTERVAL 2 DAY AS i, 1 AS n ORDER BY n -- a comment"}),
            "i,n\r\n2 days,1\r\n");
}

TEST_F(RowsTest, DoublesAreTheShortestTextThatMeansThem) {
  const std::string text = csvOf(
      "SELECT CAST(s AS DOUBLE) * CASE WHEN i % 3 = 0 THEN -1 ELSE 1 END AS d FROM (SELECT i, unnest([i, i / 10, i / "
      "100, i / 1e3, i / 1e4, i / 1e5, i / 1e6, i / 1e7, i / 1e9, i * 10, i * 1000, i * 100000 + 0.5, i * 123457 + 0.1,"
      " i * 1e9 + 0.000001, i * 987654321, i * 1e15, sqrt(i), 1 / (i + 1), 0.1 + i * 0.2, 1e9 - i / 1e6, 1e300 * i, "
      "1e-300 * i, (hash(i) % 1000000)::DOUBLE / 1e6]) AS s FROM range(1500) r(i))");
  std::size_t lines = 0;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line == "d\r") continue;
    const std::string_view number = std::string_view(line).substr(0, line.size() - 1);
    double value = 0;
    ASSERT_EQ(std::from_chars(number.data(), number.data() + number.size(), value).ec, std::errc{}) << number;
    std::array<char, 32> buffer{};
    std::string shortest(buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr);
    if (shortest.find_first_not_of("-0123456789") == std::string::npos) shortest += ".0";
    ASSERT_EQ(number, shortest);
    ++lines;
  }
  EXPECT_EQ(lines, 23U * 1500);
}

TEST_F(RowsTest, EachLetterIsEscapedWhereverItStands) {
  // Texts are looked at eight letters at a time.
  const std::string letters =
      R"(['"', '\', chr(10), chr(13), chr(9), chr(1), chr(31), ' ', '!', '#', '[', ']', 'é', '€'])";
  const std::string select =
      "SELECT [repeat('a', b::INTEGER) || l || repeat('z', e::INTEGER)] AS t FROM (SELECT unnest(" + letters +
      ") AS l), range(19) x(b), range(19) y(e)";
  const auto profiles = open({parquet("f.parquet", select)});
  std::string json;
  std::string quoted = "t\r\n";
  const std::vector<std::string> escaped{R"(\")", R"(\\)", R"(\n)", R"(\r)", R"(\t)", R"(\u0001)", R"(\u001f)",
                                         " ",     "!",     "#",     "[",     "]",     "é",         "€"};
  for (const std::string& letter : escaped) {
    for (std::size_t before = 0; before < 19; ++before) {
      for (std::size_t after = 0; after < 19; ++after) {
        const std::string text = std::string(before, 'a') + letter + std::string(after, 'z');
        json += "{\"t\":[\"" + text + "\"]}\n";
        quoted += "\"[\"\"" +
                  (letter == R"(\")" ? std::string(before, 'a') + R"(\"")" + std::string(after, 'z') : text) +
                  "\"\"]\"\r\n";
      }
    }
  }
  EXPECT_EQ(sortedLines(jsonl(*profiles)), sortedLines(json));
  EXPECT_EQ(sortedLines(csv(*profiles)), sortedLines(quoted));
}

TEST_F(RowsTest, JsonInCsvIsQuotedOnlyWhereItMustBe) {
  EXPECT_EQ(
      csvOf("SELECT []::INTEGER[] AS a, [1] AS b, [1, 2] AS c, [true] AS d, MAP {} AS e, ['x'] AS f, [NULL] AS g"),
      "a,b,c,d,e,f,g\r\n[],[1],\"[1,2]\",[true],{},\"[\"\"x\"\"]\",[null]\r\n");
}

TEST_F(RowsTest, JsonHasNoNanAndEscapesControls) {
  EXPECT_EQ(jsonOf("SELECT 'nan'::DOUBLE AS a, 'inf'::DOUBLE AS b, E'q\"\\\\ \\t\\n\\x01' || chr(0) AS t"),
            "{\"a\":null,\"b\":null,\"t\":\"q\\\"\\\\ \\t\\n\\u0001\\u0000\"}\n");
  EXPECT_EQ(csvOf("SELECT 'nan'::DOUBLE AS a, '-inf'::DOUBLE AS b"), "a,b\r\nnan,-inf\r\n");
}

TEST_F(RowsTest, ColumnsByDottedPath) {
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

TEST_F(RowsTest, NamesWithDotsQuotesAndCase) {
  EXPECT_EQ(csvOf("SELECT {'b.c': 1, 'q\"x''y': 2} AS \"a.b\"", {.columns = {"a.b.b.c", "a.b.q\"x'y"}}),
            "a.b.b.c,\"a.b.q\"\"x'y\"\r\n1,2\r\n");
}

TEST_F(RowsTest, Where) {
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id"}, .where = "_tenant.cai.churn.score > 10 -- comment"}),
            "_id\r\np1\r\np2\r\n");
  EXPECT_EQ(csvOf(kProfiles, {.columns = {"_id"}, .where = "profiles._id = 'p1'"}), "_id\r\np1\r\n");
}

TEST_F(RowsTest, WrongSqlIsWrongUsageWithDuckDbsWords) {
  for (const char* where : {"skore > 1", "_id >", "_id = 'x", "1 = 1) FROM profiles; DELETE FROM x; --", "_id > ?"}) {
    EXPECT_EQ(refused({.where = where}).category(), Category::usage) << where;
  }
  EXPECT_THAT(refused({.where = "skore > 1"}).what(), HasSubstr("skore"));
  EXPECT_EQ(refused({.where = "CAST(_id AS INTEGER) = 1"}).category(), Category::usage);
  EXPECT_EQ(refused({.sql = "SELECT error('stop') FROM profiles"}).category(), Category::usage);
  EXPECT_EQ(refused({.columns = {"_id"}, .sql = "SELECT 1"}).category(), Category::usage);
}

TEST_F(RowsTest, OneSelectOnly) {
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

TEST_F(RowsTest, SqlReadsNothingElse) {
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

TEST_F(RowsTest, SqlOverTheView) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _id, _tenant.cai.churn.score AS s FROM profiles ORDER BY s DESC;  "}),
            "_id,s\r\np2,21.0\r\np1,10.5\r\np0,0.0\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "WITH t AS (SELECT count(*) AS n FROM profiles) SELECT n, n FROM t -- end"}),
            "n,n\r\n3,3\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _id FROM profiles ORDER BY _id DESC", .limit = 2}), "_id\r\np2\r\np1\r\n");
}

TEST_F(RowsTest, Identities) {
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

TEST_F(RowsTest, ANamespaceThatNoRowHasIsAnsweredByThoseThatThereAre) {
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

TEST_F(RowsTest, AShortNameMeansTheOnlyFieldThatBearsIt) {
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

TEST_F(RowsTest, AShortNameOfSeveralFieldsIsRefusedWithAllOfThem) {
  for (const reader::ReadQuery& query :
       {reader::ReadQuery{.columns = {"score"}}, reader::ReadQuery{.where = "score > 1"},
        reader::ReadQuery{.sql = "SELECT score, percentile FROM profiles"}}) {
    const Error error = errorOf([&] { csvOf(kTwoModels, query); });
    EXPECT_EQ(error.category(), Category::usage);
    EXPECT_THAT(error.hint(), HasSubstr("`_tenant.churn.score`, `_tenant.buy.score`"));
  }
  const Error unknown = errorOf([&] { csvOf(kTwoModels, {.where = "nosuch > 1 AND percentile > 1"}); });
  EXPECT_THAT(unknown.what(), HasSubstr("nosuch"));
}

TEST_F(RowsTest, TablesShowNumbersWithoutExponents) {
  auto profiles = open({parquet("f.parquet",
                                "SELECT 0.0003::DOUBLE AS a, 3e-7::FLOAT AS b, 1e20::DOUBLE AS c, 2.0 ::DOUBLE AS d, "
                                "'nan'::DOUBLE AS e, -1e-9::DOUBLE AS f, 1e300::DOUBLE AS g")});
  EXPECT_THAT(profiles->table({}, {}).rows[0],
              ElementsAre("0.0003", "0.0000003", "100000000000000000000.0", "2.0", "nan", "-0.000000001", "1e+300"));
}

TEST_F(RowsTest, ExamplesAreTheFirstValuesThatThereAre) {
  auto profiles = open({parquet("f.parquet",
                                "SELECT CASE WHEN i > 1 THEN i END AS late, NULL::VARCHAR AS never, "
                                "{'score': 0.0003::DOUBLE} AS g FROM range(5) t(i)")});
  const auto fields = profiles->examples({});
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields[0].example, "2");
  EXPECT_EQ(fields[1].example, std::nullopt);
  EXPECT_EQ(fields[2].path, "g.score");
  EXPECT_EQ(fields[2].example, "0.0003");
}

TEST_F(RowsTest, SeveralBatchesAsOneSet) {
  const fs::path first = parquet("one/part.parquet", "SELECT 'a' AS id, {'score': 1.0, 'old': 1} AS g, 'x' AS gone");
  const fs::path second =
      parquet("two/part.parquet", "SELECT 'b' AS id, {'score': 2.0, 'new': {'deep': 'y'}} AS g, 5 AS extra");
  const auto created = core::TimePoint(std::chrono::milliseconds(1748747825123));
  auto profiles = reader().open({{.path = first, .batchId = "b'1", .batchCreated = created, .label = "one"},
                                 {.path = second, .batchId = "b2", .batchCreated = {}, .label = ""}});
  EXPECT_EQ(csv(*profiles), "id,g.score,g.old,g.new.deep,gone,extra\r\na,1.0,1,,x,\r\nb,2.0,,y,,5\r\n");
  EXPECT_EQ(csv(*profiles, {.columns = {"id", "_batch_id", "_batch_created", "_file"}}),
            "id,_batch_id,_batch_created,_file\r\na,b'1,2025-06-01T03:17:05.123Z,one\r\nb,b2,,part.parquet\r\n");
  EXPECT_EQ(csv(*profiles, {.columns = {"id"}, .where = "_batch_id = 'b2'"}), "id\r\nb\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _file, count(*) AS n FROM profiles GROUP BY 1 ORDER BY 1"}),
            "_file,n\r\none,1\r\npart.parquet,1\r\n");
  EXPECT_THAT(csv(*profiles, {.sql = "SELECT * FROM profiles"}), Not(HasSubstr("_batch_id")));
  EXPECT_EQ(profiles->rowCount(), 2U);
}

std::uint64_t bytesReadByThisProcess() {
  std::ifstream stream("/proc/self/io");
  std::string name;
  std::uint64_t bytes = 0;
  stream >> name >> bytes;
  return bytes;
}

TEST_F(RowsTest, FilesOfOneSchemaAreReadOnceToBeOpened) {
  if (!fs::exists("/proc/self/io")) GTEST_SKIP() << "NOT CHECKED: the system does not count bytes read";
  const fs::path first = parquet("part-0", kProfiles);
  const std::uint64_t bytes = fs::file_size(first);
  constexpr std::size_t kFiles = 300;
  std::vector<fs::path> files{first};
  for (std::size_t number = 1; number < kFiles; ++number) {
    files.push_back(folder_.path() / ("part-" + std::to_string(number)));
    fs::copy_file(first, files.back());
  }
  const std::uint64_t before = bytesReadByThisProcess();
  const reader::Table table = open(files)->table({.limit = 1}, {});
  EXPECT_EQ(table.rows.size(), 1U);
  EXPECT_TRUE(table.more);
  EXPECT_LT(bytesReadByThisProcess() - before, bytes * kFiles + bytes * kFiles / 4);
}

TEST_F(RowsTest, AColumnThatOnlyTheLastFileHasIsSeen) {
  const std::vector<fs::path> files{parquet("a", "SELECT 1 AS x"), parquet("b", "SELECT 2 AS x"),
                                    parquet("c", "SELECT 3 AS x, 'new' AS y")};
  EXPECT_EQ(csv(*open(files)), "x,y\r\n1,\r\n2,\r\n3,new\r\n");
  EXPECT_EQ(csv(*open({files[2], files[0], files[1]})), "x,y\r\n3,new\r\n1,\r\n2,\r\n");
}

TEST_F(RowsTest, AWiderTypeInTheLastFileIsSeen) {
  EXPECT_EQ(csv(*open({parquet("a", "SELECT 1::INTEGER AS x"), parquet("b", "SELECT 2.5::DOUBLE AS x")})),
            "x\r\n1.0\r\n2.5\r\n");
}

TEST_F(RowsTest, ADamagedFooterOfAnyFileIsToldBeforeTheFirstRow) {
  const fs::path first = parquet("a", kProfiles);
  std::string bytes = content(first);
  // Length and magic number are at the end; before them lies the footer, which begins with its version.
  const std::size_t tail = bytes.size() - 8;
  std::size_t length = 0;
  for (std::size_t index = 4; index-- > 0;) length = length << 8U | static_cast<unsigned char>(bytes[tail + index]);
  for (const std::size_t at : {tail - length, tail - length + 3, tail - length / 2}) {
    std::string damaged = bytes;
    std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), 4, '\xFF');
    const fs::path last = file("b.parquet", damaged);
    const Error error = errorOf([&] { open({first, last}); });
    EXPECT_EQ(error.category(), Category::verification) << at << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr("b.parquet")) << at;
  }
}

TEST_F(RowsTest, TheSameFileTwiceCountsOnce) {
  const fs::path path = parquet("f.parquet", kProfiles);
  fs::create_symlink(path, folder_ / "link");
  EXPECT_EQ(open({path, folder_ / "link", path})->rowCount(), 3U);
}

TEST_F(RowsTest, ColumnsThatCannotBeUnited) {
  const fs::path first = parquet("1.parquet", "SELECT 1 AS a");
  const fs::path second = parquet("2.parquet", "SELECT [1] AS a");
  EXPECT_EQ(errorOf([&] { csv(*open({first, second})); }).category(), Category::verification);
  EXPECT_EQ(errorOf([&] { open({}); }).category(), Category::usage);
  const Error broken = errorOf([&] { open({first, file("broken", "PAR1 and no more than that")}); });
  EXPECT_EQ(broken.category(), Category::verification);
  EXPECT_THAT(broken.what(), HasSubstr("broken"));
}

TEST_F(RowsTest, OrderIsThatOfFilesAndRows) {
  std::vector<fs::path> paths;
  for (int index = 0; index < 5; ++index) {
    std::string select = "SELECT i + 50000 * INDEX AS n FROM range(50000) r(i)";
    select.replace(select.find("INDEX"), 5, std::to_string(index));
    paths.push_back(parquet(std::to_string(index), select, ", ROW_GROUP_SIZE 8192"));
  }
  const std::string text = csv(*open(paths));
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  std::uint64_t expected = 0;
  while (std::getline(lines, line)) {
    ASSERT_EQ(line, std::to_string(expected) + "\r");
    ++expected;
  }
  EXPECT_EQ(expected, 250'000U);
}

std::size_t threadsOfThisProcess() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator()));
}

class ThreadCounter final : public reader::Output {
 public:
  bool write(std::span<const std::byte>) override {
    most = std::max(most, threadsOfThisProcess());
    ++writes;
    return true;
  }
  std::size_t most = 0;
  std::size_t writes = 0;
};

TEST_F(RowsTest, RowsInTheirOrderAreReadByOneThreadAndWrittenByAll) {
  if (!fs::exists("/proc/self/task")) GTEST_SKIP() << "NOT CHECKED: the system does not list threads";
  settings_.threads = 3;
  auto profiles =
      open({parquet("f", "SELECT i AS i, MAP {'ECID': [{'id': 'e' || i}]} AS identityMap FROM range(100000) r(i)")});
  const std::size_t before = threadsOfThisProcess();
  ThreadCounter plain;
  profiles->rows({}, reader::RowFormat::jsonl, plain, {});
  EXPECT_EQ(plain.most, before - 2 + 3) << "two of DuckDB's end, three of ours begin";
  EXPECT_LE(plain.writes, 100'000U / 2'048 + 2) << "one write for each of DuckDB's chunks";
  EXPECT_EQ(threadsOfThisProcess(), before) << "what else is asked for has all threads again";
  ThreadCounter identities;
  profiles->rows({.columns = {"i"}, .identities = {"ECID"}}, reader::RowFormat::csv, identities, {});
  EXPECT_EQ(identities.most, before + 3) << "to find them is work for all threads";
  ThreadCounter chosen;
  profiles->rows({.where = "i % 1000 = 0"}, reader::RowFormat::jsonl, chosen, {});
  EXPECT_EQ(chosen.most, before + 3) << "a condition may leave few rows, for which all threads look";
}

TEST_F(RowsTest, ClosedPipeEndsQuietly) {
  auto profiles = open({parquet("f.parquet", "SELECT i AS n, repeat('x', 200) AS t FROM range(200000) r(i)")});
  TextOutput output;
  output.closeAfter = 3;
  const std::uint64_t written = profiles->rows({}, reader::RowFormat::csv, output, {});
  EXPECT_LT(written, 200'000U);
  EXPECT_EQ(output.writes, 4U);
  TextOutput closed;
  closed.closeAfter = 0;
  EXPECT_EQ(profiles->rows({}, reader::RowFormat::csv, closed, {}), 0U);
}

TEST_F(RowsTest, FailingOutputIsReported) {
  struct FullDisk final : reader::Output {
    bool write(std::span<const std::byte>) override { throw Error(Category::io, "disk full"); }
  };
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(100000) r(i)")});
  FullDisk output;
  EXPECT_STREQ(errorOf([&] { profiles->rows({}, reader::RowFormat::jsonl, output, {}); }).what(), "disk full");
  // The failure may take the whole set along, while DuckDB's threads are at work.
  for (int round = 0; round < 20; ++round) {
    const fs::path path = folder_ / "f.parquet";
    EXPECT_EQ(errorOf([&] { open({path})->rows({}, reader::RowFormat::jsonl, output, {}); }).category(), Category::io);
  }
}

TEST_F(RowsTest, StopInterrupts) {
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(300000) r(i)")});
  std::stop_source source;
  struct Stopper final : reader::Output {
    explicit Stopper(std::stop_source& stopSource) : stop(stopSource) {}
    bool write(std::span<const std::byte>) override {
      stop.request_stop();
      return true;
    }
    std::stop_source& stop;
  } output(source);
  EXPECT_THROW(profiles->rows({}, reader::RowFormat::csv, output, source.get_token()), core::Interrupted);
  // And in the middle of one long statement, that has no first row to give.
  std::stop_source second;
  std::jthread later([&second] { second.request_stop(); });
  EXPECT_THROW(profiles->rows({.sql = "SELECT count(*) FROM range(100000000000) r(i) WHERE i % 7 = 3"},
                              reader::RowFormat::csv, output, second.get_token()),
               core::Interrupted);
  // The set can still be used.
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT count(*) AS n FROM profiles"}), "n\r\n300000\r\n");
}

TEST_F(RowsTest, MemoryThatIsNotEnough) {
  settings_.memoryBytes = 40U << 20U;
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(3000000) r(i)")});
  const Error error = errorOf([&] {
    csv(*profiles, {.sql = "SELECT count(*) FROM (SELECT n, md5(n::VARCHAR) AS m FROM profiles GROUP BY ALL)"});
  });
  EXPECT_EQ(error.category(), Category::io) << error.what();
  EXPECT_TRUE(core::isOutOfMemory(error)) << "the command adds the option that it has";
}

TEST_F(RowsTest, SortsOnDiskWhereThereIsAFolder) {
  // 160 MB of text in row groups that are small beside the limit.
  const fs::path path = parquet("f.parquet", "SELECT i AS n, repeat(md5(i::VARCHAR), 5) AS m FROM range(1000000) r(i)",
                                ", ROW_GROUP_SIZE 10000");
  const ReadQuery query{.sql =
                            "SELECT max(length(m)) AS l FROM (SELECT m FROM profiles ORDER BY m, n DESC LIMIT 900000)"};
  settings_.memoryBytes = 120U << 20U;
  auto inMemory = open({path});
  EXPECT_EQ(errorOf([&] { csv(*inMemory, query); }).category(), Category::io);
  inMemory.reset();
  reader_.reset();
  settings_.tempDirectory = folder_ / "spill";
  auto onDisk = open({path});
  EXPECT_EQ(csv(*onDisk, query), "l\r\n160\r\n");
  onDisk.reset();
  EXPECT_TRUE(!fs::exists(settings_.tempDirectory) || fs::is_empty(settings_.tempDirectory));
}

TEST_F(RowsTest, ParquetOut) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  const fs::path target = folder_ / "out [*] 'x'.part";
  file("out [*] 'x'.part", "something older");
  EXPECT_EQ(
      profiles->writeParquet({.columns = {"_tenant.cai.churn.score", "_file"}, .where = "_id <> 'p0'"}, target, {}),
      2U);
  EXPECT_EQ(jsonl(*open({target})),
            "{\"_tenant\":{\"cai\":{\"churn\":{\"score\":10.5}}},\"_file\":\"f.parquet\"}\n"
            "{\"_tenant\":{\"cai\":{\"churn\":{\"score\":21.0}}},\"_file\":\"f.parquet\"}\n");
  EXPECT_EQ(profiles->writeParquet({.sql = "SELECT _id FROM profiles ORDER BY 1 DESC; -- end", .limit = 2}, target, {}),
            2U);
  EXPECT_EQ(csv(*open({target})), "_id\r\np2\r\np1\r\n");
  EXPECT_EQ(writer_.value("SELECT DISTINCT compression FROM parquet_metadata('" +
                          parquet("copy", "SELECT 1 AS a").string() + "')"),
            "SNAPPY");
  EXPECT_EQ(errorOf([&] { profiles->writeParquet({}, folder_ / "absent/out", {}); }).category(), Category::io);
  EXPECT_EQ(errorOf([&] { profiles->writeParquet({.where = "nope"}, target, {}); }).category(), Category::usage);
}

TEST_F(RowsTest, TableForPeople) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  const reader::Table table =
      profiles->table({.columns = {"_id", "_tenant.cai.churn.score", "identityMap"}, .limit = 2}, {});
  ASSERT_EQ(table.columns.size(), 3U);
  EXPECT_EQ(table.columns[1].name, "_tenant.cai.churn.score");
  EXPECT_TRUE(table.columns[1].alignRight);
  EXPECT_FALSE(table.columns[0].alignRight);
  EXPECT_TRUE(table.more);
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_THAT(table.rows[1], ElementsAre("p1", "10.5", StartsWith("{\"ECID\"")));
  EXPECT_FALSE(profiles->table({}, {}).more);
}

TEST_F(RowsTest, NothingReachesATerminalRaw) {
  const std::string select =
      "SELECT E'\\x1B[31mred' || chr(0) || chr(155) || 'é' || chr(8238) || chr(8203) AS t, 1 AS n";
  auto profiles = open({parquet("f.parquet", select)});
  const reader::Table table = profiles->table({}, {});
  EXPECT_EQ(table.rows[0][0].find('\x1B'), std::string::npos);
  EXPECT_EQ(table.rows[0][0].find('\0'), std::string::npos);
  EXPECT_THAT(table.rows[0][0], HasSubstr("é"));
  TextOutput terminal;
  reader::PrintableOutput printable(terminal);
  profiles->rows({}, reader::RowFormat::csv, printable, {});
  EXPECT_EQ(terminal.text, "t,n\r\n\\x1B[31mred\\x00\\xC2\\x9Bé\\xE2\\x80\\xAE\\xE2\\x80\\x8B,1\r\n");
}

TEST_F(RowsTest, InvalidUtf8InAFileIsRefusedOrEscaped) {
  // A byte array without the mark of text is binary.
  std::string value = plain<std::uint32_t>({3}) + "\xFF\x1B[";
  auto profiles = open({file("raw", parquetBytes({{"b", PhysicalType::bytes, value}}, 1))});
  EXPECT_EQ(csv(*profiles), "b\r\n/xtb\r\n");
}

TEST_F(RowsTest, SparkTimes) {
  const std::string times = int96(0, 2440588) + int96(11'825'123'000'000, 2460828) + int96(1'000, 2440587);
  auto profiles = open({file("spark", parquetBytes({{"at", PhysicalType::int96, times}}, 3))});
  EXPECT_EQ(csv(*profiles),
            "at\r\n1970-01-01T00:00:00.000Z\r\n2025-06-01T03:17:05.123Z\r\n1969-12-31T00:00:00.000001Z\r\n");
}

TEST_F(RowsTest, TimesBeyondTheCalendarDoNotCrash) {
  const std::string times = int96(0, 0) + int96(0, 2'147'483'647) + int96(-1, -2'147'483'647 - 1);
  auto profiles = open({file("strange", parquetBytes({{"at", PhysicalType::int96, times}}, 3))});
  EXPECT_THAT(csv(*profiles), StartsWith("at\r\n"));
  EXPECT_THAT(csvOf("SELECT '5877642-06-24'::DATE AS a, '5877642-06-25 (BC)'::DATE AS b, 'infinity'::TIMESTAMP AS c"),
              StartsWith("a,b,c\r\n"));
}

TEST_F(RowsTest, FileOfAnotherWriter) {
  auto profiles = open({fs::path(CAIEXPORT_FIXTURES) / "arrow_rs.snappy.parquet",
                        fs::path(CAIEXPORT_FIXTURES) / "arrow_rs_empty.snappy.parquet"});
  EXPECT_EQ(profiles->rowCount(), 40U);
  EXPECT_EQ(csv(*profiles, {.columns = {"_id", "_acme.propensity.score", "_acme.propensity.scoreDate", "balance",
                                        "born", "nothing", "region"},
                            .where = "_id IN ('p1', 'p8', 'p9')",
                            .identities = {"ecid", "CRMID"}}),
            "ecid,CRMID,_id,_acme.propensity.score,_acme.propensity.scoreDate,balance,born,nothing,region\r\n"
            "f1,,p1,2.5,2025-06-01T03:17:06.123Z,1.05,1970-01-02,,DE\r\n"
            "f8,c8,p8,,2025-06-01T03:17:13.123Z,8.05,1970-01-09,,US\r\n"
            "f9,,p9,,,9.05,1970-01-10,,DE\r\n");
  EXPECT_THAT(jsonl(*profiles, {.columns = {"_acme"}, .where = "_id = 'p9'"}), HasSubstr("{\"_acme\":null}"));
}

TEST_F(RowsTest, SchemaListsLeaves) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  const auto schema = profiles->schema();
  std::vector<std::string> paths;
  paths.reserve(schema.size());
  for (const auto& field : schema) paths.push_back(field.path);
  EXPECT_THAT(paths, ElementsAre("_id", "_tenant.cai.churn.score", "_tenant.cai.churn.scoreDate",
                                 "_tenant.cai.churn.factors", "identityMap", "mail.address"));
  EXPECT_TRUE(schema[1].numeric);
  EXPECT_EQ(schema[4].type, "MAP(VARCHAR, STRUCT(\"id\" VARCHAR, \"primary\" BOOLEAN)[])");
}

}  // namespace
}  // namespace caiexport::test
