#include "environment.h"

#include <cstdlib>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {

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
