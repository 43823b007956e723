#pragma once
/// Which batches of a score dataset a request means.

#include <stop_token>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

/// The named batch, or the newest ones that pass the request's filters, newest first; batches that others of them
/// replace are still among them. Never empty: Error(notFound) names what was looked for and the likely causes.
std::vector<model::Batch> chooseBatches(platform::Client& client, const model::ExportRequest& request,
                                        std::stop_token stop);

}  // namespace caiexport::engine
