// How fast workers of one job hand out its files among themselves: nothing is fetched, only leased and recorded.
//
// usage: caiexport-lease-rate DATABASE FILES WORKERS    DATABASE: an empty one, postgresql://HOST/NAME
//
// Each worker is a process of its own, as in life; the time runs from the moment when all of them have their connection
// until the last file is recorded. Prints files a second.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"
#include "caiexport/store/leases.h"
#include "caiexport/store/location.h"
#include "caiexport/store/share_store.h"

namespace {

using namespace caiexport;

constexpr std::size_t kPortion = 16;
constexpr std::size_t kPage = 1000;

model::JobId jobOf(const store::Location& location, std::size_t count) {
  store::Database database(location, store::Database::Mode::readWrite);
  store::JobStore jobs(database, core::systemClock());
  model::ExportRequest request;
  request.kind = model::Kind::dataset;
  request.sourceId = "5f0000000000000000000001";
  request.orgId = "SIMULATOR@AdobeOrg";
  request.sandbox = "prod";
  request.output = "/scores";
  const model::JobId job = jobs.createJob(request, "lease-rate", model::makePlan(request)).id;
  const model::Batch batch{.id = model::BatchId("01JX"), .status = "success"};
  jobs.finishStep(job, model::StepName::selectBatches, {.batches = std::vector{batch}});
  jobs.beginListing(job, batch.id);
  for (std::size_t from = 0; from < count; from += kPage) {
    std::vector<model::RemoteFile> page;
    for (std::size_t i = from; i < std::min(count, from + kPage); ++i) {
      page.push_back({.batchId = batch.id,
                      .datasetFileId = model::DatasetFileId("01JX-1"),
                      .name = "part-" + std::to_string(i) + ".parquet",
                      .lengthBytes = 1});
    }
    jobs.addFiles(job, page);
  }
  jobs.finishListing(job, batch.id);
  jobs.finishStep(job, model::StepName::listFiles, {});
  return job;
}

/// Begins when `go` is closed by the other side.
std::size_t work(const store::Location& location, model::JobId job, int ready, int go) {
  store::Database database(location, store::Database::Mode::readWrite);
  store::JobStore jobs(database, core::systemClock());
  store::Leases leases(database, store::Leases::Use::hold);
  store::ShareStore share(database, leases);
  share.enter(job);
  char byte = 0;
  if (::write(ready, &byte, 1) != 1 || ::read(go, &byte, 1) < 0) return 0;
  std::size_t done = 0;
  for (;;) {
    std::vector<store::JobStore::Downloaded> recorded;
    for (const auto& taken : share.take(job, kPortion)) {
      recorded.push_back({.file = taken.file.id, .sha256 = std::string(64, 'a')});
    }
    if (recorded.empty()) return done;
    jobs.recordDownloaded(recorded);
    done += recorded.size();
  }
}

int run(const store::Location& location, std::size_t count, unsigned workers) {
  const model::JobId job = jobOf(location, count);
  int ready[2] = {}, go[2] = {};
  if (::pipe(ready) != 0 || ::pipe(go) != 0) throw std::runtime_error("cannot make a pipe");
  for (unsigned i = 0; i < workers; ++i) {
    if (::fork() != 0) continue;
    ::close(go[1]);
    work(location, job, ready[1], go[0]);
    std::_Exit(0);
  }
  char byte = 0;
  for (unsigned i = 0; i < workers; ++i) {
    if (::read(ready[0], &byte, 1) != 1) throw std::runtime_error("a worker did not begin");
  }
  const auto began = std::chrono::steady_clock::now();
  ::close(go[1]);
  for (int status = 0; ::wait(&status) > 0;) {
    if (status != 0) throw std::runtime_error("a worker failed");
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  store::Database database(location, store::Database::Mode::readWrite);
  const std::size_t here =
      store::JobStore(database, core::systemClock()).files(job, 0, count + 1, {{model::FileState::downloaded}}).size();
  if (here != count) throw std::runtime_error(std::to_string(here) + " files are recorded");
  std::printf("%.0f\n", static_cast<double>(count) / seconds.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: caiexport-lease-rate DATABASE FILES WORKERS\n";
    return 2;
  }
  try {
    return run(store::Location::ofServer(argv[1]), std::strtoul(argv[2], nullptr, 10),
               static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)));
  } catch (const std::exception& error) {
    std::cerr << "caiexport-lease-rate: " << error.what() << "\n";
    return 1;
  }
}
