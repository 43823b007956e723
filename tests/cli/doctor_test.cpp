#include "cli/doctor/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "caiexport/cli/options.h"
#include "caiexport/net/poco_transport.h"
#include "cli/config/settings.h"
#include "support/temp_directory.h"

namespace caiexport::cli {
namespace {

using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;

struct Seen {
  std::vector<Check> checks;
  Checks runner{[this](const Check& check) { checks.push_back(check); }};

  std::vector<std::string> states() const {
    std::vector<std::string> words;
    for (const Check& check : checks) words.push_back(check.name + " " + std::string(nameOf(check.state)));
    return words;
  }
};

Checks::Look fine() {
  return [] { return std::string("fine"); };
}

Checks::Look failing(Category category, const std::string& hint = "") {
  return
      [category, hint]() -> std::string { throw core::Error(category, "broken", {.requestId = "r-1", .hint = hint}); };
}

TEST(Checks, SkipWhatDependsOnAFailure) {
  Seen seen;
  seen.runner.check("a", {}, fine());
  seen.runner.check("b", {"a"}, failing(Category::permission, "do this"));
  seen.runner.check("c", {"a", "b"}, fine());
  seen.runner.check("d", {"c"}, fine());
  seen.runner.check("e", {"a"}, fine());
  EXPECT_THAT(seen.states(), ElementsAre("a ok", "b failed", "c skipped", "d skipped", "e ok"));
  EXPECT_EQ(seen.checks[1].detail, "broken (request id r-1)");
  EXPECT_EQ(seen.checks[1].remedy, "do this");
  EXPECT_EQ(seen.checks[3].detail, "needs b") << "the one to blame, not the one before";
}

TEST(Checks, EndWithTheFirstFailure) {
  Seen seen;
  EXPECT_FALSE(seen.runner.end());
  seen.runner.check("a", {}, failing(Category::io));
  seen.runner.check("b", {}, failing(Category::auth));
  const CommandEnd end = seen.runner.end();
  ASSERT_TRUE(end);
  EXPECT_EQ(core::exitCodeOf(end->category()), 9);
  EXPECT_STREQ(end->what(), "2 of 2 checks failed, the first: a");
}

TEST(Checks, EveryFailureHasARemedy) {
  Seen seen;
  for (int i = 0; i <= static_cast<int>(Category::internal); ++i) {
    if (static_cast<Category>(i) == Category::interrupted) continue;
    seen.runner.check(std::to_string(i), {}, failing(static_cast<Category>(i)));
  }
  for (const Check& check : seen.checks) EXPECT_NE(check.remedy, "") << check.name;
}

TEST(Checks, WhatCanNotBeAskedIsSkipped) {
  Seen seen;
  seen.runner.check("a", {}, []() -> std::string { throw CannotCheck{"nobody told"}; });
  EXPECT_THAT(seen.states(), ElementsAre("a skipped"));
  EXPECT_EQ(seen.checks[0].detail, "nobody told");
  EXPECT_FALSE(seen.runner.end());
}

TEST(Checks, AnInterruptionEndsThem) {
  Seen seen;
  EXPECT_THROW(seen.runner.check("a", {}, []() -> std::string { throw core::Interrupted(); }), core::Interrupted);
}

Environment environmentOf(std::map<std::string, std::string, std::less<>> values) {
  return Environment([values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  });
}

const ShownSetting& named(const std::vector<ShownSetting>& settings, std::string_view name) {
  return *std::ranges::find(settings, name, &ShownSetting::name);
}

TEST(ShownSettings, TellWhereEachComesFromAndNoSecret) {
  const support::TempDirectory folder;
  const std::string file = (folder / "config.ini").string();
  std::ofstream(file) << "[default]\nsandbox = dev\nclient_secret = hush-hush\n";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  ParsedOptions options;
  options.add("org", "O@AdobeOrg");
  const Environment environment = environmentOf({{"CAIEXPORT_CONFIG", file},
                                                 {"CAIEXPORT_CLIENT_ID", "the-id"},
                                                 {"CAIEXPORT_ACCESS_TOKEN", "hush-token"},
                                                 {"HOME", "/home/x"},
                                                 {"HTTPS_PROXY", "http://user:hush-pass@proxy:3128"}});
  Configuration configuration(options, environment, BadFile::keep);
  const std::vector<ShownSetting> settings = shownSettings(configuration, environment);
  EXPECT_EQ(named(settings, "org_id").from, "--org");
  EXPECT_EQ(named(settings, "client_id").value, "the-id");
  EXPECT_EQ(named(settings, "client_id").from, "CAIEXPORT_CLIENT_ID");
  EXPECT_EQ(named(settings, "sandbox").value, "dev");
  EXPECT_EQ(named(settings, "sandbox").from, "sandbox in [default] of " + file);
  EXPECT_EQ(named(settings, "base_url").from, "default");
  EXPECT_EQ(named(settings, "database").value, "/home/x/.local/state/caiexport/jobs.db");
  EXPECT_EQ(named(settings, "ca_file").from, "");
  EXPECT_EQ(named(settings, "config").from, "CAIEXPORT_CONFIG");
  for (const char* secret : {"client_secret", "access_token", "HTTPS_PROXY"}) {
    EXPECT_EQ(named(settings, secret).value, "set");
  }
  for (const ShownSetting& setting : settings) {
    EXPECT_EQ(setting.value.find("hush"), std::string::npos) << setting.name;
    EXPECT_EQ(setting.from.find("hush"), std::string::npos) << setting.name;
  }
}

TEST(ConfigFile, ABadOneIsKeptForDoctor) {
  const support::TempDirectory folder;
  const std::string file = (folder / "config.ini").string();
  std::ofstream(file) << "[default]\nsandbax = dev\n";
  ParsedOptions options;
  options.add("config", file);
  const Environment environment = environmentOf({});
  EXPECT_THROW(Configuration(options, environment), core::Error);
  Configuration configuration(options, environment, BadFile::keep);
  ASSERT_TRUE(configuration.configFile().error);
  EXPECT_THAT(configuration.configFile().error->what(), HasSubstr("sandbox"));
  EXPECT_EQ(configuration.find("sandbox")->value, "prod") << "as if the file were empty";
}

TEST(Utf8, IsWhatTheFirstLocaleVariableSays) {
  EXPECT_TRUE(environmentOf({{"LANG", "en_US.UTF-8"}}).speaksUtf8());
  EXPECT_TRUE(environmentOf({{"LC_ALL", "C.utf8"}, {"LANG", "C"}}).speaksUtf8());
  EXPECT_FALSE(environmentOf({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}}).speaksUtf8());
  EXPECT_FALSE(environmentOf({}).speaksUtf8());
}

TEST(ProxyUse, TellsTheWayWithoutCredentials) {
  net::ProxySettings settings;
  EXPECT_EQ(net::proxyFor(settings, "https://platform.adobe.io"), std::nullopt);
  settings.httpsProxy = "http://user:hush@proxy.corp:3128";
  settings.noProxy = "internal.corp";
  EXPECT_EQ(net::proxyFor(settings, "https://platform.adobe.io"), "proxy.corp:3128");
  EXPECT_EQ(net::proxyFor(settings, "https://a.internal.corp"), std::nullopt);
  EXPECT_EQ(net::proxyFor(settings, "http://127.0.0.1:8080"), std::nullopt);
  settings.httpsProxy = "socks5://x";
  EXPECT_THROW(net::proxyFor(settings, "https://platform.adobe.io"), core::Error);
}

}  // namespace
}  // namespace caiexport::cli
