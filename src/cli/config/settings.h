#pragma once
/// The table of settings: the only place that says how one is called, what it is by default and what it is for. Reading
/// them, `--help`, the manual page and the table in docs/manual.md are made from it. And the environment variables that
/// give their values.

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/cli/options.h"

namespace caiexport::cli {

/// Where a setting stands among the options of a command.
enum class OptionPlace { none, platform, global, transfer, run, workers };

/// One setting. A name is empty where there is no such way to give it.
struct SettingSpec {
  std::string_view key = {};          ///< In a profile of the config file.
  std::string_view environment = {};  ///< The variable.
  std::string_view option = {};       ///< Without the dashes.
  std::string_view fallback = {};     ///< The value if nothing gives one.
  std::string_view otherwise = {};    ///< What happens then, in words, where there is no such value.
  std::string_view help = {};         ///< What it is, for people.
  OptionPlace place = OptionPlace::none;
  std::string_view argument = {};  ///< Placeholder of the option's value.
  bool secret = false;             ///< It is one, or the way to one: never shown.
  bool command = false;            ///< It is a command to run.
};

/// All settings that have a key in the config file.
std::span<const SettingSpec> settingSpecs();

/// Error(internal) if there is no such key.
const SettingSpec& settingSpec(std::string_view key);

/// A name (key, environment) of each setting that is a secret itself.
std::vector<std::string_view> secretNames(std::string_view SettingSpec::*name);

/// The default as it is shown: its value, or what happens without one.
std::string_view defaultOf(const SettingSpec& spec);

/// Options that set how the platform is reached, those of all commands, how files are fetched and where they go, and
/// those of a run that works on jobs: the settings of that place, then what can only be given as an option.
OptionGroup platformGroup();
OptionGroup globalGroup();
OptionGroup transferGroup();
OptionGroup runGroup();
/// Of commands that make a job which several workers may do.
OptionGroup workersGroup();
/// How files are fetched alone, for commands whose --output is another one.
OptionGroup connectionGroup();

/// The rows of the table in docs/manual.md.
std::string settingRows();

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

/// The path that a setting or an option names: `~` and `~/x` are the home folder and what is in it, as in a shell,
/// which does not see what stands in a file, in a service's environment or behind `--name=`. Error(config) that names
/// `place` where there is no home, and for `~somebody`; `./~x` is a file of such a name.
std::filesystem::path pathFrom(std::string_view text, std::string_view place, const Environment& environment);

}  // namespace caiexport::cli
