/// Catalog's datasets, found and made.

#include "fuzz/answering_platform.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(datasets) {
  fuzz::AnsweringPlatform platform(input);
  platform.attempt([](platform::Client& client) {
    const model::DatasetId made = client.createDataset({.name = "a", .description = "b"}, {});
    fuzz::require(model::isWellFormedId(made.value()), "the id of a new dataset is none");
  });
  platform.attempt([](platform::Client& client) { client.findDataset(model::DatasetId("5f0001"), {}); });
  platform.attempt([](platform::Client& client) { client.findDatasetsByName("a*b", {}); });
  platform.attempt(
      [](platform::Client& client) { client.forEachDataset([](const platform::Dataset&) { return true; }, {}); });
  platform.attempt([](platform::Client& client) { client.deleteDataset(model::DatasetId("5f0001"), {}); });
}
