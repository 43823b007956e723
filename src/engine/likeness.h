#pragma once
/// Whether something that the platform has answers to what a job asked for.

#include <string>
#include <vector>

#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"

namespace caiexport::engine {

/// The export that the job asks for.
platform::NewExportJob exportJobFor(const model::Job& job);

/// Into the same dataset, of the same segments, in the same scope. A merge policy that was not asked for may be any:
/// the platform fills it in.
bool isWhatWasAskedFor(const platform::ExportJob& candidate, const platform::NewExportJob& asked);

/// Of the same segments, whatever else.
bool isOfSameSegments(const platform::ExportJob& candidate, const platform::NewExportJob& asked);

/// A dataset that a job makes bears its UUID.
bool bears(const platform::Dataset& dataset, const std::string& uuid);

/// The segments of the job, sorted.
std::vector<model::SegmentId> sortedSegmentsOf(const model::ExportRequest& request);

}  // namespace caiexport::engine
