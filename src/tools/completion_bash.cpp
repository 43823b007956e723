#include "completion.h"

namespace caiexport::tools {
namespace {

std::vector<std::string_view> commandNames(const Program& program) {
  std::vector<std::string_view> names;
  for (const cli::CommandPage* page : program.commands) names.push_back(page->name);
  return names;
}

std::string dashed(const std::vector<const cli::Option*>& options, std::string_view separator) {
  std::string out;
  for (const cli::Option* option : options) {
    if (!out.empty()) out += separator;
    out.append("--").append(option->name);
  }
  return out;
}

std::vector<const cli::Option*> withValue(std::vector<const cli::Option*> options) {
  std::erase_if(options, [](const cli::Option* option) { return option->argument.empty(); });
  return options;
}

/// Sets `words`, `files` and `jobs` of the function below.
std::string assignments(const Values& values) {
  std::string out;
  if (!values.words.empty()) out += " words=" + quoted(joined(values.words, " "));
  if (values.files) out += " files=-f";
  if (values.folders) out += " files=-d";
  if (values.jobs) out += " jobs=yes";
  return out;
}

/// One branch per option with a value: `dataset:--format) words='text json' ;;`
std::string valueBranches(std::string_view command, const std::vector<const cli::Option*>& options) {
  std::string out;
  for (const cli::Option* option : withValue(options)) {
    out.append("    ").append(command).append(":--").append(option->name).append(") value=yes");
    out += assignments(valuesOf(*option)) + " ;;\n";
  }
  return out;
}

std::string argumentBranch(const cli::CommandPage& page) {
  std::string out = "      " + std::string(page.name) + ") options=" + quoted(dashed(optionsOf(page), " "));
  return out + assignments(argumentsOf(page)) + " ;;\n";
}

constexpr std::string_view kHead = R"bash(# Completion for bash. Made by the build from the tables of options.

@FUNCTION@() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  # `--format=json` comes as three words, since = is one of COMP_WORDBREAKS.
  if [[ $current == '=' ]]; then
    current=
  elif [[ $previous == '=' ]] && ((COMP_CWORD > 1)); then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi

  local command= i=1
  while ((i < COMP_CWORD)); do
    case ${COMP_WORDS[i]} in
      @GLOBALS@)
        ((i += 2))
        if [[ ${COMP_WORDS[i - 1]} == '=' ]]; then ((i += 1)); fi
        ;;
      -*) ((i += 1)) ;;
      *)
        command=${COMP_WORDS[i]}
        break
        ;;
    esac
  done

  local value= words= files= jobs= options=
  case $command:$previous in
@VALUES@  esac
  if [[ -z $value ]]; then
    case $command in
      '') words=@COMMANDS@ options=@OPTIONS@ ;;
@ARGUMENTS@    esac
    if [[ $current == -* ]]; then
      words=$options files= jobs=
    elif [[ -z $words$files$jobs ]]; then
      words=$options
    fi
  fi

  if [[ -n $jobs ]]; then words+=" $(@JOBS@ | tail -n +2)"; fi
  mapfile -t COMPREPLY < <(
    compgen -W "$words" -- "$current"
    if [[ -n $files ]]; then compgen "$files" -- "$current"; fi
  )
  # Files get a slash or quotes where they need them.
  if [[ -n $files ]]; then compopt -o filenames 2>/dev/null; fi
}

complete -F @FUNCTION@ @NAME@
)bash";

}  // namespace

std::string bashCompletion(const Program& program) {
  std::string values;
  std::string arguments;
  for (const cli::CommandPage* page : program.commands) {
    values += valueBranches(page->name, ownOptions(program, *page));
    arguments += argumentBranch(*page);
  }
  const std::vector<const cli::Option*> globals = shownOptions(program.globalGroups);
  values += valueBranches("*", globals);

  std::string text = replaced(kHead, "@FUNCTION@", functionName(program));
  text = replaced(text, "@NAME@", program.name);
  text = replaced(text, "@GLOBALS@", dashed(withValue(globals), " | "));
  text = replaced(text, "@VALUES@", values);
  text = replaced(text, "@COMMANDS@", quoted(joined(commandNames(program), " ")));
  text = replaced(text, "@OPTIONS@", quoted(dashed(globals, " ")));
  text = replaced(text, "@ARGUMENTS@", arguments);
  return replaced(text, "@JOBS@", jobNumbersCommand(program));
}

}  // namespace caiexport::tools
