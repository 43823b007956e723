#pragma once
/// What `dataset`, `segment`, `sync` and `resume` share: options of a transfer, what a result must be like to count,
/// and running one job with its result printed.

#include <string>

#include "caiexport/cli/application.h"
#include "caiexport/cli/options.h"
#include "caiexport/engine/runner.h"
#include "caiexport/model/export_request.h"

namespace caiexport::cli {

class Session;

enum class TextOrJson { text, json };
/// --format text|json.
TextOrJson formatOption(const ParsedOptions& options);

/// --verify.
model::VerifyLevel verifyOption(const ParsedOptions& options);

/// Runs a job that is recorded already, prints its document or its result, says how to go on after a failure.
CommandEnd runAndPrint(Session& session, model::JobId job, const engine::RunOptions& options, TextOrJson format,
                       Context& context);

/// Prints a result as text on standard output, unless --quiet is given.
void printResultText(const std::string& text, Context& context);

/// The job as it is now, as a document of its own.
void printJobDocument(Session& session, model::JobId job, const CommandEnd& error, Context& context);

/// Options that `dataset`, `segment` and `sync` share: what a result must be like for it to count.
OptionGroup guardGroup();
model::Guards guardOptions(const ParsedOptions& options);

}  // namespace caiexport::cli
