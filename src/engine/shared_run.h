#pragma once
/// A job that several workers do together: what each of them does, see store/share_store.h for how they keep out of
/// each other's way.
///
///     the job has ended ──────────► end as it did
///     nobody has its lock ────────► be its head: Runner's way through the steps, in which files are fetched together
///     its files are being fetched ► help, until none is free
///     otherwise ──────────────────► wait
///
/// again and again. A head that ends without a word is followed by the next worker that looks, within the lease.

#include <functional>
#include <stop_token>

#include "caiexport/engine/runner.h"

namespace caiexport::engine {

/// `runAsHead` throws Error(busy) if another worker has the lock. `joins`: as RunOptions::joins.
Outcome runShared(Tools& tools, model::JobId job, bool joins, const std::function<Outcome()>& runAsHead,
                  std::stop_token stop);

/// Error(usage) that names the first difference, if the key's job was made for another request than this one.
void requireSameRequest(const model::Job& job, const model::ExportRequest& request, const std::string& share,
                        core::TimePoint now);

}  // namespace caiexport::engine
