#include "caiexport/engine/runner.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/model/job.h"
#include "caiexport/platform/client.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/job_store.h"
#include "create_once.h"
#include "folders.h"
#include "shared_run.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::Job;
using model::JobId;
using model::StepName;

// `cancel` promises to be obeyed within two seconds.
constexpr core::Duration kCancelCheck = std::chrono::seconds(1);

/// The lock of one job.
HeldLock lockOf(core::Locks& locks, JobId job) {
  const std::string number = std::to_string(model::numberOf(job));
  return {locks, model::numberOf(job), "job " + number + " is being run",
          "wait for it, or stop it with: caiexport cancel " + number};
}

model::JobError asJobError(const Error& error) {
  return {.category = error.category(), .message = error.what(), .requestId = error.requestId(), .hint = error.hint()};
}

const model::Step& stepOf(const Job& job, StepName name) {
  return *std::ranges::find(job.steps, name, &model::Step::name);
}

/// For a create-once step that was stopped between its request and the answer.
std::string doubtAbout(const Job& job, StepName step) {
  if (stepOf(job, step).state != model::StepState::intended) return {};
  return "; whether the platform had taken the request of " + std::string(model::nameOf(step)) +
         " is not known: look there";
}

struct Handler {
  Turn (*turn)(StepContext&);
  /// Begun with the step, if the job has it: the handler does the work of both at once.
  std::optional<StepName> along = {};
};

Handler handlerOf(StepName step) {
  switch (step) {
    case StepName::evaluateSegment:
      return {evaluateSegment};
    case StepName::createDataset:
      return {createDataset};
    case StepName::startExport:
      return {startExport};
    case StepName::awaitExport:
      return {awaitExport};
    case StepName::selectBatches:
      return {selectBatches};
    case StepName::listFiles:
      return {listAndDownload, StepName::downloadFiles};
    case StepName::downloadFiles:
      return {listAndDownload};
    case StepName::verifyFiles:
      return {verifyFiles};
    case StepName::deliverFiles:
      return {deliverFiles};
    case StepName::deleteDataset:
      return {deleteDataset};
  }
  throw Error(Category::internal, "a step without a handler");
}

// --- the platform's side of cancelling

/// Whether an export or segment job of the platform is known to work for the job.
bool isAtWorkFor(const Job& job) {
  const std::optional<StepName> step = model::currentStep(job.steps);
  if (step == StepName::evaluateSegment) return !job.segmentJobId.empty();
  return step == StepName::awaitExport && !job.exportJobId.empty();
}

/// Asks the platform to cancel it. One that is gone is no error.
void cancelRemote(platform::Client& client, const Job& job, std::stop_token stop) {
  if (model::currentStep(job.steps) == StepName::evaluateSegment) {
    client.cancelSegmentJob(job.segmentJobId, std::move(stop));
  } else {
    client.cancelExportJob(job.exportJobId, std::move(stop));
  }
}

/// The same, where it may have been asked already: only if it still moves.
void makeSureCancelled(platform::Client& client, const Job& job, std::stop_token stop) {
  const bool evaluates = model::currentStep(job.steps) == StepName::evaluateSegment;
  const auto isMoving = [](const auto& found) {
    // `CANCELLING` and the like: it was asked and is on its way.
    const bool asked = found && core::toLower(found->status).starts_with("cancel");
    return found && found->phase == platform::RemotePhase::moving && !asked;
  };
  const bool moving = evaluates ? isMoving(client.findSegmentJob(job.segmentJobId, stop))
                                : isMoving(client.findExportJob(job.exportJobId, stop));
  if (moving) cancelRemote(client, job, std::move(stop));
}

// --- running

/// One call of Runner::advance.
class JobRun {
 public:
  JobRun(Tools& tools, JobId job, const RunOptions& options, std::stop_token stop)
      : tools_(tools),
        lock_(lockOf(tools.jobLocks, job)),
        job_(tools.store.load(job)),
        reuse_(tools.jobLocks, job_.request),
        options_(options),
        stop_(std::move(stop)) {
    state_.acceptRows = options.acceptRows;
  }

  Outcome toTheEnd() {
    if (job_.cancelled) {
      throw Error(Category::usage, "job " + std::to_string(model::numberOf(job_.id)) + " was cancelled",
                  {.hint = "start a new export"});
    }
    state_.fromBefore = broughtFiles();
    while (const std::optional<StepName> step = model::currentStep(job_.steps)) {
      try {
        if (!advance(*step)) return {job_, std::nullopt};
      } catch (const UnknownId& error) {
        Outcome outcome = ended(*step, error);
        outcome.unknownId = true;
        return outcome;
      } catch (const Error& error) {
        return ended(*step, error);
      } catch (const std::exception& error) {
        if (const std::optional<Error> scarce = core::scarcityIn(error)) return ended(*step, *scarce);
        return ended(*step, Error(Category::internal, std::string("a defect of caiexport: ") + error.what()));
      }
    }
    return {job_, std::nullopt};
  }

 private:
  std::vector<std::int64_t> broughtFiles() {
    constexpr std::size_t kPage = 256;
    constexpr std::array kHere{model::FileState::downloaded, model::FileState::verified};
    std::vector<std::int64_t> rows;
    for (std::int64_t last = 0;;) {
      const std::vector<model::FileRecord> page = tools_.store.files(job_.id, last, kPage, kHere);
      if (page.empty()) return rows;
      for (const model::FileRecord& file : page) rows.push_back(file.id);
      last = rows.back();
    }
  }

  /// One turn of the step; false if the job is to be left waiting.
  bool advance(StepName step) {
    stopIfAsked();
    const Handler handler = handlerOf(step);
    if (state_.entered != step) enter(step, handler.along);
    StepContext context{.tools = tools_, .job = job_, .step = stepOf(job_, step), .run = state_, .stop = stop_};
    const Turn turn = handler.turn(context);
    const bool worked = isAtWorkFor(job_);
    reload();
    // Whoever asked to cancel meanwhile could not know of what this turn has started.
    if (!worked && isAtWorkFor(job_) && tools_.store.isCancelRequested(job_.id)) cancelRemote(tools_.client, job_, {});
    if (!turn.wait) return true;
    if (options_.leaveAtWait) return false;
    const auto elapsed = std::chrono::duration_cast<core::Duration>(tools_.clock.steadyNow() - state_.waitingSince);
    tools_.observer.waiting(step, turn.remoteStatus, elapsed, *turn.wait);
    sleep(*turn.wait);
    return true;
  }

  void enter(StepName step, std::optional<StepName> along) {
    const bool both = along && std::ranges::find(job_.steps, *along, &model::Step::name) != job_.steps.end();
    tools_.store.beginAttempt(job_.id, step);
    if (both) tools_.store.beginAttempt(job_.id, *along);
    model::Job now = tools_.store.outline(job_.id);
    now.batches = std::move(job_.batches);
    job_ = std::move(now);
    tellOf(step);
    if (both) tellOf(*along);
    state_.entered = step;
    state_.polls = 0;
  }

  void tellOf(StepName step) {
    tools_.log.write(core::LogLevel::info, "step",
                     {{"job", model::numberOf(job_.id)}, {"step", std::string(model::nameOf(step))}});
    tools_.observer.stepStarted(job_, step);
  }

  void stopIfAsked() {
    if (stop_.stop_requested() || tools_.store.isCancelRequested(job_.id)) throw core::Interrupted();
  }

  void sleep(core::Duration wait) {
    while (wait > core::Duration::zero()) {
      const core::Duration slice = std::min(wait, kCancelCheck);
      if (!tools_.clock.sleep(slice, stop_)) throw core::Interrupted();
      stopIfAsked();
      wait -= slice;
    }
  }

  /// Records how the run ended, as far as the database lets us.
  Outcome ended(StepName step, Error error) {
    // A handler of two steps may have finished the first.
    step = model::currentStep(tools_.store.outline(job_.id).steps).value_or(step);
    // The platform's job ends as cancelled, too, when it is asked to.
    const bool stopped = error.category() == Category::interrupted || error.category() == Category::remoteFailed;
    const bool cancelled = stopped && tools_.store.isCancelRequested(job_.id);
    const std::optional<Error> stillAtWork = cancelled ? remoteGoesOn(error) : std::nullopt;
    if (stillAtWork) {
      error = *stillAtWork;
      record(step, error);
    } else if (cancelled) {
      error = Error(Category::remoteFailed, "job " + std::to_string(model::numberOf(job_.id)) +
                                                " was cancelled on request" +
                                                doubtAbout(tools_.store.outline(job_.id), step));
      tools_.store.markCancelled(job_.id, asJobError(error));
    } else {
      record(step, error);
    }
    reload();
    return {job_, error};
  }

  void reload() {
    // There may be 100,000: not twice in memory.
    job_.batches = {};
    job_ = tools_.store.load(job_.id);
  }

  /// Why the platform's job can't be said to be cancelled with this one; nothing if it can, or if there is none.
  std::optional<Error> remoteGoesOn(const Error& end) {
    const Job job = tools_.store.outline(job_.id);
    if (end.category() != Category::interrupted || !isAtWorkFor(job)) return std::nullopt;
    try {
      makeSureCancelled(tools_.client, job, stop_);
      return std::nullopt;
    } catch (const Error& failure) {
      const std::string number = std::to_string(model::numberOf(job.id));
      return Error(failure.category(),
                   "job " + number + " is to be cancelled, but the platform's job may go on: " + failure.what(),
                   {.requestId = failure.requestId(), .hint = "ask again with: caiexport cancel " + number});
    }
  }

  void record(StepName step, const Error& error) {
    tools_.store.addEvent(job_.id, step, "error", error.what());
    switch (core::factsOf(error.category()).step) {
      case core::StepEnd::blocked:
        tools_.store.blockStep(job_.id, step, asJobError(error));
        return;
      case core::StepEnd::failed:
        tools_.store.failStep(job_.id, step, asJobError(error));
        return;
      case core::StepEnd::noted:
        tools_.store.noteError(job_.id, asJobError(error));
        return;
    }
  }

  Tools& tools_;
  HeldLock lock_;
  Job job_;
  ReuseLock reuse_;
  RunOptions options_;
  std::stop_token stop_;
  RunState state_;
};

void requireEqual(const Job& job, const char* what, const std::string& recorded, const std::string& now,
                  const char* setting) {
  if (recorded == now) return;
  throw Error(Category::config,
              "job " + std::to_string(model::numberOf(job.id)) + " was made for " + what + " '" + recorded +
                  "', but the settings name '" + now + "'",
              {.hint = std::string("set ") + setting + " to what the job was made for, or start a new export"});
}

/// Whether the files of a job that is done are where they are said to be.
void requireAllFiles(Tools& tools, const Job& job) {
  constexpr std::size_t kPage = 256;
  std::uint64_t missing = 0;
  std::filesystem::path first;
  for (std::int64_t last = 0;;) {
    const auto page = tools.store.files(job.id, last, kPage, {});
    if (page.empty()) break;
    last = page.back().id;
    for (const model::FileRecord& file : page) {
      const std::filesystem::path path = folderOf(job, file.remote.batchId) / file.path;
      if (tools.files.sizeOf(path) == file.remote.lengthBytes) continue;
      if (missing++ == 0) first = path;
    }
  }
  if (missing == 0) return;
  throw Error(Category::notFound,
              std::to_string(missing) + " of the " + std::to_string(job.fileCount) + " files of job " +
                  std::to_string(model::numberOf(job.id)) + " are not there; the first: '" +
                  core::printable(first.string()) + "'",
              {.hint = "copy the folder of the dataset into the folder that --output names, or start a new export"});
}

// --- the lock of --reuse

/// In the job locks' file, between the numbers of jobs and those of `sync`.
std::int64_t numberFor(const model::ExportRequest& request) {
  constexpr std::int64_t kFirst = std::int64_t{1} << 61U;
  constexpr std::uint64_t kMost = (std::uint64_t{1} << 60U) - 1;
  const std::uint64_t hash = core::fnv1a(request.orgId + "\n" + request.sandbox + "\n" + request.sourceId + "\n");
  return kFirst + static_cast<std::int64_t>(hash & kMost);
}

}  // namespace

Runner::Runner(Tools tools) : tools_(std::move(tools)) {}
Runner::~Runner() = default;

Job Runner::create(const model::ExportRequest& request) {
  return tools_.store.createJob(request, core::newUuid(), model::makePlan(request));
}

Job Runner::join(const model::ExportRequest& request, const std::string& share) {
  Job job = tools_.store.createJob(request, core::newUuid(), model::makePlan(request), share);
  requireSameRequest(job, request, share, tools_.clock.now());
  return job;
}

Outcome Runner::advance(JobId job, const RunOptions& options, std::stop_token stop) {
  const auto run = [&] { return JobRun(tools_, job, options, stop).toTheEnd(); };
  if (tools_.share == nullptr || tools_.store.outline(job).share.empty()) return run();
  return runShared(tools_, job, options.joins, run, stop);
}

void Runner::requireSame(const Job& job, const Surroundings& now) {
  requireEqual(job, "organisation", job.request.orgId, now.orgId, "org_id (--org)");
  requireEqual(job, "sandbox", job.request.sandbox, now.sandbox, "sandbox (--sandbox)");
  requireEqual(job, "platform", job.request.baseUrl, now.baseUrl, "base_url (--base-url)");
}

void Runner::moveTo(JobId id, const std::filesystem::path& output) {
  const HeldLock lock = lockOf(tools_.jobLocks, id);
  Job job = tools_.store.load(id);
  if (job.request.output == output) return;
  job.request.output = output;
  if (!model::currentStep(job.steps)) requireAllFiles(tools_, job);
  tools_.store.setOutput(id, output);
  tools_.store.addEvent(id, std::nullopt, "output_moved", core::printable(output.string()));
}

void Runner::reopen(JobId id, std::span<const store::JobStore::Wrong> files) {
  const HeldLock lock = lockOf(tools_.jobLocks, id);
  tools_.store.recordWrong(id, StepName::verifyFiles, files);
}

void Runner::decide(JobId id, const Decision& decision, std::stop_token stop) {
  const HeldLock lock = lockOf(tools_.jobLocks, id);
  const Job job = tools_.store.load(id);
  const std::optional<StepName> step = model::currentStep(job.steps);
  if (!step || stepOf(job, *step).state != model::StepState::blocked) {
    throw Error(Category::usage,
                "job " + std::to_string(model::numberOf(id)) + " is not blocked: there is nothing to decide");
  }
  if (decision.resubmit) {
    tools_.store.unblock(id, *step);
  } else {
    adopt(tools_, job, *step, decision.adopt, stop);
  }
  tools_.store.addEvent(id, *step, "decided", decision.resubmit ? "resubmit" : "adopt " + decision.adopt);
}

Job cancelJob(const CancelTools& tools, JobId id, std::stop_token stop) {
  Job before = tools.store.load(id);
  if (before.cancelled) return before;
  const std::int64_t number = model::numberOf(id);
  const Error tooLate(Category::usage, "job " + std::to_string(number) + " is done: there is nothing to cancel");
  if (!model::currentStep(before.steps)) throw tooLate;
  // Settings that don't fit the job must stop this before anything is recorded.
  if (isAtWorkFor(before)) tools.connect(before);
  if (!tools.store.requestCancel(id)) throw tooLate;
  // Asked even when another process runs the job: that one stops, and the platform's job must stop too. It may have
  // started it only now.
  const Job job = tools.store.load(id);
  if (isAtWorkFor(job)) {
    platform::Client& client = tools.connect(job);
    // An earlier try may have reached the platform or not.
    if (before.cancelRequested) {
      makeSureCancelled(client, job, std::move(stop));
    } else {
      cancelRemote(client, job, std::move(stop));
    }
  }
  if (!tools.jobLocks.tryLock(number)) {
    tools.store.markCancelled(id, {.category = Category::remoteFailed, .message = "cancelled on request"});
    tools.jobLocks.unlock(number);
  }
  // The process that runs it may have brought it to its end meanwhile.
  Job after = tools.store.load(id);
  if (!after.cancelled && !model::currentStep(after.steps)) throw tooLate;
  return after;
}

std::optional<int> holderOf(const core::Locks& jobLocks, JobId job) {
  return jobLocks.holder(model::numberOf(job));
}

HeldLock::HeldLock(core::Locks& locks, std::int64_t number, const std::string& what, const std::string& hint)
    : locks_(locks), number_(number) {
  if (!locks.tryLock(number)) return;
  throw Error(Category::busy, what + " by " + locks.nameOfHolder(number), {.hint = hint});
}

HeldLock::~HeldLock() {
  locks_.unlock(number_);
}

ReuseLock::ReuseLock(core::Locks& locks, const model::ExportRequest& request) {
  if (!request.segment.reuse) return;
  const std::int64_t number = numberFor(request);
  if (locks.holder(number) == static_cast<int>(::getpid())) return;
  lock_.emplace(locks, number, "segment '" + request.sourceId + "' is being exported with --reuse",
                "wait until it ends: a second export at the same time would make a second dataset");
}

}  // namespace caiexport::engine
