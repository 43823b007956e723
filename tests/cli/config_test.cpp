#include "cli/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "support/temp_directory.h"

namespace caiexport::cli {
namespace {

using core::Category;
using testing::HasSubstr;

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    variables_ = {{"HOME", (folder_ / "home").string()},
                  {"CAIEXPORT_CLIENT_ID", "client"},
                  {"CAIEXPORT_CLIENT_SECRET", "env-secret"},
                  {"CAIEXPORT_ORG_ID", "ORG@AdobeOrg"}};
  }

  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  void unset(const std::string& name) { variables_.erase(name); }
  void give(const std::string& option, const std::string& value) { options_.add(option, value); }

  std::string write(const std::string& name, const std::string& text, unsigned mode = 0600) {
    const std::filesystem::path file = folder_ / name;
    core::writeFileAtomically(core::diskFileSystem(), file, text, mode);
    ::chmod(file.c_str(), mode);
    return file.string();
  }

  void writeConfig(const std::string& text, unsigned mode = 0600) {
    set("CAIEXPORT_CONFIG", write("c.ini", text, mode));
  }

  Configuration configuration() { return Configuration(options_, environment_); }

  template <class Call>
  core::Error failure(Call call) {
    try {
      Configuration made(options_, environment_);
      call(made);
    } catch (const core::Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return core::Error(Category::internal, "nothing was refused");
  }

  core::Error platformFailure() {
    return failure([](Configuration& made) { made.platform(); });
  }

  support::TempDirectory folder_;
  std::map<std::string, std::string, std::less<>> variables_;
  Environment environment_{[this](std::string_view name) -> std::optional<std::string> {
    const auto found = variables_.find(name);
    return found == variables_.end() ? std::nullopt : std::optional(found->second);
  }};
  ParsedOptions options_;
};

TEST_F(ConfigTest, DefaultsAreTheDocumentedOnes) {
  Configuration made = configuration();
  const PlatformSettings settings = made.platform();
  EXPECT_EQ(settings.sandbox, "prod");
  EXPECT_EQ(settings.baseUrl, "https://platform.adobe.io");
  EXPECT_EQ(settings.imsUrl, "https://ims-na1.adobelogin.com");
  EXPECT_EQ(settings.scopes, "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session");
  EXPECT_EQ(settings.connectTimeout, std::chrono::seconds(10));
  EXPECT_EQ(settings.readTimeout, std::chrono::seconds(60));
  EXPECT_EQ(settings.retry.firstWait, std::chrono::seconds(1));
  EXPECT_EQ(settings.retry.furtherTries, 5);
  EXPECT_FALSE(settings.caFile);
  EXPECT_EQ(made.download().connections, std::nullopt);
  EXPECT_EQ(made.download().connectionsMax, 64U);
  EXPECT_EQ(made.download().connectionsStart, 8U);
  EXPECT_EQ(made.database().file(), folder_ / "home/.local/state/caiexport/jobs.db");
  EXPECT_EQ(made.tokenCache(), folder_ / "home/.cache/caiexport/tokens");
}

TEST_F(ConfigTest, TheFirstOfOptionEnvironmentProfileDefaultWins) {
  writeConfig("[default]\nsandbox = from-file\n");
  EXPECT_EQ(configuration().find("sandbox")->value, "from-file");
  EXPECT_THAT(configuration().find("sandbox")->place, HasSubstr("sandbox in [default] of "));
  set("CAIEXPORT_SANDBOX", "from-env");
  EXPECT_EQ(configuration().find("sandbox")->value, "from-env");
  EXPECT_EQ(configuration().find("sandbox")->place, "CAIEXPORT_SANDBOX");
  give("sandbox", "from-option");
  EXPECT_EQ(configuration().find("sandbox")->value, "from-option");
  EXPECT_EQ(configuration().find("sandbox")->place, "--sandbox");
}

TEST_F(ConfigTest, EverySettingHasItsWays) {
  for (const SettingSpec& spec : settingSpecs()) {
    writeConfig("[default]\n" + std::string(spec.key) + " = from file\n");
    unset(std::string(spec.environment));
    EXPECT_EQ(configuration().find(spec.key)->value, "from file") << spec.key;
    set(std::string(spec.environment), "from env");
    EXPECT_EQ(configuration().find(spec.key)->value, "from env") << spec.key;
    EXPECT_FALSE(spec.secret && !spec.option.empty()) << "a secret is never an option";
  }
}

TEST_F(ConfigTest, EmptyVariablesCountAsUnset) {
  writeConfig("[default]\nsandbox = from-file\n");
  set("CAIEXPORT_SANDBOX", "");
  EXPECT_EQ(configuration().find("sandbox")->value, "from-file");
  set("CAIEXPORT_CLIENT_SECRET", "");
  EXPECT_THAT(platformFailure().what(), HasSubstr("missing settings: CAIEXPORT_CLIENT_SECRET"));
}

TEST_F(ConfigTest, ValuesAreNotExpanded) {
  writeConfig("[default]\nclient_secret = a${system.env.HOME}b;c\"d\n");
  unset("CAIEXPORT_CLIENT_SECRET");
  EXPECT_EQ(configuration().platform().clientSecret.reveal(), "a${system.env.HOME}b;c\"d");
}

TEST_F(ConfigTest, ProfilesAreChosenByName) {
  writeConfig("; two of them\r\n[default]\r\nsandbox=one\r\n\r\n[live.eu]\r\nsandbox = two\r\n");
  EXPECT_EQ(configuration().find("sandbox")->value, "one");
  give("profile", "live.eu");
  EXPECT_EQ(configuration().find("sandbox")->value, "two");
}

TEST_F(ConfigTest, CapitalsTellProfilesApart) {
  unset("CAIEXPORT_CLIENT_SECRET");
  for (const char* text : {"[prod]\nclient_secret = small\n[Prod]\nclient_secret = capital\nsandbox = c\n",
                           "[Prod]\nclient_secret = capital\nsandbox = c\n[prod]\nclient_secret = small\n"}) {
    writeConfig(text);
    set("CAIEXPORT_PROFILE", "Prod");
    EXPECT_EQ(configuration().platform().clientSecret.reveal(), "capital");
    set("CAIEXPORT_PROFILE", "prod");
    EXPECT_EQ(configuration().platform().clientSecret.reveal(), "small");
    EXPECT_EQ(configuration().platform().sandbox, "prod") << "nothing of [Prod]";
  }
  writeConfig("[prod]\nclient_secret = small\n");
  set("CAIEXPORT_PROFILE", "Prod");
  EXPECT_THAT(platformFailure().what(), HasSubstr("has no profile 'Prod', did you mean 'prod'?"));
}

TEST_F(ConfigTest, ADotInAProfilesNameIsNoPath) {
  writeConfig("[a]\nsandbox = one\n[a.sandbox]\nsandbox = two\n[a.b]\nsandbox = ${HOME} ; not a comment\n");
  set("CAIEXPORT_PROFILE", "a");
  EXPECT_EQ(configuration().find("sandbox")->value, "one");
  set("CAIEXPORT_PROFILE", "a.b");
  EXPECT_EQ(configuration().find("sandbox")->value, "${HOME} ; not a comment");
}

TEST_F(ConfigTest, FilesThatAreNotPlainUtf8AreNamedAsSuch) {
  using namespace std::string_literals;
  unset("CAIEXPORT_CLIENT_SECRET");
  const std::vector<std::pair<std::string, std::string>> cases{
      {"\xEF\xBB\xBF[default]\nclient_secret = x\n", "begins with a byte order mark"},
      {"\xFF\xFE[\0d\0]\0"s, "is UTF-16"},
      {"\xFE\xFF\0[\0d\0]"s, "is UTF-16"},
      {"[\0d\0]\0"s, "is UTF-16 without a byte order mark"},
      {"[default]\nsandbox = a\0b\n"s, "holds NUL characters"},
  };
  for (const auto& [text, message] : cases) {
    writeConfig(text);
    EXPECT_THAT(platformFailure().what(), HasSubstr(message));
    unset("CAIEXPORT_CONFIG");
    set("CAIEXPORT_CLIENT_SECRET_FILE", write("secret", text));
    EXPECT_THAT(platformFailure().what(), HasSubstr("CAIEXPORT_CLIENT_SECRET_FILE: the file "));
    EXPECT_THAT(platformFailure().what(), HasSubstr(message));
    unset("CAIEXPORT_CLIENT_SECRET_FILE");
  }
}

TEST_F(ConfigTest, ATildeIsTheHomeFolderInEveryPathWhereverItStands) {
  unset("CAIEXPORT_CLIENT_SECRET");
  const std::filesystem::path home = folder_ / "home";
  std::filesystem::create_directories(home / "in");
  write("home/in/secret", "from-home\n");
  write("home/c.ini",
        "[default]\nclient_secret_file = ~/in/secret\nca_file = ~/in/ca.pem\ndatabase = ~/in/jobs.db\noutput = ~\n");
  set("CAIEXPORT_CONFIG", "~/c.ini");
  EXPECT_EQ(configuration().platform().clientSecret.reveal(), "from-home");
  EXPECT_EQ(configuration().platform().caFile, home / "in/ca.pem");
  EXPECT_EQ(configuration().database().file(), home / "in/jobs.db");
  EXPECT_EQ(configuration().output(), home);
  set("CAIEXPORT_DATABASE", "~//env.db");
  EXPECT_EQ(configuration().database().file(), home / "env.db");
  set("CAIEXPORT_OUTPUT", "~/");
  EXPECT_EQ(configuration().output(), home);
  give("output", "~/scores");
  EXPECT_EQ(configuration().output(), home / "scores");
  give("database", "./~x.db");
  EXPECT_EQ(configuration().database().file(), std::filesystem::current_path() / "~x.db");
}

TEST_F(ConfigTest, SomebodyElsesHomeAndNoHomeAreRefused) {
  set("CAIEXPORT_DATABASE", "~root/jobs.db");
  const core::Error error = failure([](Configuration& made) { made.database(); });
  EXPECT_EQ(error.category(), Category::config);
  EXPECT_THAT(error.what(), HasSubstr("CAIEXPORT_DATABASE: '~root/jobs.db'"));
  give("output", "~root");
  EXPECT_EQ(failure([](Configuration& made) { made.output(); }).category(), Category::usage);
  set("CAIEXPORT_DATABASE", "~/jobs.db");
  unset("HOME");
  EXPECT_THAT(failure([](Configuration& made) { made.database(); }).what(), HasSubstr("HOME"));
}

TEST_F(ConfigTest, AnUnknownProfileIsRefused) {
  writeConfig("[default]\n[production]\n");
  give("profile", "producton");
  const core::Error error = failure([](Configuration&) {});
  EXPECT_EQ(error.category(), Category::config);
  EXPECT_THAT(error.what(), HasSubstr("did you mean 'production'?"));
}

TEST_F(ConfigTest, AFileThatIsNamedMustBeThere) {
  give("config", (folder_ / "none.ini").string());
  EXPECT_EQ(failure([](Configuration&) {}).category(), Category::config);
}

TEST_F(ConfigTest, TheUsualFileNeedNotBeThere) {
  EXPECT_EQ(configuration().platform().sandbox, "prod");
}

TEST_F(ConfigTest, BrokenFilesAreRefusedWithTheLine) {
  const std::map<std::string, std::string> cases{
      {"[default]\nsandbx = x\n", "line 2: unknown key 'sandbx', did you mean 'sandbox'?"},
      {"sandbox = x\n", "line 1: a key before the first [profile]"},
      {"[default]\n# comment\n", "line 2: comments begin with ;"},
      {"[default]\nsandbox = a\nsandbox = b\n", "line 3: the key 'sandbox' stands twice"},
      {"[a]\n[b]\n[a]\n", "line 3: the profile [a] stands twice"},
      {"[default\n", "line 1: a profile is written as [name]"},
      {"[ ]\n", "line 1: a profile needs a name"},
      {"[default]\ntopsecret\n", "line 2: neither a comment"},
      {"[default]\nSandbox = x\n", "line 2: unknown key 'Sandbox', did you mean 'sandbox'?"},
  };
  for (const auto& [text, message] : cases) {
    writeConfig(text);
    const core::Error error = failure([](Configuration& made) { made.find("sandbox"); });
    EXPECT_EQ(error.category(), Category::config) << text;
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("topsecret")));
  }
}

TEST_F(ConfigTest, AFileWithASecretMustBeForItsOwnerAlone) {
  unset("CAIEXPORT_CLIENT_SECRET");
  for (const unsigned mode : {0640U, 0604U, 0644U}) {
    writeConfig("[default]\nclient_secret = canary\n", mode);
    const core::Error error = platformFailure();
    EXPECT_EQ(error.category(), Category::config);
    EXPECT_THAT(error.hint(), HasSubstr("chmod 600 "));
    EXPECT_THAT(error.what() + error.hint(), testing::Not(HasSubstr("canary")));
  }
  writeConfig("[default]\nclient_secret = canary\n", 0600);
  EXPECT_EQ(configuration().platform().clientSecret.reveal(), "canary");
}

TEST_F(ConfigTest, ASecretOfAnotherProfileCountsToo) {
  writeConfig("[default]\nsandbox = x\n[other]\naccess_token = canary\n", 0644);
  EXPECT_EQ(platformFailure().category(), Category::config);
}

TEST_F(ConfigTest, AFileWithoutSecretsMayBeRead) {
  writeConfig("[default]\nsandbox = x\nclient_secret_file = /run/secret\n", 0644);
  EXPECT_EQ(configuration().find("sandbox")->value, "x");
}

TEST_F(ConfigTest, SecretsComeFromFilesToo) {
  unset("CAIEXPORT_CLIENT_SECRET");
  set("CAIEXPORT_CLIENT_SECRET_FILE", write("secret", "from-file\r\n"));
  EXPECT_EQ(configuration().platform().clientSecret.reveal(), "from-file");
  set("CAIEXPORT_CLIENT_SECRET", "direct");
  EXPECT_THAT(platformFailure().what(), HasSubstr("keep one"));
}

TEST_F(ConfigTest, AHigherSourceOfTheOtherKindWins) {
  set("CAIEXPORT_CLIENT_SECRET_FILE", write("secret", "from-env-file\n"));
  unset("CAIEXPORT_CLIENT_SECRET");
  writeConfig("[default]\nclient_secret = from-profile\n");
  EXPECT_EQ(configuration().platform().clientSecret.reveal(), "from-env-file");
}

TEST_F(ConfigTest, BadSecretFilesAreRefused) {
  unset("CAIEXPORT_CLIENT_SECRET");
  for (const std::string& file : {write("empty", "\n"), write("two", "ca nary\nmore\n"), (folder_ / "no").string()}) {
    set("CAIEXPORT_CLIENT_SECRET_FILE", file);
    const core::Error error = platformFailure();
    EXPECT_EQ(error.category(), Category::config) << file;
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("nary")));
  }
}

TEST_F(ConfigTest, AnAccessTokenStandsInForTheSecret) {
  unset("CAIEXPORT_CLIENT_SECRET");
  set("CAIEXPORT_ACCESS_TOKEN", "token");
  EXPECT_EQ(configuration().platform().accessToken.reveal(), "token");
  EXPECT_TRUE(configuration().platform().clientSecret.empty());
}

TEST_F(ConfigTest, AllThatIsMissingIsNamedAtOnce) {
  for (const char* name : {"CAIEXPORT_CLIENT_ID", "CAIEXPORT_CLIENT_SECRET", "CAIEXPORT_ORG_ID"}) unset(name);
  EXPECT_THAT(platformFailure().what(),
              HasSubstr("missing settings: CAIEXPORT_CLIENT_ID, CAIEXPORT_CLIENT_SECRET, CAIEXPORT_ORG_ID"));
}

TEST_F(ConfigTest, HeadersCanNotBeInjected) {
  set("CAIEXPORT_ORG_ID", "ORG\r\nX-Evil: 1");
  EXPECT_EQ(platformFailure().category(), Category::config);
  set("CAIEXPORT_ORG_ID", "ORG@AdobeOrg");
  give("sandbox", "a b");
  EXPECT_EQ(platformFailure().category(), Category::usage);
}

TEST_F(ConfigTest, NumbersAndDurationsHaveRanges) {
  for (const auto& [variable, value] : std::vector<std::pair<std::string, std::string>>{
           {"CAIEXPORT_CONNECTIONS", "0"},
           {"CAIEXPORT_CONNECTIONS", "65"},
           {"CAIEXPORT_CONNECTIONS", "-1"},
           {"CAIEXPORT_CONNECTIONS", "8 "},
           {"CAIEXPORT_CONNECTIONS_MAX", "0"},
           {"CAIEXPORT_CONNECT_TIMEOUT", "0"},
           {"CAIEXPORT_READ_TIMEOUT", "soon"},
           {"CAIEXPORT_RETRY_WAIT", "-1s"},
       }) {
    set(variable, value);
    const core::Error error = failure([](Configuration& made) {
      made.platform();
      made.download();
    });
    EXPECT_EQ(error.category(), Category::config) << variable << "=" << value;
    EXPECT_THAT(error.what(), HasSubstr(variable));
    unset(variable);
  }
}

TEST_F(ConfigTest, RetriesAndRateAreOptions) {
  give("retries", "0");
  give("max-rate", "50M");
  EXPECT_EQ(configuration().platform().retry.furtherTries, 0);
  EXPECT_EQ(configuration().download().mostBytesPerSecond, 50U << 20U);
}

TEST_F(ConfigTest, ConnectionsContradictTheirMaximum) {
  give("connections", "4");
  EXPECT_EQ(configuration().download().connections, 4U);
  give("connections-max", "8");
  EXPECT_EQ(failure([](Configuration& made) { made.download(); }).category(), Category::usage);
}

TEST_F(ConfigTest, FewConnectionsAtMostMeansFewAtFirst) {
  set("CAIEXPORT_CONNECTIONS_MAX", "3");
  EXPECT_EQ(configuration().download().connectionsStart, 3U);
}

TEST_F(ConfigTest, FoldersFollowTheXdgRules) {
  set("XDG_STATE_HOME", "/state");
  EXPECT_EQ(configuration().database().file(), "/state/caiexport/jobs.db");
  set("XDG_STATE_HOME", "relative");
  EXPECT_EQ(configuration().database().file(), folder_ / "home/.local/state/caiexport/jobs.db");
  unset("HOME");
  EXPECT_EQ(failure([](Configuration& made) { made.database(); }).category(), Category::config);
  EXPECT_FALSE(configuration().tokenCache());
  set("CAIEXPORT_DATABASE", "/elsewhere/jobs.db");
  EXPECT_EQ(configuration().database().file(), "/elsewhere/jobs.db");
}

TEST_F(ConfigTest, ADatabaseGivenOutrightNeedsNoConfigFile) {
  writeConfig("broken");
  give("database", "/x/jobs.db");
  EXPECT_EQ(configuration().database().file(), "/x/jobs.db");
}

TEST_F(ConfigTest, TheOutputFolderIsAbsoluteAndUsable) {
  give("output", (folder_ / "a/b/").string());
  EXPECT_EQ(configuration().output(), folder_ / "a/b");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a"));
}

TEST_F(ConfigTest, TheOutputFolderIsTheCurrentOneByDefault) {
  EXPECT_EQ(configuration().output(), std::filesystem::current_path());
}

TEST_F(ConfigTest, AFileIsNoOutputFolder) {
  const std::string file = write("file", "x");
  for (const std::string& place : {file, file + "/below"}) {
    set("CAIEXPORT_OUTPUT", place);
    const core::Error error = failure([](Configuration& made) { made.output(); });
    EXPECT_EQ(core::exitCodeOf(error.category()), 2) << place;
  }
}

TEST_F(ConfigTest, AFolderWithoutPermissionIsAnIoError) {
  const std::filesystem::path locked = folder_ / "locked";
  std::filesystem::create_directory(locked);
  ::chmod(folder_.path().c_str(), 0755);
  ::chmod(locked.c_str(), 0555);
  EXPECT_NO_THROW(requireWritableFolder(folder_ / "out"));
  // The superuser may write anywhere, so a child without its rights looks.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(1);
    try {
      requireWritableFolder(locked / "out");
    } catch (const core::Error& error) {
      ::_exit(core::exitCodeOf(error.category()));
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST(BaseUrl, IsSchemeAndHostAlone) {
  EXPECT_EQ(checkedBaseUrl("https://Platform.adobe.io", "x"), "https://platform.adobe.io");
  EXPECT_EQ(checkedBaseUrl("https://platform.adobe.io/", "x"), "https://platform.adobe.io");
  EXPECT_EQ(checkedBaseUrl("https://platform.adobe.io:443", "x"), "https://platform.adobe.io");
  EXPECT_EQ(checkedBaseUrl("http://127.0.0.1:8080", "x"), "http://127.0.0.1:8080");
  EXPECT_EQ(checkedBaseUrl("http://[::1]:8080/", "x"), "http://[::1]:8080");
  EXPECT_EQ(checkedBaseUrl("http://localhost:1", "x"), "http://localhost:1");
  for (const char* bad : {"", "platform.adobe.io", "http://platform.adobe.io", "ftp://127.0.0.1", "https://h/path",
                          "https://h?x=1", "https://h/#f", "https://user:canary@h", "https://h\r\n", "https://",
                          "http://127.0.0.1.evil.example", "http://10.0.0.1", "https://h:0", "https://h:99999"}) {
    try {
      checkedBaseUrl(bad, "CAIEXPORT_BASE_URL");
      ADD_FAILURE() << bad;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.category(), Category::config) << bad;
      EXPECT_THAT(error.what(), HasSubstr("CAIEXPORT_BASE_URL: "));
      EXPECT_THAT(error.what(), testing::Not(HasSubstr("canary")));
    }
  }
}

}  // namespace
}  // namespace caiexport::cli
