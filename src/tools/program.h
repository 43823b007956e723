#pragma once
/// What the manual tells of a program, taken from the tables that its parser reads.

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

/// The options that help shows.
std::vector<const cli::Option*> shownOptions(const std::vector<cli::OptionGroup>& groups);
/// All that the command takes.
std::vector<const cli::Option*> optionsOf(const cli::CommandPage& page);

std::string joined(const std::vector<std::string_view>& words, std::string_view separator);

}  // namespace caiexport::tools
