#include "option_values.h"

#include <algorithm>
#include <limits>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

[[noreturn]] void throwUsage(const std::string& message, std::string hint = {}) {
  throw core::Error(core::Category::usage, message, {.hint = std::move(hint)});
}

std::string shown(std::string_view name) {
  return "--" + std::string(name);
}

}  // namespace

std::string notADuration(std::string_view text) {
  return "'" + core::printable(text, 40) +
         "' is not a duration; write it as 500ms, 45s, 10m, 2h, 7d, or as a number of seconds";
}

std::string notInRange(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::string message = "'" + core::printable(text, 40) + "' is not a number ";
  if (most == std::numeric_limits<std::uint64_t>::max()) return message + "of at least " + std::to_string(least);
  return message + "from " + std::to_string(least) + " to " + std::to_string(most);
}

std::optional<std::uint64_t> numberOption(const ParsedOptions& options, std::string_view name, std::uint64_t least,
                                          std::uint64_t most) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  const auto number = core::parseUnsigned(*text);
  if (!number || *number < least || *number > most) throwUsage(shown(name) + ": " + notInRange(*text, least, most));
  return number;
}

std::optional<core::Duration> durationOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  const auto duration = core::parseDuration(*text);
  if (!duration) throwUsage(shown(name) + ": " + notADuration(*text));
  return duration;
}

std::optional<core::TimePoint> timeOption(const ParsedOptions& options, std::string_view name, core::TimePoint now) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  const auto time = core::parseTime(*text, now);
  if (!time) {
    throwUsage(shown(name) + ": '" + core::printable(*text, 40) + "' is not a time",
               "give 2026-11-24T10:00:00Z, a date (00:00 UTC), or a duration such as 7d (that long before now)");
  }
  return time;
}

std::optional<std::uint64_t> bytesOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  const auto bytes = core::parseBytes(*text);
  if (!bytes || *bytes == 0)
    throwUsage(shown(name) + ": '" + core::printable(*text, 40) + "' is not a size; write it as 500K, 50M or 2G");
  return bytes;
}

std::vector<std::string> listOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return {};
  std::vector<std::string> pieces = core::splitList(*text);
  if (pieces.empty()) throwUsage(shown(name) + " is empty");
  return pieces;
}

std::optional<std::string> textOption(const ParsedOptions& options, std::string_view name) {
  auto text = options.value(name);
  if (!text) return std::nullopt;
  if (core::trim(*text).empty()) throwUsage(shown(name) + " is empty");
  const bool controls = std::ranges::any_of(*text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  if (controls) throwUsage(shown(name) + ": '" + core::printable(*text, 80) + "' holds control characters");
  return text;
}

std::optional<std::string> idOption(const ParsedOptions& options, std::string_view name, std::string_view what) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  return model::checkedId(what, *text);
}

std::string requiredId(const ParsedOptions& options, std::string_view name, std::string_view what) {
  const auto id = idOption(options, name, what);
  if (!id) throwUsage(shown(name) + " is missing: the " + std::string(what), "--help shows examples");
  return *id;
}

std::string wordOption(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words) {
  const auto text = options.value(name);
  if (!text) return std::string(words.front());
  if (std::ranges::find(words, *text) != words.end()) return *text;
  std::string list;
  for (const std::string_view word : words) list.append(list.empty() ? "" : ", ").append(word);
  throwUsage(shown(name) + ": '" + core::printable(*text, 40) + "' is not one of " + list + didYouMean(*text, words));
}

void refuseTogether(const ParsedOptions& options, std::initializer_list<std::string_view> names) {
  std::string_view first;
  for (const std::string_view name : names) {
    if (!options.has(name)) continue;
    if (!first.empty()) throwUsage(shown(first) + " and " + shown(name) + " contradict each other");
    first = name;
  }
}

void requireWith(const ParsedOptions& options, std::string_view name, std::string_view needed) {
  if (options.has(name) && !options.has(needed)) throwUsage(shown(name) + " needs " + shown(needed));
}

void refuseArguments(const ParsedOptions& options) {
  if (options.arguments().empty()) return;
  throwUsage("unexpected argument '" + core::printable(options.arguments().front(), 80) + "'",
             "ids are given with --id ID");
}

model::JobId jobNumber(std::string_view text) {
  const auto number = core::parseUnsigned(text);
  if (!number || *number == 0 || *number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throwUsage("'" + core::printable(text, 40) + "' is not a job number", "caiexport history lists the jobs");
  }
  return model::JobId(static_cast<std::int64_t>(*number));
}

std::optional<model::JobId> jobOrLast(const ParsedOptions& options) {
  const auto& arguments = options.arguments();
  if (arguments.size() > 1) throwUsage("give one job, not " + std::to_string(arguments.size()));
  if (options.has("last") && !arguments.empty()) throwUsage("--last and a job number contradict each other");
  if (!arguments.empty()) return jobNumber(arguments.front());
  if (options.has("last")) return std::nullopt;
  throwUsage("a job number is missing", "caiexport history lists the jobs; --last takes the newest");
}

}  // namespace caiexport::cli
