#include "manual.h"

#include <algorithm>
#include <cctype>

#include "caiexport/cli/application.h"
#include "cli/config/settings.h"
#include "program.h"
#include "roff.h"
#include "simulator/options.h"
#include "simulator/scenario.h"

namespace caiexport::tools {
namespace {

constexpr int kHighestExitCode = 255;

std::size_t pagesWith(const Program& program, const cli::OptionGroup& group) {
  std::size_t count = 0;
  for (const cli::CommandPage* page : program.commands) {
    count += static_cast<std::size_t>(std::ranges::count_if(
        page->groups, [&](const cli::OptionGroup& other) { return other.options.data() == group.options.data(); }));
  }
  return count;
}

/// Taken by several commands: told once, below all commands.
bool isShared(const Program& program, const cli::OptionGroup& group) {
  return pagesWith(program, group) > 1;
}

std::vector<cli::OptionGroup> sharedGroups(const Program& program) {
  std::vector<cli::OptionGroup> shared;
  const auto add = [&](const cli::OptionGroup& group) {
    const auto same = [&](const auto& other) { return other.options.data() == group.options.data(); };
    if (std::ranges::none_of(shared, same)) shared.push_back(group);
  };
  for (const cli::CommandPage* page : program.commands) {
    for (const cli::OptionGroup& group : page->groups) {
      if (isShared(program, group)) add(group);
    }
  }
  for (const cli::OptionGroup& group : program.globalGroups) add(group);
  return shared;
}

std::string usersOf(const Program& program, const cli::OptionGroup& group) {
  std::vector<std::string_view> names;
  for (const cli::CommandPage* page : program.commands) {
    const auto same = [&](const auto& other) { return other.options.data() == group.options.data(); };
    if (std::ranges::any_of(page->groups, same)) names.push_back(page->name);
  }
  return joined(names, ", ");
}

bool isGlobal(const Program& program, const cli::OptionGroup& group) {
  return pagesWith(program, group) == program.commands.size();
}

void addOptions(Page& page, const cli::OptionGroup& group) {
  for (const cli::Option* option : shownOptions({group})) {
    page.item("--" + std::string(option->name), option->argument, option->help);
  }
}

void addCommand(Page& page, const Program& program, const cli::CommandPage& command) {
  std::string usage = std::string(program.name) + " " + std::string(command.name);
  if (!command.arguments.empty()) usage += " " + std::string(command.arguments);
  page.subsection(usage);
  page.paragraph(command.description);
  std::vector<std::string_view> shared;
  for (const cli::OptionGroup& group : command.groups) {
    if (isShared(program, group)) {
      shared.push_back(group.title);
      continue;
    }
    page.heading(group.title);
    addOptions(page, group);
  }
  if (!shared.empty()) page.paragraph("Further options, below: " + joined(shared, ", ") + ".");
  std::string list;
  for (const int code : command.exitCodes) list += (list.empty() ? "" : ", ") + std::to_string(code);
  page.paragraph("Exit codes: " + list + ".");
}

void addSharedOptions(Page& page, const Program& program) {
  page.section("OPTIONS OF SEVERAL COMMANDS");
  for (const cli::OptionGroup& group : sharedGroups(program)) {
    page.subsection(group.title);
    page.paragraph(isGlobal(program, group) ? "Taken by every command." : "Taken by " + usersOf(program, group) + ".");
    addOptions(page, group);
  }
}

std::string tellOf(const cli::SettingSpec& setting) {
  std::string text(setting.help);
  text += ". Environment " + std::string(setting.environment);
  if (!setting.option.empty()) text += ", option --" + std::string(setting.option);
  if (const std::string_view value = cli::defaultOf(setting); !value.empty()) text += ", default " + std::string(value);
  text += '.';
  text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text;
}

void addSettings(Page& page) {
  page.section("SETTINGS");
  page.paragraph(
      "The first of these that is given wins: command line option, environment, profile of the config file, default. "
      "Secrets are never options, because other users of the machine can read a command line. The config file is an "
      "INI "
      "file with a section per profile; these are its keys.");
  for (const cli::SettingSpec& setting : cli::settingSpecs()) page.item(setting.key, {}, tellOf(setting));
}

void addEnvironment(Page& page) {
  page.section("ENVIRONMENT");
  page.paragraph("Besides those under SETTINGS:");
  page.item("CAIEXPORT_CONFIG, CAIEXPORT_PROFILE", {}, "As --config and --profile.");
  page.item("HTTPS_PROXY, NO_PROXY", {}, "The proxy, and the hosts that are reached without it.");
  page.item("NO_COLOR", {}, "As --no-color.");
  page.item("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", {},
            "Folders that hold the files below; ~/.config, ~/.local/state and ~/.cache by default.");
}

void addFiles(Page& page) {
  page.section("FILES");
  page.item("~/.config/caiexport/config.ini", {},
            "Settings. Refused if it holds a secret and others can read it: chmod 600.");
  page.item("~/.local/state/caiexport/jobs.db", {}, "The record of jobs.");
  page.item("~/.cache/caiexport/", {}, "Access tokens, for as long as they are valid.");
  page.item("OUTPUT/<dataset id>/<batch id>/", {},
            "The files of a batch, under the names that the platform lists, and manifest.json. While a file is "
            "incomplete its name ends in .part.");
}

void addExitCodes(Page& page) {
  page.section("EXIT STATUS");
  for (int code = 0; code <= kHighestExitCode; ++code) {
    const std::string_view meaning = cli::meaningOfExitCode(code);
    if (!meaning.empty()) page.item(std::to_string(code), {}, meaning);
  }
}

void addExamples(Page& page, const Program& program) {
  page.section("EXAMPLES");
  for (const cli::CommandPage* command : program.commands) {
    for (const cli::Example& example : command->examples) page.item(example.command, {}, example.what);
  }
}

}  // namespace

std::string caiexportManual(std::string_view date) {
  const Program& program = caiexportProgram();
  Page page(program.name, date, cli::programVersion());
  page.section("NAME");
  page.paragraph(std::string(program.name) + " - " + std::string(program.summary));
  page.section("SYNOPSIS");
  page.heading(std::string(program.name) + " [GLOBAL OPTIONS] COMMAND [OPTIONS]");
  page.section("DESCRIPTION");
  page.paragraph(
      "Gets the results of Customer AI out of Adobe Experience Platform, complete and verified: the newest batch of a "
      "score dataset, or the members of a segment. Every step of a job is recorded in a small database, so that a run "
      "that was killed continues where it stopped and never creates a second dataset or export job.");
  page.paragraph(
      "Results go to standard output, everything else to standard error. Options are given as --name VALUE or "
      "--name=VALUE. Durations are written as 45s, 10m, 2h or 7d. Times are written as in RFC 3339, as a date, or as a "
      "duration, which means that long before now.");
  page.section("COMMANDS");
  for (const cli::CommandPage* command : program.commands) addCommand(page, program, *command);
  addSharedOptions(page, program);
  addSettings(page);
  addEnvironment(page);
  addFiles(page);
  addExitCodes(page);
  addExamples(page, program);
  page.section("SEE ALSO");
  page.paragraph("caiexport-simulator(1)");
  return page.text();
}

std::string simulatorManual(std::string_view date) {
  const Program& program = simulatorProgram();
  Page page(program.name, date, cli::programVersion());
  page.section("NAME");
  page.paragraph(std::string(program.name) + " - " + std::string(program.summary));
  page.section("SYNOPSIS");
  page.heading(std::string(program.name) + " [OPTIONS]");
  page.section("DESCRIPTION");
  page.paragraph(
      "A working platform on this machine, without an account: tokens that expire, datasets, batches, files, segments, "
      "export jobs that move on with each look, and real Parquet files with Customer AI scores.");
  page.lines(simulator::usageNotes());
  page.section("OPTIONS");
  for (const cli::OptionGroup& group : program.globalGroups) addOptions(page, group);
  page.section("SCENARIOS");
  page.paragraph("Built in, for --scenario:");
  for (const simulator::BuiltinScenario& scenario : simulator::builtinScenarios()) {
    page.item(scenario.name, {}, descriptionOf(scenario));
  }
  page.section("SEE ALSO");
  page.paragraph("caiexport(1)");
  return page.text();
}

}  // namespace caiexport::tools
