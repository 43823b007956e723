#pragma once
/// How long a lock of another process is waited for.

#include <stop_token>

namespace caiexport::store {

/// For the whole process, from its beginning on: once that is asked to stop, no database is waited for any longer than
/// it takes others to commit, and what was waited for in vain ends as core::Interrupted. A run that stops still
/// records its end in a database that is not locked.
void waitForLocksUntil(std::stop_token stop);

}  // namespace caiexport::store
