#include <algorithm>

#include "completion.h"

namespace caiexport::tools {
namespace {

/// For the parts of a specification of _arguments, which colons and brackets delimit.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    if (letter == '\\' || letter == ':' || letter == '[' || letter == ']') out += '\\';
    out += letter;
  }
  return out;
}

/// The action that completes them.
std::string actionOf(const Program& program, const Values& values) {
  if (values.jobs) {
    std::string words = joined(values.words, " ");
    if (!words.empty()) words = " " + words;
    // The blank in front keeps _arguments from putting options of compadd behind the name.
    return " " + functionName(program) + "_jobs" + (values.files ? " -f" : values.folders ? " -d" : "") + words;
  }
  if (values.files) return "_files";
  if (values.folders) return "_files -/";
  if (!values.words.empty()) return "(" + joined(values.words, " ") + ")";
  return " ";
}

/// `'--format=[of the result]:text|json:(text json)'`
std::string specification(const Program& program, const cli::Option& option) {
  std::string spec = "--" + std::string(option.name);
  if (!option.argument.empty()) spec += "=";
  spec += "[" + escaped(shortHelp(option)) + "]";
  // `CERT KEY`: one more value for each further word.
  std::string_view rest = option.argument;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    spec += ":" + escaped(rest.substr(0, end)) + ":" + actionOf(program, valuesOf(option));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return quoted(spec);
}

std::string specifications(const Program& program, const std::vector<const cli::Option*>& options,
                           std::string_view indent) {
  std::string out;
  for (const cli::Option* option : options) {
    out.append(" \\\n").append(indent).append(specification(program, *option));
  }
  return out;
}

std::string commandBranch(const Program& program, const cli::CommandPage& page) {
  std::string out = "        " + std::string(page.name) + ")\n          _arguments";
  out += specifications(program, optionsOf(page), "            ");
  const Values values = argumentsOf(page);
  if (values.known()) {
    out += " \\\n            " + quoted("*:" + escaped(page.arguments) + ":" + actionOf(program, values));
  }
  return out + "\n          ;;\n";
}

constexpr std::string_view kCommands = R"zsh(#compdef @NAME@
# Completion for zsh. Made by the build from the tables of options.

# @FUNCTION@_jobs [-f|-d] [WORD...]: jobs, these words, and files or folders.
@FUNCTION@_jobs() {
  local -a numbers
  local files=
  case ${1:-} in
    -f) files=_files; shift ;;
    -d) files='_files -/'; shift ;;
  esac
  numbers=("$@" ${${(f)"$(@JOBS@)"}[2,-1]})
  compadd -a numbers
  if [[ -n $files ]]; then ${=files}; fi
}

@FUNCTION@() {
  local curcontext=$curcontext context state state_descr line
  typeset -A opt_args
  local -a commands=(@COMMANDS@
  )
  _arguments -C@GLOBALS@ \
    '1: :->command' '*:: :->arguments' && return
  case $state in
    command) _describe -t commands command commands ;;
    arguments)
      case $words[1] in
@BRANCHES@      esac
      ;;
  esac
}

@FUNCTION@ "$@"
)zsh";

constexpr std::string_view kOptionsOnly = R"zsh(#compdef @NAME@
# Completion for zsh. Made by the build from the table of options.

_arguments@GLOBALS@
)zsh";

}  // namespace

std::string zshCompletion(const Program& program) {
  std::string commands;
  std::string branches;
  for (const cli::CommandPage* page : program.commands) {
    commands += "\n    " + quoted(std::string(page->name) + ":" + escaped(page->summary));
    branches += commandBranch(program, *page);
  }
  std::string text = replaced(program.commands.empty() ? kOptionsOnly : kCommands, "@NAME@", program.name);
  text = replaced(text, "@FUNCTION@", functionName(program));
  text = replaced(text, "@JOBS@", jobNumbersCommand(program));
  text = replaced(text, "@COMMANDS@", commands);
  text = replaced(text, "@GLOBALS@", specifications(program, shownOptions(program.globalGroups), "    "));
  return replaced(text, "@BRANCHES@", branches);
}

}  // namespace caiexport::tools
