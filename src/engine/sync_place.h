#pragma once
/// What the planning and the doing of `sync` share.

#include "caiexport/engine/sync.h"
#include "replacing.h"

namespace caiexport::engine {

/// Batches compare by `created`, but are listed when they are complete: one may turn up that is older than what was
/// fetched last. The list is read anew from this long before the mark. `history prune` keeps what that needs.
inline constexpr core::Duration kSyncOverlap = std::chrono::hours(7 * 24);

/// The platform's clock is known to the second and less the way of the answer: what lies further ahead of it is no time
/// at which a batch can have been made.
inline constexpr core::Duration kClockSlack = std::chrono::minutes(1);

store::SyncPlace placeOf(const model::ExportRequest& request);

}  // namespace caiexport::engine
