#include "run_job.h"

#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/category.h"
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
    hint += "; what arrived is kept: caiexport resume " + number + " goes on from there";
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

}  // namespace caiexport::cli
