#include "program.h"

#include <algorithm>

#include "caiexport/cli/application.h"
#include "simulator/options.h"

namespace caiexport::tools {
namespace {

std::vector<cli::Option> optionsOfSimulator() {
  std::vector<cli::Option> options;
  for (const simulator::OptionText& text : simulator::optionTexts()) {
    options.push_back({text.name, text.argument, text.help});
  }
  return options;
}

Program makeCaiexport() {
  Program program;
  program.name = "caiexport";
  program.summary = "export Customer AI scores from Adobe Experience Platform";
  for (const cli::Command& command : cli::commands()) program.commands.push_back(&command.page());
  program.globalGroups.assign(cli::globalGroups().begin(), cli::globalGroups().end());
  return program;
}

Program makeSimulator() {
  static const std::vector<cli::Option> options = optionsOfSimulator();
  Program program;
  program.name = "caiexport-simulator";
  program.summary = "a local platform to try and test caiexport against";
  program.globalGroups.push_back({"Options", options});
  return program;
}

}  // namespace

const Program& caiexportProgram() {
  static const Program program = makeCaiexport();
  return program;
}

const Program& simulatorProgram() {
  static const Program program = makeSimulator();
  return program;
}

std::vector<const cli::Option*> shownOptions(const std::vector<cli::OptionGroup>& groups) {
  std::vector<const cli::Option*> shown;
  for (const cli::OptionGroup& group : groups) {
    for (const cli::Option& option : group.options) {
      const bool known = std::ranges::any_of(shown, [&](const auto* other) { return other->name == option.name; });
      if (!option.hidden && !known) shown.push_back(&option);
    }
  }
  return shown;
}

std::vector<const cli::Option*> optionsOf(const cli::CommandPage& page) {
  return shownOptions(page.groups);
}

std::string joined(const std::vector<std::string_view>& words, std::string_view separator) {
  std::string out;
  for (const std::string_view word : words) {
    if (!out.empty()) out += separator;
    out += word;
  }
  return out;
}

}  // namespace caiexport::tools
