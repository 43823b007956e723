#pragma once
/// `dataset --dry-run` and `sync --dry-run`: ask the platform what would be fetched, make nothing.

#include "caiexport/cli/application.h"
#include "caiexport/engine/sync.h"
#include "cli/run_job.h"

namespace caiexport::cli {

class Configuration;

CommandEnd previewDataset(Configuration& configuration, model::ExportRequest request, TextOrJson format,
                          Context& context);
CommandEnd previewSync(Configuration& configuration, engine::SyncRequest request, TextOrJson format, Context& context);

}  // namespace caiexport::cli
