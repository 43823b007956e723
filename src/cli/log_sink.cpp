#include "log_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "json.h"

namespace caiexport::cli {
namespace {

using core::LogLevel;

std::string_view nameOf(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

std::string lineFor(LogLevel level, std::string_view event, std::initializer_list<core::Log::Field> fields) {
  std::string line = "caiexport: " + std::string(nameOf(level)) + ": " + core::printable(event);
  for (const auto& [name, value] : fields) {
    line.append(" ").append(core::printable(name)).append("=");
    const bool quoted = value.empty() || value.find(' ') != std::string::npos;
    line += quoted ? '"' + core::printable(value) + '"' : core::printable(value);
  }
  return line;
}

}  // namespace

LogSink::LogSink(Console& console, const core::Clock& clock, const std::optional<std::filesystem::path>& file)
    : console_(console), clock_(clock) {
  if (!file) return;
  descriptor_ = ::open(file->c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (descriptor_ < 0) core::throwIoError("open the log file", *file, errno);
}

LogSink::~LogSink() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool LogSink::isShown(LogLevel level) const {
  switch (console_.level()) {
    case Console::Level::quiet:
      return level == LogLevel::error;
    case Console::Level::normal:
      return level == LogLevel::error || level == LogLevel::warning;
    case Console::Level::verbose:
      return true;
  }
  return true;
}

bool LogSink::wants(LogLevel level) const {
  return descriptor_ >= 0 || isShown(level);
}

void LogSink::write(LogLevel level, std::string_view event, std::initializer_list<Field> fields) {
  if (isShown(level)) console_.line(lineFor(level, event, fields));
  if (descriptor_ >= 0) writeToFile(level, event, fields);
}

void LogSink::writeToFile(LogLevel level, std::string_view event, std::initializer_list<Field> fields) {
  std::string line;
  JsonWriter json([&line](std::string_view text) { line += text; });
  json.beginObject();
  json.key("ts").value(core::formatTime(clock_.now()));
  json.key("level").value(nameOf(level));
  json.key("event").value(event);
  for (const auto& [name, value] : fields) json.key(name).value(value);
  json.endObject();
  line += '\n';
  // One write per line: several processes may append to the same file.
  static_cast<void>(!::write(descriptor_, line.data(), line.size()));
}

}  // namespace caiexport::cli
