#pragma once
/// Option tables, a strict parser over them, help pages made from them, and what values mean.
///
/// Not Poco's OptionProcessor: that one takes unique prefixes for names, ignores case, lets a required argument swallow
/// the next option and treats `:` as `=` (tried with Poco 1.11), so a typing error could pass as another option.

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/ids.h"

namespace caiexport::cli {

struct Option {
  std::string_view name;           ///< Without the dashes.
  std::string_view argument = {};  ///< Placeholder of its value; empty for a flag.
  std::string_view help = {};
};

struct OptionGroup {
  std::string_view title;
  std::span<const Option> options;
};

/// Null if there is none of that name.
const Option* findOption(std::span<const OptionGroup> groups, std::string_view name);

/// What was given. Every option is single.
class ParsedOptions {
 public:
  bool has(std::string_view name) const { return values_.contains(name); }
  /// The value as given; empty text for a flag; nothing if the option was not given.
  std::optional<std::string> value(std::string_view name) const;
  const std::vector<std::string>& arguments() const { return arguments_; }

  /// Error(usage) if the option is there already.
  void add(std::string_view name, std::string value);
  void addArgument(std::string argument) { arguments_.push_back(std::move(argument)); }

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::vector<std::string> arguments_;
};

/// Takes options from the front of `words` up to the first plain word, and removes what it took. Error(usage).
void takeLeadingOptions(std::span<const std::string>& words, std::span<const OptionGroup> known, ParsedOptions& into);

/// Takes all of `words`: exact names only, `--name value` or `--name=value`; a value that begins with `--` must be
/// given with `=`; `--` ends the options. Error(usage) that names the word and the nearest real option.
void takeAllOptions(std::span<const std::string> words, std::span<const OptionGroup> known, ParsedOptions& into);

/// Number of inserted, removed, changed or swapped characters between two words.
std::size_t editDistance(std::string_view a, std::string_view b);

/// The candidate that was probably meant by `word`; empty if none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

/// ", did you mean 'X'?" or empty text.
std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates,
                       std::string_view prefix = {});

struct Example {
  std::string_view command;
  std::string_view what;
};

/// What a command takes, and its help page.
struct CommandPage {
  std::string_view name;
  std::string_view summary;    ///< One line.
  std::string_view arguments;  ///< Shown in the usage line, e.g. `JOB|PATH...`; empty: it takes none.
  std::string_view description;
  std::vector<OptionGroup> groups;
  std::vector<Example> examples;
  std::vector<int> exitCodes;
};

/// The page as text for a terminal of that width (0: there is none, 80 columns). Only examples may be wider.
std::string helpText(const CommandPage& page, std::size_t width = 0);

/// The command's own options alone: what `-h` prints.
std::string shortHelpText(const CommandPage& page, std::size_t width = 0);

/// What an exit code means, in a few words.
std::string_view meaningOfExitCode(int code);

/// Options in two columns, the right one wrapped.
std::string optionList(std::span<const OptionGroup> groups, std::size_t width = 0);

/// `text` wrapped at blanks (its own line ends are such) to `width` columns, every line but the first after `indent`
/// blanks.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

[[noreturn]] void throwUsage(const std::string& message, const std::string& hint = {});

// --- values of options as what they mean. All errors are Error(usage) that name the option.

/// Nothing where the option was not given.
std::optional<std::uint64_t> numberOption(const ParsedOptions& options, std::string_view name, std::uint64_t least,
                                          std::uint64_t most);
std::optional<core::Duration> durationOption(const ParsedOptions& options, std::string_view name);
std::optional<core::TimePoint> timeOption(const ParsedOptions& options, std::string_view name, core::TimePoint now);
/// At least 1.
std::optional<std::uint64_t> bytesOption(const ParsedOptions& options, std::string_view name);
/// A comma list with at least one piece.
std::vector<std::string> listOption(const ParsedOptions& options, std::string_view name);
/// Text that is not empty and holds no control characters.
std::optional<std::string> textOption(const ParsedOptions& options, std::string_view name);
/// An id of the platform.
std::optional<std::string> idOption(const ParsedOptions& options, std::string_view name, std::string_view what);
/// One of the words; the first where the option was not given.
std::string wordOption(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words);
/// The same as a value of an enum whose names are the words, in their order.
template <class Enum, std::size_t size>
Enum enumOption(const ParsedOptions& options, std::string_view name, const std::array<std::string_view, size>& words) {
  return static_cast<Enum>(std::ranges::find(words, wordOption(options, name, words)) - words.begin());
}
std::string requiredId(const ParsedOptions& options, std::string_view name, std::string_view what);

/// Error(usage) if more than one of them was given.
void refuseTogether(const ParsedOptions& options, std::initializer_list<std::string_view> names);
/// Error(usage) if `name` was given without `needed`.
void requireWith(const ParsedOptions& options, std::string_view name, std::string_view needed);
void refuseArguments(const ParsedOptions& options);

/// A job's number, 1 and up.
model::JobId jobNumber(std::string_view text);
/// The only argument, or that of --last: nothing means the newest. Error(usage) for both, for none, for several.
std::optional<model::JobId> jobOrLast(const ParsedOptions& options);

std::string notADuration(std::string_view text);
std::string notInRange(std::string_view text, std::uint64_t least, std::uint64_t most);

enum class TextOrJson { text, json };
/// --format text|json.
TextOrJson formatOption(const ParsedOptions& options);

}  // namespace caiexport::cli
