#pragma once
/// Catalog's query language: simple filters, `property`, `orderBy`, `limit`, `start`, `properties`.

#include <map>
#include <string>
#include <vector>

#include "simulator/service.h"

namespace caiexport::simulator {

struct CatalogEntry {
  std::string id = {};
  JsonObject shown = {};
  std::map<std::string, std::string> hidden =
      {};  ///< Attributes that can be filtered by and are not top-level members.
};

/// The query applied to the entries: an object keyed by id in the order asked for. `filters` are the names that the
/// resource can be filtered by; throws Refused with 400 for a parameter that is neither a filter nor of the language.
JsonObject answerQuery(const State& state, const Call& call, std::vector<CatalogEntry> entries,
                       const std::vector<std::string>& filters);

}  // namespace caiexport::simulator
