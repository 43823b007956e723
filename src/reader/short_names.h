#pragma once
/// Names for people.

#include <string>
#include <vector>

namespace caiexport::reader {

/// Dotted paths as short as they can be told apart by: their ends.
std::vector<std::string> shortNames(const std::vector<std::string>& paths);

}  // namespace caiexport::reader
