#pragma once
/// --format and --output say one thing.

#include <span>
#include <string>
#include <string_view>

namespace caiexport::cli {

class ParsedOptions;

/// As wordOption(), but the ending of --output tells which word where `name` was not given. Error(usage) where the two
/// contradict each other, and for an ending that no word is for.
std::string formatFor(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words);

}  // namespace caiexport::cli
