#include "ini_file.h"

#include <Poco/Exception.h>
#include <Poco/Util/IniFileConfiguration.h>
#include <sys/stat.h>

#include <algorithm>
#include <sstream>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/secret.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::uint64_t kMostBytes = 1U << 20U;

std::string readText(const fs::path& file) {
  try {
    return core::readFile(file, kMostBytes);
  } catch (const Error& error) {
    throw Error(Category::config, std::string("cannot use the config file: ") + error.what(), {.hint = error.hint()});
  }
}

struct Checker {
  const fs::path& file;
  const IniRules& rules;
  std::map<std::string, std::vector<std::string>, std::less<>> keysOf = {};
  std::string profile = {};
  std::size_t lineNumber = 0;

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw Error(Category::config,
                "config file " + core::printable(file.string()) + ", line " + std::to_string(lineNumber) + ": " + what,
                {.hint = hint});
  }

  void openProfile(std::string_view line) {
    if (line.back() != ']') fail("a profile is written as [name]");
    profile = core::trim(line.substr(1, line.size() - 2));
    if (profile.empty()) fail("a profile needs a name");
    if (!keysOf.emplace(profile, std::vector<std::string>()).second) {
      fail("the profile [" + core::printable(profile) + "] stands twice");
    }
  }

  void takeKey(std::string_view line) {
    const std::size_t equals = line.find('=');
    // The line itself is not shown: it may be a secret that lost its key.
    if (equals == line.npos) fail("neither a comment, nor a [profile], nor key = value");
    const std::string key(core::trim(line.substr(0, equals)));
    if (profile.empty()) fail("a key before the first [profile]", "begin the file with [default]");
    if (std::ranges::find(rules.keys, key) == rules.keys.end()) {
      fail("unknown key '" + core::printable(key, 60) + "'" + didYouMean(key, rules.keys));
    }
    std::vector<std::string>& known = keysOf.find(profile)->second;
    if (std::ranges::find(known, key) != known.end()) fail("the key '" + key + "' stands twice");
    known.push_back(key);
  }

  void takeLine(std::string_view line) {
    ++lineNumber;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    line = core::trim(line);
    if (line.empty() || line.front() == ';') return;
    if (line.front() == '#') fail("comments begin with ;");
    if (line.front() == '[') {
      openProfile(line);
    } else {
      takeKey(line);
    }
  }
};

bool setsSecret(const std::map<std::string, Profile, std::less<>>& profiles, const IniRules& rules) {
  return std::ranges::any_of(profiles, [&](const auto& profile) {
    return std::ranges::any_of(rules.secrets, [&](std::string_view key) {
      const auto found = profile.second.find(key);
      return found != profile.second.end() && !found->second.empty();
    });
  });
}

void requirePrivate(const fs::path& file) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) core::throwIoError("look at", file, errno);
  if ((facts.st_mode & (S_IRGRP | S_IROTH)) == 0) return;
  throw Error(Category::config,
              "the config file " + core::printable(file.string()) + " holds a secret and can be read by others",
              {.hint = "chmod 600 " + core::printable(file.string())});
}

}  // namespace

std::map<std::string, Profile, std::less<>> readIniFile(const fs::path& file, const IniRules& rules) {
  std::string text = readText(file);
  Checker checker{.file = file, .rules = rules};
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    checker.takeLine(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }

  std::map<std::string, Profile, std::less<>> profiles;
  try {
    std::istringstream in(text);
    const Poco::AutoPtr<Poco::Util::IniFileConfiguration> ini(new Poco::Util::IniFileConfiguration(in));
    for (const auto& [name, keys] : checker.keysOf) {
      Profile& profile = profiles[name];
      const std::string section = name + ".";
      // Raw: getString() would put environment variables in the place of ${...}.
      for (const std::string& key : keys) profile[key] = ini->getRawString(std::string(section).append(key), "");
    }
  } catch (const Poco::Exception& exception) {
    throw Error(Category::config, "cannot read the config file " + core::printable(file.string()) + ": " +
                                      core::printable(exception.displayText()));
  }
  core::cleanse(text);
  if (setsSecret(profiles, rules)) requirePrivate(file);
  return profiles;
}

}  // namespace caiexport::cli
