#include "batch_folder.h"

#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"

namespace caiexport::engine {

bool canBeFolder(const std::string& id) {
  return model::isWellFormedId(id) && !isPassedOver(id) && id != kLatestName && id != kManifestName;
}

std::filesystem::path batchFolder(const std::filesystem::path& output, const model::DatasetId& dataset,
                                  const model::BatchId& batch) {
  for (const std::string& id : {dataset.value(), batch.value()}) {
    if (!canBeFolder(id)) {
      throw core::Error(core::Category::protocol,
                        "the platform's id '" + core::printable(id, 80) + "' can't be the name of a folder");
    }
  }
  return output / dataset.value() / batch.value();
}

}  // namespace caiexport::engine
