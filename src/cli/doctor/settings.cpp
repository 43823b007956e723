/// Settings as `doctor` shows them.

#include "caiexport/core/text.h"
#include "doctor.h"

namespace caiexport::cli {
namespace {

/// What a setting that is nowhere comes to.
std::string computedDefault(Configuration& configuration, std::string_view key) {
  try {
    if (key == "database") return configuration.database().string();
    if (key == "output") return std::filesystem::current_path().string();
  } catch (const std::exception&) {
    // The check of the same name says why.
  }
  return {};
}

ShownSetting shown(Configuration& configuration, const SettingSpec& spec) {
  ShownSetting setting;
  setting.name = spec.key;
  if (const std::optional<Setting> found = configuration.find(spec.key)) {
    // A command may name an address that is as good as a password.
    setting.value = spec.secret || spec.key == "on_end" ? "set" : found->value;
    setting.from = found->place;
    setting.inProfile = found->origin == Origin::profile;
  } else {
    setting.value = computedDefault(configuration, spec.key);
    if (!setting.value.empty()) setting.from = "default";
  }
  return setting;
}

ShownSetting named(const std::string& name, const std::string& value, const std::string& from) {
  ShownSetting setting;
  setting.name = name;
  setting.value = value;
  setting.from = from;
  return setting;
}

/// A proxy's address may hold a password.
ShownSetting shownProxy(const Environment& environment) {
  for (const char* name : {"HTTPS_PROXY", "https_proxy"}) {
    if (environment.get(name)) return named("HTTPS_PROXY", "set", name);
  }
  return named("HTTPS_PROXY", "", "");
}

ShownSetting shownNoProxy(const Environment& environment) {
  for (const char* name : {"NO_PROXY", "no_proxy"}) {
    if (const auto value = environment.get(name)) return named("NO_PROXY", *value, name);
  }
  return named("NO_PROXY", "", "");
}

}  // namespace

std::vector<ShownSetting> shownSettings(Configuration& configuration, const Environment& environment) {
  const ConfigFile& file = configuration.configFile();
  std::vector<ShownSetting> settings;
  settings.push_back(named("config", file.file.string(), file.fileFrom));
  settings.push_back(named("profile", file.profile, file.profileFrom));
  for (const SettingSpec& spec : settingSpecs()) settings.push_back(shown(configuration, spec));
  settings.push_back(shownProxy(environment));
  settings.push_back(shownNoProxy(environment));
  return settings;
}

}  // namespace caiexport::cli
