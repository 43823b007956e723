#include "likeness.h"

#include <algorithm>

#include "caiexport/core/text.h"

namespace caiexport::engine {
namespace {

template <class Value>
bool sameSet(std::vector<Value> left, std::vector<Value> right) {
  std::ranges::sort(left);
  std::ranges::sort(right);
  return left == right;
}

bool sameFilters(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  std::vector<model::SegmentId> segments;
  for (const platform::ExportJob::Filter& filter : candidate.filters) {
    if (core::toLower(filter.segmentNamespace) != core::toLower(asked.segmentNamespace)) return false;
    if (!sameSet(filter.statuses, asked.statuses)) return false;
    segments.push_back(filter.segment);
  }
  return sameSet(segments, asked.segments);
}

/// The platform may fill in a merge policy that was not asked for, and its newest version.
bool sameScope(platform::ExportScope candidate, platform::ExportScope asked) {
  if (asked.mergePolicyId.empty()) candidate.mergePolicyId.clear();
  if (!asked.mergePolicyVersion) candidate.mergePolicyVersion.reset();
  for (platform::ExportScope* scope : {&candidate, &asked}) {
    std::ranges::sort(scope->fields);
    std::ranges::sort(scope->eventFields);
  }
  return candidate == asked;
}

}  // namespace

platform::NewExportJob exportJobFor(const model::Job& job) {
  const model::SegmentOptions& options = job.request.segment;
  return {.dataset = job.datasetId,
          .segments = model::segmentsOf(job.request),
          .segmentNamespace = options.segmentNamespace,
          .statuses = options.statuses,
          .scope = {.fields = options.fields,
                    .mergePolicyId = options.mergePolicyId,
                    .mergePolicyVersion = options.mergePolicyVersion,
                    .qualifiedSince = options.qualifiedSince,
                    .qualifiedUntil = options.qualifiedUntil,
                    .ingestedSince = options.ingestedSince,
                    .emptyProfiles = options.emptyProfiles,
                    .eventFields = options.eventFields,
                    .eventsSince = options.eventsSince,
                    .eventsUntil = options.eventsUntil},
          .segmentPerBatch = options.segmentPerBatch,
          .schemaName = options.schemaName};
}

bool isWhatWasAskedFor(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  return candidate.dataset == asked.dataset && sameFilters(candidate, asked) &&
         sameScope(candidate.scope, asked.scope) &&
         candidate.segmentPerBatch.value_or(asked.segmentPerBatch) == asked.segmentPerBatch &&
         (candidate.schemaName.empty() || candidate.schemaName == asked.schemaName);
}

bool isOfSameSegments(const platform::ExportJob& candidate, const platform::NewExportJob& asked) {
  std::vector<model::SegmentId> segments;
  for (const platform::ExportJob::Filter& filter : candidate.filters) segments.push_back(filter.segment);
  return sameSet(segments, asked.segments);
}

bool bears(const platform::Dataset& dataset, const std::string& uuid) {
  return dataset.description.find(uuid) != std::string::npos || dataset.name.find(uuid) != std::string::npos;
}

std::vector<model::SegmentId> sortedSegmentsOf(const model::ExportRequest& request) {
  std::vector<model::SegmentId> segments = model::segmentsOf(request);
  std::ranges::sort(segments);
  return segments;
}

}  // namespace caiexport::engine
