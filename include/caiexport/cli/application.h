#pragma once
/// The command table, and the way from words to a finished command. Printing an error and choosing the exit code is
/// left to main().

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/cli/options.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/model/job.h"

namespace caiexport::core {
class Log;
}

namespace caiexport::json {
class Writer;
}

namespace caiexport::cli {

class Console;
class Environment;
class StandardOutput;

/// What the jobs of a run came to, for those who hear of its end.
struct RunFacts {
  std::int64_t job = 0;     ///< The last one that it worked on; 0: none.
  std::string status = {};  ///< Of that job.
  std::uint64_t files = 0;  ///< Here now, not promised; of all its jobs.
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> records = {};
};

/// What a command works with.
struct Context {
  StandardOutput& out;
  Console& console;
  core::Log& log;
  const Environment& environment;
  std::stop_token stop;
  RunFacts facts = {};
};

/// How a command ended that has printed all it had to print on standard output.
using CommandEnd = std::optional<core::Error>;

struct Command {
  /// Its help page; lives as long as the program.
  const CommandPage& (*page)();
  /// Throws core::Error for failures that it has not put into words of its own on standard output.
  CommandEnd (*run)(const ParsedOptions& options, Context& context);
};

std::span<const Command> commands();

/// Whether an option is among those of the page itself.
bool takes(const CommandPage& page, std::string_view option);

/// Options that every command takes.
std::span<const OptionGroup> globalGroups();

/// The overview that a bare `caiexport` prints.
std::string overviewText(std::size_t width = 0);

/// Finds the command, reads its options, sets up the console and runs it. Throws what it throws, and Error(usage).
CommandEnd execute(std::span<const std::string> words, StandardOutput& out, Console& console, std::stop_token stop);

/// Whether the words ask for JSON on standard output: then a failure is a document there, too.
bool asksForJson(std::span<const std::string> words);

/// For standard error: `caiexport: MESSAGE`, the request id and the hint, each on a line. Without addresses a message
/// that begins with a request begins with its sentence instead.
std::string failureText(const core::Error& error, bool withAddresses = true);

model::JobError recordOf(const core::Error& error);
/// An error in JSON, as everywhere: an object, or null for nothing.
void writeError(json::Writer& json, const std::optional<model::JobError>& error);

/// A time in JSON as a member; null for nothing.
void writeTime(json::Writer& json, std::string_view key, const std::optional<core::TimePoint>& time);

/// For standard output: `{"job": null, "error": {...}}` and a line end.
std::string failureDocument(const core::Error& error);

}  // namespace caiexport::cli
