#include "simulator/options.h"

#include <algorithm>
#include <array>
#include <functional>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw core::Error(core::Category::usage, message, {.hint = "caiexport-simulator --help lists the options"});
}

/// Takes the words of the command line one by one; `--name=value` counts as two.
class Words {
 public:
  explicit Words(std::span<const char* const> arguments) {
    for (const std::string_view word : arguments) {
      const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string_view::npos;
      words_.emplace_back(word.substr(0, equals));
      if (equals != std::string_view::npos) words_.emplace_back(word.substr(equals + 1));
    }
  }

  bool done() const { return at_ == words_.size(); }

  std::string next() { return words_[at_++]; }

  std::string valueOf(const std::string& option) {
    if (done()) refuse(option + " needs a value");
    return next();
  }

 private:
  std::vector<std::string> words_;
  std::size_t at_ = 0;
};

std::uint64_t numberOf(const std::string& option, const std::string& text, std::uint64_t most) {
  const auto number = core::parseUnsigned(text);
  if (!number || *number > most) {
    refuse(option + " must be a number from 0 to " + std::to_string(most) + ", not '" + text + "'");
  }
  return *number;
}

constexpr std::array<const char*, 4> kTlsVersions{"1.0", "1.1", "1.2", "1.3"};

std::string tlsVersion(const std::string& option, const std::string& text) {
  if (std::ranges::find(kTlsVersions, text) == kTlsVersions.end()) {
    refuse(option + " must be 1.0, 1.1, 1.2 or 1.3, not '" + text + "'");
  }
  return text;
}

using Take = std::function<void(Options&, JsonObject& patch, const std::string& option, Words&)>;

Take text(std::string Options::*member) {
  return [member](Options& options, JsonObject&, const std::string& option, Words& words) {
    options.*member = words.valueOf(option);
  };
}

Take version(std::string Options::*member) {
  return [member](Options& options, JsonObject&, const std::string& option, Words& words) {
    options.*member = tlsVersion(option, words.valueOf(option));
  };
}

Take flag(bool Options::*member) {
  return [member](Options& options, JsonObject&, const std::string&, Words&) { options.*member = true; };
}

Take scenarioNumber(const char* key) {
  return [key](Options&, JsonObject& patch, const std::string& option, Words& words) {
    patch->set(key, numberOf(option, words.valueOf(option), INT64_MAX));
  };
}

struct Entry {
  OptionText text;
  Take take;
};

/// All options, in the order of help.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table{
      {{"port", "N", "port to listen on; 0, the default, takes a free one"},
       [](Options& o, JsonObject&, const std::string& name, Words& words) {
         o.port = static_cast<std::uint16_t>(numberOf(name, words.valueOf(name), UINT16_MAX));
       }},
      {{"host", "ADDRESS", "address to listen on (default 127.0.0.1; ::1 is possible)"}, text(&Options::host)},
      {{"tls", "CERT KEY", "speak TLS, with a certificate chain and its key as PEM files"},
       [](Options& o, JsonObject&, const std::string& name, Words& words) {
         o.certificateFile = words.valueOf(name + " CERT KEY");
         o.keyFile = words.valueOf(name + " CERT KEY");
       }},
      {{"tls-min", "1.0|1.1|1.2|1.3", "lowest TLS version"}, version(&Options::tlsMin)},
      {{"tls-max", "1.0|1.1|1.2|1.3", "highest TLS version"}, version(&Options::tlsMax)},
      {{"handshake-delay", "MS", "wait that long before each TLS handshake"},
       [](Options& o, JsonObject&, const std::string& name, Words& words) {
         o.handshakeDelayMs = numberOf(name, words.valueOf(name), 3600000);
       }},
      {{"scenario", "FILE|NAME", "what the platform looks like and how it behaves (default: default)"},
       text(&Options::scenario)},
      {{"list-scenarios", "", "the names of the built-in scenarios"}, flag(&Options::listScenarios)},
      {{"records", "N", "records in each score batch"}, scenarioNumber("records")},
      {{"files", "N", "files in each score batch"}, scenarioNumber("files")},
      {{"batches", "N", "score batches"}, scenarioNumber("batches")},
      {{"file-bytes", "N", "files of N pseudo-random bytes in place of Parquet"}, scenarioNumber("file_bytes")},
      {{"data-dir", "DIR", "where the Parquet files are made and found again (default: a temporary folder)"},
       text(&Options::dataFolder)},
      {{"port-file", "FILE", "the port is written there once the simulator listens"}, text(&Options::portFile)},
      {{"help", "", "this text"}, flag(&Options::help)},
  };
  return table;
}

const Entry& entryOf(const std::string& option) {
  const std::string name = option == "-h" ? "--help" : option;
  const auto found =
      std::ranges::find_if(entries(), [&](const Entry& entry) { return name == "--" + std::string(entry.text.name); });
  if (found == entries().end()) refuse("unknown option '" + core::printable(option) + "'");
  return *found;
}

}  // namespace

Options parseOptions(std::span<const char* const> arguments) {
  Options options;
  JsonObject patch = object();
  Words words(arguments);
  while (!words.done()) {
    const std::string option = words.next();
    entryOf(option).take(options, patch, option, words);
  }
  if (options.certificateFile.empty() && !(options.tlsMin + options.tlsMax).empty()) {
    refuse("--tls-min and --tls-max need --tls");
  }
  options.scenarioPatch = textOf(patch);
  return options;
}

Scenario scenarioOf(const Options& options) {
  Scenario scenario = loadScenario(options.scenario);
  applyScenario(scenario, options.scenarioPatch);
  return scenario;
}

std::vector<OptionText> optionTexts() {
  std::vector<OptionText> texts;
  for (const Entry& entry : entries()) texts.push_back(entry.text);
  return texts;
}

std::string_view usageNotes() {
  return R"(It prints `export` lines to standard output: paste them into a shell, and caiexport there talks to the simulator.

  CAIEXPORT_BASE_URL     http://127.0.0.1:PORT
  CAIEXPORT_IMS_URL      the same: the simulator issues the tokens too
  CAIEXPORT_CLIENT_ID, CAIEXPORT_CLIENT_SECRET, CAIEXPORT_ORG_ID, CAIEXPORT_SANDBOX
  CAIEXPORT_CA_FILE      with --tls: the certificate given there

Then:

  caiexport dataset --id 5f0000000000000000000001
  caiexport segment --id 7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a

  GET  /_simulator/state     what the simulator has seen, as JSON
  POST /_simulator/scenario  changes scenario keys while it runs
  POST /_simulator/advance   {"seconds": N} moves its clock: tokens expire
  POST /_simulator/batches   {"count": N} adds score batches

SIGTERM and SIGINT end it.

Exit codes: 0 ended by a signal, 2 wrong usage or scenario, 9 files or the port could not be used.
)";
}

std::string completions(std::span<const char* const> words) {
  if (words.empty()) return {};
  const std::string_view before = words.size() < 2 ? std::string_view() : words[words.size() - 2];
  std::string_view current = words.back();
  const std::size_t equals = current.starts_with("--") ? current.find('=') : std::string_view::npos;
  const std::string_view option = equals == std::string_view::npos ? before : current.substr(0, equals);
  const std::string_view shared = equals == std::string_view::npos ? std::string_view() : current.substr(0, equals + 1);
  std::string out;
  const auto offer = [&](const std::string& word) {
    if (word.starts_with(current)) out += word + "\n";
  };
  for (const OptionText& text : optionTexts()) {
    if (option != "--" + std::string(text.name) || text.argument.empty()) continue;
    if (text.name == "tls-min" || text.name == "tls-max") {
      for (const char* version : kTlsVersions) offer(std::string(shared) + version);
    } else if (text.name == "scenario") {
      for (const BuiltinScenario& scenario : builtinScenarios()) {
        offer(std::string(shared) + std::string(scenario.name));
      }
    }
    const bool files = text.name == "scenario" || text.name == "tls" || text.name == "port-file";
    return out + (files ? "<FILE>\n" : text.name == "data-dir" ? "<DIR>\n" : "");
  }
  for (const OptionText& text : optionTexts()) offer("--" + std::string(text.name));
  return out;
}

std::string helpText() {
  constexpr std::size_t kHelpColumn = 29;
  std::string out =
      "caiexport-simulator: a local platform to try and test caiexport against\n\n  caiexport-simulator [OPTIONS]\n\n";
  for (const OptionText& option : optionTexts()) {
    std::string left = "  --" + std::string(option.name) + " " + std::string(option.argument);
    left.resize(std::max(left.size() + 1, kHelpColumn), ' ');
    out += left + std::string(option.help) + "\n";
  }
  return out + "\n" + std::string(usageNotes());
}

}  // namespace caiexport::simulator
