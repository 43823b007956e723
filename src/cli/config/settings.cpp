#include "settings.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

constexpr auto kSettings = std::to_array<SettingSpec>({
    {.key = "client_id",
     .environment = "CAIEXPORT_CLIENT_ID",
     .help = "the credential's client id, which is the API key too"},
    {.key = "client_secret",
     .environment = "CAIEXPORT_CLIENT_SECRET",
     .help = "the credential's client secret",
     .secret = true},
    {.key = "client_secret_file",
     .environment = "CAIEXPORT_CLIENT_SECRET_FILE",
     .help = "a file that holds the client secret"},
    {.key = "secret_command",
     .environment = "CAIEXPORT_SECRET_COMMAND",
     .help = "a command whose first line of output is the client secret",
     .secret = true,
     .command = true},
    {.key = "scopes",
     .environment = "CAIEXPORT_SCOPES",
     .fallback = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session",
     .help = "the scopes that an access token is asked for"},
    {.key = "access_token",
     .environment = "CAIEXPORT_ACCESS_TOKEN",
     .help = "an access token, used instead of client id and secret",
     .secret = true},
    {.key = "access_token_file",
     .environment = "CAIEXPORT_ACCESS_TOKEN_FILE",
     .help = "a file that holds the access token"},
    {.key = "org_id",
     .environment = "CAIEXPORT_ORG_ID",
     .option = "org",
     .help = "the organisation's id, e.g. ABC@AdobeOrg",
     .place = OptionPlace::platform,
     .argument = "ORG"},
    {.key = "sandbox",
     .environment = "CAIEXPORT_SANDBOX",
     .option = "sandbox",
     .fallback = "prod",
     .help = "the sandbox",
     .place = OptionPlace::platform,
     .argument = "NAME"},
    {.key = "base_url",
     .environment = "CAIEXPORT_BASE_URL",
     .option = "base-url",
     .fallback = "https://platform.adobe.io",
     .help = "the platform",
     .place = OptionPlace::platform,
     .argument = "URL"},
    {.key = "ims_url",
     .environment = "CAIEXPORT_IMS_URL",
     .option = "ims-url",
     .fallback = "https://ims-na1.adobelogin.com",
     .help = "where access tokens come from",
     .place = OptionPlace::platform,
     .argument = "URL"},
    {.key = "ca_file",
     .environment = "CAIEXPORT_CA_FILE",
     .option = "ca-file",
     .otherwise = "the system's certificates",
     .help = "trust the certificates in this file instead of the system's",
     .place = OptionPlace::platform,
     .argument = "FILE"},
    {.key = "database",
     .environment = "CAIEXPORT_DATABASE",
     .option = "database",
     .otherwise = "$XDG_STATE_HOME/caiexport/jobs.db",
     .help = "the record of jobs; or postgresql://HOST/NAME",
     .place = OptionPlace::global,
     .argument = "FILE"},
    {.key = "output",
     .environment = "CAIEXPORT_OUTPUT",
     .option = "output",
     .otherwise = "the current folder",
     .help = "the folder that batches go to",
     .place = OptionPlace::transfer,
     .argument = "DIR"},
    {.key = "layout",
     .environment = "CAIEXPORT_LAYOUT",
     .option = "layout",
     .fallback = "plain",
     .help = "how the folders are called: DATASET/BATCH, or dataset_id=DATASET/batch_id=BATCH, which readers of tables "
             "take for partitions",
     .place = OptionPlace::transfer,
     .argument = "plain|hive"},
    {.key = "deliver",
     .environment = "CAIEXPORT_DELIVER",
     .option = "deliver",
     .otherwise = "nowhere",
     .help = "send each batch there once it is verified, by rclone: rclone:REMOTE:PATH",
     .place = OptionPlace::transfer,
     .argument = "TARGET"},
    {.key = "after_delivery",
     .environment = "CAIEXPORT_AFTER_DELIVERY",
     .option = "after-delivery",
     .fallback = "keep",
     .help = "what becomes of the files here once the batch is whole at the target",
     .place = OptionPlace::transfer,
     .argument = "keep|delete"},
    {.key = "connections",
     .environment = "CAIEXPORT_CONNECTIONS",
     .option = "connections",
     .otherwise = "as many as pay off",
     .help = "exactly N connections, 1 to 64",
     .place = OptionPlace::transfer,
     .argument = "N"},
    {.key = "connections_max",
     .environment = "CAIEXPORT_CONNECTIONS_MAX",
     .option = "connections-max",
     .fallback = "64",
     .help = "at most N connections, 1 to 64; fewer where the process may open too few files (ulimit -n)",
     .place = OptionPlace::transfer,
     .argument = "N"},
    {.key = "connect_timeout",
     .environment = "CAIEXPORT_CONNECT_TIMEOUT",
     .option = "connect-timeout",
     .fallback = "10s",
     .help = "how long one connection may take to be made",
     .place = OptionPlace::platform,
     .argument = "DURATION"},
    {.key = "read_timeout",
     .environment = "CAIEXPORT_READ_TIMEOUT",
     .option = "read-timeout",
     .fallback = "60s",
     .help = "how long an answer may be silent",
     .place = OptionPlace::platform,
     .argument = "DURATION"},
    {.key = "retry_wait",
     .environment = "CAIEXPORT_RETRY_WAIT",
     .option = "retry-wait",
     .fallback = "1s",
     .help = "the wait before the second try; it doubles with each further one",
     .place = OptionPlace::platform,
     .argument = "DURATION"},
    {.key = "lease",
     .environment = "CAIEXPORT_LEASE",
     .fallback = "30s",
     .help = "with a database on a server: how long what this process holds stays its own after it was last heard of; "
             "what ends without a word, or is cut off, keeps others waiting as long"},
    {.key = "look_up",
     .environment = "CAIEXPORT_LOOK_UP",
     .fallback = "30s",
     .help = "when the answer to a creation was lost: how long to look for what it made before it is asked for again; "
             "a shorter time risks making it twice"},
    {.key = "on_end",
     .environment = "CAIEXPORT_ON_END",
     .option = "on-end",
     .otherwise = "none",
     .help = "a command to run at the end, with the result as JSON on its standard input",
     .place = OptionPlace::run,
     .argument = "COMMAND",
     .command = true},
});

/// These say where the others are, or are another word each time, so they stand in no profile.
constexpr std::array<SettingSpec, 3> kPlaces{{
    {.environment = "CAIEXPORT_CONFIG",
     .option = "config",
     .otherwise = "$XDG_CONFIG_HOME/caiexport/config.ini",
     .help = "the config file",
     .place = OptionPlace::global,
     .argument = "FILE"},
    {.environment = "CAIEXPORT_PROFILE",
     .option = "profile",
     .fallback = "default",
     .help = "the section of the config file",
     .place = OptionPlace::global,
     .argument = "NAME"},
    {.environment = "CAIEXPORT_SHARE",
     .option = "share",
     .otherwise = "one worker",
     .help = "do the job together with all workers of this key, on a database that all of them reach; auto takes the "
             "number or name that the engine gives to the tasks that it started together",
     .place = OptionPlace::workers,
     .argument = "KEY|auto"},
}};

constexpr std::array<Option, 1> kPlatformAlone{{
    {"retries", "N", "how often a request that failed is tried again; 0 for never [5]"},
}};

constexpr std::array<Option, 8> kGlobalAlone{{
    {"quiet", "", "print only errors and what was asked for"},
    {"verbose", "", "tell every request on standard error"},
    {"no-color", "", "no colours [NO_COLOR]"},
    {"log-file", "FILE", "append every event to FILE as JSON lines"},
    {"log-level", "debug|info|warning|error", "log only events of this level or above [debug]"},
    {"log-size", "SIZE", "begin a new one at this size, keep FILE.1 [100M]"},
    {"help", "", "this help"},
    {"version", "", "the program's version"},
}};

constexpr std::array<Option, 1> kRunAlone{{
    {"if-running", "fail|skip",
     "when another process is at work on the same: fail with exit code 10, or skip this run with 0 [fail]"},
}};

constexpr std::array<Option, 1> kTransferAlone{{
    {"max-rate", "RATE", "bytes per second of all connections together, e.g. 50M"},
}};

/// `WORDS [VARIABLE, key; default]`.
std::string optionHelp(const SettingSpec& spec) {
  std::string text(spec.help);
  text.append(" [").append(spec.environment);
  if (!spec.key.empty()) text.append(", ").append(spec.key);
  if (const std::string_view value = defaultOf(spec); !value.empty()) text.append("; ").append(value);
  return text + "]";
}

/// Made once, since option tables are views.
class Options {
 public:
  Options(OptionPlace place, std::span<const Option> alone) {
    for (const std::span<const SettingSpec> specs : {std::span<const SettingSpec>(kPlaces), settingSpecs()}) {
      for (const SettingSpec& spec : specs) {
        if (spec.place == place)
          options_.push_back({spec.option, spec.argument, helps_.emplace_back(optionHelp(spec))});
      }
    }
    options_.insert(options_.end(), alone.begin(), alone.end());
  }
  std::span<const Option> all() const { return options_; }

 private:
  std::deque<std::string> helps_;
  std::vector<Option> options_;
};

std::string cell(std::string_view text, std::string_view prefix = {}) {
  return text.empty() ? " |" : " `" + std::string(prefix).append(text) + "` |";
}

std::string row(const SettingSpec& spec) {
  const std::string otherwise = spec.otherwise.empty() ? "" : " " + std::string(spec.otherwise);
  return "|" + cell(spec.key) + cell(spec.environment) + cell(spec.option, "--") +
         (spec.fallback.empty() ? otherwise + " |" : cell(spec.fallback)) + " " + std::string(spec.help) + " |\n";
}

}  // namespace

std::span<const SettingSpec> settingSpecs() {
  return kSettings;
}

const SettingSpec& settingSpec(std::string_view key) {
  const auto found = std::ranges::find(kSettings, key, &SettingSpec::key);
  if (found != kSettings.end()) return *found;
  throw core::Error(core::Category::internal, "no setting is called " + std::string(key));
}

std::vector<std::string_view> secretNames(std::string_view SettingSpec::*name) {
  std::vector<std::string_view> names;
  for (const SettingSpec& spec : kSettings) {
    if (spec.secret && !spec.command) names.push_back(spec.*name);
  }
  return names;
}

std::string_view defaultOf(const SettingSpec& spec) {
  return spec.fallback.empty() ? spec.otherwise : spec.fallback;
}

OptionGroup platformGroup() {
  static const Options options(OptionPlace::platform, kPlatformAlone);
  return {"Platform", options.all()};
}

OptionGroup globalGroup() {
  static const Options options(OptionPlace::global, kGlobalAlone);
  return {"Global options", options.all()};
}

OptionGroup runGroup() {
  static const Options options(OptionPlace::run, kRunAlone);
  return {"Run", options.all()};
}

OptionGroup workersGroup() {
  static const Options options(OptionPlace::workers, {});
  return {"Workers", options.all()};
}

OptionGroup transferGroup() {
  static const Options options(OptionPlace::transfer, kTransferAlone);
  return {"Transfer", options.all()};
}

OptionGroup connectionGroup() {
  const OptionGroup all = transferGroup();
  const auto first = std::ranges::find(all.options, "connections", &Option::name);
  return {all.title, all.options.subspan(static_cast<std::size_t>(first - all.options.begin()))};
}

std::string settingRows() {
  std::string rows;
  for (const SettingSpec& spec : kSettings) rows += row(spec);
  for (const SettingSpec& spec : kPlaces) rows += row(spec);
  return rows;
}

// --- the environment

std::optional<std::string> Environment::get(std::string_view name) const {
  std::optional<std::string> value = lookup_(name);
  if (value && value->empty()) return std::nullopt;
  return value;
}

std::optional<std::filesystem::path> Environment::xdgFolder(std::string_view variable, std::string_view below) const {
  if (const auto folder = get(variable); folder && std::filesystem::path(*folder).is_absolute()) return *folder;
  const auto home = get("HOME");
  if (!home || !std::filesystem::path(*home).is_absolute()) return std::nullopt;
  return std::filesystem::path(*home) / below;
}

bool Environment::speaksUtf8() const {
  // setlocale(3): the first that is set decides.
  for (const std::string_view name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (const auto value = get(name)) {
      const std::string lower = core::toLower(*value);
      return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
    }
  }
  return false;
}

bool Environment::writesDecimalCommas() const {
  // Unicode CLDR, languages with an Excel of their own; and the countries that write otherwise than their language.
  static constexpr std::string_view kLanguages =
      " af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk lt lv mk nb nl nn no pl pt ro ru sk sl "
      "sq sr "
      "sv tr uk uz vi ";
  static constexpr std::string_view kPoints =
      " de_ch de_li it_ch es_mx es_us es_pr es_gt es_hn es_ni es_pa es_do es_sv es_pe ";
  for (const std::string_view name : {"LC_ALL", "LC_NUMERIC", "LANG"}) {
    const auto value = get(name);
    if (!value) continue;
    const std::string lower = core::toLower(*value);
    const std::string language = lower.substr(0, lower.find_first_of("_.@"));
    const std::string country = lower.substr(0, lower.find_first_of(".@"));
    return kLanguages.find(" " + language + " ") != std::string_view::npos &&
           kPoints.find(" " + country + " ") == std::string_view::npos;
  }
  return false;
}

const Environment& processEnvironment() {
  static const Environment environment([](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  });
  return environment;
}

std::filesystem::path pathFrom(std::string_view text, std::string_view place, const Environment& environment) {
  if (!text.starts_with('~')) return text;
  const auto refuse = [&](const std::string& why, const std::string& hint) {
    throw core::Error(core::Category::config,
                      std::string(place) + ": '" + core::printable(text, 200) + "' can't be used: " + why,
                      {.hint = hint});
  };
  std::string_view rest = text.substr(1);
  if (!rest.empty() && rest.front() != '/') {
    refuse("only ~ and ~/ stand for a home folder", "give the whole path, or ./~NAME for a file of that name");
  }
  const auto home = environment.get("HOME");
  if (!home || !std::filesystem::path(*home).is_absolute()) {
    refuse("HOME does not say where the home folder is", "set HOME, or give the whole path");
  }
  while (rest.starts_with('/')) rest.remove_prefix(1);
  return rest.empty() ? std::filesystem::path(*home) : std::filesystem::path(*home) / rest;
}

}  // namespace caiexport::cli
