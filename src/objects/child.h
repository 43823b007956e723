#pragma once
/// A program that is run to its end, whose output and log are taken while it runs.

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::objects {

struct Child {
  std::vector<std::string> words = {};  ///< The first is the program, looked for in PATH.
  std::string input = {};
  /// Variables to set, or with an empty value to leave out.
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::function<void(std::string_view)> onErrorLine = {};  ///< Each line of standard error, without its end.
};

struct ChildEnd {
  int code = 0;  ///< 128 and the signal if it was killed.
  std::string output = {};
};

/// Asked to stop, it is told so by SIGTERM, then killed with its whole group; it never outlives this process. Throws
/// core::Interrupted then; Error(config) if there is no such program, Error(io) if it can't be started or says too
/// much.
ChildEnd run(const Child& child, const std::stop_token& stop);

}  // namespace caiexport::objects
