#pragma once
/// The parts of a request that have no column of their own, as JSON.

#include <string>

#include "caiexport/model/export_request.h"

namespace caiexport::store {

/// All but kind, sourceId, orgId, sandbox and output. Error(internal) for text that is not UTF-8, which JSON can't
/// hold.
std::string requestToJson(const model::ExportRequest& request);

/// Fills in `request`. An absent field keeps its default, an unknown one is ignored. Error(io) for JSON that is broken
/// or of other types.
void requestFromJson(const std::string& json, model::ExportRequest& request);

}  // namespace caiexport::store
