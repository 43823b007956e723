/// Spreadsheets opened by Python's zip and XML readers, and by LibreOffice where it is installed: scripts/setup does
/// not install it.

#include <algorithm>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

// Separator, quote, UTF-8, first line, language, special numbers, "evaluate formulas": as docs/manual.md tells people.
constexpr const char* kEnglishCsv = "44,34,76,1,,1033,false,true,false,false,false,0,true";
constexpr const char* kGermanCsv = "59,34,76,1,,1031,false,true,false,false,false,0,true";

constexpr const char* kNoLibreOffice =
    "NOT CHECKED: how a spreadsheet reads it, since LibreOffice is missing (apt-get install libreoffice-calc)";

class Spreadsheet : public BinaryTest {
 protected:
  void SetUp() override {
    startSimulator({"--records", "200", "--files", "2"});
    ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  }

  /// The cells as LibreOffice shows them where people write as in `locale`; a CSV is read by the options of its filter.
  std::string shown(const std::string& file, const std::string& locale, const std::string& options = {}) {
    const std::string command = "cd '" + folder_.path().string() + "' && env HOME='" + path("home-" + locale) +
                                "' LC_ALL=" + locale + " LANG=" + locale + " soffice -env:UserInstallation=file://" +
                                path("office-" + locale) + " --headless " +
                                (options.empty() ? "" : "--infilter=CSV:" + options + " ") +
                                "--convert-to csv:'Text - txt - csv (StarCalc)':" + "44,34,76,1 --outdir " +
                                path("shown-" + locale) + " " + file + " >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return support::Process::contentOf(
        path("shown-" + locale + "/" + std::filesystem::path(file).stem().string() + ".csv"));
  }
};

TEST_F(Spreadsheet, LibreOfficeReadsEveryCellAsItIsMeant) {
  if (!isInstalled("soffice")) GTEST_SKIP() << kNoLibreOffice;
  const std::string select =
      "SELECT '00123' AS a, 0.0003::DOUBLE AS b, DATE '2025-06-02' AS c, TIMESTAMP '2025-06-02 03:17:05' AS d, '=1+1' "
      "AS e, "
      "'1E5' AS f, '_x0041_' AS g, 12345678901234567890::UBIGINT AS h, 'grün, 😀' AS i";
  ASSERT_EQ(run({"read", "1", "--sql", select, "--output", path("cells.xlsx")}).code, 0);
  // LibreOffice quotes what is text.
  const std::string names = "\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"\n";
  const std::string rest =
      "2025-06-02,2025-06-02 03:17:05,\"=1+1\",\"1E5\",\"_x0041_\",\"12345678901234567890\",\"grün, 😀\"\n";
  EXPECT_EQ(shown("cells.xlsx", "en_US.UTF-8"), names + "\"00123\",0.0003," + rest);
  EXPECT_EQ(shown("cells.xlsx", "de_DE.UTF-8"), names + "\"00123\",\"0,0003\"," + rest);
  ASSERT_EQ(run({"read", "1", "--output", path("scores.xlsx")}).code, 0);
  const std::string scores = shown("scores.xlsx", "en_US.UTF-8");
  EXPECT_TRUE(scores.starts_with("\"CRMID\",\"ECID\",\"score\",\"bucket\",\"percentile\",\"scoreDate\"\n"))
      << scores.substr(0, 80);
  EXPECT_EQ(std::count(scores.begin(), scores.end(), '\n'), 201);
  ASSERT_EQ(run({"scores", "1", "--output", path("figures.xlsx")}).code, 0);
  EXPECT_THAT(shown("figures.xlsx", "en_US.UTF-8"), HasSubstr("\n\"rows\",200\n"));
}

TEST_F(Spreadsheet, LibreOfficeReadsCsvForExcelWithTheOptionsOfTheManual) {
  if (!isInstalled("soffice")) GTEST_SKIP() << kNoLibreOffice;
  const std::string select =
      "SELECT '00123' AS id, '12345678901234567890' AS digits, 0.0003::DOUBLE AS small, 1234567.5::DOUBLE AS big, DATE "
      "'2025-06-02' AS day, TIMESTAMP '2025-06-02 03:17:05' AS at, '=1+1' AS formula, '1E5' AS e, '2-1' AS dash, '3,5' "
      "AS comma, 'grün; \"ß\", 😀' AS word";
  // LibreOffice quotes what is text.
  const std::string names =
      "\"id\",\"digits\",\"small\",\"big\",\"day\",\"at\",\"formula\",\"e\",\"dash\",\"comma\",\"word\"\n\"00123\","
      "\"12345678901234567890\",";
  const std::string rest = "2025-06-02,2025-06-02 03:17:05,\"'=1+1\",\"1E5\",\"2-1\",\"3,5\",\"grün; \"\"ß\"\", 😀\"\n";
  ASSERT_EQ(run({"read", "1", "--sql", select, "--for", "excel", "--output", path("en.csv")}).code, 0);
  EXPECT_EQ(shown("en.csv", "en_US.UTF-8", kEnglishCsv), names + "0.0003,1234567.5," + rest);
  environment["LC_ALL"] = "de_DE.UTF-8";
  ASSERT_EQ(run({"read", "1", "--sql", select, "--for", "excel", "--output", path("de.csv")}).code, 0);
  EXPECT_EQ(shown("de.csv", "de_DE.UTF-8", kGermanCsv), names + "\"0,0003\",\"1234567,5\"," + rest);
  std::ifstream file(CAIEXPORT_MANUAL);
  const std::string manual(std::istreambuf_iterator<char>(file), {});
  for (const std::string options : {kEnglishCsv, kGermanCsv}) EXPECT_THAT(manual, HasSubstr("CSV:" + options));
}

/// The rows of the first sheet, cells parted by `|`: text in quotes, numbers as they are, times by their format.
std::string cellsOf(const std::string& file, const std::string& scratch) {
  const std::string script =
      "import sys, zipfile, xml.etree.ElementTree as xml\n"
      "n = '{http://schemas.openxmlformats.org/spreadsheetml/2006/main}'\n"
      "book = zipfile.ZipFile(sys.argv[1])\n"
      "assert book.testzip() is None\n"
      "styles = xml.fromstring(book.read('xl/styles.xml'))\n"
      "names = {f.get('numFmtId'): f.get('formatCode') for f in styles.iter(n + 'numFmt')}\n"
      "formats = [names.get(f.get('numFmtId'), '') for f in styles.find(n + 'cellXfs')]\n"
      "for row in xml.fromstring(book.read('xl/worksheets/sheet1.xml')).iter(n + 'row'):\n"
      "  out = []\n"
      "  for cell in row:\n"
      "    if cell.get('t') == 'inlineStr':\n"
      "      out.append('\"' + ''.join(cell.itertext()) + '\"')\n"
      "    else:\n"
      "      time = 'hh' in formats[int(cell.get('s') or 0)]\n"
      "      out.append('time' if time else cell.find(n + 'v').text)\n"
      "  print('|'.join(out))\n";
  std::ofstream(scratch + ".py") << script;
  const std::string command = "python3 " + scratch + ".py '" + file + "' > " + scratch;
  EXPECT_EQ(std::system(command.c_str()), 0) << file;
  return support::Process::contentOf(scratch);
}

TEST_F(Spreadsheet, HistoryIsWrittenWithIdsAsTextAndNumbersAndTimes) {
  const Ended ended = run({"history", "--output", path("jobs.xlsx")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr("wrote 1 job ("));
  const std::string cells = cellsOf(path("jobs.xlsx"), path("cells"));
  EXPECT_TRUE(cells.starts_with("\"job\"|\"kind\"|\"source_id\"|\"org_id\"|\"sandbox\"|\"status\"|\"held\"|")) << cells;
  EXPECT_THAT(cells, HasSubstr("\n1|\"dataset\"|\"" + std::string(kScoreDataset) + "\"|"));
  EXPECT_THAT(cells, HasSubstr("|\"succeeded\"|\"false\"|"));
  EXPECT_THAT(cells, testing::ContainsRegex("\\|2\\|[0-9]+\\|200\\|\"[^|]*\"\\|time\\|time\\|time"));
  // As many columns as CSV has.
  const Ended csv = run({"history", "--format", "csv"});
  const std::string first = csv.out.substr(0, csv.out.find('\r'));
  EXPECT_EQ(std::count(first.begin(), first.end(), ','),
            std::count(cells.begin(), cells.begin() + static_cast<std::ptrdiff_t>(cells.find('\n')), '|'));
}

TEST_F(Spreadsheet, RowsOfSqlOverTheHistoryKeepTheirTypes) {
  const std::string sql =
      "SELECT '00123' AS id, 7 AS n, 0.5 AS half, 12345678901234567 AS long, NULL AS gap, '=1+1' AS f, '1E5' AS e";
  ASSERT_EQ(run({"history", "--sql", sql, "--format", "xlsx", "--output", path("rows.xlsx")}).code, 0);
  EXPECT_EQ(cellsOf(path("rows.xlsx"), path("cells")),
            "\"id\"|\"n\"|\"half\"|\"long\"|\"gap\"|\"f\"|\"e\"\n"
            "\"00123\"|7|0.5|\"12345678901234567\"|\"=1+1\"|\"1E5\"\n");
}

TEST_F(Spreadsheet, TheEndingOfOutputChoosesTheFormatOfHistory) {
  for (const std::string format : {"csv", "json"}) {
    ASSERT_EQ(run({"history", "--output", path("jobs." + format)}).code, 0);
    EXPECT_EQ(support::Process::contentOf(path("jobs." + format)), run({"history", "--format", format}).out);
  }
  // Into a pipe it goes as it is; to a terminal it does not go (see terminal_test.cpp).
  EXPECT_TRUE(run({"history", "--format", "xlsx"}).out.starts_with("PK"));
  EXPECT_EQ(run({"history", "--format", "csv", "--output", path("jobs.xlsx")}).code, 2);
  EXPECT_EQ(run({"history", "--watch", "--output", path("jobs.txt")}).code, 2);
  const Ended over = run({"history", "--format", "csv", "--output", path("jobs.db")});
  EXPECT_EQ(over.code, 2);
  EXPECT_THAT(over.err, HasSubstr("is one of the files that are read"));
}

TEST_F(Spreadsheet, DefaultColumnsHoldNoNamesAndNoAddresses) {
  for (const std::string name : {"a.csv", "b.csv"}) {
    std::vector<std::string> words{"read", "1", "--output", path(name)};
    if (name == "b.csv") words.emplace_back("--all-columns");
    ASSERT_EQ(run(words).code, 0);
  }
  EXPECT_EQ(support::Process::contentOf(path("a.csv")).find("@example.test"), std::string::npos);
  EXPECT_THAT(support::Process::contentOf(path("b.csv")), HasSubstr("@example.test"));
  EXPECT_EQ(run({"read", "1", "--columns", "_id", "--all-columns"}).code, 2);
}

TEST_F(Spreadsheet, TheLocaleChoosesTheSeparatorOfCsvForExcel) {
  const auto firstLine = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"read", "1", "--for", "excel"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return ended.out.substr(0, ended.out.find('\r'));
  };
  EXPECT_THAT(firstLine({}), HasSubstr("CRMID,ECID,"));
  environment["LC_ALL"] = "de_DE.UTF-8";
  EXPECT_THAT(firstLine({}), HasSubstr("CRMID;ECID;"));
  EXPECT_THAT(firstLine({"--separator", "tab"}), HasSubstr("CRMID\tECID\t"));
  environment["LC_ALL"] = "de_CH.UTF-8";
  EXPECT_THAT(firstLine({}), HasSubstr("CRMID,ECID,"));
  EXPECT_EQ(run({"read", "1", "--for", "excel", "--format", "jsonl"}).code, 2);
  EXPECT_EQ(run({"read", "1", "--separator", "tab"}).code, 2);
}

}  // namespace
}  // namespace caiexport::binary
