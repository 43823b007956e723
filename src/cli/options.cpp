#include "caiexport/cli/options.h"

#include <algorithm>
#include <array>
#include <limits>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {

namespace {

using core::Category;
using core::Error;

std::string shown(std::string_view name) {
  return "--" + std::string(name);
}

std::vector<std::string_view> namesOf(std::span<const OptionGroup> groups) {
  std::vector<std::string_view> names;
  for (const OptionGroup& group : groups) {
    for (const Option& option : group.options) names.push_back(option.name);
  }
  return names;
}

[[noreturn]] void throwUnknownOption(std::string_view name, std::span<const OptionGroup> known) {
  throwUsage("unknown option --" + core::printable(name, 60) + didYouMean(name, namesOf(known), "--"),
             "--help lists the options");
}

bool looksLikeOption(std::string_view word) {
  return word.size() > 1 && word.front() == '-';
}

/// Takes the option at the front of `words`, and its value.
void takeOption(std::span<const std::string>& words, std::span<const OptionGroup> known, ParsedOptions& into) {
  std::string_view word = words.front();
  words = words.subspan(1);
  if (word == "-h") {
    into.add("help", "short");
    return;
  }
  if (!word.starts_with("--")) {
    throwUsage("unknown option " + core::printable(word, 60), "options have two dashes; --help lists them");
  }
  word.remove_prefix(2);
  const std::size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const Option* option = findOption(known, name);
  if (option == nullptr) throwUnknownOption(name, known);

  if (option->argument.empty()) {
    if (equals != word.npos) throwUsage("--" + std::string(name) + " takes no value", {});
    into.add(name, {});
    return;
  }
  if (equals != word.npos) {
    into.add(name, std::string(word.substr(equals + 1)));
    return;
  }
  if (words.empty() || words.front().starts_with("--")) {
    const std::string both = "--" + std::string(name);
    throwUsage(both + " needs a value: " + both + " " + std::string(option->argument),
               words.empty() ? "" : "a value that begins with -- is given as " + both + "=VALUE");
  }
  into.add(name, words.front());
  words = words.subspan(1);
}

constexpr std::size_t kHelpColumn = 34;

/// Of a page on a terminal that is `width` wide: what is much narrower or wider is not read any better.
std::size_t pageWidth(std::size_t width) {
  constexpr std::size_t kFallback = 80;
  constexpr std::size_t kLeast = 60;
  constexpr std::size_t kMost = 110;
  return width == 0 ? kFallback : std::clamp(width, kLeast, kMost);
}

std::string leftColumn(const Option& option) {
  std::string text = "  --" + std::string(option.name);
  if (!option.argument.empty()) text.append(" ").append(option.argument);
  return text;
}

void appendOption(std::string& out, const Option& option, std::size_t page) {
  const std::string left = leftColumn(option);
  out += left;
  if (left.size() + 2 > kHelpColumn) {
    out += '\n';
    out.append(kHelpColumn, ' ');
  } else {
    out.append(kHelpColumn - left.size(), ' ');
  }
  out += wrapped(option.help, page - kHelpColumn, kHelpColumn) + '\n';
}

/// Those that are the same for many commands.
bool isShared(const OptionGroup& group) {
  return group.title == "Platform" || group.title == "Global options";
}

void appendExamples(std::string& out, std::span<const Example> examples, std::size_t page) {
  if (examples.empty()) return;
  out += "\nExamples:\n";
  for (const Example& example : examples) {
    out.append("  ").append(example.command).append("\n");
    out.append("      ").append(wrapped(example.what, page - 6, 6)).append("\n");
  }
}

void appendExitCodes(std::string& out, std::span<const int> codes, std::size_t page) {
  out += "\nExit codes:\n";
  for (const int code : codes) {
    std::string number = std::to_string(code);
    number.insert(0, 5 - number.size(), ' ');
    out.append(number).append("  ").append(wrapped(meaningOfExitCode(code), page - 7, 7)).append("\n");
  }
}

/// What `parse` makes of the option's value; it is refused as `what` says where that is nothing.
template <class Parse, class What>
auto parsedOption(const ParsedOptions& options, std::string_view name, Parse parse, What what, std::string hint = {}) {
  const auto text = options.value(name);
  if (!text) return decltype(parse(*text))();
  auto parsed = parse(*text);
  if (!parsed) throwUsage(shown(name) + ": " + what(*text), std::move(hint));
  return parsed;
}

}  // namespace

void throwUsage(const std::string& message, const std::string& hint) {
  throw Error(Category::usage, message, {.hint = hint});
}

const Option* findOption(std::span<const OptionGroup> groups, std::string_view name) {
  for (const OptionGroup& group : groups) {
    for (const Option& option : group.options) {
      if (option.name == name) return &option;
    }
  }
  return nullptr;
}

std::optional<std::string> ParsedOptions::value(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

void ParsedOptions::add(std::string_view name, std::string value) {
  if (!values_.emplace(std::string(name), std::move(value)).second) {
    throwUsage("--" + std::string(name) + " is given twice", {});
  }
}

void takeLeadingOptions(std::span<const std::string>& words, std::span<const OptionGroup> known, ParsedOptions& into) {
  while (!words.empty() && looksLikeOption(words.front())) {
    if (words.front() == "--") {
      words = words.subspan(1);
      return;
    }
    takeOption(words, known, into);
  }
}

void takeAllOptions(std::span<const std::string> words, std::span<const OptionGroup> known, ParsedOptions& into) {
  bool optionsEnded = false;
  while (!words.empty()) {
    const std::string& word = words.front();
    if (!optionsEnded && word == "--") {
      optionsEnded = true;
      words = words.subspan(1);
    } else if (!optionsEnded && looksLikeOption(word)) {
      takeOption(words, known, into);
    } else {
      into.addArgument(word);
      words = words.subspan(1);
    }
  }
}

std::size_t editDistance(std::string_view a, std::string_view b) {
  // Three rows of the optimal string alignment table: before the last, the last and the present one.
  std::vector<std::size_t> beforeLast(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], beforeLast[j - 2] + 1);
    }
    std::swap(beforeLast, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongestWord = 60;
  if (word.empty() || word.size() > kLongestWord) return {};
  const std::string lowered = core::toLower(word);
  std::string_view best;
  std::size_t bestDistance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    std::size_t distance = editDistance(lowered, candidate);
    // A beginning of the real name is what people type who are used to prefixes.
    if (lowered.size() >= 3 && candidate.starts_with(lowered)) distance = std::min<std::size_t>(distance, 1);
    if (distance < bestDistance && distance < candidate.size()) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates, std::string_view prefix) {
  const std::string_view found = nearest(word, candidates);
  if (found.empty()) return {};
  return ", did you mean '" + std::string(prefix) + std::string(found) + "'?";
}

std::string_view meaningOfExitCode(int code) {
  static const std::map<int, std::string_view> meanings{
      {0, "done"},
      {1, "a defect of caiexport itself"},
      {2, "wrong usage or settings"},
      {3, "not authenticated or not permitted"},
      {4, "not found, or nothing to download"},
      {5, "the platform's job failed or was cancelled, or the platform refused what the request asks for"},
      {6, "waiting timed out, but the platform's job goes on; `resume` continues"},
      {7,
       "the platform, or the server of the record, could not be reached after all retries, or some files failed; "
       "`resume` continues"},
      {8, "what arrived, or what is on disk, is not what was promised"},
      {9, "local files or the database could not be read or written"},
      {10, "another process runs this job, or holds its batch folder"},
      {11, "blocked: it waits for your decision; the message names the choices"},
      {12, "the newest batch or evaluation is older than --max-age allows"},
      {130, "interrupted; `resume` continues"},
  };
  const auto found = meanings.find(code);
  return found == meanings.end() ? std::string_view() : found->second;
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  constexpr std::string_view kBlanks = " \n";
  std::string out;
  std::size_t column = 0;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    if (text.empty()) return out;
    const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
    if (column > 0 && column + 1 + word.size() > width) {
      out += '\n';
      out.append(indent, ' ');
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(word.size());
  }
}

std::string optionList(std::span<const OptionGroup> groups, std::size_t width) {
  std::string out;
  for (const OptionGroup& group : groups) {
    if (group.options.empty()) continue;
    out.append(out.empty() ? "" : "\n").append(group.title).append(":\n");
    for (const Option& option : group.options) appendOption(out, option, pageWidth(width));
  }
  return out;
}

std::string shortHelpText(const CommandPage& page, std::size_t width) {
  std::string out = "Usage: caiexport " + std::string(page.name);
  if (!page.arguments.empty()) out.append(" ").append(page.arguments);
  out += " [OPTIONS]\n\n" + wrapped(page.summary, pageWidth(width), 0) + "\n\n";
  std::vector<OptionGroup> own = page.groups;
  std::erase_if(own, [](const OptionGroup& group) { return isShared(group); });
  out += optionList(own, width);
  return out + (own.empty() ? "" : "\n") + "caiexport " + std::string(page.name) +
         " --help has all options, examples and exit codes\n";
}

std::string helpText(const CommandPage& page, std::size_t width) {
  std::string out = "Usage: caiexport [GLOBAL OPTIONS] " + std::string(page.name);
  if (!page.arguments.empty()) out.append(" ").append(page.arguments);
  out += " [OPTIONS]\n\n";
  out += wrapped(page.description, pageWidth(width), 0) + "\n\n";
  out += optionList(page.groups, width);
  appendExamples(out, page.examples, pageWidth(width));
  appendExitCodes(out, page.exitCodes, pageWidth(width));
  return out;
}

// --- values

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
  const auto inRange = [&](const std::string& text) {
    const auto number = core::parseUnsigned(text);
    return number && *number >= least && *number <= most ? number : std::nullopt;
  };
  return parsedOption(options, name, inRange, [&](const std::string& text) { return notInRange(text, least, most); });
}

std::optional<core::Duration> durationOption(const ParsedOptions& options, std::string_view name) {
  return parsedOption(options, name, core::parseDuration, notADuration);
}

std::optional<core::TimePoint> timeOption(const ParsedOptions& options, std::string_view name, core::TimePoint now) {
  return parsedOption(
      options, name, [now](const std::string& text) { return core::parseTime(text, now); },
      [](const std::string& text) { return "'" + core::printable(text, 40) + "' is not a time"; },
      "give 2026-11-24T10:00:00Z, a date (00:00 UTC), or a duration such as 7d (that long before now)");
}

std::optional<std::uint64_t> bytesOption(const ParsedOptions& options, std::string_view name) {
  const auto size = [](const std::string& text) {
    const auto bytes = core::parseBytes(text);
    return bytes && *bytes > 0 ? bytes : std::nullopt;
  };
  return parsedOption(options, name, size, [](const std::string& text) {
    return "'" + core::printable(text, 40) + "' is not a size; write it as 500K, 50M or 2G";
  });
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
  throwUsage(shown(name) + ": '" + core::printable(*text, 40) + "' is not one of " + core::joined(words, ", ") +
             didYouMean(*text, words));
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

TextOrJson formatOption(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 2> kFormats{"text", "json"};
  return wordOption(options, "format", kFormats) == "json" ? TextOrJson::json : TextOrJson::text;
}

}  // namespace caiexport::cli
