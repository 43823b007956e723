#include "share_key.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/store/location.h"

namespace caiexport::cli {
namespace {

using core::Category;
using core::Error;

constexpr std::string_view kAuto = "auto";
constexpr std::size_t kLongest = 200;

/// What all tasks have in common that were started together, and no others.
struct Engine {
  std::string_view variable;
  char upTo = 0;  ///< What follows tells the tasks apart.
};
constexpr std::array<Engine, 4> kEngines{{
    {.variable = "SLURM_ARRAY_JOB_ID"},
    {.variable = "AWS_BATCH_JOB_ID", .upTo = ':'},
    {.variable = "JOB_NAME"},
    {.variable = "AIRFLOW_CTX_DAG_RUN_ID"},
}};

std::string keyOfEngine(const Environment& environment, const std::string& place) {
  std::string names;
  for (const Engine& engine : kEngines) {
    if (const auto value = environment.get(engine.variable)) {
      return engine.upTo == 0 ? *value : value->substr(0, value->find(engine.upTo));
    }
    names.append(names.empty() ? "" : ", ").append(engine.variable);
  }
  throw Error(Category::usage, place + ": no engine says which tasks belong together (" + names + ")",
              {.hint = "give a key that all of them have and no other run has: --share KEY"});
}

}  // namespace

std::optional<std::string> shareKey(const ParsedOptions& options, const Environment& environment,
                                    const store::Location& database) {
  const bool isOption = options.has("share");
  const std::string place = isOption ? "--share" : "CAIEXPORT_SHARE";
  const std::optional<std::string> given = isOption ? options.value("share") : environment.get(place);
  if (!given) return std::nullopt;
  if (!database.isServer()) {
    throw Error(Category::usage,
                place + ": several workers can share a job only by a database that all of them reach, and " +
                    core::printable(database.name()) + " is a file",
                {.hint = "name a database on a server: --database postgresql://HOST/NAME"});
  }
  std::string key = *given == kAuto ? keyOfEngine(environment, place) : *given;
  const bool controls = std::ranges::any_of(key, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  if (core::trim(key).empty()) throw Error(Category::usage, place + " is empty");
  if (controls || key.size() > kLongest) {
    throw Error(Category::usage, place + ": '" + core::printable(key, 80) + "' can't be a key: " +
                                     (controls ? "it holds control characters" : "it is longer than 200 bytes"));
  }
  return key;
}

}  // namespace caiexport::cli
