#pragma once

#include <string>

namespace caiexport::reader {

/// Loads the module and asks which DuckDB it came with, e.g. `v1.4.4`. Error(io) as openReader().
std::string engineVersion();

}  // namespace caiexport::reader
