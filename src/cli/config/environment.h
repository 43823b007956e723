#pragma once
/// The process's surroundings, as an argument, and paths below the home folder that they name.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace caiexport::cli {

/// Environment variables; an empty one counts as not set.
class Environment {
 public:
  using Lookup = std::function<std::optional<std::string>(std::string_view name)>;
  explicit Environment(Lookup lookup) : lookup_(std::move(lookup)) {}

  std::optional<std::string> get(std::string_view name) const;
  /// A folder by the XDG Base Directory Specification: the variable if it holds an absolute path (others are to be
  /// ignored), else `below` under HOME; nothing if there is no home either.
  std::optional<std::filesystem::path> xdgFolder(std::string_view variable, std::string_view below) const;
  /// Whether the locale's characters are UTF-8.
  bool speaksUtf8() const;
  /// Whether the locale writes 0,5 (then Excel parts the fields of a CSV file by semicolons). By its name, since the
  /// locale itself need not be installed where files are made for others.
  bool writesDecimalCommas() const;

 private:
  Lookup lookup_;
};

/// The process's own.
const Environment& processEnvironment();

// `~` in paths.

/// The path that a setting or an option names: `~` and `~/x` are the home folder and what is in it, as in a shell,
/// which does not see what stands in a file, in a service's environment or behind `--name=`. Error(config) that names
/// `place` where there is no home, and for `~somebody`; `./~x` is a file of such a name.
std::filesystem::path pathFrom(std::string_view text, std::string_view place, const Environment& environment);

}  // namespace caiexport::cli
