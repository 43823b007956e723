#include "run_log.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <Poco/RegularExpression.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/shell_command.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/json/writer.h"
#include "cli/config/config.h"

namespace caiexport::cli {

namespace {

using core::LogLevel;

std::string_view nameOf(LogLevel level) {
  constexpr std::array<std::string_view, 4> kNames{"debug", "info", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

const Poco::RegularExpression& address() {
  static const Poco::RegularExpression expression(
      R"(\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) https?://([^/\s:]+(?::\d+)?)\S*: )");
  return expression;
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

constexpr core::Duration kHookTime = std::chrono::seconds(30);

/// Neither a secret nor the way to one, nor who we say we are; and an address may hold a password by mistake.
bool isTold(const SettingSpec& spec, std::string_view value) {
  return !spec.secret && !spec.command && spec.key != "client_id" && value.find('@') == value.find("@AdobeOrg") &&
         value.size() < 4096;
}

std::string secondsText(core::Duration time) {
  std::string text = std::to_string(time.count());
  if (text.size() < 4) text.insert(0, 4 - text.size(), '0');
  return text.insert(text.size() - 3, ".");
}

}  // namespace

LogSink::LogSink(Console& console, const core::Clock& clock, const std::optional<LogFile>& file)
    : console_(console), clock_(clock), file_(file) {
  if (file_) descriptor_ = core::openToAppend(file_->path, "the log file");
}

LogSink::~LogSink() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool LogSink::isShown(LogLevel level) const {
  const Console::Level told = console_.level();
  return told == Console::Level::verbose ||
         level >= (told == Console::Level::quiet ? LogLevel::error : LogLevel::warning);
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
  json::Writer json(line);
  json.beginObject();
  json.key("ts").value(core::formatTime(clock_.now()));
  json.key("level").value(nameOf(level));
  json.key("event").value(event);
  json.key("pid").value(std::int64_t{::getpid()});
  const std::int64_t job = job_;
  if (withJob) json.key("job").value(job > 0 ? std::optional(job) : std::nullopt);
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
    descriptor_ = core::openToAppend(file_->path, "the log file");
    ::close(full);
  } catch (const core::Error&) {
    ::flock(full, LOCK_UN);  // it goes on under its other name
  }
}

// --- the run as a whole

RunEnd::RunEnd(const CommandPage& page, const ParsedOptions& options, Context& context, LogSink& log)
    : command_(page.name),
      takesHook_(takes(page, "on-end")),
      options_(options),
      context_(context),
      log_(log),
      startedAt_(std::chrono::steady_clock::now()),
      startTime_(core::systemClock().now()) {
  log_.writeToFile("run_started", [this](json::Writer& json) {
    json.key("command").value(command_);
    json.key("version").value(core::programVersion());
    json.key("id").textOrNull(options_.value("id").value_or(""));
    json.key("settings");
    writeSettings(json);
  });
}

void RunEnd::writeSettings(json::Writer& json) const {
  json.beginObject();
  try {
    Configuration configuration(options_, context_.environment, BadFile::keep);
    json.key("profile").value(configuration.configFile().profile);
    for (const SettingSpec& spec : settingSpecs()) {
      const std::optional<Setting> setting = configuration.find(spec.key);
      if (setting && isTold(spec, setting->value)) json.key(spec.key).value(setting->value);
    }
  } catch (const core::Error&) {
    // What is wrong with them the command says, and `run_ended` repeats.
  }
  json.endObject();
}

bool RunEnd::skips(const CommandEnd& error) const {
  return error && error->category() == core::Category::busy && options_.value("if-running") == "skip";
}

std::string_view RunEnd::statusOf(const CommandEnd& error, bool skipped) const {
  if (skipped) return "skipped";
  const std::string& status = context_.facts.status;
  if (!error) return status == "waiting" ? "waiting" : "succeeded";
  switch (error->category()) {
    case core::Category::interrupted:
      return "interrupted";
    case core::Category::blocked:
      return "blocked";
    case core::Category::timedOut:
      return "waiting";
    default:
      return "failed";
  }
}

void RunEnd::writeEnd(json::Writer& json, const CommandEnd& error, bool skipped) const {
  const RunFacts& facts = context_.facts;
  const auto time = std::chrono::duration_cast<core::Duration>(std::chrono::steady_clock::now() - startedAt_);
  json.key("command").value(command_);
  json.key("status").value(statusOf(error, skipped));
  json.key("exit_code").value(std::int64_t{error && !skipped ? core::exitCodeOf(error->category()) : 0});
  json.key("category").textOrNull(error ? core::nameOf(error->category()) : "");
  json.key("message").textOrNull(error ? std::string_view(error->what()) : "");
  json.key("hint").textOrNull(error ? std::string_view(error->hint()) : "");
  json.key("request_id").textOrNull(error ? std::string_view(error->requestId()) : "");
  json.key("files").value(facts.files);
  json.key("bytes").value(facts.bytes);
  json.key("records").value(facts.records);
  json.key("seconds").number(secondsText(time));
}

void RunEnd::runHook(const CommandEnd& error, bool skipped) {
  if (!takesHook_ || options_.has("dry-run")) return;
  std::optional<Setting> hook;
  try {
    Configuration configuration(options_, context_.environment, BadFile::keep);
    hook = configuration.command("on_end");
  } catch (const core::Error& refused) {
    context_.console.failure("caiexport: on_end: " + core::printable(refused.what()));
  }
  if (!hook) return;
  std::string input;
  json::Writer json(input);
  json.beginObject();
  json.key("version").value(core::programVersion());
  json.key("started_at").value(core::formatTime(startTime_));
  json.key("ended_at").value(core::formatTime(core::systemClock().now()));
  json.key("pid").value(std::int64_t{::getpid()});
  json.key("job").value(context_.facts.job > 0 ? std::optional(context_.facts.job) : std::nullopt);
  json.key("id").textOrNull(options_.value("id").value_or(""));
  writeEnd(json, error, skipped);
  json.endObject();
  input += '\n';
  // A run that Ctrl-C ended is told of, too: only its time is bounded.
  // It gets the user's environment, but not what only caiexport is to know.
  const std::vector<std::string_view> secrets = secretNames(&SettingSpec::environment);
  const core::ShellEnd end =
      core::runShellCommand({.command = hook->value, .input = input, .withheld = secrets, .timeout = kHookTime}, {});
  if (end.kind == core::ShellEnd::Kind::exited && end.code == 0) return;
  const std::string how = core::describe(end, kHookTime);
  log_.write(core::LogLevel::error, "on_end", {{"failed", how}});
}

CommandEnd RunEnd::end(CommandEnd error) {
  const bool skipped = skips(error);
  runHook(error, skipped);
  log_.writeToFile("run_ended", [&](json::Writer& json) { writeEnd(json, error, skipped); });
  if (!skipped) return error;
  context_.console.notice("caiexport: " + core::printable(error->what()) + "; skipped (--if-running skip)");
  if (options_.value("format") == "json" && !context_.out.used()) context_.out.write(failureDocument(*error));
  return {};
}

// --- messages

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
