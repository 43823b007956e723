#include "ini_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "caiexport/cli/options.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/ownership.h"
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

/// Editors of other systems save in encodings whose marks would be taken for a part of the first line.
void requirePlainText(std::string_view text, const fs::path& file) {
  const std::string_view encoding = core::foreignEncoding(text);
  if (encoding.empty()) return;
  throw Error(Category::config, "the config file " + core::printable(file.string()) + " " + std::string(encoding),
              {.hint = "save it as UTF-8 without a byte order mark"});
}

/// Not Poco's IniFileConfiguration: that one ignores case, so that [Prod] would get what [prod] says.
struct Parser {
  const fs::path& file;
  const IniRules& rules;
  std::map<std::string, Profile, std::less<>> profiles = {};
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
    if (!profiles.emplace(profile, Profile()).second) {
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
    const std::string value(core::trim(line.substr(equals + 1)));
    if (!profiles.find(profile)->second.emplace(key, value).second) fail("the key '" + key + "' stands twice");
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
  // Whoever can write it sends the secret where he wants.
  core::requireTrusted(file, "the config file");
  std::string text = readText(file);
  requirePlainText(text, file);
  Parser parser{.file = file, .rules = rules};
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    parser.takeLine(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }

  core::cleanse(text);
  if (setsSecret(parser.profiles, rules)) requirePrivate(file);
  return std::move(parser.profiles);
}

}  // namespace caiexport::cli
