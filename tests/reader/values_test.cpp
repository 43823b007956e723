/// How values are written: each type in each format, what is quoted and escaped, and what people get to see.

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "parquet_bytes.h"
#include "rows_fixture.h"

namespace caiexport::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ValuesTest : public RowsFixture {
 protected:
  static std::vector<std::string> sortedLines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    std::ranges::sort(lines);
    return lines;
  }
};

TEST_F(ValuesTest, CsvHasDottedColumnsAndJsonForListsAndMaps) {
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

TEST_F(ValuesTest, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(csvOf("SELECT * FROM (VALUES ('a,b', 1), ('q\"q', 2), (E'l\\nl', 3), (E'r\\rr', 4), ('', 5), (NULL, 6),"
                  " ('plain ', 7)) v(\"t,t\", n)"),
            "\"t,t\",n\r\n\"a,b\",1\r\n\"q\"\"q\",2\r\n\"l\nl\",3\r\n\"r\rr\",4\r\n\"\",5\r\n,6\r\nplain ,7\r\n");
  EXPECT_EQ(csvOf("SELECT * FROM (VALUES ('a'), (NULL)) v(t)"), "t\r\na\r\n\"\"\r\n");
}

TEST_F(ValuesTest, CsvCellsThatASpreadsheetWouldRunAreQuoted) {
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

TEST_F(ValuesTest, JsonLinesKeepNesting) {
  EXPECT_EQ(jsonOf(kProfiles, {.limit = 1}),
            "{\"_id\":\"p0\",\"_tenant\":{\"cai\":{\"churn\":{\"score\":0.0,\"scoreDate\":\"2025-06-01T03:17:05.123Z\","
            "\"factors\":[{\"name\":\"visits\",\"importance\":0.5}]}}},\"identityMap\":{\"ECID\":[{\"id\":\"e0\","
            "\"primary\":false},{\"id\":\"f0\",\"primary\":true}],\"crmid\":[{\"id\":\"c0\",\"primary\":false}]},"
            "\"mail\":{\"address\":\"a0@example.test\"}}\n");
  EXPECT_THAT(jsonOf(kProfiles), HasSubstr("\"mail\":null}\n"));
}

TEST_F(ValuesTest, EveryTypeAsText) {
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

TEST_F(ValuesTest, TypesThatOnlyDuckDbCanPrint) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  EXPECT_EQ(jsonl(*profiles, {.sql = "SELECT INTERVAL 2 DAY AS i, [INTERVAL 1 DAY] AS l, '101'::BIT AS b"}),
            "{\"i\":\"2 days\",\"l\":[\"1 day\"],\"b\":\"101\"}\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT INTERVAL 2 DAY AS i, 1 AS n ORDER BY n -- a comment"}),
            "i,n\r\n2 days,1\r\n");
}

TEST_F(ValuesTest, DoublesAreTheShortestTextThatMeansThem) {
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

TEST_F(ValuesTest, EachLetterIsEscapedWhereverItStands) {
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

TEST_F(ValuesTest, JsonInCsvIsQuotedOnlyWhereItMustBe) {
  EXPECT_EQ(
      csvOf("SELECT []::INTEGER[] AS a, [1] AS b, [1, 2] AS c, [true] AS d, MAP {} AS e, ['x'] AS f, [NULL] AS g"),
      "a,b,c,d,e,f,g\r\n[],[1],\"[1,2]\",[true],{},\"[\"\"x\"\"]\",[null]\r\n");
}

TEST_F(ValuesTest, JsonHasNoNanAndEscapesControls) {
  EXPECT_EQ(jsonOf("SELECT 'nan'::DOUBLE AS a, 'inf'::DOUBLE AS b, E'q\"\\\\ \\t\\n\\x01' || chr(0) AS t"),
            "{\"a\":null,\"b\":null,\"t\":\"q\\\"\\\\ \\t\\n\\u0001\\u0000\"}\n");
  EXPECT_EQ(csvOf("SELECT 'nan'::DOUBLE AS a, '-inf'::DOUBLE AS b"), "a,b\r\nnan,-inf\r\n");
}

TEST_F(ValuesTest, TablesShowNumbersWithoutExponents) {
  auto profiles = open({parquet("f.parquet",
                                "SELECT 0.0003::DOUBLE AS a, 3e-7::FLOAT AS b, 1e20::DOUBLE AS c, 2.0 ::DOUBLE AS d, "
                                "'nan'::DOUBLE AS e, -1e-9::DOUBLE AS f, 1e300::DOUBLE AS g")});
  EXPECT_THAT(profiles->table({}, {}).rows[0],
              ElementsAre("0.0003", "0.0000003", "100000000000000000000.0", "2.0", "nan", "-0.000000001", "1e+300"));
}

TEST_F(ValuesTest, TableForPeople) {
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

TEST_F(ValuesTest, NothingReachesATerminalRaw) {
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

TEST_F(ValuesTest, InvalidUtf8InAFileIsRefusedOrEscaped) {
  // A byte array without the mark of text is binary.
  std::string value = plain<std::uint32_t>({3}) + "\xFF\x1B[";
  auto profiles = open({file("raw", parquetBytes({{"b", PhysicalType::bytes, value}}, 1))});
  EXPECT_EQ(csv(*profiles), "b\r\n/xtb\r\n");
}

TEST_F(ValuesTest, SparkTimes) {
  const std::string times = int96(0, 2440588) + int96(11'825'123'000'000, 2460828) + int96(1'000, 2440587);
  auto profiles = open({file("spark", parquetBytes({{"at", PhysicalType::int96, times}}, 3))});
  EXPECT_EQ(csv(*profiles),
            "at\r\n1970-01-01T00:00:00.000Z\r\n2025-06-01T03:17:05.123Z\r\n1969-12-31T00:00:00.000001Z\r\n");
}

TEST_F(ValuesTest, TimesBeyondTheCalendarDoNotCrash) {
  const std::string times = int96(0, 0) + int96(0, 2'147'483'647) + int96(-1, -2'147'483'647 - 1);
  auto profiles = open({file("strange", parquetBytes({{"at", PhysicalType::int96, times}}, 3))});
  EXPECT_THAT(csv(*profiles), StartsWith("at\r\n"));
  EXPECT_THAT(csvOf("SELECT '5877642-06-24'::DATE AS a, '5877642-06-25 (BC)'::DATE AS b, 'infinity'::TIMESTAMP AS c"),
              StartsWith("a,b,c\r\n"));
}

}  // namespace
}  // namespace caiexport::test
