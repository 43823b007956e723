#pragma once
/// Jobs as JSON, with the documented keys in their documented order.

#include <filesystem>
#include <optional>
#include <span>

#include "caiexport/core/error.h"
#include "caiexport/model/job.h"
#include "caiexport/model/replacement.h"

namespace caiexport::store {
struct JobView;
class History;
}  // namespace caiexport::store

namespace caiexport::json {
class Writer;
}

namespace caiexport::cli {

/// How much of a job is written.
enum class JobDetail {
  summary,    ///< The job alone: `history`, `cancel`.
  result,     ///< And its steps and files: the commands that ran it.
  everything  ///< And its events: `show`.
};

/// The job as one object; files and events are streamed from `history`. `error`, if given, stands in for the recorded
/// one: what this run met, and was not recorded.
void writeJob(json::Writer& json, const store::JobView& view, JobDetail detail, store::History& history,
              const std::optional<model::JobError>& error = {});

/// `[{"batch_id", "by", "action", "path"}]`.
void writeReplacements(json::Writer& json, std::span<const model::Replacement> replacements);

void writeError(json::Writer& json, const std::optional<model::JobError>& error);

/// A member; null for nothing.
void writeTime(json::Writer& json, std::string_view key, const std::optional<core::TimePoint>& time);

model::JobError recordOf(const core::Error& error);

/// `{"job": null, "error": {...}}`.
void writeFailure(json::Writer& json, const core::Error& error);

/// Where a batch of the job lies on disk.
std::filesystem::path batchFolder(const model::Job& job, const model::BatchId& batch);

/// Where a file of the job lies on disk once it is complete.
std::filesystem::path pathOf(const model::Job& job, const model::FileRecord& file);

}  // namespace caiexport::cli
