#pragma once
/// A config file: profiles of `key = value` lines.

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::cli {

/// Keys and values of one profile.
using Profile = std::map<std::string, std::string, std::less<>>;

struct IniRules {
  std::span<const std::string_view> keys;     ///< What may be set.
  std::span<const std::string_view> secrets;  ///< A file that sets one of these must be for its owner alone.
};

/// All profiles of a file by name. Strict: a line that is not a comment (`;`), a `[profile]` or `key = value`, an
/// unknown key, a key or profile given twice, and a file that holds a secret and is readable by others are
/// Error(config).
std::map<std::string, Profile, std::less<>> readIniFile(const std::filesystem::path& file, const IniRules& rules);

}  // namespace caiexport::cli
