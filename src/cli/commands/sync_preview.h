#pragma once
/// `sync --dry-run`: asks the platform, makes nothing.

#include "caiexport/cli/application.h"
#include "caiexport/engine/sync.h"
#include "cli/run_job.h"

namespace caiexport::cli {

class Configuration;

CommandEnd previewSync(Configuration& configuration, engine::SyncRequest request, TextOrJson format, Context& context);

}  // namespace caiexport::cli
