/// What must never leave, be followed, be written to, or be taken: secrets, links, names, statements.

#include <sys/stat.h>

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

const char* const kSecret = "CANARY-secret-8c1f";
const char* const kToken = "CANARY-token-77aa";

void writePrivately(const std::string& file, const std::string& content) {
  std::ofstream(file) << content;
  ::chmod(file.c_str(), 0600);
}

unsigned permissionsOf(const std::filesystem::path& path) {
  return static_cast<unsigned>(std::filesystem::status(path).permissions());
}

// --- secrets

struct Route {
  std::string name;
  bool isToken = false;
};

std::ostream& operator<<(std::ostream& out, const Route& route) {
  return out << route.name;
}

class Secrets : public BinaryTest, public testing::WithParamInterface<Route> {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ / "home");
    std::filesystem::create_directory(folder_ / "given");
    environment["HOME"] = path("home");
    giveSecret();
  }

  /// By the route under test alone.
  void giveSecret() {
    environment.erase("CAIEXPORT_CLIENT_SECRET");
    const std::string route = GetParam().name;
    const std::string secretFile = path("given/secret");
    if (route == "EnvironmentSecret") environment["CAIEXPORT_CLIENT_SECRET"] = kSecret;
    if (route == "EnvironmentToken") environment["CAIEXPORT_ACCESS_TOKEN"] = kToken;
    if (route == "SecretFile") environment["CAIEXPORT_CLIENT_SECRET_FILE"] = secretFile;
    if (route == "TokenFile") environment["CAIEXPORT_ACCESS_TOKEN_FILE"] = secretFile;
    writePrivately(secretFile, std::string(GetParam().isToken ? kToken : kSecret) + "\n");
    std::string profile = "[default]\n";
    if (route == "ConfigSecret") profile += std::string("client_secret = ") + kSecret + "\n";
    if (route == "ConfigToken") profile += std::string("access_token = ") + kToken + "\n";
    if (route == "ConfigSecretFile") profile += "client_secret_file = " + secretFile + "\n";
    writePrivately(path("given/config.ini"), profile);
    environment["CAIEXPORT_CONFIG"] = path("given/config.ini");
  }

  std::vector<std::string> command() const {
    return {"dataset", "--id", kScoreDataset, "--verify", "size", "--verbose", "--log-file", path("log.json")};
  }

  /// All that caiexport wrote, but for the token cache.
  std::map<std::string, std::string> written() const {
    std::map<std::string, std::string> all;
    for (const std::string& name : filesUnder("")) {
      const bool ours = name.starts_with("run") || name.starts_with("jobs.db") || name.starts_with("log.json") ||
                        name.starts_with("out/") || name.starts_with("home/");
      if (ours && !name.starts_with("home/.cache/caiexport/tokens/")) {
        all[name] = support::Process::contentOf(folder_ / name);
      }
    }
    return all;
  }

  void expectNowhere(const std::string& secret) const {
    for (const auto& [name, content] : written()) EXPECT_EQ(content.find(secret), std::string::npos) << name;
  }

  /// The token that the platform issued, from the cache; checks how the cache lies there.
  std::string cachedToken() const {
    const auto names = filesUnder("home/.cache/caiexport/tokens");
    EXPECT_EQ(names.size(), 1U);
    if (names.empty()) return "none";
    const std::filesystem::path file = folder_ / "home/.cache/caiexport/tokens" / names[0];
    EXPECT_EQ(permissionsOf(file), 0600U);
    EXPECT_EQ(permissionsOf(file.parent_path()), 0700U);
    const std::string content = support::Process::contentOf(file);
    EXPECT_THAT(content, testing::MatchesRegex("[0-9]+\nsim-token-[-0-9a-f]+\n"));
    EXPECT_THAT(names[0], testing::MatchesRegex("[0-9a-f]+"));
    return content.substr(content.find('\n') + 1, content.size() - content.find('\n') - 2);
  }
};

const std::string kAccepting = std::string(R"("client_secret": ")") + kSecret + R"(", "access_token": ")" + kToken +
                               R"(", "batches": 1, "files": 4, "file_bytes": 50000)";

TEST_P(Secrets, AppearNowhereAfterAGoodRun) {
  startWith("{" + kAccepting + "}");
  const Ended ended = run(command());
  ASSERT_EQ(ended.code, 0) << ended.err;
  run({"show", "1", "--format", "json"});
  run({"history", "--format", "json"});
  // What is searched is there.
  const auto all = written();
  for (const char* name : {"run1.out", "run1.err", "log.json", "jobs.db"}) ASSERT_FALSE(all.at(name).empty()) << name;
  ASSERT_EQ(filesUnder("out").size(), 6U);
  expectNowhere("CANARY");
  if (GetParam().isToken) {
    EXPECT_FALSE(std::filesystem::exists(folder_ / "home/.cache/caiexport/tokens"));
  } else {
    expectNowhere(cachedToken());
  }
}

/// The platform repeats what it was sent, as error pages do.
TEST_P(Secrets, AppearNowhereWhenTheServerRepeatsThem) {
  startWith("{" + kAccepting + R"(, "faults": [
      {"match": {"path": "/ims/"}, "do": {"status": 400, "body": {"error": "invalid_client",
       "error_description": "no: CANARY-secret-8c1f"}}},
      {"match": {"path": "/data/"}, "do": {"status": 403, "body": {"error_code": "403025",
       "message": "no: Bearer CANARY-token-77aa"}}},
      {"match": {"path": "/data/"}, "do": {"body_html": "<html>Authorization: Bearer CANARY-token-77aa</html>"}},
      {"match": {"path": "/data/"}, "do": {"redirect": {"status": 307, "location": "/?t=CANARY-token-77aa"}}}]})");
  std::vector<int> codes;
  for (int tries = 0; tries < 4; ++tries) codes.push_back(run(command()).code);
  if (GetParam().isToken) {
    EXPECT_EQ(codes, (std::vector<int>{3, 8, 8, 0}));
    expectNowhere("CANARY");
  } else {
    EXPECT_EQ(codes, (std::vector<int>{3, 3, 8, 8}));
    expectNowhere(kSecret);
  }
}

class Echoes : public BinaryTest {
 protected:
  void SetUp() override {
    environment["CAIEXPORT_CLIENT_SECRET"] = kSlashed;
    environment["CAIEXPORT_RETRIES"] = "1";
  }

  /// In all that was written but the token cache and what the simulator itself wrote.
  void expectNowhere(const std::string& words) const {
    for (const std::string& name : filesUnder("")) {
      const bool ours = name.starts_with("run") || name.starts_with("jobs.db") || name.starts_with("log.json") ||
                        name.starts_with("out/");
      if (!ours) continue;
      EXPECT_EQ(support::Process::contentOf(folder_ / name).find(words), std::string::npos) << name;
    }
  }

  const std::string kSlashed = "p8e-CANARY/s+cret.8c1f";
};

TEST_F(Echoes, OfASecretAreNowhereInAnySpelling) {
  const std::vector<std::string> spellings{
      kSlashed,
      "p8e-CANARY%2Fs%2Bcret.8c1f",
      "p8e-CANARY%2fs%2bcret%2e8c1f",
      R"(p8e-CANARY\/s+cret.8c1f)",
      R"(p8e-CANARY\u002Fs\u002bcret.8c1f)",
      "cDhlLUNBTkFSWS9zK2NyZXQuOGMxZg==",
      "c2ltLWNsaWVudDpwOGUtQ0FOQVJZL3MrY3JldC44YzFm",  // of "sim-client:" and the secret
  };
  startWith(R"({"client_secret": ")" + kSlashed + R"(", "batches": 1, "files": 1})");
  for (const std::string& spelt : spellings) {
    // In the answers that refuse, and in those that are read on.
    const std::string problem = R"({"type": ")" + spelt + R"(", "title": ")" + spelt + R"(", "detail": ")" + spelt +
                                R"(", "request-id": ")" + spelt + R"(", "report": {"requestId": ")" + spelt + R"("}})";
    const std::string headers = R"("headers": {"x-request-id": ")" + spelt + R"(", "Location": "/)" + spelt +
                                R"(", "Content-Type": "text/)" + spelt + R"("})";
    const std::string list = R"({"5f0000000000000000000009": {"name": ")" + spelt + R"(", "created": 1780000000000}})";
    changeScenario(R"({"faults": [
      {"match": {"path": "/ims/"}, "do": {"status": 503, "body": )" +
                   problem + ", " + headers + R"(}},
      {"match": {"path": "/data/"}, "do": {"status": 403, "body": )" +
                   problem + ", " + headers + R"(}},
      {"match": {"path": "/data/"}, "do": {"status": 307, "body": "", )" +
                   headers + R"(}},
      {"match": {"path": "/data/"}, "do": {"status": 500, "body": "no )" +
                   spelt + R"(", )" + headers + R"(}},
      {"match": {"path": "/data/"}, "do": {"status": 200, "body": "no )" +
                   spelt + R"(", )" + headers + R"(}},
      {"match": {"path": "/data/"}, "do": {"status": 200, "body": )" +
                   list + ", " + headers + R"(}}]})");
    std::vector<int> codes;
    const std::vector<std::string> tail{"--verbose", "--log-file", path("log.json")};
    for (int i = 0; i < 3; ++i) {
      codes.push_back(run({"dataset", "--id", kScoreDataset, "--verbose", "--log-file", path("log.json")}).code);
    }
    const Ended listed = run({"datasets", "--format", "json", "--verbose"});
    EXPECT_EQ(listed.code, 0) << listed.err;
    EXPECT_THAT(listed.out, HasSubstr("***")) << spelt;
    EXPECT_EQ(codes, (std::vector<int>{3, 8, 8})) << spelt;
    run({"history", "--format", "json"});
    expectNowhere("CANARY");
    expectNowhere(spelt.substr(spelt.size() - 12));
  }
}

TEST_P(Secrets, AppearInNoCommandLine) {
  startWith("{" + kAccepting + R"(, "faults": [
      {"match": {"path": "path="}, "times": -1, "do": {"stall_body": 10}}]})");
  const auto process = start(command());
  ASSERT_TRUE(support::eventually([&] { return counted("faults_fired") > 0; }));
  const std::string commandLine = support::Process::contentOf("/proc/" + std::to_string(process->id()) + "/cmdline");
  EXPECT_THAT(commandLine, HasSubstr(kScoreDataset));
  EXPECT_THAT(commandLine, Not(HasSubstr("CANARY")));
  // A core file would hold them.
  EXPECT_THAT(support::Process::contentOf("/proc/" + std::to_string(process->id()) + "/limits"),
              testing::ContainsRegex("Max core file size +0 +0 "));
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 130);
  expectNowhere("CANARY");
}

TEST_P(Secrets, AreRefusedWithALineBreakInside) {
  startWith("{" + kAccepting + "}");
  const std::string evil = "CANARY\r\nX-Evil: 1";
  for (auto& [name, value] : environment) {
    if (value == kSecret || value == kToken) value = evil;
  }
  writePrivately(path("given/secret"), evil);
  const bool inConfig = GetParam().name == "ConfigSecret" || GetParam().name == "ConfigToken";
  if (inConfig) {
    const std::string key = GetParam().isToken ? "access_token" : "client_secret";
    writePrivately(path("given/config.ini"), "[default]\n" + key + " = " + evil + "\n");
  }
  EXPECT_EQ(run(command()).code, 2);
  EXPECT_EQ(platformState()->getObject("requests")->size(), 0U);
  expectNowhere("CANARY");
}

INSTANTIATE_TEST_SUITE_P(Routes, Secrets,
                         testing::Values(Route{"EnvironmentSecret"}, Route{"EnvironmentToken", true},
                                         Route{"SecretFile"}, Route{"TokenFile", true}, Route{"ConfigSecret"},
                                         Route{"ConfigToken", true}, Route{"ConfigSecretFile"}),
                         [](const auto& row) { return row.param.name; });

// --- names

struct Name {
  std::string test;
  std::string json;  ///< The text as JSON has it.
};

std::ostream& operator<<(std::ostream& out, const Name& name) {
  return out << name.json;
}

class HostileName : public BinaryTest, public testing::WithParamInterface<Name> {};

TEST_P(HostileName, IsRefusedAndNothingIsWritten) {
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 3, "file_bytes": 1000, "file_names": ["good", ")" +
            GetParam().json + R"("]})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size"});
  EXPECT_EQ(ended.code, 8) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("file name"));
  for (const char c : ended.err) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << "a raw byte";
  EXPECT_TRUE(filesUnder("out").empty());
  for (const std::string& name : filesUnder("")) {
    const bool known = name.starts_with("jobs.db") || name.starts_with("run") || name.starts_with("simulator") ||
                       name.starts_with(".cache/") || name.starts_with("data/") || name == "scenario.json" ||
                       name == "port";
    EXPECT_TRUE(known) << name;
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/caiexport-evil"));
}

INSTANTIATE_TEST_SUITE_P(Names, HostileName,
                         testing::Values(Name{"Parent", "../x"}, Name{"GrandParent", "../../../x"},
                                         Name{"InTheMiddle", "a/../../b"}, Name{"Absolute", "/tmp/caiexport-evil"},
                                         Name{"Folder", "folder/x"}, Name{"Backslash", "..\\\\x"}, Name{"DotDot", ".."},
                                         Name{"Dot", "."}, Name{"Nul", "a\\u0000b"}, Name{"NulFirst", "\\u0000"},
                                         Name{"Bell", "a\\u0007b"}, Name{"NewLine", "a\\nb"},
                                         Name{"Escape", "\\u001b[31mred"}, Name{"Delete", "a\\u007fb"},
                                         Name{"DirectionMark", "a\\u202eb"},
                                         Name{"ThreeHundredBytes", std::string(300, 'n')},
                                         Name{"TrailingPart", "x.part"}, Name{"TrailingPartInCapitals", "x.PART"},
                                         Name{"Manifest", "manifest.json"}, Name{"EncodedParent", "..\\u002fx"}),
                         [](const auto& row) { return row.param.test; });

class Names : public BinaryTest {};

TEST_F(Names, UnusualButHarmlessOnesAreKept) {
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 7, "file_bytes": 1000, "file_names":
      ["with blank", "percent%2F..%2Fx", "-rf", "$(id) x", "a'b\"c", "ü ☃", "%00"]})");
  const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(filesUnder("out").size(), 9U);
  EXPECT_EQ(run({"verify", "1"}).code, 0);
}

/// The id of a batch becomes the name of a folder.
TEST_F(Names, ABatchIdThatLeavesTheFolderIsRefused) {
  for (const char* id : {"../../evil", "/tmp/caiexport-evil", "..", "a/b"}) {
    startWith(std::string(R"({"faults": [{"match": {"path": "/catalog/batches"}, "times": -1, "do": {"body": {")") +
              id +
              R"(": {"status": "success", "created": 1764000000000, "createdClient": "acp_foundation_push"}}}}]})");
    const Ended ended = run({"dataset", "--id", kScoreDataset});
    EXPECT_EQ(ended.code, 8) << id << ended.err;
    EXPECT_TRUE(filesUnder("out").empty());
    simulator_.reset();
    std::filesystem::remove(folder_ / "port");
  }
}

// --- links in the output folder

class LinksOnDisk : public BinaryTest {
 protected:
  void SetUp() override {
    startWith(R"({"batches": 1, "failed_batches": 0, "files": 1, "file_bytes": 5000, "file_names": ["scores"]})");
    batch_ = platformState()->getArray("batches")->getObject(0)->getValue<std::string>("id");
    std::filesystem::create_directories(folder_ / "out" / kScoreDataset);
    std::filesystem::create_directory(folder_ / "elsewhere");
    std::ofstream(folder_ / "elsewhere/mine") << "mine";
  }

  std::filesystem::path batchFolder() const { return folder_ / "out" / kScoreDataset / batch_; }

  void linkInBatch(const std::string& name) {
    std::filesystem::create_directory(batchFolder());
    std::filesystem::create_symlink(folder_ / "elsewhere/mine", batchFolder() / name);
  }

  Ended download(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"dataset", "--id", kScoreDataset, "--verify", "size"});
    return run(more);
  }

  void expectUntouched() const {
    EXPECT_EQ(support::Process::contentOf(path("elsewhere/mine")), "mine");
    EXPECT_EQ(filesUnder("elsewhere"), std::vector<std::string>{"mine"});
  }

  std::string batch_;
};

TEST_F(LinksOnDisk, InPlaceOfTheFile) {
  linkInBatch("scores");
  EXPECT_EQ(download().code, 9);
  expectUntouched();
  const Ended forced = download({"--force"});
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_FALSE(std::filesystem::is_symlink(batchFolder() / "scores")) << "the link itself is replaced";
  expectUntouched();
}

TEST_F(LinksOnDisk, ThatLeadsNowhere) {
  std::filesystem::create_directory(batchFolder());
  std::filesystem::create_symlink(folder_ / "elsewhere/new", batchFolder() / "scores");
  download();
  expectUntouched();
}

TEST_F(LinksOnDisk, InPlaceOfThePart) {
  linkInBatch("scores.part");
  download();
  expectUntouched();
  EXPECT_FALSE(std::filesystem::is_symlink(batchFolder() / "scores"));
}

TEST_F(LinksOnDisk, InPlaceOfTheManifest) {
  linkInBatch("_manifest.json");
  download();
  expectUntouched();
}

TEST_F(LinksOnDisk, InPlaceOfTheBatchFolder) {
  std::filesystem::create_directory_symlink(folder_ / "elsewhere", batchFolder());
  const Ended ended = download();
  EXPECT_EQ(ended.code, 9);
  EXPECT_THAT(ended.err, HasSubstr("symbolic link"));
  expectUntouched();
}

TEST_F(LinksOnDisk, InPlaceOfTheDatasetFolder) {
  std::filesystem::remove(folder_ / "out" / kScoreDataset);
  std::filesystem::create_directory_symlink(folder_ / "elsewhere", folder_ / "out" / kScoreDataset);
  EXPECT_EQ(download().code, 9);
  EXPECT_EQ(support::Process::contentOf(path("elsewhere/mine")), "mine");
  for (const std::string& name : filesUnder("elsewhere")) EXPECT_THAT(name, Not(HasSubstr("scores")));
}

/// Files that share a name lie in folders of their own.
TEST_F(LinksOnDisk, InPlaceOfTheFolderOfADatasetFile) {
  simulator_.reset();
  std::filesystem::remove(folder_ / "port");
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 4, "file_bytes": 5000, "dataset_files": 2,
                "duplicate_names": true})");
  ASSERT_EQ(download().code, 0);
  std::vector<std::filesystem::path> inner;
  for (const auto& entry : std::filesystem::directory_iterator(batchFolder())) {
    if (entry.is_directory()) inner.push_back(entry.path());
  }
  ASSERT_EQ(inner.size(), 2U);
  for (const std::filesystem::path& folder : inner) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory_symlink(folder_ / "elsewhere", folder);
  }
  const Ended ended = download();
  EXPECT_EQ(ended.code, 9) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("symbolic link"));
  expectUntouched();
}

// --- links from the server

/// With a second server, which must never hear of anything.
class LinksFromTheServer : public BinaryTest {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ / "other");
    other_ = std::make_unique<Simulator>(folder_ / "other", std::vector<std::string>{}, "http");
  }

  void expectOtherHeardNothing() {
    const std::string command =
        "curl -fsS --noproxy '*' '" + other_->url() + "/_simulator/state' > '" + path("other.json") + "'";
    ASSERT_EQ(std::system(command.c_str()), 0);
    const auto state = parseObject(support::Process::contentOf(path("other.json")));
    EXPECT_EQ(state->getObject("requests")->size(), 0U);
    EXPECT_EQ(state->getValue<int>("connections"), 1) << "the test's own";
  }

  std::unique_ptr<Simulator> other_;
};

TEST_F(LinksFromTheServer, ToElsewhereAreNotFollowed) {
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 5, "file_bytes": 1000, "page_limit": 2})");
  const std::string port = simulator_->port();
  const std::vector<std::string> origins{
      other_->url(),
      "http://localhost:" + port,
      "http://127.0.0.1.example.com:" + port,
      "https://127.0.0.1:" + port,
      "http://127.0.0.1",
      "//127.0.0.1:" + other_->port(),
      "http://user:password@127.0.0.1:" + port,
      "http://127.0.0.1:" + port + "@127.0.0.1:" + other_->port(),
      "http://127.0.0.1:" + port + "\\\\@127.0.0.1:" + other_->port(),
      "http://127.0.0.1:" + other_->port() + "#@127.0.0.1:" + port,
      "ftp://127.0.0.1:" + port,
      "file://",
      "http://127.0.0.1:99999",
      "http://[::1]:" + port,
      "http://2130706433:" + port,
  };
  for (const std::string& origin : origins) {
    changeScenario(R"({"href_origin": ")" + origin + "\"}");
    const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size"});
    EXPECT_EQ(ended.code, 8) << origin << "\n" << ended.err;
    EXPECT_TRUE(filesUnder("out").empty()) << origin;
  }
  expectOtherHeardNothing();
}

TEST_F(LinksFromTheServer, RedirectsAreNotFollowed) {
  startWith(R"({"batches": 1, "failed_batches": 0, "files": 1, "file_bytes": 1000})");
  for (const char* status : {"301", "302", "303", "307", "308"}) {
    for (const char* target : {"/ims/token", "/catalog/batches", "/export/batches/", "path="}) {
      std::filesystem::remove_all(folder_ / ".cache");
      changeScenario(std::string(R"({"faults": [{"match": {"path": ")") + target +
                     R"("}, "times": -1, "do": {"redirect": {"status": )" + status + R"(, "location": ")" +
                     other_->url() + R"({target}"}}}]})");
      const Ended ended = run({"dataset", "--id", kScoreDataset, "--verify", "size"});
      EXPECT_EQ(ended.code, 8) << status << " " << target << "\n" << ended.err;
      EXPECT_THAT(ended.err, HasSubstr(status));
    }
  }
  expectOtherHeardNothing();
}

TEST_F(LinksFromTheServer, ARedirectedExportIsNotFollowed) {
  startWith(R"({"faults": [{"match": {"method": "POST", "path": "dataSets"}, "times": -1, "do": {"redirect":
      {"status": 307, "location": ")" +
            other_->url() + R"({target}"}}}]})");
  const Ended ended = run({"segment", "--id", kSegment});
  EXPECT_EQ(ended.code, 8) << ended.err;
  expectOtherHeardNothing();
}

// --- what users and others give

class Given : public BinaryTest {};

TEST_F(Given, IdsWithLineBreaksMakeNoRequest) {
  startSimulator();
  const std::string evil = "x\r\nX-Evil: 1";
  const std::vector<std::vector<std::string>> commands{
      {"dataset", "--id", evil},
      {"dataset", "--id", kScoreDataset, "--batch", evil},
      {"dataset", "--id", kScoreDataset, "--org", evil},
      {"dataset", "--id", kScoreDataset, "--sandbox", evil},
      {"dataset", "--id", kScoreDataset, "--base-url", simulator_->url() + "/" + evil},
      {"dataset", "--id", kScoreDataset, "--ims-url", simulator_->url() + "/" + evil},
      {"segment", "--id", evil},
      {"segment", "--id", kSegment, "--dataset", evil},
      {"segment", "--id", kSegment, "--merge-policy", evil},
      {"dataset", "--id", "../../x"},
      {"dataset", "--id", "a/b?c=d"},
      {"dataset", "--id", ""},
      {"dataset", "--id", kScoreDataset, "--batch", "../x"},
  };
  for (const auto& command : commands) {
    const Ended ended = run(command);
    EXPECT_EQ(ended.code, 2) << testing::PrintToString(command) << ended.err;
  }
  environment["CAIEXPORT_CLIENT_ID"] = evil;
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset}).code, 2);
  EXPECT_EQ(platformState()->getObject("requests")->size(), 0U);
}

/// Texts that are no ids may hold anything; they are encoded.
TEST_F(Given, TextsWithSyntaxStayTexts) {
  startSimulator();
  const Ended none = run({"dataset", "--id", kScoreDataset, "--created-client", "a&status=failed,b\r\nX-Evil: 1"});
  EXPECT_THAT(none.code, testing::AnyOf(2, 4)) << none.err;
  const Ended named = run({"segment", "--id", kSegment, "--name", "a \"b\" {c: 1} & =,", "--poll-interval", "0.02"});
  EXPECT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(counted("datasets_created"), 1U);
}

TEST_F(Given, SqlCanOnlyRead) {
  startSimulator();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const auto dump = [&] {
    EXPECT_EQ(std::system(("sqlite3 '" + path("jobs.db") + "' .dump > '" + path("dump") + "'").c_str()), 0);
    return support::Process::contentOf(path("dump"));
  };
  const std::string before = dump();
  const std::string evil = path("evil");
  const std::vector<std::string> statements{
      "DELETE FROM job",
      "DELETE FROM main.job",
      "UPDATE job SET status = 'x'",
      "INSERT INTO event SELECT * FROM event",
      "DROP TABLE job",
      "CREATE TABLE evil (x)",
      "CREATE TEMP TABLE evil AS SELECT 1",
      "ATTACH '" + evil + "' AS e",
      "DETACH main",
      "VACUUM INTO '" + evil + "'",
      "PRAGMA user_version = 9",
      "PRAGMA journal_mode = DELETE",
      "PRAGMA writable_schema = 1",
      "SELECT load_extension('" + evil + "')",
      "SELECT writefile('" + evil + "', 'x')",
      "SELECT readfile('/etc/passwd')",
      "SELECT * FROM fsdir('/')",
      "SELECT * FROM sqlite_master",
      "SELECT * FROM main.job",
      "SELECT 1; DELETE FROM job",
      "SELECT 1; SELECT 2",
      "WITH x AS (SELECT 1) DELETE FROM job",
      "EXPLAIN DELETE FROM job",
      "BEGIN IMMEDIATE",
      "SELECT zeroblob(2000000000)",
      "",
      ";",
  };
  for (const std::string& statement : statements) {
    const Ended ended = run({"history", "--sql", statement});
    EXPECT_EQ(ended.code, 2) << statement << "\n" << ended.out << ended.err;
    EXPECT_EQ(ended.out, "") << statement;
  }
  EXPECT_FALSE(std::filesystem::exists(evil));
  EXPECT_EQ(dump(), before);
  EXPECT_EQ(run({"history", "--sql", "SELECT count(*) AS n FROM jobs"}).code, 0);
}

TEST_F(Given, SqlOverFilesSeesNoOthers) {
  startWith(R"({"records": 50})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  std::ofstream(folder_ / "private.csv") << "a,b\nCANARY,2\n";
  const std::string evil = path("evil");
  const std::vector<std::string> statements{
      "SELECT * FROM read_csv('" + path("private.csv") + "')",
      "SELECT * FROM '" + path("private.csv") + "'",
      "SELECT content FROM read_text('" + path("private.csv") + "')",
      "SELECT content FROM read_blob('/etc/passwd')",
      "SELECT * FROM 'https://127.0.0.1:1/x.csv'",
      "SELECT * FROM read_parquet('s3://bucket/x')",
      "SELECT getenv('HOME')",
      "SELECT * FROM glob('/etc/*')",
      "SELECT * FROM sniff_csv('" + path("private.csv") + "')",
      "COPY profiles TO '" + evil + "' (FORMAT parquet)",
      "COPY (SELECT 1) TO '" + evil + "'",
      "ATTACH '" + evil + "'",
      "EXPORT DATABASE '" + evil + "'",
      "INSTALL httpfs",
      "LOAD httpfs",
      "SET enable_external_access = true",
      "SET lock_configuration = false",
      "CREATE TABLE x AS SELECT 1",
      "SELECT 1; COPY (SELECT 1) TO '" + evil + "'",
      "CALL pragma_version()",
  };
  for (const std::string& statement : statements) {
    const Ended ended = run({"read", "1", "--sql", statement, "--format", "csv"});
    EXPECT_NE(ended.code, 0) << statement << "\n" << ended.out;
    EXPECT_NE(ended.code, 1) << statement << "\n" << ended.err;
    EXPECT_THAT(ended.out, Not(HasSubstr("CANARY"))) << statement;
    EXPECT_THAT(ended.out, Not(HasSubstr("root:"))) << statement;
  }
  EXPECT_FALSE(std::filesystem::exists(evil));
  EXPECT_EQ(run({"read", "1", "--sql", "SELECT count(*) FROM profiles", "--format", "csv"}).code, 0);
}

TEST_F(Given, PlainHttpIsForLoopbackOnly) {
  for (const char* url : {"http://platform.adobe.io", "http://10.0.0.1", "http://127.0.0.1.example.com",
                          "http://localhost.example.com", "ftp://127.0.0.1", "http://user:pw@127.0.0.1"}) {
    environment["CAIEXPORT_BASE_URL"] = url;
    environment["CAIEXPORT_IMS_URL"] = "http://127.0.0.1:1";
    EXPECT_EQ(run({"dataset", "--id", kScoreDataset}).code, 2) << url;
    environment["CAIEXPORT_BASE_URL"] = "http://127.0.0.1:1";
    environment["CAIEXPORT_IMS_URL"] = url;
    EXPECT_EQ(run({"dataset", "--id", kScoreDataset}).code, 2) << url;
  }
}

}  // namespace
}  // namespace caiexport::binary
