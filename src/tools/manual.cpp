#include "manual.h"

#include <Poco/NumberFormatter.h>
#include <Poco/String.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "caiexport/cli/application.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "cli/config/settings.h"
#include "simulator/options.h"
#include "simulator/scenario.h"

namespace caiexport::tools {
namespace {

/// Source lines of a moderate length, for those who read them.
std::string filled(std::string_view text) {
  constexpr std::size_t kWidth = 76;
  return roff(cli::wrapped(text, kWidth, 0));
}

std::string inQuotes(std::string_view text) {
  return "\"" + roff(text) + "\"";
}

/// A page that grows, in man(7).
class Page {
 public:
  /// As far as the description; `date` as YYYY-MM-DD.
  Page(const Program& program, const std::string& usage, std::string_view date) {
    const std::string name(program.name);
    line(".\\\" Made by the build from the tables of options.");
    line(".TH " + inQuotes(Poco::toUpper(name)) + " 1 \"" + std::string(date) + "\" " +
         inQuotes("caiexport " + std::string(core::programVersion())));
    line(".ad l");
    line(".nh");
    section("NAME");
    paragraph(name + " - " + std::string(program.summary));
    section("SYNOPSIS");
    heading(name + " " + usage);
    section("DESCRIPTION");
  }

  void section(std::string_view title) {
    line(".SH " + inQuotes(title));
    fresh_ = true;
  }

  void subsection(std::string_view title) {
    line(".SS " + inQuotes(title));
    fresh_ = true;
  }

  void paragraph(std::string_view text) {
    if (!fresh_) line(".PP");
    line(filled(text));
    fresh_ = false;
  }

  /// A paragraph in bold, above what follows.
  void heading(std::string_view text) {
    if (!fresh_) line(".PP");
    line(".B " + roff(text));
    fresh_ = false;
  }

  /// An option or a key in bold, its placeholder in italics, and what it means.
  void item(std::string_view name, std::string_view placeholder, std::string_view text) {
    line(".TP");
    line("\\fB" + roff(name) + "\\fR" + (placeholder.empty() ? "" : " \\fI" + roff(placeholder) + "\\fR"));
    line(filled(text));
    fresh_ = false;
  }

  /// Lines as they are.
  void lines(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    if (!fresh_) line(".PP");
    line(".RS 2");
    line(".nf");
    line(roff(text));
    line(".fi");
    line(".RE");
    fresh_ = false;
  }

  const std::string& text() const { return text_; }

 private:
  void line(std::string_view text) { text_.append(text).append("\n"); }

  std::string text_;
  /// After a title roff makes room by itself.
  bool fresh_ = false;
};

std::vector<cli::Option> optionsOfSimulator() {
  std::vector<cli::Option> options;
  for (const simulator::OptionText& text : simulator::optionTexts()) {
    options.push_back({text.name, text.argument, text.help});
  }
  return options;
}

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
  return Poco::cat(std::string(", "), names.begin(), names.end());
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
  if (!shared.empty())
    page.paragraph("Further options, below: " + Poco::cat(std::string(", "), shared.begin(), shared.end()) + ".");
  page.paragraph("Exit codes: " + core::joined(command.exitCodes, ", ", [](int code) { return std::to_string(code); }) +
                 ".");
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
      "Secrets are never options, because other users of the machine can read a command line. The config file is "
      "an INI file with a section per profile; these are its keys.");
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
            "The files of a batch, under the names that the platform lists, and _manifest.json. While a file is "
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

const Program& caiexportProgram() {
  static const Program program = [] {
    Program made{"caiexport", "export Customer AI scores from Adobe Experience Platform", {}, {}};
    for (const cli::Command& command : cli::commands()) made.commands.push_back(&command.page());
    made.globalGroups.assign(cli::globalGroups().begin(), cli::globalGroups().end());
    return made;
  }();
  return program;
}

const Program& simulatorProgram() {
  static const std::vector<cli::Option> options = optionsOfSimulator();
  static const Program program{
      "caiexport-simulator", "a local platform to try and test caiexport against", {}, {{"Options", options}}};
  return program;
}

std::vector<const cli::Option*> shownOptions(const std::vector<cli::OptionGroup>& groups) {
  std::vector<const cli::Option*> shown;
  for (const cli::OptionGroup& group : groups) {
    for (const cli::Option& option : group.options) {
      const bool known = std::ranges::any_of(shown, [&](const auto* other) { return other->name == option.name; });
      if (!known) shown.push_back(&option);
    }
  }
  return shown;
}

std::vector<const cli::Option*> optionsOf(const cli::CommandPage& page) {
  return shownOptions(page.groups);
}

std::string roff(std::string_view text) {
  static const std::map<char32_t, std::string_view> escapes{
      {'\\', "\\e"}, {'-', "\\-"}, {'"', "\\(dq"}, {'\'', "\\(aq"}, {'`', "\\(ga"}, {'^', "\\(ha"}, {'~', "\\(ti"}};
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool lineStart = out.empty() || out.back() == '\n';
    char32_t point = 0;
    const std::size_t length = core::decodeUtf8(text.substr(at), point);
    if (length == 0) point = static_cast<unsigned char>(text[at]);
    at += std::max<std::size_t>(length, 1);
    if (lineStart && (point == '.' || point == '\'')) out += "\\&";
    const auto escape = escapes.find(point);
    if (point == ',') {
      // Long lists without blanks may be broken here.
      out += at < text.size() && text[at] != ' ' && text[at] != '\n' ? ",\\:" : ",";
    } else if (escape != escapes.end()) {
      out += escape->second;
    } else if (point < 0x80) {
      out += static_cast<char>(point);
    } else {
      out += "\\[u" + Poco::NumberFormatter::formatHex(static_cast<unsigned>(point), 4) + "]";
    }
  }
  return out;
}

std::string caiexportManual(std::string_view date) {
  const Program& program = caiexportProgram();
  Page page(program, "[GLOBAL OPTIONS] COMMAND [OPTIONS]", date);
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
  Page page(program, "[OPTIONS]", date);
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
