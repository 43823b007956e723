/// Catalog's batches.

#include "fuzz/answering_platform.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(batches) {
  fuzz::AnsweringPlatform platform(input);
  platform.attempt([](platform::Client& client) {
    client.forEachBatch({.dataset = model::DatasetId("5f0001")}, [](const model::Batch&) { return true; }, {});
  });
  platform.attempt([](platform::Client& client) {
    if (const auto batch = client.findBatch(model::BatchId("B1"), {})) platform::phaseOf(batch->status);
  });
}
