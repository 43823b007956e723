#pragma once
/// The command line of caiexport-simulator.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/scenario.h"

namespace caiexport::simulator {

struct Options {
  bool help = false;
  bool listScenarios = false;
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string certificateFile = {};
  std::string keyFile = {};
  std::string tlsMin = {};
  std::string tlsMax = {};
  std::uint64_t handshakeDelayMs = 0;
  std::string scenario = "default";
  std::string scenarioPatch = "{}";  ///< What options like --records change in the scenario.
  std::string portFile = {};
  std::string dataFolder = {};
};

/// core::Error(usage) that names what is wrong.
Options parseOptions(std::span<const char* const> arguments);

/// The scenario with the options' changes.
Scenario scenarioOf(const Options& options);

/// An option as help and the manual show it.
struct OptionText {
  std::string_view name;      ///< Without the dashes.
  std::string_view argument;  ///< Placeholders of its values; empty for a flag.
  std::string_view help;
};

std::vector<OptionText> optionTexts();

/// What follows the options in help: lines as they are.
std::string_view usageNotes();

std::string helpText();

/// For the shells' completion, hidden from help: what could stand in the place of the last word, one a line; `<FILE>`
/// and `<DIR>` mean that the shell's own files or folders fit.
std::string completions(std::span<const char* const> words);

}  // namespace caiexport::simulator
