#pragma once
/// Pages for man(1), from the tables that the programs' parsers read.

#include <string>
#include <string_view>
#include <vector>

#include "caiexport/cli/options.h"

namespace caiexport::tools {

/// What the manual tells of a program.
struct Program {
  std::string_view name;
  std::string_view summary;
  std::vector<const cli::CommandPage*> commands;  ///< None: the program only takes options.
  std::vector<cli::OptionGroup> globalGroups;     ///< Taken before a command too.
};

const Program& caiexportProgram();
const Program& simulatorProgram();

/// The options that help shows.
std::vector<const cli::Option*> shownOptions(const std::vector<cli::OptionGroup>& groups);
/// All that the command takes.
std::vector<const cli::Option*> optionsOf(const cli::CommandPage& page);

/// `text` so that roff prints it as it is.
std::string roff(std::string_view text);

/// `date` as YYYY-MM-DD.
std::string caiexportManual(std::string_view date);
std::string simulatorManual(std::string_view date);

}  // namespace caiexport::tools
