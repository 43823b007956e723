#pragma once
/// Diagnostic events to standard error and, as JSON lines, to a file.

#include <filesystem>
#include <optional>

#include "caiexport/core/log.h"

namespace caiexport::core {
class Clock;
}

namespace caiexport::cli {

class Console;

/// Standard error gets warnings and errors, with --verbose everything, with --quiet errors alone; the file gets
/// everything.
class LogSink final : public core::Log {
 public:
  /// Opens the file (appends; created 0600). Error(io).
  LogSink(Console& console, const core::Clock& clock, const std::optional<std::filesystem::path>& file);
  ~LogSink() override;
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  bool wants(core::LogLevel level) const override;
  void write(core::LogLevel level, std::string_view event, std::initializer_list<Field> fields) override;

 private:
  bool isShown(core::LogLevel level) const;
  void writeToFile(core::LogLevel level, std::string_view event, std::initializer_list<Field> fields);

  Console& console_;
  const core::Clock& clock_;
  int descriptor_ = -1;
};

}  // namespace caiexport::cli
