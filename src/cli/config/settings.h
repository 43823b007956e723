#pragma once
/// The table of settings: the only place that says how one is called, what it is by default and what it is for. Reading
/// them, `--help`, the manual page and the table in docs/manual.md are made from it.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/cli/options.h"

namespace caiexport::cli {

/// Where a setting stands among the options of a command.
enum class OptionPlace { none, platform, global, transfer, run };

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

/// The rows of the table in docs/manual.md.
std::string settingRows();

}  // namespace caiexport::cli
