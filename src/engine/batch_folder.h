#pragma once
/// Where a batch lies.

#include <filesystem>

#include "caiexport/model/ids.h"

namespace caiexport::engine {

/// OUTPUT/<dataset id>/<batch id>. Error(protocol) if the platform's ids can't be folder names.
std::filesystem::path batchFolder(const std::filesystem::path& output, const model::DatasetId& dataset,
                                  const model::BatchId& batch);

}  // namespace caiexport::engine
