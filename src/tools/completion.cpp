#include "completion.h"

namespace caiexport::tools {

std::string jobNumbersCommand(const Program& program) {
  return std::string(program.name) +
         " history --format csv --sql 'SELECT job FROM jobs ORDER BY job DESC LIMIT 50' 2>/dev/null | tr -d '\\r'";
}

std::string quoted(std::string_view text) {
  return "'" + replaced(text, "'", "'\\''") + "'";
}

std::string functionName(const Program& program) {
  return "_" + replaced(program.name, "-", "_");
}

}  // namespace caiexport::tools
