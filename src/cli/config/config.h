#pragma once
/// Settings from options, environment, a profile of the config file, and defaults; the first that has a value wins. And
/// config files themselves: reading all profiles, and changing one of them and nothing else.

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/secret.h"
#include "caiexport/model/export_request.h"
#include "caiexport/objects/object_store.h"
#include "caiexport/store/location.h"
#include "caiexport/transfer/downloader.h"
#include "settings.h"

namespace caiexport::cli {

class ParsedOptions;

// --- config files, see ini_file.cpp

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

/// The file's text with these keys of the profile set, and those of `removed` gone. Other profiles, other keys,
/// comments and blank lines stay as they are. A profile that is not there yet is added at the end.
std::string withProfile(std::string_view text, std::string_view profile, const Profile& set,
                        std::span<const std::string_view> removed);

/// Error(usage) for a name that can't stand in [brackets] or would be odd on a command line.
void requireProfileName(std::string_view name);

/// Error(config) that names `key`, but does not show the value, if the value would not come back from the file.
void requireWritableValue(std::string_view key, std::string_view value);

// --- settings

enum class Origin { option, environment, profile, fallback };

struct Setting {
  std::string value;
  Origin origin = Origin::fallback;
  std::string place;  ///< For people: `--org`, `CAIEXPORT_ORG_ID`, `org_id in [default] of FILE`, `default`.
};

/// The config file that was looked for, and what came of it.
struct ConfigFile {
  std::filesystem::path file;  ///< Absolute; empty if neither option, environment nor home says where.
  std::string fileFrom;        ///< For people: `--config`, `CAIEXPORT_CONFIG`, `default`.
  std::string profile;
  std::string profileFrom;
  bool there = false;
  bool hasProfile = false;
  std::optional<core::Error> error;  ///< Only with BadFile::keep.
};

/// What to do about a config file that can't be used.
enum class BadFile {
  refuse,
  keep  ///< Treat it as empty; configFile() has the error.
};

/// All profiles of a config file by name. Error(config) as readIniFile().
std::map<std::string, Profile, std::less<>> readConfigFile(const std::filesystem::path& file);

struct PlatformSettings {
  std::string clientId;
  core::Secret clientSecret;
  core::Secret accessToken;  ///< Used instead of the client secret, if not empty.
  std::string scopes;
  std::string orgId;
  std::string sandbox;
  std::string baseUrl;  ///< Scheme, host, port.
  std::string imsUrl;
  std::optional<std::filesystem::path> caFile;
  core::Duration connectTimeout{};
  core::Duration readTimeout{};
  core::RetryPolicy retry;
  core::Duration lookUp{};  ///< See engine::Tools.

  /// Writes into the request where it belongs: organisation, sandbox, address.
  void stamp(model::ExportRequest& request) const;
};

/// For one thread. Every function may throw Error(config), or Error(usage) for what an option says.
class Configuration {
 public:
  /// The config file is read when a setting is first asked for that neither an option nor the environment gives.
  Configuration(const ParsedOptions& options, const Environment& environment, BadFile badFile = BadFile::refuse);

  /// The value and where it came from; nothing if it is not set and has no default.
  std::optional<Setting> find(std::string_view key);

  /// A setting that is a command to run. Error(config) if others could have written it to the config file.
  std::optional<Setting> command(std::string_view key);

  const ConfigFile& configFile();
  /// Absolute.
  store::Location database();
  /// Absolute. Error(usage) if it, or a folder above it, is a file; Error(io) if it can't be written.
  std::filesystem::path output();
  /// Where files go and how they are called there: output, layout, and where they are delivered to.
  void place(model::ExportRequest& request);
  /// Nothing if nothing is to be delivered.
  std::optional<objects::Target> deliver();
  PlatformSettings platform();
  /// Number of connections, rate and retries.
  transfer::DownloadSettings download();
  /// See share_key.h.
  std::optional<std::string> share();
  /// Nothing where there is no home.
  std::optional<std::filesystem::path> tokenCache() const;

 private:
  const Profile& profile();
  model::Layout layout();
  bool deletesAfterDelivery();
  void loadProfile();
  void findProfile();
  std::string required(std::string_view key);
  core::Duration duration(std::string_view key, core::Duration least, core::Duration most);
  store::Location serverFrom(const Setting& setting);
  std::optional<std::uint64_t> number(std::string_view key, std::uint64_t least, std::uint64_t most);
  std::string url(std::string_view key);
  std::optional<core::Secret> secret(std::string_view key, std::string_view fileKey);
  std::optional<core::Secret> clientSecret();
  core::RetryPolicy retryPolicy();
  void requirePresent(bool haveToken);

  const ParsedOptions& options_;
  const Environment& environment_;
  BadFile badFile_;
  std::optional<Profile> profile_;
  ConfigFile configFile_;
  std::string otherProfiles_;  ///< Those that the file has instead, if the wanted one is not there.
};

/// The URL's origin. Error(config) that names `place` for anything but https (or http to a loopback host) without path,
/// query, fragment and credentials; one slash at the end is tolerated.
std::string checkedBaseUrl(std::string_view text, std::string_view place);

/// Finds out before anything is made whether files can be written under `folder`: Error(usage) if a file is in the way,
/// Error(io) if there is no permission.
void requireWritableFolder(const std::filesystem::path& folder);

}  // namespace caiexport::cli
