#include "caiexport/cli/application.h"

#include <algorithm>
#include <array>
#include <exception>
#include <new>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/table.h"
#include "caiexport/store/database.h"
#include "cli/commands/commands.h"
#include "cli/config/settings.h"
#include "cli/output/run_log.h"

// The build sets it to the project's version.
namespace caiexport::cli {
namespace {

constexpr std::array<Command, 17> kCommands{{
    {configurePage, runConfigure},
    {doctorPage, runDoctor},
    {datasetsPage, runDatasets},
    {segmentsPage, runSegments},
    {datasetPage, runDataset},
    {segmentPage, runSegment},
    {syncPage, runSync},
    {resumePage, runResume},
    {cancelPage, runCancel},
    {statusPage, runStatus},
    {historyPage, runHistory},
    {showPage, runShow},
    {readPage, runRead},
    {scoresPage, runScores},
    {verifyPage, runVerify},
    {deliverPage, runDeliver},
    {failedPage, runFailed},
}};

/// What people type who know other programs.
std::string_view answerFor(std::string_view word) {
  struct Answer {
    std::string_view word;
    std::string_view command;
  };
  constexpr std::string_view kFetch =
      "caiexport dataset --id ID downloads a score dataset, caiexport segment --id ID exports and downloads an "
      "audience";
  constexpr std::string_view kList =
      "caiexport datasets and caiexport segments list what the platform has, caiexport history lists the jobs";
  constexpr std::array<Answer, 8> kAnswers{{{"list", kList},
                                            {"ls", kList},
                                            {"download", kFetch},
                                            {"export", kFetch},
                                            {"get", kFetch},
                                            {"fetch", kFetch},
                                            {"jobs", "caiexport history lists the jobs"},
                                            {"init", "caiexport configure writes the config file"}}};
  const auto found = std::ranges::find(kAnswers, word, &Answer::word);
  return found == kAnswers.end() ? std::string_view() : found->command;
}

const Command& findCommand(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Command& command : kCommands) {
    if (command.page().name == name) return command;
    names.push_back(command.page().name);
  }
  if (const std::string_view meant = answerFor(name); !meant.empty()) {
    throwUsage("there is no command '" + name + "'", std::string(meant));
  }
  throwUsage("unknown command '" + core::printable(name, 60) + "'" + didYouMean(name, names),
             "caiexport --help lists the commands");
}

/// An option that the command would ignore says something else than what it does: `show --sandbox stage` shows a job of
/// any sandbox.
void refuseIgnored(const ParsedOptions& options, const CommandPage& page) {
  for (const OptionGroup& group : globalGroups()) {
    for (const Option& option : group.options) {
      if (!options.has(option.name) || takes(page, option.name)) continue;
      const std::string command(page.name);
      throwUsage(command + " takes no --" + std::string(option.name) + ": it would change nothing",
                 "caiexport " + command + " --help lists what it takes");
    }
  }
}

/// Those of the page first: where it has an option of its own, that one is meant.
std::vector<OptionGroup> known(const CommandPage& page) {
  std::vector<OptionGroup> groups = page.groups;
  for (const OptionGroup& group : globalGroups()) groups.push_back(group);
  return groups;
}

void setUpConsole(Console& console, const ParsedOptions& options, const Environment& environment) {
  if (options.has("quiet") && options.has("verbose")) {
    throwUsage("--quiet and --verbose contradict each other");
  }
  if (options.has("quiet")) console.setLevel(Console::Level::quiet);
  if (options.has("verbose")) console.setLevel(Console::Level::verbose);
  console.setUtf8(environment.speaksUtf8());
  reader::drawWith(environment.speaksUtf8() ? reader::Signs::unicode : reader::Signs::ascii);
  if (options.has("no-color") || environment.get("NO_COLOR")) console.forbidColour();
}

std::optional<LogFile> logFile(const ParsedOptions& options, const Environment& environment) {
  constexpr std::array<std::string_view, 4> kLevels{"debug", "info", "warning", "error"};
  const auto level = enumOption<core::LogLevel>(options, "log-level", kLevels);
  const std::optional<std::uint64_t> size = bytesOption(options, "log-size");
  requireWith(options, "log-level", "log-file");
  requireWith(options, "log-size", "log-file");
  const auto path = options.value("log-file");
  if (!path) return std::nullopt;
  if (path->empty()) throwUsage("--log-file: the name of the file is empty");
  LogFile file{.path = pathFrom(*path, "--log-file", environment), .level = level};
  if (size) file.mostBytes = *size;
  return file;
}

/// A hint may name only options that the command has.
core::Error withUsableHint(const core::Error& error, const CommandPage& page) {
  if (!core::isOutOfMemory(error)) return error;
  std::string options;
  if (takes(page, "memory")) options = "allow more with --memory SIZE, or choose fewer columns";
  if (takes(page, "connections")) options = "lower --connections";
  return options.empty() ? error : core::withOptions(error, options);
}

/// `caiexport doctor`, for the same profile and the same id.
std::string doctorFor(const CommandPage& page, const ParsedOptions& options) {
  std::string line = "caiexport doctor";
  for (const std::string_view name : {"config", "profile", "org", "sandbox"}) {
    const auto value = options.value(name);
    if (value && value->find_first_of(" \t'\"$\\") == value->npos)
      line.append(" --").append(name).append(" ").append(*value);
  }
  const auto id = options.value("id");
  // Several segments are not one that it could look at.
  if (id && id->find(',') == id->npos && takes(page, "base-url")) {
    line.append(page.name == "segment" ? " --segment " : " --dataset ").append(*id);
  }
  return line;
}

/// What a refusal says to look at is one of several that may be wrong: the next step is the command that tries them
/// all.
core::Error withNextStep(const core::Error& error, const CommandPage& page, const ParsedOptions& options) {
  const bool refused = error.category() == core::Category::auth || error.category() == core::Category::permission;
  const bool examines = page.name == "doctor" || page.name == "configure";
  if (!refused || examines || error.hint().find("caiexport doctor") != std::string::npos) return error;
  const std::string hint = error.hint() + (error.hint().empty() ? "" : "; ") + doctorFor(page, options) +
                           " checks settings, credentials and permissions one by one";
  return core::Error(error.category(), error.what(),
                     {.requestId = error.requestId(), .hint = hint, .code = error.code()});
}

/// How this process was called: where its output goes, and who may stop it.
struct Invocation {
  StandardOutput& out;
  Console& console;
  std::stop_token stop;
};

/// How the command ended, whether it says so or throws; nothing is left that could still fail.
CommandEnd ended(const Command& command, const ParsedOptions& options, Context& context) {
  try {
    constexpr std::array<std::string_view, 2> kRunning{"fail", "skip"};
    wordOption(options, "if-running", kRunning);
    CommandEnd end = command.run(options, context);
    context.out.flush();
    return end ? CommandEnd(withNextStep(withUsableHint(*end, command.page()), command.page(), options)) : std::nullopt;
  } catch (const core::Error& error) {
    return withNextStep(withUsableHint(error, command.page()), command.page(), options);
  } catch (const std::exception& error) {
    const std::optional<core::Error> scarce = core::scarcityIn(error);
    if (!scarce) throw;
    return withUsableHint(*scarce, command.page());
  }
}

CommandEnd run(const Command& command, const ParsedOptions& options, StandardOutput& out, Console& console,
               std::stop_token stop) {
  const Environment& environment = processEnvironment();
  setUpConsole(console, options, environment);
  store::waitForLocksUntil(stop);
  LogSink log(console, core::systemClock(), logFile(options, environment));
  Context context{.out = out, .console = console, .log = log, .environment = environment, .stop = std::move(stop)};
  RunEnd end(command.page(), options, context, log);
  try {
    return end.end(ended(command, options, context));
  } catch (const std::bad_alloc&) {
    end.end(core::Error(core::Category::io, "out of memory"));
    throw;
  } catch (const std::exception& error) {
    end.end(core::Error(core::Category::internal, error.what()));
    throw;
  }
}

/// The lines of a message (SQL errors have several), each fit for a terminal, all but the first indented.
std::string inLines(std::string_view message) {
  std::string out;
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    out.append(out.empty() ? "" : "\n  ").append(core::printable(message.substr(0, end)));
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  return out;
}

CommandEnd printed(StandardOutput& out, const std::string& text) {
  out.write(text);
  return {};
}

/// A run that a slip of the finger ended leaves its end in the log file, too, if it names one.
void logRefused(const CommandPage& page, std::span<const std::string> words, const core::Error& error,
                const Invocation& called) {
  constexpr std::string_view kOption = "--log-file";
  ParsedOptions options;
  for (std::size_t i = 0; i < words.size() && !options.has("log-file"); ++i) {
    if (words[i] == kOption && i + 1 < words.size()) options.add("log-file", words[i + 1]);
    if (words[i].starts_with("--log-file=")) options.add("log-file", words[i].substr(kOption.size() + 1));
  }
  try {
    LogSink log(called.console, core::systemClock(), logFile(options, processEnvironment()));
    Context context{.out = called.out,
                    .console = called.console,
                    .log = log,
                    .environment = processEnvironment(),
                    .stop = called.stop};
    RunEnd(page, options, context, log).end(error);
  } catch (const core::Error&) {
    return;  // the slip is the one to tell of
  }
}

std::string helpFor(const CommandPage& page, const ParsedOptions& options, std::size_t width) {
  return options.value("help") == "short" ? shortHelpText(page, width) : helpText(page, width);
}

/// `help` and `help COMMAND`.
CommandEnd help(std::span<const std::string> words, StandardOutput& out) {
  if (words.empty()) return printed(out, overviewText(out.width()));
  return printed(out, helpText(findCommand(words.front()).page(), out.width()));
}

/// `version`, for people or with `--format json`.
CommandEnd version(std::span<const std::string> words, StandardOutput& out) {
  static constexpr std::array<Option, 1> kHow{{{"format", "text|json", "of the result"}}};
  constexpr std::array<std::string_view, 2> kFormats{"text", "json"};
  const std::array<OptionGroup, 1> known{{{"How", kHow}}};
  ParsedOptions options;
  takeAllOptions(words, known, options);
  const bool json = wordOption(options, "format", kFormats) == "json";
  const std::string number(core::programVersion());
  return printed(out, json ? "{\"program\": \"caiexport\", \"version\": " + json::quoted(number) +
                                 ", \"schema\": " + std::to_string(store::newestSchemaVersion()) + "}\n"
                           : "caiexport " + number + "\n");
}

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

bool takes(const CommandPage& page, std::string_view option) {
  return findOption(page.groups, option) != nullptr;
}

std::span<const OptionGroup> globalGroups() {
  static const std::array<OptionGroup, 2> groups{platformGroup(), globalGroup()};
  return groups;
}

std::string overviewText(std::size_t width) {
  std::string text =
      "caiexport exports Customer AI scores from Adobe Experience Platform.\n\n"
      "Usage: caiexport [GLOBAL OPTIONS] COMMAND [OPTIONS]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    const CommandPage& page = command.page();
    std::string name(page.name);
    name.resize(10, ' ');
    text += "  " + name + std::string(page.summary) + "\n";
  }
  // Defaults are for the pages of the commands: this one has to fit a screen.
  const OptionGroup global = globalGroup();
  std::vector<Option> options(global.options.begin(), global.options.end());
  for (Option& option : options) option.help = option.help.substr(0, option.help.find(" ["));
  const std::array<OptionGroup, 1> shown{{{global.title, options}}};
  text += "\n" + optionList(shown, width);
  text +=
      "\nSettings: CAIEXPORT_CLIENT_ID, CAIEXPORT_CLIENT_SECRET and CAIEXPORT_ORG_ID,\n"
      "or a config file (caiexport configure).\n"
      "caiexport COMMAND --help shows options, examples and exit codes.\n";
  return text;
}

CommandEnd execute(std::span<const std::string> words, StandardOutput& out, Console& console, std::stop_token stop) {
  ParsedOptions options;
  takeLeadingOptions(words, globalGroups(), options);
  if (options.has("version")) return printed(out, "caiexport " + std::string(core::programVersion()) + "\n");
  if (words.empty()) return printed(out, overviewText(out.width()));
  if (words.front() == "help") return help(words.subspan(1), out);
  if (words.front() == "version") return version(words.subspan(1), out);
  if (words.front() == "complete") return printed(out, completions(words.subspan(1), processEnvironment()));

  const Command& command = findCommand(words.front());
  if (options.has("help")) return printed(out, helpFor(command.page(), options, out.width()));
  try {
    takeAllOptions(words.subspan(1), known(command.page()), options);
  } catch (const core::Error& error) {
    logRefused(command.page(), words, error, {.out = out, .console = console, .stop = stop});
    throw;
  }
  if (options.has("help")) return printed(out, helpFor(command.page(), options, out.width()));
  if (options.has("version")) return printed(out, "caiexport " + std::string(core::programVersion()) + "\n");
  refuseIgnored(options, command.page());
  return run(command, options, out, console, std::move(stop));
}

bool asksForJson(std::span<const std::string> words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") return false;
    if (words[i] == "--format=json") return true;
    if (words[i] == "--format" && i + 1 < words.size() && words[i + 1] == "json") return true;
  }
  return false;
}

std::string failureText(const core::Error& error, bool withAddresses) {
  std::string text = "caiexport: " + inLines(withAddresses ? error.what() : withoutAddress(error.what()));
  if (error.category() == core::Category::interrupted && !error.hint().empty()) {
    return text + "; " + core::printable(error.hint());
  }
  if (!error.requestId().empty()) text += "\nrequest id: " + core::printable(error.requestId(), 200);
  if (!error.hint().empty()) text += "\nhint: " + core::printable(error.hint());
  return text;
}

model::JobError recordOf(const core::Error& error) {
  return {.category = error.category(), .message = error.what(), .requestId = error.requestId(), .hint = error.hint()};
}

void writeError(json::Writer& json, const std::optional<model::JobError>& error) {
  if (!error) {
    json.null();
    return;
  }
  json.beginObject();
  json.key("category").value(core::nameOf(error->category));
  json.key("message").value(error->message);
  json.key("request_id").textOrNull(error->requestId);
  json.key("hint").value(error->hint);
  json.endObject();
}

void writeTime(json::Writer& json, std::string_view key, const std::optional<core::TimePoint>& time) {
  json.key(key).textOrNull(time ? core::formatTime(*time) : "");
}

std::string failureDocument(const core::Error& error) {
  std::string text;
  json::Writer json(text);
  json.beginObject();
  json.key("job").null();
  json.key("error");
  writeError(json, recordOf(error));
  json.endObject();
  return text + "\n";
}

}  // namespace caiexport::cli
