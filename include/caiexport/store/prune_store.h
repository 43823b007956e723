#pragma once
/// Which records of the past may go, and their going. For the one thread that owns the connection.

#include <filesystem>
#include <string>
#include <vector>

#include "caiexport/store/job_store.h"

namespace caiexport::store {

class PruneStore {
 public:
  explicit PruneStore(Database& database, JobStore::Probe probe = {});

  struct Candidate {
    model::JobId job = {};
    std::string kept = {};  ///< Why it must stay; empty: it may go.
  };
  /// Jobs that ended before that time (succeeded, failed or cancelled), oldest first. Those that the next run would
  /// miss stay: the last success of a source, the maker of a dataset to reuse, and jobs with a batch that `sync` lists
  /// again (from `syncOverlap` before its mark).
  std::vector<Candidate> candidates(core::TimePoint before, core::Duration syncOverlap);

  struct Sharer {
    model::JobId job = {};
    std::filesystem::path output = {};
  };
  /// Other jobs that recorded the same file of the same batch; whether in the same folder, the folders' names don't
  /// tell.
  std::vector<Sharer> sharersOf(std::int64_t file);
  /// Runs of `sync` that ended before that time; of each place the last one, and the last that succeeded, stay:
  /// `status` goes by them.
  void forgetRuns(core::TimePoint before);
  /// The job with its steps, batches, files and events.
  void remove(model::JobId job);
  /// A job that has come to nothing, as if it had never been made: if it is the newest, the next one gets its number.
  void forget(model::JobId job);

 private:
  Database& database_;
  JobStore::Probe probe_;
};

}  // namespace caiexport::store
