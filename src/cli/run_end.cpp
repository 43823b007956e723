#include "run_end.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/shell_command.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/config/config.h"
#include "cli/output/log_sink.h"
#include "option_values.h"

namespace caiexport::cli {
namespace {

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
    json.key("version").value(programVersion());
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
  json::Writer json([&input](std::string_view text) { input += text; });
  json.beginObject();
  json.key("version").value(programVersion());
  json.key("started_at").value(core::formatTime(startTime_));
  json.key("ended_at").value(core::formatTime(core::systemClock().now()));
  json.key("pid").value(std::int64_t{::getpid()});
  json.key("job");
  if (context_.facts.job > 0) {
    json.value(context_.facts.job);
  } else {
    json.null();
  }
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

}  // namespace caiexport::cli
