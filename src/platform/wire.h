#pragma once
/// JSON of the platform to the model and back. Unknown fields are ignored; what is required and missing or mistyped is
/// Error(protocol) naming request and field.

#include <functional>
#include <span>
#include <string>

#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
#include "json.h"

namespace caiexport::platform {

/// Catalog's lists: an object keyed by id; an array of objects with an `id` is read too.
void forEachKeyed(const Json& answer, const std::function<void(const Json& id, const Json& value)>& visit);
/// The one object asked for, keyed by its id or bare; missing if there is none. Error(protocol) for another one.
Json onlyEntry(const Json& answer, const std::string& id);

model::Batch batchFrom(const std::string& id, const Json& value);
/// The same, but what can't be read of it makes its `flaw`: an odd entry spoils itself, not the list.
model::Batch batchListed(const Json& key, const Json& value);
FailedBatch failedBatchFrom(model::Batch batch, const Json& value);
Dataset datasetFrom(const std::string& id, const Json& value);
SegmentDefinition segmentFrom(const Json& value);
SegmentDefinition audienceFrom(const Json& value);
SegmentJob segmentJobFrom(const Json& value);
ExportJob exportJobFrom(const Json& value);
/// From `["@/dataSets/ID"]`, in either spelling.
model::DatasetId newDatasetIdFrom(const Json& answer);

/// Bodies of requests. Error(usage) if a text is not valid UTF-8.
std::string bodyOf(const NewDataset& dataset);
std::string bodyOf(std::span<const model::SegmentId> segments);
std::string bodyOf(const NewExportJob& job);

}  // namespace caiexport::platform
