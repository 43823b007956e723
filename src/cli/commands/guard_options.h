#pragma once
/// Options that `dataset`, `segment` and `sync` share: what a result must be like for it to count.

#include "caiexport/cli/options.h"
#include "caiexport/model/export_request.h"

namespace caiexport::cli {

OptionGroup guardGroup();
model::Guards guardOptions(const ParsedOptions& options);

}  // namespace caiexport::cli
