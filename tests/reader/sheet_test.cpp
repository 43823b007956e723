/// Spreadsheet files and CSV for Excel, looked at from the inside; tests/binary/spreadsheet_test.cpp opens them.

#include <gmock/gmock.h>

#include <cstdlib>

#include "caiexport/reader/table.h"
#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using ::testing::HasSubstr;
using ::testing::Not;

class SheetTest : public ReaderTest {
 protected:
  reader::SheetFacts sheet(const std::string& select, const reader::ReadQuery& query = {}) {
    return open({parquet("f.parquet", select)})->writeSheet(query, target_, {});
  }

  /// A part of the file, by Python's zip reader.
  std::string part(const std::string& name) {
    const fs::path out = folder_ / "part.xml";
    const std::string command = "python3 -c \"import sys,zipfile; sys.stdout.buffer.write(zipfile.ZipFile('" +
                                target_.string() + "').read('" + name + "'))\" > '" + out.string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << name;
    return content(out);
  }
  std::string firstSheet() { return part("xl/worksheets/sheet1.xml"); }

  std::string csvFor(reader::RowFormat format, const std::string& select, const reader::ReadQuery& query = {}) {
    TextOutput output;
    open({parquet("f.parquet", select)})->rows(query, format, output, {});
    return output.text;
  }

  fs::path target_ = folder_ / "t.xlsx";
};

TEST_F(SheetTest, TextIsTextAndNumbersAreNumbers) {
  const auto facts = sheet(
      "SELECT '00123' AS a, 42 AS customerId, 7 AS n, 0.5::DOUBLE AS d, 12345678901234567::BIGINT AS long, '=1+1' AS "
      "f, "
      "true AS b, DATE '2025-06-02' AS day, TIMESTAMP '1899-01-01 00:00:00' AS old");
  EXPECT_EQ(facts.rows, 1U);
  EXPECT_EQ(facts.sheets, 1U);
  const std::string xml = firstSheet();
  for (const char* text : {"00123", "42", "12345678901234567", "=1+1", "1899-01-01T00:00:00.000Z"}) {
    EXPECT_THAT(xml, HasSubstr("<t>" + std::string(text) + "</t>"));
  }
  for (const char* number : {"7", "0.5", "45810"}) EXPECT_THAT(xml, HasSubstr("<v>" + std::string(number) + "</v>"));
  EXPECT_THAT(xml, Not(HasSubstr("<f>")));
  EXPECT_THAT(xml, HasSubstr("state=\"frozen\""));
}

TEST_F(SheetTest, WhatXmlForbidsIsShownAndEscapesStayText) {
  sheet("SELECT chr(1) || 'a' || chr(10) || 'b<&>' || chr(65535) AS a, '_x0041_' AS b");
  const std::string xml = firstSheet();
  EXPECT_THAT(xml, HasSubstr("\\x01a\nb&lt;&amp;&gt;\\xEF\\xBF\\xBF"));
  EXPECT_THAT(xml, HasSubstr("_x005F_x0041_"));
}

TEST_F(SheetTest, MoreRowsThanASheetHoldsGoOnInTheNext) {
  const auto facts = sheet("SELECT i AS n FROM range(1048577) t(i)");
  EXPECT_EQ(facts.rows, 1'048'577U);
  EXPECT_EQ(facts.sheets, 2U);
  const std::string second = part("xl/worksheets/sheet2.xml");
  EXPECT_THAT(second, HasSubstr("<v>1048575</v>"));
  EXPECT_THAT(second, HasSubstr("<v>1048576</v>"));
  EXPECT_THAT(second, HasSubstr("<t>n</t>"));
  EXPECT_THAT(part("xl/workbook.xml"), HasSubstr("Profiles 2"));
}

TEST_F(SheetTest, WhatNoCellHoldsIsRefused) {
  EXPECT_EQ(sheet("SELECT repeat('x', 32767) AS t").rows, 1U);
  const auto error = errorOf([&] { sheet("SELECT repeat('x', 32768) AS t"); });
  EXPECT_EQ(error.category(), Category::usage);
  EXPECT_THAT(error.what(), HasSubstr("`t`"));
}

TEST_F(SheetTest, ListsOfOurOwn) {
  reader::writeWorkbook(
      target_, {{.name = "A", .header = {"x", "y"}, .rows = {{std::string("t"), 2.5}, {std::monostate(), 3.0}}},
                {.name = "B", .header = {"z"}}});
  EXPECT_THAT(firstSheet(), HasSubstr("<v>2.5</v>"));
  EXPECT_THAT(part("xl/workbook.xml"), HasSubstr("name=\"B\""));
}

constexpr const char* kScored =
    "SELECT 'p' || i AS _id, {'cai': {'churn': {'score': i * 30.0, 'percentile': i, 'scoreDate': TIMESTAMPTZ "
    "'2025-06-01 "
    "00:00:00+00'}}} AS _tenant, MAP {'CRMID': [{'id': '00' || i, 'primary': true}], 'Email': [{'id': "
    "'a@example.test', "
    "'primary': false}]} AS identityMap, 'Ann' AS firstName FROM range(4) t(i)";

TEST_F(SheetTest, OfScoresOnlyWhoAndHowMuch) {
  EXPECT_EQ(csvFor(reader::RowFormat::csv, kScored, {.where = "score < 40", .scoreColumns = true}),
            "CRMID,Email,_tenant.cai.churn.score,_tenant.cai.churn.bucket,_tenant.cai.churn.percentile,"
            "_tenant.cai.churn.scoreDate\r\n"
            "000,a@example.test,0.0,low,0,2025-06-01T00:00:00.000Z\r\n"
            "001,a@example.test,30.0,medium,1,2025-06-01T00:00:00.000Z\r\n");
  EXPECT_THAT(csvFor(reader::RowFormat::csv, kScored, {.identities = {"CRMID"}, .scoreColumns = true}),
              HasSubstr("CRMID,_tenant.cai.churn.score,"));
  EXPECT_EQ(csvFor(reader::RowFormat::csv, kScored, {.columns = {"firstName"}, .limit = 1, .scoreColumns = true}),
            "firstName\r\nAnn\r\n");
  // Without scores there is nothing to choose by.
  EXPECT_EQ(csvFor(reader::RowFormat::csv, "SELECT 1 AS a", {.scoreColumns = true}), "a\r\n1\r\n");
  EXPECT_EQ(csvFor(reader::RowFormat::csv, "SELECT 'x' AS _id, {'score': 'nan'::DOUBLE} AS g", {.scoreColumns = true}),
            "_id,g.score,g.bucket\r\nx,nan,\r\n");
}

TEST_F(SheetTest, CsvForExcel) {
  const std::string select =
      "SELECT '00123' AS a, '1E5' AS b, 'SEP12' AS c, 'plain' AS d, '=1+1' AS e, 0.0003::DOUBLE AS f, NULL AS g, "
      "TIMESTAMPTZ '2025-06-02 03:17:05.123+00' AS h, 'x;y,z' AS i, '' AS j, 12345678901234567::BIGINT AS k";
  EXPECT_EQ(
      csvFor(reader::RowFormat::csvExcel, select),
      "\xEF\xBB\xBF"
      "a,b,c,d,e,f,g,h,i,j,k\r\n"
      "\"=\"\"00123\"\"\",\"=\"\"1E5\"\"\",\"=\"\"SEP12\"\"\",plain,'=1+1,0.0003,,2025-06-02 03:17:05,\"x;y,z\",\"\","
      "\"=\"\"12345678901234567\"\"\"\r\n");
  EXPECT_THAT(csvFor(reader::RowFormat::csvExcelSemicolon, select),
              HasSubstr(";0,0003;;2025-06-02 03:17:05;\"x;y,z\";"));
  EXPECT_THAT(csvFor(reader::RowFormat::csvExcelTab, select), HasSubstr("a\tb\tc"));
}

}  // namespace
}  // namespace caiexport::test
