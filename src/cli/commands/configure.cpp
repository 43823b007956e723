#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/secret.h"
#include "caiexport/core/text.h"
#include "cli/config/config.h"
#include "cli/config/settings.h"
#include "cli/doctor/doctor.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::array<Option, 3> kHow{{
    {"all", "", "also ask for what is set already; Enter keeps the present value"},
    {"no-input", "", "ask nothing: use what options and environment give, and fail if something is missing"},
    {"no-check", "", "do not run doctor at the end"},
}};

// --- questions to a person at a terminal

class EchoOff {
 public:
  explicit EchoOff(int descriptor) : descriptor_(descriptor) {
    if (::tcgetattr(descriptor_, &before_) != 0) {
      throw Error(Category::io, "cannot switch the terminal's echo off",
                  {.hint = "set CAIEXPORT_CLIENT_SECRET and use --no-input"});
    }
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    // What was typed before the question was shown is dropped: it is on the screen already.
    ::tcsetattr(descriptor_, TCSAFLUSH, &silent);
  }
  ~EchoOff() { ::tcsetattr(descriptor_, TCSANOW, &before_); }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  int descriptor_;
  termios before_{};
};

/// Reads lines from a terminal, and asks on standard error. For one thread.
class Prompt {
 public:
  Prompt(Console& console, std::stop_token stop, int descriptor = 0)
      : console_(console), stop_(std::move(stop)), descriptor_(descriptor) {}

  /// Whether anybody is there to answer.
  bool possible() const { return isTerminal(descriptor_) && console_.terminal(); }

  /// One line, without blanks around it; `otherwise`, which is shown, for an empty one. A stop request ends the wait
  /// with core::Interrupted, the end of the input with Error(usage).
  std::string ask(const std::string& question, const std::string& otherwise) {
    console_.prompt(question + (otherwise.empty() ? "" : " [" + core::printable(otherwise, 200) + "]") + ": ");
    const std::string line = readLine();
    const std::string_view answer = core::trim(line);
    return answer.empty() ? otherwise : std::string(answer);
  }

  /// The same without showing what is typed. The terminal's echo is always restored afterwards.
  core::Secret askHidden(const std::string& question) {
    const EchoOff silent(descriptor_);
    console_.prompt(question + ": ");
    std::string line = readLine();
    console_.prompt("\n");
    core::Secret answer{std::string(core::trim(line))};
    core::cleanse(line);
    return answer;
  }

 private:
  std::string readLine() {
    const core::StopSignal stopped(stop_);
    while (true) {
      if (const std::size_t end = typed_.find('\n'); end != std::string::npos) {
        std::string line = typed_.substr(0, end);
        std::string rest = typed_.substr(end + 1);
        core::cleanse(typed_);
        typed_ = std::move(rest);
        return line;
      }
      std::array<pollfd, 2> events{{{descriptor_, POLLIN, 0}, {stopped.descriptor(), POLLIN, 0}}};
      if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
        throw Error(Category::io, "cannot wait for an answer");
      }
      if (stop_.stop_requested()) {
        console_.prompt("\n");
        throw core::Interrupted();
      }
      if (events[0].revents == 0) continue;
      std::array<char, 4096> piece{};
      const ssize_t got = ::read(descriptor_, piece.data(), piece.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        console_.prompt("\n");
        throwUsage("the input ended before all questions were answered");
      }
      typed_.append(piece.data(), static_cast<std::size_t>(got));
      piece.fill(0);
    }
  }

  Console& console_;
  std::stop_token stop_;
  int descriptor_;
  std::string typed_;  ///< Beyond the last line.
};

// --- what is asked

struct Question {
  std::string_view key;
  std::string_view text;
  bool hidden = false;
};

constexpr std::array<Question, 4> kQuestions{{
    {"client_id", "Client ID (also called API key)"},
    {"client_secret", "Client secret", true},
    {"org_id", "Organization ID (ends in @AdobeOrg)"},
    {"sandbox", "Sandbox"},
}};

/// Any of these stands for a client secret.
constexpr std::array<std::string_view, 5> kSecretWays{"client_secret", "client_secret_file", "secret_command",
                                                      "access_token", "access_token_file"};
constexpr std::array<std::string_view, 5> kPaths{"client_secret_file", "access_token_file", "ca_file", "database",
                                                 "output"};

bool isThere(Configuration& configuration, std::string_view key) {
  if (key != "client_secret") {
    const auto setting = configuration.find(key);
    return setting && setting->origin != Origin::fallback;
  }
  return std::ranges::any_of(kSecretWays, [&](std::string_view way) { return configuration.find(way).has_value(); });
}

/// What options and environment give, for the profile.
Profile givenSettings(Configuration& configuration, const Environment& environment) {
  Profile given;
  for (const SettingSpec& spec : settingSpecs()) {
    const auto setting = configuration.find(spec.key);
    if (!setting || setting->value.empty()) continue;
    if (setting->origin != Origin::option && setting->origin != Origin::environment) continue;
    const bool path = std::ranges::find(kPaths, spec.key) != kPaths.end();
    // Whole, since the next command may run elsewhere.
    given[std::string(spec.key)] =
        path ? fs::absolute(pathFrom(setting->value, setting->place, environment)).lexically_normal().string()
             : setting->value;
  }
  return given;
}

void requireNothingMissing(Configuration& configuration) {
  std::string missing;
  for (const Question& question : kQuestions) {
    if (question.key == "sandbox" || isThere(configuration, question.key)) continue;
    const auto specs = settingSpecs();
    const auto spec = std::ranges::find(specs, question.key, &SettingSpec::key);
    missing.append(missing.empty() ? "" : ", ").append(spec->environment);
  }
  if (missing.empty()) return;
  throwUsage("settings are missing, and there is no terminal to ask for them: " + missing,
             "set them in the environment, or run caiexport configure at a terminal");
}

/// Empty if the answer will do, else what is wrong with it.
std::string wrongWith(const Question& question, std::string_view answer) {
  if (answer.empty()) return "it must not be empty";
  const bool plain = std::ranges::all_of(answer, [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) return "it must not hold blanks or special characters";
  if (question.key == "org_id" && !answer.ends_with("@AdobeOrg")) return "an organization ID ends in @AdobeOrg";
  return {};
}

std::string askOnce(Prompt& prompt, const Question& question, const std::string& present) {
  if (!question.hidden) return prompt.ask(std::string(question.text), present);
  const std::string hint = present.empty() ? " (not shown)" : " (not shown; Enter keeps the one that is set)";
  return std::string(prompt.askHidden(std::string(question.text) + hint).reveal());
}

/// The answer; empty to keep what is there.
std::string answerTo(Prompt& prompt, Console& console, const Question& question, const std::string& present) {
  constexpr int kTries = 3;
  for (int tries = 0; tries < kTries; ++tries) {
    std::string answer = askOnce(prompt, question, present);
    if (answer.empty() && !present.empty()) return {};
    const std::string wrong = wrongWith(question, answer);
    if (wrong.empty()) return answer;
    console.line("  this cannot be used: " + wrong);
  }
  throwUsage("no valid answer for " + std::string(question.key));
}

void askAll(Configuration& configuration, Prompt& prompt, Console& console, bool all, Profile& settings) {
  bool introduced = false;
  for (const Question& question : kQuestions) {
    const bool there = isThere(configuration, question.key);
    if (there && !all) continue;
    if (!introduced) {
      console.line("The Adobe Developer Console shows these under the project's OAuth Server-to-Server credential.");
      introduced = true;
    }
    const auto present = configuration.find(question.key);
    const std::string shown = question.hidden ? (there ? "set" : "") : present ? present->value : "";
    std::string answer = answerTo(prompt, console, question, shown);
    if (!answer.empty()) settings[std::string(question.key)] = answer;
    core::cleanse(answer);
  }
  if (!introduced) console.notice("caiexport: nothing is missing; --all asks for everything anew");
}

/// A secret and the name of a file with it would contradict each other.
std::vector<std::string_view> contradicted(const Profile& settings) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kPairs{{
      {"client_secret", "client_secret_file"},
      {"client_secret_file", "client_secret"},
      {"client_secret", "secret_command"},
      {"client_secret_file", "secret_command"},
      {"secret_command", "client_secret"},
      {"secret_command", "client_secret_file"},
      {"access_token", "access_token_file"},
      {"access_token_file", "access_token"},
  }};
  std::vector<std::string_view> gone;
  for (const auto& [given, other] : kPairs) {
    if (settings.contains(given) && !settings.contains(other)) gone.push_back(other);
  }
  return gone;
}

std::string presentText(const ConfigFile& file) {
  if (!file.there) return "; settings of caiexport; made by caiexport configure\n";
  readConfigFile(file.file);  // what can't be understood is not touched
  return core::readFile(file.file);
}

/// The profile as it will be.
Profile merged(const ConfigFile& file, const Profile& settings) {
  Profile whole;
  if (file.there) {
    auto profiles = readConfigFile(file.file);
    if (const auto found = profiles.find(file.profile); found != profiles.end()) whole = std::move(found->second);
  }
  for (const std::string_view key : contradicted(settings)) whole.erase(std::string(key));
  for (const auto& [key, value] : settings) whole[key] = value;
  return whole;
}

/// By the checks of the next command, as if everything stood in its environment: that file alone must do.
void refuseWhatWouldBeRefused(const Profile& profile, const Environment& environment) {
  const Environment alone([&](std::string_view name) -> std::optional<std::string> {
    if (name == "XDG_CONFIG_HOME") return "/nonexistent";  // and no other profile
    if (!name.starts_with("CAIEXPORT_")) return environment.get(name);
    for (const SettingSpec& spec : settingSpecs()) {
      const auto found = spec.environment == name ? profile.find(spec.key) : profile.end();
      if (found != profile.end()) return found->second;
    }
    return std::nullopt;
  });
  const ParsedOptions noOptions;
  Configuration configuration(noOptions, alone);
  configuration.platform();
  configuration.download();
  if (profile.contains("database")) configuration.database();
  if (profile.contains("output")) configuration.output();
}

void writeProfile(const ConfigFile& file, const Profile& settings, const Environment& environment) {
  for (const auto& [key, value] : settings) requireWritableValue(key, value);
  refuseWhatWouldBeRefused(merged(file, settings), environment);
  std::string before = presentText(file);
  std::string after = withProfile(before, file.profile, settings, contradicted(settings));
  core::FileSystem& files = core::diskFileSystem();
  std::error_code ignored;
  // A link stays a link.
  const fs::path target = file.there ? fs::canonical(file.file, ignored) : file.file;
  files.createDirectories(target.parent_path());
  core::writeFileAtomically(files, target.empty() ? file.file : target, after, 0600);
  core::cleanse(before);
  core::cleanse(after);
}

}  // namespace

const CommandPage& configurePage() {
  static const CommandPage page{
      .name = "configure",
      .summary = "ask for the settings, write the config file",
      .arguments = "",
      .description =
          R"(Asks for the settings that are missing and writes them to the config file, together with those that
options and environment give; then runs doctor. Secrets are not shown while you type them, and only
you can read the file (mode 0600). Other profiles and comments in the file stay as they are. Without
a terminal, or with --no-input, nothing is asked.)",
      .groups = {{"How", kHow}, platformGroup(), globalGroup()},
      .examples = {{"caiexport configure", "the first thing to do on a new machine"},
                   {"caiexport configure --profile stage --sandbox stage", "a second profile"},
                   {"caiexport configure --no-input",
                    "in a script, where CAIEXPORT_CLIENT_SECRET and the other variables are set"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 130}};
  return page;
}

CommandEnd runConfigure(const ParsedOptions& options, Context& context) {
  refuseArguments(options);
  refuseTogether(options, {"all", "no-input"});
  Configuration configuration(options, context.environment, BadFile::keep);
  const ConfigFile& file = configuration.configFile();
  if (file.file.empty()) {
    throw Error(Category::config, "neither XDG_CONFIG_HOME nor HOME says where the config file should be",
                {.hint = "name it with --config"});
  }
  requireProfileName(file.profile);
  if (file.there) readConfigFile(file.file);

  Profile settings = givenSettings(configuration, context.environment);
  Prompt prompt(context.console, context.stop);
  if (options.has("no-input") || !prompt.possible()) {
    requireNothingMissing(configuration);
  } else {
    askAll(configuration, prompt, context.console, options.has("all"), settings);
  }
  writeProfile(file, settings, context.environment);
  context.out.write("Profile [" + file.profile + "] is in " + core::printable(file.file.string()) + " (mode 0600).\n");
  if (options.has("no-check")) return {};
  context.out.write("\n");
  context.out.flush();
  Configuration written(options, context.environment, BadFile::keep);
  return examineAsText(written, options, {}, context);
}

}  // namespace caiexport::cli
