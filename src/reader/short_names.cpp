#include "short_names.h"

#include <algorithm>
#include <string_view>

namespace caiexport::reader {
namespace {

bool endsWithStep(std::string_view path, std::string_view end) {
  return path == end || (path.ends_with(end) && path[path.size() - end.size() - 1] == '.');
}

}  // namespace

std::vector<std::string> shortNames(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string_view path : paths) {
    std::size_t dot = path.rfind('.');
    const auto isShared = [&paths](std::string_view end) {
      return std::count_if(paths.begin(), paths.end(),
                           [end](const std::string& other) { return endsWithStep(other, end); }) > 1;
    };
    while (dot != std::string_view::npos && dot > 0 && isShared(path.substr(dot + 1))) dot = path.rfind('.', dot - 1);
    names.emplace_back(dot == std::string_view::npos ? path : path.substr(dot + 1));
  }
  return names;
}

}  // namespace caiexport::reader
