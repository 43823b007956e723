#include "profile_edit.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

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
  throw core::Error(core::Category::usage, "'" + core::printable(name, 80) + "' can't be the name of a profile",
                    {.hint = "letters, digits, '-', '_' and '.' can be in it"});
}

void requireWritableValue(std::string_view key, std::string_view value) {
  const bool oneLine = std::ranges::none_of(value, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  if (oneLine && core::trim(value) == value) return;
  throw core::Error(core::Category::config,
                    std::string(key) +
                        " begins or ends with blanks, or holds control characters; a config file can't "
                        "hold such a value");
}

}  // namespace caiexport::cli
