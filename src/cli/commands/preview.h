#pragma once
/// `dataset --dry-run` and `sync --dry-run`: ask the platform what would be fetched, make nothing.

#include "caiexport/cli/application.h"
#include "caiexport/engine/sync.h"

namespace caiexport::cli {

class Configuration;

/// `{"batch_id", "created"}` or null.
void writeMark(json::Writer& json, const std::optional<store::SyncMark>& mark);

CommandEnd previewDataset(Configuration& configuration, model::ExportRequest request, TextOrJson format,
                          Context& context);
CommandEnd previewSync(Configuration& configuration, engine::SyncRequest request, TextOrJson format, Context& context);

}  // namespace caiexport::cli
