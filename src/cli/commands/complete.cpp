/// `caiexport complete WORD...`: what could stand in the place of the last word, for the shells' completion. Hidden
/// from help, as nobody types it.
///
/// Prints a candidate a line, whole, behind a tab what it is; `<FILE>` or `<DIR>` alone on a line mean that the shell's
/// own files or folders fit, too. Looks at the command tables, the config file and the record, changes nothing, waits
/// for nobody, never asks the platform, and keeps failures to itself: a shell would print them into the line.

#include <algorithm>
#include <array>
#include <exception>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/history.h"
#include "commands.h"
#include "config/config.h"

namespace caiexport::cli {
namespace {

using Words = std::span<const std::string>;

constexpr std::string_view kFiles = "<FILE>";
constexpr std::string_view kFolders = "<DIR>";

struct Candidate {
  std::string word;
  std::string what = {};
};

using Candidates = std::vector<Candidate>;

/// Shells may put a candidate into the line as it is: what they would read as more than a word is none.
bool isPlain(std::string_view word) {
  constexpr std::string_view kMarks = "-_.,:@+/=";
  return !word.empty() && std::ranges::all_of(word, [&](char letter) {
    const bool digit = letter >= '0' && letter <= '9';
    const bool alphabetic = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    return digit || alphabetic || kMarks.find(letter) != kMarks.npos;
  });
}

std::vector<std::string_view> pieces(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// Placeholders are upper case; what is to be typed as it stands is not.
bool isLiteral(std::string_view piece) {
  return std::ranges::none_of(piece, [](char letter) { return letter >= 'A' && letter <= 'Z'; });
}

/// An option's help without the default at its end.
std::string_view shortHelp(std::string_view help) {
  if (help.ends_with("]")) help = help.substr(0, help.rfind('['));
  return core::trim(help);
}

/// The command line up to the word that is to be completed.
struct Line {
  const CommandPage* page = nullptr;  ///< Nothing while there is no command.
  ParsedOptions options = {};
  const Option* waiting = nullptr;  ///< The last option, where its value is what comes next.
  bool optionsEnded = false;
  bool asksForHelp = false;  ///< `help` came in place of a command.
};

std::vector<OptionGroup> groupsOf(const CommandPage* page) {
  if (page != nullptr) return page->groups;
  return {globalGroups().begin(), globalGroups().end()};
}

const Option* optionNamed(const CommandPage* page, std::string_view name) {
  const Option* own = page == nullptr ? nullptr : findOption(page->groups, name);
  return own != nullptr ? own : findOption(globalGroups(), name);
}

const CommandPage* pageNamed(std::string_view name) {
  for (const Command& command : commands()) {
    if (command.page().name == name) return &command.page();
  }
  return nullptr;
}

void takeOption(Line& line, std::string_view word) {
  word.remove_prefix(2);
  const std::size_t equals = word.find('=');
  const Option* option = optionNamed(line.page, word.substr(0, equals));
  if (option == nullptr || line.options.has(option->name)) return;
  if (option->argument.empty() || equals != word.npos) {
    line.options.add(option->name, equals == word.npos ? "" : std::string(word.substr(equals + 1)));
  } else {
    line.waiting = option;
  }
}

/// As forgiving as the parser of a real run is strict: the line is not finished.
Line read(Words words) {
  Line line;
  for (const std::string& word : words) {
    if (line.waiting != nullptr) {
      line.options.add(line.waiting->name, word);
      line.waiting = nullptr;
    } else if (line.optionsEnded || !word.starts_with("-")) {
      if (line.page != nullptr) {
        line.options.addArgument(word);
      } else if (line.page = pageNamed(word); line.page == nullptr) {
        line.asksForHelp = word == "help" && !line.asksForHelp;
        if (!line.asksForHelp) throwUsage("no such command");
      }
    } else if (word == "--") {
      line.optionsEnded = true;
    } else if (word.starts_with("--")) {
      takeOption(line, word);
    }
  }
  return line;
}

/// What the record knows, newest first.
struct Known {
  Candidates jobs;
  Candidates datasets;
  Candidates segments;
};

void addOnce(Candidates& to, std::string_view word, std::string_view what) {
  if (std::ranges::find(to, word, &Candidate::word) != to.end()) return;
  to.push_back({std::string(word), std::string(what)});
}

Known fromRecord(const Line& line, const Environment& environment) {
  Configuration configuration(line.options, environment, BadFile::keep);
  store::Database database(configuration.database(), store::Database::Mode::glance);
  Known known;
  constexpr std::string_view kNewest =
      "SELECT job, kind, source_id, dataset_id, status, created_at FROM jobs ORDER BY job DESC LIMIT 200";
  constexpr std::size_t kMostJobs = 50;
  const auto add = [&](const std::vector<store::History::SqlCell>& row) {
    const std::string& kind = row.at(1).text;
    const std::string& source = row.at(2).text;
    const std::string when = row.at(5).text.substr(0, 16);
    if (known.jobs.size() < kMostJobs) {
      known.jobs.push_back({row.at(0).text, kind + " " + source + ", " + row.at(4).text + ", " + when});
    }
    if (kind == "segment") {
      for (const std::string& id : core::splitList(source)) addOnce(known.segments, id, "segment, last " + when);
      if (!row.at(3).text.empty()) addOnce(known.datasets, row.at(3).text, "of an export of segment " + source);
    } else {
      addOnce(known.datasets, source, "dataset, last " + when);
    }
    return true;
  };
  store::History(database, {})
      .runSql(
          kNewest, [](const auto&) {}, add);
  return known;
}

Candidates profiles(const Line& line, const Environment& environment) {
  ParsedOptions onlyFile;
  if (const auto file = line.options.value("config")) onlyFile.add("config", *file);
  Configuration configuration(onlyFile, environment, BadFile::keep);
  Candidates out;
  for (const auto& [name, values] : readConfigFile(configuration.configFile().file)) out.push_back({name});
  return out;
}

Candidates statusWords(const CommandPage& page) {
  if (page.name == segmentPage().name) return {{"realized"}, {"exited"}};
  Candidates out;
  for (int i = 0; i <= static_cast<int>(model::JobStatus::succeeded); ++i) {
    out.push_back({std::string(nameOf(static_cast<model::JobStatus>(i)))});
  }
  return out;
}

/// Of the dataset or segment that an option names.
Candidates ids(const CommandPage& page, std::string_view option, Known known) {
  const bool ofDataset = option == "dataset" || page.name == datasetPage().name || page.name == syncPage().name;
  if (ofDataset) return known.datasets;
  if (option == "segment" || page.name == segmentPage().name) return known.segments;
  std::ranges::move(known.segments, std::back_inserter(known.datasets));
  return known.datasets;
}

/// By the option's placeholder: `text|json`, `FILE`, `DIR`, `ID`, ...
Candidates valuesOf(const Line& line, const Option& option, const Environment& environment) {
  const auto alternatives = pieces(option.argument, '|');
  if (alternatives.size() > 1 && std::ranges::all_of(alternatives, isLiteral)) {
    Candidates words;
    for (const std::string_view word : alternatives) words.push_back({std::string(word)});
    return words;
  }
  if (option.argument == "FILE") return {{std::string(kFiles)}};
  if (option.argument == "DIR") return {{std::string(kFolders)}};
  if (option.name == "profile") return profiles(line, environment);
  if (line.page == nullptr) return {};
  if (option.argument == "WORDS") return statusWords(*line.page);
  constexpr std::array<std::string_view, 3> kIds{"id", "dataset", "segment"};
  if (std::ranges::find(kIds, option.name) != kIds.end())
    return ids(*line.page, option.name, fromRecord(line, environment));
  return {};
}

/// What may come after these arguments by the usage line: `JOB|PATH...|--last`, `[diff JOB JOB|prune --before TIME]`.
std::set<std::string_view> argumentKinds(std::string_view usage, Words given) {
  std::set<std::string_view> kinds;
  if (usage.starts_with('[')) usage = usage.substr(1, usage.size() - 2);
  for (const std::string_view way : pieces(usage, '|')) {
    const auto parts = pieces(way, ' ');
    const bool repeats = parts.back().ends_with("...");
    if (given.size() >= parts.size() && !repeats) continue;
    const auto partAt = [&](std::size_t at) { return parts[std::min(at, parts.size() - 1)]; };
    bool fits = true;
    for (std::size_t i = 0; i < given.size(); ++i) fits = fits && (!isLiteral(partAt(i)) || partAt(i) == given[i]);
    if (!fits) continue;
    std::string_view next = partAt(given.size());
    if (next.ends_with("...")) next.remove_suffix(3);
    if (!next.starts_with("--")) kinds.insert(next);
  }
  return kinds;
}

Candidates arguments(const Line& line, const Environment& environment) {
  Candidates out;
  for (const std::string_view kind : argumentKinds(line.page->arguments, line.options.arguments())) {
    if (kind == "JOB") {
      try {
        std::ranges::move(fromRecord(line, environment).jobs, std::back_inserter(out));
      } catch (const core::Error&) {
        continue;  // files may fit, too
      }
    } else if (kind == "PATH" || kind == "DIR") {
      out.push_back({std::string(kind == "DIR" ? kFolders : kFiles)});
    } else if (isLiteral(kind)) {
      out.push_back({std::string(kind)});
    }
  }
  return out;
}

/// Those not given yet.
Candidates options(const Line& line) {
  Candidates out;
  for (const OptionGroup& group : groupsOf(line.page)) {
    for (const Option& option : group.options) {
      if (!line.options.has(option.name)) {
        addOnce(out, "--" + std::string(option.name), wrapped(shortHelp(option.help), std::string_view::npos, 0));
      }
    }
  }
  return out;
}

Candidates commandNames() {
  Candidates out;
  for (const Command& command : commands()) {
    out.push_back({std::string(command.page().name), std::string(command.page().summary)});
  }
  return out;
}

/// A list's pieces: what stands before the last comma of `current` is kept, and not offered again.
Candidates asListEnd(const Candidates& values, std::string_view current) {
  const std::string_view before = current.substr(0, current.rfind(',') + 1);
  const auto there = pieces(before, ',');
  Candidates out;
  for (const Candidate& value : values) {
    if (std::ranges::find(there, value.word) != there.end()) continue;
    out.push_back({std::string(before) + value.word, value.what});
  }
  return out;
}

bool isList(const Option& option) {
  return option.argument == "WORDS" || option.argument.find(',') != std::string_view::npos;
}

/// `before` is the `--name=` that the value shares a word with, or nothing.
Candidates optionValues(const Line& line, const Option& option, std::string_view current, std::string_view before,
                        const Environment& environment) {
  Candidates values = valuesOf(line, option, environment);
  if (isList(option)) values = asListEnd(values, current);
  for (Candidate& value : values) {
    if (!value.word.starts_with('<')) value.word.insert(0, before);
  }
  return values;
}

Candidates candidates(const Line& line, std::string_view current, const Environment& environment) {
  if (line.waiting != nullptr) return optionValues(line, *line.waiting, current, {}, environment);
  if (!line.optionsEnded && current.starts_with("-")) {
    const std::size_t equals = current.find('=');
    if (equals == current.npos) return options(line);
    const Option* option = optionNamed(line.page, current.substr(0, equals).substr(std::min<std::size_t>(2, equals)));
    if (option == nullptr || option->argument.empty()) return {};
    return optionValues(line, *option, current.substr(equals + 1), current.substr(0, equals + 1), environment);
  }
  if (line.page == nullptr) return commandNames();
  Candidates out = arguments(line, environment);
  // Nothing but options can follow.
  if (out.empty() && current.empty() && argumentKinds(line.page->arguments, line.options.arguments()).empty()) {
    out = options(line);
  }
  return out;
}

std::string answer(Words words, const Environment& environment) {
  if (words.empty()) return {};
  const std::string& current = words.back();
  const Line line = read(words.first(words.size() - 1));
  std::string text;
  for (const Candidate& candidate : candidates(line, current, environment)) {
    const bool shells = candidate.word == kFiles || candidate.word == kFolders;
    if (!shells && (!isPlain(candidate.word) || !candidate.word.starts_with(current))) continue;
    text += candidate.word;
    if (!candidate.what.empty()) text += "\t" + core::printable(candidate.what, 100);
    text += "\n";
  }
  return text;
}

}  // namespace

std::string completions(std::span<const std::string> words, const Environment& environment) {
  try {
    return answer(words, environment);
  } catch (const std::exception&) {
    return {};  // nothing to offer
  }
}

}  // namespace caiexport::cli
