/// Mistakes that people make: one clear line, the documented exit code, nothing created.

#include <sys/stat.h>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

struct Mistake {
  const char* name;
  std::vector<std::string> arguments;
  const char* says;
};

class WrongUsage : public BinaryTest, public testing::WithParamInterface<Mistake> {};

TEST_P(WrongUsage, IsExit2AndMakesNoJob) {
  environment["CAIEXPORT_BASE_URL"] = "http://127.0.0.1:9";  // nothing may be sent anyway
  environment["CAIEXPORT_IMS_URL"] = "http://127.0.0.1:9";
  const Ended ended = run(GetParam().arguments);
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr(GetParam().says));
  EXPECT_EQ(ended.out, "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "jobs.db"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongUsage,
    testing::Values(
        Mistake{"NoId", {"dataset"}, "--id"}, Mistake{"EmptyId", {"dataset", "--id", ""}, "id"},
        Mistake{"SlashInId", {"dataset", "--id", "a/b"}, "a/b"},
        Mistake{"ControlCharacterInId",
                {"segment", "--id",
                 "a\x01"
                 "b"},
                "\\x01"},
        Mistake{"UnknownCommand", {"datset", "--id", "x"}, "dataset"},
        Mistake{"UnknownOption", {"dataset", "--id", "x", "--conections", "3"}, "--connections"},
        Mistake{"SandboxOfShow", {"show", "1", "--sandbox", "stage"}, "show takes no --sandbox"},
        Mistake{"OrgBeforeRead", {"--org", "X@AdobeOrg", "read", "1"}, "read takes no --org"},
        Mistake{"RetriesOfVerify", {"verify", "1", "--retries", "3"}, "verify takes no --retries"},
        Mistake{"BaseUrlOfHistory", {"history", "--base-url", "https://h"}, "history takes no --base-url"},
        Mistake{"ScoresInSandbox", {"scores", "1", "--sandbox=stage"}, "scores takes no --sandbox"},
        Mistake{"CsvAsTable", {"read", "1", "--output", "x.csv", "--format", "table"}, "contradict"},
        Mistake{"CsvAsParquet", {"read", "1", "--output", "x.CSV", "--format", "parquet"}, "contradict"},
        Mistake{"ReadAsJson", {"read", "1", "--output", "x.json"}, "csv, jsonl, parquet"},
        Mistake{"ReadAsSheet", {"read", "1", "--output", "x.xls"}, "cannot write"},
        Mistake{"ReadCompressed", {"read", "1", "--output", "x.csv.gz"}, "cannot write"},
        Mistake{"ScoresAsCsv", {"scores", "1", "--output", "x.csv"}, "text, json, html"},
        Mistake{"HtmlAsText", {"scores", "1", "--output", "x.html", "--format", "text"}, "contradict"},
        Mistake{"SomebodysHome", {"dataset", "--id", "x", "--output", "~root/x"}, "~root/x"},
        Mistake{"Prefix", {"dataset", "--id", "x", "--connec", "3"}, "--connec"},
        Mistake{"BatchAndLimit", {"dataset", "--id", "x", "--batch", "b", "--limit", "2"}, "--limit"},
        Mistake{"AllAndLimit", {"dataset", "--id", "x", "--all", "--limit", "2"}, "--all"},
        Mistake{"DatasetAndDelete", {"segment", "--id", "x", "--dataset", "d", "--delete-dataset"}, "--delete-dataset"},
        Mistake{"KeepAndDelete", {"segment", "--id", "x", "--keep-dataset", "--delete-dataset"}, "--delete-dataset"},
        Mistake{"ConnectionsZero", {"dataset", "--id", "x", "--connections", "0"}, "--connections"},
        Mistake{"ConnectionsMany", {"dataset", "--id", "x", "--connections", "65"}, "--connections"},
        Mistake{"ConnectionsText", {"dataset", "--id", "x", "--connections", "many"}, "many"},
        Mistake{"Duration", {"segment", "--id", "x", "--timeout", "soon"}, "soon"},
        Mistake{"Time", {"dataset", "--id", "x", "--since", "yesterdayish"}, "yesterdayish"},
        Mistake{"Verify", {"dataset", "--id", "x", "--verify", "hard"}, "hard"},
        Mistake{"Format", {"dataset", "--id", "x", "--format", "xml"}, "xml"},
        Mistake{"Status", {"segment", "--id", "x", "--status", ""}, "--status"},
        Mistake{"BaseUrlPath", {"dataset", "--id", "x", "--base-url", "https://platform.adobe.io/data"}, "path"},
        Mistake{"BaseUrlQuery", {"dataset", "--id", "x", "--base-url", "https://platform.adobe.io?x=1"}, "query"},
        Mistake{"BaseUrlUser",
                {"dataset", "--id", "x", "--base-url", "https://u:p@platform.adobe.io"},
                "user name or password"},
        Mistake{"PlainHttp", {"dataset", "--id", "x", "--base-url", "http://platform.adobe.io"}, "http"},
        Mistake{"UnknownProfile", {"dataset", "--id", "x", "--profile", "nosuch"}, "nosuch"},
        Mistake{"MissingConfig",
                {"dataset", "--id", "x", "--config", "/nonexistent/config.ini"},
                "/nonexistent/config.ini"},
        Mistake{"CaFile", {"dataset", "--id", "x", "--ca-file", "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"},
        Mistake{"ResumeNothing", {"resume"}, "--last"}, Mistake{"ResumeWord", {"resume", "twelve"}, "twelve"}),
    [](const auto& mistake) { return mistake.param.name; });

class Places : public BinaryTest {};

TEST_F(Places, AConfigFileThatOthersCanReadIsRefusedIfItHoldsASecret) {
  std::ofstream(folder_ / "config.ini") << "[default]\nclient_id = a\nclient_secret = CANARY\n";
  ::chmod(path("config.ini").c_str(), 0644);
  const Ended ended = run({"dataset", "--id", "x", "--config", path("config.ini")});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("chmod 600"));
  EXPECT_THAT(ended.err, testing::Not(HasSubstr("CANARY")));
}

TEST_F(Places, AnOutputThatIsAFileIsRefused) {
  startSimulator();
  std::ofstream(folder_ / "out") << "mine";
  const Ended ended = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_EQ(support::Process::contentOf(path("out")), "mine");
}

TEST_F(Places, ADatabaseThatIsAFolderIsRefused) {
  std::filesystem::create_directory(folder_ / "jobs.db");
  EXPECT_EQ(run({"history"}).code, 9);
  EXPECT_EQ(run({"dataset", "--id", "x"}).code, 9);
}

TEST_F(Places, AFileThatIsNoDatabaseIsLeftAlone) {
  std::ofstream(folder_ / "jobs.db")
      << "these are my notes, not a database, and they are long enough to be read as one";
  const std::string before = support::Process::contentOf(path("jobs.db"));
  EXPECT_EQ(run({"history"}).code, 9);
  EXPECT_EQ(run({"dataset", "--id", "x"}).code, 9);
  EXPECT_EQ(support::Process::contentOf(path("jobs.db")), before);
}

TEST_F(Places, ANewerDatabaseIsLeftUntouched) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  ASSERT_EQ(std::system(("sqlite3 '" + path("jobs.db") + "' 'PRAGMA user_version = 9999'").c_str()), 0);
  const Ended ended = run({"history"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("newer"));
}

TEST_F(Places, AMissingLibpqIsToldToWhoNamesAServerAndToNobodyElse) {
  std::filesystem::create_directory(path("lib"));
  std::ofstream(path("lib/libpq.so.5")) << "no library";
  environment["LD_LIBRARY_PATH"] = path("lib");
  EXPECT_EQ(run({"history"}).code, 0);
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"history"}, {"dataset", "--id", kScoreDataset}, {"sync", "--id", kScoreDataset}}) {
    std::vector<std::string> words = command;
    words.insert(words.end(), {"--database", "postgresql://h/n"});
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, AllOf(HasSubstr("libpq.so.5"), HasSubstr("apt install libpq5"))) << command.front();
  }
}

TEST_F(Places, AFullDiskUnderStandardOutputIsTold) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::string command = "HOME=/tmp CAIEXPORT_DATABASE='" + path("jobs.db") + "' " + kCaiexport +
                              " history --format json > /dev/full 2> '" + path("full.err") + "'";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 9);
}

TEST_F(Places, FailuresPrintOneJsonDocument) {
  const Ended ended = run({"dataset", "--format", "json"});
  EXPECT_EQ(ended.code, 2);
  const auto document = parseObject(ended.out);
  EXPECT_TRUE(document->isNull("job"));
  EXPECT_EQ(document->getObject("error")->getValue<std::string>("category"), "usage");
}

}  // namespace
}  // namespace caiexport::binary
