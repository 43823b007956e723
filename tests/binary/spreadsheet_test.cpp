/// Spreadsheets opened by LibreOffice, where it is installed: scripts/setup does not install it.

#include <algorithm>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

// Separator, quote, UTF-8, first line, language, special numbers, "evaluate formulas": as docs/manual.md tells people.
constexpr const char* kEnglishCsv = "44,34,76,1,,1033,false,true,false,false,false,0,true";
constexpr const char* kGermanCsv = "59,34,76,1,,1031,false,true,false,false,false,0,true";

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
  if (std::system("command -v soffice >/dev/null 2>&1") != 0) GTEST_SKIP() << "LibreOffice is not installed";
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
  if (std::system("command -v soffice >/dev/null 2>&1") != 0) GTEST_SKIP() << "LibreOffice is not installed";
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
