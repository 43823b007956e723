#pragma once
/// `history diff A B` and `history prune`.

#include "caiexport/cli/application.h"
#include "cli/run_job.h"

namespace caiexport::cli {

CommandEnd diffJobs(const ParsedOptions& options, TextOrJson format, Context& context);
CommandEnd pruneJobs(const ParsedOptions& options, TextOrJson format, Context& context);

}  // namespace caiexport::cli
