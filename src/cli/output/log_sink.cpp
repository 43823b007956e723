#include "log_sink.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <Poco/RegularExpression.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/ownership.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"

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
    const std::string text = core::printable(value.text());
    line += text.empty() || text.find(' ') != std::string::npos ? '"' + text + '"' : text;
  }
  return line;
}

std::string textOf(std::initializer_list<core::Log::Field> fields, std::string_view name) {
  const auto found = std::ranges::find(fields, name, &core::Log::Field::first);
  return found == fields.end() ? std::string() : found->second.text();
}

/// `cannot reach HOST (connection refused), try 2 of 6 in 0.9 s`.
std::string retryLine(std::initializer_list<core::Log::Field> fields, core::Duration wait) {
  const std::string host = hostIn(textOf(fields, "reason"));
  std::string why = withoutAddress(textOf(fields, "reason"));
  constexpr std::string_view kUnreachable = "cannot connect: ";
  std::string line = "cannot " + textOf(fields, "what") + ": " + why;
  if (why.starts_with(kUnreachable) && !host.empty()) {
    why = why.substr(kUnreachable.size());
    line = "cannot reach " + host + " (" + why.substr(0, why.find(" (")) + ")";
  }
  const std::uint64_t made = core::parseUnsigned(textOf(fields, "try")).value_or(1);
  return line + ", try " + std::to_string(made + 1) + " of " + textOf(fields, "tries") + " in " +
         core::formatDuration(wait);
}

}  // namespace

LogSink::LogSink(Console& console, const core::Clock& clock, const std::optional<LogFile>& file)
    : console_(console), clock_(clock), file_(file) {
  if (file_) open();
}

LogSink::~LogSink() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void LogSink::open() {
  descriptor_ = core::openToAppend(file_->path, "the log file");
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
  return (file_ && level >= file_->level) || isShown(level);
}

void LogSink::write(LogLevel level, std::string_view event, std::initializer_list<Field> fields) {
  if (event == "retry" && level == LogLevel::warning && console_.level() == Console::Level::normal) {
    const core::Duration wait(core::parseUnsigned(textOf(fields, "wait_ms")).value_or(0));
    console_.remark("caiexport: " + core::printable(retryLine(fields, wait)), wait + std::chrono::seconds(2));
  } else if (isShown(level)) {
    console_.line(lineFor(level, event, fields));
  }
  if (!file_ || level < file_->level) return;
  const bool ownJob = std::ranges::any_of(fields, [](const Field& field) { return field.first == "job"; });
  appendLine(level, event, !ownJob, [&](json::Writer& json) {
    for (const auto& [name, value] : fields) {
      json.key(name);
      if (value.isNumber()) {
        json.number(value.text());
      } else {
        json.value(value.text());
      }
    }
  });
}

void LogSink::writeToFile(std::string_view event, const std::function<void(json::Writer&)>& fields) {
  if (file_) appendLine(LogLevel::info, event, true, fields);
}

void LogSink::appendLine(LogLevel level, std::string_view event, bool withJob,
                         const std::function<void(json::Writer&)>& fields) {
  std::string line;
  json::Writer json([&line](std::string_view text) { line += text; });
  json.beginObject();
  json.key("ts").value(core::formatTime(clock_.now()));
  json.key("level").value(nameOf(level));
  json.key("event").value(event);
  json.key("pid").value(std::int64_t{::getpid()});
  const std::int64_t job = job_;
  if (withJob && job > 0) json.key("job").value(job);
  if (withJob && job == 0) json.key("job").null();
  fields(json);
  json.endObject();
  line += '\n';
  const std::lock_guard lock(mutex_);
  makeRoomFor(line.size());
  // One write per line: several processes may append to the same file.
  if (descriptor_ >= 0) static_cast<void>(!::write(descriptor_, line.data(), line.size()));
}

/// Moves a file that is full to PATH.1, whose place was the one before; what another process moved meanwhile is let go.
void LogSink::makeRoomFor(std::size_t bytes) {
  struct stat mine {};
  struct stat there {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &mine) != 0 || !S_ISREG(mine.st_mode)) return;
  if (mine.st_size == 0 || static_cast<std::uint64_t>(mine.st_size) + bytes <= file_->mostBytes) return;
  // All that write to this file wait here for the one that moves it.
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno != EINTR) return;
  }
  const bool found = ::lstat(file_->path.c_str(), &there) == 0;
  const bool stillThere = found && there.st_dev == mine.st_dev && there.st_ino == mine.st_ino;
  if (found && S_ISLNK(there.st_mode)) {
    ::flock(descriptor_, LOCK_UN);
    return;  // whose file it is, another one decides
  }
  const std::string before = file_->path.string() + ".1";
  if (stillThere && ::rename(file_->path.c_str(), before.c_str()) != 0) {
    ::flock(descriptor_, LOCK_UN);
    return;  // a longer file is better than none
  }
  const int full = descriptor_;
  try {
    open();
    ::close(full);
  } catch (const core::Error&) {
    ::flock(full, LOCK_UN);  // it goes on under its other name
  }
}

namespace {

const Poco::RegularExpression& address() {
  static const Poco::RegularExpression expression(
      R"(\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) https?://([^/\s:]+(?::\d+)?)\S*: )");
  return expression;
}

}  // namespace

std::string withoutAddress(std::string_view message) {
  std::string text(message);
  address().subst(text, "", Poco::RegularExpression::RE_GLOBAL);
  return text;
}

std::string hostIn(std::string_view message) {
  Poco::RegularExpression::MatchVec found;
  const std::string text(message);
  if (address().match(text, 0, found) < 2) return {};
  return text.substr(found[1].offset, found[1].length);
}

}  // namespace caiexport::cli
