#include "config.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>

#include "caiexport/cli/options.h"
#include "caiexport/core/encoding.h"
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

std::vector<std::string> linesOf(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::optional<std::string> profileOf(std::string_view line) {
  line = core::trim(line);
  if (line.size() < 2 || line.front() != '[' || line.back() != ']') return std::nullopt;
  return std::string(core::trim(line.substr(1, line.size() - 2)));
}

/// Empty for what is no `key = value`.
std::string keyOf(std::string_view line) {
  line = core::trim(line);
  const std::size_t equals = line.find('=');
  if (line.empty() || line.front() == ';' || line.front() == '[' || equals == line.npos) return {};
  return std::string(core::trim(line.substr(0, equals)));
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

std::string withProfile(std::string_view text, std::string_view profile, const Profile& set,
                        std::span<const std::string_view> removed) {
  std::vector<std::string> result;
  Profile left = set;
  bool inside = false;
  bool seen = false;
  std::size_t end = 0;  // behind the profile's last line that says something
  for (const std::string& line : linesOf(text)) {
    if (const auto name = profileOf(line)) {
      inside = *name == profile;
      seen = seen || inside;
      result.push_back(line);
      if (inside) end = result.size();
      continue;
    }
    const std::string key = inside ? keyOf(line) : "";
    if (!key.empty() && std::ranges::find(removed, key) != removed.end()) continue;
    if (const auto found = left.find(key); !key.empty() && found != left.end()) {
      result.push_back(key + " = " + found->second);
      left.erase(found);
    } else {
      result.push_back(line);
    }
    if (!key.empty()) end = result.size();
  }
  std::vector<std::string> added;
  if (!seen) {
    if (!result.empty() && !core::trim(result.back()).empty()) added.emplace_back();
    added.push_back("[" + std::string(profile) + "]");
    end = result.size();
  }
  for (const auto& [key, value] : left) added.emplace_back(key).append(" = ").append(value);
  result.insert(std::next(result.begin(), static_cast<std::ptrdiff_t>(end)), added.begin(), added.end());
  std::string out;
  for (const std::string& line : result) out += line + "\n";
  return out;
}

void requireProfileName(std::string_view name) {
  constexpr std::size_t kLongest = 60;
  const bool fine =
      !name.empty() && name.size() <= kLongest && name.front() != '-' && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
      });
  if (fine) return;
  throwUsage("'" + core::printable(name, 80) + "' cannot be the name of a profile",
             "use only letters, digits, '-', '_' and '.'");
}

void requireWritableValue(std::string_view key, std::string_view value) {
  const bool oneLine = std::ranges::none_of(value, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  if (oneLine && core::trim(value) == value) return;
  throw core::Error(
      core::Category::config,
      std::string(key) +
          " begins or ends with blanks, or holds control characters; such a value cannot be written to a config file");
}

}  // namespace caiexport::cli
