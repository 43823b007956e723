#include "simulator/options.h"

#include <functional>
#include <map>

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
      if (equals != std::string_view::npos) {
        words_.emplace_back(word.substr(equals + 1));
      }
    }
  }

  bool done() const { return at_ == words_.size(); }

  std::string next() { return words_[at_++]; }

  std::string valueOf(const std::string& option) {
    if (done()) {
      refuse(option + " needs a value");
    }
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

std::string tlsVersion(const std::string& option, const std::string& text) {
  if (text != "1.0" && text != "1.1" && text != "1.2" && text != "1.3") {
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

const std::map<std::string, Take>& takers() {
  static const std::map<std::string, Take> table = {
      {"--help", flag(&Options::help)},
      {"-h", flag(&Options::help)},
      {"--list-scenarios", flag(&Options::listScenarios)},
      {"--host", text(&Options::host)},
      {"--port",
       [](Options& o, JsonObject&, const std::string& name, Words& words) {
         o.port = static_cast<std::uint16_t>(numberOf(name, words.valueOf(name), UINT16_MAX));
       }},
      {"--tls",
       [](Options& o, JsonObject&, const std::string& name, Words& words) {
         o.certificateFile = words.valueOf(name + " CERT KEY");
         o.keyFile = words.valueOf(name + " CERT KEY");
       }},
      {"--tls-min", version(&Options::tlsMin)},
      {"--tls-max", version(&Options::tlsMax)},
      {"--handshake-delay", [](Options& o, JsonObject&, const std::string& name,
                               Words& words) { o.handshakeDelayMs = numberOf(name, words.valueOf(name), 3600000); }},
      {"--scenario", text(&Options::scenario)},
      {"--port-file", text(&Options::portFile)},
      {"--data-dir", text(&Options::dataFolder)},
      {"--records", scenarioNumber("records")},
      {"--files", scenarioNumber("files")},
      {"--file-bytes", scenarioNumber("file_bytes")},
      {"--batches", scenarioNumber("batches")},
  };
  return table;
}

}  // namespace

Options parseOptions(std::span<const char* const> arguments) {
  Options options;
  JsonObject patch = object();
  Words words(arguments);
  while (!words.done()) {
    const std::string option = words.next();
    const auto taker = takers().find(option);
    if (taker == takers().end()) {
      refuse("unknown option '" + core::printable(option) + "'");
    }
    taker->second(options, patch, option, words);
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

std::string helpText() {
  return R"(caiexport-simulator: a local platform to try and test caiexport against

  caiexport-simulator [OPTIONS]

  --port N               port to listen on; 0, the default, takes a free one
  --host ADDRESS         address to listen on (default 127.0.0.1; ::1 is possible)
  --tls CERT KEY         speak TLS, with a certificate chain and its key as PEM files
  --tls-min, --tls-max V lowest and highest TLS version: 1.0, 1.1, 1.2, 1.3
  --handshake-delay MS   wait that long before each TLS handshake
  --scenario FILE|NAME   what the platform looks like and how it behaves (default: default)
  --list-scenarios       the names of the built-in scenarios
  --records N            records in each score batch
  --files N              files in each score batch
  --batches N            score batches
  --file-bytes N         files of N pseudo-random bytes in place of Parquet
  --data-dir DIR         where the Parquet files are made, and reused if they are there (default: a temporary
                         folder, removed at the end)
  --port-file FILE       the port is written there once the simulator listens
  --help                 this text

It prints `export` lines to standard output: paste them into a shell, and caiexport there talks to the simulator.

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

}  // namespace caiexport::simulator
