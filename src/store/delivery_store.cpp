#include "caiexport/store/delivery_store.h"

#include <algorithm>
#include <array>

#include "caiexport/core/error.h"
#include "caiexport/store/history.h"
#include "rows.h"

namespace caiexport::store {
namespace {

constexpr std::array<std::string_view, 4> kStates{"sending", "whole", "removing", "removed"};

constexpr const char* kColumns = "id, batch_id, target, state, files, bytes, deleted_output, changed_at";
constexpr const char* kOfBatch = " FROM delivery WHERE org_id = ? AND sandbox = ? AND dataset_id = ? AND batch_id = ?";

Delivery read(const Query& row) {
  Delivery delivery{.id = row.integer(0), .batch = model::BatchId(row.text(1)), .target = row.text(2)};
  const auto state = std::ranges::find(kStates, row.text(3));
  if (state == kStates.end()) {
    throw core::Error(core::Category::io, "cannot read a delivery in the job database: its state is unknown");
  }
  delivery.state = static_cast<DeliveryState>(state - kStates.begin());
  delivery.files = row.size(4);
  delivery.bytes = row.size(5);
  if (const std::string output = row.text(6); !output.empty()) delivery.deletedFrom = output;
  delivery.changedAt = row.time(7);
  return delivery;
}

std::vector<Delivery> deliveriesOf(Database& database, const SyncPlace& place, const model::BatchId& batch) {
  Query rows(database, "SELECT " + std::string(kColumns) + kOfBatch + " ORDER BY id");
  rows.with(place.orgId, place.sandbox, place.dataset.value(), batch.value());
  std::vector<Delivery> found;
  while (rows.next()) found.push_back(read(rows));
  return found;
}

}  // namespace

std::string_view nameOf(DeliveryState state) {
  return kStates.at(static_cast<std::size_t>(state));
}

DeliveryStore::DeliveryStore(Database& database, core::Clock& clock, JobStore::Probe probe)
    : database_(database), clock_(clock), probe_(std::move(probe)) {}

std::int64_t DeliveryStore::begin(const SyncPlace& place, const model::BatchId& batch, const std::string& target,
                                  std::span<const DeliveredFile> files) {
  std::uint64_t bytes = 0;
  for (const DeliveredFile& file : files) bytes += file.bytes;
  std::int64_t id = 0;
  recorded(database_, probe_, "beginDelivery", [&] {
    Query insert(database_,
                 "INSERT INTO delivery (org_id, sandbox, dataset_id, batch_id, target, state, changed_at)"
                 " VALUES (?, ?, ?, ?, ?, 'sending', ?)"
                 " ON CONFLICT DO NOTHING");
    insert.with(place.orgId, place.sandbox, place.dataset.value(), batch.value(), target, clock_.now()).run();
    Query row(database_, std::string("SELECT id") + kOfBatch + " AND target = ?");
    row.with(place.orgId, place.sandbox, place.dataset.value(), batch.value(), target).next();
    id = row.integer(0);
    Query(database_,
          "UPDATE delivery SET state = 'sending', files = ?, bytes = ?, deleted_output = NULL, changed_at = ? WHERE id "
          "= ?")
        .with(static_cast<std::uint64_t>(files.size()), bytes, clock_.now(), id)
        .run();
    for (const DeliveredFile& file : files) {
      // Another content under the same name has not arrived.
      Query save(database_,
                 "INSERT INTO delivery_file (delivery, path, length, sha256) VALUES (?, ?, ?, ?)"
                 " ON CONFLICT (delivery, path) DO UPDATE SET"
                 " arrived = CASE WHEN delivery_file.sha256 = excluded.sha256 THEN delivery_file.arrived ELSE 0 END,"
                 " length = excluded.length, sha256 = excluded.sha256");
      save.with(id, file.path, file.bytes, file.sha256).run();
    }
  });
  return id;
}

std::set<std::string> DeliveryStore::arrived(std::int64_t delivery) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT path FROM delivery_file WHERE delivery = ? AND arrived = 1");
    rows.with(delivery);
    std::set<std::string> paths;
    while (rows.next()) paths.insert(rows.text(0));
    return paths;
  });
}

void DeliveryStore::recordArrived(std::int64_t delivery, std::span<const std::string> paths) {
  if (paths.empty()) return;
  recorded(database_, probe_, "recordArrived", [&] {
    for (const std::string& path : paths) {
      Query(database_, "UPDATE delivery_file SET arrived = 1 WHERE delivery = ? AND path = ?")
          .with(delivery, path)
          .run();
    }
  });
}

void DeliveryStore::setState(std::int64_t delivery, DeliveryState state) {
  recorded(database_, probe_, "setDeliveryState", [&] {
    Query(database_, "UPDATE delivery SET state = ?, changed_at = ? WHERE id = ?")
        .with(nameOf(state), clock_.now(), delivery)
        .run();
    // Something may have gone already: nothing of it counts as arrived, and of what is gone no list is needed.
    if (state == DeliveryState::removing) {
      Query(database_, "UPDATE delivery_file SET arrived = 0 WHERE delivery = ?").with(delivery).run();
    }
    if (state == DeliveryState::removed) {
      Query(database_, "DELETE FROM delivery_file WHERE delivery = ?").with(delivery).run();
    }
  });
}

void DeliveryStore::recordDeleted(std::int64_t delivery, const std::filesystem::path& output) {
  recorded(database_, probe_, "recordDeleted", [&] {
    Query(database_, "UPDATE delivery SET deleted_output = ?, changed_at = ? WHERE id = ?")
        .with(output.string(), clock_.now(), delivery)
        .run();
  });
}

std::vector<Delivery> DeliveryStore::deliveries(const SyncPlace& place, const model::BatchId& batch) {
  return reading(database_, [&] { return deliveriesOf(database_, place, batch); });
}

std::optional<Delivery> DeliveryStore::find(const SyncPlace& place, const model::BatchId& batch,
                                            const std::string& target) {
  for (Delivery& delivery : deliveries(place, batch)) {
    if (delivery.target == target) return std::move(delivery);
  }
  return std::nullopt;
}

bool DeliveryStore::isDeletedHere(const SyncPlace& place, const model::BatchId& batch) {
  return std::ranges::any_of(deliveries(place, batch), [&](const Delivery& delivery) {
    return delivery.state == DeliveryState::whole && delivery.deletedFrom == place.output;
  });
}

std::vector<std::string> DeliveryStore::paths(std::int64_t delivery) {
  return reading(database_, [&] {
    Query rows(database_, "SELECT path FROM delivery_file WHERE delivery = ? ORDER BY path");
    rows.with(delivery);
    std::vector<std::string> paths;
    while (rows.next()) paths.push_back(rows.text(0));
    return paths;
  });
}

std::vector<Delivery> History::deliveriesOf(const model::Job& job) {
  const SyncPlace place{.orgId = job.request.orgId, .sandbox = job.request.sandbox, .dataset = job.datasetId};
  return reading(database_, [&] {
    std::vector<Delivery> all;
    for (const model::Batch& batch : job.batches) {
      for (Delivery& one : store::deliveriesOf(database_, place, batch.id)) all.push_back(std::move(one));
    }
    return all;
  });
}

}  // namespace caiexport::store
