#pragma once
/// The first and the last word about a run: in the log file, for the command that `on_end` names, and as its exit code.

#include <optional>
#include <string>
#include <string_view>

#include "caiexport/cli/application.h"
#include "caiexport/core/clock.h"

namespace caiexport::json {
class Writer;
}

namespace caiexport::cli {

class LogSink;

/// One run of a command, from before it begins.
class RunEnd {
 public:
  /// Logs `run_started`. Everything must outlive it.
  RunEnd(const CommandPage& page, const ParsedOptions& options, Context& context, LogSink& log);

  /// Logs `run_ended` and runs the `on_end` command. What it gives back is how the program is to end: with
  /// `--if-running skip` another process at work is no failure.
  CommandEnd end(CommandEnd error);

 private:
  bool skips(const CommandEnd& error) const;
  void writeSettings(json::Writer& json) const;
  void writeEnd(json::Writer& json, const CommandEnd& error, bool skipped) const;
  std::string_view statusOf(const CommandEnd& error, bool skipped) const;
  void runHook(const CommandEnd& error, bool skipped);

  std::string command_;
  bool takesHook_;
  const ParsedOptions& options_;
  Context& context_;
  LogSink& log_;
  core::SteadyTime startedAt_;
  core::TimePoint startTime_;
};

}  // namespace caiexport::cli
