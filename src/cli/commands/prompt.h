#pragma once
/// Questions to a person at a terminal.

#include <stop_token>
#include <string>

#include "caiexport/core/secret.h"

namespace caiexport::cli {

/// Questions to a person at a terminal.
class Console;

/// Reads lines from a terminal, and asks on standard error. For one thread.
class Prompt {
 public:
  Prompt(Console& console, std::stop_token stop, int descriptor = 0);

  /// Whether anybody is there to answer.
  bool possible() const;

  /// One line, without blanks around it; `otherwise`, which is shown, for an empty one. A stop request ends the wait
  /// with core::Interrupted, the end of the input with Error(usage).
  std::string ask(const std::string& question, const std::string& otherwise);
  /// The same without showing what is typed. The terminal's echo is always restored afterwards.
  core::Secret askHidden(const std::string& question);

 private:
  std::string readLine();

  Console& console_;
  std::stop_token stop_;
  int descriptor_;
  std::string typed_;  ///< Beyond the last line.
};

}  // namespace caiexport::cli
