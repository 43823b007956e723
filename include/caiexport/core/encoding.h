#pragma once
/// Text files that are not what they should be.

#include <string_view>

namespace caiexport::core {

/// What a text file is instead of plain UTF-8, for people, as the end of a sentence that begins with its name: `is
/// UTF-16`, `begins with a byte order mark`; empty for plain text.
std::string_view foreignEncoding(std::string_view text);

}  // namespace caiexport::core
