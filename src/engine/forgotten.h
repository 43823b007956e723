#pragma once
/// Batches that `sync` deleted because customers asked for their data to go: they do not come back by themselves.

#include <vector>

#include "steps.h"

namespace caiexport::engine {

/// In place of such a batch what replaced it, if that can be read; else nothing. Error(notFound) if one was asked for
/// by its id, or if nothing is left. With --force all stay.
std::vector<model::Batch> withoutForgotten(StepContext& context, std::vector<model::Batch> batches);

/// Error(notFound) if one is among the job's batches: it was deleted since they were chosen.
void refuseForgotten(const StepContext& context);

}  // namespace caiexport::engine
