#include "program.h"

#include <algorithm>

#include "caiexport/cli/application.h"
#include "simulator/options.h"

namespace caiexport::tools {
namespace {

constexpr std::string_view kBetweenWords = " |[](),.";

std::vector<std::string_view> piecesOf(std::string_view placeholder, std::string_view separators) {
  std::vector<std::string_view> pieces;
  while (!placeholder.empty()) {
    const std::size_t end = std::min(placeholder.find_first_of(separators), placeholder.size());
    if (end > 0) pieces.push_back(placeholder.substr(0, end));
    placeholder.remove_prefix(std::min(end + 1, placeholder.size()));
  }
  return pieces;
}

/// Placeholders are upper case; what is to be typed as it stands is not.
bool isLiteral(std::string_view piece) {
  return std::ranges::none_of(piece, [](char letter) { return letter >= 'A' && letter <= 'Z'; });
}

void takeFileKinds(const std::vector<std::string_view>& pieces, Values& values) {
  values.files = std::ranges::any_of(pieces, [](std::string_view piece) { return piece == "FILE" || piece == "PATH"; });
  values.folders = !values.files && std::ranges::find(pieces, "DIR") != pieces.end();
}

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

Values valuesOf(const cli::Option& option) {
  Values values;
  const auto pieces = piecesOf(option.argument, "|");
  if (pieces.size() > 1 && std::ranges::all_of(pieces, isLiteral)) {
    values.words = pieces;
  } else {
    takeFileKinds(piecesOf(option.argument, kBetweenWords), values);
  }
  return values;
}

Values argumentsOf(const cli::CommandPage& page) {
  Values values;
  if (page.arguments.starts_with("--")) return values;
  const auto pieces = piecesOf(page.arguments, kBetweenWords);
  takeFileKinds(pieces, values);
  values.jobs = std::ranges::find(pieces, "JOB") != pieces.end();
  for (const std::string_view piece : pieces) {
    if (isLiteral(piece) && !piece.starts_with("-")) values.words.push_back(piece);
  }
  return values;
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

std::vector<const cli::Option*> ownOptions(const Program& program, const cli::CommandPage& page) {
  const std::vector<const cli::Option*> globals = shownOptions(program.globalGroups);
  std::vector<const cli::Option*> own = shownOptions(page.groups);
  std::erase_if(own, [&](const cli::Option* option) {
    return std::ranges::any_of(globals, [&](const cli::Option* other) { return other->name == option->name; });
  });
  return own;
}

std::string_view shortHelp(const cli::Option& option) {
  std::string_view help = option.help;
  if (help.ends_with("]")) help = help.substr(0, help.rfind('['));
  while (help.ends_with(' ')) help.remove_suffix(1);
  return help;
}

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t found = std::min(text.find(what, at), text.size());
    out.append(text.substr(at, found - at));
    if (found < text.size()) out += with;
    at = found + what.size();
  }
  return out;
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
