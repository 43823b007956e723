#include "output_format.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "cli/option_values.h"

namespace caiexport::cli {
namespace {

[[noreturn]] void usageError(const std::string& message, std::string hint = {}) {
  throw core::Error(core::Category::usage, message, {.hint = std::move(hint)});
}

struct Ending {
  std::string_view ending;
  std::string_view word;  ///< Empty: nothing is written so.
};

constexpr std::array<Ending, 16> kEndings{{
    {".csv", "csv"},
    {".jsonl", "jsonl"},
    {".ndjson", "jsonl"},
    {".json", "json"},
    {".parquet", "parquet"},
    {".html", "html"},
    {".htm", "html"},
    {".tsv", ""},
    {".xlsx", ""},
    {".xls", ""},
    {".gz", ""},
    {".zip", ""},
    {".zst", ""},
    {".bz2", ""},
    {".xz", ""},
    {".avro", ""},
}};

/// Nothing for an ending that promises no format.
std::optional<std::string_view> promisedBy(const std::string& output) {
  const std::string ending = core::toLower(std::filesystem::path(output).extension().string());
  const auto found = std::ranges::find(kEndings, ending, &Ending::ending);
  if (found == kEndings.end()) return std::nullopt;
  return found->word;
}

}  // namespace

std::string formatFor(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words) {
  std::string given = wordOption(options, name, words);
  const auto output = options.value("output");
  const auto promised = output ? promisedBy(*output) : std::nullopt;
  if (!promised || given == *promised) return given;
  const bool possible = std::ranges::find(words, *promised) != words.end();
  if (!options.has(name) && possible) return std::string(*promised);
  // Lines of JSON in a file.json are what many tools expect.
  if (options.has(name) && given == "jsonl" && *promised == "json") return given;
  std::string list;
  for (const std::string_view word : words) list.append(list.empty() ? "" : ", ").append(word);
  const std::string file = "--output '" + core::printable(*output, 200) + "'";
  if (options.has(name)) usageError(file + " and " + "--" + std::string(name) + " " + given + " contradict each other");
  usageError(
      file + " promises a format that can't be written here",
      "the formats are " + list + "; " + "--" + std::string(name) + " chooses one, under a name with another ending");
}

}  // namespace caiexport::cli
