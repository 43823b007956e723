#include "caiexport/cli/application.h"

#include <algorithm>
#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/text.h"
#include "commands.h"
#include "environment.h"
#include "job_json.h"
#include "json.h"
#include "log_sink.h"

// The build sets it to the project's version.
#ifndef CAIEXPORT_VERSION
#define CAIEXPORT_VERSION "development"
#endif

namespace caiexport::cli {
namespace {

constexpr std::array<Command, 14> kCommands{{
    {configurePage, runConfigure},
    {doctorPage, runDoctor},
    {datasetsPage, runDatasets},
    {segmentsPage, runSegments},
    {datasetPage, runDataset},
    {segmentPage, runSegment},
    {syncPage, runSync},
    {resumePage, runResume},
    {cancelPage, runCancel},
    {historyPage, runHistory},
    {showPage, runShow},
    {readPage, runRead},
    {scoresPage, runScores},
    {verifyPage, runVerify},
}};

const Command& findCommand(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Command& command : kCommands) {
    if (command.page().name == name) return command;
    names.push_back(command.page().name);
  }
  throw core::Error(core::Category::usage,
                    "unknown command '" + core::printable(name, 60) + "'" + didYouMean(name, names),
                    {.hint = "caiexport --help lists the commands"});
}

std::vector<OptionGroup> acceptedBy(const CommandPage& page) {
  std::vector<OptionGroup> groups = page.groups;
  for (const OptionGroup& group : globalGroups()) groups.push_back(group);
  return groups;
}

void setUpConsole(Console& console, const ParsedOptions& options, const Environment& environment) {
  if (options.has("quiet") && options.has("verbose")) {
    throw core::Error(core::Category::usage, "--quiet and --verbose contradict each other");
  }
  if (options.has("quiet")) console.setLevel(Console::Level::quiet);
  if (options.has("verbose")) console.setLevel(Console::Level::verbose);
  console.setUtf8(environment.speaksUtf8());
  if (options.has("no-color") || environment.get("NO_COLOR")) console.forbidColour();
}

std::optional<std::filesystem::path> logFile(const ParsedOptions& options) {
  const auto file = options.value("log-file");
  if (!file) return std::nullopt;
  if (file->empty()) throw core::Error(core::Category::usage, "--log-file: the name of the file is empty");
  return *file;
}

CommandEnd run(const Command& command, const ParsedOptions& options, StandardOutput& out, Console& console,
               std::stop_token stop) {
  const Environment& environment = processEnvironment();
  setUpConsole(console, options, environment);
  LogSink log(console, core::systemClock(), logFile(options));
  Context context{.out = out, .console = console, .log = log, .environment = environment, .stop = std::move(stop)};
  return command.run(options, context);
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

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

std::span<const OptionGroup> globalGroups() {
  static const std::array<OptionGroup, 2> groups{platformGroup(), globalGroup()};
  return groups;
}

std::string_view programVersion() {
  return CAIEXPORT_VERSION;
}

std::string overviewText() {
  std::string text =
      "caiexport exports Customer AI scores from Adobe Experience Platform and keeps a record of every job.\n\n"
      "Usage: caiexport [GLOBAL OPTIONS] COMMAND [OPTIONS]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    const CommandPage& page = command.page();
    std::string name(page.name);
    name.resize(10, ' ');
    text += "  " + name + std::string(page.summary) + "\n";
  }
  const std::array<OptionGroup, 1> global{globalGroup()};
  text += "\n" + optionList(global);
  text +=
      "\nSettings: CAIEXPORT_CLIENT_ID, CAIEXPORT_CLIENT_SECRET and CAIEXPORT_ORG_ID, or a config file (caiexport "
      "configure).\n"
      "caiexport COMMAND --help shows options, examples and exit codes.\n";
  return text;
}

CommandEnd execute(std::span<const std::string> words, StandardOutput& out, Console& console, std::stop_token stop) {
  ParsedOptions options;
  takeLeadingOptions(words, globalGroups(), options);
  if (options.has("version")) return printed(out, "caiexport " + std::string(programVersion()) + "\n");
  if (words.empty()) return printed(out, overviewText());

  const Command& command = findCommand(words.front());
  if (options.has("help")) return printed(out, helpText(command.page()));
  const std::vector<OptionGroup> known = acceptedBy(command.page());
  takeAllOptions(words.subspan(1), known, options);
  if (options.has("help")) return printed(out, helpText(command.page()));
  if (options.has("version")) return printed(out, "caiexport " + std::string(programVersion()) + "\n");
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

std::string failureText(const core::Error& error) {
  std::string text = "caiexport: " + inLines(error.what());
  if (error.category() == core::Category::interrupted && !error.hint().empty()) {
    return text + "; " + core::printable(error.hint());
  }
  if (!error.requestId().empty()) text += "\nrequest id: " + core::printable(error.requestId(), 200);
  if (!error.hint().empty()) text += "\nhint: " + core::printable(error.hint());
  return text;
}

std::string failureDocument(const core::Error& error) {
  std::string text;
  JsonWriter json([&text](std::string_view piece) { text += piece; });
  writeFailure(json, error);
  return text + "\n";
}

}  // namespace caiexport::cli
