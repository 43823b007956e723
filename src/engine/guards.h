#pragma once
/// --max-age, --min-records, --max-change: what a result must be like for it to count.

#include "steps.h"

namespace caiexport::engine {

/// Error(notFound) if that is longer ago than --max-age. `what` as in "the newest batch X of dataset Y was created".
void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what, core::TimePoint when,
                  core::TimePoint now);

/// Error(verification) if the records are fewer than --min-records, or too far from those of the last success.
void requireExpectedRecords(StepContext& context, const std::string& what, std::optional<std::uint64_t> records);

}  // namespace caiexport::engine
