#pragma once
/// `dataset --dry-run`: asks the platform, makes nothing.

#include "caiexport/cli/application.h"
#include "cli/run_job.h"

namespace caiexport::cli {

class Configuration;

CommandEnd runDryRun(Configuration& configuration, model::ExportRequest request, TextOrJson format, Context& context);

}  // namespace caiexport::cli
