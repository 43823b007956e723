/// Names of datasets: "Input and output in Customer AI"; the second dataset, of events: "Integrate Customer AI data
/// with Customer Journey Analytics".

#include "caiexport/platform/dataset_use.h"

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"

namespace caiexport::platform {

DatasetUse useOf(const Dataset& dataset) {
  const std::string name = core::toLower(dataset.name);
  if (dataset.snapshot) return DatasetUse::snapshot;
  if (name.starts_with("customer ai scores in ee format")) return DatasetUse::scoreEvents;
  if (name.starts_with("customer ai scores")) return DatasetUse::scores;
  if (name.starts_with("profile-snapshot") || name.starts_with("profile snapshot")) {
    return DatasetUse::snapshot;
  }
  return dataset.schemaId == kProfileUnionSchema ? DatasetUse::audience : DatasetUse::other;
}

}  // namespace caiexport::platform
