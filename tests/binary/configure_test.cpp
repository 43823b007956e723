/// `configure` at a pseudo-terminal and without one.

#include <sys/stat.h>

#include "binary/fixture.h"
#include "support/terminal.h"

namespace caiexport::binary {
namespace {

using support::TerminalProcess;
using testing::HasSubstr;
using testing::Not;

class Configure : public BinaryTest {
 protected:
  void SetUp() override {
    startSimulator({"--files", "1", "--records", "10"});
    withoutCredentials = environment;
    for (const char* name : {"CAIEXPORT_CLIENT_ID", "CAIEXPORT_CLIENT_SECRET", "CAIEXPORT_ORG_ID", "CAIEXPORT_SANDBOX",
                             "CAIEXPORT_DATABASE", "CAIEXPORT_OUTPUT"}) {
      withoutCredentials.erase(name);
    }
    withoutCredentials["TERM"] = "xterm";
    file = path("config/config.ini");
  }

  TerminalProcess atTerminal(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"configure", "--config", file};
    words.insert(words.end(), more.begin(), more.end());
    return {kCaiexport, words, withoutCredentials, 80};
  }

  Ended runWithout(const support::Environment& settings, const std::vector<std::string>& words) {
    const support::Environment before = environment;
    environment = settings;
    Ended ended = run(words);
    environment = before;
    return ended;
  }

  std::string content() const { return support::Process::contentOf(file); }

  support::Environment withoutCredentials;
  std::string file;
};

TEST_F(Configure, AsksForWhatIsMissingAndWritesAPrivateFile) {
  TerminalProcess terminal = atTerminal();
  ASSERT_TRUE(terminal.waitFor("Client ID")) << terminal.output();
  terminal.type("sim-client\n");
  ASSERT_TRUE(terminal.waitFor("Client secret (not shown): ")) << terminal.output();
  EXPECT_FALSE(terminal.echoes());
  terminal.type("sim-secret\n");
  ASSERT_TRUE(terminal.waitFor("Organization ID (ends in @AdobeOrg): ")) << terminal.output();
  EXPECT_TRUE(terminal.echoes());
  terminal.type("SIMULATOR\n");
  ASSERT_TRUE(terminal.waitFor("this cannot be used: an organization ID ends in @AdobeOrg")) << terminal.output();
  ASSERT_TRUE(terminal.waitFor("Organization ID (ends in @AdobeOrg): ")) << terminal.output();
  terminal.type("SIMULATOR@AdobeOrg\n");
  ASSERT_TRUE(terminal.waitFor("Sandbox [prod]: ")) << terminal.output();
  terminal.type("\n");
  EXPECT_EQ(terminal.finish(), 0) << terminal.output();
  EXPECT_THAT(terminal.output(), Not(HasSubstr("sim-secret")));
  EXPECT_THAT(terminal.screen().text(), HasSubstr("✓ sandbox")) << "doctor follows";

  EXPECT_THAT(content(), HasSubstr("[default]\n"));
  EXPECT_THAT(content(), HasSubstr("client_id = sim-client\n"));
  EXPECT_THAT(content(), HasSubstr("client_secret = sim-secret\n"));
  EXPECT_THAT(content(), HasSubstr("org_id = SIMULATOR@AdobeOrg\n"));
  struct stat facts {};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);

  // The file is all that the next command needs, but for the simulator's address, which it holds too.
  const Ended listed = runWithout({{"PATH", "/usr/bin:/bin"}, {"HOME", path("")}},
                                  {"datasets", "--config", file, "--search", "customer ai", "--format", "csv"});
  EXPECT_EQ(listed.code, 0) << listed.err;
  EXPECT_THAT(listed.out, HasSubstr(kScoreDataset));
}

TEST_F(Configure, CtrlCAtTheSecretRestoresTheEcho) {
  TerminalProcess terminal = atTerminal();
  ASSERT_TRUE(terminal.waitFor("Client ID"));
  terminal.type("sim-client\n");
  ASSERT_TRUE(terminal.waitFor("(not shown): "));
  terminal.type("half a sec");
  ASSERT_FALSE(terminal.echoes());
  terminal.type("\x03");
  ASSERT_TRUE(terminal.waitFor("interrupted")) << terminal.output();
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_THAT(terminal.output(), Not(HasSubstr("half")));
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(Configure, EndOfInputIsExit2) {
  TerminalProcess terminal = atTerminal();
  ASSERT_TRUE(terminal.waitFor("Client ID"));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 2) << terminal.output();
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(Configure, WithoutATerminalItNamesWhatIsMissingAndDoesNotHang) {
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, std::vector<std::string>{"--no-input"}}) {
    std::vector<std::string> words{"configure", "--config", file};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = runWithout(withoutCredentials, words);
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("CAIEXPORT_CLIENT_ID, CAIEXPORT_CLIENT_SECRET, CAIEXPORT_ORG_ID"));
    EXPECT_FALSE(std::filesystem::exists(file));
  }
  TerminalProcess terminal = atTerminal({"--no-input"});
  EXPECT_EQ(terminal.finish(), 2);
  EXPECT_THAT(terminal.output(), HasSubstr("CAIEXPORT_CLIENT_SECRET"));
}

TEST_F(Configure, NoInputWritesWhatTheEnvironmentGivesAndKeepsTheRest) {
  std::filesystem::create_directories(path("config"));
  std::ofstream(file) << "; kept\n[default]\n; mine\nclient_id = other\nclient_secret_file = /nowhere\n\n[stage]\n"
                         "sandbox = stage\n";
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  const Ended ended = run({"configure", "--no-input", "--config", file});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(content(), testing::StartsWith("; kept\n[default]\n; mine\nclient_id = sim-client\n"));
  EXPECT_THAT(content(), HasSubstr("client_secret = sim-secret\n"));
  EXPECT_THAT(content(), Not(HasSubstr("client_secret_file"))) << "it would contradict the secret";
  EXPECT_THAT(content(), testing::EndsWith("\n[stage]\nsandbox = stage\n"));
  EXPECT_THAT(ended.out + ended.err, Not(HasSubstr("sim-secret")));

  const Ended second = run({"configure", "--no-input", "--no-check", "--config", file, "--profile", "new.one"});
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(content(), HasSubstr("\n[new.one]\n"));
  EXPECT_THAT(second.out, HasSubstr("[new.one]"));
}

TEST_F(Configure, AFileThatCanNotBeUnderstoodIsNotTouched) {
  std::filesystem::create_directories(path("config"));
  std::ofstream(file) << "[default\n";
  const Ended ended = run({"configure", "--no-input", "--config", file});
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(content(), "[default\n");
  EXPECT_EQ(run({"configure", "--no-input", "--config", path("x.ini"), "--profile", "a]b"}).code, 2);
  EXPECT_FALSE(std::filesystem::exists(path("x.ini")));
}

TEST_F(Configure, AFailedCheckIsTheExitCode) {
  environment["CAIEXPORT_CLIENT_SECRET"] = "wrong";
  const Ended ended = run({"configure", "--no-input", "--config", file});
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(content(), HasSubstr("client_secret = wrong\n")) << "it is written all the same";
  EXPECT_THAT(ended.out, HasSubstr("✗ credentials"));
}

TEST_F(Configure, AllAsksAgainAndEnterKeeps) {
  ASSERT_EQ(run({"configure", "--no-input", "--no-check", "--config", file}).code, 0);
  TerminalProcess quiet = atTerminal({"--no-check"});
  EXPECT_EQ(quiet.finish(), 0);
  EXPECT_THAT(quiet.output(), HasSubstr("nothing is missing"));
  TerminalProcess terminal = atTerminal({"--all", "--no-check"});
  ASSERT_TRUE(terminal.waitFor("[sim-client]: ")) << terminal.output();
  terminal.type("\n");
  ASSERT_TRUE(terminal.waitFor("Enter keeps the one that is set): ")) << terminal.output();
  terminal.type("\n");
  ASSERT_TRUE(terminal.waitFor("[SIMULATOR@AdobeOrg]: "));
  terminal.type("\n");
  ASSERT_TRUE(terminal.waitFor("[prod]: "));
  terminal.type("dev\n");
  EXPECT_EQ(terminal.finish(), 0) << terminal.output();
  EXPECT_THAT(content(), HasSubstr("client_secret = sim-secret\n"));
  EXPECT_THAT(content(), HasSubstr("sandbox = dev\n"));
}

}  // namespace
}  // namespace caiexport::binary
