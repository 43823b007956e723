#pragma once
/// `read --schema`: which columns there are.

#include "caiexport/cli/application.h"

namespace caiexport::cli {

/// Lists columns with their types and an example, as a table, JSON or CSV.
CommandEnd runSchema(const ParsedOptions& options, Context& context);

}  // namespace caiexport::cli
