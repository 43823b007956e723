#pragma once
/// What a run tells of itself: events to standard error and, as JSON lines, to a file; its first and its last word
/// there, for the command that `on_end` names, and as its exit code.

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "caiexport/cli/application.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/log.h"

namespace caiexport::json {
class Writer;
}

namespace caiexport::cli {

class Console;

struct LogFile {
  std::filesystem::path path;
  core::LogLevel level = core::LogLevel::debug;         ///< Events below it are left out.
  std::uint64_t mostBytes = std::uint64_t{100} << 20U;  ///< A file that would grow beyond it becomes PATH.1.
};

/// Standard error gets warnings and errors, with --verbose everything, with --quiet errors alone; the file gets
/// everything from its level on. Each line of the file bears the process and, once there is one, the job.
class LogSink final : public core::Log {
 public:
  /// Opens the file (appends; created 0600). Error(io).
  LogSink(Console& console, const core::Clock& clock, const std::optional<LogFile>& file);
  ~LogSink() override;
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  bool wants(core::LogLevel level) const override;
  void write(core::LogLevel level, std::string_view event, std::initializer_list<Field> fields) override;
  void setJob(std::optional<std::int64_t> job) override { job_ = job.value_or(0); }
  /// An event of any level, for the file only; `fields` writes its fields.
  void writeToFile(std::string_view event, const std::function<void(json::Writer&)>& fields);

 private:
  bool isShown(core::LogLevel level) const;
  void appendLine(core::LogLevel level, std::string_view event, bool withJob,
                  const std::function<void(json::Writer&)>& fields);
  void makeRoomFor(std::size_t bytes);

  Console& console_;
  const core::Clock& clock_;
  std::optional<LogFile> file_;
  std::mutex mutex_;  ///< Of the descriptor.
  int descriptor_ = -1;
  std::atomic<std::int64_t> job_ = 0;  ///< 0: none
};

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

// Messages about requests begin with the method and the address; people want to read what happened first.

/// The message without `GET https://host/path: `, wherever it stands.
std::string withoutAddress(std::string_view message);

/// `host:port` of the first address; empty if there is none.
std::string hostIn(std::string_view message);

}  // namespace caiexport::cli
