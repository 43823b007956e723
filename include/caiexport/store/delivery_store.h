#pragma once
/// What lies at targets of `--deliver`. As JobStore: one function, one transaction; for the one thread that owns the
/// connection.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "caiexport/store/sync_store.h"

namespace caiexport::store {

/// `removing`: something of it may lie there still, and must not.
enum class DeliveryState { sending, whole, removing, removed };
std::string_view nameOf(DeliveryState state);

struct DeliveredFile {
  std::string path = {};  ///< Below the batch's folder.
  std::uint64_t bytes = 0;
  std::string sha256 = {};
};

struct Delivery {
  std::int64_t id = 0;
  model::BatchId batch = {};
  std::string target = {};
  DeliveryState state = DeliveryState::sending;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  /// Where the copy here was deleted afterwards, or is being deleted.
  std::optional<std::filesystem::path> deletedFrom = {};
  core::TimePoint changedAt = {};
};

class DeliveryStore {
 public:
  DeliveryStore(Database& database, core::Clock& clock, JobStore::Probe probe = {});

  /// These files are about to be sent there; what was recorded of the same files stays. Its number.
  std::int64_t begin(const SyncPlace& place, const model::BatchId& batch, const std::string& target,
                     std::span<const DeliveredFile> files);
  /// Paths that are known to lie there.
  std::set<std::string> arrived(std::int64_t delivery);
  void recordArrived(std::int64_t delivery, std::span<const std::string> paths);
  void setState(std::int64_t delivery, DeliveryState state);
  /// The copy below that folder is about to be deleted.
  void recordDeleted(std::int64_t delivery, const std::filesystem::path& output);

  /// All that the record knows of the batch, at every target.
  std::vector<Delivery> deliveries(const SyncPlace& place, const model::BatchId& batch);
  std::optional<Delivery> find(const SyncPlace& place, const model::BatchId& batch, const std::string& target);
  /// Whether the batch was delivered somewhere, and its copy below the place's folder deleted afterwards.
  bool isDeletedHere(const SyncPlace& place, const model::BatchId& batch);
  /// Paths that were sent, whether they arrived or not.
  std::vector<std::string> paths(std::int64_t delivery);

 private:
  Database& database_;
  core::Clock& clock_;
  JobStore::Probe probe_;
};

}  // namespace caiexport::store
