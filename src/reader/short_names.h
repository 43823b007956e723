#pragma once
/// Names for people. In line, since the program and the reader module both use it.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::reader {

/// Dotted paths as short as they can be told apart by: their ends.
inline std::vector<std::string> shortNames(const std::vector<std::string>& paths) {
  const auto endsWithStep = [](std::string_view path, std::string_view end) {
    return path == end || (path.ends_with(end) && path[path.size() - end.size() - 1] == '.');
  };
  std::vector<std::string> names;
  for (const std::string_view path : paths) {
    std::size_t dot = path.rfind('.');
    const auto isShared = [&](std::string_view end) {
      return std::ranges::count_if(paths, [&](const std::string& other) { return endsWithStep(other, end); }) > 1;
    };
    while (dot != std::string_view::npos && dot > 0 && isShared(path.substr(dot + 1))) dot = path.rfind('.', dot - 1);
    names.emplace_back(dot == std::string_view::npos ? path : path.substr(dot + 1));
  }
  return names;
}

}  // namespace caiexport::reader
