#pragma once
/// What the platform keeps of batches that failed, brought to disk.

#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "caiexport/engine/runner.h"
#include "caiexport/platform/client.h"

namespace caiexport::json {
class Writer;
}

namespace caiexport::engine {

/// Of a batch's folder: which batch it is of, why that failed, and which files are ours.
inline constexpr const char* kFailureRecordName = "batch.json";

struct FailureTools {
  platform::Client& client;
  core::FileSystem& files;
  core::Clock& clock;
  core::Random& random;
  core::Log& log;
  transfer::DownloadSettings download = {};
};

struct FetchedFailure {
  std::filesystem::path folder = {};
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t kept = 0;  ///< Of the files: they were here already.
};

/// One reason why a batch failed, as an object: `code`, `description`, `rows`.
void writeReason(json::Writer& json, const platform::BatchError& error);

/// OUTPUT/<dataset id>.failed/<batch id>: not where readers look for rows. Error(protocol) for ids that can't be
/// folders.
std::filesystem::path failureFolder(const std::filesystem::path& output, const model::DatasetId& dataset,
                                    const model::BatchId& batch);

/// Brings everything under `/failed` and `/meta` of the batch into its folder, under `failed/` and `meta/`. Each file
/// gets its final name when it is whole; those that an earlier call brought are kept while they are what they were.
/// Error(io) before anything is fetched if something lies there that no earlier call brought; Error(busy) while another
/// process is at it.
FetchedFailure fetchFailure(const FailureTools& tools, const platform::FailedBatch& batch,
                            const model::DatasetId& dataset, const std::filesystem::path& output, std::stop_token stop);

}  // namespace caiexport::engine
