#include <algorithm>

#include "caiexport/cli/options.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kPageWidth = 100;
constexpr std::size_t kHelpColumn = 34;

std::string leftColumn(const Option& option) {
  std::string text = "  --" + std::string(option.name);
  if (!option.argument.empty()) text.append(" ").append(option.argument);
  return text;
}

void appendOption(std::string& out, const Option& option) {
  const std::string left = leftColumn(option);
  out += left;
  if (left.size() + 2 > kHelpColumn) {
    out += '\n';
    out.append(kHelpColumn, ' ');
  } else {
    out.append(kHelpColumn - left.size(), ' ');
  }
  out += wrapped(option.help, kPageWidth - kHelpColumn, kHelpColumn) + '\n';
}

bool hasShownOption(const OptionGroup& group) {
  return std::ranges::any_of(group.options, [](const Option& option) { return !option.hidden; });
}

/// Those that are the same for many commands.
bool isShared(const OptionGroup& group) {
  return group.title == "Platform" || group.title == "Global options";
}

void appendExamples(std::string& out, std::span<const Example> examples) {
  if (examples.empty()) return;
  out += "\nExamples:\n";
  for (const Example& example : examples) {
    out.append("  ").append(example.command).append("\n");
    out.append("      ").append(wrapped(example.what, kPageWidth - 6, 6)).append("\n");
  }
}

void appendExitCodes(std::string& out, std::span<const int> codes) {
  out += "\nExit codes:\n";
  for (const int code : codes) {
    std::string number = std::to_string(code);
    number.insert(0, 5 - number.size(), ' ');
    out.append(number).append("  ").append(wrapped(meaningOfExitCode(code), kPageWidth - 7, 7)).append("\n");
  }
}

}  // namespace

std::string_view meaningOfExitCode(int code) {
  switch (code) {
    case 0:
      return "done";
    case 1:
      return "a defect of caiexport itself";
    case 2:
      return "wrong usage or settings";
    case 3:
      return "not authenticated or not permitted";
    case 4:
      return "not found, or nothing to download";
    case 5:
      return "the platform's job failed or was cancelled, or the platform refused the request for what it asks";
    case 6:
      return "the wait timed out, the platform's job goes on; `resume` continues";
    case 7:
      return "the platform or the network was not to be had after all retries, or some files failed; `resume` "
             "continues";
    case 8:
      return "what arrived, or what is on disk, is not what was promised";
    case 9:
      return "local files or the database could not be read or written";
    case 10:
      return "another process runs this job, or holds its batch folder";
    case 11:
      return "blocked: it waits for a decision that the message names";
    case 12:
      return "what is there is older than --max-age allows";
    case 130:
      return "interrupted; `resume` continues";
    default:
      return "";
  }
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, blank);
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
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return out;
}

std::string optionList(std::span<const OptionGroup> groups) {
  std::string out;
  for (const OptionGroup& group : groups) {
    if (!hasShownOption(group)) continue;
    out.append(out.empty() ? "" : "\n").append(group.title).append(":\n");
    for (const Option& option : group.options) {
      if (!option.hidden) appendOption(out, option);
    }
  }
  return out;
}

std::string shortHelpText(const CommandPage& page) {
  std::string out = "Usage: caiexport " + std::string(page.name);
  if (!page.arguments.empty()) out.append(" ").append(page.arguments);
  out += " [OPTIONS]\n\n" + wrapped(page.summary, kPageWidth, 0) + "\n\n";
  std::vector<OptionGroup> own = page.groups;
  std::erase_if(own, [](const OptionGroup& group) { return isShared(group); });
  out += optionList(own);
  return out + (own.empty() ? "" : "\n") + "caiexport " + std::string(page.name) +
         " --help has all options, examples and exit codes\n";
}

std::string helpText(const CommandPage& page) {
  std::string out = "Usage: caiexport [GLOBAL OPTIONS] " + std::string(page.name);
  if (!page.arguments.empty()) out.append(" ").append(page.arguments);
  out += " [OPTIONS]\n\n";
  out += wrapped(page.description, kPageWidth, 0) + "\n\n";
  out += optionList(page.groups);
  appendExamples(out, page.examples);
  appendExitCodes(out, page.exitCodes);
  return out;
}

}  // namespace caiexport::cli
