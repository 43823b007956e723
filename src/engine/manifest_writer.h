#pragma once
/// manifest.json: what a batch folder holds, for those who read it without the database.

#include "caiexport/model/job.h"

namespace caiexport::core {
class FileSystem;
}
namespace caiexport::store {
class JobStore;
}

namespace caiexport::engine {

/// Error(io) if the place of the batch's manifest is taken by something else; not with --force.
void requireOwnManifest(const model::Job& job, const model::BatchId& batch);

/// Writes OUTPUT/<dataset id>/<batch id>/manifest.json from the records, in one step. Returns when it is on the device.
void writeManifest(const model::Job& job, const model::Batch& batch, store::JobStore& store, core::FileSystem& files);

}  // namespace caiexport::engine
