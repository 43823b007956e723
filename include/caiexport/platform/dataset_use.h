#pragma once
/// What a dataset holds, as far as its name and schema tell: nothing else in Catalog marks score datasets.

namespace caiexport::platform {

struct Dataset;

enum class DatasetUse {
  scores,       ///< Of Customer AI, a row per profile.
  scoreEvents,  ///< The same as events, for Customer Journey Analytics.
  snapshot,     ///< All profiles by one merge policy with their audiences, made anew each day.
  audience,     ///< Made to take exported profiles.
  other
};
DatasetUse useOf(const Dataset& dataset);

}  // namespace caiexport::platform
