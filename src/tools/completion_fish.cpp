#include "completion.h"

namespace caiexport::tools {
namespace {

std::string fishQuoted(std::string_view text) {
  return "'" + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + "'";
}

/// The part of `complete` that tells what may follow.
std::string offered(const Program& program, const Values& values) {
  std::string words = joined(values.words, " ");
  const auto add = [&words](const std::string& more) { words += (words.empty() ? "" : " ") + more; };
  if (values.jobs) add("(_" + functionName(program) + "_jobs)");
  if (values.folders) add("(__fish_complete_directories)");
  std::string out;
  if (!words.empty()) out += " -a " + fishQuoted(words);
  if (values.files) out += " -F";
  return out;
}

std::string optionLine(const Program& program, const std::string& condition, const cli::Option& option) {
  std::string line = "complete -c " + std::string(program.name) + condition + " -l " + std::string(option.name);
  if (!option.argument.empty()) {
    const Values values = valuesOf(option);
    line += (values.files ? " -r" : " -x") + offered(program, values);
  }
  return line + " -d " + fishQuoted(shortHelp(option)) + "\n";
}

std::string commandLines(const Program& program, const cli::CommandPage& page) {
  const std::string name(page.name);
  const std::string condition = " -n '_" + functionName(program) + "_command " + name + "'";
  std::string out = "\ncomplete -c " + std::string(program.name) + " -n 'not _" + functionName(program) +
                    "_command' -a " + name + " -d " + fishQuoted(page.summary) + "\n";
  const Values arguments = argumentsOf(page);
  if (arguments.known()) {
    out += "complete -c " + std::string(program.name) + condition + offered(program, arguments) + "\n";
  }
  for (const cli::Option* option : ownOptions(program, page)) out += optionLine(program, condition, *option);
  return out;
}

std::string globalLines(const Program& program) {
  std::string out;
  for (const cli::Option* option : shownOptions(program.globalGroups)) out += optionLine(program, "", *option);
  return out;
}

constexpr std::string_view kFunctions = R"fish(
# The command on the line, or with a name: whether it is that one. Fails where there is none.
function _@FUNCTION@_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case @GLOBALS@
                set skip 1
            case '-*'
            case '*'
                test -z "$argv[1]"; or test "$argv[1]" = $word
                return
        end
    end
    return 1
end

function _@FUNCTION@_jobs
    @JOBS@ | tail -n +2
end

)fish";

}  // namespace

std::string fishCompletion(const Program& program) {
  std::string text = "# Completion for fish. Made by the build from the tables of options.\n\ncomplete -c @NAME@ -f\n";
  if (!program.commands.empty()) text += kFunctions;
  text += globalLines(program);
  for (const cli::CommandPage* page : program.commands) text += commandLines(program, *page);

  std::string globals;
  for (const cli::Option* option : shownOptions(program.globalGroups)) {
    if (!option->argument.empty()) globals += (globals.empty() ? "--" : " --") + std::string(option->name);
  }
  text = replaced(text, "@GLOBALS@", globals);
  text = replaced(text, "@FUNCTION@", functionName(program));
  text = replaced(text, "@JOBS@", jobNumbersCommand(program));
  return replaced(text, "@NAME@", program.name);
}

}  // namespace caiexport::tools
