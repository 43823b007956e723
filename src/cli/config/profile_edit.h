#pragma once
/// Changing one profile of a config file, and nothing else in it.

#include <span>
#include <string>
#include <string_view>

#include "ini_file.h"

namespace caiexport::cli {

/// The file's text with these keys of the profile set, and those of `removed` gone. Other profiles, other keys,
/// comments and blank lines stay as they are. A profile that is not there yet is added at the end.
std::string withProfile(std::string_view text, std::string_view profile, const Profile& set,
                        std::span<const std::string_view> removed);

/// Error(usage) for a name that can't stand in [brackets] or would be odd on a command line.
void requireProfileName(std::string_view name);

/// Error(config) that names `key`, but does not show the value, if the value would not come back from the file.
void requireWritableValue(std::string_view key, std::string_view value);

}  // namespace caiexport::cli
