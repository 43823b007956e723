#include "home_path.h"

#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {

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
