#pragma once
/// Config files: reading all profiles, and changing one of them and nothing else.

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
  std::span<const std::string_view> secrets;  ///< A file that sets one of these must be readable by its owner only.
};

/// All profiles of a file by name. Strict: a line that is not a comment (`;`), a `[profile]` or `key = value`, an
/// unknown key, a key or profile given twice, and a file that holds a secret and is readable by others are
/// Error(config).
std::map<std::string, Profile, std::less<>> readIniFile(const std::filesystem::path& file, const IniRules& rules);

// Changing one profile of a config file, and nothing else in it.

/// The file's text with these keys of the profile set, and those of `removed` gone. Other profiles, other keys,
/// comments and blank lines stay as they are. A profile that is not there yet is added at the end.
std::string withProfile(std::string_view text, std::string_view profile, const Profile& set,
                        std::span<const std::string_view> removed);

/// Error(usage) for a name that can't stand in [brackets] or would be odd on a command line.
void requireProfileName(std::string_view name);

/// Error(config) that names `key`, but does not show the value, if the value would not come back from the file.
void requireWritableValue(std::string_view key, std::string_view value);

}  // namespace caiexport::cli
