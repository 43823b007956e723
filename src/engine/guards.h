#pragma once
/// --min-records and --max-change (--max-age is in batch_choice.h): what a result must be like for it to count.

#include "steps.h"

namespace caiexport::engine {

/// Error(verification) if the records are fewer than --min-records, or too far from those of the last success, and if
/// that can't be checked: a number of records is unknown. Only if there is no earlier success at all, --max-change
/// passes and says so: otherwise no first run could ever pass.
void requireExpectedRecords(StepContext& context, const std::string& what, std::optional<std::uint64_t> records);

}  // namespace caiexport::engine
