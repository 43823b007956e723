#pragma once
/// How a sync ended, for people and for programs.

#include "caiexport/cli/application.h"
#include "caiexport/engine/sync.h"
#include "cli/run_job.h"

namespace caiexport::store {
class History;
}

namespace caiexport::json {
class Writer;
}

namespace caiexport::cli {

/// Prints the result; gives back its failure, with a hint how to go on.
CommandEnd printSync(store::History& history, const engine::SyncRequest& request, const engine::SyncResult& result,
                     TextOrJson format, Context& context);

/// `{"batch_id", "created"}` or null.
void writeMark(json::Writer& json, const std::optional<store::SyncMark>& mark);

}  // namespace caiexport::cli
