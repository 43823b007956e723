#pragma once
/// Which batches of a score dataset a request means.

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

/// The named batch, or the newest ones that pass the request's filters, newest first; batches that others of them
/// replace are still among them. Never empty: Error(notFound) names what was looked for and the likely causes.
/// A consolidation is never among them, what it absorbed is. `tell` is told of what was passed over or taken instead.
std::vector<model::Batch> chooseBatches(platform::Client& client, const model::ExportRequest& request,
                                        std::stop_token stop, const std::function<void(const std::string&)>& tell = {});

/// The ordinary batches that a consolidation holds, and those that it holds through others, as far as Catalog still
/// knows them; newest first. Data Access reads them one by one, whatever their status.
std::vector<model::Batch> absorbedBatches(platform::Client& client, const model::DatasetId& dataset,
                                          std::vector<model::BatchId> absorbed, std::stop_token stop);

/// " was replaced by batch X", or what else is known of a batch that was there; nothing while it can be read.
std::optional<std::string> whatBecameOf(platform::Client& client, const model::DatasetId& dataset,
                                        const model::BatchId& batch, std::stop_token stop);

/// Error(tooOld) if that is longer ago than --max-age by the platform's clock, and if that can't be told: the time is
/// unknown (TimePoint()) or still to come, or no answer of the platform bore its time. `what` as in "the newest batch X
/// of dataset Y was created".
void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what,
                  std::optional<core::TimePoint> when, const platform::Client& client);

}  // namespace caiexport::engine
