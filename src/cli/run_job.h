#pragma once
/// What `dataset`, `segment` and `resume` share: options of a transfer, and running one job with its result printed.

#include <string>

#include "caiexport/cli/application.h"
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

/// A result in text on standard output, unless --quiet wants errors alone.
void printResultText(const std::string& text, Context& context);

/// The job as it is now, as a document of its own.
void printJobDocument(Session& session, model::JobId job, const CommandEnd& error, Context& context);

}  // namespace caiexport::cli
