#pragma once
/// `~` in paths.

#include <filesystem>
#include <string_view>

#include "environment.h"

namespace caiexport::cli {

/// The path that a setting or an option names: `~` and `~/x` are the home folder and what is in it, as in a shell,
/// which does not see what stands in a file, in a service's environment or behind `--name=`. Error(config) that names
/// `place` where there is no home, and for `~somebody`; `./~x` is a file of such a name.
std::filesystem::path pathFrom(std::string_view text, std::string_view place, const Environment& environment);

}  // namespace caiexport::cli
