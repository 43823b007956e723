#include <algorithm>
#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/table.h"
#include "cli/config/settings.h"
#include "cli/doctor/doctor.h"
#include "cli/output/job_output.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 3> kWhat{{
    {"dataset", "ID", "also check this dataset, its newest batch and its files"},
    {"segment", "ID", "also check this segment, its merge policy and the union schema"},
    {"deliver", "TARGET",
     "also write, read and delete an object of its own there: rclone:REMOTE:PATH [CAIEXPORT_DELIVER, deliver]"},
}};

constexpr std::array<Option, 2> kHow{{
    {"output", "DIR", "the folder that downloads are to go to [CAIEXPORT_OUTPUT, output; the current folder]"},
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

/// What a setting that is nowhere comes to.
std::string computedDefault(Configuration& configuration, std::string_view key) {
  try {
    if (key == "database") return configuration.database().name();
    if (key == "output") return std::filesystem::current_path().string();
  } catch (const std::exception&) {
    // The check of the same name says why.
  }
  return {};
}

ShownSetting shown(Configuration& configuration, const SettingSpec& spec) {
  ShownSetting setting{.name = std::string(spec.key)};
  if (const std::optional<Setting> found = configuration.find(spec.key)) {
    // A command may name an address that is as good as a password.
    setting.value = spec.secret || spec.command ? "set" : found->value;
    setting.from = found->place;
    setting.inProfile = found->origin == Origin::profile;
  } else {
    setting.value = computedDefault(configuration, spec.key);
    if (!setting.value.empty()) setting.from = "default";
  }
  return setting;
}

/// Of the first of the variables that is set; a proxy's address may hold a password.
ShownSetting variable(const Environment& environment, const char* name, const char* lowerCase, bool secret) {
  for (const char* each : {name, lowerCase}) {
    if (const auto value = environment.get(each)) return {name, secret ? "set" : *value, each};
  }
  return {.name = name};
}

constexpr std::size_t kLeftColumn = 16;

void printSettings(const std::vector<ShownSetting>& settings, StandardOutput& out) {
  constexpr std::size_t kShortestValue = 12;
  reader::Table table{.columns = {{"setting", "", false}, {"from", "", false}, {"value", "", false}}};
  for (const ShownSetting& setting : settings) {
    // The file is named once, above.
    const std::string from = setting.inProfile ? "config file" : core::printable(setting.from, 60);
    table.rows.push_back({setting.name, from, setting.value.empty() ? "-" : core::printable(setting.value)});
  }
  const std::size_t width = out.terminal() ? out.width() : 0;
  if (fitLastColumn(table, width, kShortestValue)) {
    out.write(reader::renderTable(table, width) + "\n");
    return;
  }
  for (const auto& row : table.rows) {
    out.write(reader::fitTo(row[0] + " = " + row[2] + (row[1].empty() ? "" : " (" + row[1] + ")"), width) + "\n");
  }
  out.write("\n");
}

struct Signs {
  std::string_view ok;
  std::string_view failed;
  std::string_view skipped;
  std::string_view remedy;
};

constexpr Signs kUtf8Signs{"✓", "✗", "–", "→ "};
constexpr Signs kAsciiSigns{"ok  ", "FAIL", "skip", "-> "};

/// One check as lines: sign, name, what was found, and below it what to do.
class CheckPrinter {
 public:
  explicit CheckPrinter(Context& context)
      : out_(context.out),
        signs_(context.environment.speaksUtf8() ? kUtf8Signs : kAsciiSigns),
        coloured_(context.console.coloured() && context.out.terminal()) {}

  void operator()(const Check& check) {
    std::string name = check.name;
    std::ranges::replace(name, '_', ' ');
    // Beside the names of a narrow terminal there is no room.
    constexpr std::size_t kNarrow = 60;
    constexpr std::size_t kBelow = 4;
    const bool below = out_.terminal() && out_.width() < kNarrow;
    const std::size_t indent = below ? kBelow : reader::displayWidth(signs_.ok) + 1 + kLeftColumn;
    if (below) {
      name += "\n" + std::string(indent, ' ');
    } else {
      name.resize(std::max(name.size(), kLeftColumn), ' ');
    }
    const std::string sign = signOf(check.state);
    const std::string detail = (check.state == CheckState::skipped ? "skipped: " : "") + core::printable(check.detail);
    out_.write(sign + " " + name + lines(detail, indent) + "\n");
    if (!check.remedy.empty()) {
      const std::size_t within = indent + reader::displayWidth(signs_.remedy);
      out_.write(std::string(indent, ' ') + std::string(signs_.remedy) + lines(core::printable(check.remedy), within) +
                 "\n");
    }
    out_.flush();
  }

 private:
  std::string lines(const std::string& text, std::size_t indent) const {
    if (!out_.terminal()) return text;
    constexpr std::size_t kNarrowest = 20;
    const std::size_t width = out_.width();
    return wrapped(text, width > indent + kNarrowest ? width - indent - 1 : kNarrowest, indent);
  }

  std::string signOf(CheckState state) const {
    if (state == CheckState::skipped) return std::string(signs_.skipped);
    return state == CheckState::ok ? painted(signs_.ok, "32") : painted(signs_.failed, "31");
  }

  std::string painted(std::string_view text, const char* colour) const {
    if (!coloured_) return std::string(text);
    return "\033[" + std::string(colour) + "m" + std::string(text) + "\033[0m";
  }

  StandardOutput& out_;
  const Signs& signs_;
  bool coloured_;
};

std::string nextStep(const DoctorQuestions& questions) {
  if (!questions.dataset.empty()) return "caiexport dataset --id " + questions.dataset;
  if (!questions.segment.empty()) return "caiexport segment --id " + questions.segment;
  return "caiexport datasets --search \"customer ai\"";
}

CommandEnd examineAsJson(Configuration& configuration, const ParsedOptions& options, const DoctorQuestions& questions,
                         Context& context) {
  json::Writer json([&](std::string_view text) { context.out.write(text); });
  json.beginObject();
  json.key("settings").objects(shownSettings(configuration, context.environment), [&](const ShownSetting& setting) {
    json.key("name").value(setting.name);
    json.key("value").textOrNull(setting.value);
    json.key("from").textOrNull(setting.from);
  });
  json.key("checks").beginArray();
  Checks checks([&](const Check& check) {
    json.beginObject();
    json.key("name").value(check.name);
    json.key("state").value(nameOf(check.state));
    json.key("detail").value(check.detail);
    json.key("remedy").textOrNull(check.remedy);
    json.endObject();
  });
  runChecks(checks, configuration, options, questions, context);
  json.endArray();
  json.endObject();
  context.out.write("\n");
  return checks.end();
}

}  // namespace

std::vector<ShownSetting> shownSettings(Configuration& configuration, const Environment& environment) {
  const ConfigFile& file = configuration.configFile();
  std::vector<ShownSetting> settings{{"config", file.file.string(), file.fileFrom},
                                     {"profile", file.profile, file.profileFrom}};
  for (const SettingSpec& spec : settingSpecs()) settings.push_back(shown(configuration, spec));
  settings.push_back(variable(environment, "HTTPS_PROXY", "https_proxy", true));
  settings.push_back(variable(environment, "NO_PROXY", "no_proxy", false));
  return settings;
}

CommandEnd examineAsText(Configuration& configuration, const ParsedOptions& options, const DoctorQuestions& questions,
                         Context& context) {
  printSettings(shownSettings(configuration, context.environment), context.out);
  Checks checks{CheckPrinter(context)};
  runChecks(checks, configuration, options, questions, context);
  if (checks.failed() == 0) context.out.write("\nNext: " + nextStep(questions) + "\n");
  context.out.flush();
  return checks.end();
}

const CommandPage& doctorPage() {
  static const CommandPage page{
      .name = "doctor",
      .summary = "check settings, credentials, permissions, disk",
      .arguments = "",
      .description =
          R"(Shows every setting and where it comes from. Then checks, one after the other: config file,
credentials, clock, organization, sandbox, permissions, output folder, job database, libraries. Each
check that fails says what to do. Nothing is changed on the platform. The exit code is that of the
first check that failed.)",
      .groups = {{"What", kWhat}, {"How", kHow}, platformGroup(), globalGroup()},
      .examples = {{"caiexport doctor", "check the settings and this machine"},
                   {"caiexport doctor --dataset 5dd603781b95cc18a83d42ce",
                    "also check that this dataset can be downloaded"},
                   {"caiexport doctor --deliver rclone:lake:bucket/scores",
                    "also check where batches are delivered to"},
                   {"caiexport doctor --format json", "for a monitoring system"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 130}};
  return page;
}

CommandEnd runDoctor(const ParsedOptions& options, Context& context) {
  refuseArguments(options);
  DoctorQuestions questions;
  questions.dataset = idOption(options, "dataset", "dataset id").value_or("");
  questions.segment = idOption(options, "segment", "segment id").value_or("");
  const TextOrJson format = formatOption(options);
  Configuration configuration(options, context.environment, BadFile::keep);
  return format == TextOrJson::json ? examineAsJson(configuration, options, questions, context)
                                    : examineAsText(configuration, options, questions, context);
}

}  // namespace caiexport::cli
