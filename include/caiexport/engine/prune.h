#pragma once
/// Lets go of the records of jobs that ended long ago, and, if asked, of the files that they brought.

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/model/job.h"

namespace caiexport::core {
class FileSystem;
class Locks;
}  // namespace caiexport::core
namespace caiexport::store {
class History;
class PruneStore;
}  // namespace caiexport::store

namespace caiexport::engine {

struct PruneRequest {
  core::TimePoint before = {};
  bool files = false;   ///< The files too: those that the job recorded and that are unchanged since, nothing else.
  bool dryRun = false;  ///< Only tell.
};

struct PruneResult {
  struct KeptJob {
    model::JobId job = {};
    std::string why = {};
  };
  struct KeptFile {
    std::filesystem::path path = {};
    std::string why = {};
  };
  std::vector<model::JobId> pruned = {};
  std::vector<KeptJob> kept = {};
  std::uint64_t files = 0;  ///< Removed.
  std::uint64_t bytes = 0;
  std::vector<KeptFile> keptFiles = {};
};

/// Oldest job first: its files, then its record. Killed on the way, it goes on when called again. Never touches a job
/// that is unfinished or held. Error(io); Interrupted.
PruneResult prune(store::PruneStore& records, store::History& history, core::Locks& locks, core::FileSystem& files,
                  const PruneRequest& request, std::stop_token stop);

}  // namespace caiexport::engine
