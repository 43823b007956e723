#pragma once
/// What should be on disk, as a job or manifests tell, and looking whether it is. `verify` tells what it finds,
/// `resume` of a job that is done fetches again what is wrong.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/model/replacement.h"
#include "verify_check.h"

namespace caiexport::cli {

class InputFinder;

struct Expectation {
  std::optional<std::int64_t> job;
  std::vector<ExpectedBatch> batches;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<std::filesystem::path> unknown;  ///< Batch folders beside others, without a manifest.
  std::vector<model::Replacement> replaced;    ///< Batches that lie elsewhere now, or were deleted on purpose.
};

/// Error(notFound) if the job has not brought all its files to disk.
Expectation expectedOfJob(InputFinder& finder, const std::string& argument);
/// By the manifests in the folder. Error(notFound) if there are none.
Expectation expectedInFolder(const std::filesystem::path& folder);

/// Shows how far it is, at most ten times a second.
VerifyReport checkAll(const Expectation& expectation, VerifyCheck::Look look, Context& context);

}  // namespace caiexport::cli
