#include "caiexport/cli/options.h"

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

using core::Category;
using core::Error;

[[noreturn]] void throwUsage(const std::string& message, std::string hint) {
  throw Error(Category::usage, message, {.hint = std::move(hint)});
}

const Option* findOption(std::span<const OptionGroup> groups, std::string_view name) {
  for (const OptionGroup& group : groups) {
    for (const Option& option : group.options) {
      if (option.name == name) return &option;
    }
  }
  return nullptr;
}

std::vector<std::string_view> shownNames(std::span<const OptionGroup> groups) {
  std::vector<std::string_view> names;
  for (const OptionGroup& group : groups) {
    for (const Option& option : group.options) {
      if (!option.hidden) names.push_back(option.name);
    }
  }
  return names;
}

[[noreturn]] void throwUnknownOption(std::string_view name, std::span<const OptionGroup> known) {
  throwUsage("unknown option --" + core::printable(name, 60) + didYouMean(name, shownNames(known), "--"),
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

}  // namespace

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

}  // namespace caiexport::cli
