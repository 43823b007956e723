/// What `doctor` can tell without the platform: the settings, and the checks of this machine.

#include <Poco/Environment.h>
#include <openssl/crypto.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include <cerrno>
#include <utility>

#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/database.h"
#include "caiexport/store/facts.h"
#include "doctor.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

/// The folder itself, or the nearest above it that exists.
fs::path existingFolder(fs::path folder) {
  std::error_code ignored;
  while (!fs::is_directory(folder, ignored) && folder != folder.parent_path()) folder = folder.parent_path();
  return folder;
}

/// The file system's kind where the kernel tells: statfs(2).
std::string kindOfFileSystem(const fs::path& folder) {
#ifdef __linux__
  struct statfs facts {};
  if (::statfs(folder.c_str(), &facts) != 0) return "unknown";
  static constexpr std::pair<unsigned long, const char*> kKinds[] = {
      {0xEF53, "ext4"},     {0x58465342, "xfs"},   {0x9123683E, "btrfs"},   {0x2FC12FC1, "zfs"},
      {0xF2F52010, "f2fs"}, {0x01021994, "tmpfs"}, {0x794C7630, "overlay"}, {0x65735546, "fuse"},
      {0x6969, "nfs"},      {0xFF534D42, "cifs"},  {0xFE534D42, "smb"},     {0x01021997, "9p"},
      {0x4D44, "fat"},      {0x2011BAB0, "exfat"}, {0x7366746E, "ntfs"},    {0xCA451A4E, "bcachefs"},
  };
  const auto type = static_cast<unsigned long>(facts.f_type) & 0xFFFFFFFFUL;
  for (const auto& [magic, name] : kKinds) {
    if (magic == type) return name;
  }
#else
  static_cast<void>(folder);
#endif
  return "unknown";
}

std::string output(Configuration& configuration, std::uint64_t neededBytes) {
  const fs::path folder = configuration.output();
  const fs::path existing = existingFolder(folder);
  const std::uint64_t free = core::diskFileSystem().freeBytes(existing);
  const std::string name = core::printable(folder.string());
  // Without a dataset to go by, less than any batch would be.
  constexpr std::uint64_t kLeast = 1U << 20U;
  if (free < std::max(neededBytes, kLeast)) {
    throw Error(Category::io,
                "only " + core::formatBytes(free) + " are free in " + name +
                    (neededBytes > 0 ? ", the newest batch has " + core::formatBytes(neededBytes) : ""),
                {.hint = "make room, or choose another folder with --output"});
  }
  return name + ", " + core::formatBytes(free) + " free, " + kindOfFileSystem(existing) +
         (existing == folder ? "" : " (the folder will be made)");
}

std::string database(Configuration& configuration) {
  const fs::path file = configuration.database();
  const std::string name = core::printable(file.string());
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    const fs::path folder = existingFolder(file.parent_path());
    if (::access(folder.c_str(), W_OK | X_OK) != 0) core::throwIoError("make the job database in", folder, errno);
    return name + " will be made by the first job";
  }
  if (::access(file.c_str(), W_OK) != 0) core::throwIoError("write the job database", file, errno);
  store::Database opened(file, store::Database::Mode::readOnly);
  const store::DatabaseFacts facts = store::factsOf(opened);
  if (!facts.trouble.empty()) {
    throw Error(Category::io, "the job database " + name + " is damaged: " + core::printable(facts.trouble, 200),
                {.hint = "keep a copy of the file, and name another with --database; downloaded files stay usable"});
  }
  return name + ", " + std::to_string(facts.jobs) + (facts.jobs == 1 ? " job" : " jobs") + ", schema " +
         std::to_string(facts.schemaVersion) + ", journal " + facts.journalMode + ", sound, on " +
         kindOfFileSystem(file.parent_path());
}

std::string pocoVersion() {
  const Poco::UInt32 version = Poco::Environment::libraryVersion();
  return std::to_string(version >> 24U) + "." + std::to_string((version >> 16U) & 0xFFU) + "." +
         std::to_string((version >> 8U) & 0xFFU);
}

std::string libraries() {
  return "caiexport " + std::string(programVersion()) + ", Poco " + pocoVersion() + ", " +
         OpenSSL_version(OPENSSL_VERSION) + ", SQLite " + store::sqliteVersion() + ", DuckDB " +
         core::printable(reader::engineVersion(), 40);
}

}  // namespace

void runLocalChecks(Checks& checks, Configuration& configuration, std::uint64_t neededBytes) {
  checks.check("output", {"config_file"}, [&] { return output(configuration, neededBytes); });
  checks.check("database", {"config_file"}, [&] { return database(configuration); });
  checks.check("libraries", {}, [] { return libraries(); });
}

// --- settings as they are shown

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
    setting.value = spec.secret || spec.command ? "set" : found->value;
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
