#include "config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "caiexport/cli/options.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/shell_command.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "settings.h"
#include "share_key.h"

namespace caiexport::cli {

namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

/// What an option says wrong is usage; what a file or the environment says wrong is configuration. Both are exit 2.
[[noreturn]] void throwBad(const Setting& setting, const std::string& what) {
  throw Error(setting.origin == Origin::option ? Category::usage : Category::config, setting.place + ": " + what);
}

void requireHeaderSafe(const Setting& setting) {
  constexpr std::size_t kLongest = 512;
  const bool fine = !setting.value.empty() && setting.value.size() <= kLongest &&
                    std::ranges::all_of(setting.value, [](char c) { return c > ' ' && c < 0x7f; });
  if (!fine)
    throwBad(setting, "'" + core::printable(setting.value, 80) + "' is empty, or holds blanks or special characters");
}

/// What it names is run: only its owner, who is we or root, may have written it.
void requireOwnFile(const fs::path& file, const std::string& place) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) core::throwIoError("look at", file, errno);
  const bool ours = facts.st_uid == ::geteuid() || facts.st_uid == 0;
  if (ours && (facts.st_mode & (S_IWGRP | S_IWOTH)) == 0) return;
  throw Error(Category::config, place + " is a command, but other users can write to this file",
              {.hint = "chmod go-w " + core::printable(file.string())});
}

/// What the setting says, with the home folder for `~`.
fs::path pathOf(const Setting& setting, const Environment& environment) {
  try {
    return pathFrom(setting.value, setting.place, environment);
  } catch (const Error& error) {
    if (setting.origin != Origin::option) throw;
    throwUsage(error.what(), error.hint());
  }
}

core::Secret readSecretFile(const Setting& setting, const Environment& environment) {
  constexpr std::uint64_t kMostBytes = 64U << 10U;
  const fs::path file = pathOf(setting, environment);
  std::string text;
  try {
    text = core::readFile(file, kMostBytes);
  } catch (const Error& error) {
    throw Error(Category::config, setting.place + ": " + error.what(), {.hint = error.hint()});
  }
  core::Secret whole(std::move(text));
  std::string_view line = whole.reveal();
  if (const std::string_view encoding = core::foreignEncoding(line); !encoding.empty()) {
    throwBad(setting, "the file " + core::printable(setting.value) + " " + std::string(encoding) +
                          "; save it as UTF-8 without a byte order mark");
  }
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  core::Secret secret{std::string(line)};
  if (secret.empty()) throwBad(setting, "the file " + core::printable(setting.value) + " is empty");
  return secret;
}

void requireSecretShape(const core::Secret& secret, const std::string& place) {
  const bool fine = std::ranges::all_of(secret.reveal(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!fine) throw Error(Category::config, place + " holds blanks, line ends or special characters");
}

/// The first line that the command prints. What it prints is shown nowhere: with an error, too, it may hold a secret.
core::Secret secretFrom(const Setting& command) {
  constexpr core::Duration kTime = std::chrono::seconds(60);
  const core::ShellEnd end =
      core::runShellCommand({.command = command.value, .keepOutput = true, .timeout = kTime}, {});
  if (end.kind != core::ShellEnd::Kind::exited || end.code != 0) {
    throw Error(Category::config, command.place + ": the command failed: " + core::describe(end, kTime),
                {.hint = "run it by hand to see what it says"});
  }
  const std::string_view text = end.output.reveal();
  std::string_view line = text.substr(0, text.find('\n'));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  core::Secret secret{std::string(line)};
  if (secret.empty()) {
    throw Error(Category::config, command.place + ": the first line of what the command printed is empty",
                {.hint = "it must print the client secret on its first line"});
  }
  requireSecretShape(secret, "what " + command.place + " printed");
  return secret;
}

fs::path absolutePath(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  if (error) core::throwIoError("find the place of", path, error.value());
  return whole.lexically_normal();
}

}  // namespace

std::map<std::string, Profile, std::less<>> readConfigFile(const fs::path& file) {
  std::vector<std::string_view> keys;
  for (const SettingSpec& spec : settingSpecs()) keys.push_back(spec.key);
  const std::vector<std::string_view> secrets = secretNames(&SettingSpec::key);
  return readIniFile(file, {.keys = keys, .secrets = secrets});
}

Configuration::Configuration(const ParsedOptions& options, const Environment& environment, BadFile badFile)
    : options_(options), environment_(environment), badFile_(badFile) {
  // Named outright, it must be good even if nothing in it is needed.
  if (options_.has("config") || options_.has("profile")) loadProfile();
}

const Profile& Configuration::profile() {
  if (!profile_) loadProfile();
  return *profile_;
}

const ConfigFile& Configuration::configFile() {
  profile();
  return configFile_;
}

void Configuration::loadProfile() {
  profile_.emplace();
  try {
    findProfile();
  } catch (const Error& error) {
    if (badFile_ == BadFile::refuse) throw;
    configFile_.error = error;
  }
}

void Configuration::findProfile() {
  const auto namedFile = options_.has("config") ? options_.value("config") : environment_.get("CAIEXPORT_CONFIG");
  const auto namedProfile = options_.has("profile") ? options_.value("profile") : environment_.get("CAIEXPORT_PROFILE");
  configFile_.profile = namedProfile.value_or("default");
  configFile_.profileFrom = options_.has("profile") ? "--profile" : namedProfile ? "CAIEXPORT_PROFILE" : "default";
  configFile_.fileFrom = options_.has("config") ? "--config" : namedFile ? "CAIEXPORT_CONFIG" : "default";
  if (namedFile && namedFile->empty()) throwUsage("--config: the name of the file is empty");

  fs::path& file = configFile_.file;
  if (namedFile) {
    file = absolutePath(pathFrom(*namedFile, configFile_.fileFrom, environment_));
  } else if (const auto folder = environment_.xdgFolder("XDG_CONFIG_HOME", ".config")) {
    file = *folder / "caiexport" / "config.ini";
  }
  std::error_code ignored;
  configFile_.there = !file.empty() && fs::exists(file, ignored);
  if (!configFile_.there && !namedFile) {
    if (!namedProfile) return;
    throw Error(Category::config,
                "there is no config file to take the profile '" + core::printable(configFile_.profile) + "' from" +
                    (file.empty() ? "" : ": " + core::printable(file.string())),
                {.hint = "name one with --config"});
  }

  auto profiles = readConfigFile(file);
  if (const auto found = profiles.find(configFile_.profile); found != profiles.end()) {
    profile_ = std::move(found->second);
    configFile_.hasProfile = true;
    return;
  }
  std::vector<std::string_view> names;
  for (const auto& [name, values] : profiles) {
    names.push_back(name);
    otherProfiles_.append(otherProfiles_.empty() ? "" : ", ").append(core::printable(name, 60));
  }
  if (!namedProfile) return;
  throw Error(Category::config,
              "the config file " + core::printable(file.string()) + " has no profile '" +
                  core::printable(configFile_.profile, 60) + "'" + didYouMean(configFile_.profile, names),
              {.hint = otherProfiles_.empty() ? "it has none at all" : "it has: " + otherProfiles_});
}

std::optional<Setting> Configuration::find(std::string_view key) {
  const SettingSpec& spec = settingSpec(key);
  if (!spec.option.empty() && options_.has(spec.option)) {
    return Setting{*options_.value(spec.option), Origin::option, "--" + std::string(spec.option)};
  }
  if (const auto value = environment_.get(spec.environment)) {
    return Setting{*value, Origin::environment, std::string(spec.environment)};
  }
  const Profile& values = profile();
  if (const auto found = values.find(key); found != values.end() && !found->second.empty()) {
    return Setting{found->second, Origin::profile,
                   std::string(key) + " in [" + core::printable(configFile_.profile) + "] of " +
                       core::printable(configFile_.file.string())};
  }
  if (spec.fallback.empty()) return std::nullopt;
  return Setting{std::string(spec.fallback), Origin::fallback, "default"};
}

std::string Configuration::required(std::string_view key) {
  const std::optional<Setting> setting = find(key);
  if (!setting) throw Error(Category::config, std::string(key) + " is not set");
  requireHeaderSafe(*setting);
  return setting->value;
}

core::Duration Configuration::duration(std::string_view key, core::Duration least, core::Duration most) {
  const Setting setting = *find(key);
  const std::optional<core::Duration> value = core::parseDuration(setting.value);
  if (!value) throwBad(setting, notADuration(setting.value));
  if (*value < least || *value > most) {
    throwBad(setting, "'" + core::printable(setting.value, 40) + "' is not between " + core::formatDuration(least) +
                          " and " + core::formatDuration(most));
  }
  return *value;
}

std::optional<std::uint64_t> Configuration::number(std::string_view key, std::uint64_t least, std::uint64_t most) {
  const std::optional<Setting> setting = find(key);
  if (!setting) return std::nullopt;
  const std::optional<std::uint64_t> value = core::parseUnsigned(setting->value);
  if (!value || *value < least || *value > most) throwBad(*setting, notInRange(setting->value, least, most));
  return value;
}

std::string Configuration::url(std::string_view key) {
  const Setting setting = *find(key);
  try {
    return checkedBaseUrl(setting.value, setting.place);
  } catch (const Error& error) {
    if (setting.origin != Origin::option) throw;
    throwUsage(error.what(), error.hint());
  }
}

std::optional<core::Secret> Configuration::secret(std::string_view key, std::string_view fileKey) {
  const std::optional<Setting> direct = find(key);
  const std::optional<Setting> file = find(fileKey);
  if (direct && file && direct->origin == file->origin) {
    throw Error(Category::config, "both " + direct->place + " and " + file->place + " are set; keep one");
  }
  if (!direct && !file) return std::nullopt;
  const bool useFile = !direct || (file && file->origin < direct->origin);
  core::Secret secret = useFile ? readSecretFile(*file, environment_) : core::Secret(direct->value);
  requireSecretShape(secret, useFile ? file->place : direct->place);
  return secret;
}

std::optional<Setting> Configuration::command(std::string_view key) {
  std::optional<Setting> setting = find(key);
  if (setting && setting->origin == Origin::profile && configFile_.there)
    requireOwnFile(configFile_.file, setting->place);
  return setting;
}

/// From the nearest place that has one: itself, a file with it, or a command that prints it.
std::optional<core::Secret> Configuration::clientSecret() {
  const std::optional<Setting> command = this->command("secret_command");
  if (!command) return secret("client_secret", "client_secret_file");
  for (const std::string_view key : {"client_secret", "client_secret_file"}) {
    const std::optional<Setting> other = find(key);
    if (!other || other->origin > command->origin) continue;
    if (other->origin < command->origin) return secret("client_secret", "client_secret_file");
    throw Error(Category::config, "both " + command->place + " and " + other->place + " are set; keep one");
  }
  return secretFrom(*command);
}

void Configuration::requirePresent(bool haveToken) {
  std::string missing;
  const auto need = [&](bool present, std::string_view key) {
    if (present) return;
    missing.append(missing.empty() ? "" : ", ").append(settingSpec(key).environment);
  };
  need(find("client_id").has_value(), "client_id");
  need(haveToken, "client_secret");
  need(find("org_id").has_value(), "org_id");
  if (missing.empty()) return;
  std::string hint =
      "caiexport configure asks for them; or set them in the environment, or in lower case without CAIEXPORT_ in [" +
      core::printable(configFile_.profile) + "] of " +
      (configFile_.file.empty() ? "a config file" : core::printable(configFile_.file.string()));
  if (!otherProfiles_.empty()) hint += "; that file has the profiles " + otherProfiles_ + " (--profile)";
  throw Error(Category::config, "missing settings: " + missing, {.hint = hint});
}

core::RetryPolicy Configuration::retryPolicy() {
  core::RetryPolicy policy;
  policy.firstWait = duration("retry_wait", core::Duration(0), std::chrono::hours(1));
  if (const auto tries = numberOption(options_, "retries", 0, 1000)) policy.furtherTries = static_cast<int>(*tries);
  return policy;
}

void PlatformSettings::stamp(model::ExportRequest& request) const {
  request.orgId = orgId;
  request.sandbox = sandbox;
  request.baseUrl = baseUrl;
}

PlatformSettings Configuration::platform() {
  std::optional<core::Secret> token = secret("access_token", "access_token_file");
  std::optional<core::Secret> clientSecret;
  if (!token) clientSecret = this->clientSecret();
  requirePresent(token || clientSecret);

  constexpr core::Duration kShortest{1};
  PlatformSettings settings{.clientId = required("client_id"),
                            .clientSecret = clientSecret.value_or(core::Secret()),
                            .accessToken = token.value_or(core::Secret()),
                            .scopes = required("scopes"),
                            .orgId = required("org_id"),
                            .sandbox = required("sandbox"),
                            .baseUrl = url("base_url"),
                            .imsUrl = url("ims_url"),
                            .caFile = {},
                            .connectTimeout = duration("connect_timeout", kShortest, std::chrono::hours(1)),
                            .readTimeout = duration("read_timeout", kShortest, std::chrono::hours(24)),
                            .retry = retryPolicy(),
                            .lookUp = duration("look_up", kShortest, std::chrono::hours(1))};
  if (const auto file = find("ca_file")) settings.caFile = absolutePath(pathOf(*file, environment_));
  return settings;
}

transfer::DownloadSettings Configuration::download() {
  refuseTogether(options_, {"connections", "connections-max"});
  transfer::DownloadSettings settings;
  constexpr std::uint64_t kMostConnections = 64;
  if (const auto count = number("connections", 1, kMostConnections))
    settings.connections = static_cast<unsigned>(*count);
  settings.connectionsMax = static_cast<unsigned>(*number("connections_max", 1, kMostConnections));
  settings.connectionsStart = std::min(settings.connectionsStart, settings.connectionsMax);
  settings.mostBytesPerSecond = bytesOption(options_, "max-rate").value_or(0);
  settings.retry = retryPolicy();
  return settings;
}

store::Location Configuration::serverFrom(const Setting& setting) {
  try {
    store::Location location = store::Location::ofServer(setting.value);
    location.lease = duration("lease", std::chrono::seconds(1), std::chrono::hours(1));
    return location;
  } catch (const Error& error) {
    throw Error(error.category(), setting.place + ": " + error.what(), {.hint = error.hint()});
  }
}

store::Location Configuration::database() {
  if (const auto setting = find("database")) {
    if (setting->value.empty()) throwBad(*setting, "the name of the file is empty");
    if (store::Location::isAddress(setting->value)) return serverFrom(*setting);
    return store::Location(absolutePath(pathOf(*setting, environment_)));
  }
  if (const auto folder = environment_.xdgFolder("XDG_STATE_HOME", ".local/state")) {
    return store::Location(*folder / "caiexport" / "jobs.db");
  }
  throw Error(Category::config, "neither XDG_STATE_HOME nor HOME says where the job database should be",
              {.hint = "name it with --database or CAIEXPORT_DATABASE"});
}

fs::path Configuration::output() {
  const std::optional<Setting> setting = find("output");
  if (setting && setting->value.empty()) throwBad(*setting, "the name of the folder is empty");
  fs::path folder = absolutePath(setting ? pathOf(*setting, environment_) : fs::path("."));
  // "." and a slash at the end leave an empty last part.
  if (!folder.has_filename() && folder.has_relative_path()) folder = folder.parent_path();
  requireWritableFolder(folder);
  return folder;
}

model::Layout Configuration::layout() {
  const Setting setting = *find("layout");
  if (const auto layout = model::layoutFrom(setting.value)) return *layout;
  throwBad(setting, "'" + core::printable(setting.value, 40) + "' is neither plain nor hive");
}

std::optional<std::string> Configuration::share() {
  return shareKey(options_, environment_, database());
}

std::optional<objects::Target> Configuration::deliver() {
  const std::optional<Setting> setting = find("deliver");
  if (!setting) return std::nullopt;
  try {
    return objects::Target::parse(setting->value);
  } catch (const Error& error) {
    const Category category = setting->origin == Origin::option ? Category::usage : Category::config;
    throw Error(category, setting->place + ": " + error.what(), {.hint = error.hint()});
  }
}

bool Configuration::deletesAfterDelivery() {
  const Setting setting = *find("after_delivery");
  if (setting.value == "keep") return false;
  if (setting.value != "delete") {
    throwBad(setting, "'" + core::printable(setting.value, 40) + "' is neither keep nor delete");
  }
  return true;
}

void Configuration::place(model::ExportRequest& request) {
  request.output = output();
  request.layout = layout();
  const std::optional<objects::Target> target = deliver();
  request.deliver = target ? target->text() : "";
  request.deleteAfterDelivery = deletesAfterDelivery() && target;
  if (options_.has("after-delivery") && !target) {
    throw Error(Category::usage, "--after-delivery is of use with --deliver only");
  }
}

std::optional<fs::path> Configuration::tokenCache() const {
  const auto folder = environment_.xdgFolder("XDG_CACHE_HOME", ".cache");
  if (!folder) return std::nullopt;
  return *folder / "caiexport" / "tokens";
}

std::string checkedBaseUrl(std::string_view text, std::string_view place) {
  const auto refuse = [&](const std::string& why) {
    throw Error(Category::config, std::string(place) + ": " + why,
                {.hint = "give scheme and host alone, e.g. https://platform.adobe.io"});
  };
  net::Url url;
  try {
    url = net::parseUrl(text);
  } catch (const Error& error) {
    refuse(error.what());
  }
  if (url.target != "/") refuse("the URL has a path or a query");
  if (url.origin.scheme != "https" && !net::isLoopback(url.origin.host)) {
    refuse("http:// is for loopback addresses only; use https://" + url.origin.host);
  }
  return url.origin.toString();
}

void requireWritableFolder(const fs::path& folder) {
  fs::path existing = folder;
  std::error_code error;
  while (!fs::exists(fs::status(existing, error)) && existing.has_parent_path() && existing != existing.parent_path()) {
    if (fs::is_symlink(fs::symlink_status(existing, error))) break;
    // Without permission to look, the answer is not "not there".
    if (error && error.value() != ENOENT && error.value() != ENOTDIR)
      core::throwIoError("look at", existing, error.value());
    existing = existing.parent_path();
  }
  if (!fs::is_directory(fs::status(existing, error))) {
    throwUsage("the output folder cannot be " + core::printable(folder.string()) + ": " +
                   core::printable(existing.string()) + " is not a folder",
               "choose another folder with --output");
  }
  if (::access(existing.c_str(), W_OK | X_OK) != 0) core::throwIoError("write in the folder", existing, errno);
}

}  // namespace caiexport::cli
