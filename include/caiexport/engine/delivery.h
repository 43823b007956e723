#pragma once
/// Brings verified batches to a store, and takes them back: which objects, in which order, and what is recorded of it.
/// There the layout is always hive (see layout.h). `_SUCCESS` is the last to come and the first to go, so that nothing
/// half ever lies behind it; `<dataset>/_latest.json` names the newest batch that is whole.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "caiexport/core/clock.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/objects/object_store.h"
#include "caiexport/store/delivery_store.h"

namespace caiexport::engine {

/// What delivering works with; everything must outlive it.
struct DeliveryTools {
  store::DeliveryStore& records;
  core::Clock& clock;
  core::Random& random;
  std::function<std::unique_ptr<objects::ObjectStore>(const std::string& target)> open;
  std::function<void(std::string_view)> tell;  ///< A line for people.
  core::RetryPolicy retry = {};
};

class Delivery {
 public:
  Delivery(const DeliveryTools& tools, const std::string& target, std::stop_token stop);

  /// Finds out whether it can deliver there, and that the target is not inside `output`. Error(usage) if it is;
  /// otherwise as ObjectStore.
  void requireReady(const std::filesystem::path& output);

  /// Brings what the batch's manifest names, unless it lies there already; returns when it is whole there. Goes on
  /// where an earlier call ended. Error(verification) if a file is not any more what the manifest says, or arrived as
  /// something else.
  void bring(const store::SyncPlace& place, const Manifest& manifest);

  /// Takes away what the record, or the manifest there, knows of the batch. Error if something of it may be left.
  void withdraw(const store::SyncPlace& place, const store::Delivery& delivery);

 private:
  class Sending;

  template <class Call>
  auto tried(const Call& call);

  const DeliveryTools& tools_;
  std::string target_;
  std::stop_token stop_;
  std::unique_ptr<objects::ObjectStore> store_;
};

/// Takes the batch away from every target that it may lie at; their names.
std::vector<std::string> withdrawEverywhere(const DeliveryTools& tools, const store::SyncPlace& place,
                                            const model::BatchId& batch, const std::stop_token& stop);

}  // namespace caiexport::engine
