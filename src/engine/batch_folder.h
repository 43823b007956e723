#pragma once
/// Where a batch lies.

#include <filesystem>
#include <string>

#include "caiexport/model/ids.h"

namespace caiexport::engine {

/// Whether the id can be the name of a batch's folder: ids of the platform can, but for names that have a meaning of
/// their own in a dataset's folder (`latest`, or hidden ones).
bool canBeFolder(const std::string& id);

/// OUTPUT/<dataset id>/<batch id>. Error(protocol) if the platform's ids can't be folder names.
std::filesystem::path batchFolder(const std::filesystem::path& output, const model::DatasetId& dataset,
                                  const model::BatchId& batch);

}  // namespace caiexport::engine
