#pragma once
/// Which batches of a score dataset a request means.

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

/// The platform has nothing of an id that the user gave: a slip of the finger, or another sandbox. Category `notFound`.
class UnknownId : public core::Error {
 public:
  UnknownId(const std::string& message, Details details)
      : Error(core::Category::notFound, message, std::move(details)) {}
};

/// The named batch, or the newest ones that pass the request's filters, newest first; batches that others of them
/// replace are still among them. Never empty: Error(notFound) names what was looked for and the likely causes.
/// Consolidations are never among them, the batches that they absorbed are. `tell` gets what was left out or replaced.
std::vector<model::Batch> chooseBatches(platform::Client& client, const model::ExportRequest& request,
                                        std::stop_token stop, const std::function<void(const std::string&)>& tell = {});

/// Told of a batch that a consolidation holds and that can't be read: why, and the failure of its look-up if it was
/// that.
using OnPartLeftOut =
    std::function<void(const model::BatchId& part, const std::string& why, const core::Error* lookUpFailure)>;

/// The ordinary batches that a consolidation holds, and those that it holds through others, as far as Catalog still
/// knows them; newest first. Data Access reads them one by one, whatever their status. A look-up that fails leaves its
/// batch out, but for failures that concern them all.
std::vector<model::Batch> absorbedBatches(platform::Client& client, const model::DatasetId& dataset,
                                          std::vector<model::BatchId> absorbed, const OnPartLeftOut& leftOut,
                                          std::stop_token stop);

/// Whether Data Access said so of a batch: that it is a consolidation, which it does not read.
bool isRefusedConsolidation(const core::Error& error);

/// What is read in the place of a batch that Data Access refused as a consolidation, marked or not: all that it holds.
/// `tell` is told of what can't be had. Empty if nothing can.
std::vector<model::Batch> partsOf(platform::Client& client, const model::DatasetId& dataset,
                                  const model::BatchId& refused, const std::function<void(const std::string&)>& tell,
                                  std::stop_token stop);

/// `batches` with `parts` in the place of `refused`, newest first; without what others of them replace, unless that is
/// wanted.
std::vector<model::Batch> withParts(std::vector<model::Batch> batches, const model::BatchId& refused,
                                    const std::vector<model::Batch>& parts, bool includeReplaced);

/// "batch X is a consolidation batch, which Data Access does not read: what it holds is taken instead (P, Q)".
std::string takenInstead(const model::BatchId& refused, const std::vector<model::Batch>& taken);

/// " was replaced by batch X", or what else is known of a batch that was there; nothing while it can be read.
std::optional<std::string> whatBecameOf(platform::Client& client, const model::DatasetId& dataset,
                                        const model::BatchId& batch, std::stop_token stop);

/// Error(tooOld) if that is longer ago than --max-age by the platform's clock, and if that can't be told: the time is
/// unknown (TimePoint()) or still to come, or no answer of the platform bore its time. `what` as in "the newest batch X
/// of dataset Y was created".
void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what,
                  std::optional<core::TimePoint> when, const platform::Client& client);

}  // namespace caiexport::engine
