#pragma once
/// Completion scripts.

#include <string>

#include "program.h"

namespace caiexport::tools {

std::string bashCompletion(const Program& program);
std::string zshCompletion(const Program& program);
std::string fishCompletion(const Program& program);

/// A command line that prints the numbers of the newest jobs, one a line.
std::string jobNumbersCommand(const Program& program);

/// `text` in single quotes, for bash and zsh.
std::string quoted(std::string_view text);

/// The name with what no shell function may hold replaced.
std::string functionName(const Program& program);

}  // namespace caiexport::tools
