#pragma once
/// A command of the user's, run by /bin/sh for a bounded time.

#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/core/secret.h"

namespace caiexport::core {

struct ShellCommand {
  std::string_view command = {};
  std::string_view input = {};                      ///< What it reads from standard input.
  std::span<const std::string_view> withheld = {};  ///< Environment variables that it does not get.
  bool keepOutput = false;                          ///< Else its output goes to our standard error.
  std::size_t mostOutput = std::size_t{64} << 10U;  ///< More is dropped.
  Duration timeout = std::chrono::seconds(30);      ///< It is killed then, with all that it started in its group.
};

struct ShellEnd {
  enum class Kind { exited, killed, timedOut, interrupted, notStarted };
  Kind kind = Kind::notStarted;
  int code = 0;        ///< exited: the exit code; killed: the signal; notStarted: errno.
  Secret output = {};  ///< With keepOutput: of standard output; standard error is dropped then.
};

/// Never throws for what the command does.
ShellEnd runShellCommand(const ShellCommand& command, const std::stop_token& stop);

/// For people, e.g. `exit code 3`, `it was killed after 30 s`; says nothing of its output.
std::string describe(const ShellEnd& end, Duration timeout);

}  // namespace caiexport::core
