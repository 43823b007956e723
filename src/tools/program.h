#pragma once
/// What the manual and the completions tell of a program, taken from the tables that its parser reads.

#include <string>
#include <string_view>
#include <vector>

#include "caiexport/cli/options.h"

namespace caiexport::tools {

struct Program {
  std::string_view name;
  std::string_view summary;
  std::vector<const cli::CommandPage*> commands;  ///< None: the program only takes options.
  std::vector<cli::OptionGroup> globalGroups;     ///< Taken before a command too.
};

const Program& caiexportProgram();
const Program& simulatorProgram();

/// How the value of an option, or a command's plain argument, can be completed.
struct Values {
  std::vector<std::string_view> words;  ///< One of these.
  bool files = false;
  bool folders = false;
  bool jobs = false;  ///< The number of a job in the user's record.

  bool known() const { return !words.empty() || files || folders || jobs; }
};

/// From the placeholder: `text|json`, `FILE`, `DIR`, ...
Values valuesOf(const cli::Option& option);
/// From `JOB|PATH...`, `JOB|DIR`, ...
Values argumentsOf(const cli::CommandPage& page);

/// The options that help shows.
std::vector<const cli::Option*> shownOptions(const std::vector<cli::OptionGroup>& groups);
/// All that the command takes.
std::vector<const cli::Option*> optionsOf(const cli::CommandPage& page);

/// Those of the page that are not global.
std::vector<const cli::Option*> ownOptions(const Program& program, const cli::CommandPage& page);

/// An option's help without the default at its end.
std::string_view shortHelp(const cli::Option& option);

/// `text` with every `what` in it replaced.
std::string replaced(std::string_view text, std::string_view what, std::string_view with);
std::string joined(const std::vector<std::string_view>& words, std::string_view separator);

}  // namespace caiexport::tools
