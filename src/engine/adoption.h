#pragma once
/// A person says which of the platform's things a job has made.

#include <stop_token>
#include <string>

#include "caiexport/engine/runner.h"
#include "caiexport/model/job.h"

namespace caiexport::engine {

/// Records `id` as the result of the step. Error(notFound) if there is none; Error(usage) if this job can't have made
/// it: it is of other segments or another dataset, or another job's.
void adopt(Tools& tools, const model::Job& job, model::StepName step, const std::string& id, std::stop_token stop);

}  // namespace caiexport::engine
