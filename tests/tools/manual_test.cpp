#include "tools/manual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "caiexport/cli/application.h"
#include "caiexport/core/text.h"
#include "cli/config/settings.h"
#include "simulator/options.h"

namespace caiexport::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// The part of a page from `begin` to the next title of that kind.
std::string partOf(const std::string& page, const std::string& begin, const std::string& kind) {
  const std::size_t at = page.find(begin);
  if (at == std::string::npos) return {};
  return page.substr(at, page.find("\n" + kind, at + 1) - at);
}

/// The page with its lines joined: where a paragraph is broken does not matter.
std::string inOneLine(const std::string& page) {
  std::string text = page;
  std::ranges::replace(text, '\n', ' ');
  return text;
}

std::string itemOf(const cli::Option& option) {
  return "\\fB" + roff("--" + std::string(option.name)) + "\\fR";
}

TEST(Manual, HasEveryCommandWithItsDescriptionAndOptions) {
  const std::string page = caiexportManual("2026-01-02");
  const std::string shared = partOf(page, ".SH \"OPTIONS OF SEVERAL COMMANDS\"", ".SH");
  ASSERT_GE(caiexportProgram().commands.size(), 9U);
  for (const cli::CommandPage* command : caiexportProgram().commands) {
    // Its arguments follow the name, or the closing mark: "segments" begins with "segment".
    const std::string title = ".SS \"caiexport " + roff(command->name);
    std::string part = partOf(page, title + " ", ".S");
    if (part.empty()) part = partOf(page, title + "\"", ".S");
    EXPECT_THAT(inOneLine(part), HasSubstr(inOneLine(roff(command->description)))) << command->name;
    const std::string with = inOneLine(part + shared);
    for (const cli::Option* option : optionsOf(*command)) {
      EXPECT_THAT(with, AllOf(HasSubstr(itemOf(*option)), HasSubstr(inOneLine(roff(option->help)))))
          << command->name << " --" << option->name;
    }
  }
}

TEST(Manual, HasWhatTheHelpTextsHave) {
  const std::string page = caiexportManual("2026-01-02");
  for (const cli::Command& command : cli::commands()) {
    const std::string help = cli::helpText(command.page());
    for (std::size_t at = help.find("\n  --"); at != std::string::npos; at = help.find("\n  --", at + 1)) {
      const std::string name = help.substr(at + 3, help.find_first_of(" \n", at + 3) - at - 3);
      EXPECT_THAT(page, HasSubstr("\\fB" + roff(name) + "\\fR")) << command.page().name;
    }
  }
}

TEST(Manual, HasEverySettingAndExitCode) {
  const std::string page = caiexportManual("2026-01-02");
  const std::string line = inOneLine(page);
  for (const cli::SettingSpec& setting : cli::settingSpecs()) {
    EXPECT_THAT(line, AllOf(HasSubstr("\\fB" + roff(setting.key) + "\\fR"),
                            HasSubstr("Environment " + roff(setting.environment))));
  }
  const std::string codes = partOf(page, ".SH \"EXIT STATUS\"", ".SH");
  for (const cli::Command& command : cli::commands()) {
    for (const int code : command.page().exitCodes) {
      EXPECT_THAT(codes, HasSubstr("\\fB" + std::to_string(code) + "\\fR\n"));
    }
  }
}

/// The table in docs/manual.md is the one of the code. To mend it: put the printed rows in its place.
TEST(Manual, HasTheTableOfSettings) {
  std::ifstream file(CAIEXPORT_MANUAL);
  const std::string manual(std::istreambuf_iterator<char>(file), {});
  ASSERT_THAT(manual, HasSubstr("| key in the profile |"));
  EXPECT_THAT(manual, HasSubstr("| --- |\n" + cli::settingRows())) << cli::settingRows();
}

/// Of the manual and of the page that has the options' texts.
TEST(Manual, ShowsNoDurationThatIsNotRead) {
  std::ifstream file(CAIEXPORT_MANUAL);
  const std::string text = std::string(std::istreambuf_iterator<char>(file), {}) + caiexportManual("2026-01-02");
  const std::regex shown(R"((?:^|[\s`\[(=])([0-9]+(?:\.[0-9]+)?[a-z]{1,2})(?=[\s`\]),.;|]))");
  std::set<std::string> durations;
  for (std::sregex_iterator at(text.begin(), text.end(), shown), end; at != end; ++at) durations.insert((*at)[1]);
  EXPECT_THAT(durations, testing::IsSupersetOf({"50ms", "45s", "10m", "2h", "7d"}));
  for (const std::string& duration : durations) EXPECT_TRUE(core::parseDuration(duration)) << duration;
}

TEST(Manual, OfTheSimulatorHasEveryOptionAndScenario) {
  const std::string page = simulatorManual("2026-01-02");
  for (const simulator::OptionText& option : simulator::optionTexts()) {
    EXPECT_THAT(page, HasSubstr("\\fB" + roff("--" + std::string(option.name)) + "\\fR"));
    EXPECT_THAT(simulator::helpText(), HasSubstr("  --" + std::string(option.name) + " "));
  }
  for (const simulator::BuiltinScenario& scenario : simulator::builtinScenarios()) {
    EXPECT_THAT(page, HasSubstr("\\fB" + roff(scenario.name) + "\\fR\n"));
  }
}

TEST(Manual, IsTheSameEachTime) {
  EXPECT_EQ(caiexportManual("2026-01-02"), caiexportManual("2026-01-02"));
  EXPECT_THAT(caiexportManual("2026-01-02"), HasSubstr("\"2026-01-02\""));
}

TEST(Roff, PrintsTextAsItIs) {
  EXPECT_EQ(roff("a-b \\n"), "a\\-b \\en");
  EXPECT_EQ(roff(".TH x\n'x"), "\\&.TH x\n\\&\\(aqx");
  EXPECT_EQ(roff("a,b, c"), "a,\\:b, c");
  EXPECT_EQ(roff("→ é 😀"), "\\[u2192] \\[u00E9] \\[u1F600]");
}

}  // namespace
}  // namespace caiexport::tools
