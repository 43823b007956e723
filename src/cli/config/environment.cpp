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
