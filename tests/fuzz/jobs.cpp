/// Segmentation: definitions, segment jobs, export jobs.

#include <array>

#include "fuzz/answering_platform.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(jobs) {
  fuzz::AnsweringPlatform platform(input);
  platform.attempt([](platform::Client& client) { client.findSegment(model::SegmentId("s"), {}); });
  platform.attempt([](platform::Client& client) {
    client.forEachSegment([](const platform::SegmentDefinition&) { return true; }, {});
  });
  platform.attempt([](platform::Client& client) { client.startSegmentJob(std::array{model::SegmentId("s")}, {}); });
  platform.attempt([](platform::Client& client) { client.findSegmentJob(model::SegmentJobId("1"), {}); });
  platform.attempt(
      [](platform::Client& client) { client.forEachSegmentJob([](const platform::SegmentJob&) { return true; }, {}); });
  platform.attempt([](platform::Client& client) {
    const platform::ExportJob job =
        client.startExportJob({.dataset = model::DatasetId("5f0001"), .segments = {model::SegmentId("s")}}, {});
    fuzz::require(model::isWellFormedId(job.id.value()), "the id of an export job is none");
    for (const model::BatchId& batch : job.batches) {
      fuzz::require(model::isWellFormedId(batch.value()), "the id of a batch is none");
    }
  });
  platform.attempt([](platform::Client& client) { client.findExportJob(model::ExportJobId("1"), {}); });
  platform.attempt(
      [](platform::Client& client) { client.forEachExportJob([](const platform::ExportJob&) { return true; }, {}); });
  platform.attempt([](platform::Client& client) { client.cancelExportJob(model::ExportJobId("1"), {}); });
}
