#pragma once
/// A small database with jobs in it.

#include <string>
#include <vector>

#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/history.h"
#include "caiexport/store/job_store.h"
#include "support/fake_clock.h"
#include "support/temp_directory.h"

namespace caiexport::cli {

class JobFixture {
 public:
  store::History history() {
    return store::History(database_, [this](model::JobId job) { return held_ == job; });
  }
  store::JobStore& store() { return store_; }
  std::filesystem::path file() const { return folder_ / "jobs.db"; }
  void hold(model::JobId job) { held_ = job; }

  model::JobId create(const model::ExportRequest& request) {
    return store_.createJob(request, core::newUuid(), model::makePlan(request)).id;
  }

  static model::ExportRequest datasetRequest(const std::filesystem::path& output = "/out") {
    return {.kind = model::Kind::dataset,
            .sourceId = "ds1",
            .orgId = "ORG@AdobeOrg",
            .sandbox = "prod",
            .baseUrl = "https://h",
            .output = output};
  }

  /// Two files of 10 and 20 bytes with 3 and 4 records in one batch, all steps done.
  model::JobId finishedJob(const std::filesystem::path& output = "/out",
                           const std::vector<std::string>& hashes = {std::string(64, 'a'), std::string(64, 'b')}) {
    const model::JobId job = create(datasetRequest(output));
    const model::BatchId batch("b1");
    step(job, model::StepName::selectBatches,
         {.batches = std::vector<model::Batch>{{.id = batch, .created = clock_.now(), .records = 7}}});
    store_.beginListing(job, batch);
    store_.addFiles(job, std::vector<model::RemoteFile>{{.batchId = batch,
                                                         .datasetFileId = model::DatasetFileId("b1-f"),
                                                         .name = "part-0.parquet",
                                                         .lengthBytes = 10},
                                                        {.batchId = batch,
                                                         .datasetFileId = model::DatasetFileId("b1-f"),
                                                         .name = "part-1.parquet",
                                                         .lengthBytes = 20}});
    store_.finishListing(job, batch);
    step(job, model::StepName::listFiles, {});
    finishFiles(job, hashes);
    step(job, model::StepName::downloadFiles, {});
    step(job, model::StepName::verifyFiles, {.records = 7});
    store_.addEvent(job, model::StepName::downloadFiles, "files_kept", "quoted \"detail\"");
    return job;
  }

  model::JobId freshSegmentJob() {
    return create({.kind = model::Kind::segment,
                   .sourceId = "seg1",
                   .orgId = "ORG@AdobeOrg",
                   .sandbox = "prod",
                   .baseUrl = "https://h",
                   .output = "/out"});
  }

  support::FakeClock& clock() { return clock_; }

 private:
  void step(model::JobId job, model::StepName name, const store::StepResult& result) {
    store_.beginAttempt(job, name);
    store_.finishStep(job, name, result);
  }

  void finishFiles(model::JobId job, const std::vector<std::string>& hashes) {
    const std::vector<model::FileRecord> files = store_.files(job, 0, 10, {});
    std::vector<store::JobStore::Downloaded> downloaded;
    std::vector<store::JobStore::Verified> verified;
    for (std::size_t i = 0; i < files.size(); ++i) {
      downloaded.push_back({.file = files[i].id, .sha256 = hashes[i]});
      verified.push_back({.file = files[i].id, .records = 3 + i});
    }
    store_.recordDownloaded(downloaded);
    store_.recordVerified(verified);
  }

  support::TempDirectory folder_;
  support::FakeClock clock_;
  store::Database database_{file(), store::Database::Mode::readWrite};
  store::JobStore store_{database_, clock_};
  model::JobId held_{};
};

}  // namespace caiexport::cli
