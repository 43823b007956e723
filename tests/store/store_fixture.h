#pragma once
/// A job database in a folder of its own; or on a server, in a schema of its own, if the tests run beside one.

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/history.h"
#include "caiexport/store/job_store.h"
#include "store/query.h"
#include "support/fake_clock.h"
#include "support/server_schema.h"
#include "support/temp_directory.h"

namespace caiexport::store {

/// The category of the Error that `action` throws; fails the test if it throws none.
template <class Action>
core::Error errorOf(Action action) {
  try {
    action();
  } catch (const core::Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {core::Category::internal, "nothing was thrown"};
}

inline model::ExportRequest datasetRequest() {
  model::ExportRequest request;
  request.kind = model::Kind::dataset;
  request.sourceId = "5fd1a9dea30603194baeea43";
  request.orgId = "5DAA6A1B5DAA6A1B0A495E01@AdobeOrg";
  request.sandbox = "prod";
  request.baseUrl = "https://platform.example";
  request.output = "/data/out";
  return request;
}

inline model::ExportRequest segmentRequest() {
  model::ExportRequest request = datasetRequest();
  request.kind = model::Kind::segment;
  request.sourceId = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05";
  return request;
}

inline model::Batch batchNamed(const std::string& id) {
  return {.id = model::BatchId(id), .status = "success", .created = core::TimePoint(core::Duration(1606000000000))};
}

inline model::RemoteFile remoteFile(const std::string& batch, const std::string& datasetFile, const std::string& name,
                                    std::uint64_t lengthBytes = 100) {
  return {.batchId = model::BatchId(batch),
          .datasetFileId = model::DatasetFileId(datasetFile),
          .name = name,
          .lengthBytes = lengthBytes};
}

inline std::string sha256Of(char digit) {
  return std::string(64, digit);
}

/// An empty place for a job database.
class Place {
 public:
  Place() {
    if (support::isOnServer()) schema_.emplace();
  }
  Location location() const { return schema_ ? schema_->location() : Location(folder_ / "jobs.db"); }

 private:
  support::TempDirectory folder_;
  std::optional<support::ServerSchema> schema_;
};

class StoreTest : public testing::Test {
 protected:
  StoreTest() { open(); }

  /// A new connection, as after a restart.
  void open(JobStore::Probe probe = {}) {
    store_.reset();
    database_.reset();
    database_ = std::make_unique<Database>(location(), Database::Mode::readWrite);
    store_ = std::make_unique<JobStore>(*database_, clock_, std::move(probe));
  }

  Location location() const { return place_.location(); }
  JobStore& store() { return *store_; }
  Database& database() { return *database_; }
  /// Beside the store's own functions.
  void execute(const std::string& sql) { Query(*database_, sql).run(); }
  std::int64_t number(const std::string& sql) {
    Query row(*database_, sql);
    return row.next() ? row.integer(0) : 0;
  }
  History history(IsHeld isHeld = {}) { return {*database_, std::move(isHeld)}; }

  model::Job newJob(const model::ExportRequest& request = datasetRequest()) {
    return store().createJob(request, "uuid-" + std::to_string(++uuids_), model::makePlan(request));
  }

  /// A dataset job whose batches are known.
  model::Job jobWithBatches(const std::vector<std::string>& ids,
                            const model::ExportRequest& request = datasetRequest()) {
    const model::Job job = newJob(request);
    std::vector<model::Batch> batches;
    for (const std::string& id : ids) batches.push_back(batchNamed(id));
    store().finishStep(job.id, model::StepName::selectBatches, {.batches = batches});
    return store().load(job.id);
  }

  /// One listing of one batch.
  void list(model::JobId job, const std::string& batch, const std::vector<model::RemoteFile>& files) {
    store().beginListing(job, model::BatchId(batch));
    store().addFiles(job, files);
    store().finishListing(job, model::BatchId(batch));
  }

  std::vector<model::FileRecord> filesOf(model::JobId job, std::vector<model::FileState> states = {}) {
    return store().files(job, 0, 1000000, states);
  }

  model::FileRecord fileNamed(model::JobId job, const std::string& name) {
    for (const auto& record : filesOf(job)) {
      if (record.remote.name == name) return record;
    }
    ADD_FAILURE() << "no file " << name;
    return {};
  }

  void download(std::int64_t file, char digit = 'a') {
    const JobStore::Downloaded one{.file = file, .sha256 = sha256Of(digit)};
    store().recordDownloaded(std::span(&one, 1));
  }

  void verify(std::int64_t file, std::optional<std::uint64_t> records = {}) {
    const JobStore::Verified one{.file = file, .records = records};
    store().recordVerified(std::span(&one, 1));
  }

  Place place_;
  support::TempDirectory folder_;
  support::FakeClock clock_;
  int uuids_ = 0;
  std::unique_ptr<Database> database_;
  std::unique_ptr<JobStore> store_;
};

}  // namespace caiexport::store
