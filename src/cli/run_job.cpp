#include "run_job.h"

#include <Poco/NumberParser.h>

#include <array>
#include <cmath>
#include <limits>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/category.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/output/job_json.h"
#include "cli/output/job_text.h"
#include "option_values.h"
#include "session.h"

namespace caiexport::cli {

namespace {

std::string wayOnOf(core::Category category, const std::string& job) {
  constexpr std::string_view kPlace = "JOB";
  std::string text(core::factsOf(category).wayOn);
  for (std::size_t at = text.find(kPlace); at != text.npos; at = text.find(kPlace, at + job.size())) {
    text.replace(at, kPlace.size(), job);
  }
  return text;
}

/// The error with a hint how to go on, unless it has one already.
CommandEnd withWayOn(CommandEnd error, model::JobId job) {
  if (!error) return error;
  const std::string number = std::to_string(model::numberOf(job));
  std::string hint = error->hint();
  if (error->category() == core::Category::io && !hint.empty() && hint.find("caiexport resume") == std::string::npos) {
    // What the machine refused says how to mend it, not what of the job is left.
    hint += "; what was downloaded is kept: caiexport resume " + number + " continues from there";
    return core::Error(error->category(), error->what(), {.requestId = error->requestId(), .hint = hint});
  }
  if (!hint.empty()) return error;
  hint = wayOnOf(error->category(), number);
  return core::Error(error->category(), error->what(), {.requestId = error->requestId(), .hint = hint});
}

}  // namespace

TextOrJson formatOption(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 2> kFormats{"text", "json"};
  return wordOption(options, "format", kFormats) == "json" ? TextOrJson::json : TextOrJson::text;
}

model::VerifyLevel verifyOption(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 3> kLevels{"footer", "size", "full"};
  return *model::verifyLevelFrom(wordOption(options, "verify", kLevels));
}

void printResultText(const std::string& text, Context& context) {
  if (context.console.level() != Console::Level::quiet) context.out.write(text);
}

void printJobDocument(Session& session, model::JobId job, const CommandEnd& error, Context& context) {
  const store::JobView view = session.history().job(job);
  json::Writer json([&](std::string_view text) { context.out.write(text); });
  std::optional<model::JobError> shown;
  if (error) shown = recordOf(*error);
  writeJob(json, view, JobDetail::result, session.history(), shown);
}

CommandEnd runAndPrint(Session& session, model::JobId job, const engine::RunOptions& options, TextOrJson format,
                       Context& context) {
  CommandEnd error = withWayOn(session.run(job, options).error, job);
  if (format == TextOrJson::json) {
    printJobDocument(session, job, error, context);
    context.out.write("\n");
  } else if (!error) {
    printResultText(resultText(session.history().job(job), session.takeArrived(), session.ran()), context);
  }
  return error;
}

namespace {

constexpr std::array<Option, 3> kGuards{{
    {"max-age", "DURATION",
     R"(fail with exit code 12 if the newest batch, or the segment's evaluation, is older than this,
e.g. 24h)"},
    {"min-records", "N", R"(fail with exit code 8 if the result has fewer records than this; the files are kept, but
`latest` stays where it is)"},
    {"max-change", "PERCENT",
     R"(fail likewise if the number of records differs by more than this from the last success, e.g. 30%)"},
}};

std::optional<double> percentOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  std::string number(core::trim(*text));
  if (number.ends_with('%')) number.pop_back();
  double percent = 0;
  const bool digits = !number.empty() && number.find_first_not_of("0123456789.") == number.npos;
  if (digits && Poco::NumberParser::tryParseFloat(number, percent) && std::isfinite(percent)) return percent;
  throw core::Error(core::Category::usage, "--" + std::string(name) + ": '" + core::printable(*text, 40) +
                                               "' is not a percentage; write it as 30% or 12.5");
}

}  // namespace

OptionGroup guardGroup() {
  return {"Guards", kGuards};
}

model::Guards guardOptions(const ParsedOptions& options) {
  model::Guards guards;
  guards.maxAge = durationOption(options, "max-age");
  guards.minRecords = numberOption(options, "min-records", 1, std::numeric_limits<std::int64_t>::max());
  guards.maxChangePercent = percentOption(options, "max-change");
  return guards;
}

}  // namespace caiexport::cli
