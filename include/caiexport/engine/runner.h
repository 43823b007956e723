#pragma once
/// Carries a job from where it is to its end: the same way for a new job, a resumed one and one that a crash left
/// behind.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "caiexport/store/job_store.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::core {
class FileSystem;
class Locks;
class Log;
}  // namespace caiexport::core
namespace caiexport::platform {
class Client;
}
namespace caiexport::reader {
class ParquetReader;
}
namespace caiexport::store {
class ShareStore;
}

namespace caiexport::engine {

struct DeliveryTools;

/// Told what a run does while it does it; every call comes from the thread that called Runner.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void stepStarted(const model::Job&, model::StepName) {}
  /// One line that people should see: a batch left out, problems inside a job that succeeded.
  virtual void notice(std::string_view) {}
  /// The platform is at work; asked again after `nextIn`.
  virtual void waiting(model::StepName, std::string_view /*remoteStatus*/, core::Duration /*elapsed*/,
                       core::Duration /*nextIn*/) {}
  /// `progress` stays valid until downloadEnded.
  virtual void downloadStarted(const model::Job&, const transfer::DownloadProgress& /*progress*/) {}
  virtual void downloadEnded() {}
};

/// What a run works with. Everything must outlive the Runner.
struct Tools {
  store::JobStore& store;
  core::Locks& jobLocks;
  platform::Client& client;
  core::FileSystem& files;
  core::Clock& clock;
  core::Random& random;
  core::Log& log;
  RunObserver& observer;
  /// Opens the reader when a step first needs it.
  std::function<std::unique_ptr<reader::ParquetReader>()> openReader;
  transfer::DownloadSettings download = {};
  core::RetryPolicy retry = {};
  /// Where several workers may do one job: a database on a server.
  store::ShareStore* share = nullptr;
  /// How long the platform's lists are looked at, after an answer was lost, before something is done again.
  core::Duration lookUp = std::chrono::seconds(30);
  /// For jobs that deliver; null where no job does.
  const DeliveryTools* delivery = nullptr;
};

struct RunOptions {
  bool leaveAtWait = false;  ///< `--no-wait`: return once the platform is at work.
  bool acceptRows = false;   ///< `--accept-rows`: rows that are not as many as were promised are no error.
  bool joins = false;        ///< `--share`: a job that has failed for good is not tried anew, only told of.
};

/// How a run ended. `error` is nothing when the job succeeded, or was left waiting as asked.
struct Outcome {
  model::Job job;
  std::optional<core::Error> error;
  bool unknownId = false;  ///< The platform has nothing of an id that the request names.
};

/// What the settings of this run say; must equal what the job recorded.
struct Surroundings {
  std::string orgId;
  std::string sandbox;
  std::string baseUrl;
};

/// The user's decision about a blocked job.
struct Decision {
  bool resubmit = false;   ///< It did not happen: do it (again).
  std::string adopt = {};  ///< It happened: this is its id.
};

/// For one thread.
class Runner {
 public:
  explicit Runner(Tools tools);
  ~Runner();

  /// Records a new job; nothing is sent yet.
  model::Job create(const model::ExportRequest& request);
  /// The job that the workers of that key do together; made if there is none. Error(usage) that names the difference if
  /// it was made for another request.
  model::Job join(const model::ExportRequest& request, const std::string& share);

  /// Runs the job until it is done, failed, blocked, cancelled, interrupted or left waiting; of a shared job, this
  /// worker's part of it, and waits for the others. Failures of the job are in the outcome and in the database. Throws
  /// core::Error only when nothing of it could be recorded: busy (another process runs it), notFound (no such job), io
  /// (the database).
  Outcome advance(model::JobId job, const RunOptions& options, std::stop_token stop);

  /// Error(config) that names both if the job was made for another organisation, sandbox or platform.
  static void requireSame(const model::Job& job, const Surroundings& now);

  /// The job's files lie, or are to lie, below `output` from now on. Of a job that is done all must be there already,
  /// else Error(notFound).
  void moveTo(model::JobId job, const std::filesystem::path& output);

  /// A job that is done is to look at its files again, and to fetch these, which are wrong or gone.
  void reopen(model::JobId job, std::span<const store::JobStore::Wrong> files);

  /// Error(usage) if the job is not blocked, Error(notFound) if there is nothing of that id to adopt.
  void decide(model::JobId job, const Decision& decision, std::stop_token stop);

 private:
  Tools tools_;
};

/// What cancelling works with; everything must outlive the call.
struct CancelTools {
  store::JobStore& store;
  core::Locks& jobLocks;
  /// Called only if the platform is at work for the job: no other job needs settings to be cancelled.
  std::function<platform::Client&(const model::Job&)> connect;
};

/// Records the request, asks the platform to cancel the export or segment job that it works on, and, unless another
/// process runs the job, marks it as cancelled. Returns the job as it is then. Error(usage) if it is done. Nothing is
/// recorded if `connect` throws.
model::Job cancelJob(const CancelTools& tools, model::JobId job, std::stop_token stop);

/// Whether a process (this one included) runs the job now: its process id, 0 if the system can't tell.
std::optional<int> holderOf(const core::Locks& jobLocks, model::JobId job);

/// A number of the job locks' file, for as long as this object lives.
class HeldLock {
 public:
  /// Error(busy), "WHAT by process 7", with that hint, if another process has it.
  HeldLock(core::Locks& locks, std::int64_t number, const std::string& what, const std::string& hint);
  ~HeldLock();
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

 private:
  core::Locks& locks_;
  std::int64_t number_;
};

/// One `segment --reuse` of a segment at a time: two that look for a dataset to reuse would both find none and make
/// one.
class ReuseLock {
 public:
  /// Nothing for a request that does not reuse, or while this process holds the lock already. Error(busy) if another
  /// process does.
  ReuseLock(core::Locks& locks, const model::ExportRequest& request);

 private:
  std::optional<HeldLock> lock_;
};

}  // namespace caiexport::engine
