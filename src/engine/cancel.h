#pragma once
/// The platform's side of cancelling.

#include <stop_token>

#include "caiexport/model/job.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

/// Whether an export or segment job of the platform is known to work for the job.
bool isAtWorkFor(const model::Job& job);

/// Asks the platform to cancel it. One that is gone is no error.
void cancelRemote(platform::Client& client, const model::Job& job, std::stop_token stop);

/// The same, where it may have been asked already: only if it still moves.
void makeSureCancelled(platform::Client& client, const model::Job& job, std::stop_token stop);

}  // namespace caiexport::engine
