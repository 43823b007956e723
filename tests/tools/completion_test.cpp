#include "tools/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caiexport::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The lines that tell of one command: from a line that holds `begin` to the next one that holds `end`.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  return text.substr(at, text.find(end, at + begin.size()) - at);
}

TEST(Completion, ForBashKnowsEveryCommandAndOption) {
  const std::string text = bashCompletion(caiexportProgram());
  for (const cli::CommandPage* page : caiexportProgram().commands) {
    const std::string line = between(text, "\n      " + std::string(page->name) + ") options=", "\n");
    for (const cli::Option* option : optionsOf(*page)) {
      EXPECT_THAT(line + " ", testing::ContainsRegex("--" + std::string(option->name) + "[ ']")) << page->name;
    }
  }
}

TEST(Completion, ForZshKnowsEveryCommandAndOption) {
  const std::string text = zshCompletion(caiexportProgram());
  for (const cli::CommandPage* page : caiexportProgram().commands) {
    EXPECT_THAT(text, HasSubstr("\n    '" + std::string(page->name) + ":"));
    const std::string part = between(text, "\n        " + std::string(page->name) + ")\n", ";;");
    for (const cli::Option* option : optionsOf(*page)) {
      const std::string name = "'--" + std::string(option->name) + (option->argument.empty() ? "[" : "=[");
      EXPECT_THAT(part, HasSubstr(name)) << page->name;
    }
  }
}

TEST(Completion, ForFishKnowsEveryCommandAndOption) {
  const std::string text = fishCompletion(caiexportProgram());
  for (const cli::CommandPage* page : caiexportProgram().commands) {
    const std::string name(page->name);
    EXPECT_THAT(text, HasSubstr("-a " + name + " -d "));
    for (const cli::Option* option : optionsOf(*page)) {
      const std::string own = "complete -c caiexport -n '__caiexport_command " + name + "' -l ";
      const std::string everywhere = "complete -c caiexport -l ";
      EXPECT_THAT(text, testing::AnyOf(HasSubstr(own + std::string(option->name) + " "),
                                       HasSubstr(everywhere + std::string(option->name) + " ")))
          << name;
    }
  }
}

TEST(Completion, OfTheSimulatorKnowsEveryOption) {
  const Program& program = simulatorProgram();
  for (const cli::Option* option : shownOptions(program.globalGroups)) {
    const std::string name(option->name);
    EXPECT_THAT(bashCompletion(program), testing::ContainsRegex("--" + name + "[ ']"));
    EXPECT_THAT(zshCompletion(program), testing::ContainsRegex("'--" + name + "=?\\["));
    EXPECT_THAT(fishCompletion(program), HasSubstr(" -l " + name + " "));
  }
}

TEST(Values, ComeFromThePlaceholder) {
  EXPECT_THAT(valuesOf({"format", "text|json"}).words, ElementsAre("text", "json"));
  EXPECT_TRUE(valuesOf({"output", "DIR"}).folders);
  EXPECT_TRUE(valuesOf({"scenario", "FILE|NAME"}).files);
  for (const char* free : {"", "N", "ID[:VERSION]", "SELECT", "DURATION"}) {
    EXPECT_FALSE(valuesOf({"other", free}).known()) << free;
  }
}

TEST(Values, OfArgumentsComeFromTheUsageLine) {
  const auto of = [](std::string_view arguments) {
    cli::CommandPage page;
    page.arguments = arguments;
    return argumentsOf(page);
  };
  EXPECT_TRUE(of("JOB|PATH...").jobs && of("JOB|PATH...").files);
  EXPECT_TRUE(of("JOB|DIR").jobs && of("JOB|DIR").folders);
  EXPECT_TRUE(of("JOB|--last|--all").jobs);
  EXPECT_THAT(of("JOB|--last|--all").words, IsEmpty());
  EXPECT_FALSE(of("--id ID").known());
  EXPECT_THAT(of("[diff JOB JOB | prune]").words, ElementsAre("diff", "prune"));
}

TEST(ShortHelp, LeavesTheDefaultOut) {
  EXPECT_EQ(shortHelp({"format", "text|json", "of the result [text]"}), "of the result");
  EXPECT_EQ(shortHelp({"all", "", "all batches"}), "all batches");
}

TEST(Replaced, TakesEveryPlace) {
  EXPECT_EQ(replaced("a@b@", "@", "--"), "a--b--");
  EXPECT_EQ(replaced("", "@", "x"), "");
}

}  // namespace
}  // namespace caiexport::tools
